"""The cells of the benchmarks as a person looks at them: which are there, which are missing, and why."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import COUNT_KEYS, benchmark_cells

FIRST_METRIC = "tasks_completed"


def cell_samples(
    counts: pl.DataFrame,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    populations: Sequence[str],
    days: int,
    min_sample: int,
) -> pl.DataFrame:
    """How many achievers stand behind each cell, and what that means for its rows.

    Args:
        counts: what `benchmark_counts` returns, merged or one shard below the other.
        bands: target bands.
        starts: starting skills.
        populations: which populations.
        days: last day of the journey.
        min_sample: achievers that a row needs.

    Returns:
        One row per cell, present or not, in its order: population, target_band, starting_skill, `first_day` and
        `last_day` (achievers counted on day 1 and on the last day, Int32), `days` (days with a row, Int32), `why`
        (String, null where no day is missing).

    """
    per_block = (
        counts.lazy()
        .filter(pl.col("metric") == FIRST_METRIC)
        .group_by(*COUNT_KEYS[:3])
        .agg(users=pl.col("users").sum().cast(pl.Int64))
        .collect()
    )
    rows = []
    for cell in benchmark_cells(bands, starts, populations):
        per_day = dict(
            per_block.filter(
                pl.col("final_tenths").is_in(cell.final_tenths), pl.col("start_tenths").is_in(cell.start_tenths)
            )
            .group_by("day_number")
            .agg(pl.col("users").sum())
            .iter_rows()
        )
        first, last = per_day.get(1, 0), per_day.get(days, 0)
        filled = sum(users >= min_sample for users in per_day.values())
        rows.append(
            (
                cell.population,
                cell.target_band,
                cell.starting_skill,
                first,
                last,
                filled,
                _why(filled, days, first, min_sample),
            )
        )
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "population": pl.String,
        "target_band": pl.Decimal(2, 1),
        "starting_skill": pl.Decimal(2, 1),
        "first_day": pl.Int32,
        "last_day": pl.Int32,
        "days": pl.Int32,
        "why": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _why(filled: int, days: int, first: int, min_sample: int) -> str | None:
    if filled == days:
        return None
    if filled == 0:
        return "no achievers" if first == 0 else f"fewer than {min_sample} achievers"
    return f"after day {filled} fewer than {min_sample} have come so far"
