"""A user's percentile rank among the cohort and among all users: exact (G4), and in the steps that are shown (G9.5)."""

import polars as pl

from ghost_pipeline.contracts.rank_metrics import RANK_ALIASES, RANK_BASES, RANK_METRICS
from ghost_pipeline.errors import GhostError


class UnknownMetricError(GhostError, ValueError):
    """A percentile rank was asked for a metric or a base that does not exist (G4.2)."""


def rank_column(metric: str, base: str = "cohort") -> str:
    """The column of `user_ghost_stats` with the rank by `metric` (or an alias of one) in `base`.

    Raises:
        UnknownMetricError: names what can be asked for.

    """
    name = RANK_ALIASES.get(metric, metric)
    if name not in RANK_METRICS:
        known = ", ".join([*RANK_METRICS, *RANK_ALIASES])
        raise UnknownMetricError(f"percentile rank: unknown metric {metric!r}; choose one of {known}")
    if base not in RANK_BASES:
        known = ", ".join(RANK_BASES)
        raise UnknownMetricError(f"percentile rank: unknown base {base!r}; choose one of {known}")
    return RANK_METRICS[name].column_name(base)


RANK_COLUMNS = tuple(rank_column(metric, base) for metric in RANK_METRICS for base in RANK_BASES)


def percentile_rank(metric: str, base: str = "cohort", *, step: int = 1) -> pl.Expr:
    """100 * (members strictly below) // (members), in integers, as Int32 (G4.1).

    Those below are counted in steps of so many persons: of 14 in steps of 5, 10 count (G9.5).

    For frames with one row per current user and the columns cohort_id (String?) and those of
    `RANK_METRICS`. Members are all users of the cohort (or all users), the user included, whether active
    or not. Without a cohort the cohort rank is null.

    Raises:
        UnknownMetricError: the metric or the base does not exist.

    """
    name = rank_column(metric, base)
    value = pl.col(RANK_METRICS[RANK_ALIASES.get(metric, metric)].source)
    below = value.rank("min").cast(pl.Int64) - 1
    rank = 100 * (below // step * step) // pl.len().cast(pl.Int64)
    if base == "cohort":
        rank = pl.when(pl.col("cohort_id").is_not_null()).then(rank.over("cohort_id"))
    return rank.cast(pl.Int32).alias(name)
