"""Replay of a session's keys: the text after each key, and the character that each key was typed after (N5.1).

A stack of characters is sequential, but nothing here walks key by key. With +1 for a character and -1 for a
backspace, the depth of the text after a key is the running sum minus the lowest value of the sum so far (0
included): every backspace on an empty text lowers that value by one and so cancels its own -1. A character
survives if no later depth is below its own. It was typed after the last earlier character whose depth is one less.
"""

import polars as pl

from ghost_pipeline.contracts.raw import SESSION_KEYSTROKES

BACKSPACE = "\b"

KEYSTROKE_SCHEMA = pl.Schema(SESSION_KEYSTROKES.polars_schema)
"""The columns of `session_keystrokes` that the replay reads."""

REPLAY_SCHEMA = pl.Schema(
    {
        **KEYSTROKE_SCHEMA,
        "is_backspace": pl.Boolean(),
        "depth": pl.Int64(),
        "is_net": pl.Boolean(),
        "below": pl.UInt32(),
    },
)
"""The columns of `replay`."""


def replay(keystrokes: pl.DataFrame) -> pl.DataFrame:
    """Replay the keys of every session as a stack of characters (N5.1).

    Args:
        keystrokes: `session_keystrokes`; (session_id, key_index) is unique, the order is free. A
            `keystroke_char` of U+0008 is a backspace; on an empty text it does nothing.

    Returns:
        One row per key, ordered by (session_id, key_index): the columns of the input (`KEYSTROKE_SCHEMA`)
        with `keystroke_char` and `expected_char` in NFC, and

        - `is_backspace` Boolean;
        - `depth` Int64: characters in the text after this key;
        - `is_net` Boolean: the key typed a character that is still there when the session ends;
        - `below` UInt32?: the row, counted from 0 in this frame, of the character that this key was typed
          after (the last of the text at that moment); null for a first character and for backspaces.
    """
    keys = in_order_of_pressing(keystrokes.select(KEYSTROKE_SCHEMA.names()))
    keys = keys.with_columns(composed(keys["keystroke_char"]), composed(keys["expected_char"]))
    # Each session is shifted by `room` above the one before, so that no depth of one can meet another's and
    # running minima over the whole frame stay within their session.
    room = 2 * keys.height + 2
    keys = (
        keys.with_columns(
            is_backspace=pl.col("keystroke_char").eq_missing(BACKSPACE),
            _base=pl.col("session_id").rle_id().cast(pl.Int64) * room,
        )
        .with_columns(_step=pl.when("is_backspace").then(-1).otherwise(1).cast(pl.Int64))
        .with_columns(_sum=pl.col("_step").cum_sum())
        .with_columns(
            _sum=pl.col("_sum")
            - pl.when(pl.col("_base").ne_missing(pl.col("_base").shift(1)))
            .then(pl.col("_sum") - pl.col("_step"))
            .forward_fill(),
        )
        .with_columns(
            depth=pl.col("_sum")
            - pl.min_horizontal((pl.col("_sum") - pl.col("_base")).cum_min(), -pl.col("_base"))
            - pl.col("_base"),
        )
        .with_columns(
            is_net=~pl.col("is_backspace")
            & ((pl.col("_base") + pl.col("depth")).cum_min(reverse=True) == pl.col("_base") + pl.col("depth")),
        )
    )
    return keys.with_columns(_rows_below(keys)).select(REPLAY_SCHEMA.names())


def composed(text: pl.Series) -> pl.Series:
    """Return `text` in Unicode's composed form, NFC (N5.1)."""
    # Nearly all typed text is ASCII, which is its own NFC: testing is much cheaper than normalizing.
    is_ascii = (text.str.len_bytes() == text.str.len_chars()).all()
    return text if is_ascii else text.str.normalize("NFC")


def in_order_of_pressing(keys: pl.DataFrame) -> pl.DataFrame:
    """Return keys ordered by (session_id, key_index)."""
    session, index = pl.col("session_id"), pl.col("key_index")
    in_order = (session > session.shift(1)) | ((session == session.shift(1)) & (index > index.shift(1)))
    # Sources nearly always deliver keys in this order, and sorting costs more than all other steps together.
    if keys.select(in_order.all()).item():
        return keys
    return keys.sort("session_id", "key_index")


def _rows_below(keys: pl.DataFrame) -> pl.Series:
    """Return for every character the row of the one that it was typed after (`below` of `replay`)."""
    row = pl.int_range(pl.len(), dtype=pl.UInt32)
    characters = keys.select(
        "is_backspace",
        row=row,
        follows_character=~pl.col("is_backspace").shift(1),
        level=pl.col("_base") + pl.col("depth"),
        is_first=pl.col("depth") == 1,
    )
    # Without a backspace in between it is the key before. Only after a backspace is a search needed.
    direct = characters.select(
        below=pl.when(~pl.col("is_backspace") & ~pl.col("is_first") & pl.col("follows_character")).then(
            pl.col("row") - 1,
        ),
    )
    resumed = characters.filter(
        ~pl.col("is_backspace") & ~pl.col("is_first") & ~pl.col("follows_character"),
    ).select("row", level=pl.col("level") - 1)
    if resumed.is_empty():
        return direct["below"]
    candidates = (
        characters.filter(~pl.col("is_backspace"))
        .select("row", "level", below="row")
        .join(resumed.select("level"), on="level", how="semi")
        .sort("row")
    )
    found = resumed.join_asof(
        candidates,
        on="row",
        by="level",
        strategy="backward",
        # Both sides are in order of their rows, within every level too.
        check_sortedness=False,
    )
    return direct["below"].scatter(found["row"], found["below"])
