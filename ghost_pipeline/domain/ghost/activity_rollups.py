"""Activity rows of users in their calendars, from events; they are summed by day or all at once (G1.5, G2)."""

import polars as pl

from ghost_pipeline.contracts.activity import BEFORE_JOURNEY, COUNT_COLUMNS
from ghost_pipeline.contracts.raw import MOCK_TEST, MODULE_TYPES
from ghost_pipeline.domain.ghost.activity_state import ENTITY_EVENT_SCHEMA
from ghost_pipeline.domain.shared.id_join import joined_by_id
from ghost_pipeline.domain.shared.local_time import local_date

ENTITY_SCHEMA = pl.Schema(
    {"entity": pl.UInt32(), "user_id": pl.String(), "timezone": pl.String(), "created_date": pl.Date()}
)
"""Users in calendars: one row per user and calendar, `entity` its place in the frame. A calendar is a time zone and the
first date that counts; a user has a second calendar if either changes during the hours in question."""


def calendars(users: pl.LazyFrame) -> pl.LazyFrame:
    """Return the calendar of each user: the columns of `users` and `created_date` Date in their zone (G1.5, G1.6)."""
    return users.with_columns(created_date=local_date(pl.col("created_at"), pl.col("timezone")))


def event_activity(progress: pl.LazyFrame, entities: pl.LazyFrame) -> pl.LazyFrame:
    """Return the contribution of each event to each entity of its user, also of events before the journey.

    Takes events of `user_progress` and `ENTITY_SCHEMA`. Returns entity, user_id, timezone, created_date, hour Datetime
    (start of the hour of the event), local_date, `COUNT_COLUMNS` and last_activity_at, a row per event and entity;
    order undefined.
    """
    kind, completed = pl.col("task_type"), pl.col("completed_at")
    is_task = kind != MOCK_TEST
    return joined_by_id(
        progress.select("user_id", "task_type", "completed_at", "time_spent_ms"), entities, "user_id"
    ).select(
        "entity",
        "user_id",
        "timezone",
        "created_date",
        hour=completed.dt.truncate("1h"),
        local_date=local_date(completed, pl.col("timezone")),
        tasks_completed=is_task.cast(pl.Int64),
        practice_time_ms=pl.when(is_task).then(pl.col("time_spent_ms")).otherwise(0),
        **{f"{module}_tasks": (kind == module).cast(pl.Int64) for module in MODULE_TYPES},
        mock_tests=(~is_task).cast(pl.Int64),
        last_activity_at=pl.when(is_task).then(completed),
    )


def entity_events(progress: pl.LazyFrame, entities: pl.DataFrame) -> pl.DataFrame:
    """Return each event for each entity of its user: `ENTITY_EVENT_SCHEMA`, order undefined.

    Takes events of `user_progress` and `ENTITY_SCHEMA`.
    """
    events = progress.select("user_id", "task_type", "completed_at", "time_spent_ms")
    found = joined_by_id(events, entities.lazy().select("user_id", "entity"), "user_id").drop("user_id").collect()
    # An entity's number is its place, and taking from a place costs a third of carrying columns through the join.
    zones, created = (entities[name].gather(found["entity"]) for name in ("timezone", "created_date"))
    return found.select(
        "entity",
        pl.col("task_type").cast(ENTITY_EVENT_SCHEMA["task_type"]),
        "completed_at",
        "time_spent_ms",
        local_date=local_date(pl.col("completed_at"), pl.lit(zones)),
    ).with_columns(is_early=pl.col("local_date") < pl.lit(created))


def activity_days(activity: pl.LazyFrame) -> pl.LazyFrame:
    """Sum rows of `event_activity`, or of this function, per user, zone and local date.

    Returns user_id, timezone?, local_date, `COUNT_COLUMNS` Int64, last_activity_at Datetime?; sorted by the first
    three. The sums of two sets of rows are the sums of both together.
    """
    key = ("user_id", "timezone", "local_date")
    return activity.group_by(key).agg(pl.col(COUNT_COLUMNS).sum(), pl.col("last_activity_at").max()).sort(key)


def of_journeys(activity: pl.DataFrame) -> pl.DataFrame:
    """Zero activity before the created date and count those events (G1.5).

    Takes created_date, local_date, `COUNT_COLUMNS` and last_activity_at; adds events_before_journey Int64.
    """
    early = activity["local_date"] < activity["created_date"]
    if not early.any():
        return activity.with_columns(pl.lit(0, pl.Int64).alias(BEFORE_JOURNEY))
    events = pl.col("tasks_completed") + pl.col("mock_tests")
    return activity.with_columns(
        pl.when(early).then(0).otherwise(pl.col(COUNT_COLUMNS)).name.keep(),
        pl.when(~early).then(pl.col("last_activity_at")).alias("last_activity_at"),
        pl.when(early).then(events).otherwise(0).alias(BEFORE_JOURNEY),
    )
