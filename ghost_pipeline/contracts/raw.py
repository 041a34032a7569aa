"""The canonical source tables and the raw tables of the lake that keep them.

A source column is declared once, as a `SourceColumn`: how a raw value is read, what makes a row
unacceptable, and how it is stored. The raw table's schema derives from the same declaration.
"""

from dataclasses import dataclass, field
from enum import Enum

import dataframely as dy

from ghost_pipeline.contracts.columns import Characters, identifier, instant, personal, schema_of
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning

GLOBAL_COHORT = "global"
"""`cohort_id` of the row over all users (G3.1); a source may not use it."""

MODULE_TYPES = ("speaking", "writing", "reading", "listening")
"""The tasks that have columns of their own (G2.2)."""

TASK_TYPES = (*MODULE_TYPES, "vocabulary", "grammar")
"""What counts as a task (G2.2)."""

MOCK_TEST = "mock_test"
"""Counted in `mock_tests` only (G2.2)."""

MAX_SCORE = 9.0
MS_PER_MINUTE = 60_000
MAX_NGRAM_SIZE = 20
MAX_NGRAM_LENGTH = 50
MAX_MS = 1e15
"""Thirty thousand years: what is longer was never measured, and would make sums without end."""
MIN_TARGET_MS, MAX_TARGET_MS = 50.0, 5000.0


class Domain(Enum):
    """The two domains of a source; either may be absent."""

    GHOST = "ghost"
    NGRAMS = "ngrams"


class Kind(Enum):
    """How a raw value is read and stored."""

    ID = "id"
    """Text that is never empty; numbers and UUIDs become their text."""
    TEXT = "text"
    """Any text; where a column may be missing, an empty text is missing."""
    CHARACTER = "character"
    """Text of one key, kept as it is: white space and control characters count."""
    NGRAM = "n-gram"
    """Text in Unicode NFC (N5.1), at most 50 characters."""
    INSTANT = "time"
    """A point in time, UTC where it names no zone."""
    NUMBER = "number"
    """A finite number."""
    INTEGER = "whole number"
    """A number without a fraction."""
    FLAG = "true or false"
    """A truth value; missing is false."""
    MINUTES = "number of minutes"
    """Minutes, stored as whole milliseconds (G2.3); missing is 0."""


@dataclass(frozen=True)
class SourceColumn:
    """One canonical column: how it is read, what is acceptable, and what it means."""

    name: str
    kind: Kind
    description: str
    optional: bool = False
    """May be null, or absent altogether."""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    """Exclusive lower end."""
    one_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    """Reserved texts."""
    references: str | None = None
    """Table whose id this column names; a row that names none is rejected."""

    @property
    def stored_as(self) -> str:
        """The column's name in the lake."""
        return "time_spent_ms" if self.kind is Kind.MINUTES else self.name

    @property
    def nullable(self) -> bool:
        """Whether a stored value may be null."""
        return self.optional and self.kind not in {Kind.FLAG, Kind.MINUTES, Kind.CHARACTER}


@dataclass(frozen=True)
class SourceTable:
    """One canonical table."""

    name: str
    domain: Domain | None
    """None: both domains need it."""
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...] = ()
    """Columns that identify a row; empty where rows may repeat."""
    time: str | None = None
    """The column that places a row in its hour; None for versions and for rows of a session."""
    required: bool = True
    extra: dict[str, dy.Column] = field(default_factory=dict)
    """Columns that the lake adds."""

    @property
    def of_session(self) -> bool:
        """Whether its rows belong to a practice session and lie in the hour in which that started (N1.3)."""
        return self.time is None and any(c.references == "practice_sessions" for c in self.columns)

    @property
    def versioned(self) -> bool:
        """Whether its rows have versions (G1.7)."""
        return self.time is None and not self.of_session


def _stored(column: SourceColumn, *, primary_key: bool) -> dy.Column:  # noqa: PLR0911 - one per kind
    null, text = column.nullable, column.description
    match column.kind:
        case Kind.ID:
            return identifier(text, primary_key=primary_key, nullable=null)
        case Kind.TEXT | Kind.CHARACTER:
            return dy.String(nullable=null, description=text)
        case Kind.NGRAM:
            return Characters(min_length=1, max_length=MAX_NGRAM_LENGTH, nullable=null, description=text)
        case Kind.INSTANT:
            return instant(text, nullable=null)
        case Kind.NUMBER:
            return dy.Float64(
                min=column.low, max=column.high, min_exclusive=column.above, nullable=null, description=text
            )
        case Kind.INTEGER:
            low, high = (None if end is None else int(end) for end in (column.low, column.high))
            return dy.Int32(primary_key=primary_key, min=low, max=high, nullable=null, description=text)
        case Kind.FLAG:
            return dy.Bool(description=text)
        case Kind.MINUTES:
            return dy.Int64(min=0, description=f"{text}, in whole milliseconds; missing is 0 (G2.3)")


def _contract(
    table: SourceTable,
    partitioning: Partitioning,
    grain: str,
    purpose: str,
    *,
    published: bool = False,
    sorted_by: tuple[str, ...] = (),
) -> Contract:
    columns: dict[str, dy.Column] = {
        column.stored_as: _stored(column, primary_key=column.name in table.key) for column in table.columns
    }
    name = "".join(part.capitalize() for part in table.name.split("_"))
    schema = schema_of(name, purpose, {**columns, **table.extra})
    return Contract(
        name=table.name,
        schema=schema,
        layer=Layer.RAW if not table.name.startswith("session_ngram") else Layer.NGRAMS,
        partitioning=partitioning,
        grain=grain,
        published=published,
        sorted_by=sorted_by,
        append_only=partitioning is Partitioning.EVENT_HOUR,
    )


def _version_columns() -> dict[str, dy.Column]:
    return {
        "valid_from": instant(
            "Instant from which this version counts; the first one counts before it too (G1.7)",
            primary_key=True,
        ),
        "seen_at": instant("as_of of the hourly run that saw this version first (G1.7)"),
    }


_UPDATED_AT = SourceColumn(
    "updated_at", Kind.INSTANT, "When the source last changed the row; a version's valid_from", optional=True
)
_USER_ID = SourceColumn("user_id", Kind.ID, "The user", references="users")
_SESSION_ID = SourceColumn("session_id", Kind.ID, "The practice session", references="practice_sessions")
_NGRAM = (
    SourceColumn("ngram_text", Kind.NGRAM, "The n-gram, NFC, case-sensitive (N5.1)"),
    SourceColumn("ngram_size", Kind.INTEGER, "Number of keys in the n-gram", low=1, high=MAX_NGRAM_SIZE),
)

SOURCE_USERS = SourceTable(
    "users",
    domain=None,
    key=("user_id",),
    columns=(
        SourceColumn("user_id", Kind.ID, "The user"),
        _UPDATED_AT,
        SourceColumn("cohort_id", Kind.ID, "The user's cohort", optional=True, none_of=(GLOBAL_COHORT,)),
        SourceColumn("diagnostic_score", Kind.NUMBER, "Band at the start", optional=True, low=0, high=MAX_SCORE),
        SourceColumn("final_band_score", Kind.NUMBER, "Band reached", optional=True, low=0, high=MAX_SCORE),
        SourceColumn("final_band_at", Kind.INSTANT, "When the band was reached", optional=True),
        SourceColumn("target_band", Kind.NUMBER, "Band aimed at", optional=True, low=0, high=MAX_SCORE),
        SourceColumn("timezone", Kind.TEXT, "IANA name of the user's zone; UTC without one (G1.6)", optional=True),
        SourceColumn("cohort_excluded", Kind.FLAG, "Kept out of cohort figures (G2.5)", optional=True),
        SourceColumn("created_at", Kind.INSTANT, "Start of the journey (G1.5)"),
    ),
    extra=_version_columns(),
)
SOURCE_COHORTS = SourceTable(
    "cohorts",
    domain=Domain.GHOST,
    key=("cohort_id",),
    columns=(
        SourceColumn("cohort_id", Kind.ID, "The cohort", none_of=(GLOBAL_COHORT,)),
        SourceColumn("cohort_key", Kind.TEXT, "The application's own key of the cohort", optional=True),
        SourceColumn("created_at", Kind.INSTANT, "When the cohort was made", optional=True),
    ),
    extra=_version_columns(),
)
SOURCE_USER_PROGRESS = SourceTable(
    "user_progress",
    domain=Domain.GHOST,
    key=("progress_id",),
    time="completed_at",
    columns=(
        SourceColumn("progress_id", Kind.ID, "The completion; the same id twice is one event (G2.3)"),
        _USER_ID,
        SourceColumn("task_type", Kind.TEXT, "What was practised (G2.2)", one_of=(*TASK_TYPES, MOCK_TEST)),
        SourceColumn("completed_at", Kind.INSTANT, "When the task was completed"),
        SourceColumn("time_spent_minutes", Kind.MINUTES, "Time spent on the task", optional=True, low=0),
    ),
)
SOURCE_KEYBOARDS = SourceTable(
    "keyboards",
    domain=Domain.NGRAMS,
    key=("keyboard_id",),
    columns=(
        SourceColumn("keyboard_id", Kind.ID, "The keyboard"),
        _UPDATED_AT,
        _USER_ID,
        SourceColumn("keyboard_name", Kind.TEXT, "What its owner calls it", optional=True),
        SourceColumn(
            "target_ms_per_keystroke",
            Kind.NUMBER,
            "Target in ms per keystroke; without one the default counts (N3.2)",
            optional=True,
            low=MIN_TARGET_MS,
            high=MAX_TARGET_MS,
        ),
    ),
    extra=_version_columns(),
)
SOURCE_PRACTICE_SESSIONS = SourceTable(
    "practice_sessions",
    domain=Domain.NGRAMS,
    key=("session_id",),
    time="start_time",
    columns=(
        SourceColumn("session_id", Kind.ID, "The practice session"),
        _USER_ID,
        SourceColumn("keyboard_id", Kind.ID, "The keyboard; may be one that `keyboards` lacks (N3.4)"),
        SourceColumn("start_time", Kind.INSTANT, "When the session started; the time of its measurements (N1.1)"),
        SourceColumn("end_time", Kind.INSTANT, "When the session ended"),
    ),
)
SOURCE_SESSION_KEYSTROKES = SourceTable(
    "session_keystrokes",
    domain=Domain.NGRAMS,
    key=("session_id", "key_index"),
    required=False,
    columns=(
        _SESSION_ID,
        SourceColumn("key_index", Kind.INTEGER, "0, 1, 2 ... in the order of pressing", low=0),
        SourceColumn("keystroke_time", Kind.INSTANT, "When the key was pressed, to the microsecond"),
        SourceColumn("keystroke_char", Kind.CHARACTER, "What was typed; U+0008 is backspace"),
        SourceColumn("expected_char", Kind.CHARACTER, "What the text asks for; empty past its end", optional=True),
        SourceColumn("text_index", Kind.INTEGER, "Position in the expected text", low=0),
    ),
)
SOURCE_SESSION_NGRAM_SPEED = SourceTable(
    "session_ngram_speed",
    domain=Domain.NGRAMS,
    required=False,
    columns=(
        _SESSION_ID,
        *_NGRAM,
        SourceColumn("ngram_time_ms", Kind.NUMBER, "Time of the whole n-gram in ms", optional=True),
        SourceColumn(
            "ms_per_keystroke", Kind.NUMBER, "Time per key in ms, the measured value (N1.1)", above=0, high=MAX_MS
        ),
    ),
    extra={
        "key_index": dy.Int32(nullable=True, min=0, description="Its last key; null for the application's own rows"),
    },
)
SOURCE_SESSION_NGRAM_ERRORS = SourceTable(
    "session_ngram_errors",
    domain=Domain.NGRAMS,
    required=False,
    columns=(_SESSION_ID, *_NGRAM),
    extra={
        "was_corrected": dy.Bool(
            nullable=True, description="Whether the wrong key was deleted later (N5.3); null where not known"
        ),
        "key_index": dy.Int32(nullable=True, min=0, description="The wrong key; null for the application's own rows"),
        "expected_char": dy.String(nullable=True, description="What should have been typed, where known"),
        "keystroke_char": dy.String(nullable=True, description="What was typed instead, where known"),
    },
)

SOURCE_TABLES: dict[str, SourceTable] = {
    table.name: table
    for table in (
        SOURCE_USERS,
        SOURCE_COHORTS,
        SOURCE_USER_PROGRESS,
        SOURCE_KEYBOARDS,
        SOURCE_PRACTICE_SESSIONS,
        SOURCE_SESSION_KEYSTROKES,
        SOURCE_SESSION_NGRAM_SPEED,
        SOURCE_SESSION_NGRAM_ERRORS,
    )
}
"""Every canonical table; one that others refer to comes before them."""

USERS = _contract(
    SOURCE_USERS,
    Partitioning.SEEN_HOUR,
    "one version of a user",
    "Versions of the users: a row for every change that an hourly run saw, kept input (G1.7).",
)
COHORTS = _contract(
    SOURCE_COHORTS,
    Partitioning.SEEN_HOUR,
    "one version of a cohort",
    "Versions of the cohorts, kept input (G1.7).",
)
KEYBOARDS = _contract(
    SOURCE_KEYBOARDS,
    Partitioning.SEEN_HOUR,
    "one version of a keyboard",
    "Versions of the keyboards and their targets, kept input (G1.7, N3.2).",
    published=True,
)
USER_PROGRESS = _contract(
    SOURCE_USER_PROGRESS,
    Partitioning.EVENT_HOUR,
    "one completion of a task",
    "Completed tasks and mock tests, validated and without repeats of an id (G2).",
)
PRACTICE_SESSIONS = _contract(
    SOURCE_PRACTICE_SESSIONS,
    Partitioning.EVENT_HOUR,
    "one practice session of a typist",
    "Practice sessions of the typing trainer (N1).",
    published=True,
    sorted_by=("user_id", "keyboard_id", "start_time", "session_id"),
)
SESSION_KEYSTROKES = _contract(
    SOURCE_SESSION_KEYSTROKES,
    Partitioning.EVENT_HOUR,
    "one key pressed",
    "Keystrokes of the practice sessions, in the hour in which their session started (N5).",
)
SESSION_NGRAM_SPEED = _contract(
    SOURCE_SESSION_NGRAM_SPEED,
    Partitioning.EVENT_HOUR,
    "one measurement of an n-gram",
    "Measured n-grams of a session: the application's own rows or, where it has none, those extracted from "
    "the keystrokes (N1, N5.2).",
)
SESSION_NGRAM_ERRORS = _contract(
    SOURCE_SESSION_NGRAM_ERRORS,
    Partitioning.EVENT_HOUR,
    "one mistyped n-gram",
    "N-grams that end in a wrong key: the application's own rows or, where it has none, those extracted "
    "from the keystrokes (N5.3).",
    published=True,
)


class RejectedRows(dy.Schema):
    """Rows of the source that break a contract, as they were read, with the reason."""

    source_table = dy.String(min_length=1, description="The canonical table that the row was read for")
    hour = instant("Hour of the row's event; null where the row does not tell it", nullable=True)
    reason = dy.String(min_length=1, description="Every rule that the row breaks, separated by '; '")
    row = personal(dy.String(min_length=2, description="The row as it was read, as a JSON object"))


REJECTED_ROWS = Contract(
    name="rejected_rows",
    schema=RejectedRows,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.REJECTED,
    grain="one row of the source that was not taken in",
)

RAW_CONTRACTS = {
    contract.name: contract
    for contract in (
        USERS,
        COHORTS,
        USER_PROGRESS,
        KEYBOARDS,
        PRACTICE_SESSIONS,
        SESSION_KEYSTROKES,
        SESSION_NGRAM_SPEED,
        SESSION_NGRAM_ERRORS,
    )
}
