"""Comparing the benchmarks of two months: which published figure moved further than it should."""

import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS

CELL_NAMES = ["population", "target_band", "starting_skill"]
CELL = (*CELL_NAMES, "day_number", "success_percentile")
SMALLEST_MOVE = 2
"""A figure that goes from 1 to 2 has doubled and says nothing: moves up to this are not looked at."""


def benchmark_drift(current: pl.LazyFrame, previous: pl.LazyFrame, percent: int) -> pl.LazyFrame:
    """The figures that differ from the month before by more than `percent` of it and by more than 2.

    Args:
        current: `ghost_benchmarks` of a month.
        previous: `ghost_benchmarks` of the month before.
        percent: how much of the previous figure is too much.

    Returns:
        One row per figure: the columns of the cell, `metric` String, `previous` and `current` Int32,
        largest relative move first. Cells that only one of the months has are left out: their samples crossed
        the minimum, which the table of cells shows.

    """
    figures = [metric.column_name for metric in BENCHMARK_METRICS]
    pairs = [
        frame.select(*CELL, *figures).unpivot(index=CELL, on=figures, variable_name="metric", value_name=name)
        for frame, name in ((previous, "previous"), (current, "current"))
    ]
    moved = (pl.col("current") - pl.col("previous")).abs()
    relative = moved / pl.col("previous").clip(lower_bound=1)
    return (
        pairs[0]
        .join(pairs[1], on=[*CELL, "metric"])
        .filter(moved > SMALLEST_MOVE, moved * 100 > pl.col("previous") * percent)
        .with_columns(_relative=relative)
        .sort("_relative", *CELL, "metric", descending=[True, *(False for _ in CELL), False])
        .drop("_relative")
    )
