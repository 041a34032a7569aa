"""Figures of a partition that should not jump from one period to the next, one row per table.

A whole number is a count; any other number is an average, null if it is the average of too few people.
"""

from collections.abc import Mapping

import polars as pl

from ghost_pipeline.contracts.raw import GLOBAL_COHORT
from ghost_pipeline.domain.shared.comparisons import Comparison, compared

FEW_MEMBERS = 30
"""Below this number of people, one good day of one person moves the average."""
_COUNTS = ("member_count", "active_member_count")
_AVERAGES = ("avg_tasks_completed", "avg_tasks_this_week", "avg_practice_minutes", "avg_days_practiced_per_week")
"""Means without streaks, many of which end on a Monday."""


def row_count(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return `rows` Int64, the number of rows."""
    return rows.select(rows=pl.len().cast(pl.Int64))


def cohort_figures(cohorts: pl.LazyFrame) -> pl.LazyFrame:
    """Return the number of `cohorts` of `cohort_ghost_data`, and members and averages of its row `global` (G3.1)."""
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
    """Return `released` Int64, the number of released cohorts of `cohort_ghost_release`."""
    return releases.select(pl.col("released").sum().cast(pl.Int64))


def sample_figures(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return `rows` and the total `sample_size` of a table of shares or means, both Int64."""
    return rows.select(rows=pl.len().cast(pl.Int64), sample_size=pl.col("sample_size").sum().cast(pl.Int64))


def period_drift(
    now: Mapping[str, float | None], before: Mapping[str, float | None], basis: str, percent: int
) -> list[Comparison]:
    """Compare the figures of a partition with those of an earlier one; figures that either lacks are skipped."""
    pairs = ((name, before.get(name), found) for name, found in now.items())
    return [
        compared(name, basis, expected, found, fall=percent, rise=percent)
        for name, expected, found in pairs
        if expected is not None and found is not None
    ]
