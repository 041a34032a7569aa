"""The release of cohort figures: when new figures are shown, when earlier ones stay, when none are shown (G9).

Pure rules over the active members, the ledger's newest rows and what members contributed to earlier releases.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CONTRIBUTIONS, SUMS, CohortMetric
from ghost_pipeline.contracts.raw import GLOBAL_COHORT
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_figure
from ghost_pipeline.domain.shared.rounding import decimal_units, round_half_away
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour

TOO_FEW_MEMBERS, DOMINATED, TOO_FEW_CHANGES = "too_few_members", "dominated", "too_few_changes"

MEDIAN = 50
STRICT_STEP = 5

_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class ReleaseRules:
    """The thresholds of G9, as the settings of the same names describe them."""

    min_members: int
    min_members_percentiles: int
    max_share_percent: int
    min_changed: int
    compared: timedelta
    strict: bool

    @classmethod
    def of(cls, settings: Settings) -> "ReleaseRules":
        """Take the thresholds from the settings."""
        return cls(
            min_members=settings.release_min_members,
            min_members_percentiles=settings.release_min_members_percentiles,
            max_share_percent=settings.release_max_share_percent,
            min_changed=settings.release_min_changed,
            compared=timedelta(hours=settings.release_compared_hours),
            strict=settings.release_profile == "strict",
        )


def member_contributions(user_stats: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return what each active member contributes to the figures of the cohort at `as_of`, sorted by cohort and user.

    Takes the output of `user_ghost_stats` for the same `as_of`. Returns cohort_id, user_id (the key), snapshot_date
    Date, snapshot_hour Int32, as_of Datetime and the `CONTRIBUTIONS`. `global` has no members (G3.1).
    """
    return (
        user_stats.filter("is_active_member", pl.col("cohort_id") != GLOBAL_COHORT)
        .select("cohort_id", "user_id", *_clock(as_of), *CONTRIBUTIONS)
        .sort("cohort_id", "user_id")
    )


def cohort_ghost_release(
    members: pl.LazyFrame, before: pl.LazyFrame, earlier: pl.LazyFrame, as_of: datetime, rules: ReleaseRules
) -> pl.LazyFrame:
    """Return the figures of each cohort that peers may see from `as_of` on, sorted by cohort_id (the key).

    A cohort with enough members, none of them dominating (G9.1, G9.2), gets a new release if the change rule of G9.3
    allows it; otherwise its last release stays, or it stays suppressed. Any other cohort is suppressed at once.

    Args:
        members: the output of `member_contributions` for `as_of`.
        before: the newest ledger rows before `as_of`, one per cohort.
        earlier: contributions to earlier releases: those that `before` names in last_release_as_of and all of the
            time that `rules` compare with; further ones do not count. Without the former the last release stays.
        as_of: the end of the hour.
        rules: the thresholds.

    Returns:
        The columns of `cohort_ghost_release`, a row for each cohort of `members` and of `before`; new
        releases are those with released_as_of = `as_of`.

    """
    now = members.group_by("cohort_id").agg(
        pl.len().alias("_members"),
        _dominated(rules).alias("_dominated"),
        *(_released_figure(metric, rules) for metric in COHORT_METRICS),
    )
    reason = (
        pl.when(pl.col("_members").fill_null(0) < rules.min_members)
        .then(pl.lit(TOO_FEW_MEMBERS))
        .when("_dominated")
        .then(pl.lit(DOMINATED))
    )
    new = pl.col("_reason").is_null() & (
        pl.col("last_release_as_of").is_null() | pl.col("_changed").fill_null(value=False)
    )
    kept = pl.col("_reason").is_null() & ~pl.col("_new") & pl.col("released").fill_null(value=False)
    return (
        now.with_columns(active_member_count=_released_size(rules))
        .join(
            before.drop("as_of", "snapshot_date", "snapshot_hour"),
            on="cohort_id",
            how="full",
            coalesce=True,
            suffix="_before",
        )
        .join(_changed_enough(members, before, earlier, as_of, rules), on="cohort_id", how="left")
        .with_columns(_reason=reason)
        .with_columns(_new=new)
        .with_columns(_kept=kept)
        .select(
            "cohort_id",
            *_clock(as_of),
            released=pl.col("_new") | pl.col("_kept"),
            suppressed_reason=pl.when(~pl.col("_new") & ~pl.col("_kept")).then(
                pl.col("_reason").fill_null(pl.lit(TOO_FEW_CHANGES))
            ),
            released_as_of=pl.when("_new").then(pl.lit(as_of, dtype=_INSTANT)).when("_kept").then("released_as_of"),
            last_release_as_of=pl.when("_new").then(pl.lit(as_of, dtype=_INSTANT)).otherwise("last_release_as_of"),
            active_member_count=pl.when("_new").then("active_member_count").when("_kept").then(_kept_size(rules)),
            **{
                metric.name: pl.when("_new")
                .then(metric.name)
                .when(_may_stay(metric, rules))
                .then(_kept_figure(metric, rules))
                for metric in COHORT_METRICS
            },
        )
        .sort("cohort_id")
    )


def released_contributions(members: pl.LazyFrame, release: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the rows of `members`, in their order, of the cohorts with a new release at `as_of`."""
    renewed = release.filter(pl.col("released_as_of") == as_of).select("cohort_id")
    return members.join(renewed, on="cohort_id", how="semi", maintain_order="left")


def changed_members(members: pl.LazyFrame, earlier: pl.LazyFrame) -> pl.LazyFrame:
    """How many members' contributions differ between each earlier release of a cohort and now (G9.3).

    Who is a member only then or only now has changed in every contribution, also where it is the same number. Returns
    cohort_id, as_of (of the earlier release; together the key) and the `CONTRIBUTIONS`, each as that count, for cohorts
    with members now.
    """
    values_now = [pl.col(name).alias(f"{name}_now") for name in CONTRIBUTIONS]
    matched = earlier.join(
        members.select("cohort_id", "user_id", *values_now, _stayed=pl.lit(value=True)),
        on=["cohort_id", "user_id"],
        how="left",
    )
    stayed = pl.col("_stayed").fill_null(value=False)
    same = [
        (stayed & pl.col(name).eq_missing(pl.col(f"{name}_now"))).sum().cast(pl.Int64).alias(name)
        for name in CONTRIBUTIONS
    ]
    anybody = pl.col("_then") + pl.col("_now") - pl.col("_stayed")
    return (
        matched.group_by("cohort_id", "as_of")
        .agg(pl.len().cast(pl.Int64).alias("_then"), pl.col("_stayed").sum().cast(pl.Int64), *same)
        .join(members.group_by("cohort_id").agg(pl.len().cast(pl.Int64).alias("_now")), on="cohort_id")
        .select("cohort_id", "as_of", *((anybody - pl.col(name)).alias(name) for name in CONTRIBUTIONS))
    )


def _changed_enough(
    members: pl.LazyFrame, before: pl.LazyFrame, earlier: pl.LazyFrame, as_of: datetime, rules: ReleaseRules
) -> pl.LazyFrame:
    """Return cohort_id and _changed: since each release, each contribution changed for no member or for enough.

    A reader can subtract any two releases, not only neighbouring ones (G9.6). Without the contributions to the last
    release the answer is no.
    """
    last = pl.col("as_of") == pl.col("last_release_as_of")
    changed = pl.col(*CONTRIBUTIONS)
    return (
        changed_members(members, earlier)
        .join(before.select("cohort_id", "last_release_as_of"), on="cohort_id")
        .filter(last | (pl.col("as_of") >= as_of - rules.compared))
        .with_columns(_enough=pl.all_horizontal((changed == 0) | (changed >= rules.min_changed)))
        .group_by("cohort_id")
        .agg((pl.col("_enough").all() & last.any()).alias("_changed"))
    )


def _dominated(rules: ReleaseRules) -> pl.Expr:
    def two_hold_too_much(name: str) -> pl.Expr:
        values = pl.col(name).cast(pl.Int64)
        return values.top_k(2).sum() * 100 > values.sum() * rules.max_share_percent

    return pl.any_horizontal(map(two_hold_too_much, SUMS))


def _released_size(rules: ReleaseRules) -> pl.Expr:
    size = pl.col("_members").cast(pl.Int64)
    return (round_half_away(size, STRICT_STEP) * STRICT_STEP if rules.strict else size).cast(pl.Int32)


def _released_figure(metric: CohortMetric, rules: ReleaseRules) -> pl.Expr:
    if metric.statistic == "mean":
        # From the exact mean: 11.495 is 11, and rounded twice it would be 12.
        shown = replace(metric, scale=0) if rules.strict else metric
        return cohort_figure(shown).cast(metric.dtype)
    figure = cohort_figure(metric)
    if metric.percentile <= MEDIAN:
        return figure
    return pl.when(pl.len() >= rules.min_members_percentiles).then(figure).alias(metric.name)


def _may_stay(metric: CohortMetric, rules: ReleaseRules) -> pl.Expr:
    """Whether a figure of a release that stays may be shown on: what needs more members goes when they do (G9.2)."""
    if metric.statistic == "mean" or metric.percentile <= MEDIAN:
        return pl.col("_kept")
    return pl.col("_kept") & (pl.col("_members") >= rules.min_members_percentiles)


def _kept_size(rules: ReleaseRules) -> pl.Expr:
    size = pl.col("active_member_count_before").cast(pl.Int64)
    return (round_half_away(size, STRICT_STEP) * STRICT_STEP if rules.strict else size).cast(pl.Int32)


def _kept_figure(metric: CohortMetric, rules: ReleaseRules) -> pl.Expr:
    """A figure of a release that stays; rounded where it was released before the strict profile was chosen."""
    figure = pl.col(f"{metric.name}_before")
    if not rules.strict or metric.statistic != "mean":
        return figure
    units = 10**metric.scale
    return decimal_units(round_half_away((figure * units).cast(pl.Int64), units) * units, scale=metric.scale).cast(
        metric.dtype
    )


def _clock(as_of: datetime) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    hour = Hour.ending_at(as_of)
    return (
        pl.lit(hour.date).alias("snapshot_date"),
        pl.lit(hour.hour, dtype=pl.Int32).alias("snapshot_hour"),
        pl.lit(as_of, dtype=_INSTANT).alias("as_of"),
    )
