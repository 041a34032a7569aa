"""Releases of cohorts that live for days, against the rules in plain Python."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row
from ghost_pipeline_tests.domain.ghost.release_hours import NOON, Peers
from ghost_pipeline_tests.reference.plain_release import FIGURES, PlainPeers

COHORTS, ACCOUNTS, HOURS = 12, 17, 60


class Cohort:
    """Accounts that work, pause, fall silent, leave and return; a few do most."""

    def __init__(self, chance: np.random.Generator, number: int) -> None:
        self.chance, self.name = chance, f"c{number}"
        self.lively = int(chance.integers(4, ACCOUNTS))
        self.rows: list[Row] = [
            {
                "cohort_id": self.name,
                "user_id": f"{self.name}-{account:02}",
                **{name: int(chance.integers(0, 4)) for name in FIGURES},
                "is_active_member": bool(chance.random() < 0.85),
            }
            for account in range(ACCOUNTS)
        ]
        for row in self.rows:
            row["tasks_completed"] += row["tasks_this_week"]
        self.present = [bool(chance.random() < 0.9) for _ in self.rows]

    def pass_an_hour(self) -> None:
        for account in self.chance.integers(0, self.lively, self.chance.poisson(2)):
            row, chance = self.rows[account], self.chance.random()
            if chance < 0.06:
                self.present[account] = not self.present[account]
            elif chance < 0.12:
                row["is_active_member"] = not row["is_active_member"]
            elif chance < 0.65:
                tasks = int(self.chance.choice([1, 1, 1, 2, 30]))
                row["tasks_completed"] += tasks
                row["tasks_this_week"] += tasks
                row["practice_time_ms"] += int(self.chance.integers(0, 2)) * 60_000 * tasks
                row["current_streak"] += int(self.chance.integers(0, 2))
                row["days_practiced"] = min(7, row["days_practiced"] + int(self.chance.integers(0, 2)))
            else:
                row["tasks_this_week"] = max(0, row["tasks_this_week"] - 1)
                row["current_streak"] *= int(self.chance.random() < 0.9)
                row["days_practiced"] = max(0, row["days_practiced"] - int(self.chance.integers(0, 2)))

    def members(self) -> list[Row]:
        return [dict(row) for row, present in zip(self.rows, self.present, strict=True) if present]


@settings(deadline=None, max_examples=3, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 0, 9, 30]))
def test_releases_are_those_of_the_rules_in_plain_words(seed: int, pause: int) -> None:
    chance = np.random.default_rng(seed)
    cohorts, peers = [Cohort(chance, number) for number in range(COHORTS)], Peers()
    plain = [PlainPeers() for _ in cohorts]
    as_of, stays = NOON, set()
    for hour in range(HOURS):
        later = pause if hour % 10 == 9 else 0
        as_of += later * HOUR
        rows = [row for cohort in cohorts for row in cohort.members()]
        shuffled = pl.DataFrame(rows, infer_schema_length=None).sample(fraction=1, shuffle=True, seed=seed % 1000)
        seen = peers.see(shuffled, later=later)
        for cohort, one in zip(cohorts, plain, strict=True):
            members = {row["user_id"]: row for row in cohort.members()}
            active = {name for name, row in members.items() if row["is_active_member"]}
            expected = one.see(members, active, as_of)
            row = seen[cohort.name]
            assert (row["released_as_of"], row["suppressed_reason"]) == expected
            stays.add((expected[0] == as_of) if expected[0] else expected[1])
            if expected[0] == as_of:
                people = one.releases[as_of]
                assert row["active_member_count"] == len(people)
                total = sum(person["tasks_completed"] for person in people.values())
                assert float(row["avg_tasks_completed"]) == pytest.approx(total / len(people), abs=0.005001)
            cohort.pass_an_hour()
        as_of += HOUR
    assert {True, False} <= stays


def test_the_world_reaches_every_outcome() -> None:
    """The laws above say little about outcomes that the generated cohorts never have."""
    chance = np.random.default_rng(3)
    cohorts, outcomes, others = [Cohort(chance, number) for number in range(COHORTS)], set(), 0
    plain = [PlainPeers() for _ in cohorts]
    for hour in range(3 * HOURS):
        as_of = NOON + timedelta(hours=hour)
        for cohort, one in zip(cohorts, plain, strict=True):
            members = {row["user_id"]: row for row in cohort.members()}
            active = {name for name, row in members.items() if row["is_active_member"]}
            released, reason = one.see(members, active, as_of)
            outcomes.add(reason or ("new" if released == as_of else "stays"))
            others += released == as_of and one.releases[as_of].keys() != active
            cohort.pass_an_hour()
    assert outcomes >= {"new", "stays", "too_few_members", "dominated"}
    assert others > 3
