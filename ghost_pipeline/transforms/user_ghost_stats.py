"""Every user's own figures at the end of an hour: activity, streak, journey and ranks (G1, G2, G4)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from ghost_pipeline.tables.raw import MS_PER_MINUTE
from ghost_pipeline.transforms.achievers import BAND_DTYPE, DEFAULT_STARTS, starting_skill
from ghost_pipeline.transforms.activity import (
    TOTAL_COLUMNS,
    active_days,
    activity_totals,
    counted_events,
    days_practiced,
    present_users,
    streak_runs,
    streaks,
)
from ghost_pipeline.transforms.percentile_rank import RANK_BASES, RANK_METRICS, percentile_rank
from ghost_pipeline.transforms.rounding import decimal_units
from ghost_pipeline.windows import Hour

ACTIVE_WINDOW = timedelta(days=14)

_INSTANT = pl.Datetime("us", "UTC")


def user_ghost_stats(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    starting_skills: Sequence[Decimal] = DEFAULT_STARTS,
) -> pl.LazyFrame:
    """The figures of every user created before `as_of`, from scratch; sorted by user_id (the key).

    Takes `users` (the version of each that is valid at `as_of`) and `progress` (valid events). Columns
    and dtypes are those of `assemble_user_ghost_stats`.
    """
    present = present_users(users, as_of)
    calendars = present.select("user_id", "user_number", "timezone", "created_date")
    events = counted_events(calendars, progress, as_of)
    days = active_days(events)
    return assemble_user_ghost_stats(
        present,
        activity_totals(events, as_of),
        days_practiced(days, present),
        streaks(streak_runs(days), present),
        as_of,
        starting_skills=starting_skills,
    )


def assemble_user_ghost_stats(
    present: pl.LazyFrame,
    totals: pl.LazyFrame,
    practiced: pl.LazyFrame,
    user_streaks: pl.LazyFrame,
    as_of: datetime,
    *,
    starting_skills: Sequence[Decimal] = DEFAULT_STARTS,
) -> pl.LazyFrame:
    """The same figures from parts, however they were obtained; sorted by user_id (the key).

    The parts are the outputs of `present_users`, `activity_totals`, `days_practiced` and `streaks`, joined
    on user_number; a user without a row in `totals` or `practiced` has zeros. The ranks are relative to all
    users in `present`.

    Returns as_of Datetime, snapshot_date Date and snapshot_hour Int32 (of the hour that ends at `as_of`,
    G1.2), user_id, cohort_id?, cohort_excluded Boolean, timezone?, diagnostic_score Float64?,
    starting_skill Decimal(2, 1)? (G5.1), target_band Decimal(2, 1)?, day_in_journey Int32, the totals
    (Int64) with practice_time_ms also as practice_minutes Float64, days_practiced Int32 (of the last 7
    dates), current_streak and longest_streak Int32 (days), streak_status, last_activity_at Datetime?,
    is_active_member Boolean (G2.5, for the cohort the user is in) and the ranks of G4 (Int32?).
    """
    hour = Hour.ending_at(as_of)
    last_activity = pl.col("last_activity_at")
    figures = (
        present.join(totals, on="user_number", how="left")
        .join(practiced, on="user_number", how="left")
        .join(user_streaks, on="user_number", how="left")
        .with_columns(pl.col(*TOTAL_COLUMNS, "days_practiced").fill_null(0))
        .with_columns(
            as_of=pl.lit(as_of, dtype=_INSTANT),
            snapshot_date=pl.lit(hour.date),
            snapshot_hour=pl.lit(hour.hour, dtype=pl.Int32),
            starting_skill=starting_skill(starting_skills),
            target_band=_one_decimal("target_band"),
            practice_minutes=_minutes("practice_time_ms"),
            is_active_member=~pl.col("cohort_excluded")
            & (last_activity >= as_of - ACTIVE_WINDOW).fill_null(value=False),
        )
    )
    ranks = [percentile_rank(metric, base) for metric in RANK_METRICS for base in RANK_BASES]
    return figures.select(
        "as_of",
        "snapshot_date",
        "snapshot_hour",
        "user_id",
        "cohort_id",
        "cohort_excluded",
        "timezone",
        "diagnostic_score",
        "starting_skill",
        "target_band",
        "day_in_journey",
        "tasks_completed",
        "tasks_this_week",
        "practice_time_ms",
        "practice_minutes",
        "speaking_tasks",
        "writing_tasks",
        "reading_tasks",
        "listening_tasks",
        "mock_tests",
        "days_practiced",
        "current_streak",
        "longest_streak",
        "streak_status",
        "last_activity_at",
        "is_active_member",
        *ranks,
    ).sort("user_id")


def _one_decimal(score: str) -> pl.Expr:
    tenths = (pl.col(score) * 10).round(mode="half_away_from_zero").cast(pl.Int64)
    return decimal_units(tenths, scale=1).cast(BAND_DTYPE)


def _minutes(milliseconds: str) -> pl.Expr:
    # polars divides by a literal through its reciprocal, which makes 12,102,000 ms 201.70000000000002
    # minutes; by a column it divides.
    divisor = pl.col(milliseconds) * 0 + MS_PER_MINUTE
    return pl.col(milliseconds) / divisor
