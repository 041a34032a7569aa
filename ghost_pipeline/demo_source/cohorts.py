"""The cohorts of the learners, current and closed."""

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import Flags, Ints, floor, numbered
from ghost_pipeline.demo_source.clock import DAY, HOUR, INSTANT, Clock
from ghost_pipeline.demo_source.draws import Draws


def closed_cohorts(cohort: Ints, past: Flags, skill: Ints, created: Ints, used: int) -> tuple[pl.DataFrame, Ints]:
    """Put learners of the past into cohorts of forty with the same start, in order of signing up."""
    people = (
        pl.DataFrame({"row": np.arange(len(cohort)), "skill": skill // 5 * 5, "created": created})
        .filter(pl.Series(past))
        .sort("skill", "created", "row")
        .with_columns(group=pl.int_range(pl.len()).over("skill") // 40)
        .with_columns(number=pl.struct("skill", "group").rle_id().cast(pl.Int64) + used + 1)
    )
    numbers = cohort.copy()
    numbers[people["row"].to_numpy()] = people["number"].to_numpy()
    closed = people.group_by("number", maintain_order=True).agg(pl.col("skill", "created").first())
    rows = closed.select(
        cohort_id=numbered("cohort", closed["number"].to_numpy(), 3),
        cohort_key=_cohort_key(pl.col("skill"), pl.lit("medium"), pl.lit("academic")),
        created_at=(pl.col("created") - HOUR).cast(INSTANT),
    )
    return rows, numbers


def _cohort_key(skill: pl.Expr, velocity: pl.Expr, track: pl.Expr) -> pl.Expr:
    return pl.format("skill_{}.{}_velocity_{}_track_{}", skill // 10, skill % 10, velocity, track)


def cohort_rows(draws: Draws, clock: Clock, cohorts: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the current cohorts."""
    age = cohorts["age"].to_numpy()
    created = clock.as_of - floor((age + draws.between(0.1, 2.0, len(age))) * DAY)
    return cohorts.select(
        cohort_id=numbered("cohort", cohorts["number"].to_numpy(), 3),
        cohort_key=_cohort_key(
            pl.col("skill"),
            pl.col("velocity").replace_strict({0: "slow", 1: "medium", 2: "fast"}),
            pl.col("track").replace_strict({0: "academic", 1: "general"}),
        ),
        created_at=pl.Series(created).cast(INSTANT),
    )
