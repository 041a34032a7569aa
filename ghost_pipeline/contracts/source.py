"""The terms in which a table of the source is declared, and the contract that follows from such a declaration.

A source column says how a raw value is read, what makes a row unacceptable, and how it is stored. Which tables there
are is in `raw`.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import cached_property

import dataframely as dy

from ghost_pipeline.contracts.columns import Characters, computed_from, identifier, instant, row_written, schema_of
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning

MAX_NGRAM_LENGTH = 50
SOURCE = "source"
"""Names the source where tables of the lake are named as well."""
UPDATED_AT = "updated_at"
"""The column that says when the source last changed a row."""
NULL_MARKERS = ("\\N", "NULL", "null", "NA", "NaN", "nan", "NaT", "<NA>", "None", "N/A", "n/a", "#N/A")
"""Texts that databases, R, pandas, Python, Java and spreadsheets write for a missing value."""


class Domain(Enum):
    """The two domains of a source; either may be absent."""

    GHOST = "ghost"
    NGRAMS = "ngrams"


class Kind(Enum):
    """How a raw value is read and stored."""

    ID = "id"
    """Text that is never empty; numbers and UUIDs become their text."""
    TEXT = "text"
    """Any text; in an optional column an empty text is missing."""
    CHARACTER = "character"
    """Text of one key, kept as it is: white space and control characters count."""
    NGRAM = "n-gram"
    """Text in Unicode NFC (N5.1), at most 50 characters."""
    INSTANT = "time"
    """A point in time, UTC if it names no zone."""
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
    extracted_from: tuple[str, ...] = ()
    """Columns `table.column` of the lake that give the value where the source has no rows of its own (N1.2)."""

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
    grain: str
    """One row in words."""
    purpose: str
    """The description of the raw table."""
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...] = ()
    """Columns that identify a row; empty where rows may repeat."""
    time: str | None = None
    """The column that places a row in its hour; None for versions and for rows of a session."""
    required: bool = True
    extra: dict[str, dy.Column] = field(default_factory=dict)
    """Columns that the lake adds."""
    published: bool = False
    """Whether apps may read it from the published database."""
    sorted_by: tuple[str, ...] = ()
    """Order of the published rows, if it is not that of the key."""
    kept_for: timedelta | None = None
    """See `Contract.kept_for`."""

    @property
    def of_session(self) -> bool:
        """Whether its rows belong to a practice session and are in the hour in which that started (N1.3)."""
        return self.time is None and any(c.references == "practice_sessions" for c in self.columns)

    @property
    def versioned(self) -> bool:
        """Whether its rows have versions (G1.7)."""
        return self.time is None and not self.of_session

    @cached_property
    def contract(self) -> Contract:
        """The raw table of the lake."""
        stored: dict[str, dy.Column] = {
            column.stored_as: computed_from(
                _stored(column, primary_key=column.name in self.key),
                f"{SOURCE}.{self.name}.{column.name}",
                *column.extracted_from,
            )
            for column in self.columns
        }
        columns = {**stored, **(self._version_columns() if self.versioned else {}), **self.extra}
        class_name = "".join(part.capitalize() for part in self.name.split("_"))
        return Contract(
            name=self.name,
            schema=schema_of(class_name, self.purpose, columns),
            layer=Layer.NGRAMS if self.name.startswith("session_ngram") else Layer.RAW,
            partitioning=Partitioning.VERSION_HOUR if self.versioned else Partitioning.EVENT_HOUR,
            grain=self.grain,
            published=self.published,
            sorted_by=self.sorted_by,
            append_only=not self.versioned,
            kept_for=self.kept_for,
        )

    def _version_columns(self) -> dict[str, dy.Column]:
        told = [f"{SOURCE}.{self.name}.{column.name}" for column in self.columns if column.name == UPDATED_AT]
        valid_from = instant(
            "Instant from which this version is valid; the first version is also valid before it",
            primary_key=True,
        )
        return {
            "valid_from": computed_from(valid_from, *told),
            "seen_at": row_written("as_of of the hourly run that saw this version first"),
        }


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
            return dy.Int64(min=0, description=f"{text}, in whole milliseconds; missing is 0")
