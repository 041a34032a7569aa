"""Activity per event, day and user, and the streaks that follow from it (G1.5, G2).

Everything about a user is derived from `user_progress` (G2.1). Totals are sums and maxima, active days are sets:
both merge over any split of events and of users. From `present_users` on a number identifies a user, because
sorting and grouping by text costs several times as much as all other steps.
"""

from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.raw import MOCK_TEST
from ghost_pipeline.domain.shared.local_time import local_date, skipped_date, today

WEEK = timedelta(days=7)

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


def streak_runs(days: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Return runs of consecutive active days, sorted by the key (user_number, first_day).

    Takes `active_days`, and user_number and timezone of `present_users`; a date that a zone skipped ends no run.
    Returns user_number, first_day Date, last_day Date, run_length Int32 (active days).
    """
    key, first, skipped = pl.col("key"), pl.col("first"), pl.col("skipped")
    begins = (key - 1).ne_missing(key.shift(1))
    ends = (key + 1).ne_missing(key.shift(-1))
    # A few users at most, so that the join costs next to nothing.
    skips = present.select("user_number", skipped=skipped_date(pl.col("timezone"))).drop_nulls()
    return (
        days.join(skips, on="user_number", how="left")
        .select("skipped", key=_user_day_key() + _moved_up(pl.col("local_date"), skipped))
        .sort("key")
        .with_columns(first=pl.when(begins).then(key).forward_fill(), ends=ends)
        .filter("ends")
        .select(
            user_number=_user_of(key),
            first_day=_moved_back(_day_of(first), skipped),
            last_day=_moved_back(_day_of(key), skipped),
            run_length=(key - first + 1).cast(pl.Int32),
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


def _moved_up(date: pl.Expr, skipped: pl.Expr) -> pl.Expr:
    """Return 1 for dates before the skipped one: a day later, they are next to the dates after it."""
    return (date <= skipped).fill_null(value=False).cast(pl.Int64)


def _moved_back(date: pl.Expr, skipped: pl.Expr) -> pl.Expr:
    return date - pl.duration(days=_moved_up(date, skipped))


def _dated_events(calendars: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    return (
        progress.filter(pl.col("completed_at") < as_of)
        .join(calendars, on="user_id")
        .with_columns(local_date=local_date(pl.col("completed_at"), pl.col("timezone")))
    )


def _journey_day(date: str) -> pl.Expr:
    return ((pl.col(date) - pl.col("created_date")).dt.total_days() + 1).cast(pl.Int32)
