"""Assets of what users did, summed up by day and by month; an hour that needs a sum makes it where it is missing."""

from ghost_pipeline.assets.period_over_period import period_over_period
from ghost_pipeline.assets.step import Outcome, Resources, Step
from ghost_pipeline.storage.activity_history import ActivityHistory, activity_lock
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.tables.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.tables.raw import USER_PROGRESS, USERS
from ghost_pipeline.transforms.period_figures import row_count
from ghost_pipeline.transforms.user_calendars import UserCalendars
from ghost_pipeline.windows import Day, Hour, Month


def materialize_user_activity_days(resources: Resources, hour: Hour) -> Outcome:
    """What users did on the days that have ended with the hour."""
    day = Day.containing(hour.start)
    if hour.as_of < day.as_of:
        return Outcome(rows=0, metadata={"day": f"{day.key} has not ended; its hours are read as they are"})
    with activity_lock(resources.lake):
        return Outcome(rows=_history(resources.lake, hour).days(day).height)


def materialize_user_activity_checkpoints(resources: Resources, month: Month) -> Outcome:
    """What users had done by the end of the month."""
    with activity_lock(resources.lake):
        return Outcome(rows=_history(resources.lake, Hour.ending_at(month.as_of)).checkpoint(month).height)


def _history(lake: Lake, hour: Hour) -> ActivityHistory:
    users = UserCalendars.between(lake.scan(USERS).collect(), hour.as_of, hour.as_of)
    return ActivityHistory(lake, users.entities)


ACTIVITY_STEPS = (
    Step(USER_ACTIVITY_DAYS, (USERS, USER_PROGRESS), materialize_user_activity_days),
    Step(
        USER_ACTIVITY_CHECKPOINTS,
        (USERS, USER_PROGRESS),
        materialize_user_activity_checkpoints,
        continues_itself=True,
        comparing=(period_over_period(USER_ACTIVITY_CHECKPOINTS, row_count),),
    ),
)
