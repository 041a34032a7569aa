"""Queries about a typist's n-grams on a keyboard: heat map, slowest, most mistyped (N4.1 to N4.4).

Every query validates its arguments first; the error names the argument, its value and the allowed values. An
unknown user or keyboard has no rows.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from math import isfinite
from unicodedata import normalize

import polars as pl

from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH
from ghost_pipeline.domain.ngrams.ngram_extraction import NgramArgumentError, check_ngram_size

AMBER_FROM_PCT = 75.0
"""Percentage of the target from which an n-gram that misses it is amber, not grey (N4.1)."""

CATEGORY_COLORS = {"green": "#90EE90", "amber": "#FFD700", "grey": "#D3D3D3"}
"""The performance categories and their colours, from met to far below the target (N4.1)."""

SORT_ORDERS = ("worst_to_best", "best_to_worst")
"""The orders of a heat map; the first is the default (N4.1)."""

MIN_OCCURRENCES = 5
"""The fewest measurements with which an n-gram may be called slow (N4.2)."""

LOOKBACK_DISTANCE = 1000
"""The newest sessions whose errors count (N4.3)."""

KEYS_PER_WORD = 5

PERFORMANCE_SCHEMA = pl.Schema(
    {
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "decaying_average_ms": pl.Float64(),
        "target_speed_ms": pl.Float64(),
        "target_performance_pct": pl.Float64(),
        "meets_target": pl.Boolean(),
        "performance_category": pl.String(),
        "sample_count": pl.Int32(),
        "last_measured": pl.Datetime("us", "UTC"),
    },
)
"""The columns of `slowest_n`."""

HEAT_MAP_SCHEMA = pl.Schema({**PERFORMANCE_SCHEMA, "decaying_average_wpm": pl.Float64(), "color_code": pl.String()})
"""The columns of `heat_map`."""

ERROR_COUNT_SCHEMA = pl.Schema({"ngram_text": pl.String(), "ngram_size": pl.Int32(), "error_count": pl.Int32()})
"""The columns of `error_n`."""


def heat_map(
    summaries: pl.LazyFrame,
    user_id: str,
    keyboard_id: str,
    *,
    target_speed_ms: float | None = None,
    ngram_size_filter: int | None = None,
    exclude_successful: bool = False,
    sort_order: str = SORT_ORDERS[0],
) -> pl.LazyFrame:
    """Compare a user's n-grams on a keyboard with the target (N4.1).

    Args:
        summaries: `ngram_speed_summaries` at one `as_of`.
        user_id: the typist.
        keyboard_id: the keyboard.
        target_speed_ms: a target in ms per keystroke in place of the keyboard's: percentage, flag,
            category and colour follow it.
        ngram_size_filter: only n-grams of this size, 1 to 20.
        exclude_successful: only n-grams that miss the target.
        sort_order: `worst_to_best`, the highest average first, or `best_to_worst`.

    Returns:
        The columns of `HEAT_MAP_SCHEMA`, one row per n-gram, ties by ngram_text and ngram_size;
        `decaying_average_wpm` = 60000 / average / 5.

    Raises:
        NgramArgumentError: an argument is not allowed; it is a ValueError.
    """
    if ngram_size_filter is not None:
        check_ngram_size("ngram_size_filter", ngram_size_filter)
    if target_speed_ms is not None:
        check_target_speed("target_speed_ms", target_speed_ms)
    check_flag("exclude_successful", exclude_successful)
    if sort_order not in SORT_ORDERS:
        raise NgramArgumentError(f"sort_order must be {' or '.join(SORT_ORDERS)} (got {sort_order!r})")
    rows = of_typist(summaries, user_id, keyboard_id)
    if ngram_size_filter is not None:
        rows = rows.filter(pl.col("ngram_size") == ngram_size_filter)
    if target_speed_ms is not None:
        rows = _against(rows, float(target_speed_ms))
    if exclude_successful:
        rows = rows.filter(~pl.col("meets_target"))
    return (
        rows.with_columns(
            performance_category=_by_category(CATEGORY_COLORS),
            decaying_average_wpm=MS_PER_MINUTE / pl.col("decaying_average_ms") / KEYS_PER_WORD,
            # By the same conditions, not by a look-up of the category, which takes six times as long.
            color_code=_by_category(CATEGORY_COLORS.values()),
        )
        .sort(
            "decaying_average_ms",
            "ngram_text",
            "ngram_size",
            descending=[sort_order == "worst_to_best", False, False],
        )
        .select(HEAT_MAP_SCHEMA.names())
    )


def slowest_n(
    summaries: pl.LazyFrame,
    n: int,
    keyboard_id: str,
    user_id: str,
    ngram_sizes: Collection[int] | None = None,
    included_keys: Collection[str] | None = None,
    min_occurrences: int = MIN_OCCURRENCES,
    *,
    focus_on_speed_target: bool = False,
) -> pl.LazyFrame:
    """Find the n slowest n-grams of a user on a keyboard by decaying average (N4.2, N4.4).

    Args:
        summaries: `ngram_speed_summaries` at one `as_of`.
        n: how many at most; 0 or less is none.
        keyboard_id: the keyboard.
        user_id: the typist.
        ngram_sizes: only these sizes, each 1 to 20; None is every size, an empty collection no n-gram.
        included_keys: only n-grams made of nothing but these keys; a string is its characters.
        min_occurrences: only n-grams with at least so many measurements (`sample_count`).
        focus_on_speed_target: only n-grams that miss the target.

    Returns:
        The columns of `PERFORMANCE_SCHEMA`, the slowest first, ties by ngram_text and ngram_size. The
        limit comes after all filters.

    Raises:
        NgramArgumentError: an argument is not allowed; it is a ValueError.
    """
    check_whole_number("n", n)
    check_whole_number("min_occurrences", min_occurrences)
    check_flag("focus_on_speed_target", focus_on_speed_target)
    rows = of_typist(summaries, user_id, keyboard_id).filter(
        chosen_ngrams(ngram_sizes, included_keys),
        pl.col("sample_count") >= min_occurrences,
    )
    if focus_on_speed_target:
        rows = rows.filter(~pl.col("meets_target"))
    return (
        rows.with_columns(performance_category=_by_category(CATEGORY_COLORS))
        .sort("decaying_average_ms", "ngram_text", "ngram_size", descending=[True, False, False])
        .head(max(n, 0))
        .select(PERFORMANCE_SCHEMA.names())
    )


def error_n(  # noqa: PLR0913 - the signature of N4.3 and the two tables that it reads
    session_ngram_errors: pl.LazyFrame,
    practice_sessions: pl.LazyFrame,
    n: int,
    keyboard_id: str,
    user_id: str,
    ngram_sizes: Collection[int] | None = None,
    included_keys: Collection[str] | None = None,
    lookback_distance: int = LOOKBACK_DISTANCE,
    *,
    as_of: datetime | None = None,
) -> pl.LazyFrame:
    """Find the n n-grams that a user mistyped most often on a keyboard (N4.3, N4.4).

    Args:
        session_ngram_errors: `session_id`, `ngram_text` String, `ngram_size` Int32; a row per error.
        practice_sessions: `session_id`, `user_id`, `keyboard_id` String, `start_time` Datetime. Sessions
            without an error count as sessions here.
        n: how many at most; 0 or less is none.
        keyboard_id: the keyboard.
        user_id: the typist.
        ngram_sizes: only these sizes, each 1 to 20; None is every size, an empty collection no n-gram.
        included_keys: only n-grams made of nothing but these keys; a string is its characters.
        lookback_distance: the user's newest sessions on the keyboard that are looked at; 0 or less is none.
        as_of: only sessions that started before this instant (aware); None: all sessions passed.

    Returns:
        The columns of `ERROR_COUNT_SCHEMA`, the most errors first, ties by ngram_text and ngram_size. The
        limit comes after all filters.

    Raises:
        NgramArgumentError: an argument is not allowed; it is a ValueError.
    """
    check_whole_number("n", n)
    check_whole_number("lookback_distance", lookback_distance)
    sessions = newest_sessions(practice_sessions, user_id, keyboard_id, lookback_distance, as_of)
    return (
        session_ngram_errors.filter(chosen_ngrams(ngram_sizes, included_keys))
        .join(sessions.select("session_id"), on="session_id", how="semi")
        .group_by("ngram_text", "ngram_size")
        .agg(error_count=pl.len().cast(pl.Int32))
        .sort("error_count", "ngram_text", "ngram_size", descending=[True, False, False])
        .head(max(n, 0))
        .select(ERROR_COUNT_SCHEMA.names())
    )


def of_typist(rows: pl.LazyFrame, user_id: str, keyboard_id: str) -> pl.LazyFrame:
    """Keep the rows of one user on one keyboard; without any, an empty frame (N4.4)."""
    return rows.filter(pl.col("user_id") == user_id, pl.col("keyboard_id") == keyboard_id)


def newest_sessions(
    practice_sessions: pl.LazyFrame,
    user_id: str,
    keyboard_id: str,
    n_sessions: int,
    as_of: datetime | None = None,
) -> pl.LazyFrame:
    """Keep a user's newest `n_sessions` on a keyboard, newest first; the larger id is newer (N3.1)."""
    sessions = of_typist(practice_sessions, user_id, keyboard_id)
    if as_of is not None:
        sessions = sessions.filter(pl.col("start_time") < as_of)
    return sessions.sort("start_time", "session_id", descending=True).head(max(n_sessions, 0))


def chosen_ngrams(ngram_sizes: Collection[int] | None = None, included_keys: Collection[str] | None = None) -> pl.Expr:
    """Return the condition that an n-gram has one of the sizes and is made of nothing but the keys (N4.2).

    Raises:
        NgramArgumentError: a size is not 1 to 20, or a key is not a character.
    """
    condition = pl.lit(value=True)
    if ngram_sizes is not None:
        if not isinstance(ngram_sizes, Collection):
            raise NgramArgumentError(f"ngram_sizes must be a list of sizes or None (got {ngram_sizes!r})")
        for size in ngram_sizes:
            check_ngram_size("each of ngram_sizes", size)
        condition &= pl.col("ngram_size").is_in(sorted(set(ngram_sizes)))
    if included_keys is not None:
        condition &= _made_of(included_keys)
    return condition


def check_ngram_text(ngram_text: str) -> str:
    """Return the n-gram text in NFC, as it is stored (N5.1).

    Raises:
        NgramArgumentError: it is not a text of 1 to 50 characters.
    """
    text = normalize("NFC", ngram_text) if isinstance(ngram_text, str) else ""
    if not 1 <= len(text) <= MAX_NGRAM_LENGTH:
        raise NgramArgumentError(
            f"ngram_text must be a text of 1 to {MAX_NGRAM_LENGTH} characters (got {ngram_text!r})"
        )
    return text


def check_whole_number(argument: str, value: int) -> None:
    """Raise an NgramArgumentError if `value` is not a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise NgramArgumentError(f"{argument} must be a whole number (got {value!r})")


def check_target_speed(argument: str, value: float) -> None:
    """Raise an NgramArgumentError if `value` is not a positive, finite number of ms."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and isfinite(value) and value > 0):
        raise NgramArgumentError(f"{argument} must be a number of milliseconds above 0 (got {value!r})")


def check_flag(argument: str, value: object) -> None:
    """Raise an NgramArgumentError if `value` is neither true nor false."""
    if not isinstance(value, bool):
        raise NgramArgumentError(f"{argument} must be True or False (got {value!r})")


def _made_of(included_keys: Collection[str]) -> pl.Expr:
    if not isinstance(included_keys, Collection):
        raise NgramArgumentError(f"included_keys must be a list of characters or None (got {included_keys!r})")
    for key in included_keys:
        if not isinstance(key, str) or not key:
            raise NgramArgumentError(f"included_keys must hold characters only (got {key!r})")
    # A text before it is taken apart: in decomposed form, an accent would become a key of its own.
    characters = normalize("NFC", included_keys) if isinstance(included_keys, str) else included_keys
    keys = sorted({normalize("NFC", key) for key in characters})
    if not keys:
        return pl.lit(value=False)
    # A key may be several code points, so a set of code points is not enough.
    return pl.col("ngram_text").str.contains(rf"\A(?:{'|'.join(map(pl.escape_regex, keys))})+\z")


def _against(rows: pl.LazyFrame, target_speed_ms: float) -> pl.LazyFrame:
    average = pl.col("decaying_average_ms")
    return rows.with_columns(
        target_speed_ms=pl.lit(target_speed_ms),
        target_performance_pct=target_speed_ms / average * 100.0,
        meets_target=average <= target_speed_ms,
    )


def _by_category(values: Iterable[str]) -> pl.Expr:
    """One of three values, for green, amber and grey (N4.1)."""
    green, amber, grey = map(pl.lit, values)
    near = pl.col("target_performance_pct") >= AMBER_FROM_PCT
    return pl.when("meets_target").then(green).when(near).then(amber).otherwise(grey)
