"""What every source adapter offers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain, SourceTable
from ghost_pipeline.errors import SourceError

LINE, FAULT = "_line", "_fault"
"""Columns of `Source.scan` for lines of a text file that hold no row: the line's number, and what is wrong with it."""
LINE_FILE = "_line_file"
"""A further column of a table in several text files: the line's file, below the table's folder."""
PART = "_part"
"""The column of `Source.scan_parts` that tells the part of a row: UInt32, its place among the requested ones."""


@dataclass(frozen=True)
class Window:
    """The period [start, end) whose rows are requested; both ends aware."""

    start: datetime | None
    """None: from the beginning."""
    end: datetime


@dataclass(frozen=True)
class TableSample:
    """The first rows of a canonical table and their origin, found without reading all of a large table."""

    origin: str
    """The file, table or query that it comes from."""
    columns: Mapping[str, str]
    """The canonical columns that exist, each with its name in the source."""
    rows: pl.LazyFrame
    """The table's rows as `Source.scan` gives them, or the first of them."""
    beyond: str | None = None
    """If `rows` are only the first ones: how many there are, as text."""
    notes: Sequence[str] = ()
    """What else a person should know: a detected format, files that were skipped."""


class Source(Protocol):
    """A place that holds canonical tables."""

    @property
    def name(self) -> str:
        """The source's name in messages; never holds a password."""

    @property
    def identity(self) -> str:
        """A text that differs for another place or another mapping: the versions of parts mean nothing then."""

    @property
    def reads_windows(self) -> bool:
        """Whether `scan` leaves out rows outside a window; late rows then go unnoticed."""

    def tables(self) -> set[str]:
        """Return the canonical tables that exist."""

    def part_versions(self, table: SourceTable) -> Mapping[str, str] | None:
        """Return the parts of a table that can be read alone, each with its version; None if that is not known.

        A part is a file, or a whole table of a database (its name is then empty). A version is a text that differs
        whenever the rows of the part may differ. A part with a known version is not read again.

        Raises:
            SourceError: the table is missing.

        """

    def scan(
        self, table: SourceTable, window: Window | None = None, parts: Collection[str] | None = None
    ) -> pl.LazyFrame:
        """Return the rows of a table as they are: any types, further columns allowed.

        Args:
            table: the canonical table.
            window: rows outside it may be left out: events by their own time, rows of practice sessions by their
                session's start. More rows may come, so the caller filters again. A row without a time is in every
                window.
            parts: the parts to read, of those of `part_versions`; None: all.

        Raises:
            SourceError: the table or a required column is missing, or something cannot be read.

        """

    def scan_parts(self, table: SourceTable, parts: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """Return the rows of parts of `part_versions` as `scan` does, with the column `PART`.

        Returns:
            A frame for parts that have the same columns with the same types, so that no value is read otherwise than
            in a scan of its part alone. A frame may hold temporary files, so let go of one before the next.

        Raises:
            SourceError: as `scan`.

        """

    def inspect(self, table: SourceTable) -> TableSample:
        """Return where a table comes from, and its first rows.

        Raises:
            SourceError: as `scan`.

        """

    def require_unreplaced(self, table: SourceTable) -> None:
        """Require that the rows of a table that were read are not of two versions of one part.

        Call it before such rows are written. A source whose parts are always read in one version does nothing.

        Raises:
            SourceError: a part was replaced while it was read.

        """

    def lookalikes(self, table: SourceTable) -> Sequence[str]:
        """Return what a missing table may be in and is not read, such as `users.CSV` or `users.xlsx`."""

    def remedy(self, missing: Sequence[str]) -> str:
        """Return how missing canonical tables can be added, as a sentence."""

    def close(self) -> None:
        """Close connections; frames that were scanned stay readable."""


def domains(source: Source) -> set[Domain]:
    """Return the domains of a source: those with at least one table of their own.

    Raises:
        SourceError: it has neither, or a domain lacks a required table.

    """
    found = source.tables()
    present = {
        domain for domain in Domain if any(table.name in found for table in _of(domain) if table.domain is domain)
    }
    if not present:
        alike = [name for table in SOURCE_TABLES.values() for name in source.lookalikes(table)]
        raise SourceError(
            f"{source.name}: has {_only(found)}{not_read(alike)}. A source needs users with cohorts and user_progress, "
            f"or users with keyboards and practice_sessions",
        )
    for domain in sorted(present, key=lambda domain: domain.value):
        require_domain(source, domain)
    return present


def not_read(names: Sequence[str]) -> str:
    """Return the end of a sentence about a missing table that names what is not read for it; empty without a name."""
    return f" ({', '.join(names)}: not read under this name)" if names else ""


def require_domain(source: Source, domain: Domain) -> None:
    """Require every required table of a domain.

    Raises:
        SourceError: names each one that is missing.

    """
    missing = [t.name for t in _of(domain) if t.required and t.name not in source.tables()]
    if missing:
        raise SourceError(
            f"{source.name}: {_tables(missing)} missing, which the {domain.value} domain needs. "
            f"{source.remedy(missing)}; a table without rows still has its columns",
        )


def require_columns(
    source: str, table: SourceTable, found: Iterable[str], others: int | None = None, *, has_header: bool = False
) -> None:
    """Require the required columns of a table.

    Args:
        source: the source or file, for the message.
        table: the canonical table.
        found: the columns that are there.
        others: if names may be data: how many there are besides the known ones in `found`.
        has_header: whether a first line names the columns, which may be a row.

    Raises:
        SourceError: names each one that is missing.

    """
    names = set(found)
    missing = [c.name for c in table.columns if not c.optional and c.name not in names]
    if missing:
        known = ", ".join(sorted(names)) or "none"
        there = f"it has {known}" if others is None else _known(len(names) + others, known)
        remedy = f"Rename or add {'them' if len(missing) > 1 else 'it'}"
        if has_header and others and not names:
            remedy += ", or state header: false in the mapping if the first line is a row"
        raise SourceError(
            f"{source}: table {table.name} lacks the column{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)} ({there}). {remedy}; docs/source.md lists every column",
        )


def _known(columns: int, names: str) -> str:
    return f"known of its {columns} columns: {names}" if columns > 1 else f"known of its only column: {names}"


def _of(domain: Domain) -> list[SourceTable]:
    return [table for table in SOURCE_TABLES.values() if table.domain in {domain, None}]


def _only(found: set[str]) -> str:
    return f"only {', '.join(sorted(found))}" if found else "no canonical table"


def _tables(names: list[str]) -> str:
    return f"table {names[0]} is" if len(names) == 1 else f"tables {', '.join(names)} are"
