"""Writing the hours of an event table.

The hours have no gap from the first event on: an hour without events is an empty file, and a missing file is a missing
hour. Silences of more than a month are the exception: they have no files.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SOURCE_TABLES, USER_PROGRESS
from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.incremental.activity_history import activity_lock, forget_activity
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.deletion_guard import identity_columns
from ghost_pipeline.ingest.dependents import EXTRACTED, SNAPSHOTS
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.ingest.source_rows import PLACED_AT
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.lake.writing import RowsOfHours
from ghost_pipeline.windows import LONGEST_GAP, Hour, without_silence

_DAYS_AROUND = (timedelta(days=1), LONGEST_GAP)
Part = tuple[list[Hour], pl.DataFrame]
"""Consecutive hours, and their rows in their final order with `PLACED_AT`, the instant that places them."""


def write_events(
    lake: Lake,
    contract: Contract,
    hour: Hour,
    window: Iterable[Hour],
    parts: Iterable[Part],
    policy: ReadPolicy,
    require_rows: Callable[[list[Hour], pl.DataFrame], None],
    before_change: Callable[[], None] = lambda: None,
) -> int:
    """Write some hours up to `hour`, and empty ones that keep the table without a gap.

    Args:
        lake: the lake to write to.
        contract: the table.
        hour: the last hour that was read.
        window: the hours to replace.
        parts: these hours with their rows, ascending. Those without a row are written if they exist.
        policy: how far back every run reads: late rows before that have derived tables recomputed.
        require_rows: raises if too many rows of existing hours would be removed; nothing is written then.
        before_change: called before the first file is replaced.

    Returns:
        How many partitions changed.

    """
    window = list(window)
    there = _hours_around(lake, contract, min(window, default=hour).start)
    busy = set(there)

    def rows_of_hours() -> Iterator[RowsOfHours]:
        for hours, rows in parts:
            starts = rows[PLACED_AT].dt.truncate("1h")
            busy.update(map(Hour.containing, starts.unique()))
            yield RowsOfHours([one for one in hours if one in busy], rows.drop(PLACED_AT), starts)
        known = {one for one in busy if one.start < hour.as_of}
        needed = set(without_silence(known, min(known, default=hour).start, hour.as_of))
        yield RowsOfHours(sorted(needed - known), contract.empty(), pl.Series(dtype=INSTANT))

    with ExitStack() as locks:

        def check(changed: list[Hour], part: RowsOfHours) -> None:
            require_rows([one for one in changed if one in there], part.rows)

        def before(changed: list[Hour]) -> None:
            first = min(changed).start
            if first < hour.as_of - policy.lookback:
                # First, so that after a kill between the two the late rows are still to be taken in. The locks are held
                # until they are: otherwise another run would fill the gap from the rows before.
                for derived in EXTRACTED.get(contract.name, ()):
                    locks.enter_context(table_lock(lake.root, derived.name))
                    lake.invalidate(derived, Hour.containing(first))
            before_change()
            mark_stale(lake, SNAPSHOTS.get(contract.name, ()), first, hour.as_of)
            if contract is USER_PROGRESS:
                forget_activity(lake, changed)

        if contract is USER_PROGRESS:
            locks.enter_context(activity_lock(lake))
        return lake.write_parts_of_hours(contract, window, rows_of_hours(), before, check)


def _hours_around(lake: Lake, contract: Contract, start: datetime) -> set[Hour]:
    """Return the hours of a table from the last one before `start` on: none is missing before that one.

    Listing a few days is enough, unless the table has gaps or was silent then.
    """
    complete = lake.complete_until(contract)
    if complete is None:
        return set()
    begin = min(start, complete)
    for days in _DAYS_AROUND:
        near = lake.hours_since(contract, begin - days)
        before = [one for one in near if one.start < begin]
        if before:
            return {one for one in near if one >= before[-1]}
    return set(lake.hours(contract))


def keeping_old_rows(
    lake: Lake, contract: Contract, hours: list[Hour], floor: datetime, rows: pl.DataFrame, newer: pl.DataFrame
) -> pl.DataFrame:
    """Return rows in which the hours before `floor` keep their rows of the lake, and only gain missing ones.

    Args:
        lake: the lake.
        contract: the table.
        hours: the hours of `rows`.
        floor: the instant from which the source still has every row.
        rows: the rows in their final order, with `PLACED_AT`.
        newer: `identity_columns` of the rows from `floor` on. A row that has moved there no longer exists before.

    """
    identity = identity_columns(contract)
    kept = [
        lake.scan(contract, [one]).with_columns(pl.lit(one.start, INSTANT).alias(PLACED_AT))
        for one in hours
        if one.start < floor
    ]
    if not kept:
        return rows
    old = pl.concat(kept).collect()
    is_old = pl.col(PLACED_AT) < floor
    old = old.join(newer, on=identity, how="anti") if SOURCE_TABLES[contract.name].key else old
    added = rows.filter(is_old).join(old, on=identity, how="anti")
    order = [str(SOURCE_TABLES[contract.name].time or PLACED_AT), *SOURCE_TABLES[contract.name].key]
    return pl.concat([old, added.select(old.columns), rows.remove(is_old).select(old.columns)]).sort(order)
