"""The result of ingesting one source table."""

from collections.abc import Callable
from dataclasses import dataclass

OnRows = Callable[[str, int, int | None], None]
"""Is called while a table is read: its name, the rows read so far, and their number in all if that is known."""


def silent(table: str, rows: int, total: int | None) -> None:
    """Say nothing about the rows that are being read."""


@dataclass(frozen=True)
class IngestResult:
    """Numbers of rows that a run read from one source table."""

    rows: int
    """Good rows read in the window."""
    rejected: int
    """Rejected rows, read in the window or without a readable time."""
    repeated: int = 0
    """Good rows that repeat an event and were merged (G2.3)."""
    changed: int = 0
    """Partitions whose content changed."""
    erased: int = 0
    """Rows of erased people, read in the window or without a readable time."""
    files_read: int = 0
    """Files or tables of the source that were read."""
    files_skipped: int = 0
    """Those that had not changed since they were last read."""


NOT_IN_SOURCE = IngestResult(rows=0, rejected=0)
"""The source does not have the table: its domain is absent, or the table is optional."""
