"""The result of ingesting one source table."""

from dataclasses import dataclass


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


NOT_IN_SOURCE = IngestResult(rows=0, rejected=0)
"""The source does not have the table: its domain is absent, or the table is optional."""
