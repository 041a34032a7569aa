"""The nightly job that deletes Dagster's records of old runs, and its schedule.

Dagster has a setting for the ticks of schedules, but none for runs. Partitions of the lake expire in `retention`.
"""

from datetime import datetime, timedelta

import dagster as dg

from ghost_pipeline.defs.event_storage import delete_runs
from ghost_pipeline.settings import Settings

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
RUNS_AT_ONCE = 100


def build_pruning(settings: Settings) -> dg.Definitions:
    """Return the job that deletes runs that ended more than `GHOST_KEEP_RUN_DAYS` ago, and its schedule."""

    @dg.op(description="Deletes finished runs older than GHOST_KEEP_RUN_DAYS, with their events and output.")
    def delete_old_run_records(context: dg.OpExecutionContext) -> None:
        this_run = context.instance.get_run_record_by_id(context.run_id)
        if this_run is None:
            raise dg.DagsterInvariantViolationError(f"run {context.run_id} has no record")
        # Counted from the run's own start, so that a retry deletes the same.
        deleted = prune(context.instance, this_run.create_timestamp - timedelta(days=settings.keep_run_days))
        context.add_output_metadata({"runs_deleted": deleted})

    @dg.job(
        name="prune_run_records",
        description="Deletes Dagster's records of runs that ended more than GHOST_KEEP_RUN_DAYS ago. Their partitions "
        "stay materialized, with their row counts.",
    )
    def prune_run_records() -> None:
        delete_old_run_records()

    schedule = dg.ScheduleDefinition(
        name="run_records_schedule",
        job=prune_run_records,
        # 25 minutes before the next hourly run.
        cron_schedule="40 3 * * *",
        execution_timezone="UTC",
        description="Every night: deletes Dagster's records of runs older than GHOST_KEEP_RUN_DAYS.",
    )
    return dg.Definitions(jobs=[prune_run_records], schedules=[schedule])


def prune(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the runs that ended before an instant, with their output, and return their number.

    Of their events, the newest materialization of each partition stays: the lake still has what it tells of.
    """
    ended = dg.RunsFilter(statuses=FINISHED, updated_before=before)
    deleted = 0
    while records := instance.get_run_records(ended, limit=RUNS_AT_ONCE):
        delete_runs(instance, [record.dagster_run.run_id for record in records])
        deleted += len(records)
    return deleted
