"""From published rows to those of the specification's tables: which of them, under which columns.

The figures are those that answers are made of (G5.5, G5.6, G7.7, G9); only their form is another one.
"""

from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.specified import (
    SPECIFIED_COHORT_GHOST_DATA,
    SPECIFIED_GHOST_BENCHMARKS,
    SPECIFIED_NGRAM_SPEED_SUMMARIES,
    UTC_TEXT,
    SpecifiedTable,
)
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import INTERVAL
from ghost_pipeline.domain.ghost.ghost_figures import FigureLimits, fresh_release
from ghost_pipeline.domain.shared.identity import row_id

NUL = "\0"
"""The one character that no text of PostgreSQL holds."""


def specified_ghost_benchmarks(ghost_benchmarks: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of the specification's `ghost_benchmarks`.

    Takes the rows of `ghost_benchmarks` of the one month that serves. Of the populations, `interval` is the one of the
    specification's answers (G5.6). Instants are UTC without saying so.
    """
    rows = ghost_benchmarks.filter(pl.col("population") == INTERVAL)
    return _of(SPECIFIED_GHOST_BENCHMARKS, rows.with_columns(*map(_timestamp, ("created_at", "updated_at"))))


def specified_cohort_ghost_data(
    cohort_ghost_release: pl.LazyFrame, as_of: datetime, limits: FigureLimits
) -> pl.LazyFrame:
    """Return the rows of the specification's `cohort_ghost_data`: each cohort's released figures at `as_of`.

    Takes the newest partition of the ledger. Suppressed cohorts, and those whose release is too old to be used (G7.7),
    have no row (G9.5). snapshot_date and snapshot_hour are those of the ledger, from which the figures are shown;
    updated_at is the as_of of the figures (G9.3).
    """
    key = map(pl.col, ("cohort_id", "snapshot_date", "snapshot_hour"))
    rows = cohort_ghost_release.filter(pl.col("as_of") <= as_of, fresh_release(as_of, limits))
    return _of(
        SPECIFIED_COHORT_GHOST_DATA,
        rows.with_columns(
            row_id(SPECIFIED_COHORT_GHOST_DATA.name, *key), _timestamp("released_as_of").alias("updated_at")
        ),
    )


def specified_ngram_speed_summaries(ngram_speed_summaries: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of the specification's `ngram_speed_summaries`, row by row; instants are text, ISO 8601 in UTC."""
    texts = (pl.col(name).dt.strftime(UTC_TEXT) for name in ("last_updated", "created_at"))
    return _of(SPECIFIED_NGRAM_SPEED_SUMMARIES, ngram_speed_summaries.with_columns(*texts))


def storable() -> pl.Expr:
    """Whether PostgreSQL can hold a row: not with a NUL in an id, which Parquet and NDJSON may have."""
    return ~pl.any_horizontal(pl.col(pl.String).str.contains(NUL, literal=True).fill_null(value=False))


def _of(table: SpecifiedTable, rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select(table.names)


def _timestamp(name: str) -> pl.Expr:
    return pl.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None)
