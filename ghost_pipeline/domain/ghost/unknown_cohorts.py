"""A data-quality finding: cohorts that users name and `cohorts` lacks (G3.1)."""

import polars as pl


def unknown_cohorts(user_stats: pl.LazyFrame, cohorts: pl.LazyFrame) -> pl.LazyFrame:
    """Find cohorts that users name and `cohorts` lacks; they get their snapshot row nevertheless.

    Returns:
        One row per cohort: `cohort_id`, sorted.

    """
    named = user_stats.select("cohort_id").drop_nulls().unique()
    return named.join(cohorts, on="cohort_id", how="anti").sort("cohort_id")
