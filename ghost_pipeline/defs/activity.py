"""Assets of what users did, summed up by day and by month; an hour that needs a sum makes it where it is missing."""

from ghost_pipeline.contracts.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.table_asset import RunContext, TableAsset, TableResult
from ghost_pipeline.domain.ghost.user_calendars import UserCalendars
from ghost_pipeline.domain.shared.period_figures import row_count
from ghost_pipeline.incremental.activity_history import ActivityHistory, activity_lock
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Day, Hour, Month


def materialize_user_activity_days(resources: RunContext, hour: Hour) -> TableResult:
    """What users did on the days that have ended with the hour."""
    day = Day.containing(hour.start)
    if hour.as_of < day.as_of:
        return TableResult(rows=0, metadata={"day": f"{day.key} has not ended; its hours are read as they are"})
    with activity_lock(resources.lake):
        return TableResult(rows=_history(resources.lake, hour).days(day).height)


def materialize_user_activity_checkpoints(resources: RunContext, month: Month) -> TableResult:
    """What users had done by the end of the month."""
    with activity_lock(resources.lake):
        return TableResult(rows=_history(resources.lake, Hour.ending_at(month.as_of)).checkpoint(month).height)


def _history(lake: Lake, hour: Hour) -> ActivityHistory:
    users = UserCalendars.between(lake.scan(USERS).collect(), hour.as_of, hour.as_of)
    return ActivityHistory(lake, users.entities)


ACTIVITY_ASSETS = (
    TableAsset(USER_ACTIVITY_DAYS, (USERS, USER_PROGRESS), materialize_user_activity_days),
    TableAsset(
        USER_ACTIVITY_CHECKPOINTS,
        (USERS, USER_PROGRESS),
        materialize_user_activity_checkpoints,
        continues_itself=True,
        comparisons=(period_over_period(USER_ACTIVITY_CHECKPOINTS, row_count),),
    ),
)
