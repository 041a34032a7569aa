"""How many of those at or above a benchmark reached the band, and how many of those below (G10.2)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.activity import counted_events, present_users
from ghost_pipeline.domain.ghost.benchmarks.achievers import (
    block_edge,
    blocks_of_bands,
    blocks_of_starts,
    known_result,
)
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import AT_LEAST
from ghost_pipeline.domain.shared.identity import row_id
from ghost_pipeline.domain.shared.local_time import local_date
from ghost_pipeline.domain.shared.proportions import newcombe_interval, wilson_interval
from ghost_pipeline.windows import HOUR, Month

ODDS_DAYS = (7, 14, 21, 28, 42, 56)
"""Days of the journey at whose end people are compared with the benchmark."""

ODDS_METRICS = tuple(metric for metric in BENCHMARK_METRICS if metric.name in {"tasks_completed", "practice_minutes"})
"""The figures they are compared by."""

RUNGS = (25, 50)
"""Success percentiles whose benchmark divides them."""

_TABLE = "ghost_outcome_odds"
_KEY = ("target_band", "starting_skill", "day_number", "metric", "rung")
_COUNT_KEYS = ("start_tenths", "final_tenths", "is_open", "day_number", "metric", "value")
_INSTANT = pl.Datetime("us", "UTC")


def outcome_counts(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
) -> pl.LazyFrame:
    """How many users of a shard had which total by the end of each of `ODDS_DAYS`, by start and result.

    Those count whose day had ended at `as_of`, and whose result was not known before that end: what they did is not
    what followed from it. A result whose instant is unknown counts as known from the beginning.

    Returns start_tenths UInt8 (lower edge of the block of diagnostic scores), final_tenths UInt8? (of final scores;
    null below all bands and where `is_open`), is_open Boolean (no result known at `as_of`), day_number Int32, metric
    String, value Int64 (practice in milliseconds), users Int64; sorted by the columns before users, which are the key.
    """
    zone = pl.col("timezone")
    is_known = known_result(as_of)
    people = (
        present_users(users, as_of)
        .with_columns(start_tenths=block_edge("diagnostic_score", starts), is_open=~is_known)
        .filter(pl.col("start_tenths").is_not_null())
        .with_columns(
            final_tenths=pl.when(is_known).then(block_edge("final_band_score", bands)),
            # Day d has ended on the day after it; the days that had ended when the result came, or by now.
            ended=_days_between(
                "created_date",
                pl.when(is_known)
                .then(local_date(pl.coalesce("final_band_at", "score_known_at"), zone))
                .otherwise("today"),
            ),
        )
        .select(
            "user_id", "user_number", "timezone", "created_date", "start_tenths", "final_tenths", "is_open", "ended"
        )
    )
    calendars = people.select("user_id", "user_number", "timezone", "created_date")
    events = counted_events(calendars, progress, as_of).filter("is_task")
    totals = events.group_by("user_number").agg(
        _total(metric.measure, day).alias(f"{metric.name}_{day}") for metric in ODDS_METRICS for day in ODDS_DAYS
    )
    each = people.join(totals, on="user_number", how="left")
    return (
        pl.concat(
            each.filter(pl.col("ended") >= day).select(
                "start_tenths",
                "final_tenths",
                "is_open",
                day_number=pl.lit(day, dtype=pl.Int32),
                metric=pl.lit(metric.name),
                value=pl.col(f"{metric.name}_{day}").fill_null(0).cast(pl.Int64),
            )
            for metric in ODDS_METRICS
            for day in ODDS_DAYS
        )
        .group_by(_COUNT_KEYS)
        .agg(users=pl.len().cast(pl.Int64))
        .sort(_COUNT_KEYS)
    )


def merge_outcome_counts(parts: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
    """The counts of the union of disjoint sets of users, from the counts of each; same shape and order."""
    return pl.concat(list(parts)).group_by(_COUNT_KEYS).agg(pl.col("users").sum()).sort(_COUNT_KEYS)


def finish_outcome_odds(
    counts: pl.LazyFrame,
    benchmarks: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    min_sample: int,
) -> pl.LazyFrame:
    """The table from the counts of all users and the published benchmarks of the month.

    Returns id String, target_band and starting_skill Decimal(2, 1), day_number Int32, metric String, rung Int32 (the
    success percentile), above_n, above_reached Int32, above_share, above_low, above_high Float64 (Wilson), the same of
    `below`, difference, difference_low, difference_high Float64 (Newcombe), open Int32 (no result yet, above or below),
    month String, as_of, created_at and updated_at Datetime (all `as_of`); sorted by target_band, starting_skill,
    day_number, metric, rung, which with the month are the key. Where either group has fewer than `min_sample` people
    there is no row.
    """
    unit = pl.col("metric").replace_strict(
        [metric.name for metric in ODDS_METRICS], [metric.unit for metric in ODDS_METRICS], return_dtype=pl.Int64
    )
    of_start = blocks_of_starts(starts)
    reaching = blocks_of_bands(bands).with_columns(reached=True)
    divided = counts.join(of_start, on="start_tenths").join(
        _rungs(benchmarks), on=["starting_skill", "day_number", "metric"]
    )
    is_above, has_result = pl.col("value") >= pl.col("figure") * unit, ~pl.col("is_open")
    reached = pl.col("reached").fill_null(value=False) & has_result
    groups = {"above": is_above & has_result, "below": ~is_above & has_result}
    month = Month.containing(as_of - HOUR).key
    instant = pl.lit(as_of, dtype=_INSTANT)
    return (
        divided.join(reaching, on=["target_band", "final_tenths"], how="left")
        .group_by(_KEY)
        .agg(
            *(pl.col("users").filter(who).sum().alias(f"{name}_n") for name, who in groups.items()),
            *(pl.col("users").filter(who & reached).sum().alias(f"{name}_reached") for name, who in groups.items()),
            open=pl.col("users").filter("is_open").sum(),
        )
        .filter(pl.col("above_n") >= min_sample, pl.col("below_n") >= min_sample)
        .with_columns(
            expression.alias(f"{name}_{part}")
            for name in groups
            for part, expression in zip(("share", "low", "high"), _share(name), strict=True)
        )
        .with_columns(
            (pl.col("above_share") - pl.col("below_share")).alias("difference"),
            *(
                end.alias(f"difference_{part}")
                for part, end in zip(("low", "high"), newcombe_interval(_ends("above"), _ends("below")), strict=True)
            ),
        )
        .with_columns(month=pl.lit(month), as_of=instant)
        .sort(_KEY)
        .select(
            row_id(_TABLE, *map(pl.col, _KEY), pl.col("month")),
            *_KEY,
            *(column for name in groups for column in _columns(name)),
            "difference",
            "difference_low",
            "difference_high",
            pl.col("open").cast(pl.Int32),
            "month",
            "as_of",
            created_at="as_of",
            updated_at="as_of",
        )
    )


def _rungs(benchmarks: pl.LazyFrame) -> pl.LazyFrame:
    """Return target_band, starting_skill, day_number, metric, rung and figure of the benchmarks that divide people."""
    return (
        benchmarks.filter(
            pl.col("population") == AT_LEAST,
            pl.col("success_percentile").is_in(RUNGS),
            pl.col("day_number").is_in(ODDS_DAYS),
        )
        .select(
            "target_band",
            "starting_skill",
            "day_number",
            pl.col("success_percentile").alias("rung"),
            *(pl.col(metric.column_name).alias(metric.name) for metric in ODDS_METRICS),
        )
        .unpivot(
            index=["target_band", "starting_skill", "day_number", "rung"],
            variable_name="metric",
            value_name="figure",
        )
        .with_columns(pl.col("figure").cast(pl.Int64))
    )


def _total(measure: str, day: int) -> pl.Expr:
    until = pl.col("journey_day") <= day
    return pl.col("time_spent_ms").filter(until).sum() if measure == "time" else until.sum()


def _days_between(first: str, last: pl.Expr) -> pl.Expr:
    return (last - pl.col(first)).dt.total_days()


def _share(name: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    reached, people = pl.col(f"{name}_reached"), pl.col(f"{name}_n")
    return (reached / people, *wilson_interval(reached, people))


def _ends(name: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    return pl.col(f"{name}_share"), pl.col(f"{name}_low"), pl.col(f"{name}_high")


def _columns(name: str) -> tuple[pl.Expr, ...]:
    whole = (pl.col(f"{name}_{part}").cast(pl.Int32) for part in ("n", "reached"))
    return (*whole, *_ends(name))
