"""Writing rejected rows: one partition for each source table and hour, replaced whenever the hour is read again."""

from collections.abc import Iterable, Iterator
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
    lake: Lake,
    table: SourceTable,
    start: datetime | None,
    hour: Hour,
    rejected: Iterable[pl.DataFrame],
    *,
    whole: bool = True,
) -> None:
    """Replace the rejected rows of the hours of [start, end of `hour`), and those without an hour.

    Rows that name a missing session have no hour and are in no window. Unless the `whole` table was read, earlier rows
    without an hour stay. No hour is in two frames of the rejected rows.
    """
    found: set[Hour | None] = set()
    for rows in rejected:
        for (start_of_hour,), part in rows.partition_by("hour", maintain_order=True, as_dict=True).items():
            one = Hour.containing(start_of_hour) if isinstance(start_of_hour, datetime) else None
            found.add(one)
            partition = Rejects(table.name, one)
            before = [] if one or whole else [lake.scan(REJECTED_ROWS, [partition]).collect()]
            every = pl.concat([*before, part]).unique(maintain_order=True) if before else part
            lake.write(REJECTED_ROWS, partition, every)
    for old in lake.rejects(REJECTED_ROWS, table.name):
        in_window = old.hour is not None and (start is None or old.hour.start >= start) and old.hour <= hour
        was_read = in_window or (old.hour is None and whole)
        if was_read and old.hour not in found:
            lake.remove(REJECTED_ROWS, old)


@dataclass
class HeldRejects:
    """Rejected rows that wait, in bounded memory, until the good rows of their table are written."""

    rows: int = 0
    _held: list[pl.DataFrame] = field(default_factory=list)
    _spilled: list[pl.LazyFrame] = field(default_factory=list)

    def add(self, rejected: pl.DataFrame) -> None:
        """Add the rejected rows of some hours, as `rejected_rows` has them; no other call has rows of these."""
        self.rows += rejected.height
        if rejected.height:
            self._held.append(rejected)
        if sum(one.estimated_size() for one in self._held) > _HELD_BYTES:
            rows = pl.concat(self._held).to_arrow(compat_level=pl.CompatLevel.oldest())
            self._spilled.append(spilled(rows.schema, rows.to_batches()))
            self._held = []

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the rows, sorted by hour, reason and row within a frame."""
        for part in [*self._spilled, *(one.lazy() for one in self._held)]:
            yield part.sort("hour", "reason", "row").collect()


@dataclass
class RejectsOfHours(HeldRejects):
    """Rejected rows of an event table, of which those of hours before `floor` stay."""

    lake: Lake = field(kw_only=True)
    table: SourceTable = field(kw_only=True)
    floor: datetime = field(kw_only=True)
    """The instant from which the source still has every row: rejected rows of hours before it are kept, too."""
    _added: list[pl.DataFrame] = field(default_factory=list)

    def add_of_hours(self, rejected: pl.DataFrame, added: pl.DataFrame) -> None:
        """Add the rejected rows of some hours.

        Args:
            rejected: see `add`.
            added: the keys of good rows before `floor` that the lake did not have: they are no longer rejected.

        """
        self.add(rejected)
        self._added.append(added)

    def write(self, hours: set[Hour], without_hour: pl.DataFrame) -> None:
        """Replace the rejected rows of some hours, and those without an hour."""
        found: set[Hour | None] = set()
        for ordered in (*self.frames(), without_hour.sort("hour", "reason", "row")):
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
