"""Schedules: the hour just closed and the month just closed, each with its lag.

Hourly, at minute 5: rows that an application commits a few minutes after the hour are still in, and what comes later is
taken in by the next run.

Monthly, on the 2nd at 00:30: a month serves answers from 24 h after its end on (G5.5), and by then the look-back
of the hourly runs has taken in the late events of its last day. 25 minutes after an hourly run, so that both
rarely want the machine at once.
"""

from typing import TYPE_CHECKING

import dagster as dg

from ghost_pipeline.jobs import HOURLY, MONTHLY

if TYPE_CHECKING:
    # What Dagster builds from a job whose assets it resolves later has no public name.
    from dagster._core.definitions.partitions.partitioned_schedule import UnresolvedPartitionedAssetScheduleDefinition
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    Schedule = dg.ScheduleDefinition | UnresolvedPartitionedAssetScheduleDefinition

MINUTE_OF_HOUR = 5
DAY_OF_MONTH, HOUR_OF_DAY, MINUTE_OF_MONTH_RUN = 2, 0, 30


def build_schedules(jobs: dict[str, "UnresolvedAssetJobDefinition"]) -> "list[Schedule]":
    """Both schedules, built from the partitions of their jobs; they start stopped, a person turns them on."""
    return [
        dg.build_schedule_from_partitioned_job(
            jobs[HOURLY],
            name="hourly_schedule",
            minute_of_hour=MINUTE_OF_HOUR,
            description="The hour just closed, 5 minutes after its end: late commits are in.",
        ),
        dg.build_schedule_from_partitioned_job(
            jobs[MONTHLY],
            name="monthly_schedule",
            day_of_month=DAY_OF_MONTH,
            hour_of_day=HOUR_OF_DAY,
            minute_of_hour=MINUTE_OF_MONTH_RUN,
            description="The month just closed, 24.5 h after its end: late events of its last day are in (G5.5).",
        ),
    ]
