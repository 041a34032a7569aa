"""A user's row at the end of an hour: ranks and derived columns, added to activity and streaks (G1, G2, G4)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.rank_metrics import RANK_BASES, RANK_METRICS
from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.domain.ghost.benchmarks.achievers import BAND_DTYPE, starting_skill
from ghost_pipeline.domain.ghost.percentile_rank import percentile_rank
from ghost_pipeline.domain.shared.rounding import decimal_units
from ghost_pipeline.windows import Hour

ACTIVE_WINDOW = timedelta(days=14)

_INSTANT = pl.Datetime("us", "UTC")


def with_activity_figures(figures: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Add the column over which cohort figures are taken: is_active_member Boolean (G2.5, for the user's cohort)."""
    active = (pl.col("last_activity_at") >= as_of - ACTIVE_WINDOW).fill_null(value=False)
    return figures.with_columns(is_active_member=~pl.col("cohort_excluded") & active)


def completed_user_ghost_stats(
    figures: pl.LazyFrame, as_of: datetime, *, starting_skills: Sequence[Decimal]
) -> pl.LazyFrame:
    """A row per user from `with_activity_figures`, completed with ranks and all that follows from the row; same order.

    Takes the columns of `present_users`, the totals, days_practiced, current_streak, longest_streak, streak_status,
    last_activity_at and is_active_member. The ranks are relative to all users in the frame.

    Returns the columns of `USER_GHOST_STATS`. A further column is one in that contract and one expression here.
    """
    hour = Hour.ending_at(as_of)
    figures = figures.with_columns(
        as_of=pl.lit(as_of, dtype=_INSTANT),
        snapshot_date=pl.lit(hour.date),
        snapshot_hour=pl.lit(hour.hour, dtype=pl.Int32),
        starting_skill=starting_skill(starting_skills),
        target_band=_one_decimal("target_band"),
        practice_minutes=_minutes("practice_time_ms"),
    )
    ranks = [percentile_rank(metric, base) for metric in RANK_METRICS for base in RANK_BASES]
    return figures.with_columns(ranks).select(*USER_GHOST_STATS.polars_schema)


def _one_decimal(score: str) -> pl.Expr:
    tenths = (pl.col(score) * 10).round(mode="half_away_from_zero").cast(pl.Int64)
    return decimal_units(tenths, scale=1).cast(BAND_DTYPE)


def _minutes(milliseconds: str) -> pl.Expr:
    # polars divides by a literal through its reciprocal, which makes 12,102,000 ms 201.70000000000002
    # minutes; by a column it divides.
    divisor = pl.col(milliseconds) * 0 + MS_PER_MINUTE
    return pl.col(milliseconds) / divisor
