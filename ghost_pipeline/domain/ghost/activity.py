"""Activity per event, day and user, and the streaks that follow from it (G1.5, G2).

Everything about a user is derived from `user_progress` (G2.1). Totals are sums and maxima, active days are sets:
both merge over any split of events and of users. From `present_users` on a number identifies a user, because
sorting and grouping by text costs several times as much as all other steps.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.raw import MOCK_TEST, MODULE_TYPES
from ghost_pipeline.domain.shared.local_time import local_date, today

WEEK = timedelta(days=7)

MODULE_COLUMNS = tuple(f"{module}_tasks" for module in MODULE_TYPES)
TOTAL_COLUMNS = ("tasks_completed", "tasks_this_week", "practice_time_ms", *MODULE_COLUMNS, "mock_tests")

# More than there are dates, so that the days of two users never meet.
_DAYS_PER_USER = 2**32


def present_users(users: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the users that exist at `as_of` (G1.1), with their calendar (G1.3, G1.5, G1.6); sorted by user_id.

    Returns user_number UInt32 (0, 1, 2 in the order of user_id), the columns of `users` and created_date
    Date, today Date, day_in_journey Int32 (today minus created date plus one).
    """
    zone = pl.col("timezone")
    return (
        users.filter(pl.col("created_at") < as_of)
        .sort("user_id")
        .with_row_index("user_number")
        .with_columns(created_date=local_date(pl.col("created_at"), zone), today=today(as_of, zone))
        .with_columns(day_in_journey=_journey_day("today"))
    )


def counted_events(present: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the events of present users before `as_of` that count: not before the created date (G1.1, G1.5).

    Of `present_users` it needs user_id, timezone and created_date. Every column of both frames is kept, so select
    the needed ones beforehand. Adds local_date Date, journey_day Int32 (from 1) and
    is_task Boolean (false: a mock test, G2.2). Order undefined.
    """
    return (
        _dated_events(present, progress, as_of)
        .filter(pl.col("local_date") >= pl.col("created_date"))
        .with_columns(journey_day=_journey_day("local_date"), is_task=pl.col("task_type") != MOCK_TEST)
    )


def activity_totals(
    events: pl.LazyFrame,
    as_of: datetime,
    *,
    by: Sequence[str] = ("user_number",),
) -> pl.LazyFrame:
    """Sum counted events per user, or per user and local day; order undefined.

    Returns the columns of `by` (the key), the `TOTAL_COLUMNS` (Int64: counts, and practice_time_ms; of the
    tasks those within [as_of - 7 days, as_of) are tasks_this_week, G1.4) and last_activity_at Datetime?
    (of a task; null if there are only mock tests, G2.2). The totals of two sets of events merge by sum
    and maximum.
    """
    task = pl.col("is_task")
    this_week = task & (pl.col("completed_at") >= as_of - WEEK)
    return events.group_by(by).agg(
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


def active_days(events: pl.LazyFrame) -> pl.LazyFrame:
    """Return the days on which a user did at least one task (mock tests do not count, G2.2).

    Returns user_number UInt32, local_date Date; one row per user and day, sorted by both.
    """
    key = pl.col("key")
    return (
        events.filter("is_task")
        .select(key=_user_day_key())
        .sort("key")
        .filter(key.ne_missing(key.shift(1)))
        .select(user_number=_user_of(key), local_date=_day_of(key))
    )


def days_practiced(days: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Count active days among the 7 calendar dates that end today (G1.4); only users with at least one.

    Takes `active_days` and `present_users`; returns user_number, days_practiced Int32, order undefined.
    """
    age = (pl.col("today") - pl.col("local_date")).dt.total_days()
    return (
        days.join(present.select("user_number", "today"), on="user_number")
        .filter(age.is_between(0, WEEK.days - 1))
        .group_by("user_number")
        .agg(days_practiced=pl.len().cast(pl.Int32))
    )


def streak_runs(days: pl.LazyFrame) -> pl.LazyFrame:
    """Return runs of consecutive active days, sorted by the key (user_number, first_day).

    Takes `active_days`; returns user_number, first_day Date, last_day Date, run_length Int32.
    """
    key, first = pl.col("key"), pl.col("first")
    begins = (key - 1).ne_missing(key.shift(1))
    ends = (key + 1).ne_missing(key.shift(-1))
    return (
        days.select(key=_user_day_key())
        .sort("key")
        .with_columns(first=pl.when(begins).then(key).forward_fill(), ends=ends)
        .filter("ends")
        .select(
            user_number=_user_of(key),
            first_day=_day_of(first),
            last_day=_day_of(key),
            run_length=(key - first + 1).cast(pl.Int32),
        )
    )


def streaks(runs: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Return current and longest streak of every present user (G2.4); grain user_number, order undefined.

    Takes `streak_runs` and `present_users`; returns user_number, current_streak Int32, longest_streak
    Int32, streak_status String: `active` (practised today), `at_risk` (last practised yesterday), `broken`
    (two silent days or more, or never practised).
    """
    last_runs = runs.group_by("user_number").agg(
        last_day=pl.col("last_day").max(),
        last_run=pl.col("run_length").sort_by("last_day").last(),
        longest_streak=pl.col("run_length").max(),
    )
    silent_days = (pl.col("today") - pl.col("last_day")).dt.total_days()
    return (
        present.select("user_number", "today")
        .join(last_runs, on="user_number", how="left")
        .select(
            "user_number",
            current_streak=pl.when(silent_days <= 1).then(pl.col("last_run")).otherwise(0).cast(pl.Int32),
            longest_streak=pl.col("longest_streak").fill_null(0),
            streak_status=pl.when(silent_days <= 0)
            .then(pl.lit("active"))
            .when(silent_days == 1)
            .then(pl.lit("at_risk"))
            .otherwise(pl.lit("broken")),
        )
    )


def _user_day_key() -> pl.Expr:
    """Return user and day as one Int64 that sorts like both and is consecutive for consecutive days of a user."""
    day = pl.col("local_date").to_physical().cast(pl.Int64)
    return pl.col("user_number").cast(pl.Int64) * _DAYS_PER_USER + day + _DAYS_PER_USER // 2


def _user_of(key: pl.Expr) -> pl.Expr:
    return (key // _DAYS_PER_USER).cast(pl.UInt32)


def _day_of(key: pl.Expr) -> pl.Expr:
    return (key % _DAYS_PER_USER - _DAYS_PER_USER // 2).cast(pl.Int32).cast(pl.Date)


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
