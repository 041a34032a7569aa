"""Dagster's records of partitions, compared with the lake and brought to it.

The lake is the truth. Dagster lacks partitions of it after its old runs were pruned, after its database was lost, with
a copied lake, and for the hours of events that a single run has read; it still has partitions that have expired.

A table whose partitions in Dagster are not those of the lake, such as a list, has in Dagster the hours that were built.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import dagster as dg

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.defs.event_storage import forget_partitions, open_event_files, report_materializations
from ghost_pipeline.defs.partitions import partitions_start
from ghost_pipeline.defs.retention import RETENTION
from ghost_pipeline.defs.table_asset import FILE_PER_PARTITION, TableAsset
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month

RECONCILE = "reconcile"
SNAPSHOTS = (COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARY_HISTORY)
"""For each domain, a table that shows whether an hour has been built: by default its hours are kept."""
MINUTE = 50
FOUND = "in the lake; Dagster had no record of it"


class Differences(NamedTuple):
    """The partitions in which Dagster's records and the lake differ, by asset."""

    missing: Mapping[str, Sequence[str]]
    """In the lake, and not in Dagster; ascending."""
    gone: Mapping[str, Sequence[str]]
    """In Dagster, and no longer in the lake; ascending."""

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not (self.missing or self.gone)

    @property
    def summary(self) -> str:
        """The numbers of partitions, in words."""
        missing, gone = (sum(map(len, one.values())) for one in (self.missing, self.gone))
        return f"{missing} partitions to report, {gone} to forget"


def find_differences(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, tables: Sequence[TableAsset], now: datetime
) -> Differences:
    """Compare Dagster's records with the lake.

    Args:
        instance: has the records.
        lake: is the truth.
        settings: say from when on Dagster has partitions.
        tables: those of the lake that have an asset.
        now: partitions that end later do not exist in Dagster.

    """
    built = sorted({hour for snapshot in SNAPSHOTS for hour in lake.hours(snapshot)})
    hourly, monthly = partitions_start(settings), Month.containing(partitions_start(settings)).start
    missing, gone = {}, {}

    def compare(asset: str, there: Sequence[Hour | Month], start: datetime, *, complete: bool) -> None:
        known = instance.get_materialized_partitions(dg.AssetKey(asset))
        keys = [one.key for one in there if one.start >= start and one.as_of <= now]
        if lacking := [key for key in keys if key not in known]:
            missing[asset] = lacking
        if complete and (left := sorted(known - {one.key for one in there})):
            gone[asset] = left

    for table in tables:
        contract = table.contract
        has_files = contract.partitioning in FILE_PER_PARTITION
        start = monthly if table.monthly else hourly
        compare(contract.name, _there(lake, contract) if has_files else built, start, complete=has_files)
    compare(RETENTION, built, hourly, complete=False)
    return Differences(missing, gone)


def _there(lake: Lake, contract: Contract) -> Sequence[Hour | Month]:
    return lake.months(contract) if contract.partitioning is Partitioning.MONTH else lake.hours(contract)


def reconcile(instance: dg.DagsterInstance, differences: Differences, now: datetime) -> None:
    """Report to Dagster what it lacks, and let it forget what is gone.

    Args:
        instance: has the records; faster if its files are kept open.
        differences: between the records and the lake.
        now: the instant of the reports.

    """
    for asset, partitions in differences.missing.items():
        found = [
            dg.AssetMaterialization(asset, partition=partition, metadata={"reconciled": FOUND})
            for partition in partitions
        ]
        report_materializations(instance, found, now)
    for asset, partitions in differences.gone.items():
        forget_partitions(instance, dg.AssetKey(asset), partitions)


def build_reconciling(settings: Settings, tables: Sequence[TableAsset]) -> dg.Definitions:
    """Return the job that brings Dagster's records to the lake, and the schedule that requests it if they differ."""

    @dg.op(description="Reports partitions that only the lake has, and forgets those that it no longer has.")
    def reconcile_records(context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        found = find_differences(context.instance, lake, settings, tables, wall_clock())
        with open_event_files(context.instance):
            reconcile(context.instance, found, wall_clock())
        context.log.info(found.summary)
        context.add_output_metadata(
            {
                "reported": {asset: len(partitions) for asset, partitions in found.missing.items()},
                "forgotten": {asset: len(partitions) for asset, partitions in found.gone.items()},
            }
        )

    @dg.job(
        name=RECONCILE,
        description="Brings Dagster's records to the lake: reports partitions that only the lake has, such as after "
        "Dagster's database was lost, and forgets those that have expired.",
    )
    def job() -> None:
        reconcile_records()

    @dg.schedule(
        name="reconcile_schedule",
        job_name=RECONCILE,
        cron_schedule=f"{MINUTE} * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour: compares Dagster's records with the lake, and starts a run only if they differ.",
    )
    def reconcile_schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        found = find_differences(context.instance, lake, settings, tables, wall_clock())
        yield dg.SkipReason("Dagster's records are those of the lake") if found.is_empty else dg.RunRequest()

    return dg.Definitions(jobs=[job], schedules=[reconcile_schedule])
