"""Schedules: the hour just closed and the month just closed, each with its lag.

Hourly, at minute 5: rows that an application commits a few minutes after the hour are included, and later ones are read
by the next run. After downtime the missed hours run as well, in their order: those of the last `GHOST_CATCH_UP_HOURS`,
none before the first event that the source has, and none more than `GHOST_QUIET_HOURS` after its newest one.

Monthly, from the 2nd at 00:30: a month serves answers from 24 h after its end on (G5.5), and by then the look-back of
the hourly runs has read the late events of its last day. 25 minutes after an hourly run, so that the two rarely run at
the same time. If a month is missing the next night, because it failed or its hours were late, or if it is stale, it is
requested again.

The schedule that prunes Dagster's records is in `run_records`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import dagster as dg

from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.contracts.retention import gone_until
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.partitions import RUN_END, RUN_START, chunks, range_tags
from ghost_pipeline.defs.reconciling import SNAPSHOTS
from ghost_pipeline.incremental.stale_months import is_current
from ghost_pipeline.ingest.newest_event import first_hour, newest_event
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month, hours

MINUTE_OF_HOUR = 5
HOUR_OF_DAY, MINUTE_OF_MONTH_RUN = 0, 30
MONTH_LAG = timedelta(days=1)

LONGEST_GAP_FILLED = timedelta(days=3)
"""Hours before a longer gap were built on request: what is missing between was not missed."""
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
        newest = newest_event(lake, settings, Hour.ending_at(closed.start))
        due = due_hours(lake, Hour.ending_at(closed.start), under_way, settings, newest)
        if not due and newest and newest + settings.quiet <= closed.start:
            yield dg.SkipReason(
                f"the source has nothing newer than {newest:%Y-%m-%dT%H:%MZ}, and no hour more than GHOST_QUIET_HOURS "
                f"({settings.quiet_hours}) after it is built"
            )
        elif not due:
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


def due_hours(
    lake: Lake, closed: Hour, under_way: Iterable[Hour], settings: Settings, newest: datetime | None
) -> list[Hour]:
    """Return the hours up to the one just closed that a domain lacks since it was first built, ascending.

    Args:
        lake: has the hours that are built. If none is, only the hour just closed is due: it reads all of the source.
        closed: the hour just closed.
        under_way: hours that a run is about to build; they are not due.
        settings: how far back hours are caught up, how long after the newest event they are built, and which of them
            `GHOST_RETENTION` would not keep.
        newest: the source's newest event; None: unknown, and no hour is too late.

    """
    since, asked = closed.as_of - settings.catch_up, set(under_way)
    if first := first_hour(lake):
        since = max(since, first.start)
    lacking: set[Hour] = set()
    for snapshot in SNAPSHOTS:
        if built := lake.newest_hour(snapshot):
            kept_since = max(since, gone_until(snapshot, settings.retention, closed.as_of) or since)
            there = set(lake.hours_since(snapshot, since))
            begin = _begin_of_newest(sorted({*there, built}))
            lacking |= {hour for hour in hours(max(begin, kept_since), closed.as_of) if hour not in there}
    if not any(lake.newest_hour(snapshot) for snapshot in SNAPSHOTS):
        lacking = {closed}
    return sorted(hour for hour in lacking - asked if newest is None or hour.start < newest + settings.quiet)


def _begin_of_newest(built: Sequence[Hour]) -> datetime:
    """Return the start of the first hour from which on no longer gap than `LONGEST_GAP_FILLED` follows."""
    begin = built[-1]
    for hour in reversed(built):
        if begin.start - hour.as_of > LONGEST_GAP_FILLED:
            break
        begin = hour
    return begin.start


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
