"""Somebody who sees every release and controls one account, and what he can work out about the others (G9.6)."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.contracts.cohort_metrics import CONTRIBUTIONS
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row
from ghost_pipeline_tests.domain.ghost.release_hours import Peers, member, people
from ghost_pipeline_tests.reference.months import RULES

UNKNOWN_MEMBERS = 3
"""Fewer must never stand alone between two releases."""
COHORTS, ACCOUNTS, HOURS = 24, 14, 36
ATTACKER = 0
MOST_DAYS = 7
ABSENT = -1

Values = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""What each account contributes, or `ABSENT`."""


@dataclass
class Cohort:
    """Accounts that work, pause, leave and return; the first one is the attacker's."""

    chance: np.random.Generator
    values: Values = field(init=False)
    present: np.ndarray[tuple[int], np.dtype[np.bool_]] = field(init=False)
    lively: int = field(init=False)

    def __post_init__(self) -> None:
        """Begin with small numbers, which come back the sooner to what they were; few accounts do most."""
        self.values = self.chance.integers(0, 4, (ACCOUNTS, len(CONTRIBUTIONS)))
        self.present = self.chance.random(ACCOUNTS) < 0.9
        self.present[ATTACKER] = True
        self.lively = int(self.chance.integers(5, ACCOUNTS))

    def pass_an_hour(self) -> None:
        """Let some do something, most often fewer than a release needs; the attacker fills up where he likes."""
        for account in self.chance.integers(1, self.lively, self.chance.poisson(2.5)):
            self._act(account, self.chance.random())
        if self.chance.random() < 0.5:
            self._complete(ATTACKER)

    def _act(self, account: int, chance: float) -> None:
        if chance < 0.35 or not self.present[account]:
            # Leaves or returns as it was: excluded for a while, or in another cohort.
            self.present[account] = not self.present[account]
        elif chance < 0.65:
            self._complete(account)
        else:
            # A task turns seven days old, or a day passes without one.
            self.values[account, 1] = max(0, self.values[account, 1] - 1)
            self.values[account, 3] *= chance < 0.85
            self.values[account, 4] = max(0, self.values[account, 4] - (chance > 0.9))

    def _complete(self, account: int) -> None:
        more = [1, 1, *self.chance.integers(0, 2, 3)]
        self.values[account] += np.array(more)
        self.values[account, 4] = min(MOST_DAYS, self.values[account, 4])

    def contributions(self) -> Values:
        """What each account contributes now."""
        return np.where(self.present[:, None], self.values, ABSENT)


def play(seed: int, rules: ReleaseRules) -> list[dict[datetime, Values]]:
    """For each of some cohorts the releases that peers saw, and what each account had contributed to it."""
    chance = np.random.default_rng(seed)
    cohorts, peers = [Cohort(chance) for _ in range(COHORTS)], Peers(rules)
    seen: list[dict[datetime, Values]] = [{} for _ in range(COHORTS)]
    for _ in range(HOURS):
        now = [cohort.contributions() for cohort in cohorts]
        as_of = peers.as_of
        peers.see(pl.concat(map(frame, range(COHORTS), now)))
        for (cohort_id,), rows in peers.contributions.filter(pl.col("as_of") == as_of).group_by("cohort_id"):
            values = seen[int(str(cohort_id))][as_of] = np.full((ACCOUNTS, len(CONTRIBUTIONS)), ABSENT)
            values[rows["user_id"].str.slice(1).cast(int)] = rows.select(CONTRIBUTIONS).to_numpy()
        for cohort in cohorts:
            cohort.pass_an_hour()
    return seen


def frame(number: int, values: Values) -> pl.DataFrame:
    return (
        pl.DataFrame(values, schema=list(CONTRIBUTIONS), orient="row")
        .with_row_index("account")
        .select(pl.lit(str(number)).alias("cohort_id"), pl.format("u{}", "account").alias("user_id"), *CONTRIBUTIONS)
        .filter(pl.col("tasks_completed") != ABSENT)
    )


def isolated(seen: dict[datetime, Values], within: timedelta) -> Iterator[tuple[datetime, datetime, str]]:
    """Pairs of releases between which one or two unknown members alone changed in a figure.

    Any two releases that lie no further apart than `within`, and any two in a row. The attacker knows what he
    contributed himself.
    """
    times = list(seen)
    for one, other in combinations(times, 2):
        if other - one > within and times.index(other) - times.index(one) > 1:
            continue
        # Who is absent adds nothing to a sum.
        before, after = (np.maximum(np.delete(seen[at], ATTACKER, 0), 0) for at in (one, other))
        unknown = np.sum(before != after, axis=0)
        yield from (
            (one, other, name)
            for name, number in zip(CONTRIBUTIONS, unknown, strict=True)
            if 0 < number < UNKNOWN_MEMBERS
        )


@settings(deadline=None, max_examples=4, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_no_two_releases_isolate_fewer_than_three_unknown_members(seed: int) -> None:
    rules = RULES
    games = play(seed, rules)
    assert sum(map(len, games)) > 2 * COHORTS
    assert [list(isolated(seen, rules.compared)) for seen in games] == [[]] * COHORTS


@pytest.mark.parametrize(
    "weaker",
    [replace(RULES, min_changed=3, max_share_percent=100), replace(RULES, compared=HOUR)],
    ids=["three changes, one of them his own", "compared with the last release only"],
)
def test_a_weaker_rule_isolates_somebody(weaker: ReleaseRules) -> None:
    assert any(list(isolated(seen, RULES.compared)) for seen in play(20250312, weaker))


# --- attacks that are known ---


def total(row: Row) -> int | None:
    """The sum of the tasks, as anybody works it out from what is shown."""
    if not row["released"]:
        assert row["avg_tasks_completed"] is None
        return None
    tasks: Decimal = row["avg_tasks_completed"] * row["active_member_count"]
    return round(tasks)


def test_a_cohort_of_two_shows_nothing_to_subtract_oneself_from() -> None:
    # 2 x 21.5 - 5 would be the other one's 38.
    assert total(Peers().see([member(0, tasks_completed=5), member(1, tasks_completed=38)])["c1"]) is None


def test_the_task_of_one_member_does_not_show_from_one_hour_to_the_next() -> None:
    # 12.04 x 24 = 288.96 would be 289, one more than the 288 of the hour before.
    peers, members = Peers(), people(24)
    assert total(peers.see(members)["c1"]) == 288
    assert total(peers.see([{**members[0], "tasks_completed": 13}, *members[1:]])["c1"]) == 288


def test_a_small_cohort_does_not_follow_from_all_others() -> None:
    # 52 x 11 - 24 x 12 - 24 x 10 = 44 would be the sum of the four.
    four = [member(number, "c3", tasks_completed=11) for number in range(48, 52)]
    seen = Peers().see(
        [*people(24), *(member(number, "c2", tasks_completed=10) for number in range(24, 48)), *four],
    )
    assert {cohort: total(row) for cohort, row in seen.items()} == {"c1": 288, "c2": 240, "c3": None}


def test_a_member_who_dominates_does_not_follow_from_the_average() -> None:
    # 24 x 62.17 = 1,492 would be all but 92 tasks of one member.
    assert total(Peers().see([member(0, tasks_completed=1400), *people(24, tasks_completed=4)[1:]])["c1"]) is None


def test_one_who_leaves_does_not_follow_from_the_difference() -> None:
    peers, members = Peers(), people(24)
    assert total(peers.see([*members[1:], {**members[0], "tasks_completed": 40}])["c1"]) == 316
    assert total(peers.see(members[1:])["c1"]) == 316


def test_one_who_comes_and_goes_does_not_show_beside_one_who_fills_up() -> None:
    # Between the first and the third hour only the one with 40 tasks would have changed, who waits.
    peers, members = Peers(), people(24)
    newcomer = member(40, tasks_completed=40)
    assert total(peers.see(members)["c1"]) == 288
    busy = [{**row, "tasks_completed": 15} for row in members[:4]]
    assert total(peers.see([*busy, *members[4:]])["c1"]) == 300
    assert total(peers.see([*members, newcomer])["c1"]) == 288


def test_two_and_an_account_of_ones_own_are_not_released() -> None:
    peers, members = Peers(), people(24)
    peers.see(members)
    more = [{**row, "tasks_completed": 20} for row in members[:3]]
    assert total(peers.see([*more, *members[3:]])["c1"]) == 288
