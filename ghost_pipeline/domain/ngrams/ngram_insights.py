"""Practice priorities and learning rates: figures beyond those of the specification.

No table and no other figure depends on them; they are views of a typist's summaries, history and errors.
"""

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_queries import of_typist

MIN_SESSIONS, MIN_R_SQUARED, MAX_SESSIONS_AHEAD = 5, 0.5, 50
"""A forecast needs so many hours with practice, a line that fits so well, and an end so near (G10.5)."""

MIN_EVIDENCE = 50
"""A forecast also needs points * r² / (1 - r²), the square of the slope over its error, to be at least this.

Neighbouring averages share most of their 20 measurements, so a line fits a few of them by chance: with r² alone, 25 %
of simulated typists who never improve got a forecast after 5 sessions, with this at most 5 % at any number of sessions.
"""

IMPACT_SCHEMA = pl.Schema(
    {
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "impact_ms": pl.Float64(),
        "sample_count": pl.Int32(),
        "decaying_average_ms": pl.Float64(),
        "target_speed_ms": pl.Float64(),
    },
)
"""The columns of `practice_impact`."""

MISTAKE_PAIR_SCHEMA = pl.Schema(
    {"expected_char": pl.String(), "keystroke_char": pl.String(), "mistake_count": pl.Int32()}
)
"""The columns of `mistake_pairs`."""

LEARNING_RATE_SCHEMA = pl.Schema(
    {
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "latest_ms": pl.Float64(),
        "target_speed_ms": pl.Float64(),
        "states": pl.Int32(),
        "slope_ms_per_day": pl.Float64(),
        "r_squared": pl.Float64(),
        "slope_ms_per_session": pl.Float64(),
        "clear_trend": pl.Boolean(),
        "sessions_to_target": pl.Int32(),
        "best_ms": pl.Float64(),
        "best_as_of": pl.Datetime("us", "UTC"),
    },
)
"""The columns of `learning_rates`."""

_DAY_US = 86_400_000_000


def practice_impact(summaries: pl.LazyFrame, user_id: str, keyboard_id: str) -> pl.LazyFrame:
    """Rank a user's n-grams on a keyboard by the time lost against the target.

    Args:
        summaries: `ngram_speed_summaries` at one `as_of`.
        user_id: the typist.
        keyboard_id: the keyboard.

    Returns:
        The columns of `IMPACT_SCHEMA`, one row per n-gram: `impact_ms` = sample_count x (average - target),
        below zero where the typist is faster; the costliest first, ties by ngram_text and ngram_size.
    """
    slower_by = pl.col("decaying_average_ms") - pl.col("target_speed_ms")
    return (
        of_typist(summaries, user_id, keyboard_id)
        .with_columns(impact_ms=pl.col("sample_count") * slower_by)
        .sort("impact_ms", "ngram_text", "ngram_size", descending=[True, False, False])
        .select(IMPACT_SCHEMA.names())
    )


def mistake_pairs(error_ngrams: pl.LazyFrame) -> pl.LazyFrame:
    """Count each wrong character by the character that was expected.

    Args:
        error_ngrams: rows of `session_ngram_errors` of the sessions in question: `ngram_size` Int32,
            `expected_char` and `keystroke_char` String. Rows that an application delivered itself have null in
            both and do not count.

    Returns:
        The columns of `MISTAKE_PAIR_SCHEMA`, one row per (expected_char, keystroke_char), corrected ones
        included; the most frequent first, ties by expected_char and keystroke_char.
    """
    pair = ["expected_char", "keystroke_char"]
    return (
        # A wrong key has a row for every size that ends in it, and exactly one of size 1.
        error_ngrams.filter(pl.col("ngram_size") == 1, pl.col("expected_char").is_not_null())
        .group_by(pair)
        .agg(mistake_count=pl.len().cast(pl.Int32))
        .sort("mistake_count", *pair, descending=[True, False, False])
        .select(MISTAKE_PAIR_SCHEMA.names())
    )


def learning_rates(history: pl.LazyFrame, user_id: str, keyboard_id: str) -> pl.LazyFrame:
    """Fit a line to the speed of each of a user's n-grams on a keyboard, over time and over practice.

    The line is a least-squares fit through the decaying averages. Only practice counts: of the states with the same
    `last_measured` (a target changed, an old session left the window) only the newest is a point of the line.

    Args:
        history: `ngram_speed_summary_history`.
        user_id: the typist.
        keyboard_id: the keyboard.

    Returns:
        The columns of `LEARNING_RATE_SCHEMA`, one row per n-gram, ordered by ngram_text and ngram_size:

        - `states` points of the line; `slope_ms_per_day` (below zero: faster) and `r_squared` of the line
          over `as_of`; `slope_ms_per_session` of the line over 0, 1, 2, ... hours with practice. Null
          with fewer than two points; `r_squared` also where the average never changed.
        - `clear_trend`: whether there are `MIN_SESSIONS` points and the line over practice has an r² of at least
          `MIN_R_SQUARED` and `MIN_EVIDENCE`. Without it the slopes are no learning rate (G10.5).
        - `sessions_to_target`: hours with practice until the latest average meets the latest target at
          that slope, rounded up; 0 where it does already, null where the trend is not clear, where it leads
          away from the target or where it would take more than `MAX_SESSIONS_AHEAD`.
        - `best_ms` and `best_as_of`: the best average ever and when it was reached first.
    """
    key = ["ngram_text", "ngram_size"]
    average = pl.col("decaying_average_ms")
    rows = of_typist(history, user_id, keyboard_id)
    best = rows.group_by(key).agg(
        best_ms=average.min(),
        best_as_of=pl.col("as_of").filter(average == average.min()).min(),
    )
    points = (
        rows.group_by(*key, "last_measured")
        .agg(pl.col("decaying_average_ms", "target_speed_ms", "as_of").sort_by("as_of").last())
        .sort(*key, "as_of")
    )
    day = pl.col("as_of").to_physical().sort() - pl.col("as_of").min().to_physical()
    session = pl.int_range(pl.len())
    in_time = average.sort_by("as_of")
    to_go = (pl.col("latest_ms") - pl.col("target_speed_ms")) / -pl.col("slope_ms_per_session")
    return (
        points.group_by(key)
        .agg(
            latest_ms=in_time.last(),
            target_speed_ms=pl.col("target_speed_ms").sort_by("as_of").last(),
            states=pl.len().cast(pl.Int32),
            slope_ms_per_day=_slope(day / _DAY_US, in_time),
            r_squared=_r_squared(day / _DAY_US, in_time),
            slope_ms_per_session=_slope(session.cast(pl.Float64), in_time),
            _fit=_r_squared(session.cast(pl.Float64), in_time),
        )
        .with_columns(clear_trend=_clear_trend(pl.col("states"), pl.col("_fit")).fill_null(value=False))
        .with_columns(
            sessions_to_target=pl.when(pl.col("latest_ms") <= pl.col("target_speed_ms"))
            .then(0.0)
            .when(pl.col("clear_trend") & (pl.col("slope_ms_per_session") < 0) & (to_go <= MAX_SESSIONS_AHEAD))
            .then(to_go.ceil())
            .cast(pl.Int32),
        )
        .join(best, on=key, how="inner")
        .sort(key)
        .select(LEARNING_RATE_SCHEMA.names())
    )


def _clear_trend(points: pl.Expr, fit: pl.Expr) -> pl.Expr:
    return (points >= MIN_SESSIONS) & (fit >= MIN_R_SQUARED) & (points * fit >= MIN_EVIDENCE * (1 - fit))


def _slope(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    slope = _covariation(x, y) / _covariation(x, x)
    return pl.when(_covariation(x, x) > 0).then(slope)


def _r_squared(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    explained = _covariation(x, y).pow(2) / (_covariation(x, x) * _covariation(y, y))
    return pl.when((_covariation(x, x) > 0) & (_covariation(y, y) > 0)).then(explained)


def _covariation(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    return ((x - x.mean()) * (y - y.mean())).sum()
