"""Retention in runs: the hours that a run writes, and the asset that removes expired partitions.

How long each table is kept is in `contracts/retention`; how partitions are removed is in `incremental/retention`.
"""

from collections.abc import Sequence

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Contract, Layer
from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.retention import gone_until
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.defs.partitions import Partitions
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import HOURS_POOL
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.incremental.retention import newest_snapshot, remove_expired
from ghost_pipeline.incremental.stale_ledger import mark_rebuilt
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import shared_lock
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, shown_length

RETENTION = "retention"


def hours_within_retention(run: RunContext, contract: Contract, hours: Sequence[Hour]) -> list[Hour]:
    """Return the hours of a run that are written, in their order: the last ones.

    A single hour was asked for: it is written however old it is, and removed by the next run of a newer one.
    """
    if len(hours) == 1 and run.range_end is None:
        return list(hours)
    written = run.lake.newest_hour(contract)
    newest = max(hour for hour in (hours[-1], written, run.range_end) if hour)
    until = gone_until(contract, run.settings.retention, newest.as_of)
    return [hour for hour in hours if until is None or hour.as_of > until]


def expired_results(
    run: RunContext, contract: Contract, hours: Sequence[Hour], kept: Sequence[Hour]
) -> list[TableResult]:
    """Remove the hours of a run that have expired, if they were written, and return their results.

    Args:
        run: the run.
        contract: the table.
        hours: the hours of the run, ascending.
        kept: those `hours_within_retention`: the last ones.

    """
    expired = hours[: len(hours) - len(kept)]
    for hour in expired:
        run.lake.remove(contract, hour)
    mark_rebuilt(run.lake, contract, expired)
    return [_not_written() for _ in expired]


def skipped_by_retention(run: RunContext, hour: Hour) -> TableResult | None:
    """Return the result of an hour whose user rows have expired, or None if they still exist."""
    written = run.lake.newest_hour(USER_GHOST_STATS)
    newest = max((one for one in (run.range_end, written) if one), default=None)
    if newest is None or hour >= newest or run.lake.exists(USER_GHOST_STATS, hour):
        return None
    return _not_written()


def _not_written() -> TableResult:
    return TableResult(rows=0, metadata={"not_written": "older than the table's retention (GHOST_RETENTION)"})


def retention(upstream: list[str], partitions: Partitions, hours_per_run: int) -> dg.AssetsDefinition:
    """Return the asset that removes expired partitions; it runs after the hourly tables `upstream`."""

    @dg.asset(
        name=RETENTION,
        description="Removes partitions older than their table keeps (`GHOST_RETENTION`), counted from its newest one. "
        "Only the run of the newest hour removes anything: an older hour that was built on request stays until then.",
        group_name=Layer.OPERATIONS.value,
        kinds={"parquet"},
        deps=upstream,
        partitions_def=partitions.hourly,
        pool=HOURS_POOL,
        backfill_policy=dg.BackfillPolicy.multi_run(hours_per_run),
    )
    def removal(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]
    ) -> dg.MaterializeResult[None]:
        last, newest = Hour.from_key(max(context.partition_keys)), newest_snapshot(lake)
        if newest and last < newest:
            return dg.MaterializeResult(
                metadata={"skipped": f"hour {newest.key} is newer; its run removes expired partitions"}
            )
        with shared_lock(lake.root):
            removed = remove_expired(lake, settings.retention, settings.database)
        rows = [(one.table, shown_length(one.retention), one.ended_by, one.partitions) for one in removed]
        table = pl.DataFrame(rows, schema=["table", "kept for", "removed up to", "partitions"], orient="row")
        return dg.MaterializeResult(
            metadata={"partitions_removed": sum(one.partitions for one in removed), "tables": as_table(table)}
        )

    return removal
