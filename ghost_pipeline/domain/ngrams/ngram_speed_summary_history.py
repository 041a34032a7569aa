"""What changed in the summaries from one hour to the next (N3.5)."""

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
"""What a summary says; the rest of its columns identify it or tell when it was made."""


def ngram_speed_summary_history(state: pl.LazyFrame, state_an_hour_ago: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the summaries of `state` that are new or differ from those of an hour ago (N3.5).

    An n-gram that has left the window since then has no summary any more, and so no row in this hour
    either: the history says how a summary became what it is, the current table which ones there are. When
    such an n-gram is practised again, its summary is new and is in that hour's history.

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
    # Both states come from the same function, which gives the same bits for what has not changed:
    # equality needs no tolerance.
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
