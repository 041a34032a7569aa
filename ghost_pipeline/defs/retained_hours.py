"""Which hours of a table a run writes: those that would not be removed right away."""

from collections.abc import Sequence

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.retention import gone_until
from ghost_pipeline.defs.table_asset import RunContext, TableResult
from ghost_pipeline.incremental.stale_ledger import mark_rebuilt
from ghost_pipeline.windows import Hour


def hours_within_retention(resources: RunContext, contract: Contract, hours: Sequence[Hour]) -> list[Hour]:
    """Of ascending hours that are computed together, those that are written of a table: the last ones.

    A single hour was asked for: it is written however old it is, and goes with the next run of a newer one.
    """
    if len(hours) == 1 and resources.until is None:
        return list(hours)
    there = resources.lake.newest_hour(contract)
    newest = max(hour for hour in (hours[-1], there, resources.until) if hour)
    until = gone_until(contract, resources.settings.retention, newest.as_of)
    return [hour for hour in hours if until is None or hour.as_of > until]


def expired_result(resources: RunContext, contract: Contract, hour: Hour) -> TableResult:
    """What a step says of an hour that is not kept; where it had been written it is removed."""
    resources.lake.remove(contract, hour)
    mark_rebuilt(resources.lake, contract, [hour])
    return _left_out()


def skipped_by_retention(resources: RunContext, hour: Hour) -> TableResult | None:
    """What a step says that has no rows of users of an hour because they are not kept; None where it has."""
    there = resources.lake.newest_hour(USER_GHOST_STATS)
    newest = max((one for one in (resources.until, there) if one), default=None)
    if newest is None or hour >= newest or resources.lake.exists(USER_GHOST_STATS, hour):
        return None
    return _left_out()


def _left_out() -> TableResult:
    return TableResult(rows=0, metadata={"not_written": "older than what is kept (GHOST_RETENTION)"})
