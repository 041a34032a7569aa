"""Schedules: the hour just closed and the month just closed, each with its lag.

Hourly, at minute 5: rows that an application commits a few minutes after the hour are included, and later ones are read
by the next run. After downtime the missed hours run as well, in their order.

Monthly, from the 2nd at 00:30: a month serves answers from 24 h after its end on (G5.5), and by then the look-back of
the hourly runs has read the late events of its last day. 25 minutes after an hourly run, so that the two rarely run at
the same time. If a month is missing the next night, because it failed or its hours were late, or if it is stale, it is
requested again.

The schedule that prunes Dagster's records is in `run_records`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import dagster as dg

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.contracts.retention import Chosen, gone_until
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.partitions import RUN_END, RUN_START, chunks, range_tags
from ghost_pipeline.incremental.stale_months import is_current
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month, hours

MINUTE_OF_HOUR = 5
HOUR_OF_DAY, MINUTE_OF_MONTH_RUN = 0, 30
MONTH_LAG = timedelta(days=1)
SNAPSHOTS = (COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARY_HISTORY)
"""For each domain, a table that shows whether an hour has been built: by default its hours are kept."""
LONGEST_CATCH_UP = timedelta(days=31)
"""Hours missed longer ago need a backfill."""
LONGEST_RUN = timedelta(hours=6)
"""A run without news for so long was killed with its machine."""
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return both schedules; they start stopped and are turned on in the UI."""

    @dg.schedule(
        name="hourly_schedule",
        job_name=HOURLY,
        cron_schedule=f"{MINUTE_OF_HOUR} * * * *",
        execution_timezone="UTC",
        description="Builds the hour just closed, 5 minutes after its end, when late commits are in. After downtime it "
        "also requests the hours that were missed, in order.",
    )
    def hourly_schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        closed = Hour.containing(context.scheduled_execution_time)
        under_way = _under_way(context.instance, context.scheduled_execution_time)
        due = list(due_hours(lake, Hour.ending_at(closed.start), under_way, settings.retention))
        if not due:
            yield dg.SkipReason(f"hour {Hour.ending_at(closed.start).key} has been requested already")
        for chunk in chunks(due, settings.hours_per_run):
            first, last = chunk[0].key, chunk[-1].key
            if first == last:
                yield dg.RunRequest(run_key=first, partition_key=first)
            else:
                yield dg.RunRequest(run_key=f"{first} to {last}", tags=range_tags(chunk, due[-1]))

    @dg.schedule(
        name="monthly_schedule",
        job_name=MONTHLY,
        cron_schedule=f"{MINUTE_OF_MONTH_RUN} {HOUR_OF_DAY} * * *",
        execution_timezone="UTC",
        description="Builds the month just closed, 24.5 h after its end, when late events of its last day are in. "
        "A month that is still missing, or whose inputs have changed since, is requested again the next night.",
    )
    def monthly_schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        month = Month.newest_complete(context.scheduled_execution_time - MONTH_LAG)
        under_way = context.instance.get_runs(
            dg.RunsFilter(job_name=MONTHLY, statuses=UNFINISHED, tags={"dagster/partition": month.key})
        )
        read_until = lake.complete_until(USER_PROGRESS)
        if read_until is None or read_until < month.as_of:
            # A source without this domain never has any; otherwise the hours come first: the next night tries again.
            yield dg.SkipReason(f"{USER_PROGRESS.name} has not been read up to the end of month {month.key}")
        elif under_way or is_current(lake, settings, month):
            yield dg.SkipReason(f"month {month.key} has been built or requested already")
        else:
            yield dg.RunRequest(run_key=month.key, partition_key=month.key)

    return [hourly_schedule, monthly_schedule]


def due_hours(lake: Lake, closed: Hour, under_way: Iterable[Hour] = (), chosen: Chosen | None = None) -> Iterator[Hour]:
    """Return the hours up to the one just closed that a domain lacks since it was first built, at most of 31 days.

    Hours that a run is about to build are not due, nor are hours that `chosen` (`GHOST_RETENTION`) would not keep. If
    nothing has been built yet, only the hour just closed is due: it reads all of the source.
    """
    since, asked = closed.as_of - LONGEST_CATCH_UP, set(under_way)
    if not any(lake.newest_hour(snapshot) for snapshot in SNAPSHOTS):
        return iter([closed] if closed not in asked else [])
    lacking: set[Hour] = set()
    for snapshot in SNAPSHOTS:
        if newest := lake.newest_hour(snapshot):
            kept_since = max(since, gone_until(snapshot, chosen or {}, closed.as_of) or since)
            there = set(lake.hours_since(snapshot, since))
            begin = min(there, default=newest).start
            lacking |= {hour for hour in hours(max(begin, kept_since), closed.as_of) if hour not in there}
    return iter(sorted(lacking - asked))


def _under_way(instance: dg.DagsterInstance, now: datetime) -> Iterator[Hour]:
    """Yield the hours of every hourly run that has not ended; one that began long ago was killed with its machine."""
    waiting = dg.RunsFilter(job_name=HOURLY, statuses=[dg.DagsterRunStatus.QUEUED])
    begun = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.QUEUED]
    recent = dg.RunsFilter(job_name=HOURLY, statuses=begun, updated_after=now - LONGEST_RUN)
    for run in (*instance.get_runs(waiting), *instance.get_runs(recent)):
        first = run.tags.get(RUN_START) or run.tags.get("dagster/partition")
        last = run.tags.get(RUN_END) or run.tags.get("dagster/partition")
        if first and last:
            yield from hours(Hour.from_key(first).start, Hour.from_key(last).as_of)
