"""What each achiever did on each day of the journey, to count benchmarks from and to keep (G5, G9.7).

An achiever's days up to the last one that has ended are a diary, named by a hash of its contents. Later months show
most diaries again, so each is kept once, without the name of a person.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import polars as pl

from ghost_pipeline.domain.ghost.activity import counted_events, present_users
from ghost_pipeline.domain.ghost.benchmarks.achievers import achievers, block_edge, starting_skill
from ghost_pipeline.domain.ghost.benchmarks.running_totals import KINDS
from ghost_pipeline.domain.shared.local_time import local_date, skipped_date
from ghost_pipeline.stable_hash import row_hashes

_INSTANT = pl.Datetime("us", "UTC")
LISTS = ("days", "kinds", "events", "milliseconds")
_ENTRY = pl.Schema({"day": pl.UInt16(), "kind": pl.UInt8(), "events": pl.UInt32(), "milliseconds": pl.Int64()})


class Practice(NamedTuple):
    """Achievers, and what they did up to the end of the last day of their journey that had ended."""

    people: pl.DataFrame
    """user_id, final_band_score and diagnostic_score Float64, last_day Int32 (journey days that have ended, from 1),
    skipped_day Int32 (the journey day whose date never existed, 0 if there is none), diary Int64 (hash of the
    entries); one row per achiever."""
    entries: pl.DataFrame
    """member UInt32 (number of the row of `people`), day UInt16 (of the journey), kind UInt8 (position in `KINDS`),
    events UInt32, milliseconds Int64; sorted by the first three, which are the key."""


def achiever_practice(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    days: int,
) -> Practice:
    """The achievers of any cell at `as_of` (G5.1) and what they did, sorted by user_id.

    Args:
        users: the users as they were at `as_of`, in whose order people are.
        progress: holds at least these users' events.
        as_of: end of the month.
        bands: target bands.
        starts: starting skills.
        days: last day of the journey.

    Raises:
        ValueError: a band or a start has more than one decimal.

    """
    # Day d of the journey has ended once it is the day after it; `as_of` itself is the first instant of
    # that day at the earliest.
    ended = (local_date(pl.lit(as_of, dtype=_INSTANT), pl.col("timezone")) - pl.col("created_date")).dt.total_days()
    members = (
        present_users(achievers(users, as_of), as_of)
        .filter(starting_skill(starts).is_not_null())
        .select(
            "user_id",
            "timezone",
            "created_date",
            "final_band_score",
            "diagnostic_score",
            last_day=pl.min_horizontal(ended, days).cast(pl.Int32),
            skipped_day=_skipped_day().cast(pl.Int32),
        )
        .filter(block_edge("final_band_score", bands).is_not_null(), pl.col("last_day") >= 1)
        .sort("user_id")
        .with_row_index("member")
        .collect()
    )
    kind = pl.col("task_type").replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.UInt8)
    calendars = members.lazy().select("user_id", "timezone", "created_date", "member", "last_day")
    entries = (
        counted_events(calendars, progress, as_of)
        .filter(pl.col("journey_day") <= pl.col("last_day"))
        .select("member", day=pl.col("journey_day").cast(pl.UInt16), kind=kind, milliseconds="time_spent_ms")
        .group_by("member", "day", "kind")
        .agg(events=pl.len().cast(pl.UInt32), milliseconds=pl.col("milliseconds").sum())
        .select("member", *_ENTRY)
        .sort("member", "day", "kind")
        .collect()
    )
    people = members.select("user_id", "final_band_score", "diagnostic_score", "last_day", "skipped_day")
    return Practice(people.with_columns(_diaries(entries, people.height)), entries)


def diaries_of(practice: Practice, wanted: pl.Series) -> pl.DataFrame:
    """The diaries with some hashes as they are kept, sorted by the hash `diary`, which is the key.

    Returns diary Int64 and, entry by entry in the order of day and kind, the lists days, kinds and events (Int32) and
    milliseconds (Int64).
    """
    chosen = (
        practice.people.with_row_index("member")
        .filter(pl.col("diary").is_in(wanted.implode()))
        .unique("diary", keep="first", maintain_order=True)
        .select("member", "diary")
    )
    lists = (
        practice.entries.join(chosen.select("member"), on="member", how="semi", maintain_order="left")
        .group_by("member", maintain_order=True)
        .agg(
            days=pl.col("day").cast(pl.Int32),
            kinds=pl.col("kind").cast(pl.Int32),
            events=pl.col("events").cast(pl.Int32),
            milliseconds="milliseconds",
        )
    )
    # A list without a value and not null for who did nothing.
    return (
        chosen.join(lists, on="member", how="left")
        .select("diary", *(pl.col(name).fill_null([]) for name in LISTS))
        .sort("diary")
    )


def kept_practice(people: pl.DataFrame, diaries: pl.DataFrame) -> Practice:
    """Practice as it was kept: `people` with the columns of `Practice.people`, and `diaries` with at least theirs."""
    entries = (
        people.select("diary")
        .with_row_index("member")
        .join(diaries, on="diary")
        .filter(pl.col("days").list.len() > 0)
        .explode(LISTS)
        .select("member", day="days", kind="kinds", events="events", milliseconds="milliseconds")
        .cast(_ENTRY)
        .sort("member", "day", "kind")
    )
    return Practice(people, entries)


def _diaries(entries: pl.DataFrame, members: int) -> pl.Series:
    """The hash of each member's entries: the sum of those of its entries, which no order changes."""
    hashes = row_hashes(entries.select(*_ENTRY)).to_numpy()
    sums = np.zeros(members, dtype=np.uint64)
    np.add.at(sums, entries["member"].to_numpy(), hashes)
    return pl.Series("diary", sums.view(np.int64))


def _skipped_day() -> pl.Expr:
    """Return the journey day whose date never existed where the member lives, 0 if there is none."""
    day = (skipped_date(pl.col("timezone")) - pl.col("created_date")).dt.total_days() + 1
    return day.clip(0).fill_null(0)
