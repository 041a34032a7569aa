"""Writing the hours of an event table.

The hours have no gap from the first event on: an hour without events is an empty file, and a missing file is a missing
hour. Silences of more than a month are the exception: they have no files.
"""

from contextlib import ExitStack
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SOURCE_TABLES, USER_PROGRESS
from ghost_pipeline.incremental.activity_history import activity_lock, forget_activity
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.deletion_guard import identity_columns, require_rows_stay
from ghost_pipeline.ingest.dependents import EXTRACTED, SNAPSHOTS
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.ingest.source_rows import PLACED_AT
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import LONGEST_GAP, Hour, hours, without_silence


def write_events(
    lake: Lake,
    contract: Contract,
    hour: Hour,
    start: datetime | None,
    rows: pl.DataFrame,
    rejected_ids: pl.DataFrame,
    policy: ReadPolicy,
) -> int:
    """Write the hours of [start, end of `hour`), and empty ones that keep the table without a gap.

    Args:
        lake: the lake to write to.
        contract: the table.
        hour: the last hour that was read.
        start: the start of the rows read; None: the beginning.
        rows: the rows in their final order with `PLACED_AT`, the instant that places them.
        rejected_ids: `identity_columns` of the rows that the same read rejected.
        policy: how far back every run reads (late rows before that have derived tables recomputed), and how much it
            may remove.

    Returns:
        How many partitions changed.

    Raises:
        SourceError: too many rows of an hour would be removed; nothing was written.

    """
    there = lake.hours(contract)
    floor = policy.replaces_from(lake, contract, hour)
    if start is not None and start < floor:
        rows = _keeping_old_rows(
            lake, contract, [one for one in there if start <= one.start <= hour.start], floor, rows
        )
    placed = rows[PLACED_AT].dt.truncate("1h")
    begin = _begin(there, hour, start, placed)
    window = _hours_to_write(there, hour, begin, placed)

    with ExitStack() as locks:

        def before(changed: list[Hour]) -> None:
            existing = [one for one in changed if one in there]
            require_rows_stay(lake, contract, existing, rows, rejected_ids, policy.max_removed_percent)
            if begin < hour.as_of - policy.lookback:
                # First, so that after a kill between the two the late rows are still to be taken in. The locks are held
                # until they are: otherwise another run would fill the gap from the rows before.
                for derived in EXTRACTED.get(contract.name, ()):
                    locks.enter_context(table_lock(lake.root, derived.name))
                    lake.invalidate(derived, Hour.containing(begin))
            mark_stale(lake, SNAPSHOTS.get(contract.name, ()), min(changed).start, hour.as_of)
            if contract is USER_PROGRESS:
                forget_activity(lake, changed)

        if contract is USER_PROGRESS:
            locks.enter_context(activity_lock(lake))
        return lake.write_hours(contract, window, rows.drop(PLACED_AT), placed, before)


def _begin(there: list[Hour], hour: Hour, start: datetime | None, placed: pl.Series) -> datetime:
    """Return the start of the first hour to write: `start`, but not before the first hour of the table."""
    first_row = placed.min()
    firsts = there[:1] + ([Hour.containing(first_row)] if isinstance(first_row, datetime) else [])
    first = min(firsts, default=hour).start
    return max(start or first, first)


def _hours_to_write(there: list[Hour], hour: Hour, begin: datetime, placed: pl.Series) -> set[Hour]:
    # An hour that exists counts as busy, empty or not: a reader takes the hours between two of them for missing.
    known = {one for one in there if begin <= one.start < hour.as_of}
    window = known | set(without_silence({*map(Hour.containing, placed.unique()), *known}, begin, hour.as_of))
    earlier = [one for one in there if one.start < begin]
    if earlier and window and min(window).start - earlier[-1].as_of <= LONGEST_GAP:
        # A late row may split a silence into two shorter ones.
        window |= set(hours(earlier[-1].as_of, min(window).start))
    return window


def _keeping_old_rows(
    lake: Lake, contract: Contract, there: list[Hour], floor: datetime, rows: pl.DataFrame
) -> pl.DataFrame:
    """Return rows in which the hours before `floor` keep their rows of the lake, and only gain missing ones."""
    identity = identity_columns(contract)
    kept = [
        lake.scan(contract, [one]).with_columns(pl.lit(one.start, pl.Datetime("us", "UTC")).alias(PLACED_AT))
        for one in there
        if one.start < floor
    ]
    if not kept:
        return rows
    old = pl.concat(kept).collect()
    is_old = pl.col(PLACED_AT) < floor
    # A row that has moved to a later hour exists there, and no longer here.
    old = old.join(rows.remove(is_old), on=identity, how="anti") if SOURCE_TABLES[contract.name].key else old
    added = rows.filter(is_old).join(old, on=identity, how="anti")
    order = [str(SOURCE_TABLES[contract.name].time or PLACED_AT), *SOURCE_TABLES[contract.name].key]
    return pl.concat([old, added.select(old.columns), rows.remove(is_old).select(old.columns)]).sort(order)
