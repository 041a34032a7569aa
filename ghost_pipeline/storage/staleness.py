"""The ledger of stale hours: put down before the events change, taken off when the hour has been built again (G1.8)."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

import polars as pl

from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.storage.locking import one_at_a_time
from ghost_pipeline.tables.contract import Contract
from ghost_pipeline.tables.staleness import STALE_HOURS
from ghost_pipeline.windows import Day, Hour


def mark_stale(lake: Lake, snapshot: Contract, changed_from: datetime, noticed_at: datetime) -> int:
    """Put down the hours of a snapshot that have been built and end after `changed_from`; returns how many."""
    built = [hour for hour in lake.hours(snapshot) if hour.as_of > changed_from]
    if not built:
        return 0
    rows = pl.DataFrame(
        {"table": snapshot.name, "hour": [hour.start for hour in built]}, schema_overrides={"hour": _INSTANT}
    ).with_columns(changed_from=pl.lit(changed_from, _INSTANT), noticed_at=pl.lit(noticed_at, _INSTANT))
    with one_at_a_time(lake.root, STALE_HOURS.name):
        for day, of_day in groupby(built, lambda hour: Day.containing(hour.start)):
            new = rows.filter(pl.col("hour").is_in([hour.start for hour in of_day]))
            before = lake.scan(STALE_HOURS, [day]).collect()
            both = pl.concat([before, new.select(before.columns)]).group_by("table", "hour")
            merged = both.agg(pl.col("changed_from").min(), pl.col("noticed_at").max())
            lake.write(STALE_HOURS, day, merged.select(before.columns).sort("table", "hour"))
    return len(built)


def clear_stale(lake: Lake, snapshot: Contract, hours: Iterable[Hour]) -> None:
    """Take hours of a snapshot off that have been built again."""
    for day, of_day in groupby(sorted(hours), lambda hour: Day.containing(hour.start)):
        if lake.exists(STALE_HOURS, day):
            with one_at_a_time(lake.root, STALE_HOURS.name):
                done = (pl.col("table") == snapshot.name) & pl.col("hour").is_in([hour.start for hour in of_day])
                left = lake.scan(STALE_HOURS, [day]).remove(done).collect()
                if left.height:
                    lake.write(STALE_HOURS, day, left)
                else:
                    lake.remove(STALE_HOURS, day)


def stale_hours(lake: Lake) -> pl.DataFrame:
    """The rows of `stale_hours`, sorted by table and hour."""
    return lake.scan(STALE_HOURS).sort("table", "hour").collect()


_INSTANT = pl.Datetime("us", "UTC")
