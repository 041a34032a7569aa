"""One table of n-grams out of two origins: the application's own rows and the pipeline's extraction (N1.2)."""

from collections.abc import Iterable

import polars as pl

from ghost_pipeline.tables.contract import Contract


def sessions_without(keystrokes: pl.LazyFrame, own: Iterable[pl.DataFrame]) -> pl.LazyFrame:
    """The keystrokes of sessions that have no n-gram rows of their own, good or rejected (N1.2).

    Args:
        keystrokes: `session_keystrokes`.
        own: frames with the `session_id` of rows that the application delivered.

    """
    delivered = pl.concat([frame.lazy().select("session_id") for frame in own]).unique()
    return keystrokes.join(delivered, on="session_id", how="anti")


def with_extracted(
    direct: pl.LazyFrame, extracted: pl.LazyFrame, starts: pl.LazyFrame, contract: Contract
) -> pl.LazyFrame:
    """Both origins as rows of `contract`, in a fixed order.

    Args:
        direct: good rows of the application with `_start`, the start of their session.
        extracted: n-grams out of keystrokes.
        starts: `session_id` and `_start` of the sessions.
        contract: `session_ngram_speed` or `session_ngram_errors`; columns that an origin lacks are null.

    Returns:
        The columns of the contract and `_start`, sorted by start and then by every column.

    """
    schema = contract.polars_schema
    placed = extracted.join(starts, on="session_id", how="left")
    both = [frame.select(*_columns(frame, schema), "_start") for frame in (direct, placed)]
    return pl.concat(both).sort("_start", *schema, nulls_last=True)


def _columns(frame: pl.LazyFrame, schema: dict[str, pl.DataType]) -> list[pl.Expr]:
    there = set(frame.collect_schema().names())
    return [(pl.col(name) if name in there else pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items()]
