"""What a reader learns from a release by itself and beside each earlier one, judged figure by figure (G9.2, G9.3).

A sum, or the difference of two, must not be the figure of one or two people. So what all but the three largest hold of
it has to balance the two largest: one of the three may be the reader, who takes the own figure away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl

from ghost_pipeline.contracts.cohort_metrics import CONTRIBUTIONS, EARLIER_TOTALS, SUMS
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.domain.shared.levels import LARGEST, levels_hold

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Groups:
    """Consecutive values that belong together: where each group starts and how many values it has, at least one."""

    starts: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, sizes: Numbers) -> Self:
        """Groups of these sizes, one after the other."""
        return cls(np.cumsum(sizes) - sizes, sizes)

    @property
    def length(self) -> int:
        """Number of values in all groups."""
        return int(self.sizes.sum())

    def only(self, chosen: Flags) -> tuple[Self, Numbers]:
        """Some of the groups, and the places of their values."""
        some = self.of(self.sizes[chosen])
        return some, np.arange(some.length) + np.repeat(self.starts[chosen] - some.starts, some.sizes)

    def sums(self, values: Numbers) -> Numbers:
        """The sum of each group."""
        return np.add.reduceat(values, self.starts)

    def largest(self, values: Numbers) -> Numbers:
        """The largest value of each group."""
        return np.maximum.reduceat(values, self.starts)

    def three_largest(self, values: Numbers) -> tuple[Numbers, ...]:
        """The three largest values of each group, the largest first; 0 where there are fewer."""
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        ordered = values[np.lexsort((-values, group))]
        return tuple(
            np.where(self.sizes > place, ordered[self.starts + np.minimum(place, self.sizes - 1)], 0)
            for place in range(LARGEST)
        )


@dataclass(frozen=True)
class Rounding:
    """By how much a reader's sum of each group may be off: at most `people * unit / steps / 2`."""

    people: Numbers
    unit: int
    steps: int

    def of(self, chosen: Flags) -> "Rounding":
        """The same for some of the groups."""
        return replace(self, people=self.people[chosen])

    def balances(self, sums: Numbers, largest: Sequence[Numbers], rules: ReleaseRules) -> Flags:
        """Tell of each group whether the others, with the rounding, balance the two largest."""
        halves = 2 * self.steps
        held: Flags = levels_hold(
            halves * sums,
            [halves * one for one in largest],
            rules.max_share_percent,
            blur=self.people * self.unit,
        )
        return held


def dominated(people: pl.DataFrame, rules: ReleaseRules) -> pl.DataFrame:
    """Return cohort_id of the cohorts in which two people hold too much of a sum (G9.2).

    The total of a week before is a sum, too: of a cohort that began this week it may be that of one early member.
    Takes cohort_id and the `CONTRIBUTIONS` of people, those of a cohort one after the other.
    """
    cohorts = people.group_by("cohort_id", maintain_order=True).len()
    groups = Groups.of(_numbers(cohorts["len"]))
    passes = np.ones(cohorts.height, np.bool_)
    if cohorts.height:
        for name in SUMS:
            passes &= balanced(_numbers(people[name]), groups, rules)
        for one in EARLIER_TOTALS:
            earlier = _numbers(people[one.total]) - _numbers(people[one.part])
            passes &= balanced(earlier, groups, rules, rounding=Rounding(groups.sizes, one.unit, one.steps))
    return cohorts.filter(pl.Series(~passes)).select("cohort_id")


def isolating(people: pl.DataFrame, earlier: pl.DataFrame, rules: ReleaseRules) -> pl.DataFrame:
    """Return cohort_id of the cohorts whose release would tell too much beside an earlier one (G9.3).

    Args:
        people: cohort_id, user_id (the key) and the `CONTRIBUTIONS` of those whom the release would be about, sorted.
        earlier: cohort_id, as_of, user_id (the key) and the `CONTRIBUTIONS` to earlier releases.
        rules: the thresholds.

    """
    both = _Both.of(people, earlier)
    if both is None:
        return people.select("cohort_id").clear()
    passes = np.ones(both.releases.height, np.bool_)
    for name in CONTRIBUTIONS:
        passes &= balanced(abs(both.now(name) - both.then(name)), both.groups, rules, changed=True)
    for one in EARLIER_TOTALS:
        total = both.now(one.total) - both.now(one.part)
        people_now, people_then = both.people_now, both.people_then
        for earlier_total, rounded in (
            (both.then(one.total) - both.then(one.part), people_now + people_then),
            (both.then(one.total), people_now),
        ):
            rounding = Rounding(rounded, one.unit, one.steps)
            passes &= balanced(abs(total - earlier_total), both.groups, rules, rounding=rounding)
    return both.releases.filter(pl.Series(~passes)).select("cohort_id").unique()


def balanced(
    values: Numbers, groups: Groups, rules: ReleaseRules, *, changed: bool = False, rounding: Rounding | None = None
) -> Flags:
    """Tell of each group whether its values, none of them negative, may be shown as one sum (G9.2, G9.3).

    Args:
        values: what each person holds.
        groups: whose values are summed.
        rules: the thresholds.
        changed: whether the values are changes, of which there must be none or enough (G9.3a).
        rounding: of what is shown, which counts as held by others (G9.3c).

    """
    rounded = Rounding(np.zeros_like(groups.sizes), 1, 1) if rounding is None else rounding
    sums, largest = groups.sums(values), groups.largest(values)
    # Nearly all groups pass by their sum and their largest value, which costs a third of ordering them.
    passes = rounded.balances(np.maximum(sums, LARGEST * largest), (largest,) * LARGEST, rules)
    if changed:
        passes &= (sums > (rules.min_changed - 1) * largest) | (sums == 0)
    if passes.all():
        return passes
    unsure = ~passes
    some, places = groups.only(unsure)
    found = rounded.of(unsure).balances(sums[unsure], some.three_largest(values[places]), rules)
    if changed:
        number = some.sums((values[places] > 0).astype(np.int64))
        found &= (number == 0) | (number >= rules.min_changed)
    passes[unsure] = found
    return passes


@dataclass(frozen=True)
class _Both:
    """People now beside those of each earlier release: who is in one of the two has 0 in the other."""

    releases: pl.DataFrame
    """cohort_id and as_of of the releases."""
    groups: Groups
    """For each of them those who are people now, then those who have left."""
    people_now: Numbers
    people_then: Numbers
    _now: dict[str, Numbers]
    _then: dict[str, Numbers]

    @classmethod
    def of(cls, people: pl.DataFrame, earlier: pl.DataFrame) -> "_Both | None":
        """Put people beside each earlier release of their cohorts; None if there is none."""
        cohorts = (
            people.group_by("cohort_id", maintain_order=True)
            .agg(
                pl.len().cast(pl.Int64).alias("_size"),
            )
            .with_columns(_first=pl.col("_size").cum_sum() - pl.col("_size"))
        )
        place = pl.int_range(pl.len(), dtype=pl.Int64).over("cohort_id").alias("_place")
        matched = earlier.join(cohorts, on="cohort_id").join(
            people.select("cohort_id", "user_id", place), on=["cohort_id", "user_id"], how="left"
        )
        if not matched.height:
            return None
        release = ["cohort_id", "as_of"]
        matched = matched.with_columns(_gone=pl.col("_place").is_null())
        releases = (
            matched.group_by(release)
            .agg(
                pl.col("_size", "_first").first(),
                pl.len().cast(pl.Int64).alias("_then"),
                pl.col("_gone").sum().cast(pl.Int64),
            )
            .with_columns(_all=pl.col("_size") + pl.col("_gone"))
            .with_columns(_start=pl.col("_all").cum_sum() - pl.col("_all"))
        )
        matched = matched.join(releases.select(*release, "_start"), on=release).with_columns(
            _place=pl.col("_start")
            + pl.when("_gone").then(pl.col("_size") - 1 + pl.col("_gone").cum_sum().over(release)).otherwise("_place")
        )
        groups = Groups(_numbers(releases["_start"]), _numbers(releases["_all"]))
        sizes = _numbers(releases["_size"])
        of_now = Groups.of(sizes)
        offset = np.arange(of_now.length) - np.repeat(of_now.starts, sizes)
        from_now = np.repeat(_numbers(releases["_first"]), sizes) + offset
        to_now = np.repeat(groups.starts, sizes) + offset
        places = _numbers(matched["_place"])

        def spread(values: Numbers, where: Numbers) -> Numbers:
            everyone = np.zeros(groups.length, np.int64)
            everyone[where] = values
            return everyone

        return cls(
            releases.select(release),
            groups,
            sizes,
            _numbers(releases["_then"]),
            {name: spread(_numbers(people[name])[from_now], to_now) for name in CONTRIBUTIONS},
            {name: spread(_numbers(matched[name]), places) for name in CONTRIBUTIONS},
        )

    def now(self, name: str) -> Numbers:
        """What everyone contributes now."""
        return self._now[name]

    def then(self, name: str) -> Numbers:
        """What everyone contributed then."""
        return self._then[name]


def _numbers(column: pl.Series) -> Numbers:
    """The numbers of a column; of one that an earlier version did not keep, and so did not show, zeros."""
    return column.fill_null(0).cast(pl.Int64).to_numpy()
