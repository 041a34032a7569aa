"""Everything that a user's messages and answer are made of: the own figures beside those of the others (G6, G7.7)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import AT_LEAST, INTERVAL
from ghost_pipeline.domain.ghost.benchmarks.ghost_benchmarks import (
    benchmark_day,
    benchmark_target_band,
)
from ghost_pipeline.domain.ghost.benchmarks.ghost_fastest_improvers import user_minutes_per_day
from ghost_pipeline.domain.ghost.benchmarks.ghost_streak_shares import next_streak_threshold
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Month

TASKS_PERCENTILE = 25
"""Top percent of the achievers whom the answer's benchmark is taken from (G5.6)."""
SPEAKING_PERCENTILE = 50
"""The same for the speaking exercises of the first opening message: the median (G6)."""

_TENTHS = 100
"""Bands are below 10.0: more than any has tenths."""

SILENCE = timedelta(hours=48)
SILENT_DAY = 4
"""First day of the journey on which 48 hours have passed since the account was made, whenever that day it was."""


@dataclass(frozen=True)
class FigureLimits:
    """Which figures may be used, and for whom (G5.2, G5.5, G6, G7.7, G8)."""

    release_max_age: timedelta
    """A release older than this is not used; exactly so old, it is."""
    month_max_age: timedelta
    """The same for the figures of a month."""
    month_delay: timedelta
    """A month serves answers at least so long after its end."""
    target_band: Decimal
    """Band of a user who aims at none."""
    days: int
    """Last day of the journey that has a benchmark."""
    streak_thresholds: Sequence[int]
    """Days that shares of streaks are given for."""

    @classmethod
    def of(cls, settings: Settings) -> "FigureLimits":
        """The limits that the settings say."""
        return cls(
            release_max_age=timedelta(hours=settings.release_max_age_hours),
            month_max_age=timedelta(days=settings.benchmark_max_age_days),
            month_delay=timedelta(hours=settings.benchmark_delay_hours),
            target_band=settings.default_target_band,
            days=settings.benchmark_days,
            streak_thresholds=settings.streak_thresholds,
        )


def serving_month(months: Iterable[Month], as_of: datetime, limits: FigureLimits) -> Month | None:
    """Which of the months that were materialized serves an answer: the newest that may (G5.5, G7.7).

    A reader takes this partition alone. In one frame of several months, one without a row (no cell had enough
    achievers) cannot be seen, and the figures of the month before it would come back (G5.3).
    """
    return max(
        (month for month in months if _earliest(as_of, limits) <= month.as_of <= as_of - limits.month_delay),
        default=None,
    )


def ghost_figures(
    user_stats: pl.LazyFrame,
    cohort_ghost_release: pl.LazyFrame,
    ghost_benchmarks: pl.LazyFrame,
    ghost_streak_shares: pl.LazyFrame,
    ghost_fastest_improvers: pl.LazyFrame,
    as_of: datetime,
    *,
    limits: FigureLimits,
) -> pl.LazyFrame:
    """A row per user with every figure that may be shown to that user at `as_of`; null where there is none.

    Takes rows of the tables by the same names: `user_ghost_stats` of one hour, one user or all of them; partitions
    of the release ledger (the newest at or before `as_of` counts); months (the newest counts
    that ended at least `limits.month_delay` before `as_of`. Figures older than the limits are not used, by
    `as_of` of the answer minus as_of of the figure (G7.7).

    Returns, in the order of `user_stats`, its columns and:

    - benchmark_band Decimal(2, 1) (own target, else the default), benchmark_day Int32? (the user's day, at most
      the last one with a benchmark, null before day 1), benchmark_tasks and benchmark_minutes Int32? (top 25 % of
      those who reached the band and not the next), benchmark_as_of Datetime?;
    - speaking_benchmark Int32? (median of those who reached at least the band), speaking_benchmark_as_of Datetime?;
    - cohort_released (figures may be shown) and cohort_suppressed (there are some, and they may not) Boolean, neither
      where the cohort has no entry or its release is too old; cohort_size Int32?, a column `cohort_<name>` for each
      entry of `COHORT_METRICS`, of its type, and cohort_as_of Datetime? (of the release, G9.3);
    - improvers_minutes_per_day Decimal(18, 1)?, improvers_as_of Datetime?, minutes_per_day Decimal(9, 1)? (the user's);
    - streak_threshold Int32? (the smallest above the user's streak), streak_band Decimal(2, 1)?,
      streak_percentage Int32?, streak_as_of Datetime?;
    - streak_at_risk and silent Boolean: last active yesterday; no task for 48 hours, where there never was one from
      the fourth day of the journey on (G7.5).
    """
    last_activity = pl.col("last_activity_at")
    users = user_stats.with_columns(
        benchmark_band=benchmark_target_band(default=limits.target_band),
        benchmark_day=benchmark_day(days=limits.days),
        minutes_per_day=user_minutes_per_day(),
        streak_threshold=next_streak_threshold(thresholds=limits.streak_thresholds),
        streak_at_risk=pl.col("streak_status") == "at_risk",
        silent=pl.when(last_activity.is_null())
        .then(pl.col("day_in_journey") >= SILENT_DAY)
        .otherwise(last_activity <= as_of - SILENCE),
    )
    benchmarks = _of_serving_month(ghost_benchmarks, as_of, limits)
    streaks = _of_serving_month(ghost_streak_shares, as_of, limits)
    improvers = _of_serving_month(ghost_fastest_improvers, as_of, limits)
    return (
        users.with_columns(_cell(), _threshold())
        .join(_benchmarks(benchmarks), on="_cell", how="left", maintain_order="left")
        .join(_releases(cohort_ghost_release, as_of, limits), on="cohort_id", how="left", maintain_order="left")
        .join(_improvers(improvers), on="starting_skill", how="left", maintain_order="left")
        .join(_streak_shares(streaks), on="_threshold", how="left", maintain_order="left")
        .drop("_cell", "_threshold")
        .with_columns(
            pl.col("cohort_released", "cohort_suppressed").fill_null(value=False),
            streak_band=pl.when(pl.col("streak_percentage").is_not_null()).then("benchmark_band"),
        )
    )


def _earliest(as_of: datetime, limits: FigureLimits) -> datetime:
    return as_of - limits.month_max_age


def _of_serving_month(table: pl.LazyFrame, as_of: datetime, limits: FigureLimits) -> pl.LazyFrame:
    """The rows of the newest month that may serve."""
    may_serve = table.filter(pl.col("as_of").is_between(_earliest(as_of, limits), as_of - limits.month_delay))
    return may_serve.filter(pl.col("as_of") == pl.col("as_of").max())


def _cell() -> pl.Expr:
    """Band, start and day as one number: joining by the three takes four times as long."""
    band, start = _tenths("benchmark_band"), _tenths("starting_skill")
    return ((pl.col("benchmark_day").cast(pl.Int64) * _TENTHS + band) * _TENTHS + start).alias("_cell")


def _threshold() -> pl.Expr:
    """Band and threshold of a streak as one number."""
    return (pl.col("streak_threshold").cast(pl.Int64) * _TENTHS + _tenths("benchmark_band")).alias("_threshold")


def _tenths(band: str) -> pl.Expr:
    return (pl.col(band) * 10).cast(pl.Int64)


def _benchmarks(benchmarks: pl.LazyFrame) -> pl.LazyFrame:
    """The benchmarks of each cell: tasks and minutes of one population, speaking tasks of the other."""
    tasks = benchmarks.filter(pl.col("population") == INTERVAL, pl.col("success_percentile") == TASKS_PERCENTILE)
    speaking = benchmarks.filter(pl.col("population") == AT_LEAST, pl.col("success_percentile") == SPEAKING_PERCENTILE)
    cell = {"benchmark_band": "target_band", "benchmark_day": "day_number"}
    return (
        tasks.with_columns(**cell)
        .select(
            _cell(),
            benchmark_tasks="avg_tasks_completed",
            benchmark_minutes="avg_practice_minutes",
            benchmark_as_of="as_of",
        )
        .join(
            speaking.with_columns(**cell).select(
                _cell(), speaking_benchmark="avg_speaking_tasks", speaking_benchmark_as_of="as_of"
            ),
            on="_cell",
            how="full",
            coalesce=True,
        )
    )


def fresh_release(as_of: datetime, limits: FigureLimits) -> pl.Expr:
    """Whether a row of the release ledger has figures that may be used in an answer of `as_of` (G7.7, G9)."""
    return pl.col("released") & (pl.col("released_as_of") >= as_of - limits.release_max_age)


def _releases(ledger: pl.LazyFrame, as_of: datetime, limits: FigureLimits) -> pl.LazyFrame:
    """Return the released figures of each cohort, from the newest partition at or before `as_of` (G1.9, G9)."""
    newest = ledger.filter(pl.col("as_of") <= as_of).filter(pl.col("as_of") == pl.col("as_of").max())
    fresh = fresh_release(as_of, limits)
    return newest.select(
        "cohort_id",
        cohort_released=fresh,
        cohort_suppressed=~pl.col("released"),
        cohort_size=pl.when(fresh).then("active_member_count"),
        cohort_as_of=pl.when(fresh).then("released_as_of"),
        **{f"cohort_{metric.name}": pl.when(fresh).then(metric.name) for metric in COHORT_METRICS},
    )


def _improvers(improvers: pl.LazyFrame) -> pl.LazyFrame:
    return improvers.select("starting_skill", improvers_minutes_per_day="minutes_per_day", improvers_as_of="as_of")


def _streak_shares(shares: pl.LazyFrame) -> pl.LazyFrame:
    """The shares over all starts (G6)."""
    return (
        shares.filter(pl.col("starting_skill").is_null())
        .with_columns(benchmark_band="target_band")
        .select(_threshold(), streak_percentage="percentage", streak_as_of="as_of")
    )
