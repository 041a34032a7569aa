"""Shards of the users, for work that is done shard by shard and merged."""

from zlib import crc32

import polars as pl

from ghost_pipeline.contracts.raw import MOCK_TEST, TASK_TYPES

_TASK_TYPE = pl.Enum([*TASK_TYPES, MOCK_TEST])


def numbered(users: pl.LazyFrame) -> pl.LazyFrame:
    """Number all users in the order of user_id: `_number` (UInt32).

    Numbers are given before sharding: numbers within a shard would decide ties between shards by chance.
    """
    return users.sort("user_id").with_row_index("_number").collect().lazy()


def shard(users: pl.LazyFrame, number: int, count: int) -> pl.LazyFrame:
    """Return the users of shard `number` (from 0) of `count`, by a hash of user_id that no library release changes.

    polars' own hash may differ between versions; the CRC of the text does not.
    """
    if count == 1:
        return users
    return users.filter(
        pl.col("user_id").map_batches(_checksums, return_dtype=pl.UInt32, is_elementwise=True) % count == number
    )


def compact(users: pl.LazyFrame, progress: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Load some users and their events into memory once, in compact form.

    Ids become the numbers of the users, which keep every order and every tie, and task types one byte: 21 bytes per
    event instead of about 80. A plan that joins the users to an hourly table directly opens the files repeatedly:
    12 s instead of 1 s on the 4,300 hours of the demo.

    Args:
        users: some of the numbered users.
        progress: `user_progress`; scanned once.

    Returns:
        `users` with user_id UInt32, and their events: user_id UInt32, task_type Enum, completed_at, time_spent_ms.

    """
    people = users.collect()
    numbers = people.lazy().select("user_id", "_number")
    events = (
        progress.join(numbers, on="user_id")
        .select("completed_at", "time_spent_ms", pl.col("task_type").cast(_TASK_TYPE), user_id="_number")
        .collect()
    )
    return people.lazy().with_columns(user_id="_number").drop("_number"), events.lazy()


def _checksums(ids: pl.Series) -> pl.Series:
    return pl.Series([crc32(one.encode()) for one in ids], dtype=pl.UInt32)
