"""Speed and error n-grams, extracted from keystrokes (N5).

Sizes are computed in ascending order: the n-grams of size n are those of size n - 1 with one character more, so
each step works on the rows that the step before left, and its cost follows the rows that come out. All sizes
together are several times as many rows as keys; for many sessions use `iterate_ngrams`, which never holds all.
"""

from collections.abc import Iterator

import polars as pl

from ghost_pipeline.contracts.raw import SESSION_NGRAM_ERRORS, SESSION_NGRAM_SPEED
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH
from ghost_pipeline.domain.ngrams.keystroke_replay import KEYSTROKE_SCHEMA, in_order_of_pressing, replay
from ghost_pipeline.errors import UnknownArgumentError
from ghost_pipeline.settings import MAX_NGRAM_SIZE

SEPARATORS = (" ", "\t", "\n", "\r", "\0")
"""Characters that an extracted n-gram never holds (N5.1)."""

SEPARATOR_PATTERN = f"[{''.join(SEPARATORS)}]"

SIZES = range(1, MAX_NGRAM_SIZE + 1)
"""The sizes that an n-gram may have."""

KEYS_AT_A_TIME = 500_000
"""Keys per part of `iterate_ngrams`: about 200 MB of memory, and large enough that cutting into parts costs nothing."""

SPEED_NGRAM_SCHEMA = pl.Schema(SESSION_NGRAM_SPEED.polars_schema)
"""The columns of `speed_ngrams`."""

ERROR_NGRAM_SCHEMA = pl.Schema(SESSION_NGRAM_ERRORS.polars_schema)
"""The columns of `error_ngrams`."""


class NgramArgumentError(UnknownArgumentError):
    """An argument about n-grams is not allowed; the message names the allowed values."""


def speed_ngrams(keystrokes: pl.LazyFrame, max_size: int = SIZES[-1]) -> pl.LazyFrame:
    """Extract the n-grams that were typed right, with their times (N5.2, N5.4).

    An n-gram of size n is n net keys, each typed after the one at the text index before, all right
    and no separator among them. It is timed from the net key under its first one, which must stand at the
    text index before and have been pressed earlier.

    Args:
        keystrokes: `session_keystrokes`, see `keystroke_replay.replay`; the order is free.
        max_size: the largest size wanted, 1 to 20.

    Returns:
        One row per occurrence, ordered by (ngram_size, session_id, key_index), which is unique:
        `session_id` String, `ngram_text` String (the expected characters, NFC), `ngram_size` Int32,
        `ngram_time_ms` Float64 (> 0, of the whole n-gram), `ms_per_keystroke` Float64 (that time / n) and
        `key_index` Int32, the n-gram's last key.

    Raises:
        NgramArgumentError: `max_size` is not 1 to 20; it is a ValueError.
    """
    check_ngram_size("max_size", max_size)

    def extract(keys: pl.DataFrame) -> pl.DataFrame:
        return _speed_ngrams(_judged(replay(keys)), max_size)

    return keystrokes.map_batches(extract, schema=SPEED_NGRAM_SCHEMA)


def error_ngrams(keystrokes: pl.LazyFrame, max_size: int = SIZES[-1]) -> pl.LazyFrame:
    """Extract the n-grams that end in a wrong key, corrected later or not (N5.3).

    The keys before the wrong one are those that were in the text when it was pressed, even if they were deleted
    later. Unlike a speed n-gram it needs no key before it: it may begin at the first character of the text.

    Args:
        keystrokes: `session_keystrokes`, see `keystroke_replay.replay`; the order is free.
        max_size: the largest size wanted, 1 to 20.

    Returns:
        One row per wrong key and size, ordered by (ngram_size, session_id, key_index), which is unique:
        `session_id` String, `ngram_text` String (the expected characters, NFC), `ngram_size` Int32,
        `was_corrected` Boolean (the wrong character was deleted later), `key_index` Int32 of the wrong
        key, `expected_char` String and `keystroke_char` String? (what should have been and what was typed).

    Raises:
        NgramArgumentError: `max_size` is not 1 to 20; it is a ValueError.
    """
    check_ngram_size("max_size", max_size)

    def extract(keys: pl.DataFrame) -> pl.DataFrame:
        return _error_ngrams(_judged(replay(keys)), max_size)

    return keystrokes.map_batches(extract, schema=ERROR_NGRAM_SCHEMA)


def whole_sessions(keystrokes: pl.DataFrame, keys_at_a_time: int = KEYS_AT_A_TIME) -> Iterator[pl.DataFrame]:
    """Cut keystrokes into parts of whole sessions.

    Args:
        keystrokes: `session_keystrokes`, see `keystroke_replay.replay`; the order is free.
        keys_at_a_time: a part ends with the session that brings it to so many keys.

    Yields:
        Keystrokes, ordered by (session_id, key_index) over all parts.

    Raises:
        NgramArgumentError: `keys_at_a_time` is below 1; it is a ValueError.
    """
    if keys_at_a_time < 1:
        raise NgramArgumentError(f"keys_at_a_time must be 1 or more (got {keys_at_a_time!r})")
    keys = in_order_of_pressing(keystrokes.select(KEYSTROKE_SCHEMA.names()))
    session_ends = (keys["session_id"] != keys["session_id"].shift(-1)).fill_null(value=True).arg_true() + 1
    start = 0
    while start < keys.height:
        filled = min(start + keys_at_a_time, keys.height)
        end = int(session_ends[session_ends.search_sorted(filled)])
        yield keys[start:end]
        start = end


def check_ngram_size(argument: str, size: int) -> None:
    """Raise an NgramArgumentError if `size` is not the size of an n-gram (N4.4)."""
    if isinstance(size, bool) or not isinstance(size, int) or size not in SIZES:
        raise NgramArgumentError(f"{argument} must be a whole number from {SIZES[0]} to {SIZES[-1]} (got {size!r})")


def _speed_ngrams(keys: pl.DataFrame, max_size: int) -> pl.DataFrame:
    """The rows of `speed_ngrams` from judged keys."""
    row = pl.int_range(pl.len(), dtype=pl.Int32)
    follows = (pl.col("session_id") == pl.col("session_id").shift(1)) & (
        pl.col("text_index") == pl.col("text_index").shift(1) + 1
    )
    grams = (
        keys.filter("is_net")
        .with_columns(_extends=(pl.col("_is_usable") & follows).fill_null(value=False))
        # The number of usable keys up to this one that directly follow each other: the largest size of an
        # n-gram that ends here.
        .select(
            "session_id",
            "key_index",
            "expected_char",
            _end=pl.col("keystroke_time").to_physical(),
            _start=pl.col("keystroke_time").to_physical(),
            _longest=row - pl.when(~pl.col("_extends")).then(row).forward_fill().fill_null(-1),
            _text=pl.lit(""),
        )
    )
    one_byte = _is_one_byte(keys["expected_char"])
    sizes = [SPEED_NGRAM_SCHEMA.to_frame()]
    for size in range(1, max_size + 1):
        # The key before, on its own longest n-gram, was long enough for the size before: it is the row above.
        grams = grams.with_columns(
            _text=pl.col("_text").shift(1) + pl.col("expected_char"), _start=pl.col("_start").shift(1)
        ).filter(pl.col("_longest") >= size)
        if grams.is_empty():
            break
        # polars divides many rows by a number through its reciprocal, and a single row exactly. Multiplying by the
        # reciprocal gives the same bits in parts of any size.
        elapsed = (pl.col("_end") - pl.col("_start")) * (1 / 1_000)
        found = grams.filter(pl.col("_end") > pl.col("_start")).select(
            "session_id",
            ngram_text="_text",
            ngram_size=pl.lit(size, pl.Int32),
            ngram_time_ms=elapsed,
            ms_per_keystroke=elapsed * (1 / size),
            key_index="key_index",
        )
        sizes.append(_with_valid_text(found, one_byte=one_byte))
    return pl.concat(sizes)


def _error_ngrams(keys: pl.DataFrame, max_size: int) -> pl.DataFrame:
    """The rows of `error_ngrams` from judged keys."""
    grams = keys.filter("_is_wrong").select(
        "session_id",
        "key_index",
        "expected_char",
        "keystroke_char",
        was_corrected=~pl.col("is_net"),
        _text="expected_char",
        _first="_row",
    )
    one_byte = _is_one_byte(keys["expected_char"])
    sizes = [ERROR_NGRAM_SCHEMA.to_frame()]
    for size in range(1, max_size + 1):
        if size > 1:
            above, below = grams["_first"], keys["below"].gather(grams["_first"])
            grams = grams.with_columns(
                _first=below,
                _text=keys["expected_char"].gather(below) + grams["_text"],
                _is_next=keys["text_index"].gather(below) + 1 == keys["text_index"].gather(above),
                _is_usable=keys["_is_usable"].gather(below),
            ).filter("_is_usable", "_is_next")
        if grams.is_empty():
            break
        found = grams.select(
            "session_id",
            ngram_text="_text",
            ngram_size=pl.lit(size, pl.Int32),
            was_corrected="was_corrected",
            key_index="key_index",
            expected_char="expected_char",
            keystroke_char="keystroke_char",
        )
        sizes.append(_with_valid_text(found, one_byte=one_byte))
    return pl.concat(sizes)


def _judged(keys: pl.DataFrame) -> pl.DataFrame:
    """Add whether a replayed key may be inside an n-gram (`_is_usable`) or ends an error n-gram (`_is_wrong`)."""
    expected = pl.col("expected_char")
    # Past the end of the text nothing is expected: such a key is neither right nor wrong.
    in_a_word = (expected.str.len_bytes() > 0) & ~expected.str.contains(SEPARATOR_PATTERN)
    is_right = pl.col("keystroke_char").eq_missing(expected)
    return keys.with_columns(
        _row=pl.int_range(pl.len(), dtype=pl.UInt32),
        _is_usable=(~pl.col("is_backspace") & in_a_word & is_right).fill_null(value=False),
        _is_wrong=(~pl.col("is_backspace") & in_a_word & ~is_right).fill_null(value=False),
    )


def _is_one_byte(characters: pl.Series) -> bool:
    return bool((characters.str.len_bytes() <= 1).all())


def _with_valid_text(grams: pl.DataFrame, *, one_byte: bool) -> pl.DataFrame:
    """Compose the text of n-grams (NFC) and drop those whose text is too long."""
    if one_byte:
        # One byte a key, at most 20 keys: there is nothing to normalize and nothing can be too long.
        return grams
    # Two characters in NFC may compose into one when they meet, and one character may be many code points.
    return grams.with_columns(pl.col("ngram_text").str.normalize("NFC")).filter(
        pl.col("ngram_text").str.len_chars() <= MAX_NGRAM_LENGTH,
    )
