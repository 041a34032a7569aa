"""Assets of users' activity by day and by month; an hour that needs a missing sum computes it itself."""

from collections.abc import Iterator, Sequence

from ghost_pipeline.contracts.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ghost.user_calendars import UserCalendars
from ghost_pipeline.domain.shared.period_figures import row_count
from ghost_pipeline.incremental.activity_history import ActivityHistory, activity_lock
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Day, Hour, Month


def materialize_user_activity_days(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Sum up what users did on the days that end with the hours."""
    for hour in hours:
        day = Day.containing(hour.start)
        if hour.as_of < day.as_of:
            yield TableResult(rows=0, metadata={"day": f"{day.key} has not ended; its hours are read as they are"})
        else:
            with activity_lock(run.lake):
                rows = _history(run.lake, hour).days(day).height
            yield TableResult(rows=rows)


def materialize_user_activity_checkpoints(run: RunContext, months: Sequence[Month]) -> Iterator[TableResult]:
    """Sum up what users had done by the ends of the months."""
    for month in months:
        with activity_lock(run.lake):
            rows = _history(run.lake, Hour.ending_at(month.as_of)).checkpoint(month).height
        yield TableResult(rows=rows)


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
