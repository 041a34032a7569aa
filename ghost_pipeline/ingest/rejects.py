"""Writing rejected rows: one partition for each source table and hour, replaced whenever the hour is read again."""

from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.windows import Hour


def write_rejects(
    lake: Lake, table: SourceTable, start: datetime | None, hour: Hour, rejected: pl.DataFrame, *, whole: bool = True
) -> None:
    """Replace the rejected rows of the hours of [start, end of `hour`), and those without an hour.

    Rows that name a missing session have no hour and are in no window. Unless the `whole` table was read, earlier rows
    without an hour stay.
    """
    by_hour = rejected.partition_by("hour", maintain_order=True, as_dict=True)
    found = {Hour.containing(key[0]) if isinstance(key[0], datetime) else None: part for key, part in by_hour.items()}
    for one, part in found.items():
        partition = Rejects(table.name, one)
        before = [] if one or whole else [lake.scan(REJECTED_ROWS, [partition]).collect()]
        lake.write(REJECTED_ROWS, partition, pl.concat([*before, part]).unique(maintain_order=True) if before else part)
    for old in lake.rejects(REJECTED_ROWS, table.name):
        in_window = old.hour is not None and (start is None or old.hour.start >= start) and old.hour <= hour
        was_read = in_window or (old.hour is None and whole)
        if was_read and old.hour not in found:
            lake.remove(REJECTED_ROWS, old)


def replace_rejects(lake: Lake, table: SourceTable, hours: set[Hour | None], rejected: pl.DataFrame) -> None:
    """Replace the rejected rows of some hours; None: of those without an hour."""
    by_hour = rejected.partition_by("hour", maintain_order=True, as_dict=True)
    found = {Hour.containing(key[0]) if isinstance(key[0], datetime) else None: part for key, part in by_hour.items()}
    for one, part in found.items():
        lake.write(REJECTED_ROWS, Rejects(table.name, one), part)
    for old in lake.rejects(REJECTED_ROWS, table.name):
        if old.hour in hours and old.hour not in found:
            lake.remove(REJECTED_ROWS, old)
