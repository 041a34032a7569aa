"""Taking a source's tables into the lake: what is read again, what is written, what is set aside.

Every hourly run reads the look-back window again and, where the lake lags behind, everything since its
last hour; the very first run reads all. So the hours of an event table have no gap from its first event
on, an hour without events is an empty file, and a missing file is a missing hour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.source import Source, halves
from ghost_pipeline.storage.lake import Lake, Rejects
from ghost_pipeline.tables.contract import Contract
from ghost_pipeline.tables.raw import (
    PRACTICE_SESSIONS,
    REJECTED_ROWS,
    SOURCE_PRACTICE_SESSIONS,
    SOURCE_USER_PROGRESS,
    USERS,
    SourceTable,
)
from ghost_pipeline.transforms.quarantine import (
    REASON,
    good_rows,
    merge_repeated_events,
    read_rows,
    reject_repeats,
    reject_unknown,
    rejected_rows,
)
from ghost_pipeline.transforms.versions import changed_rows, with_added
from ghost_pipeline.windows import HOUR, Hour, hours

_START = "_start"


@dataclass(frozen=True)
class Ingested:
    """What a run took in from one source table."""

    rows: int
    """Good rows read in the window."""
    rejected: int
    """Rows read in the window, or without a readable time, that were set aside."""
    repeated: int = 0
    """Good rows that repeat an event and were merged (G2.3)."""
    changed: int = 0
    """Partitions whose content changed."""


@dataclass(frozen=True)
class Reading:
    """Rows of a source table that were read for a window."""

    good: pl.DataFrame
    """Columns of the contract, and the instant that places a row as `_start` where the table has one."""
    rejected: pl.DataFrame
    """In the shape of `rejected_rows`."""
    sessions: pl.DataFrame
    """`session_id` of every row read, good or not, where the table has one."""


def ingest_versions(source: Source, lake: Lake, table: SourceTable, contract: Contract, hour: Hour) -> Ingested:
    """Record the changes of a table of users, cohorts or keyboards that the run of `hour` sees (G1.7)."""
    key = table.key[0]
    with reading(source, table):
        rows = _reject_strangers(_read(source, table), table, lake)
        rows = reject_repeats(rows, table.key, ("updated_at",) if _has_update(table) else ())
        good, rejected = pl.collect_all(
            [good_rows(rows), rejected_rows(rows, table, pl.lit(None, pl.Datetime("us", "UTC")))]
        )
    newest = lake.newest_hour(contract)
    added = changed_rows(good.lazy(), lake.scan(contract), key, hour.as_of, newest=newest is None or newest <= hour)
    partition = with_added(lake.scan(contract, [hour]), added, key).collect()
    lake.write(REJECTED_ROWS, Rejects(table.name, None), rejected)
    written = lake.write(contract, hour, partition)
    return Ingested(good.height, rejected.height, changed=int(written.changed))


def ingest_events(
    source: Source, lake: Lake, table: SourceTable, contract: Contract, hour: Hour, lookback: timedelta
) -> Ingested:
    """Take in the events of a table that carries its own time, up to the end of `hour`."""
    start, hour = read_from(lake, contract, hour, lookback), read_to(lake, contract, hour)
    placed = pl.col(str(table.time))
    with reading(source, table):
        rows = _reject_strangers(_read(source, table), table, lake)
        if table is not SOURCE_USER_PROGRESS:
            rows = reject_repeats(rows, table.key, ())
        found = _collect(rows.with_columns(placed.alias(_START)), table, start, hour.as_of)
    good = found.good
    if table is SOURCE_USER_PROGRESS:
        good = merge_repeated_events(good.lazy()).collect()
    good = good.sort(str(table.time), *table.key)
    changed = write_events(lake, contract, hour, start, good)
    write_rejects(lake, table, start, hour, found.rejected)
    return Ingested(good.height, found.rejected.height, found.good.height - good.height, changed)


def read_session_rows(source: Source, lake: Lake, table: SourceTable, start: datetime | None, hour: Hour) -> Reading:
    """Read the rows of a table whose rows belong to practice sessions that started in [start, end of `hour`)."""
    with reading(source, table):
        sessions = _reject_strangers(_read(source, SOURCE_PRACTICE_SESSIONS), SOURCE_PRACTICE_SESSIONS, lake)
        sessions = good_rows(sessions).select("session_id")
        starts = lake.scan(PRACTICE_SESSIONS).select("session_id", pl.col("start_time").alias(_START))
        known = pl.concat([sessions, starts.select("session_id")])
        rows = reject_unknown(_read(source, table), "session_id", known, "practice session")
        if table.key:
            rows = reject_repeats(rows, table.key, ())
        # A good session that the lake has not taken in starts at the end of the window or later, and its rows, good or
        # not, wait for its hour.
        rows = rows.join(sessions.join(starts, on="session_id", how="anti"), on="session_id", how="anti")
        rows = rows.join(starts, on="session_id", how="left", maintain_order="left")
        return _collect(rows, table, start, hour.as_of)


def ingest_session_rows(
    source: Source, lake: Lake, table: SourceTable, contract: Contract, hour: Hour, lookback: timedelta
) -> Ingested:
    """Take in the rows of a table that belong to practice sessions, up to the end of `hour`."""
    start, hour = read_from(lake, contract, hour, lookback), read_to(lake, contract, hour)
    found = read_session_rows(source, lake, table, start, hour)
    good = found.good.sort(_START, *table.key)
    changed = write_events(lake, contract, hour, start, good)
    write_rejects(lake, table, start, hour, found.rejected)
    return Ingested(good.height, found.rejected.height, changed=changed)


def read_from(lake: Lake, contract: Contract, hour: Hour, lookback: timedelta) -> datetime | None:
    """From when on the run of `hour` reads a table again; None: from the beginning."""
    complete = lake.complete_until(contract)
    if complete is None:
        return None
    return min(hour.as_of - lookback, complete)


def read_to(lake: Lake, contract: Contract, hour: Hour) -> Hour:
    """The last hour that the run of `hour` reads: its own, or all up to the lake's first where that comes later.

    A late event may need an hour before the first one; those between have to be read, not taken for empty.
    """
    there = lake.hours(contract)
    return max(hour, Hour(there[0].start - HOUR)) if there else hour


def write_events(lake: Lake, contract: Contract, hour: Hour, start: datetime | None, rows: pl.DataFrame) -> int:
    """Write the hours of [start, end of `hour`) and whatever keeps the table without a gap.

    Args:
        lake: where to.
        contract: the table.
        hour: the last hour that was read.
        start: from when on the rows were read; None: from the beginning.
        rows: the rows in their final order with `_start`, the instant that places them.

    Returns:
        How many partitions changed.

    """
    placed = rows[_START].dt.truncate("1h")
    there = lake.hours(contract)
    first_row = placed.min()
    firsts = there[:1] + ([Hour.containing(first_row)] if isinstance(first_row, datetime) else [])
    first = min(firsts, default=hour).start
    return lake.write_hours(contract, hours(max(start or first, first), hour.as_of), rows.drop(_START), placed)


def write_rejects(lake: Lake, table: SourceTable, start: datetime | None, hour: Hour, rejected: pl.DataFrame) -> None:
    """Replace the rejected rows of the hours of [start, end of `hour`), and those that tell no hour."""
    by_hour = rejected.partition_by("hour", maintain_order=True, as_dict=True)
    found = {Hour.containing(key[0]) if isinstance(key[0], datetime) else None: part for key, part in by_hour.items()}
    for one, part in found.items():
        lake.write(REJECTED_ROWS, Rejects(table.name, one), part)
    for old in lake.rejects(REJECTED_ROWS, table.name):
        read_again = old.hour is None or ((start is None or old.hour.start >= start) and old.hour <= hour)
        if read_again and old.hour not in found:
            lake.remove(REJECTED_ROWS, old)


@contextmanager
def reading(source: Source, table: SourceTable) -> Iterator[None]:
    """Turn what an engine says about a damaged file into one line that names source and table.

    Raises:
        SourceError: the rows cannot be read.

    """
    try:
        yield
    except pl.exceptions.PolarsError as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{source.name}: table {table.name} cannot be read ({first_line}). A file of it is damaged, or its "
            f"files differ in their column types: write them again, and run again",
        ) from error


def _read(source: Source, table: SourceTable) -> pl.LazyFrame:
    """The read rows of a table; of a half or an optional table that the source has not, none."""
    absent = table.half is not None and table.half not in halves(source)
    if absent or (not table.required and table.name not in source.tables()):
        return read_rows(pl.LazyFrame(schema={column.name: pl.String for column in table.columns}), table)
    return read_rows(source.scan(table), table)


def _collect(rows: pl.LazyFrame, table: SourceTable, start: datetime | None, as_of: datetime) -> Reading:
    placed = pl.col(_START)
    in_window = placed < pl.lit(as_of, pl.Datetime("us", "UTC"))
    if start is not None:
        in_window &= placed >= pl.lit(start, pl.Datetime("us", "UTC"))
    good, rejected, sessions = pl.collect_all(
        [
            good_rows(rows.filter(in_window)),
            rejected_rows(rows.filter(in_window | placed.is_null(), pl.col(REASON).is_not_null()), table, placed),
            rows.filter(in_window).select(pl.col("session_id").unique())
            if table.of_session
            else pl.LazyFrame(schema={"session_id": pl.String}),
        ]
    )
    return Reading(good, rejected, sessions)


def _reject_strangers(rows: pl.LazyFrame, table: SourceTable, lake: Lake) -> pl.LazyFrame:
    if any(column.references == "users" for column in table.columns):
        return reject_unknown(rows, "user_id", lake.scan(USERS), "user")
    return rows


def _has_update(table: SourceTable) -> bool:
    return any(column.name == "updated_at" for column in table.columns)
