"""Changes of the summaries from one hour to the next (N3.5)."""

from datetime import UTC, datetime

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_speed_summaries import (
    NGRAM_SPEED_SUMMARY_KEY,
    NGRAM_SPEED_SUMMARY_SCHEMA,
)

COMPARED_COLUMNS = (
    "decaying_average_ms",
    "target_speed_ms",
    "target_performance_pct",
    "meets_target",
    "sample_count",
    "measurements_used",
    "last_measured",
)
"""The figures of a summary; its other columns identify it or date it."""


def ngram_speed_summary_history(state: pl.LazyFrame, state_an_hour_ago: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the summaries of `state` that are new or differ from those of an hour ago (N3.5).

    An n-gram that has left the window since then no longer has a summary, and so has no row in this hour: the
    history shows how a summary changed, the current table which summaries exist. When such an n-gram is
    practised again, its summary is new and enters that hour's history.

    Args:
        state: `ngram_speed_summaries` at `as_of`.
        state_an_hour_ago: the same one hour before, over the same raw tables (a late session makes both
            states stale, and it enters the history with its own hour when that is built again).
        as_of: the end of the hour, aware.

    Returns:
        The columns of `NGRAM_SPEED_SUMMARY_SCHEMA` with `as_of`, one row per (user_id, keyboard_id,
        ngram_text, ngram_size), which also is the order.
    """
    key = list(NGRAM_SPEED_SUMMARY_KEY)
    # Both states come from the same function, which returns the same bits for unchanged inputs, so equality
    # needs no tolerance.
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in COMPARED_COLUMNS)
    before = state_an_hour_ago.select(
        *key,
        *(pl.col(name).alias(f"{name}_before") for name in COMPARED_COLUMNS),
        existed=pl.lit(value=True),
    )
    return (
        state.join(before, on=key, how="left")
        .filter(pl.col("existed").is_null() | ~same)
        .with_columns(as_of=pl.lit(as_of.astimezone(UTC), NGRAM_SPEED_SUMMARY_SCHEMA["as_of"]))
        .sort(key)
        .select(NGRAM_SPEED_SUMMARY_SCHEMA.names())
    )
