"""One table of n-grams from two origins: the application's own rows and the pipeline's extraction (N1.2)."""

from collections.abc import Iterable

import polars as pl

from ghost_pipeline.contracts.contract import Contract

START = "_start"
"""The column that assigns a row to an hour: the start of its session."""


def sessions_without(keystrokes: pl.LazyFrame, own: Iterable[pl.DataFrame]) -> pl.LazyFrame:
    """Return the keystrokes of sessions without n-gram rows of their own, valid or rejected (N1.2).

    Args:
        keystrokes: `session_keystrokes`.
        own: frames with the `session_id` of rows that the application delivered.

    """
    delivered = pl.concat([frame.lazy().select("session_id") for frame in own]).unique()
    return keystrokes.join(delivered, on="session_id", how="anti")


def as_rows(ngrams: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return n-grams of either origin as rows of `contract`; columns that they lack are null."""
    there = set(ngrams.columns)
    columns = {name: pl.col(name) if name in there else pl.lit(None) for name in contract.polars_schema}
    return ngrams.select(column.cast(contract.polars_schema[name]).alias(name) for name, column in columns.items())


def by_session(rows: Iterable[pl.DataFrame], sessions: pl.LazyFrame) -> pl.DataFrame:
    """Collect the rows of some sessions, ordered by session.

    Args:
        rows: rows of these and other sessions, with `session_id`; the rows of a session are in a fixed order.
        sessions: the `practice_sessions` to keep.

    Returns:
        The rows and `_start`, the start of their session, ordered by it and by session; those of a session stay in
        their order.

    """
    places = (
        sessions.select("session_id", pl.col("start_time").alias(START))
        .sort(START, "session_id")
        .with_row_index("_place")
    )
    # One number per session: sorting by every column took five times as long as the extraction.
    return (
        pl.concat([some.lazy() for some in rows])
        .join(places, on="session_id", how="inner", maintain_order="left")
        .sort("_place", maintain_order=True)
        .drop("_place")
        .collect()
    )
