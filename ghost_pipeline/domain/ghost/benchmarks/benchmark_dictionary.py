"""The nested form of the benchmarks that the specification shows, with means (G5.4)."""

import json
from decimal import Decimal
from typing import cast

import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import INTERVAL

BenchmarkDictionary = dict[str, dict[str, dict[str, dict[str, int | float | None]]]]

RECORDED_DICTIONARY = "ghost_pipeline.benchmark_dictionary"
"""The entry in the metadata of a month's file of `ghost_benchmarks`: this form of the month, as JSON."""
_KEYS = {metric.name: metric.json_key for metric in BENCHMARK_METRICS}


def benchmark_dictionary(means: pl.LazyFrame) -> BenchmarkDictionary:
    """`band_7.0_achievers` -> `starting_skill_5.5` -> `day_7` -> metric -> mean; missing cells and days are absent.

    Takes the output of `benchmark_means` and uses its `interval` population. A mean without a
    fraction is an int, any other a float of at most two decimals, so that both read naturally in JSON; one that is
    withheld is None.
    Bands, skills, days and metrics are in ascending order and that of `BENCHMARK_METRICS`.
    """
    nested: BenchmarkDictionary = {}
    rows = (
        means.filter(pl.col("population") == INTERVAL)
        .select("target_band", "starting_skill", "day_number", "metric", "mean")
        .collect()
        .iter_rows()
    )
    for band, start, day, metric, mean in cast("list[tuple[Decimal, Decimal, int, str, Decimal | None]]", rows):
        nested.setdefault(f"band_{band}_achievers", {}).setdefault(f"starting_skill_{start}", {}).setdefault(
            f"day_{day}",
            {},
        )[_KEYS[metric]] = _number(mean)
    return nested


def recorded_dictionary(means: pl.LazyFrame) -> dict[str, str]:
    """What a month's file of `ghost_benchmarks` records, so that a publication can write the form of that month."""
    return {RECORDED_DICTIONARY: json.dumps(benchmark_dictionary(means), separators=(",", ":"))}


def _number(mean: Decimal | None) -> int | float | None:
    if mean is None:
        return None
    return int(mean) if mean == int(mean) else float(mean)
