"""How long Dagster keeps what it knows of runs; it has a setting for the ticks of schedules, but none for these."""

from datetime import datetime, timedelta

import dagster as dg

from ghost_pipeline.settings import Settings

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
RUNS_AT_ONCE = 100


def build_pruning(settings: Settings) -> dg.JobDefinition:
    """The job that deletes runs that ended longer ago than `GHOST_KEEP_RUN_DAYS`, with all that is kept of them."""

    @dg.op(
        description="Deletes what is older than GHOST_KEEP_RUN_DAYS: runs that have ended, their events, their output."
    )
    def delete_old_run_records(context: dg.OpExecutionContext) -> None:
        this_run = context.instance.get_run_record_by_id(context.run_id)
        if this_run is None:
            raise dg.DagsterInvariantViolationError(f"run {context.run_id} has no record")
        # The run's own time: the job deletes the same whenever it gets to it.
        deleted = prune(context.instance, this_run.create_timestamp - timedelta(days=settings.keep_run_days))
        context.add_output_metadata({"runs_deleted": deleted})

    @dg.job(
        name="prune_run_records",
        description="Deletes Dagster's records of runs that ended longer ago than GHOST_KEEP_RUN_DAYS. The lake keeps "
        "all it has; Dagster shows the partitions of those runs as missing from then on.",
    )
    def prune_run_records() -> None:
        delete_old_run_records()

    return prune_run_records


def build_pruning_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every night, 25 minutes before the hourly run; it starts stopped, as the others do."""
    return dg.ScheduleDefinition(
        name="run_records_schedule",
        job=job,
        cron_schedule="40 3 * * *",
        execution_timezone="UTC",
        description="Every night: deletes Dagster's records of runs older than GHOST_KEEP_RUN_DAYS.",
    )


def prune(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the runs that ended before an instant, with their events and their output; returns how many."""
    ended = dg.RunsFilter(statuses=FINISHED, updated_before=before)
    deleted = 0
    while records := instance.get_run_records(ended, limit=RUNS_AT_ONCE):
        for record in records:
            run_id = record.dagster_run.run_id
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
            deleted += 1
    return deleted
