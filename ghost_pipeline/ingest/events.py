"""Ingesting events: rows that carry their own time.

A run reads the parts of the source that are new or have changed, and of the others only the hours that something else
has changed: a part that is gone, a user who came later, a repeated key. Whatever the order in which parts come, change
and go, the lake is the one that a single run over all of them would write.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import REJECTED_ROWS, SOURCE_USER_PROGRESS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.deletion_guard import identity_columns, require_rows_stay
from ghost_pipeline.ingest.event_hours import Part, keeping_old_rows, write_events
from ghost_pipeline.ingest.event_rows import EventRows, PartRows
from ghost_pipeline.ingest.key_hours import KeyFiles, KeyHours, Numbers, hour_number, hour_of_number, in_several_hours
from ghost_pipeline.ingest.part_ledger import (
    NOTHING_KNOWN,
    PART_HOURS,
    PENDING,
    PartLedger,
    forget_ledger,
    load_ledger,
    read_as,
    save_ledger,
)
from ghost_pipeline.ingest.people import known_users
from ghost_pipeline.ingest.read_policy import ReadPolicy, range_end, source_from
from ghost_pipeline.ingest.rejects import RejectsOfHours
from ghost_pipeline.ingest.result import NOT_IN_SOURCE, IngestResult, OnRows, silent
from ghost_pipeline.ingest.source_rows import PLACED_AT, is_in_source, reading
from ghost_pipeline.ingest.validation import ERASED, REASON, ROW, merge_repeated_events, reject_repeats
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.personal_columns import USER
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones
from ghost_pipeline.sources.source import Source, Window
from ghost_pipeline.windows import Hour


def ingest_events(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    hour: Hour,
    policy: ReadPolicy,
    erased: Tombstones = NO_TOMBSTONES,
    on_rows: OnRows = silent,
) -> IngestResult:
    """Write the events of a table, up to the end of `hour`, to the lake.

    Raises:
        SourceError: the table cannot be read, or too many of its rows are gone; nothing was written.

    """
    if not is_in_source(source, lake, table, contract):
        return NOT_IN_SOURCE
    start, hour = source_from(lake, contract, hour, policy), range_end(lake, contract, hour)
    with reading(source, table, lake):
        versions = source.part_versions(table)
        window = Window(start, hour.as_of) if versions is None else None
        rows = EventRows(source, table, policy, known_users(lake), erased, on_rows, window)
        one = _Ingestion(lake, contract, hour, policy, rows, versions)
        if versions is None:
            one.read_window()
        else:
            one.read_changed_parts()
        one.find_repeats()
        return one.write()


@dataclass
class _Ingestion:
    """One run's reading of one event table."""

    lake: Lake
    contract: Contract
    hour: Hour
    policy: ReadPolicy
    rows: EventRows
    versions: Mapping[str, str] | None
    ledger: PartLedger = NOTHING_KNOWN
    parts: dict[str, PartRows] = field(default_factory=dict)
    """Those that were read completely."""
    hours: pl.DataFrame = field(default_factory=PART_HOURS.to_frame)
    """The hours of all parts, read or not."""
    touched: set[Hour] = field(default_factory=set)
    """The hours to write."""
    pending: set[Hour] = field(default_factory=set)
    """The hours to write once they have ended."""
    repeats: pl.DataFrame | None = None
    """Rows whose key is in several hours, with the choice between them."""
    waiting: list[pl.DataFrame] = field(default_factory=list)
    rejected_ids: pl.DataFrame = field(default_factory=pl.DataFrame)
    hours_together: list[Hour] = field(default_factory=list)
    good: int = 0
    merged: int = 0

    def __post_init__(self) -> None:
        """Begin without rejected rows."""
        self.floor = self.policy.replaces_from(self.lake, self.contract, self.hour)
        self.rejects = RejectsOfHours(lake=self.lake, table=self.table, floor=self.floor)

    @property
    def table(self) -> SourceTable:
        return self.rows.table

    def read_window(self) -> None:
        """Read the rows of a window; all of its hours are written."""
        window = self.rows.window
        self.parts = self.rows.read_parts([""], every_hour=True)
        self.hours = self.parts[""].hours
        start = window.start if window else None
        there = self.lake.hours_between(self.contract, start, self.hour.as_of)
        self.touched = {*there, *_hours_of(self.hours), *self._hours_of_rejects(start)}

    def read_changed_parts(self) -> None:
        """Read new and changed parts, and find the hours that differ from what was last taken in."""
        versions = self.versions or {}
        self.ledger = load_ledger(self.lake, self.table.name, self._read_as)
        if not self._key_files.are_sound:
            self.ledger = NOTHING_KNOWN
        known = self.ledger
        found = known.waiting.join(self.rows.known_users, on=USER, how="semi")
        again = set(found.filter(pl.col("hour").is_null())["part"])
        changed = sorted(part for part, one in versions.items() if known.versions.get(part) != one or part in again)
        self.parts = self.rows.read_parts(changed, every_hour=not known.is_known)
        is_same = pl.col("part").is_in([part for part in versions if part not in self.parts])
        new = pl.concat([PART_HOURS.to_frame(), *(part.hours for part in self.parts.values())])
        old = known.hours.remove(is_same)
        self.hours = pl.concat([known.hours.filter(is_same), new])
        in_lake = self.lake.file_versions_of(self.contract)
        differs = _differing(old, new) | _differing(known.lake, in_lake)
        differs |= _hours_of(known.pending) | _hours_of(found)
        if not known.is_known:
            differs |= self._hours_of_rejects(None)
        self.touched = {one for one in differs if one.as_of <= self.hour.as_of}
        self.pending = differs - self.touched
        self._read_others(self.touched)

    def _hours_of_rejects(self, start: datetime | None) -> set[Hour]:
        """Return the hours from `start` on with rejected rows in the lake, which may have no good ones."""
        there = {one.hour for one in self.lake.rejects(REJECTED_ROWS, self.table.name) if one.hour is not None}
        return {one for one in there if one.as_of <= self.hour.as_of and (start is None or one.start >= start)}

    def find_repeats(self) -> None:
        """Find keys with rows in several hours; hours whose choice between such rows may change are written, too."""
        keys = self._touched_keys()
        several = in_several_hours(keys)
        numbers = _numbers(self.touched)
        here = np.unique(np.concatenate([one.hours[np.isin(one.keys, several)] for one in keys] or [numbers[:0]]))
        also = set(map(hour_of_number, here.tolist()))
        if self._key_files.versions.height:
            mine = KeyHours.joined([*keys, self._key_files.of_hours(numbers)])
            elsewhere = self._key_files.elsewhere(mine.keys, numbers)
            more = set(map(hour_of_number, np.unique(elsewhere.hours).tolist()))
            self.pending |= {one for one in more if one.as_of > self.hour.as_of}
            more = {one for one in more if one.as_of <= self.hour.as_of}
            self.touched |= more
            # Their other keys may be in further hours. These do not change, but their rows decide with.
            numbers = _numbers(self.touched)
            beyond = self._key_files.elsewhere(self._key_files.of_hours(_numbers(more)).keys, numbers)
            beyond = beyond.where(beyond.hours < hour_number(self.hour.as_of))
            further = set(map(hour_of_number, np.unique(beyond.hours).tolist()))
            self._read_others(more | further)
            several = np.unique(np.concatenate([several, elsewhere.keys, beyond.keys]))
            mine_again = mine.where(np.isin(mine.keys, several))
            also |= more | further | set(map(hour_of_number, np.unique(mine_again.hours).tolist()))
        if len(several):
            is_repeated = pl.col(self.table.key[0]).hash().is_in(pl.Series(several).implode())
            found = [
                self.rows.of_hours(some).filter(is_repeated, pl.col(REASON).is_null()) for some in self._together(also)
            ]
            every = pl.concat(found)
            self.repeats = self._chosen(every)
            self.merged += every.height - self.repeats.height

    def write(self) -> IngestResult:
        """Write the touched hours, their rejected rows and the ledger."""
        changed = write_events(
            self.lake,
            self.contract,
            self.hour,
            self.touched,
            self._to_write(),
            self.policy,
            self._require_rows,
            self._before_change,
        )
        # Rejected rows may differ where no good row does.
        self.rows.source.require_unreplaced(self.table)
        forget_ledger(self.lake, self.table.name)
        unplaced = self._unplaced()
        self._write_rejects(unplaced)
        if self.versions is not None:
            self._save(unplaced)
        read = self.rows.parts_read - {""}
        return IngestResult(
            self.good,
            self.rejects.rows + unplaced.height,
            self.merged,
            changed,
            self.rows.erased,
            files_read=len(read),
            files_skipped=len(self.versions or {}) - len(read),
        )

    def _read_others(self, hours: set[Hour]) -> None:
        """Read some hours of the parts that were not read as a whole."""
        starts = pl.Series([one.start for one in hours], dtype=INSTANT)
        others = self.hours.filter(pl.col("hour").is_in(starts.implode()), ~pl.col("part").is_in([*self.parts]))
        for (part,), of_part in others.sort("part", "hour").group_by("part", maintain_order=True):
            self.rows.read_hours(str(part), [Hour.containing(one) for one in of_part["hour"]])

    def _together(self, hours: set[Hour]) -> Iterator[list[Hour]]:
        """Cut hours into consecutive ones that fit into memory together."""
        counts = dict(self.hours.group_by("hour").agg(pl.col("rows").sum()).iter_rows())
        some: list[Hour] = []
        room = self.rows.rows_together
        for one in sorted(hours):
            size = counts.get(one.start, 0)
            if some and size > room:
                yield some
                some, room = [], self.rows.rows_together
            some.append(one)
            room -= size
        if some:
            yield some

    def _to_write(self) -> Iterator[Part]:
        order = [str(self.table.time), *self.table.key]
        columns = [*self.contract.polars_schema, PLACED_AT]
        identity = [*identity_columns(self.contract), REASON]
        floor = self.floor
        old = {one for one in self.lake.written(self.contract, self.touched) if one.start < floor}
        newer = self._ids_from(floor) if old else pl.DataFrame()
        unplaced_ids = [part.unplaced_ids for part in self.parts.values()]
        total = int(self.hours.filter(pl.col("hour").is_in([one.start for one in self.touched]))["rows"].sum())
        taken = 0
        for some in self._together(self.touched):
            found = self._without_repeats(self.rows.of_hours(some, to_write=True), some)
            taken += found.height
            self.rows.on_rows(self.table.name, taken, total)
            self.rows.erased += found.filter(pl.col(REASON) == ERASED).height
            bad = found.filter(pl.col(REASON).is_not_null() & (pl.col(REASON) != ERASED))
            self.waiting.append(self.rows.unknown_users(bad))
            self.rejected_ids = pl.concat([bad.select(identity), *unplaced_ids])
            self.hours_together = some
            good = _sorted(found.filter(pl.col(REASON).is_null()).select(columns), order)
            self.good += good.height
            there = self.lake.scan(self.contract, sorted(old & {*some})).select(self.table.key).collect()
            before = good.filter(pl.col(PLACED_AT).dt.truncate("1h") < floor).select(self.table.key)
            self.rejects.add_of_hours(_as_rejected(bad, self.table), before.join(there, on=self.table.key, how="anti"))
            yield some, keeping_old_rows(self.lake, self.contract, sorted(old & {*some}), floor, good, newer)

    def _ids_from(self, floor: datetime) -> pl.DataFrame:
        newer = {one for one in self.touched if one.start >= floor}
        identity = identity_columns(self.contract)
        found = [self.rows.of_hours(some).filter(pl.col(REASON).is_null()) for some in self._together(newer)]
        return pl.concat([self.rows.of_hours([]), *found]).select(identity)

    def _without_repeats(self, rows: pl.DataFrame, hours: list[Hour]) -> pl.DataFrame:
        if self.repeats is not None:
            hashes = rows[self.table.key[0]].hash()
            is_good = rows[REASON].is_null()
            is_chosen = hashes.is_in(self.repeats[self.table.key[0]].hash().unique().implode()) & is_good
            starts = pl.Series([one.start for one in hours], dtype=INSTANT)
            chosen = self.repeats.filter(pl.col(PLACED_AT).dt.truncate("1h").is_in(starts.implode()))
            rest = self._without_repeats_of_an_hour(rows.filter(~is_chosen))
            return pl.concat([rest, chosen])
        return self._without_repeats_of_an_hour(rows)

    def _without_repeats_of_an_hour(self, rows: pl.DataFrame) -> pl.DataFrame:
        hashes = rows[self.table.key[0]].hash()
        is_good = rows[REASON].is_null()
        twice = hashes.filter(is_good)
        if twice.n_unique() == len(twice):
            return rows
        twice = twice.filter(twice.is_duplicated()).unique()
        is_repeated = hashes.is_in(twice.implode()) & is_good
        chosen = self._chosen(rows.filter(is_repeated))
        self.merged += int(is_repeated.sum()) - chosen.height
        return pl.concat([rows.filter(~is_repeated), chosen])

    def _chosen(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return good rows without repeats: repeated tasks are merged, other repeats rejected."""
        if self.table is SOURCE_USER_PROGRESS:
            return merge_repeated_events(rows.lazy()).collect()
        return reject_repeats(rows.lazy(), self.table, (), pl.col(ROW)).select(rows.columns).collect()

    def _require_rows(self, changed: list[Hour], rows: pl.DataFrame) -> None:
        require_rows_stay(self.lake, self.contract, changed, rows, self.rejected_ids, self.policy, self._still_there)

    def _still_there(self, missing: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that this read places in hours other than those that are being written."""
        here = _numbers(self.hours_together)
        hashes = missing[self.table.key[0]].hash()
        found = pl.Series(np.zeros(missing.height, dtype=np.bool_))
        for keys in self._touched_keys():
            elsewhere = keys.keys[np.isin(keys.hours, here, invert=True)]
            found |= pl.Series(np.isin(hashes.to_numpy(), elsewhere))
        return missing.filter(found)

    def _before_change(self) -> None:
        is_read_again = self.versions is not None and not self.rows.are_kept
        if is_read_again and dict(self.rows.source.part_versions(self.table) or {}) != dict(self.versions or {}):
            says = f"table {self.table.name} has changed while it was read. Nothing was written. Run again"
            raise SourceError(f"{self.rows.source.name}: {says}")
        self.rows.source.require_unreplaced(self.table)
        # Also of a source without parts: its rejected rows are not those of the files that the ledger tells of.
        forget_ledger(self.lake, self.table.name)

    def _unplaced(self) -> pl.DataFrame:
        kept = self.ledger.unplaced.filter(pl.col("part").is_in(self._same_parts))
        return pl.concat([kept, *(part.unplaced for part in self.parts.values())])

    def _write_rejects(self, unplaced: pl.DataFrame) -> None:
        without_hour = unplaced.select(
            source_table=pl.lit(self.table.name), hour=pl.lit(None, INSTANT), reason="reason", row="row"
        )
        self.rejects.write(self.touched, without_hour)

    def _save(self, unplaced: pl.DataFrame) -> None:
        known = self.ledger
        touched = pl.Series([one.start for one in self.touched], dtype=INSTANT)
        is_kept = pl.col("hour").is_null() & pl.col("part").is_in(self._same_parts)
        is_kept |= pl.col("hour").is_not_null() & ~pl.col("hour").is_in(touched.implode())
        waiting = [
            known.waiting.filter(is_kept),
            *(part.waiting for part in self.parts.values()),
            *(one.select(pl.lit(None, pl.String).alias("part"), "hour", USER) for one in self.waiting),
        ]
        keys = self._key_files.replaced(_numbers(self.touched), self._touched_keys())
        ledger = PartLedger(
            dict(self.versions or {}),
            self.rows.with_hashes(self.hours),
            unplaced,
            pl.concat(waiting),
            pl.DataFrame({"hour": [one.start for one in sorted(self.pending)]}, schema=PENDING),
            self.lake.file_versions_of(self.contract),
            keys,
        )
        save_ledger(self.lake, self.table.name, self._read_as, ledger)

    def _touched_keys(self) -> list[KeyHours]:
        numbers = _numbers(self.touched)
        found = []
        for one in self.rows.keys:
            is_touched = np.isin(one.hours, numbers)
            found.append(one if is_touched.all() else one.where(is_touched))
        return found

    @property
    def _same_parts(self) -> list[str]:
        return [part for part in self.versions or {} if part not in self.parts]

    @property
    def _key_files(self) -> KeyFiles:
        return KeyFiles(self.lake, self.table.name, self.ledger.keys)

    @property
    def _read_as(self) -> str:
        return read_as(self.rows.source, self.table, self.policy.max_task_minutes, self.policy.keeps)


def _sorted(rows: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Return rows in an order that begins with their time: files often have it already."""
    times = rows[order[0]].to_physical()
    return rows if (times.diff().drop_nulls() > 0).all() else rows.sort(order)


def _as_rejected(rows: pl.DataFrame, table: SourceTable) -> pl.DataFrame:
    return rows.select(
        source_table=pl.lit(table.name), hour=pl.col(PLACED_AT).dt.truncate("1h"), reason=REASON, row=ROW
    )


def _hours_of(frame: pl.DataFrame) -> set[Hour]:
    return {Hour.containing(one) for one in frame["hour"].drop_nulls().unique()}


def _differing(one: pl.DataFrame, other: pl.DataFrame) -> set[Hour]:
    """Return the hours of rows that are in one of two frames only."""
    every = one.columns
    only = [
        one.join(other, on=every, how="anti", nulls_equal=True),
        other.join(one, on=every, how="anti", nulls_equal=True),
    ]
    return _hours_of(pl.concat(only))


def _numbers(hours: Iterable[Hour]) -> Numbers:
    return np.array(sorted(hour_number(one.start) for one in hours), dtype=np.int32)
