"""The percentile ranks that users are shown: those as of their cohort's release, and of the day before (G9.5).

A rank of the hour would answer one question for each task: whether a member has done exactly so many.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.ghost import USER_RELEASED_RANKS
from ghost_pipeline.contracts.rank_metrics import RANK_METRICS
from ghost_pipeline.domain.ghost.percentile_rank import percentile_rank
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour

_INSTANT = pl.Datetime("us", "UTC")
COHORT_RANKS, GLOBAL_RANKS = (
    tuple(metric.column_name(base) for metric in RANK_METRICS.values()) for base in ("cohort", "global")
)
OF_COHORT = ("user_id", "cohort_id", "ranked_as_of", *COHORT_RANKS)
OF_EVERYONE = ("user_id", "global_as_of", *GLOBAL_RANKS)


@dataclass(frozen=True)
class RankRules:
    """The thresholds of shown ranks, as the settings of the same names describe them."""

    step_persons: int
    min_users: int

    @classmethod
    def of(cls, settings: Settings) -> "RankRules":
        """Take the thresholds from the settings."""
        return cls(settings.rank_step_persons, settings.rank_min_users)


def day_before(as_of: datetime) -> datetime:
    """Return the end of the day before that of `as_of`; at midnight, the day that just ended is today (G1.3)."""
    return (as_of - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)


def cohort_ranks(user_stats: pl.LazyFrame, cohorts: pl.LazyFrame, as_of: datetime, rules: RankRules) -> pl.LazyFrame:
    """Return `OF_COHORT` of all members of some cohorts, active or not (G4.1).

    Args:
        user_stats: `user_ghost_stats` of the hour that ends at `as_of`.
        cohorts: cohort_id of cohorts that were released in it.
        as_of: the end of that hour.
        rules: the thresholds.

    """
    return (
        user_stats.join(cohorts, on="cohort_id", how="semi")
        .with_columns(pl.lit(as_of, dtype=_INSTANT).alias("ranked_as_of"), *_ranks("cohort", rules))
        .select(OF_COHORT)
    )


def global_ranks(user_stats: pl.LazyFrame, as_of: datetime, rules: RankRules) -> pl.LazyFrame:
    """Return `OF_EVERYONE` of all users of the hour that ends at `as_of`; without ranks if they are too few."""
    enough = pl.len() >= rules.min_users
    return user_stats.select(
        "user_id",
        pl.lit(as_of, dtype=_INSTANT).alias("global_as_of"),
        *(pl.when(enough).then(rank).alias(rank.meta.output_name()) for rank in _ranks("global", rules)),
    )


def unranked_releases(before: pl.LazyFrame, ledger: pl.LazyFrame) -> pl.LazyFrame:
    """Return cohort_id and released_as_of of the releases that `ledger` shows and `before` has no ranks of."""
    return (
        ledger.filter("released")
        .select("cohort_id", "released_as_of")
        .join(before, left_on=["cohort_id", "released_as_of"], right_on=["cohort_id", "ranked_as_of"], how="anti")
    )


def released_ranks(
    before: pl.LazyFrame, ledger: pl.LazyFrame, of_cohorts: pl.LazyFrame, of_everyone: pl.LazyFrame, as_of: datetime
) -> pl.LazyFrame:
    """Return the ranks that users are shown from `as_of` on: the columns of `user_released_ranks`, sorted by user_id.

    Args:
        before: rows of the table of the hour before. Those of releases that stay are kept as they are.
        ledger: the rows of `cohort_ghost_release` of the hour that ends at `as_of`.
        of_cohorts: `OF_COHORT` of the `unranked_releases`.
        of_everyone: `OF_EVERYONE` of the day before.
        as_of: the end of the hour.

    """
    hour = Hour.ending_at(as_of)
    stay = ledger.filter("released").select("cohort_id", ranked_as_of="released_as_of")
    stays = before.join(stay, on=["cohort_id", "ranked_as_of"], how="semi").select(OF_COHORT)
    # A user who has moved is in the releases of two cohorts while both stay: the newer one counts. A cohort that all
    # members have left has no row, so it is ranked again in each hour.
    newest = (
        pl.concat([of_cohorts, stays.join(of_cohorts, on="user_id", how="semi")])
        .sort("ranked_as_of", descending=True, maintain_order=True)
        .unique("user_id", keep="first", maintain_order=True)
    )
    return (
        pl.concat([stays.join(of_cohorts, on="user_id", how="anti"), newest])
        .join(of_everyone, on="user_id", how="full", coalesce=True)
        .with_columns(
            snapshot_date=pl.lit(hour.date),
            snapshot_hour=pl.lit(hour.hour, dtype=pl.Int32),
            as_of=pl.lit(as_of, dtype=_INSTANT),
        )
        .select(*USER_RELEASED_RANKS.polars_schema)
        .sort("user_id")
    )


def with_released_ranks(user_stats: pl.LazyFrame, ranks: pl.LazyFrame) -> pl.LazyFrame:
    """Return `user_stats` with the ranks that are shown in place of the exact ones, in the same order.

    A user who was no member of the present cohort as of its release has none in it.
    """
    columns, order = user_stats.collect_schema().names(), [*COHORT_RANKS, *GLOBAL_RANKS]
    shown = ranks.select("user_id", "cohort_id", *order)
    member = pl.col("cohort_id") == pl.col("cohort_id_ranked")
    return (
        user_stats.drop(order)
        .join(shown, on="user_id", how="left", maintain_order="left", suffix="_ranked")
        .with_columns(pl.when(member).then(pl.col(name)).alias(name) for name in COHORT_RANKS)
        .select(columns)
    )


def _ranks(base: str, rules: RankRules) -> list[pl.Expr]:
    return [percentile_rank(metric, base, step=rules.step_persons) for metric in RANK_METRICS]
