"""Which share of the achievers once kept a streak of k days: the fifth opening message (G6)."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from ghost_pipeline.domain.ghost.activity import active_days, counted_events, present_users, streak_runs
from ghost_pipeline.domain.ghost.benchmarks.achievers import (
    BAND_DTYPE,
    achievers,
    block_edge,
    blocks_of_bands,
    blocks_of_starts,
)
from ghost_pipeline.domain.ghost.benchmarks.renewal import in_steps
from ghost_pipeline.domain.shared.identity import row_id
from ghost_pipeline.domain.shared.rounding import round_half_away
from ghost_pipeline.windows import HOUR, Month

_TABLE = "ghost_streak_shares"
RENEWED_TOGETHER = _KEY = ("target_band", "starting_skill", "streak_threshold")
"""The key; each share is judged by itself (G9.7)."""
_COUNT_KEYS = ("final_tenths", "start_tenths", "longest_streak")
_INSTANT = pl.Datetime("us", "UTC")


def streak_people(
    users: pl.LazyFrame, progress: pl.LazyFrame, as_of: datetime, *, bands: Sequence[Decimal]
) -> pl.DataFrame:
    """The achievers of a shard who reached any of the bands, and their longest streak before `as_of`.

    Returns user_id, final_band_score and diagnostic_score Float64, longest_streak Int32 (days); sorted by user_id.
    """
    members = present_users(achievers(users, as_of), as_of).filter(block_edge("final_band_score", bands).is_not_null())
    calendars = members.select("user_id", "user_number", "timezone", "created_date")
    runs = streak_runs(active_days(counted_events(calendars, progress, as_of)), calendars)
    longest = runs.group_by("user_number").agg(longest_streak=pl.col("run_length").max())
    return (
        members.join(longest, on="user_number", how="left")
        .select("user_id", "final_band_score", "diagnostic_score", pl.col("longest_streak").fill_null(0))
        .sort("user_id")
        .collect()
    )


def streak_counts(people: pl.DataFrame, *, bands: Sequence[Decimal], starts: Sequence[Decimal]) -> pl.LazyFrame:
    """How many people had which longest streak, per block of scores.

    Returns final_tenths UInt8 (of the final score), start_tenths UInt8? (of the diagnostic; null below all
    starts), longest_streak Int32 (days), users Int64; sorted by the first three, which are the key.
    """
    return (
        people.lazy()
        .with_columns(
            final_tenths=block_edge("final_band_score", bands), start_tenths=block_edge("diagnostic_score", starts)
        )
        .filter(pl.col("final_tenths").is_not_null())
        .group_by(_COUNT_KEYS)
        .agg(users=pl.len().cast(pl.Int64))
        .sort(_COUNT_KEYS)
    )


def finish_streak_shares(
    counts: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    thresholds: Sequence[int],
    min_sample: int,
    percent_step: int = 1,
) -> pl.LazyFrame:
    """The table from the counts of all users: of those who scored at least the band, who reached k days.

    Returns id String, target_band Decimal(2, 1), starting_skill Decimal(2, 1)? (null: any diagnostic),
    streak_threshold Int32 (days), sample_size Int32 (rounded down to fives, G9.7), percentage Int32 (0 to 100, of the
    exact numbers, half away from zero to a multiple of `percent_step`), month and renewed String, as_of, created_at and
    updated_at Datetime (all `as_of`); sorted by target_band, starting_skill (null first), streak_threshold, which with
    the month are the key. A row with fewer than `min_sample` users does not exist.
    """
    of_band = blocks_of_bands(bands)
    of_start = blocks_of_starts(starts)
    columns = ("target_band", "starting_skill", "longest_streak", "users")
    per_band = counts.join(of_band, on="final_tenths")
    cells = pl.concat(
        [
            per_band.with_columns(starting_skill=pl.lit(None, dtype=BAND_DTYPE)).select(columns),
            per_band.join(of_start, on="start_tenths").select(columns),
        ],
    )
    month = Month.containing(as_of - HOUR).key
    instant = pl.lit(as_of, dtype=_INSTANT)
    return (
        cells.join(
            pl.LazyFrame({"streak_threshold": sorted(set(thresholds))}, schema={"streak_threshold": pl.Int32}),
            how="cross",
        )
        .group_by(_KEY)
        .agg(
            sample_size=pl.col("users").sum(),
            reached=pl.col("users").filter(pl.col("longest_streak") >= pl.col("streak_threshold")).sum(),
        )
        .filter(pl.col("sample_size") >= min_sample)
        .with_columns(month=pl.lit(month), as_of=instant)
        .sort(_KEY, nulls_last=False)
        .select(
            row_id(_TABLE, *map(pl.col, _KEY), pl.col("month")),
            *_KEY,
            in_steps("sample_size").cast(pl.Int32),
            _percentage(percent_step),
            "month",
            pl.col("month").alias("renewed"),
            "as_of",
            created_at="as_of",
            updated_at="as_of",
        )
    )


def _percentage(step: int) -> pl.Expr:
    steps = round_half_away(100 * pl.col("reached"), pl.col("sample_size") * step)
    return (steps * step).cast(pl.Int32).alias("percentage")


def next_streak_threshold(
    current_streak: str = "current_streak",
    *,
    thresholds: Sequence[int],
) -> pl.Expr:
    """The smallest threshold above a streak (Int32), null above all: whose share the user is shown (G6)."""
    threshold = pl.lit(None, dtype=pl.Int32)
    for days in sorted(thresholds, reverse=True):
        above = pl.col(current_streak) < days
        threshold = pl.when(above).then(pl.lit(days, dtype=pl.Int32)).otherwise(threshold)
    return threshold
