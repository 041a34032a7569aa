"""Keystrokes that are measured as they are, but that no typist's fingers make: they are counted as findings."""

from datetime import timedelta

import polars as pl

from ghost_pipeline.domain.ngrams.keystroke_replay import BACKSPACE

LONG_PAUSE = timedelta(hours=1)
"""Longer than any thought about the next key: the typist has left."""
_NAME = r"^[A-Za-z][A-Za-z0-9]+$"
"""Backspace, Enter, ArrowLeft, F5: no key types two letters."""
_DELETES_A_WORD = ("\x17", "\x7f")
"""What terminals send for Ctrl+W and for Ctrl+Backspace."""


def odd_keystrokes(keys: pl.LazyFrame) -> pl.LazyFrame:
    """Count pauses and keys that look wrong.

    Args:
        keys: `session_keystrokes`; the order is free.

    Returns:
        One row: `pauses_of_an_hour` (gaps between two keys of a session), `keys_sent_by_name` and
        `keys_that_delete_a_word` (a key for it, or a text index that falls by more than the one character that a
        backspace deletes); all UInt32.

    """
    session, at, key = pl.col("session_id"), pl.col("text_index"), pl.col("keystroke_char")
    is_backspace = key == BACKSPACE
    follows = session == session.shift(1)
    after_backspace = is_backspace.shift(1)
    # Where the text ended before this key: a backspace stands at the character that it deletes.
    end = at.shift(1) + pl.when(after_backspace).then(0).otherwise(1)
    falls = (is_backspace & (at < end - 1)) | (after_backspace & is_backspace.not_() & (at < end))
    return keys.sort("session_id", "key_index").select(
        pauses_of_an_hour=(follows & (pl.col("keystroke_time").diff() >= LONG_PAUSE)).sum(),
        keys_sent_by_name=key.str.contains(_NAME).sum(),
        keys_that_delete_a_word=(key.is_in(_DELETES_A_WORD) | (follows & falls).fill_null(value=False)).sum(),
    )
