"""How far the events of a source reach: hours far beyond its newest event would only show that all have gone silent."""

from contextlib import closing
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.errors import GhostError
from ghost_pipeline.ingest.source_rows import is_absent, read_table, reading
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Window
from ghost_pipeline.windows import Hour

EVENT_TABLES = tuple(table for table in SOURCE_TABLES.values() if table.time)
"""The source's tables whose rows have a time of their own."""


def newest_event(lake: Lake, settings: Settings, hour: Hour) -> datetime | None:
    """Return the newest event before the end of an hour, as an instant that is not before it.

    If the lake has one of the last `GHOST_QUIET_HOURS`, that is enough: the end of its hour is returned, and the source
    is not opened.

    Returns:
        None if neither has any, no source is set, or it cannot be read: the run of an hour then says why.

    """
    since = hour.as_of - settings.quiet
    known = _newest_in_lake(lake, hour, since)
    if known or settings.source is None:
        return known
    try:
        return _newest_in_source(lake, settings, settings.source, hour)
    except GhostError:
        return None


def first_hour(lake: Lake) -> Hour | None:
    """Return the hour of the first event in the lake; None without one."""
    found = (lake.first_hour(table.contract) for table in EVENT_TABLES)
    return min((hour for hour in found if hour), default=None)


def _newest_in_lake(lake: Lake, hour: Hour, since: datetime) -> datetime | None:
    found = []
    for table in EVENT_TABLES:
        written = (one for one in reversed(lake.hours_since(table.contract, since)) if one <= hour)
        newest = next((one for one in written if lake.rows(table.contract, one)), None)
        found += [newest.as_of] if newest else []
    return max(found, default=None)


def _newest_in_source(lake: Lake, settings: Settings, address: str, hour: Hour) -> datetime | None:
    found: list[datetime] = []
    with closing(open_source(address, settings.source_mapping)) as source:
        for table in EVENT_TABLES:
            if table.time is None or is_absent(source, table):
                continue
            time, before = pl.col(table.time), pl.lit(hour.as_of, pl.Datetime("us", "UTC"))
            with reading(source, table, lake):
                rows = read_table(source, table, Window(None, hour.as_of), settings.max_task_minutes)
                newest = rows.select(time.filter(time < before).max()).collect(engine="streaming").item()
            found += [newest] if isinstance(newest, datetime) else []
    return max(found, default=None)
