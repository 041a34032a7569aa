"""Contracts of the tables that are computed once for each month: figures of people who reached their band."""

import dataframely as dy
import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.contracts.columns import (
    as_of_column,
    computed_from,
    month_column,
    renewed_column,
    row_id,
    row_written,
    schema_of,
    small,
    starting_skill_column,
)
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning

_AT, _ZONE, _BAND = "user_progress.completed_at", "users.timezone", "users.final_band_score"
PERCENT = 100


class _GhostBenchmarksHead(dy.Schema):
    id = row_id("population, target_band, starting_skill, day_number, success_percentile, month")
    population = computed_from(
        dy.String(
            primary_key=True,
            regex="^(interval|at_least)$",
            description="interval: final score in [band, band + 0.5); at_least: from the band on",
        ),
        _BAND,
    )
    target_band = computed_from(dy.Decimal(2, 1, primary_key=True, description="Band that was reached"), _BAND)
    starting_skill = starting_skill_column("Lower end of the half band of the diagnostic score", primary_key=True)
    day_number = computed_from(
        dy.Int32(primary_key=True, min=1, description="Day of the journey, from 1"), _AT, "users.created_at", _ZONE
    )
    success_percentile = computed_from(
        dy.Int32(
            primary_key=True,
            min=1,
            max=99,
            description="p: the figures are the (100 - p)th percentile of the achievers",
        )
    )


GhostBenchmarks = schema_of(
    "GhostBenchmarks",
    "What people who reached a band had done by each day of their journey.",
    {
        **{metric.column_name: metric.column for metric in BENCHMARK_METRICS},
        "sample_size": computed_from(
            small(
                "Achievers for whom this day of the journey has ended; of at_least rounded down to a multiple of 5",
                low=0,
            ),
            _BAND,
            "users.created_at",
            _ZONE,
        ),
        "month": month_column(primary_key=True),
        "renewed": renewed_column(),
        "as_of": as_of_column(),
        "created_at": row_written("as_of at which the row was first written"),
        "updated_at": row_written("as_of at which the row was last written"),
    },
    head=_GhostBenchmarksHead,
)


class GhostStreakShares(dy.Schema):
    """Share of the people who reached a band and kept up a streak of that many days."""

    id = row_id("target_band, starting_skill, streak_threshold, month")
    target_band = computed_from(dy.Decimal(2, 1, description="Achievers of at least this band"), _BAND)
    starting_skill = starting_skill_column(
        "Lower end of the half band of their diagnostic score; null for all starts together", nullable=True
    )
    streak_threshold = computed_from(dy.Int32(min=1, description="Days that the longest streak has to reach"))
    sample_size = computed_from(small("Achievers that the share is taken over, rounded down to a multiple of 5"), _BAND)
    percentage = computed_from(
        small("Percentage of them who reached it, rounded half away from zero", high=PERCENT), _AT, _ZONE, _BAND
    )
    month = month_column()
    renewed = renewed_column()
    as_of = as_of_column()
    created_at = row_written("as_of at which the row was first written")
    updated_at = row_written("as_of at which the row was last written")

    @dy.rule()
    def one_share_per_key(cls) -> pl.Expr:  # noqa: N805 - dataframely's rules are class methods
        """The key holds a null, which no primary key may."""
        return pl.len().over("target_band", "starting_skill", "streak_threshold", "month") == 1


class GhostFastestImprovers(dy.Schema):
    """Minutes a day practised by the people who improved fastest, by starting skill."""

    id = row_id("starting_skill, month")
    starting_skill = starting_skill_column("Lower end of the half band of the diagnostic score", primary_key=True)
    sample_size = computed_from(
        small(
            "Achievers of at least the lowest band, rounded down to a multiple of 5; the figure is that of their "
            "fastest quarter",
            low=0,
        ),
        _BAND,
    )
    minutes_per_day = computed_from(
        dy.Decimal(
            18,
            1,
            min=0,
            description="Mean over the fastest quarter of (minutes before the result / days to the result)",
        ),
        "user_progress.time_spent_ms",
        "users.created_at",
        "users.final_band_at",
    )
    month = month_column(primary_key=True)
    renewed = renewed_column()
    as_of = as_of_column()
    created_at = row_written("as_of at which the row was first written")
    updated_at = row_written("as_of at which the row was last written")


GHOST_BENCHMARKS = Contract(
    name="ghost_benchmarks",
    schema=GhostBenchmarks,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one population, band, start, day and percentile with enough achievers, at the end of a month",
    published=True,
    indexes=(("target_band", "starting_skill", "day_number"),),
)

GHOST_STREAK_SHARES = Contract(
    name="ghost_streak_shares",
    schema=GhostStreakShares,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one band, start (or all starts) and threshold with enough achievers, at the end of a month",
    published=True,
)
GHOST_FASTEST_IMPROVERS = Contract(
    name="ghost_fastest_improvers",
    schema=GhostFastestImprovers,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one starting skill with enough achievers, at the end of a month",
    published=True,
)

MONTHLY_FIGURES = (GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS)
"""The tables of figures that are computed once for each month."""
