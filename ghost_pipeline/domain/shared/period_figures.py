"""The figures of a partition that should not jump from one period to the next, each table's in one row.

A whole number is a count; anything else is an average, and null where it is one of few.
"""

from collections.abc import Mapping

import polars as pl

from ghost_pipeline.contracts.raw import GLOBAL_COHORT
from ghost_pipeline.domain.shared.comparisons import Comparison, compared

FEW_MEMBERS = 30
"""An average of fewer people jumps when one of them has a good day."""
_COUNTS = ("member_count", "active_member_count")
_AVERAGES = ("avg_tasks_completed", "avg_tasks_this_week", "avg_practice_minutes", "avg_days_practiced_per_week")
"""Means; streaks are left out, which end by the dozen on a Monday."""


def row_count(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` Int64: how many there are."""
    return rows.select(rows=pl.len().cast(pl.Int64))


def cohort_figures(cohorts: pl.LazyFrame) -> pl.LazyFrame:
    """Of `cohort_ghost_data`: the number of `cohorts`, and members and averages of the row over all users (G3.1)."""
    is_global = pl.col("cohort_id") == GLOBAL_COHORT
    enough = pl.col("active_member_count").filter(is_global).sum() >= FEW_MEMBERS
    return cohorts.select(
        (~is_global).sum().cast(pl.Int64).alias("cohorts"),
        *(pl.col(name).filter(is_global).sum().cast(pl.Int64) for name in _COUNTS),
        *(
            pl.when(enough).then(pl.col(name).filter(is_global).sum().cast(pl.Float64)).alias(name)
            for name in _AVERAGES
        ),
    )


def release_figures(releases: pl.LazyFrame) -> pl.LazyFrame:
    """Of `cohort_ghost_release`: how many cohorts are `released`, Int64."""
    return releases.select(pl.col("released").sum().cast(pl.Int64))


def sample_figures(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Of a table of shares or means: `rows`, and the people that they are taken over, `sample_size`, both Int64."""
    return rows.select(rows=pl.len().cast(pl.Int64), sample_size=pl.col("sample_size").sum().cast(pl.Int64))


def period_drift(
    now: Mapping[str, float | None], before: Mapping[str, float | None], basis: str, percent: int
) -> list[Comparison]:
    """Compare the figures of a partition with those of one before; what either has not is left out."""
    pairs = ((name, before.get(name), found) for name, found in now.items())
    return [
        compared(name, basis, expected, found, fall=percent, rise=percent)
        for name, expected, found in pairs
        if expected is not None and found is not None
    ]
