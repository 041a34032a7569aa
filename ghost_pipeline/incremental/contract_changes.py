"""What a lake in use needs when a release has given its tables other columns.

Files stay as they are: a column that they lack is null, one that no contract has any more is left out. What can be
computed again is marked stale. Sums of activity are removed, since the next hour adds to all their columns.
"""

from collections.abc import Callable

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.activity import ACTIVITY_CONTRACTS
from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.incremental.retention import newest_snapshot
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import exclusive_lock
from ghost_pipeline.lake.recorded_columns import RecordedColumns
from ghost_pipeline.lake.upgrading import upgrade
from ghost_pipeline.locations import Location

REBUILT = tuple(
    one
    for one in CONTRACTS.values()
    if not (one.retention_exempt_reason or one.written_once)
    and one.partitioning is not Partitioning.EVENT_HOUR
    and one is not REJECTED_ROWS
    and one not in ACTIVITY_CONTRACTS.values()
)
"""The tables that are computed again partition by partition."""


def open_current(location: Location, say: Callable[[str], object]) -> Lake:
    """Open a lake for a run: one of an older release, or of other contracts, is first brought to those of this one.

    Args:
        location: the lake.
        say: is told what is done, in lines for people.

    Raises:
        LakeError: the lake is of a newer release, is in use, or cannot be written; running again goes on.

    """
    upgrade(location, say)
    lake = Lake(location)
    if not lake.is_empty:
        adopt_contracts(lake, say)
    return lake


def adopt_contracts(lake: Lake, say: Callable[[str], object]) -> None:
    """Mark stale, or remove, what lacks columns that its table has gained since the last run, and record the columns.

    Killed at any point, the next run does it again: the record comes last.

    Raises:
        LakeError: the lake is in use, or cannot be written.

    """
    today = {name: RecordedColumns.of(contract).columns for name, contract in CONTRACTS.items()}
    recorded = lake.columns()
    if recorded and {name: one.columns for name, one in recorded.items()} == today:
        return
    with exclusive_lock(lake.root):
        # What an earlier release has written tells its columns.
        newest = {name: lake.columns_of_newest(contract) for name, contract in CONTRACTS.items()}
        before = recorded or {name: one for name, one in newest.items() if one}
        if not any(newest.values()):
            return
        changed = {name for name, one in before.items() if one.have_changed or one.columns != today.get(name)}
        if recorded is None:
            # A record that was lost may have known of files with other columns.
            oldest = {name: lake.columns_of_oldest(contract) for name, contract in CONTRACTS.items()}
            changed |= {name for name, one in oldest.items() if one and one.columns != today[name]}
        gained = {name: one.gained(CONTRACTS[name]) for name, one in before.items() if name in CONTRACTS}
        if any(gained.values()):
            clear_cache(lake.root)
        for name, columns in gained.items():
            if columns:
                say(f"{name}: has new columns ({', '.join(columns)}); {_adopt(lake, CONTRACTS[name])}")
        lake.record_columns(changed)


def _adopt(lake: Lake, contract: Contract) -> str:
    """Do what a table with new columns needs; returns what was done."""
    if contract in ACTIVITY_CONTRACTS.values():
        lake.remove_all(contract)
        return "its sums are computed again"
    if contract not in REBUILT:
        return "they are null in partitions of before"
    monthly = contract.partitioning is Partitioning.MONTH
    first = next(iter(lake.months(contract)), None) if monthly else lake.first_hour(contract)
    newest = newest_snapshot(lake)
    if first is None:
        return "it has no partition yet"
    marked = mark_stale(lake, [contract], first.start, newest.as_of if newest else first.as_of)
    kind = "months" if monthly else "hours"
    return f"{marked} {kind} are stale until `ghost-pipeline backfill --stale`"
