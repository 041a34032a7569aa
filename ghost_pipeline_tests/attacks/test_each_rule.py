"""Without any one rule a reader wins, and with it they do not: each rule is there for something, and attacks can win.

Some rules overlap: two or three of them keep the same attack out. Each of these is taken away where the others already
are, so that it alone is left to keep the reader out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.defs import benchmarks, release
from ghost_pipeline.domain.ghost import cohort_ghost_release, release_comparison
from ghost_pipeline.domain.ghost.benchmarks import benchmark_changes, ghost_benchmarks
from ghost_pipeline.domain.ghost.release_comparison import Flags, Groups, Numbers, Rounding, balanced
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.windows import DAY
from ghost_pipeline_tests.attacks import moments
from ghost_pipeline_tests.attacks.diaries import CELLS, FIRST, METRICS, Diaries
from ghost_pipeline_tests.attacks.months import (
    ALL_STARTS,
    DAY_LEVELS,
    IMPROVERS,
    MEANS,
    REMAINING,
    SHARES,
    months,
    play_months,
)
from ghost_pipeline_tests.attacks.order_statistics import PERCENTILES, order_statistics
from ghost_pipeline_tests.attacks.playing import Tallies
from ghost_pipeline_tests.attacks.ranks import COHORT_RANK, GLOBAL_RANK, SLOW_RANK, ranks
from ghost_pipeline_tests.attacks.releases import DIFFERENCE, LEVEL, OLD_TOTAL, levels_and_differences
from ghost_pipeline_tests.attacks.shown import play
from ghost_pipeline_tests.attacks.withholding import HOLES, holes
from ghost_pipeline_tests.attacks.worlds import World
from ghost_pipeline_tests.reference.months import RULES

SEED = 20250312
Removal = Callable[[pytest.MonkeyPatch], dict[str, str]]
"""Takes a rule away, and returns the settings that do."""


def setting(name: str, value: int) -> Removal:
    return lambda _: {name: str(value)}


def replaced(module: object, name: str, value: object) -> Removal:
    def remove(patch: pytest.MonkeyPatch) -> dict[str, str]:
        patch.setattr(module, name, value)
        return {}

    return remove


def judged_without(judge: str, name: str) -> Removal:
    """Let one of the two tests of a release look at none of the sums of a name."""

    def remove(patch: pytest.MonkeyPatch) -> dict[str, str]:
        judged = getattr(cohort_ghost_release, judge)

        def without(*arguments: object) -> pl.DataFrame:
            with pytest.MonkeyPatch.context() as hidden:
                hidden.setattr(release_comparison, name, ())
                found: pl.DataFrame = judged(*arguments)
                return found

        patch.setattr(cohort_ghost_release, judge, without)
        return {}

    return remove


def numbers_only(
    values: Numbers, groups: Groups, rules: ReleaseRules, *, changed: bool = False, rounding: Rounding | None = None
) -> Flags:
    judged_by = replace(rules, max_share_percent=100) if changed else rules
    return balanced(values, groups, judged_by, changed=changed, rounding=rounding)


def of_both(people: pl.DataFrame, earlier: pl.DataFrame, rules: ReleaseRules) -> pl.DataFrame:
    """Compare only people who are in both."""
    person = ["cohort_id", "user_id"]
    people = people.join(earlier, on=person, how="semi", maintain_order="left")
    return release_comparison.isolating(people, earlier.join(people, on=person, how="semi"), rules)


def without_reasons(
    cohorts: pl.DataFrame,
    unbalanced: pl.DataFrame,
    released: pl.DataFrame,
    before: pl.DataFrame,
    as_of: datetime,
    rules: ReleaseRules,
) -> pl.DataFrame:
    before = before.with_columns(suppressed_reason=pl.lit(None, pl.String))
    return LEDGER(cohorts, unbalanced, released, before, as_of, rules)


LEDGER = cohort_ghost_release._ledger  # noqa: SLF001 - the rule is a line of it
EVERY_HOUR = replaced(
    release,
    "unranked_releases",
    lambda _, ledger: ledger.filter("released").select("cohort_id", released_as_of="as_of"),
)
SIZES_OF_CHANGES = replaced(release_comparison, "balanced", numbers_only)
STEPS_OF_RANKS = setting("GHOST_RANK_STEP_PERSONS", 1)
FEW_USERS = setting("GHOST_RANK_MIN_USERS", 1)
FIXED_FOR_THE_DAY = replaced(release, "day_before", lambda as_of: as_of)
STAY = setting("GHOST_RELEASE_STAY_HOURS", 2)
RANKED = ("rank", "few")
"""Cohorts whose readers look at their rank."""


@dataclass(frozen=True)
class Case:
    """A rule, and a world in which it alone keeps an attack out."""

    rule: str
    world: World
    removal: Removal
    winner: str
    beside: Sequence[Removal] = ()
    """What else is taken away, with the rule and without it."""


CASES = (
    Case("levels", moments.a_streak(), judged_without("dominated", "SUMS"), LEVEL),
    Case("levels of tasks - week", moments.an_early_member(), judged_without("dominated", "EARLIER_TOTALS"), OLD_TOTAL),
    Case("sizes of changes", moments.a_returner(), SIZES_OF_CHANGES, DIFFERENCE),
    Case(
        "number of changes",
        moments.one_task(),
        setting("GHOST_RELEASE_MIN_CHANGED", 1),
        DIFFERENCE,
        beside=(SIZES_OF_CHANGES,),
    ),
    Case(
        "changes of tasks - week",
        moments.a_week_ago(moments.MUCH, 100, 12),
        judged_without("isolating", "EARLIER_TOTALS"),
        OLD_TOTAL,
    ),
    Case(
        "the week in whole tasks",
        moments.a_week_ago(7, 3, 19),
        replaced(cohort_ghost_release, "_scale", lambda metric, _: metric.scale),
        OLD_TOTAL,
    ),
    Case(
        "every release of 14 days",
        moments.there_and_back(),
        setting("GHOST_RELEASE_COMPARED_HOURS", 1),
        DIFFERENCE,
    ),
    Case(
        "who comes or goes has changed",
        moments.one_falls_silent(12),
        replaced(cohort_ghost_release, "isolating", of_both),
        DIFFERENCE,
    ),
    Case("ten members", moments.four_members(), setting("GHOST_RELEASE_MIN_MEMBERS", 4), PERCENTILES),
    Case(
        "percentiles from 20",
        moments.eleven_members(),
        setting("GHOST_RELEASE_MIN_MEMBERS_PERCENTILES", 10),
        PERCENTILES,
    ),
    Case("48 hours of staying", moments.one_falls_silent(10), setting("GHOST_RELEASE_STAY_HOURS", 0), HOLES),
    Case(
        "the reason that stays",
        moments.one_falls_silent_unnoticed(),
        replaced(cohort_ghost_release, "_ledger", without_reasons),
        HOLES,
        beside=(STAY,),
    ),
    Case("ranks in steps of five", moments.passing(others=True), STEPS_OF_RANKS, SLOW_RANK),
    Case("ranks move with releases", moments.passing(others=False), EVERY_HOUR, COHORT_RANK, beside=(STEPS_OF_RANKS,)),
    Case(
        "ranks among all in steps of five",
        moments.few_users(6),
        STEPS_OF_RANKS,
        GLOBAL_RANK,
        beside=(FEW_USERS, FIXED_FOR_THE_DAY),
    ),
    Case(
        "no ranks among few",
        moments.few_users(6),
        FEW_USERS,
        GLOBAL_RANK,
        beside=(STEPS_OF_RANKS, FIXED_FOR_THE_DAY),
    ),
    Case(
        "ranks among all fixed for the day",
        moments.few_users(27),
        FIXED_FOR_THE_DAY,
        GLOBAL_RANK,
        beside=(STEPS_OF_RANKS, FEW_USERS),
    ),
)


def obtained(world: World, folder: Path, removals: Sequence[Removal] = ()) -> Tallies:
    """Play all attacks on releases and ranks of a world, without some rules."""
    with pytest.MonkeyPatch.context() as patch:
        variables = {name: value for one in removals for name, value in one(patch).items()}
        shown = play(world, folder, variables)
        ranked = [cohort.name for cohort in world.cohorts if cohort.name in RANKED]
        return {
            **levels_and_differences(shown),
            **order_statistics(shown),
            **holes(shown),
            **ranks(shown, ranked, ("cohort", "global")),
        }


def won(tallies: Tallies) -> dict[str, list[str]]:
    return {name: one.examples for name, one in tallies.items() if one.won}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_sizes_of_changes_imply_their_number(changes: list[int]) -> None:
    groups = Groups.of(np.array([len(changes)]))
    found = [balanced(np.array(changes), groups, replace(RULES, min_changed=one), changed=True) for one in (1, 4)]
    assert found[0] == found[1]


@pytest.mark.long
def test_with_all_rules_of_releases_nothing_is_isolated(tmp_path: Path) -> None:
    world = moments.together([case.world for case in CASES if not case.beside])
    assert won(obtained(world, tmp_path)) == {}


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in CASES if case.beside], ids=lambda case: case.rule)
def test_a_rule_of_releases_is_enough(case: Case, tmp_path: Path) -> None:
    assert won(obtained(case.world, tmp_path, case.beside)) == {}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_without_a_rule_of_releases_a_person_is_isolated(case: Case, tmp_path: Path) -> None:
    assert obtained(case.world, tmp_path, (*case.beside, case.removal))[case.winner].won


@dataclass(frozen=True)
class MonthCase:
    """A rule of months, and the attack that it keeps out."""

    rule: str
    removal: Removal
    winner: str


MONTH_CASES = (
    MonthCase("number of changes", setting("GHOST_RELEASE_MIN_CHANGED", 1), SHARES),
    MonthCase(
        "sizes of the changes of means",
        replaced(benchmark_changes, "levels_hold", lambda total, *_: np.ones_like(total, dtype=np.bool_)),
        MEANS,
    ),
    MonthCase("levels of means", replaced(ghost_benchmarks, "levels_hold", lambda *_: pl.lit(value=True)), DAY_LEVELS),
    MonthCase(
        "all starts without a small complement",
        replaced(benchmarks, "without_few_outside", lambda _, overall, *__, **___: set(overall)),
        ALL_STARTS,
    ),
    MonthCase(
        "changes of fastest improvers",
        replaced(benchmarks, "allowed_improvers", lambda _, __, keys, **___: set(keys)),
        IMPROVERS,
    ),
)


def two_months() -> Diaries:
    """Add one who enters in the second month, improves faster than all of that start, and practises more."""
    diaries = Diaries.draw(SEED, 2, {**CELLS, ("8.0", "5.0"): (0, 1)})
    *others, last = diaries.people
    minutes = np.minimum(40 * last.minutes, 1440)
    figures = last.figures.copy()
    figures[METRICS.index("practice_minutes")] = minutes.cumsum()
    return replace(diaries, people=(*others, replace(last, minutes=minutes, figures=figures, final_at=FIRST + DAY)))


def obtained_by_months(folder: Path, removals: Sequence[Removal] = ()) -> Tallies:
    """Play all attacks on two months of twelve days, without some rules."""
    with pytest.MonkeyPatch.context() as patch:
        # A third of the time would go into pictures.
        patch.setattr(benchmarks, "_curves", lambda *_: "not drawn")
        variables = {name: value for one in removals for name, value in one(patch).items()}
        diaries = two_months()
        return months(diaries, play_months(diaries, folder, {"GHOST_BENCHMARK_DAYS": "12", **variables}))


@pytest.mark.long
def test_with_all_rules_of_months_nothing_is_isolated(tmp_path: Path) -> None:
    tallies = obtained_by_months(tmp_path)
    assert won({name: one for name, one in tallies.items() if name not in REMAINING}) == {}


@pytest.mark.long
@pytest.mark.parametrize("case", MONTH_CASES, ids=lambda case: case.rule)
def test_without_a_rule_of_months_a_person_is_isolated(case: MonthCase, tmp_path: Path) -> None:
    assert obtained_by_months(tmp_path, (case.removal,))[case.winner].won
