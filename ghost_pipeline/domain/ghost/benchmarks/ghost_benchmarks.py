"""Success benchmarks: what achievers had done by each day of their journey (G5)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain, pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.benchmarks.achievers import (
    BAND_DTYPE,
)
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import (
    COUNT_KEYS,
    INTERVAL,
    POPULATIONS,
    Cell,
    benchmark_cells,
)
from ghost_pipeline.domain.ghost.benchmarks.renewal import in_steps
from ghost_pipeline.domain.shared.identity import row_id
from ghost_pipeline.domain.shared.levels import LARGEST, levels_hold
from ghost_pipeline.domain.shared.rounding import mean_decimal
from ghost_pipeline.windows import HOUR, Month

_TABLE = "ghost_benchmarks"
RENEWED_TOGETHER = ("population", "target_band", "starting_skill", "day_number")
"""Rows that are judged together: all percentiles of a cell and day, with the means (G9.7)."""
_KEY = (*RENEWED_TOGETHER, "success_percentile")
_COUNT_COLUMNS = (*COUNT_KEYS, "users")
_INSTANT = pl.Datetime("us", "UTC")

Integers = NDArray[np.int64]
Tally = tuple[Integers, NDArray[np.uint32]]
Tallies = dict[tuple[int, int, int, int], list[Tally]]


def finish_benchmarks(
    counts: pl.DataFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    percentiles: Sequence[int],
    min_sample: int,
    populations: Sequence[str] = POPULATIONS,
) -> pl.LazyFrame:
    """The table from the counts of all users (or from the counts of shards, one below the other).

    The value for success percentile p is the (100 - p)-th percentile of the achievers, interpolated
    linearly and rounded half away from zero (G5.3); a row with fewer than `min_sample` achievers does not
    exist.

    Returns id String, population String, target_band and starting_skill Decimal(2, 1), day_number and
    success_percentile Int32, one Int32 column per entry of `BENCHMARK_METRICS`, sample_size Int32 (of `at_least`
    populations, which are nested, rounded down to fives: G9.7), month and renewed String ("2025-02"), as_of,
    created_at and updated_at Datetime (all `as_of`); sorted by population, target_band, starting_skill, day_number,
    success_percentile. With the month these are the key.

    Raises:
        ValueError: an unknown population, or a band or start with more than one decimal.

    """
    figures = _figures(
        counts,
        benchmark_cells(bands, starts, populations),
        sorted(set(percentiles)),
        min_sample,
    )
    columns = [metric.column_name for metric in BENCHMARK_METRICS]
    schema: dict[str, pl.DataType] = {
        "population": pl.String(),
        "target_band": BAND_DTYPE,
        "starting_skill": BAND_DTYPE,
        "day_number": pl.Int32(),
        "success_percentile": pl.Int32(),
        **dict.fromkeys(columns, pl.Int32()),
        "sample_size": pl.Int32(),
    }
    month = Month.containing(as_of - HOUR).key
    instant = pl.lit(as_of, dtype=_INSTANT)
    return (
        pl.LazyFrame(list(figures), schema=schema, orient="row")
        .with_columns(
            pl.when(population=INTERVAL).then("sample_size").otherwise(in_steps("sample_size")).alias("sample_size"),
            month=pl.lit(month),
            renewed=pl.lit(month),
            as_of=instant,
            created_at=instant,
            updated_at=instant,
        )
        .select(row_id(_TABLE, *map(pl.col, _KEY), pl.col("month")), pl.all())
        .sort(_KEY)
    )


def benchmark_means(
    counts: pl.DataFrame,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    min_sample: int,
    max_share_percent: int,
    populations: Sequence[str] = (INTERVAL,),
) -> pl.LazyFrame:
    """The mean of every metric per cell and day, rounded half away from zero to two decimals (G5.4).

    A mean times the sample size is a sum, so it is null where that breaks the rule of levels: one mock test among 50
    people is one person's.

    Takes what `finish_benchmarks` takes, and what `levels_hold` does. Returns population String, target_band and
    starting_skill Decimal(2, 1), day_number Int32, metric String, mean Decimal(12, 2)?, sample_size Int32; in the order
    of population, target_band, starting_skill, day_number and `BENCHMARK_METRICS`.
    """
    key = RENEWED_TOGETHER
    blocks = [
        (cell.population, cell.target_band, cell.starting_skill, final, start)
        for cell in benchmark_cells(bands, starts, populations)
        for final in cell.final_tenths
        for start in cell.start_tenths
    ]
    schema: dict[str, pl.DataType] = {
        "population": pl.String(),
        "target_band": BAND_DTYPE,
        "starting_skill": BAND_DTYPE,
        "final_tenths": pl.UInt8(),
        "start_tenths": pl.UInt8(),
    }
    unit = pl.col("metric").replace_strict(
        [metric.name for metric in BENCHMARK_METRICS],
        [metric.unit for metric in BENCHMARK_METRICS],
        return_dtype=pl.Int64,
    )
    users = pl.col("users").cast(pl.Int64)
    # Of three rows, for every one has a user.
    most = pl.col("users").top_k_by("value", LARGEST).clip(upper_bound=LARGEST)
    largest = pl.col("value").top_k_by("value", LARGEST).repeat_by(most).explode()
    held = [pl.col("largest").list.get(place, null_on_oob=True).fill_null(0) for place in range(LARGEST)]
    mean = mean_decimal(pl.col("total"), pl.col("users") * unit, scale=2).cast(pl.Decimal(12, 2))
    return (
        counts.lazy()
        .group_by("final_tenths", "start_tenths", "day_number", "metric")
        .agg(total=(pl.col("value") * users).sum(), users=users.sum(), largest=largest)
        .join(pl.LazyFrame(blocks, schema=schema, orient="row"), on=["final_tenths", "start_tenths"])
        .group_by(*key, "metric")
        .agg(pl.col("total", "users").sum(), largest=pl.col("largest").explode().sort(descending=True).head(LARGEST))
        .filter(pl.col("users") >= min_sample)
        .sort(*key, "metric")
        .select(
            "population",
            "target_band",
            "starting_skill",
            pl.col("day_number").cast(pl.Int32),
            pl.col("metric").cast(pl.String),
            mean=pl.when(levels_hold(pl.col("total"), held, max_share_percent)).then(mean),
            sample_size=pl.col("users").cast(pl.Int32),
        )
    )


def benchmark_target_band(target_band: str = "target_band", *, default: Decimal) -> pl.Expr:
    """The band a user is compared with: the own target, else the default, as Decimal(2, 1) (G8)."""
    return pl.col(target_band).fill_null(pl.lit(default)).cast(BAND_DTYPE)


def benchmark_day(day_in_journey: str = "day_in_journey", *, days: int) -> pl.Expr:
    """The benchmark day for a day of the journey: at most the last one, null before day 1 (G1.5)."""
    day = pl.col(day_in_journey)
    return pl.when(day > 0).then(pl.min_horizontal(day, days)).cast(pl.Int32)


def _figures(
    counts: pl.DataFrame,
    cells: Sequence[Cell],
    percentiles: Sequence[int],
    min_sample: int,
) -> Iterator[tuple[object, ...]]:
    """The rows of the table up to the sample size, as tuples."""
    tallies = _tallies(counts)
    days = sorted({day for _, _, day, _ in tallies})
    for cell in cells:
        for day in days:
            sample = 0
            metric_figures = []
            for metric in range(len(BENCHMARK_METRICS)):
                parts = list(
                    chain.from_iterable(
                        tallies.get((final, start, day, metric), ())
                        for final in cell.final_tenths
                        for start in cell.start_tenths
                    ),
                )
                if not parts:
                    break
                sample, figures = _quantiles(
                    parts,
                    [100 - percentile for percentile in percentiles],
                    BENCHMARK_METRICS[metric].unit,
                )
                if sample < min_sample:
                    break
                metric_figures.append(figures)
            if len(metric_figures) < len(BENCHMARK_METRICS):
                continue
            key = (cell.population, cell.target_band, cell.starting_skill, day)
            for number, percentile in enumerate(percentiles):
                yield (*key, percentile, *(figures[number] for figures in metric_figures), sample)


def _tallies(counts: pl.DataFrame) -> Tallies:
    """Values and users of each (final block, start block, day, metric), in pieces if unmerged; no copies."""
    if len({tuple(map(len, column.get_chunks())) for column in counts}) > 1:
        counts = counts.rechunk()
    tallies: Tallies = {}
    for chunk in zip(*(column.get_chunks() for column in counts.select(_COUNT_COLUMNS)), strict=True):
        *key, values, users = (column.to_physical().to_numpy() for column in chunk)
        # Ends where any part of the key changes.
        changes = np.logical_or.reduce([part[1:] != part[:-1] for part in key])
        bounds = [0, *(np.flatnonzero(changes) + 1).tolist(), len(values)]
        for start, end in pairwise(bounds) if len(values) else ():
            final, diagnostic, day, metric = (int(part[start]) for part in key)
            tally = (values[start:end], users[start:end])
            tallies.setdefault((final, diagnostic, day, metric), []).append(tally)
    return tallies


def _quantiles(
    tallies: Sequence[Tally],
    percents: Sequence[int],
    unit: int,
) -> tuple[int, list[int]]:
    """The number of users, and the percentiles of their values, exact in integers (G3.3, G5.3).

    Takes sorted values and their multiplicities, in as many pieces as there are blocks.
    """
    distinct, multiplicity = tallies[0]
    if len(tallies) > 1:
        distinct, multiplicity = map(np.concatenate, zip(*tallies, strict=True))
        order = np.argsort(distinct, kind="stable")
        distinct, multiplicity = distinct[order], multiplicity[order]
    up_to = np.cumsum(multiplicity, dtype=np.int64)
    sample = int(up_to[-1])
    positions = [divmod((sample - 1) * percent, 100) for percent in percents]
    wanted = [(low, min(low + 1, sample - 1)) for low, _ in positions]
    neighbours = distinct[np.searchsorted(up_to, wanted, side="right")].tolist()
    divisor = 100 * unit
    figures = []
    for (low, high), (_, hundredths) in zip(neighbours, positions, strict=True):
        numerator = low * (100 - hundredths) + high * hundredths
        # Totals are never negative: half up is half away from zero.
        figures.append((2 * numerator + divisor) // (2 * divisor))
    return sample, figures
