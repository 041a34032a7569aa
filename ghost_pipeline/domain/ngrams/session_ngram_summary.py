"""Mean speed, occurrences and errors of each n-gram in a session (N3.6)."""

import polars as pl

from ghost_pipeline.contracts.ngrams import SESSION_NGRAM_SUMMARY
from ghost_pipeline.domain.ngrams.ngram_measurements import session_means

SESSION_NGRAM_SUMMARY_SCHEMA = pl.Schema(SESSION_NGRAM_SUMMARY.polars_schema)
"""The columns of `session_ngram_summary`."""


def session_ngram_summary(
    practice_sessions: pl.LazyFrame,
    session_ngram_speed: pl.LazyFrame,
    session_ngram_errors: pl.LazyFrame,
) -> pl.LazyFrame:
    """Summarise every n-gram of every session (N3.6).

    A session's rows depend on that session alone: pass the sessions of an hour to get that hour's rows.

    Args:
        practice_sessions: `session_id` (unique), `user_id`, `keyboard_id` String, `start_time`
            Datetime("us", "UTC"). N-grams of other sessions are left out.
        session_ngram_speed: `session_id`, `ngram_text` String, `ngram_size` Int32, `ms_per_keystroke`
            Float64; a row per measurement.
        session_ngram_errors: `session_id`, `ngram_text` String, `ngram_size` Int32; a row per error.

    Returns:
        The columns of `SESSION_NGRAM_SUMMARY_SCHEMA`, one row per (session_id, ngram_text, ngram_size),
        which also is the order. `avg_ms_per_keystroke` is the mean of the measurements (of equal ones that
        value, to the bit), null where there are only errors; `instance_count` = measurements + errors.
        The measurements are merged during the call, not when the frame is collected.
    """
    key = list(SESSION_NGRAM_SUMMARY.primary_key)
    sessions = practice_sessions.select("session_id", "user_id", "keyboard_id", "start_time").collect()
    places = sessions.lazy().select("session_id", place=pl.int_range(pl.len(), dtype=pl.UInt64))
    means = session_means(session_ngram_speed, places, sessions.height.bit_length())
    text, size = means.ngram()
    speed = pl.LazyFrame(
        {
            "session_id": sessions["session_id"].gather(means.place()),
            "ngram_text": text,
            "ngram_size": size,
            "avg_ms_per_keystroke": means.mean(),
            "measured": means.count,
        },
    )
    errors = session_ngram_errors.group_by(key).agg(error_count=pl.len())
    return (
        speed.join(errors, on=key, how="full", coalesce=True)
        .with_columns(pl.col("measured", "error_count").fill_null(0))
        .with_columns(instance_count=pl.col("measured") + pl.col("error_count"))
        .join(sessions.lazy(), on="session_id", how="inner")
        .sort(key)
        .select(pl.col(name).cast(dtype) for name, dtype in SESSION_NGRAM_SUMMARY_SCHEMA.items())
    )
