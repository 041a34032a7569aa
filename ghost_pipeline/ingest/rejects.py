"""Writing rejected rows: one partition for each source table and hour, replaced whenever the hour is read again."""

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.sources.spill import spilled
from ghost_pipeline.windows import Hour

_HELD_BYTES = 64 * 2**20
"""Rejected rows take a temporary file above this size."""


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


@dataclass
class RejectsOfHours:
    """Rejected rows that wait, in bounded memory, until the good rows of their table are written."""

    lake: Lake
    table: SourceTable
    floor: datetime
    """The instant from which the source still has every row: rejected rows of hours before it are kept, too."""
    rows: int = 0
    _held: list[pl.DataFrame] = field(default_factory=list)
    _spilled: list[pl.LazyFrame] = field(default_factory=list)
    _added: list[pl.DataFrame] = field(default_factory=list)

    def add(self, rejected: pl.DataFrame, added: pl.DataFrame) -> None:
        """Add the rejected rows of some hours; no other call has rows of these.

        Args:
            rejected: as `rejected_rows` has them.
            added: the keys of good rows before `floor` that the lake did not have: they are no longer rejected.

        """
        self.rows += rejected.height
        self._added.append(added)
        if rejected.height:
            self._held.append(rejected)
        if sum(one.estimated_size() for one in self._held) > _HELD_BYTES:
            rows = pl.concat(self._held).to_arrow(compat_level=pl.CompatLevel.oldest())
            self._spilled.append(spilled(rows.schema, rows.to_batches()))
            self._held = []

    def write(self, hours: set[Hour], without_hour: pl.DataFrame) -> None:
        """Replace the rejected rows of some hours, and those without an hour."""
        found: set[Hour | None] = set()
        for part in [*self._spilled, *(one.lazy() for one in self._held), without_hour.lazy()]:
            ordered = part.sort("hour", "reason", "row").collect()
            for (start,), rows in ordered.partition_by("hour", maintain_order=True, as_dict=True).items():
                hour = Hour.containing(start) if isinstance(start, datetime) else None
                found.add(hour)
                self.lake.write(REJECTED_ROWS, Rejects(self.table.name, hour), self._with_kept(hour, rows))
        for old in self.lake.rejects(REJECTED_ROWS, self.table.name):
            if (old.hour is None or old.hour in hours) and old.hour not in found:
                kept = self._with_kept(old.hour, REJECTED_ROWS.empty())
                if kept.height:
                    self.lake.write(REJECTED_ROWS, old, kept)
                else:
                    self.lake.remove(REJECTED_ROWS, old)

    def _with_kept(self, hour: Hour | None, rows: pl.DataFrame) -> pl.DataFrame:
        partition = Rejects(self.table.name, hour)
        if hour is None or hour.start >= self.floor or not self.lake.exists(REJECTED_ROWS, partition):
            return rows
        old = self.lake.scan(REJECTED_ROWS, [partition]).collect()
        key = self.table.key[0]
        told = pl.col("row").str.json_path_match(f"$.{key}").str.strip_chars()
        kept = old.join(rows, on="row", how="anti").with_columns(told.alias(key))
        kept = kept.join(pl.concat(self._added).select(key), on=key, how="anti").select(rows.columns)
        return pl.concat([rows, kept]).sort("reason", "row")
