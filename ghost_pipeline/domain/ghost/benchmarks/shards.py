"""Shards of the users, for work that is done shard by shard and merged."""

from zlib import crc32

import polars as pl

from ghost_pipeline.contracts.raw import MOCK_TEST, TASK_TYPES

NUMBERED_SCHEMA = pl.Schema({"user_id": pl.String(), "number": pl.UInt32(), "shard": pl.UInt16()})
"""Users with the number that stands for them in their events, and their shard."""
COMPACT_SCHEMA = pl.Schema(
    {
        "completed_at": pl.Datetime("us", "UTC"),
        "time_spent_ms": pl.Int64(),
        "task_type": pl.Enum([*TASK_TYPES, MOCK_TEST]),
        "user_id": pl.UInt32(),
    }
)
"""Events in 21 bytes each instead of about 80: ids are the numbers of users, and task types take one byte."""


def numbered(ids: pl.Series, shards: int) -> pl.DataFrame:
    """Number all users in the order of user_id and assign each to a shard.

    Numbers keep every order and every tie of the ids. They are given before sharding: numbers within a shard would
    decide ties between shards by chance.

    Args:
        ids: distinct user ids.
        shards: the number of shards.

    Returns:
        `NUMBERED_SCHEMA`, sorted by user_id.

    """
    users = ids.alias("user_id").sort().to_frame().with_row_index("number")
    return users.select("user_id", "number", _shard(users["user_id"], shards)).cast(NUMBERED_SCHEMA)


def _shard(ids: pl.Series, count: int) -> pl.Series:
    """Return the shard of each id, by a hash that no library release changes.

    polars' own hash may differ between versions; the CRC of the text does not.
    """
    if count == 1:
        return pl.zeros(ids.len(), pl.UInt16, eager=True).alias("shard")
    return pl.Series("shard", [crc32(one.encode()) % count for one in ids], dtype=pl.UInt16)


def compact(progress: pl.LazyFrame, users: pl.LazyFrame) -> pl.LazyFrame:
    """Return the events of some users in compact form, in no order.

    Args:
        progress: `user_progress`; scanned once.
        users: some or all rows of `numbered`.

    Returns:
        `COMPACT_SCHEMA` and the users' `shard`.

    """
    return progress.join(users, on="user_id").select(
        "completed_at",
        "time_spent_ms",
        pl.col("task_type").cast(COMPACT_SCHEMA["task_type"]),
        "shard",
        user_id="number",
    )
