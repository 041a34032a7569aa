"""The canonical source tables and the raw tables of the lake that keep them.

Add a source table: one `SourceTable` in `SOURCE_TABLES`, and one `raw_table` in `RAW_ASSETS` of `defs/raw.py`. The raw
table's contract, reading from every kind of source, validation, rejected rows, personal columns, erasure, retention and
`docs/source.md` and `docs/tables.md` follow from it.

Add a reason to reject rows: a field of the column's `SourceColumn`.
"""

from dataclasses import replace
from datetime import timedelta

import dataframely as dy

from ghost_pipeline.contracts.columns import computed_from, instant, personal
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.source import UPDATED_AT, Domain, Kind, SourceColumn, SourceTable
from ghost_pipeline.settings import MAX_NGRAM_SIZE, MAX_TARGET_MS, MIN_TARGET_MS, TOP_BAND

GLOBAL_COHORT = "global"
"""`cohort_id` of the row over all users (G3.1); a source may not use it."""

MODULE_TYPES = ("speaking", "writing", "reading", "listening")
"""The tasks that have columns of their own (G2.2)."""

TASK_TYPES = (*MODULE_TYPES, "vocabulary", "grammar")
"""Types of events that are tasks (G2.2)."""

MOCK_TEST = "mock_test"
"""Counted in `mock_tests` only (G2.2)."""

MAX_SCORE = float(TOP_BAND)
MS_PER_MINUTE = 60_000
MAX_MS = 1e15
"""Thirty thousand years: no measurement is longer, and sums stay finite."""


_UPDATED_AT = SourceColumn(
    UPDATED_AT, Kind.INSTANT, "When the source last changed the row; a version's valid_from", optional=True
)
_USER_ID = SourceColumn("user_id", Kind.ID, "The user", references="users")
KEYSTROKES_KEPT = timedelta(days=90)
_SESSION_ID = SourceColumn("session_id", Kind.ID, "The practice session", references="practice_sessions")
_PRESSED_IN, _TYPED, _EXPECTED, _PRESSED_AT, _INDEX = (
    f"session_keystrokes.{name}"
    for name in ("session_id", "keystroke_char", "expected_char", "keystroke_time", "key_index")
)
_NGRAM = (
    replace(_SESSION_ID, extracted_from=(_PRESSED_IN,)),
    SourceColumn("ngram_text", Kind.NGRAM, "The n-gram, NFC, case-sensitive", extracted_from=(_TYPED, _EXPECTED)),
    SourceColumn(
        "ngram_size",
        Kind.INTEGER,
        "Number of keys in the n-gram",
        low=1,
        high=MAX_NGRAM_SIZE,
        extracted_from=(_TYPED, _EXPECTED),
    ),
)

SOURCE_USERS = SourceTable(
    "users",
    domain=None,
    grain="one version of a user",
    purpose="Versions of the users: a row for every change that an hourly run saw. Cannot be rebuilt.",
    key=("user_id",),
    columns=(
        SourceColumn("user_id", Kind.ID, "The user"),
        _UPDATED_AT,
        SourceColumn("cohort_id", Kind.ID, "The user's cohort", optional=True, none_of=(GLOBAL_COHORT,)),
        SourceColumn("diagnostic_score", Kind.NUMBER, "Band at the start", optional=True, low=0, high=MAX_SCORE),
        SourceColumn("final_band_score", Kind.NUMBER, "Band reached", optional=True, low=0, high=MAX_SCORE),
        SourceColumn("final_band_at", Kind.INSTANT, "When the band was reached", optional=True),
        SourceColumn("target_band", Kind.NUMBER, "Band aimed at", optional=True, low=0, high=MAX_SCORE),
        SourceColumn("timezone", Kind.TEXT, "IANA name of the user's zone; UTC without one", optional=True),
        SourceColumn("cohort_excluded", Kind.FLAG, "Whether the user is kept out of cohort figures", optional=True),
        SourceColumn("created_at", Kind.INSTANT, "Start of the journey"),
    ),
)
SOURCE_COHORTS = SourceTable(
    "cohorts",
    domain=Domain.GHOST,
    grain="one version of a cohort",
    purpose="Versions of the cohorts. Cannot be rebuilt.",
    key=("cohort_id",),
    columns=(
        SourceColumn("cohort_id", Kind.ID, "The cohort", none_of=(GLOBAL_COHORT,)),
        SourceColumn("cohort_key", Kind.TEXT, "The application's own key of the cohort", optional=True),
        SourceColumn("created_at", Kind.INSTANT, "When the cohort was created", optional=True),
    ),
)
SOURCE_USER_PROGRESS = SourceTable(
    "user_progress",
    domain=Domain.GHOST,
    grain="one completion of a task",
    purpose="Completed tasks and mock tests, validated and without repeats of an id.",
    key=("progress_id",),
    time="completed_at",
    columns=(
        SourceColumn("progress_id", Kind.ID, "The completion; rows with the same id are one event"),
        _USER_ID,
        SourceColumn("task_type", Kind.TEXT, "Type of task", one_of=(*TASK_TYPES, MOCK_TEST)),
        SourceColumn("completed_at", Kind.INSTANT, "When the task was completed"),
        SourceColumn("time_spent_minutes", Kind.MINUTES, "Time spent on the task", optional=True, low=0),
    ),
)
SOURCE_KEYBOARDS = SourceTable(
    "keyboards",
    domain=Domain.NGRAMS,
    grain="one version of a keyboard",
    purpose="Versions of the keyboards and their targets. Cannot be rebuilt.",
    published=True,
    key=("keyboard_id",),
    columns=(
        SourceColumn("keyboard_id", Kind.ID, "The keyboard"),
        _UPDATED_AT,
        _USER_ID,
        SourceColumn("keyboard_name", Kind.TEXT, "Name that the owner gave it", optional=True),
        SourceColumn(
            "target_ms_per_keystroke",
            Kind.NUMBER,
            "Target in ms per keystroke; null: the default",
            optional=True,
            low=MIN_TARGET_MS,
            high=MAX_TARGET_MS,
        ),
    ),
)
# Sessions and their measurements: N1; what is extracted from keystrokes: N5.
SOURCE_PRACTICE_SESSIONS = SourceTable(
    "practice_sessions",
    domain=Domain.NGRAMS,
    grain="one practice session of a typist",
    purpose="Practice sessions of the typing trainer.",
    published=True,
    sorted_by=("user_id", "keyboard_id", "start_time", "session_id"),
    key=("session_id",),
    time="start_time",
    columns=(
        SourceColumn("session_id", Kind.ID, "The practice session"),
        _USER_ID,
        SourceColumn("keyboard_id", Kind.ID, "The keyboard; `keyboards` need not list it"),
        SourceColumn("start_time", Kind.INSTANT, "When the session started; the time of its measurements"),
        SourceColumn("end_time", Kind.INSTANT, "When the session ended"),
    ),
)
SOURCE_SESSION_KEYSTROKES = SourceTable(
    "session_keystrokes",
    domain=Domain.NGRAMS,
    grain="one key pressed",
    purpose="Keystrokes of the practice sessions, in the hour in which their session started. Their rhythm can "
    "identify a typist, so they expire; the n-grams extracted from them stay.",
    key=("session_id", "key_index"),
    kept_for=KEYSTROKES_KEPT,
    required=False,
    columns=(
        _SESSION_ID,
        SourceColumn("key_index", Kind.INTEGER, "0, 1, 2 ... in the order of pressing", low=0),
        SourceColumn("keystroke_time", Kind.INSTANT, "When the key was pressed, to the microsecond"),
        SourceColumn("keystroke_char", Kind.CHARACTER, "Character typed; U+0008 is backspace"),
        SourceColumn(
            "expected_char", Kind.CHARACTER, "Character that the text asks for; empty past its end", optional=True
        ),
        SourceColumn("text_index", Kind.INTEGER, "Position in the expected text", low=0),
    ),
)
SOURCE_SESSION_NGRAM_SPEED = SourceTable(
    "session_ngram_speed",
    domain=Domain.NGRAMS,
    grain="one measurement of an n-gram",
    purpose="Measured n-grams of a session: the application's own rows or, if it has none, those extracted from "
    "the keystrokes.",
    required=False,
    columns=(
        *_NGRAM,
        SourceColumn(
            "ngram_time_ms",
            Kind.NUMBER,
            "Time of the whole n-gram in ms",
            optional=True,
            extracted_from=(_PRESSED_AT,),
        ),
        SourceColumn(
            "ms_per_keystroke",
            Kind.NUMBER,
            "Time per key in ms, the measured value",
            above=0,
            high=MAX_MS,
            extracted_from=(_PRESSED_AT,),
        ),
    ),
    extra={
        "key_index": computed_from(
            dy.Int32(nullable=True, min=0, description="Its last key; null for the application's own rows"), _INDEX
        ),
    },
)
SOURCE_SESSION_NGRAM_ERRORS = SourceTable(
    "session_ngram_errors",
    domain=Domain.NGRAMS,
    grain="one mistyped n-gram",
    purpose="N-grams that end in a wrong key: the application's own rows or, if it has none, those extracted "
    "from the keystrokes.",
    published=True,
    required=False,
    columns=_NGRAM,
    extra={
        "was_corrected": computed_from(
            dy.Bool(nullable=True, description="Whether the wrong key was deleted later; null if unknown"), _TYPED
        ),
        "key_index": computed_from(
            dy.Int32(nullable=True, min=0, description="The wrong key; null for the application's own rows"), _INDEX
        ),
        "expected_char": computed_from(
            dy.String(nullable=True, description="Character that should have been typed, if known"), _EXPECTED
        ),
        "keystroke_char": computed_from(
            dy.String(nullable=True, description="Character that was typed instead, if known"), _TYPED
        ),
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

USERS = SOURCE_USERS.contract
COHORTS = SOURCE_COHORTS.contract
KEYBOARDS = SOURCE_KEYBOARDS.contract
USER_PROGRESS = SOURCE_USER_PROGRESS.contract
PRACTICE_SESSIONS = SOURCE_PRACTICE_SESSIONS.contract
SESSION_KEYSTROKES = SOURCE_SESSION_KEYSTROKES.contract
SESSION_NGRAM_SPEED = SOURCE_SESSION_NGRAM_SPEED.contract
SESSION_NGRAM_ERRORS = SOURCE_SESSION_NGRAM_ERRORS.contract


class RejectedRows(dy.Schema):
    """Source rows that break a contract, as they were read, with the reason."""

    source_table = dy.String(min_length=1, description="The canonical table that the row was read for")
    hour = instant("Hour of the row's event; null if the row does not give it", nullable=True)
    reason = dy.String(min_length=1, description="Every rule that the row breaks, separated by '; '")
    row = personal(dy.String(min_length=2, description="The row as it was read, as a JSON object"))


REJECTED_ROWS = Contract(
    name="rejected_rows",
    schema=RejectedRows,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.REJECTED,
    grain="one source row that was rejected",
)

RAW_CONTRACTS = {table.name: table.contract for table in SOURCE_TABLES.values()}
