"""Extraction in parts of whole sessions, as the hourly step does it."""

from collections.abc import Iterator

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_extraction import (
    KEYS_AT_A_TIME,
    SIZES,
    error_ngrams,
    speed_ngrams,
    whole_sessions,
)


def iterate_ngrams(
    keystrokes: pl.DataFrame, max_size: int = SIZES[-1], *, keys_at_a_time: int = KEYS_AT_A_TIME
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Extract from many sessions, a few whole sessions at a time.

    Yields the same rows as `speed_ngrams` and `error_ngrams` over all sessions, but holds only one part in memory.

    Args:
        keystrokes: `session_keystrokes`, see `keystroke_replay.replay`; the order is free.
        max_size: the largest size wanted, 1 to 20.
        keys_at_a_time: a part ends with the session that brings it to so many keys.

    Yields:
        The speed and the error n-grams of a part, each ordered by (ngram_size, session_id, key_index); the
        sessions of a part come before those of the next.

    Raises:
        NgramArgumentError: `max_size` is not 1 to 20, or `keys_at_a_time` below 1; it is a ValueError.
    """
    for keys in whole_sessions(keystrokes, keys_at_a_time):
        yield speed_ngrams(keys.lazy(), max_size).collect(), error_ngrams(keys.lazy(), max_size).collect()
