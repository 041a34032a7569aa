"""The exact hourly snapshot of every cohort, internal to the pipeline (G3).

Which figures there are, `ghost_pipeline.contracts.cohort_metrics` says; this module computes them.
"""

from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CohortMetric
from ghost_pipeline.contracts.raw import GLOBAL_COHORT
from ghost_pipeline.domain.shared.identity import row_id
from ghost_pipeline.domain.shared.rounding import mean_decimal, percentile
from ghost_pipeline.windows import Hour

_TABLE = "cohort_ghost_data"
_INSTANT = pl.Datetime("us", "UTC")


def cohort_ghost_data(user_stats: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """One row per cohort with an active member, and one named `global` over all users (G3.1).

    Takes the output of `user_ghost_stats` for the same `as_of`. Returns id String, cohort_id String,
    snapshot_date Date, snapshot_hour Int32, as_of Datetime, member_count Int32 (all members),
    active_member_count Int32 (G2.5), the figures of `COHORT_METRICS` over the active members and
    updated_at Datetime (= as_of), sorted by cohort_id; key (cohort_id, snapshot_date, snapshot_hour).
    """
    hour = Hour.ending_at(as_of)
    everybody = user_stats.with_columns(cohort_id=pl.lit(GLOBAL_COHORT))
    members = pl.concat([user_stats.filter(pl.col("cohort_id") != GLOBAL_COHORT), everybody])
    active = members.filter("is_active_member")
    member_counts = members.group_by("cohort_id").agg(member_count=pl.len().cast(pl.Int32))
    return (
        active.group_by("cohort_id")
        .agg(pl.len().cast(pl.Int32).alias("active_member_count"), *map(cohort_figure, COHORT_METRICS))
        .join(member_counts, on="cohort_id")
        .with_columns(
            snapshot_date=pl.lit(hour.date),
            snapshot_hour=pl.lit(hour.hour, dtype=pl.Int32),
            as_of=pl.lit(as_of, dtype=_INSTANT),
            updated_at=pl.lit(as_of, dtype=_INSTANT),
        )
        .select(
            row_id(_TABLE, pl.col("cohort_id"), pl.col("snapshot_date"), pl.col("snapshot_hour")),
            "cohort_id",
            "snapshot_date",
            "snapshot_hour",
            "as_of",
            "member_count",
            "active_member_count",
            *(metric.name for metric in COHORT_METRICS),
            "updated_at",
        )
        .sort("cohort_id")
    )


def cohort_figure(metric: CohortMetric) -> pl.Expr:
    """Return the expression of a registered figure over the rows of `user_ghost_stats` of a group.

    Means and percentiles are exact and rounded half away from zero (G3.3).
    """
    if metric.statistic == "mean":
        total = pl.col(metric.source).cast(pl.Int64).sum()
        figure = mean_decimal(total, pl.len(), unit=metric.unit, scale=metric.scale)
    else:
        figure = percentile(metric.source, metric.percentile, unit=metric.unit)
    return figure.cast(metric.dtype).alias(metric.name)
