"""The ledgers of stale hours and months: marked before inputs change, removed once the partition is rebuilt (G1.8).

A run marks the partitions that it is building, too: if inputs change meanwhile, those partitions stay stale.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import polars as pl

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import Day, Hour, Month

_INSTANT = pl.Datetime("us", "UTC")
_ALWAYS = datetime.max.replace(tzinfo=UTC)
MARKED_TOGETHER = 24
"""Rebuilt partitions that are removed from the ledger in one write: each would cost 4 ms."""
_LOCK = STALE_HOURS.name
"""One lock for both ledgers: a change marks hours and months together."""


@dataclass(frozen=True)
class _Ledger:
    contract: Contract
    start: str
    """The column with the start of a partition."""
    containing: Callable[[datetime], Hour | Month]
    """Returns the partition that contains an instant."""

    @property
    def key(self) -> tuple[str, str]:
        return "table", self.start


_HOURS, _MONTHS = _Ledger(STALE_HOURS, "hour", Hour.containing), _Ledger(STALE_MONTHS, "month", Month.containing)


def mark_stale(
    lake: Lake,
    tables: Iterable[Contract],
    changed_from: datetime,
    noticed_at: datetime,
    changed_until: datetime = _ALWAYS,
) -> int:
    """Mark the partitions of some tables that end after `changed_from` and have been built, or are being built.

    Args:
        lake: the lake.
        tables: hourly and monthly tables.
        changed_from: the earliest instant at which an input changes.
        noticed_at: `as_of` of the run that noticed it.
        changed_until: partitions that end then or later show nothing of the change.

    Returns:
        The number of marked partitions.

    """
    marked = 0
    with table_lock(lake.root, _LOCK):
        for table in tables:
            ledger = _ledger_of(table)
            after = {*_built(lake, table, changed_from), *_under_way(lake, ledger, table, changed_from)}
            stale = {one for one in after if one.as_of < changed_until}
            for day, rows in _by_day(ledger, table, stale):
                new = rows.with_columns(
                    changed_from=pl.lit(changed_from, _INSTANT),
                    noticed_at=pl.lit(noticed_at, _INSTANT),
                    being_built=pl.lit(value=False),
                    changed_meanwhile=pl.lit(value=True),
                )
                _merge(lake, ledger, day, new)
            marked += len(stale)
    return marked


class Rebuilt:
    """The partitions of a table that a run has rebuilt. A killed run leaves the newest of them stale."""

    def __init__(self, lake: Lake, table: Contract) -> None:
        """Note nothing yet."""
        self._lake, self._table = lake, table
        self._waiting: list[Hour | Month] = []

    def add(self, partition: Hour | Month) -> None:
        """Note that a partition has been written; some at a time are removed from the ledger."""
        self._waiting.append(partition)
        if len(self._waiting) == MARKED_TOGETHER:
            self.mark()

    def mark(self) -> None:
        """Remove what was noted from the ledger."""
        mark_rebuilt(self._lake, self._table, self._waiting)
        self._waiting.clear()


@contextmanager
def mark_building(lake: Lake, table: Contract, partitions: Iterable[Hour | Month]) -> Iterator[Rebuilt]:
    """Mark partitions of a table that are about to be built from the present lake, one run at a time.

    Without the lock another run of the same partitions that read before a change and wrote after this run would leave
    stale partitions that are not marked.

    Yields:
        What takes note of the partitions that have been written.

    Raises:
        LakeError: another run builds the table for too long.

    """
    with table_lock(lake.root, table.name):
        _begin(lake, table, partitions)
        rebuilt = Rebuilt(lake, table)
        yield rebuilt
        rebuilt.mark()


def _begin(lake: Lake, table: Contract, partitions: Iterable[Hour | Month]) -> None:
    ledger = _ledger_of(table)
    with table_lock(lake.root, _LOCK):
        for day, rows in _by_day(ledger, table, partitions):
            known = _rows(lake, ledger, day)
            changes = known.select(*ledger.key, "changed_from", "noticed_at")
            begun = rows.join(changes, on=ledger.key, how="left").with_columns(
                being_built=pl.lit(value=True), changed_meanwhile=pl.lit(value=False)
            )
            rest = known.join(rows, on=ledger.key, how="anti")
            _write(lake, ledger, day, pl.concat([rest, begun.select(rest.columns)]))


def mark_rebuilt(lake: Lake, table: Contract, partitions: Iterable[Hour | Month]) -> None:
    """Remove rebuilt partitions of a table from its ledger; one whose inputs changed meanwhile stays stale."""
    ledger = _ledger_of(table)
    with table_lock(lake.root, _LOCK):
        for day, rows in _by_day(ledger, table, partitions):
            known = _rows(lake, ledger, day)
            mine = known.join(rows, on=ledger.key, how="semi").filter("changed_meanwhile", "being_built")
            rest = known.join(rows, on=ledger.key, how="anti")
            stays = mine.with_columns(being_built=pl.lit(value=False))
            if stays.height or rest.height < known.height:
                _write(lake, ledger, day, pl.concat([rest, stays]))


def drop_expired(lake: Lake, table: Contract, until: datetime) -> None:
    """Remove every partition of a table that had ended by `until`: expired partitions are not rebuilt."""
    ledger = _ledger_of(table)
    if not any(day.start < until for day in lake.days(ledger.contract)):
        return
    with table_lock(lake.root, _LOCK):
        for day in lake.days(ledger.contract):
            known = _rows(lake, ledger, day)
            starts = known.filter(pl.col("table") == table.name)[ledger.start]
            expired = [start for start in starts if ledger.containing(start).as_of <= until]
            gone = (pl.col("table") == table.name) & pl.col(ledger.start).is_in(expired)
            rest = known.remove(gone)
            if rest.height < known.height:
                _write(lake, ledger, day, rest)


def stale_hours(lake: Lake) -> pl.DataFrame:
    """The hours to rebuild: table, hour, changed_from, noticed_at; sorted by the first two."""
    return _changed(lake, _HOURS)


def changed_months(lake: Lake) -> pl.DataFrame:
    """The months whose inputs changed: table, month (its start), changed_from, noticed_at; sorted by the first two."""
    return _changed(lake, _MONTHS)


def stale_hours_of(lake: Lake, table: Contract) -> set[Hour]:
    """The stale hours of one table."""
    return {Hour.containing(start) for name, start in stale_hours(lake).select(_HOURS.key).rows() if name == table.name}


def _ledger_of(table: Contract) -> _Ledger:
    return _MONTHS if table.partitioning is Partitioning.MONTH else _HOURS


def _built(lake: Lake, table: Contract, instant: datetime) -> Iterable[Hour | Month]:
    """The partitions of a table that have been written and end after an instant."""
    if table.partitioning is Partitioning.MONTH:
        return [month for month in lake.months(table) if month.as_of > instant]
    return lake.hours_since(table, instant)


def _under_way(lake: Lake, ledger: _Ledger, table: Contract, instant: datetime) -> Iterable[Hour | Month]:
    """The partitions of a table in its ledger that end after an instant."""
    first = ledger.containing(instant).start
    rows = lake.scan(ledger.contract, [day for day in lake.days(ledger.contract) if day.as_of >= first])
    starts = rows.filter(pl.col("table") == table.name).select(ledger.start).collect().to_series()
    return [one for one in map(ledger.containing, starts) if one.as_of > instant]


def _changed(lake: Lake, ledger: _Ledger) -> pl.DataFrame:
    def read() -> pl.DataFrame:
        changed = lake.scan(ledger.contract).filter(pl.col("changed_from").is_not_null())
        return changed.select(*ledger.key, "changed_from", "noticed_at").sort(ledger.key).collect()

    return retry_on_replace(read)


def _by_day(ledger: _Ledger, table: Contract, partitions: Iterable[Hour | Month]) -> Iterator[tuple[Day, pl.DataFrame]]:
    for day, of_day in groupby(sorted(one.start for one in partitions), Day.containing):
        starts = list(of_day)
        yield day, pl.DataFrame({"table": table.name, ledger.start: starts}, schema_overrides={ledger.start: _INSTANT})


def _rows(lake: Lake, ledger: _Ledger, day: Day) -> pl.DataFrame:
    return lake.scan(ledger.contract, [day]).collect()


def _merge(lake: Lake, ledger: _Ledger, day: Day, new: pl.DataFrame) -> None:
    known = _rows(lake, ledger, day)
    both = pl.concat([known, new.select(known.columns)]).group_by(ledger.key)
    merged = both.agg(
        pl.col("changed_from").min(), pl.col("noticed_at").max(), pl.col("being_built", "changed_meanwhile").any()
    )
    _write(lake, ledger, day, merged.select(known.columns))


def _write(lake: Lake, ledger: _Ledger, day: Day, rows: pl.DataFrame) -> None:
    if rows.height:
        lake.write(ledger.contract, day, rows.sort(ledger.key))
    else:
        lake.remove(ledger.contract, day)
