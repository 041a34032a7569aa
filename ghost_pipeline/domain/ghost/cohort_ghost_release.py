"""The release of cohort figures: when new figures are shown, when earlier ones stay, when none are shown (G9).

Pure rules over the members, the ledger's newest rows and what people contributed to earlier releases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CONTRIBUTIONS, CohortMetric
from ghost_pipeline.contracts.ghost import COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.contracts.raw import GLOBAL_COHORT
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_figure
from ghost_pipeline.domain.ghost.release_comparison import dominated, isolating
from ghost_pipeline.domain.ghost.release_rules import ACTIVE, POPULATIONS, STRICT_STEP, ReleaseRules
from ghost_pipeline.domain.shared.rounding import decimal_units, round_half_away
from ghost_pipeline.domain.shared.versions import keys_with_several
from ghost_pipeline.windows import Hour

TOO_FEW_MEMBERS, DOMINATED, TOO_FEW_CHANGES = "too_few_members", "dominated", "too_few_changes"

MEDIAN = 50

_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Release:
    """What an hour adds."""

    ledger: pl.DataFrame
    """Rows of `cohort_ghost_release`."""
    contributions: pl.DataFrame
    """Rows of `cohort_release_contributions`, of the cohorts with a new release."""


def moved_users(versions: pl.LazyFrame, as_of: datetime, rules: ReleaseRules) -> pl.LazyFrame:
    """Return user_id of those who were members of more than one cohort in the time that releases are compared with.

    Takes versions of `users`: user_id, cohort_id, updated_at, valid_from and seen_at; those of users who have a single
    one may be left out. `global` is no cohort of theirs (G3.1).
    """
    cohort = pl.when(pl.col("cohort_id") != GLOBAL_COHORT).then("cohort_id")
    return keys_with_several(
        versions.with_columns(cohort_id=cohort), "user_id", "cohort_id", as_of - rules.compared, as_of
    )


def member_contributions(user_stats: pl.LazyFrame, moved: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return what each member who may be released contributes to the figures of the cohort at `as_of`.

    Who has moved between cohorts is in no release until those of the other cohort are no longer compared with: the sums
    of two cohorts that exchange people, or of one under two names, would isolate one person (decision 56).

    Args:
        user_stats: the output of `user_ghost_stats` for `as_of`.
        moved: user_id of `moved_users`.
        as_of: the end of the hour.

    Returns:
        The columns of `cohort_release_contributions` and is_active_member Boolean, sorted by cohort and user (the key).
        `global` has no members (G3.1), and who is excluded is none.

    """
    return (
        user_stats.filter(~pl.col("cohort_excluded"), pl.col("cohort_id") != GLOBAL_COHORT)
        .join(moved, on="user_id", how="anti")
        .select("cohort_id", "user_id", *_clock(as_of), *CONTRIBUTIONS, "is_active_member")
        .sort("cohort_id", "user_id")
    )


def cohort_ghost_release(
    members: pl.LazyFrame,
    before: pl.LazyFrame,
    newest: pl.LazyFrame,
    older: Sequence[pl.LazyFrame],
    as_of: datetime,
    rules: ReleaseRules,
) -> Release:
    """Return the figures of each cohort that peers may see from `as_of` on, and what they were made of.

    A cohort gets a new release of the first population that may be shown (G9.1 to G9.3). If there is none, its last
    release stays up to its greatest age; then, and without one, the cohort is suppressed.

    Args:
        members: the output of `member_contributions` for `as_of`.
        before: the newest ledger rows before `as_of`, one per cohort.
        newest: contributions to the releases that `before` names in last_release_as_of. A cohort whose are missing
            gets no new release.
        older: contributions to all other releases of the time that `rules` compare with, in parts, each of which is
            looked at for the cohorts that have passed so far. In these and in `newest`, further rows do not count.
        as_of: the end of the hour.
        rules: the thresholds.

    Returns:
        A ledger row for each cohort with an active member and each of `before`, sorted by cohort_id (the key); new
        releases are those with released_as_of = `as_of`.

    """
    entries = before.collect()
    last_of_cohorts = entries.select("cohort_id", as_of="last_release_as_of").drop_nulls()
    recent, of_last = newest.collect(), ["cohort_id", "as_of"]
    last = recent.join(last_of_cohorts, on=of_last, how="semi")
    people = _people(members, last)
    cohorts = _cohorts(people, rules)
    in_time = pl.col("as_of") >= as_of - rules.compared
    others = recent.join(last_of_cohorts, on=of_last, how="anti").filter(in_time)
    beside = [pl.concat([last, others]).lazy(), *(part.filter(in_time) for part in older)]
    released, unbalanced = _released(people, _without(cohorts, _without(last_of_cohorts, last)), beside, rules)
    return Release(
        _ledger(cohorts, unbalanced, released, entries, as_of, rules),
        released.select(*COHORT_RELEASE_CONTRIBUTIONS.polars_schema),
    )


def _people(members: pl.LazyFrame, last: pl.DataFrame) -> pl.DataFrame:
    """Active members and those of the last release, with _last Boolean, in the order of `members`."""
    in_last = last.lazy().select("cohort_id", "user_id", _last=pl.lit(value=True))
    return (
        members.join(in_last, on=["cohort_id", "user_id"], how="left", maintain_order="left")
        .with_columns(pl.col("_last").fill_null(value=False))
        .filter(pl.col("is_active_member") | pl.col("_last"))
        .collect()
    )


def _cohorts(people: pl.DataFrame, rules: ReleaseRules) -> pl.DataFrame:
    """Return cohort_id, _active (number of active members) and which populations are tried, sorted by cohort_id.

    One that is as large as G9.1 demands and not the same people as one before it.
    """

    def is_tried(number: int) -> pl.Expr:
        population = POPULATIONS[number]
        repeated = pl.any_horizontal(pl.lit(value=False), *((population == one).all() for one in POPULATIONS[:number]))
        return (ACTIVE.sum() >= rules.min_members) & (population.sum() >= rules.min_members) & ~repeated

    return (
        people.group_by("cohort_id")
        .agg(_active=ACTIVE.sum(), **{f"_tried_{number}": is_tried(number) for number in range(len(POPULATIONS))})
        .sort("cohort_id")
    )


def _released(
    people: pl.DataFrame, cohorts: pl.DataFrame, beside: Sequence[pl.LazyFrame], rules: ReleaseRules
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the people of the new releases, and cohort_id of those whose active members break the rule of levels.

    The people are sorted by cohort and user.
    """
    chosen, unbalanced = [people.clear()], cohorts.clear()
    for number, population in enumerate(POPULATIONS):
        tried = people.filter(population).join(
            cohorts.filter(f"_tried_{number}"), on="cohort_id", how="semi", maintain_order="left"
        )
        failed = dominated(tried, rules)
        if number == 0:
            unbalanced = failed
        tried = _without(tried, failed)
        # Newest first: most that fail do so there, and no older file is read for them.
        for part in beside:
            if tried.is_empty():
                break
            earlier = part.join(tried.lazy().select("cohort_id").unique(), on="cohort_id", how="semi").collect()
            tried = _without(tried, isolating(tried, earlier, rules))
        chosen.append(tried)
        cohorts = _without(cohorts, tried)
    return pl.concat(chosen).sort("cohort_id", "user_id"), unbalanced


def _without(rows: pl.DataFrame, cohorts: pl.DataFrame) -> pl.DataFrame:
    return rows.join(cohorts, on="cohort_id", how="anti", maintain_order="left")


def _ledger(
    cohorts: pl.DataFrame,
    unbalanced: pl.DataFrame,
    released: pl.DataFrame,
    before: pl.DataFrame,
    as_of: datetime,
    rules: ReleaseRules,
) -> pl.DataFrame:
    figures = released.group_by("cohort_id").agg(
        pl.lit(value=True).alias("_new"),
        _shown_size(pl.len(), rules).alias("active_member_count"),
        *(_released_figure(metric, rules) for metric in COHORT_METRICS),
    )
    now = (
        cohorts.filter(pl.col("_active") > 0)
        .join(figures, on="cohort_id", how="left")
        .join(unbalanced.select("cohort_id", _unbalanced=pl.lit(value=True)), on="cohort_id", how="left")
    )
    reason = (
        pl.when(pl.col("_active").fill_null(0) < rules.min_members)
        .then(pl.lit(TOO_FEW_MEMBERS))
        .when("_unbalanced")
        .then(pl.lit(DOMINATED))
        .otherwise(pl.lit(TOO_FEW_CHANGES))
    )
    stays = pl.col("released") & (pl.col("released_as_of") >= as_of - rules.stay)
    this = pl.lit(as_of, dtype=_INSTANT)
    return (
        now.join(
            before.drop("as_of", "snapshot_date", "snapshot_hour"),
            on="cohort_id",
            how="full",
            coalesce=True,
            suffix="_before",
        )
        .with_columns(pl.col("_new").fill_null(value=False), _stays=stays.fill_null(value=False))
        .with_columns(_kept=~pl.col("_new") & pl.col("_stays"))
        .select(
            "cohort_id",
            *_clock(as_of),
            released=pl.col("_new") | pl.col("_kept"),
            # The reason of the hour that began it: one that changed would tell what changed in that very hour.
            suppressed_reason=pl.when(~pl.col("_new") & ~pl.col("_kept")).then(
                pl.coalesce("suppressed_reason", reason)
            ),
            released_as_of=pl.when("_new").then(this).when("_kept").then("released_as_of"),
            last_release_as_of=pl.when("_new").then(this).otherwise("last_release_as_of"),
            active_member_count=pl.when("_new")
            .then("active_member_count")
            .when("_kept")
            .then(_shown_size(pl.col("active_member_count_before"), rules)),
            **{
                metric.name: pl.when("_new").then(metric.name).when("_kept").then(_kept_figure(metric, rules))
                for metric in COHORT_METRICS
            },
        )
        .sort("cohort_id")
    )


def _shown_size(size: pl.Expr, rules: ReleaseRules) -> pl.Expr:
    size = size.cast(pl.Int64)
    return (round_half_away(size, STRICT_STEP) * STRICT_STEP if rules.strict else size).cast(pl.Int32)


def _released_figure(metric: CohortMetric, rules: ReleaseRules) -> pl.Expr:
    if metric.statistic == "mean":
        # From the exact mean: 11.495 is 11, and rounded twice it would be 12.
        return cohort_figure(replace(metric, scale=_scale(metric, rules))).cast(metric.dtype)
    figure = cohort_figure(metric)
    return pl.when(pl.len() >= rules.percentiles_from).then(figure).alias(metric.name) if _is_top(metric) else figure


def _kept_figure(metric: CohortMetric, rules: ReleaseRules) -> pl.Expr:
    """A figure of a release that stays, as the profile and the thresholds of now show it."""
    figure = pl.col(f"{metric.name}_before")
    if _is_top(metric):
        return pl.when(pl.col("active_member_count_before") >= rules.percentiles_from).then(figure)
    if metric.statistic != "mean" or (scale := _scale(metric, rules)) == metric.scale:
        return figure
    step = 10 ** (metric.scale - scale)
    units = (figure * 10**metric.scale).cast(pl.Int64)
    return decimal_units(round_half_away(units, step) * step, scale=metric.scale).cast(metric.dtype)


def _scale(metric: CohortMetric, rules: ReleaseRules) -> int:
    return 0 if rules.strict else metric.shown_scale


def _is_top(metric: CohortMetric) -> bool:
    return metric.statistic == "percentile" and metric.percentile > MEDIAN


def _clock(as_of: datetime) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    hour = Hour.ending_at(as_of)
    return (
        pl.lit(hour.date).alias("snapshot_date"),
        pl.lit(hour.hour, dtype=pl.Int32).alias("snapshot_hour"),
        pl.lit(as_of, dtype=_INSTANT).alias("as_of"),
    )
