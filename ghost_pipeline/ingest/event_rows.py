"""The rows of an event table that a run reads: of new and changed parts all, of others those of some hours.

They are kept in memory if they fit into it. Otherwise each part is read twice, first to see what it has and then for
its hours: decoding and checking 5 M rows of Parquet takes 1.5 CPU s, a temporary file of them 3.0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.raw import SOURCE_USER_PROGRESS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.ingest.deletion_guard import identity_columns
from ghost_pipeline.ingest.key_hours import KeyHours
from ghost_pipeline.ingest.part_ledger import PART_HOURS, UNPLACED, WAITING
from ghost_pipeline.ingest.people import refers_to_users, reject_unknown_users
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.ingest.result import OnRows
from ghost_pipeline.ingest.source_rows import PLACED_AT
from ghost_pipeline.ingest.validation import ERASED, REASON, ROW, read_rows, rows_as_json
from ghost_pipeline.privacy.personal_columns import USER
from ghost_pipeline.privacy.tombstones import Tombstones
from ghost_pipeline.sources.source import PART, Source, Window
from ghost_pipeline.windows import HOUR, Hour

BATCH_ROWS = 1 << 18
_HOUR = pl.col(PLACED_AT).dt.truncate("1h")
_HASHED = pl.Schema({PART: pl.UInt32(), "hour": INSTANT, "content_hash": pl.UInt64()})
_HOUR_US = HOUR // timedelta(microseconds=1)
_HOURS = 1 << 32
"""More than there are from the first instant to the last."""
_NO_HOUR = _HOURS - 1
_PARTS_TOGETHER = 64
"""Parts that one query reads: planning it takes 4 ms, as long as reading 20,000 rows."""
_WHOLE = ""
"""The name of the one part of a source whose parts are not known."""


@dataclass
class EventRows:
    """The rows of one event table that a run has read."""

    source: Source
    table: SourceTable
    policy: ReadPolicy
    known_users: pl.DataFrame
    erased_people: Tombstones
    on_rows: OnRows
    window: Window | None = None
    """The window of a source whose parts are not known."""
    keys: list[KeyHours] = field(default_factory=list)
    """Of every row that was read and can be good."""
    rows: int = 0
    erased: int = 0
    _kept: list[pl.DataFrame] | None = field(default_factory=list)
    _kept_rows: int = 0
    _hours: dict[str, set[object]] = field(default_factory=dict)
    _looked_at: set[str] = field(default_factory=set)
    """The parts of which only times and keys were read."""
    _hashes: list[pl.DataFrame] = field(default_factory=list)
    """Of the rows of these that were written, what `with_hashes` needs."""

    @property
    def are_kept(self) -> bool:
        """Whether the rows are in memory, so that no part is read twice."""
        return self._kept is not None

    @property
    def parts_read(self) -> set[str]:
        """The parts of which anything was read."""
        return set(self._hours)

    @property
    def rows_together(self) -> int:
        """How many rows may be taken in together."""
        return self.policy.rows_together

    def read_parts(self, parts: Sequence[str], *, every_hour: bool) -> dict[str, "PartRows"]:
        """Read all rows of some parts.

        Args:
            parts: their names.
            every_hour: whether all of their hours are written. If they do not fit into memory, a first look at times
                and keys is enough then.

        """
        found: dict[str, PartRows] = {}
        together = 1
        while len(found) < len(parts):
            some = parts[len(found) : len(found) + together]
            found |= self._read_together(some, look=every_hour and not self.are_kept)
            # Few enough that not many rows too many are read before it turns out that they do not fit.
            rows = sum(int(part.hours["rows"].sum()) for part in found.values())
            quarter = len(found) * self.rows_together // (4 * max(rows, 1))
            together = max(1, min(quarter, _PARTS_TOGETHER)) if self.are_kept else _PARTS_TOGETHER
        return found

    def _read_together(self, parts: Sequence[str], *, look: bool) -> dict[str, "PartRows"]:
        hours, unplaced = [_summed(_HASHED.to_frame())], []
        for rows in self._scans(parts):
            for batch in self._batches(rows.select(PART, *self.table.key, PLACED_AT) if look else rows):
                placed, others = _split(batch, batch[PLACED_AT].is_not_null())
                if look:
                    self._note_keys(placed)
                    hours.append(_summed(batch.select(PART, hour=_HOUR, content_hash=pl.lit(0, pl.UInt64))))
                else:
                    self._keep(placed)
                    hours.append(_hashed(batch))
                    unplaced += self._checked([others])
        every = pl.concat(hours).group_by(PART, "hour").sum().sort(PART, "hour")
        without = every.filter(pl.col("hour").is_null())[PART].to_list()
        if look:
            self._looked_at.update(parts)
            unplaced += self._unplaced_of(parts, without)
        found = {}
        for number, part in enumerate(parts):
            of_part = every.filter(pl.col(PART) == number).with_columns(part=pl.lit(part)).select(PART_HOURS.names())
            self._hours[part] = set(of_part["hour"])
            bad = [rows.filter(pl.col(PART) == number) for rows in unplaced] if number in without else []
            found[part] = PartRows(of_part, *self._unplaced(part, bad))
        return found

    def _unplaced_of(self, parts: Sequence[str], numbers: Sequence[int]) -> list[pl.DataFrame]:
        """Return the rows without a time of some of the parts, which were looked at."""
        found = []
        for number in numbers:
            for rows in self._scans([parts[number]]):
                frame = rows.filter(pl.col(PLACED_AT).is_null()).collect()
                found += self._checked([frame.with_columns(pl.lit(number, pl.UInt32).alias(PART))])
        return found

    def read_hours(self, part: str, hours: Sequence[Hour]) -> None:
        """Read the rows of some hours of a part that has not changed."""
        for rows in self._scans([part], hours):
            for batch in self._batches(rows):
                self._keep(_of(batch, hours))
        self._hours.setdefault(part, set()).update(one.start for one in hours)

    def of_hours(self, hours: Sequence[Hour], *, to_write: bool = False) -> pl.DataFrame:
        """Return all rows of some hours, good and rejected: columns of the contract, `PLACED_AT`, `REASON`, `ROW`.

        `ROW` is the text of the row: of rejected rows and, if repeats are told apart by it, of all. Once for each hour
        the rows are read `to_write` them: their content hashes are then summed up.
        """
        if self._kept is not None:
            frames = [_of(batch, hours) for batch in self._kept]
        else:
            starts = {one.start for one in hours}
            parts = [part for part, has in sorted(self._hours.items()) if not starts.isdisjoint(has)]
            frames = []
            for rows in self._scans(parts, hours):
                frames.append(_of(rows.collect(), hours))
                if to_write:
                    hashed = _hashed(frames[-1])
                    names = pl.Series("part", parts, pl.String).gather(hashed[PART])
                    self._hashes.append(hashed.with_columns(names).filter(pl.col("part").is_in([*self._looked_at])))
        found = [batch.drop(PART) for batch in self._checked(frames)]
        return pl.concat(found) if found else self._no_rows

    @property
    def _no_rows(self) -> pl.DataFrame:
        schema = {**self.table.contract.polars_schema, REASON: pl.String(), ROW: pl.String(), PLACED_AT: INSTANT}
        return pl.DataFrame(schema=schema)

    def with_hashes(self, hours: pl.DataFrame) -> pl.DataFrame:
        """Return the hours of parts with the content hashes that were found when their rows were written."""
        if not self._hashes:
            return hours
        found = pl.concat(self._hashes).group_by("part", "hour").agg(pl.col("content_hash").sum())
        told = hours.join(found, on=["part", "hour"], how="left", nulls_equal=True, suffix="_found")
        return told.with_columns(pl.coalesce("content_hash_found", "content_hash").alias("content_hash")).select(
            PART_HOURS.names()
        )

    def unknown_users(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return, of checked rows, the hours and users of those that were rejected because their user is unknown."""
        if not refers_to_users(self.table):
            return WAITING.to_frame().drop("part")
        bad = rows.filter(pl.col(REASON).is_not_null() & (pl.col(REASON) != ERASED), pl.col(USER).is_not_null())
        unknown = bad.join(self.known_users, on=USER, how="anti") if bad.height else bad
        return unknown.select(hour=pl.col(PLACED_AT).dt.truncate("1h"), user_id=USER).unique()

    def _scans(self, parts: Sequence[str], hours: Sequence[Hour] = ()) -> Iterator[pl.LazyFrame]:
        """Return the validated rows of parts, a frame for those with the same columns and types."""
        if parts == [_WHOLE]:
            raw = self.source.scan(self.table, self.window)
            yield self._validated(raw.with_columns(pl.lit(0, pl.UInt32).alias(PART)), hours)
        elif parts:
            for raw in self.source.scan_parts(self.table, parts):
                yield self._validated(raw, hours)

    def _validated(self, raw: pl.LazyFrame, hours: Sequence[Hour]) -> pl.LazyFrame:
        if hours:
            time = str(self.table.time)
            dtype = raw.collect_schema().get(time)
            if isinstance(dtype, pl.Datetime) and dtype.time_zone in {None, "UTC"}:
                # Parquet's statistics then spare most row groups.
                start, end = (
                    one if dtype.time_zone else one.replace(tzinfo=None)
                    for one in (min(hours).start, max(hours).start + HOUR)
                )
                raw = raw.filter(pl.col(time) >= start, pl.col(time) < end)
        rows = read_rows(raw, self.table, self.policy.max_task_minutes)
        rows = rows.with_columns(pl.col(str(self.table.time)).alias(PLACED_AT))
        if self.window is None:
            return rows
        placed = pl.col(PLACED_AT)
        in_window = (
            placed < self.window.end
            if self.window.start is None
            else placed.is_between(self.window.start, self.window.end, closed="left")
        )
        return rows.filter(in_window | placed.is_null())

    def _batches(self, rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False):
            self.rows += batch.height
            self.on_rows(self.table.name, self.rows, None)
            yield batch

    def _keep(self, batch: pl.DataFrame) -> None:
        self._note_keys(_split(batch, batch[REASON].is_null())[0])
        if self._kept is not None:
            self._kept_rows += batch.height
            self._kept.append(batch)
            if self._kept_rows > self.rows_together:
                self._kept = None

    def _note_keys(self, rows: pl.DataFrame) -> None:
        self.keys.append(KeyHours.of(rows[self.table.key[0]], rows[PLACED_AT]))

    def _checked(self, batches: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
        """Return rows with those of unknown users rejected, and with the text of the rows that need it."""
        there = [batch for batch in batches if batch.height]
        if not there:
            return []
        if refers_to_users(self.table):
            users = pl.concat([batch.select(USER) for batch in there])
            # Most often none: a join of all rows costs less than finding the different ids among them first.
            strangers = users.join(self.known_users, on=USER, how="anti")[USER].unique()
            there = [self._without_strangers(batch, strangers) for batch in there] if len(strangers) else there
        return [self._with_text(batch) for batch in there]

    def _without_strangers(self, batch: pl.DataFrame, strangers: pl.Series) -> pl.DataFrame:
        is_suspect = pl.col(USER).is_null() | pl.col(USER).is_in(strangers.implode())
        known = self.known_users.lazy()
        told = reject_unknown_users(batch.lazy().filter(is_suspect), self.table, known, self.erased_people).collect()
        return pl.concat([batch.remove(is_suspect), told.select(batch.columns)])

    def _with_text(self, batch: pl.DataFrame) -> pl.DataFrame:
        text = rows_as_json(batch.lazy(), self.table).alias(ROW)
        if self.table is not SOURCE_USER_PROGRESS:
            return batch.with_columns(text)
        # Of two good rows of a task the text plays no part.
        good, bad = _split(batch, batch[REASON].is_null())
        good = good.with_columns(pl.lit(None, pl.String).alias(ROW))
        return pl.concat([good, bad.with_columns(text)]) if bad.height else good

    def _unplaced(self, part: str, frames: list[pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        identity = [*identity_columns(self.table.contract), REASON]
        if not frames:
            return UNPLACED.to_frame(), WAITING.to_frame(), self._no_rows.select(identity)
        rows = pl.concat(frames)
        self.erased += rows.filter(pl.col(REASON) == ERASED).height
        waiting = self.unknown_users(rows).select(pl.lit(part).alias("part"), *WAITING.names()[1:])
        rows = rows.filter(pl.col(REASON) != ERASED)
        kept = rows.select(pl.lit(part).alias("part"), pl.col(REASON).alias("reason"), pl.col(ROW).alias("row"))
        return kept, waiting, rows.select(identity)


@dataclass(frozen=True)
class PartRows:
    """What one part has."""

    hours: pl.DataFrame
    """`PART_HOURS`"""
    unplaced: pl.DataFrame
    """`UNPLACED`"""
    waiting: pl.DataFrame
    """`WAITING`, of rows that tell no hour."""
    unplaced_ids: pl.DataFrame
    """`identity_columns` and `REASON` of the rows that tell no hour."""


def _split(rows: pl.DataFrame, which: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows for which a series is true, and the others; most often all or none, without a copy."""
    if which.all():
        return rows, rows.clear()
    return rows.filter(which), rows.filter(~which)


def _hashed(batch: pl.DataFrame) -> pl.DataFrame:
    """Return the hours of rows by part, with their numbers and the sums of their hashes."""
    hashes = batch.drop(PART).unnest(ROW, separator=".").hash_rows()
    return _summed(batch.select(PART, hour=_HOUR, content_hash=hashes))


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the numbers of rows and the sums of their hashes by part and hour."""
    # Both as one number, which is grouped in half the time.
    hour = (pl.col("hour").to_physical() // _HOUR_US).fill_null(_NO_HOUR)
    key = pl.col(PART).cast(pl.Int64) * _HOURS + hour
    sums = rows.group_by(_key=key).agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("content_hash").sum())
    number = pl.col("_key") % _HOURS
    placed = pl.when(number != _NO_HOUR).then(number * _HOUR_US).cast(INSTANT)
    return sums.select(
        (pl.col("_key") // _HOURS).cast(pl.UInt32).alias(PART), placed.alias("hour"), "rows", "content_hash"
    )


def _of(batch: pl.DataFrame, hours: Sequence[Hour]) -> pl.DataFrame:
    """Return the rows of some hours, which ascend."""
    if not hours or batch.is_empty():
        return batch.clear()
    start, end, placed = hours[0].start, hours[-1].as_of, batch[PLACED_AT]
    first, last = placed.min(), placed.max()
    all_within = isinstance(first, datetime) and isinstance(last, datetime) and start <= first and last < end
    if placed.null_count() or not all_within:
        batch = batch.filter(pl.col(PLACED_AT) >= start, pl.col(PLACED_AT) < end)
    if len(hours) == (end - start) // HOUR:
        return batch
    starts = pl.Series([one.start for one in hours], dtype=INSTANT)
    return batch.filter(pl.col(PLACED_AT).dt.truncate("1h").is_in(starts.implode()))
