"""Speed and error n-grams out of keystrokes (N5).

One size after the other: the n-grams of size n are those of size n - 1 with one character more, so each
step works on what the step before left over, and its cost follows the rows that come out. The sizes
together are many times the keys; who wants to write them without holding them all takes the `iterate_`
form, and hands in as many sessions at a time as there is memory for: no row depends on another session.
"""

from collections.abc import Iterator

import polars as pl

from ghost_pipeline.errors import GhostError
from ghost_pipeline.transforms.keystroke_replay import is_ascii, replay_frame

SEPARATORS = (" ", "\t", "\n", "\r", "\0")
"""What no n-gram holds (N5.1)."""

SIZES = range(1, 21)
"""The sizes that an n-gram may have."""

MAX_TEXT_CHARS = 50
"""The longest text that an n-gram may have."""

SPEED_NGRAM_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "ngram_time_ms": pl.Float64(),
        "ms_per_keystroke": pl.Float64(),
        "key_index": pl.Int32(),
    },
)
"""The columns of `speed_ngrams`."""

ERROR_NGRAM_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "was_corrected": pl.Boolean(),
        "key_index": pl.Int32(),
        "expected_char": pl.String(),
        "keystroke_char": pl.String(),
    },
)
"""The columns of `error_ngrams`."""


class NgramArgumentError(GhostError, ValueError):
    """An argument about n-grams is not what is allowed; the message says what is."""


def speed_ngrams(keystrokes: pl.LazyFrame, max_size: int = SIZES[-1]) -> pl.LazyFrame:
    """Extract the n-grams that were typed right, with their times (N5.2, N5.4).

    An n-gram of size n is n net keys, each typed upon the one before at the text index before, all right
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
        return pl.concat([SPEED_NGRAM_SCHEMA.to_frame(), *iterate_speed_ngrams(keys, max_size)])

    return keystrokes.map_batches(extract, schema=SPEED_NGRAM_SCHEMA)


def error_ngrams(keystrokes: pl.LazyFrame, max_size: int = SIZES[-1]) -> pl.LazyFrame:
    """Extract the n-grams that end in a wrong key, corrected later or not (N5.3).

    The keys before the wrong one are those that stood in the text when it was pressed, whatever became of
    them. Unlike a speed n-gram it needs no key before it: it may begin at the first character of the text.

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
        return pl.concat([ERROR_NGRAM_SCHEMA.to_frame(), *iterate_error_ngrams(keys, max_size)])

    return keystrokes.map_batches(extract, schema=ERROR_NGRAM_SCHEMA)


def iterate_speed_ngrams(keystrokes: pl.DataFrame, max_size: int = SIZES[-1]) -> Iterator[pl.DataFrame]:
    """Yield `speed_ngrams` one size at a time, the smallest first, sizes without any row left out."""
    check_ngram_size("max_size", max_size)
    keys = _judged(replay_frame(keystrokes)).filter("is_net")
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    follows = (pl.col("session_id") == pl.col("session_id").shift(1)) & (
        pl.col("text_index") == pl.col("text_index").shift(1) + 1
    )
    grams = (
        keys.with_columns(_extends=(pl.col("_is_usable") & follows).fill_null(value=False))
        # How many keys up to this one are usable and stand directly upon the one before: the largest size
        # of an n-gram that ends here.
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
    del keys
    plain = is_ascii(grams["expected_char"])
    for size in range(1, max_size + 1):
        # The key before, on its own longest n-gram, was long enough for the step before: it is the row above.
        grams = grams.with_columns(
            _text=pl.col("_text").shift(1) + pl.col("expected_char"), _start=pl.col("_start").shift(1)
        ).filter(pl.col("_longest") >= size)
        if grams.is_empty():
            return
        elapsed = (pl.col("_end") - pl.col("_start")) / 1_000
        yield _with_valid_text(
            grams.filter(pl.col("_end") > pl.col("_start")).select(
                "session_id",
                ngram_text="_text",
                ngram_size=pl.lit(size, pl.Int32),
                ngram_time_ms=elapsed,
                ms_per_keystroke=elapsed / size,
                key_index="key_index",
            ),
            plain=plain,
        )


def iterate_error_ngrams(keystrokes: pl.DataFrame, max_size: int = SIZES[-1]) -> Iterator[pl.DataFrame]:
    """Yield `error_ngrams` one size at a time, the smallest first, sizes without any row left out."""
    check_ngram_size("max_size", max_size)
    keys = _judged(replay_frame(keystrokes))
    plain = is_ascii(keys["expected_char"])
    grams = keys.filter("_is_wrong").select(
        "session_id",
        "key_index",
        "expected_char",
        "keystroke_char",
        was_corrected=~pl.col("is_net"),
        _text="expected_char",
        _first=pl.col("_row"),
    )
    keys = keys.select("expected_char", "text_index", "below", "_is_usable")
    for size in range(1, max_size + 1):
        if size > 1:
            below = keys["below"].gather(grams["_first"])
            grams = grams.with_columns(
                keys["text_index"].gather(grams["_first"]).alias("_index"),
                below.alias("_first"),
                keys["text_index"].gather(below).alias("_index_below"),
                keys["_is_usable"].gather(below).alias("_is_usable"),
                (keys["expected_char"].gather(below) + grams["_text"]).alias("_text"),
            ).filter(pl.col("_is_usable") & (pl.col("_index_below") + 1 == pl.col("_index")))
        if grams.is_empty():
            return
        yield _with_valid_text(
            grams.select(
                "session_id",
                ngram_text="_text",
                ngram_size=pl.lit(size, pl.Int32),
                was_corrected="was_corrected",
                key_index="key_index",
                expected_char="expected_char",
                keystroke_char="keystroke_char",
            ),
            plain=plain,
        )


def check_ngram_size(argument: str, size: int) -> None:
    """Raise an NgramArgumentError if `size` is not the size of an n-gram (N4.4)."""
    if isinstance(size, bool) or not isinstance(size, int) or size not in SIZES:
        allowed = f"whole numbers from {SIZES[0]} to {SIZES[-1]}"
        raise NgramArgumentError(f"{argument} has {size!r}, allowed are {allowed}")


def _judged(keys: pl.DataFrame) -> pl.DataFrame:
    """Add what a replayed key is worth: `_is_usable` inside an n-gram, `_is_wrong` as the end of one."""
    expected = pl.col("expected_char")
    # Past the end of the text nothing is expected: such a key is neither right nor wrong.
    in_a_word = (expected.str.len_bytes() > 0) & ~expected.str.contains(f"[{''.join(SEPARATORS)}]")
    is_right = pl.col("keystroke_char").eq_missing(expected)
    return keys.with_columns(
        _row=pl.int_range(pl.len(), dtype=pl.UInt32),
        _is_usable=(~pl.col("is_backspace") & in_a_word & is_right).fill_null(value=False),
        _is_wrong=(~pl.col("is_backspace") & in_a_word & ~is_right).fill_null(value=False),
    )


def _with_valid_text(grams: pl.DataFrame, *, plain: bool) -> pl.DataFrame:
    """Settle the text of n-grams: NFC as a whole, and no longer than an n-gram's text may be."""
    if plain:
        # One byte a key, at most 20: there is nothing to normalize and nothing can be too long.
        return grams
    # Two characters in NFC may compose into one when they meet, and one character may be many code points.
    return grams.with_columns(pl.col("ngram_text").str.normalize("NFC")).filter(
        pl.col("ngram_text").str.len_chars() <= MAX_TEXT_CHARS,
    )
