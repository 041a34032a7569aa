"""Counts of achievers by total and journey day, from which benchmarks are computed (G5).

Exact quantiles do not merge, counts of values do: those of two sets of users add up. A step over many
users therefore counts each shard of users by itself, adds the counts and reads every figure from the sum.

Cells overlap (`at_least` populations contain one another, and configured half bands may). A user is
counted once, in the block of scores between two neighbouring edges of cells; a cell is a union of blocks.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.benchmarks.achiever_practice import Practice
from ghost_pipeline.domain.ghost.benchmarks.achievers import HALF_BAND, block_edge, edges_within
from ghost_pipeline.domain.ghost.benchmarks.running_totals import Integers, RunningTotals

INTERVAL = "interval"
AT_LEAST = "at_least"
POPULATIONS = (INTERVAL, AT_LEAST)


METRIC_DTYPE = pl.Enum([metric.name for metric in BENCHMARK_METRICS])
COUNT_KEYS = ("final_tenths", "start_tenths", "day_number", "metric", "value")

_EMPTY = pl.DataFrame(
    schema={
        "final_tenths": pl.UInt8(),
        "start_tenths": pl.UInt8(),
        "day_number": pl.UInt16(),
        "metric": METRIC_DTYPE,
        "value": pl.Int64(),
        "users": pl.UInt32(),
    },
)


def benchmark_counts(
    practice: Practice, *, bands: Sequence[Decimal], starts: Sequence[Decimal], days: int
) -> pl.DataFrame:
    """The counts of one shard of users (or of all).

    For every block of scores, journey day 1 to `days` and metric: how many achievers (G5.1) had which
    cumulative total by the end of that day, activity carried forward after the last event, among those
    whose day had ended (G5.3). Practice time is in milliseconds, the streak that of G2.4.

    Args:
        practice: achievers and what they did.
        bands: target bands.
        starts: starting skills.
        days: last day of the journey.

    Returns:
        final_tenths UInt8 and start_tenths UInt8 (lower edge of the block of final and of diagnostic scores, in
        tenths of a band), day_number UInt16, metric Enum, value Int64, users UInt32 (> 0), sorted by `COUNT_KEYS`,
        which are the key.

    Raises:
        ValueError: a band or a start has more than one decimal.

    """
    members = _members(practice.people, bands, starts)
    # One chunk per block instead of one array over all: nothing is copied.
    return pl.concat([_EMPTY, *_block_counts(members, practice.entries, days)], rechunk=False)


def merge_benchmark_counts(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The counts of the union of disjoint sets of users, from the counts of each; same shape and order.

    For counts that are kept: `finish_benchmarks` takes them one below the other as well, without the memory
    that merging needs.
    """
    return (
        pl.concat(list(parts), how="vertical")
        .lazy()
        .group_by(COUNT_KEYS)
        .agg(pl.col("users").sum().cast(pl.UInt32))
        .sort(COUNT_KEYS)
        .collect()
    )


class Cell(NamedTuple):
    """A population of achievers that started alike, and the blocks of scores it consists of."""

    population: str
    target_band: Decimal
    starting_skill: Decimal
    final_tenths: tuple[int, ...]
    start_tenths: tuple[int, ...]


def benchmark_cells(
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    populations: Sequence[str],
) -> list[Cell]:
    """The cells of all benchmarks: `interval` b <= final < b + 0.5, `at_least` b <= final (G5.1, G5.6).

    Sorted by population, target band, starting skill.

    Raises:
        ValueError: a population is neither of the two, or a band has more than one decimal.

    """
    unknown = sorted(set(populations) - set(POPULATIONS))
    if unknown:
        raise ValueError(f"benchmarks: unknown population {unknown[0]!r}; choose of {', '.join(POPULATIONS)}")
    return [
        Cell(
            population,
            band,
            start,
            edges_within(bands, band, band + HALF_BAND if population == INTERVAL else None),
            edges_within(starts, start, start + HALF_BAND),
        )
        for population in sorted(set(populations))
        for band in sorted(set(bands))
        for start in sorted(set(starts))
    ]


def _members(people: pl.DataFrame, bands: Sequence[Decimal], starts: Sequence[Decimal]) -> pl.DataFrame:
    """The achievers in any cell, numbered: `block` counts the blocks, `slot` the members within one.

    Members whose journey is longest come first, so that those whose day d has ended are a prefix.
    """
    return (
        people.with_row_index("member")
        .select(
            "member",
            "last_day",
            "skipped_day",
            final_tenths=block_edge("final_band_score", bands),
            start_tenths=block_edge("diagnostic_score", starts),
        )
        .filter(pl.col("final_tenths").is_not_null(), pl.col("start_tenths").is_not_null())
        .sort("final_tenths", "start_tenths", -pl.col("last_day"), "member")
        .with_columns(block=pl.struct("final_tenths", "start_tenths").rle_id().cast(pl.UInt32))
        .with_columns(slot=pl.int_range(pl.len(), dtype=pl.UInt32).over("block"))
    )


def _block_counts(members: pl.DataFrame, entries: pl.DataFrame, days: int) -> Iterator[pl.DataFrame]:
    """The counts of one block of scores after the other."""
    blocks = members.group_by("block", "final_tenths", "start_tenths").agg("last_day", "skipped_day").sort("block")
    events = (
        entries.lazy()
        .filter(pl.col("day") <= days)
        .join(members.lazy().select("member", "block", "slot"), on="member")
        .select(
            "slot",
            "kind",
            "events",
            "milliseconds",
            group=pl.col("block") * days + pl.col("day").cast(pl.UInt32) - 1,
        )
        .collect()
    )
    # Taken out one by one: a column in chunks is copied, and events are what needs most memory.
    slots, kinds, counts, milliseconds, group = (
        events.drop_in_place(name).to_numpy() for name in ("slot", "kind", "events", "milliseconds", "group")
    )
    group = group.astype(np.min_scalar_type(blocks.height * days))
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=blocks.height * days)).tolist()
    for block, final_tenths, start_tenths, last_days, skipped_days in blocks.iter_rows():
        journeys = np.array(last_days)
        totals = RunningTotals(np.array(skipped_days))
        tallies: list[_Tally] = []
        for day in range(1, days + 1):
            position = block * days + day - 1
            rows = order[ends[position - 1] if position else 0 : ends[position]]
            totals.add_day(day, slots[rows], kinds[rows], counts[rows], milliseconds[rows])
            counted = int(np.count_nonzero(journeys >= day))
            tallies += [
                _Tally(day, metric, *_distinct(values[:counted])) for metric, values in enumerate(totals.figures(day))
            ]
        yield _tally_frame(tallies).select(
            pl.lit(final_tenths, dtype=pl.UInt8).alias("final_tenths"),
            pl.lit(start_tenths, dtype=pl.UInt8).alias("start_tenths"),
            pl.all(),
        )


class _Tally(NamedTuple):
    """The distinct values of one metric on one day, ascending, and how many have each."""

    day: int
    metric: int
    values: Integers
    users: NDArray[np.uint32]


def _tally_frame(tallies: Sequence[_Tally]) -> pl.DataFrame:
    heights = [len(tally.values) for tally in tallies]
    metrics = pl.Series(np.repeat(np.array([tally.metric for tally in tallies], dtype=np.uint8), heights))
    return pl.DataFrame(
        {
            "day_number": np.repeat(np.array([tally.day for tally in tallies], dtype=np.uint16), heights),
            "metric": metrics.cat.to(METRIC_DTYPE),
            "value": np.concatenate([tally.values for tally in tallies]),
            "users": np.concatenate([tally.users for tally in tallies]),
        },
    )


def _distinct(values: Integers) -> tuple[Integers, NDArray[np.uint32]]:
    # Counting by position is several times faster than sorting where values are small.
    if int(values.max(initial=0)) <= 2 * len(values):
        by_value = np.bincount(values)
        distinct = np.flatnonzero(by_value)
        return distinct, by_value[distinct].astype(np.uint32)
    distinct, counts = np.unique(values, return_counts=True)
    return distinct, counts.astype(np.uint32)
