"""Removing expired partitions, and the ledger rows and cached frames about them.

The clock of a table is its newest partition: the wall clock is not used, and a table that is no longer continued loses
nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.activity import ACTIVITY_CONTRACTS
from ghost_pipeline.contracts.contract import Layer, Partitioning
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS
from ghost_pipeline.contracts.retention import Chosen, retention
from ghost_pipeline.incremental.activity_history import activity_lock
from ghost_pipeline.incremental.stale_ledger import drop_expired
from ghost_pipeline.incremental.summary_cache import forget_inputs
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Partition
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.database_builder import publication_lock
from ghost_pipeline.windows import Day, Hour, Month

SNAPSHOTS = tuple(
    contract
    for contract in CONTRACTS.values()
    if contract.partitioning is Partitioning.SNAPSHOT_HOUR and contract.layer is not Layer.OPERATIONS
)


@dataclass(frozen=True)
class Removed:
    """The partitions removed from a table."""

    table: str
    retention: timedelta
    ended_by: datetime
    """Partitions that had ended by then are removed."""
    partitions: int
    """Their number."""


def newest_snapshot(lake: Lake) -> Hour | None:
    """The newest hour for which any table holds a snapshot."""
    return max((hour for one in SNAPSHOTS if (hour := lake.newest_hour(one))), default=None)


def remove_expired(lake: Lake, chosen: Chosen, database: Location) -> list[Removed]:
    """Remove every expired partition, the oldest first.

    Args:
        lake: the lake.
        chosen: the value of `GHOST_RETENTION`.
        database: the published database, which another run may be building from these partitions.

    Returns:
        One element for each table that has a retention and a partition.

    Raises:
        LakeError: a partition cannot be removed.

    """
    found = []
    for contract in CONTRACTS.values():
        kept = retention(contract, chosen)
        if kept is None:
            continue
        with _guard(lake, contract, database):
            for partitions, newest in _timelines(lake, contract):
                until = newest - kept
                removed = sum(lake.remove(contract, partition) for partition, end in partitions if end <= until)
                found.append(Removed(contract.name, kept, until, removed))
                # Even if none was removed now: an earlier run may have been killed right after removing partitions.
                drop_expired(lake, contract, until)
                if contract is NGRAM_SPEED_SUMMARIES:
                    forget_inputs(lake, until)
    return found


def _timelines(lake: Lake, contract: Contract) -> Iterator[tuple[list[tuple[Partition, datetime]], datetime]]:
    """The partitions of a table with their ends, ascending, and the end of the newest one."""
    if contract is REJECTED_ROWS:
        # Rejects without an hour come from the last read and stay; the age of the others counts from the newest valid
        # rows of their table.
        for table in RAW_CONTRACTS.values():
            rejects = [(one, one.hour.as_of) for one in lake.rejects(contract, table.name) if one.hour]
            newest = lake.newest_hour(table)
            if rejects and newest:
                yield list(rejects), newest.as_of
        return
    match contract.partitioning:
        case Partitioning.MONTH:
            windows: Sequence[Hour | Day | Month] = lake.months(contract)
        case Partitioning.EVENT_DAY:
            windows = lake.days(contract)
        case _:
            windows = lake.hours(contract)
    if windows:
        yield [(window, window.as_of) for window in windows], windows[-1].as_of


def _guard(lake: Lake, contract: Contract, database: Location) -> AbstractContextManager[None]:
    """The lock that other runs hold while they read older partitions of a table than their own."""
    if contract in ACTIVITY_CONTRACTS.values():
        return activity_lock(lake)
    if contract.published and contract.partitioning is not Partitioning.SNAPSHOT_HOUR:
        return publication_lock(database)
    return nullcontext()
