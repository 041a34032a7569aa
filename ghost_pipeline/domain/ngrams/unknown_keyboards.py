"""A data-quality finding: keyboards that sessions name and `keyboards` lacks (N3.4)."""

import polars as pl


def unknown_keyboards(practice_sessions: pl.LazyFrame, keyboards: pl.LazyFrame) -> pl.LazyFrame:
    """Find keyboards that sessions name and `keyboards` lacks; their sessions are summarised nevertheless.

    Returns:
        One row per keyboard: `keyboard_id`, sorted.

    """
    named = practice_sessions.select("keyboard_id").unique()
    return named.join(keyboards, on="keyboard_id", how="anti").sort("keyboard_id")
