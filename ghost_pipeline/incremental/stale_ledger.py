"""The ledger of stale hours: marked before events change, removed once the hour has been rebuilt (G1.8).

A run marks the hours that it is building, too: if events change meanwhile, those hours stay stale.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.staleness import STALE_HOURS
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import Day, Hour

_INSTANT = pl.Datetime("us", "UTC")
_KEY = ("table", "hour")


def mark_stale(lake: Lake, tables: Iterable[Contract], changed_from: datetime, noticed_at: datetime) -> int:
    """Mark the hours of some tables that end after `changed_from` and have been built, or are being built.

    Returns:
        The number of marked hours.

    """
    marked = 0
    with _ledger(lake):
        under_way = _since(lake, changed_from).filter(pl.col("hour") > changed_from - pl.duration(hours=1)).collect()
        for table in tables:
            begun = under_way.filter(pl.col("table") == table.name)["hour"]
            hours = sorted({*lake.hours_since(table, changed_from), *map(Hour.containing, begun)})
            for day, rows in _by_day(table, hours):
                new = rows.with_columns(
                    changed_from=pl.lit(changed_from, _INSTANT),
                    noticed_at=pl.lit(noticed_at, _INSTANT),
                    being_built=pl.lit(value=False),
                    changed_meanwhile=pl.lit(value=True),
                )
                _merge(lake, day, new)
            marked += len(hours)
    return marked


@contextmanager
def mark_building(lake: Lake, table: Contract, hours: Iterable[Hour]) -> Iterator[None]:
    """Mark hours of a table that are about to be built from the present lake, one run at a time.

    Without the lock another run of the same hours that read before a change and wrote after this run would leave
    stale hours that are not marked.

    Raises:
        LakeError: another run builds the table for too long.

    """
    with table_lock(lake.root, table.name):
        _begin(lake, table, hours)
        yield


def _begin(lake: Lake, table: Contract, hours: Iterable[Hour]) -> None:
    with _ledger(lake):
        for day, rows in _by_day(table, sorted(hours)):
            known = _rows(lake, day)
            begun = rows.join(known.select(*_KEY, "changed_from", "noticed_at"), on=_KEY, how="left").with_columns(
                being_built=pl.lit(value=True), changed_meanwhile=pl.lit(value=False)
            )
            rest = known.join(rows, on=_KEY, how="anti")
            _write(lake, day, pl.concat([rest, begun.select(rest.columns)]))


def mark_rebuilt(lake: Lake, table: Contract, hours: Iterable[Hour]) -> None:
    """Remove rebuilt hours of a table from the ledger; an hour whose inputs changed meanwhile stays stale."""
    with _ledger(lake):
        for day, rows in _by_day(table, sorted(hours)):
            known = _rows(lake, day)
            mine = known.join(rows, on=_KEY, how="semi").filter("changed_meanwhile", "being_built")
            rest = known.join(rows, on=_KEY, how="anti")
            stays = mine.with_columns(being_built=pl.lit(value=False))
            if stays.height or rest.height < known.height:
                _write(lake, day, pl.concat([rest, stays]))


def drop_expired(lake: Lake, table: Contract, until: datetime) -> None:
    """Remove every hour of a table that had ended by `until`: expired hours are not rebuilt."""
    if not any(day.start < until for day in lake.days(STALE_HOURS)):
        return
    with _ledger(lake):
        for day in lake.days(STALE_HOURS):
            known = _rows(lake, day)
            gone = (pl.col("table") == table.name) & (pl.col("hour") < pl.lit(until, _INSTANT))
            rest = known.remove(gone)
            if rest.height < known.height:
                _write(lake, day, rest)


def stale_hours(lake: Lake) -> pl.DataFrame:
    """The hours to rebuild: table, hour, changed_from, noticed_at; sorted by the first two."""

    def read() -> pl.DataFrame:
        changed = lake.scan(STALE_HOURS).filter(pl.col("changed_from").is_not_null())
        return changed.select(*_KEY, "changed_from", "noticed_at").sort(_KEY).collect()

    return retry_on_replace(read)


def stale_hours_of(lake: Lake, table: Contract) -> set[Hour]:
    """The stale hours of one table."""
    return {Hour.containing(start) for name, start in stale_hours(lake).select(_KEY).rows() if name == table.name}


@contextmanager
def _ledger(lake: Lake) -> Iterator[None]:
    with table_lock(lake.root, STALE_HOURS.name):
        yield


def _by_day(table: Contract, hours: Iterable[Hour]) -> Iterator[tuple[Day, pl.DataFrame]]:
    for day, of_day in groupby(hours, lambda hour: Day.containing(hour.start)):
        starts = [hour.start for hour in of_day]
        yield day, pl.DataFrame({"table": table.name, "hour": starts}, schema_overrides={"hour": _INSTANT})


def _since(lake: Lake, instant: datetime) -> pl.LazyFrame:
    first = Day.containing(instant)
    return lake.scan(STALE_HOURS, [day for day in lake.days(STALE_HOURS) if day.as_of >= first.start])


def _rows(lake: Lake, day: Day) -> pl.DataFrame:
    return lake.scan(STALE_HOURS, [day]).collect()


def _merge(lake: Lake, day: Day, new: pl.DataFrame) -> None:
    known = _rows(lake, day)
    both = pl.concat([known, new.select(known.columns)]).group_by(_KEY)
    merged = both.agg(
        pl.col("changed_from").min(), pl.col("noticed_at").max(), pl.col("being_built", "changed_meanwhile").any()
    )
    _write(lake, day, merged.select(known.columns))


def _write(lake: Lake, day: Day, rows: pl.DataFrame) -> None:
    if rows.height:
        lake.write(STALE_HOURS, day, rows.sort(_KEY))
    else:
        lake.remove(STALE_HOURS, day)
