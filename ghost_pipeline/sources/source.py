"""What every source adapter offers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

from ghost_pipeline.contracts.raw import SOURCE_TABLES, Domain, SourceTable
from ghost_pipeline.errors import SourceError


@dataclass(frozen=True)
class Window:
    """The time [start, end) of which rows are asked for; both ends aware."""

    start: datetime | None
    """None: from the beginning."""
    end: datetime


@dataclass(frozen=True)
class TableSample:
    """What a source has for a canonical table, found without reading all of a large one."""

    origin: str
    """The file, table or query that it comes from."""
    columns: Mapping[str, str]
    """Canonical columns that are there, each with its own name."""
    rows: pl.LazyFrame
    """The table's rows as `Source.scan` gives them, or the first of them."""
    beyond: str | None = None
    """Where `rows` are the first ones only: how many there are, as text."""


class Source(Protocol):
    """A place that holds canonical tables."""

    @property
    def name(self) -> str:
        """How messages call it; never holds a password."""

    @property
    def reads_windows(self) -> bool:
        """Whether `scan` leaves out what lies outside of a window: what is late is then not noticed by itself."""

    def tables(self) -> set[str]:
        """The canonical tables that are there."""

    def scan(self, table: SourceTable, window: Window | None = None) -> pl.LazyFrame:
        """The rows of a table as they are: any types, further columns welcome.

        Args:
            table: the canonical table.
            window: rows that lie outside of it may be left out: events by their own time, rows of practice sessions
                by their session's start. More rows may come, so the caller filters again. A row without a time
                lies in every window.

        Raises:
            SourceError: the table or a required column is missing, or something cannot be read.

        """

    def look(self, table: SourceTable) -> TableSample:
        """Where a table comes from, and its first rows.

        Raises:
            SourceError: as `scan`.

        """

    def remedy(self, missing: Sequence[str]) -> str:
        """How canonical tables that are missing can be added, as a sentence."""

    def close(self) -> None:
        """Let go of connections; frames that were scanned stay readable."""


def domains(source: Source) -> set[Domain]:
    """The halves that a source has: each of which at least one table is there.

    Raises:
        SourceError: it has neither, or a half lacks a required table.

    """
    found = source.tables()
    present = {half for half in Domain if any(table.name in found for table in _of(half) if table.half is half)}
    if not present:
        raise SourceError(
            f"{source.name}: has {', '.join(sorted(found)) or 'no canonical table'}, which is no half. A source needs "
            f"users with cohorts and user_progress, or users with keyboards and practice_sessions",
        )
    for half in sorted(present, key=lambda half: half.value):
        require_domain(source, half)
    return present


def require_domain(source: Source, half: Domain) -> None:
    """Make sure that every required table of a half is there.

    Raises:
        SourceError: names each one that is missing.

    """
    missing = [t.name for t in _of(half) if t.required and t.name not in source.tables()]
    if missing:
        raise SourceError(
            f"{source.name}: {_tables(missing)} missing, which the {half.value} half needs. {source.remedy(missing)}; "
            f"a table without rows still has its columns",
        )


def require_columns(source: str, table: SourceTable, found: Iterable[str]) -> None:
    """Make sure that a table has its required columns.

    Raises:
        SourceError: names each one that is missing.

    """
    names = set(found)
    missing = [c.name for c in table.columns if not c.optional and c.name not in names]
    if missing:
        raise SourceError(
            f"{source}: table {table.name} lacks the column{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)} (it has {', '.join(sorted(names)) or 'none'}). Rename or add "
            f"{'them' if len(missing) > 1 else 'it'}; docs/source.md lists every column",
        )


def _of(half: Domain) -> list[SourceTable]:
    return [table for table in SOURCE_TABLES.values() if table.half in {half, None}]


def _tables(names: list[str]) -> str:
    return f"table {names[0]} is" if len(names) == 1 else f"tables {', '.join(names)} are"
