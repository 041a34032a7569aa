"""Trends of a typist's n-grams from hour to hour and from session to session (N4.5)."""

from datetime import datetime

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_queries import (
    check_ngram_text,
    check_target_speed,
    check_whole_number,
    newest_sessions,
    of_typist,
)

N_SESSIONS = 20
"""The newest sessions of `missing_target_counts`."""

NGRAM_TREND_SCHEMA = pl.Schema(
    {
        "as_of": pl.Datetime("us", "UTC"),
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "decaying_average_ms": pl.Float64(),
        "target_speed_ms": pl.Float64(),
        "target_performance_pct": pl.Float64(),
        "meets_target": pl.Boolean(),
        "sample_count": pl.Int32(),
        "measurements_used": pl.Int32(),
        "last_measured": pl.Datetime("us", "UTC"),
    },
)
"""The columns of `ngram_trend`."""

BIGGEST_CHANGES_SCHEMA = pl.Schema(
    {
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "previous_ms": pl.Float64(),
        "latest_ms": pl.Float64(),
        "delta": pl.Float64(),
        "previous_as_of": pl.Datetime("us", "UTC"),
        "latest_as_of": pl.Datetime("us", "UTC"),
    },
)
"""The columns of `biggest_changes`."""

MISSING_TARGET_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "start_time": pl.Datetime("us", "UTC"),
        "missing": pl.Int32(),
    },
)
"""The columns of `missing_target_counts`."""


def ngram_trend(history: pl.LazyFrame, user_id: str, keyboard_id: str, ngram_text: str) -> pl.LazyFrame:
    """Follow one n-gram of a user on a keyboard through the history (N4.5).

    Args:
        history: `ngram_speed_summary_history`.
        user_id: the typist.
        keyboard_id: the keyboard.
        ngram_text: 1 to 50 characters; any Unicode form.

    Returns:
        The columns of `NGRAM_TREND_SCHEMA`, a row for each hour in which its summary changed, oldest first
        (a text that exists in two sizes: the smaller first).

    Raises:
        NgramArgumentError: the text is empty or too long; it is a ValueError.
    """
    text = check_ngram_text(ngram_text)
    return (
        of_typist(history, user_id, keyboard_id)
        .filter(pl.col("ngram_text") == text)
        .sort("as_of", "ngram_size")
        .select(NGRAM_TREND_SCHEMA.names())
    )


def biggest_changes(history: pl.LazyFrame, user_id: str, keyboard_id: str, n: int | None = None) -> pl.LazyFrame:
    """Compare the two latest states of a user's keyboard in the history (N4.5).

    The latest state is the newest hour with rows of the pair; the state before it is each n-gram's newest earlier
    row. An n-gram counts if it has an average in both states and they differ; a new n-gram, or one whose target
    alone changed, neither improved nor regressed.

    Args:
        history: `ngram_speed_summary_history`.
        user_id: the typist.
        keyboard_id: the keyboard.
        n: the number of biggest improvements and of biggest regressions; None is all, 0 or less none.

    Returns:
        The columns of `BIGGEST_CHANGES_SCHEMA`, one row per n-gram: `delta` = previous - latest in ms, so
        that an improvement is positive; the best improvement first, ties by ngram_text and ngram_size.

    Raises:
        NgramArgumentError: n is not a whole number; it is a ValueError.
    """
    if n is not None:
        check_whole_number("n", n)
    key = ["ngram_text", "ngram_size"]
    rows = of_typist(history, user_id, keyboard_id).select(*key, "decaying_average_ms", "as_of")
    is_latest = pl.col("as_of") == pl.col("as_of").max()
    latest = rows.filter(is_latest).select(*key, latest_ms="decaying_average_ms", latest_as_of="as_of")
    previous = (
        rows.filter(~is_latest)
        .group_by(key)
        .agg(
            previous_ms=pl.col("decaying_average_ms").sort_by("as_of").last(),
            previous_as_of=pl.col("as_of").max(),
        )
    )
    changes = (
        latest.join(previous, on=key, how="inner")
        .with_columns(delta=pl.col("previous_ms") - pl.col("latest_ms"))
        .filter(pl.col("delta") != 0)
        .sort("delta", *key, descending=[True, False, False])
        .select(BIGGEST_CHANGES_SCHEMA.names())
    )
    if n is None:
        return changes
    improvement_rank = pl.int_range(pl.len())
    regression_rank = pl.struct("delta", *key).rank("ordinal") - 1
    return changes.filter(
        ((pl.col("delta") > 0) & (improvement_rank < n)) | ((pl.col("delta") < 0) & (regression_rank < n)),
    )


def missing_target_counts(
    session_summaries: pl.LazyFrame,
    practice_sessions: pl.LazyFrame,
    user_id: str,
    keyboard_id: str,
    target_speed_ms: float,
    n_sessions: int = N_SESSIONS,
    *,
    as_of: datetime | None = None,
) -> pl.LazyFrame:
    """Count, for each of a user's newest sessions on a keyboard, the n-grams that missed the target (N4.5).

    The n-gram's mean in that session counts, not its decaying average; an n-gram with errors only has no mean and
    misses no target.

    Args:
        session_summaries: `session_ngram_summary`.
        practice_sessions: `session_id`, `user_id`, `keyboard_id` String, `start_time` Datetime.
        user_id: the typist.
        keyboard_id: the keyboard.
        target_speed_ms: the keyboard's target in ms per keystroke.
        n_sessions: how many sessions; 0 or less is none.
        as_of: only sessions that started before this instant (aware); None: all sessions passed.

    Returns:
        The columns of `MISSING_TARGET_SCHEMA`, one row per session, also those without any n-gram, oldest
        first.

    Raises:
        NgramArgumentError: an argument is not allowed; it is a ValueError.
    """
    check_target_speed("target_speed_ms", target_speed_ms)
    check_whole_number("n_sessions", n_sessions)
    missing = (
        session_summaries.filter(pl.col("avg_ms_per_keystroke") > target_speed_ms)
        .group_by("session_id")
        .agg(missing=pl.len().cast(pl.Int32))
    )
    return (
        newest_sessions(practice_sessions, user_id, keyboard_id, n_sessions, as_of)
        .select("session_id", "start_time")
        .join(missing, on="session_id", how="left")
        .with_columns(pl.col("missing").fill_null(0))
        .sort("start_time", "session_id")
        .select(MISSING_TARGET_SCHEMA.names())
    )
