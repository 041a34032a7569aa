"""Attacks on the averages that are shown over time: one release, any two, and small combinations of up to three.

An average times the number of people is their sum. Any combination of sums is a sum over members again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghost_pipeline_tests.attacks.contributions import DAYS, FIGURES, MINUTES, STREAK, TASKS, WEEK
from ghost_pipeline_tests.attacks.isolation import Floats, Tally
from ghost_pipeline_tests.attacks.shown import Release, Shown
from ghost_pipeline_tests.attacks.worlds import Chance, Ints

REST = 14 * 24
"""Hours after which what returns is out of scope (G9.6)."""
LEVEL, DIFFERENCE, OLD_TOTAL, RANDOM = "A6 levels", "A4 differences", "A3 tasks - week", "A7 random sums"
COEFFICIENTS = np.arange(-2, 3)
BATCH = 20_000
RATE = 1e-5
"""Random sums that isolate someone by chance: a reader cannot tell which do (A7)."""


def levels_and_differences(shown: Shown) -> dict[str, Tally]:
    """Try every release by itself, and every two that are no further apart than 14 days."""
    tallies = {name: Tally() for name in (LEVEL, DIFFERENCE, OLD_TOTAL)}
    for name, releases in shown.releases.items():
        names = [shown.contributions[name].cohort.user_id(one) for one in range(shown.contributions[name].cohort.size)]
        for place, release in enumerate(releases):
            alone = [(release,)]
            _try(tallies[LEVEL], names, alone, [{(0, figure): 1} for figure in range(len(FIGURES))])
            _try(tallies[OLD_TOTAL], names, alone, [{(0, TASKS): 1, (0, WEEK): -1}])
            pairs = [(before, release) for before in releases[:place] if release.hour - before.hour <= REST]
            if pairs:
                _try(tallies[DIFFERENCE], names, pairs, [{(1, at): 1, (0, at): -1} for at in range(len(FIGURES))])
                _try(
                    tallies[OLD_TOTAL],
                    names,
                    pairs,
                    [
                        {(1, TASKS): 1, (1, WEEK): -1, (0, TASKS): -1, (0, WEEK): 1},
                        {(1, TASKS): 1, (1, WEEK): -1, (0, TASKS): -1},
                    ],
                )
    return tallies


Sum = dict[tuple[int, int], int]
"""Coefficients, by the place of a release in a tuple and the figure."""


@dataclass(frozen=True)
class _Words:
    """What each sum is, put into words only for those that isolate someone."""

    tuples: Sequence[tuple[Release, ...]]
    sums: Sequence[Sum]

    def __getitem__(self, row: int) -> str:
        kind, releases = divmod(row, len(self.tuples))
        return " ".join(
            f"{times:+d} {FIGURES[figure]}@{self.tuples[releases][at].hour}"
            for (at, figure), times in self.sums[kind].items()
        )


def _try(tally: Tally, names: list[str], tuples: Sequence[tuple[Release, ...]], sums: Sequence[Sum]) -> None:
    """Try each of some sums on each of some tuples of releases, at once: there are a million pairs."""
    parts, slack, seen = [], [], []
    for one in sums:
        taken = [([releases[at] for releases in tuples], figure, times) for (at, figure), times in one.items()]
        parts.append(sum(times * np.stack([of.parts[figure] for of in found]) for found, figure, times in taken))
        slack.append(sum(abs(times) * np.array([of.slack[figure] for of in found]) for found, figure, times in taken))
        seen.append(sum(times * np.array([of.shown_sum(figure) for of in found]) for found, figure, times in taken))
    every, room, what = np.concatenate(parts), np.concatenate(slack), _Words(tuples, sums)
    # What was shown has to be what the parts add up to: otherwise the attack does not understand the releases.
    wrong = np.flatnonzero(np.abs(np.concatenate(seen) - every.sum(axis=1)) > room + 1e-6)
    assert not len(wrong), what[int(wrong[0])]
    tally.judge(every, room, names, what)


def random_sums(shown: Shown, chance: Chance, number: int) -> Tally:
    """Try combinations, with coefficients from -2 to 2, of all sums of any two or three releases.

    Every other time of two or three in a row, between which the fewest people have changed.
    """
    tally = Tally()
    lively = {name: releases for name, releases in shown.releases.items() if len(releases) >= 3}
    share = number // max(1, len(lively))
    for name, releases in lively.items():
        cohort = shown.contributions[name].cohort
        names = [cohort.user_id(one) for one in range(cohort.size)]
        tries = max(1, min(share // 50, 400))
        for _ in range(tries):
            chosen = _some(chance, len(releases))
            if releases[chosen[-1]].hour - releases[chosen[0]].hour <= REST:
                parts, slack = _features([releases[one] for one in chosen])
                times = chance.choice(
                    COEFFICIENTS, (max(50, share // tries), len(parts)), p=[0.05, 0.2, 0.5, 0.2, 0.05]
                )
                words = [f"{name} random sum of releases {chosen}"] * len(times)
                tally.judge(times @ parts, np.abs(times) @ slack, names, words)
    allowed = RATE * tally.tried
    tally.notes = [f"{tally.won} of {tally.tried:,} sums isolate by chance, {allowed:.1f} may"]
    if tally.won <= max(1.0, allowed):
        tally.exact = tally.near = 0
        tally.people = set()
    return tally


def _some(chance: Chance, number: int) -> list[int]:
    """The places of two or three of some releases."""
    size = int(chance.integers(2, 4))
    if chance.random() < 0.5:
        first = int(chance.integers(0, number - size + 1))
        return list(range(first, first + size))
    return sorted(int(one) for one in chance.choice(number, size, replace=False))


def _features(releases: list[Release]) -> tuple[Ints, Floats]:
    """The sums of some releases: by release and figure what each member contributes, and the rounding."""
    order = (TASKS, WEEK, MINUTES, STREAK, DAYS)
    parts = np.concatenate([release.parts[list(order)] for release in releases])
    return parts, np.concatenate([release.slack[list(order)] for release in releases])
