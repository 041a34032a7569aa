"""What counts as activity, per event, day and user, and the streaks that follow from it (G1.5, G2).

Everything about a user is derived from `user_progress` here (G2.1). Totals per day are sums and maxima,
active days are sets: both merge over any split of events and of users.
"""

from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.transforms.local_time import local_date, today

MODULE_TYPES = ("speaking", "writing", "reading", "listening")
TASK_TYPES = (*MODULE_TYPES, "vocabulary", "grammar")
MOCK_TEST = "mock_test"

WEEK = timedelta(days=7)

MODULE_COLUMNS = tuple(f"{module}_tasks" for module in MODULE_TYPES)
TOTAL_COLUMNS = ("tasks_completed", "tasks_this_week", "practice_time_ms", *MODULE_COLUMNS, "mock_tests")

_ONE_DAY = pl.duration(days=1)


def present_users(users: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The users that exist at `as_of` (G1.1), with their calendar (G1.3, G1.5, G1.6).

    Returns the columns of `users` and created_date Date, today Date, day_in_journey Int32 (today minus
    created date plus one).
    """
    zone = pl.col("timezone")
    return (
        users.filter(pl.col("created_at") < as_of)
        .with_columns(created_date=local_date(pl.col("created_at"), zone), today=today(as_of, zone))
        .with_columns(day_in_journey=_journey_day("today"))
    )


def counted_events(users: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The events of present users before `as_of` that count: not before the created date (G1.1, G1.5).

    Returns per event user_id, task_type, completed_at, time_spent_ms, local_date Date, journey_day Int32
    (from 1), is_task Boolean (false: a mock test, G2.2). Order undefined.
    """
    calendars = present_users(users, as_of).select("user_id", "timezone", "created_date")
    return counted_events_of(calendars, progress, as_of).select(
        "user_id",
        "task_type",
        "completed_at",
        "time_spent_ms",
        "local_date",
        "journey_day",
        "is_task",
    )


def counted_events_of(calendars: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """`counted_events` of the users in `calendars`, with every column of both frames.

    `calendars` has user_id, timezone, created_date and whatever else its events are wanted for.
    """
    return (
        _dated_events(calendars, progress, as_of)
        .filter(pl.col("local_date") >= pl.col("created_date"))
        .with_columns(journey_day=_journey_day("local_date"), is_task=pl.col("task_type") != MOCK_TEST)
    )


def events_before_creation(users: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The events that are not counted because they precede their user's created date: a finding (G1.5).

    Returns progress_id, user_id, completed_at, local_date, created_date, sorted by progress_id.
    """
    return (
        _dated_events(present_users(users, as_of), progress, as_of)
        .filter(pl.col("local_date") < pl.col("created_date"))
        .select("progress_id", "user_id", "completed_at", "local_date", "created_date")
        .sort("progress_id")
    )


def daily_activity(events: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Counted events summed per user and local day; grain (user_id, local_date), order undefined.

    Returns user_id, local_date Date, journey_day Int32, tasks_completed, tasks_this_week (the part within
    [as_of - 7 days, as_of), G1.4), practice_time_ms, speaking_tasks, writing_tasks, reading_tasks,
    listening_tasks, mock_tests (all Int64), last_activity_at Datetime? (null on a day of mock tests only).
    """
    task = pl.col("is_task")
    this_week = task & (pl.col("completed_at") >= as_of - WEEK)
    return events.group_by("user_id", "local_date").agg(
        journey_day=pl.col("journey_day").min(),
        tasks_completed=_count(task),
        tasks_this_week=_count(this_week),
        practice_time_ms=pl.when(task).then(pl.col("time_spent_ms")).otherwise(0).sum(),
        **{
            column: _count(pl.col("task_type") == module)
            for column, module in zip(MODULE_COLUMNS, MODULE_TYPES, strict=True)
        },
        mock_tests=_count(~task),
        last_activity_at=pl.when(task).then(pl.col("completed_at")).max(),
    )


def user_totals(daily: pl.LazyFrame) -> pl.LazyFrame:
    """`daily_activity` summed per user; grain user_id, order undefined.

    Returns user_id, the `TOTAL_COLUMNS` (Int64) and last_activity_at Datetime?.
    """
    return daily.group_by("user_id").agg(
        *(pl.col(column).sum() for column in TOTAL_COLUMNS),
        pl.col("last_activity_at").max(),
    )


def active_days(daily: pl.LazyFrame) -> pl.LazyFrame:
    """The days on which a user did at least one task (mock tests are none, G2.2), order undefined.

    Returns user_id, local_date; one row per user and day.
    """
    return daily.filter(pl.col("tasks_completed") > 0).select("user_id", "local_date")


def days_practiced(days: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Active days among the 7 calendar dates that end today (G1.4); only users who have one.

    Takes `active_days` and `present_users`; returns user_id, days_practiced Int32, order undefined.
    """
    age = (pl.col("today") - pl.col("local_date")).dt.total_days()
    return (
        days.join(present.select("user_id", "today"), on="user_id")
        .filter(age.is_between(0, WEEK.days - 1))
        .group_by("user_id")
        .agg(days_practiced=pl.len().cast(pl.Int32))
    )


def streak_runs(days: pl.LazyFrame) -> pl.LazyFrame:
    """Runs of consecutive active days; grain (user_id, first_day), order undefined.

    Takes `active_days`; returns user_id, first_day Date, last_day Date, run_length Int32.
    """
    continues = (pl.col("user_id") == pl.col("user_id").shift(1)) & (
        pl.col("local_date") == pl.col("local_date").shift(1) + _ONE_DAY
    )
    return (
        days.sort("user_id", "local_date")
        .with_columns(run=(~continues.fill_null(value=False)).cum_sum())
        .group_by("user_id", "run")
        .agg(
            first_day=pl.col("local_date").min(),
            last_day=pl.col("local_date").max(),
            run_length=pl.len().cast(pl.Int32),
        )
        .drop("run")
    )


def streaks(runs: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Current and longest streak of every present user (G2.4); grain user_id, order undefined.

    Takes `streak_runs` and `present_users`; returns user_id, current_streak Int32, longest_streak Int32,
    streak_status String: `active` (practised today), `at_risk` (last practised yesterday), `broken`
    (two silent days or more, or never practised).
    """
    last_runs = runs.group_by("user_id").agg(
        last_day=pl.col("last_day").max(),
        last_run=pl.col("run_length").sort_by("last_day").last(),
        longest_streak=pl.col("run_length").max(),
    )
    silent_days = (pl.col("today") - pl.col("last_day")).dt.total_days()
    return (
        present.select("user_id", "today")
        .join(last_runs, on="user_id", how="left")
        .select(
            "user_id",
            current_streak=pl.when(silent_days <= 1).then(pl.col("last_run")).otherwise(0).cast(pl.Int32),
            longest_streak=pl.col("longest_streak").fill_null(0),
            streak_status=pl.when(silent_days <= 0)
            .then(pl.lit("active"))
            .when(silent_days == 1)
            .then(pl.lit("at_risk"))
            .otherwise(pl.lit("broken")),
        )
    )


def _dated_events(calendars: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    return (
        progress.filter(pl.col("completed_at") < as_of)
        .join(calendars, on="user_id")
        .with_columns(local_date=local_date(pl.col("completed_at"), pl.col("timezone")))
    )


def _journey_day(date: str) -> pl.Expr:
    return ((pl.col(date) - pl.col("created_date")).dt.total_days() + 1).cast(pl.Int32)


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)
