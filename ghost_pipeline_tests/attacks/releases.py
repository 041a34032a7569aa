"""Attacks on the averages that are shown over time: one release, any two, and small combinations of up to three.

An average times the number of people is their sum. Any combination of sums is a sum over members again.
"""

from itertools import combinations

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
        for release in releases:
            one = (release,)
            _try(tallies[LEVEL], names, one, [({(0, figure): 1}) for figure in range(len(FIGURES))])
            _try(tallies[OLD_TOTAL], names, one, [{(0, TASKS): 1, (0, WEEK): -1}])
        for pair in combinations(releases, 2):
            if pair[1].hour - pair[0].hour <= REST:
                _try(tallies[DIFFERENCE], names, pair, [{(1, at): 1, (0, at): -1} for at in range(len(FIGURES))])
                _try(
                    tallies[OLD_TOTAL],
                    names,
                    pair,
                    [
                        {(1, TASKS): 1, (1, WEEK): -1, (0, TASKS): -1, (0, WEEK): 1},
                        {(1, TASKS): 1, (1, WEEK): -1, (0, TASKS): -1},
                    ],
                )
    return tallies


def _try(tally: Tally, names: list[str], releases: tuple[Release, ...], sums: list[dict[tuple[int, int], int]]) -> None:
    parts = np.stack(
        [sum((times * releases[at].parts[figure] for (at, figure), times in one.items()), np.int64(0)) for one in sums]
    )
    slack = np.array(
        [sum(abs(times) * releases[at].slack[figure] for (at, figure), times in one.items()) for one in sums]
    )
    what = [_words(releases, one) for one in sums]
    # What was shown has to be what the parts add up to: otherwise the attack does not understand the releases.
    for one, total, room in zip(sums, parts.sum(axis=1), slack, strict=True):
        seen = sum(
            times * float(releases[at].averages[figure]) * releases[at].size for (at, figure), times in one.items()
        )
        assert abs(seen - total) <= room + 1e-6, what
    tally.judge(parts, slack, names, what)


def _words(releases: tuple[Release, ...], one: dict[tuple[int, int], int]) -> str:
    return " ".join(f"{times:+d} {FIGURES[figure]}@{releases[at].hour}" for (at, figure), times in one.items())


def random_sums(shown: Shown, chance: Chance, number: int) -> Tally:
    """Try combinations, with coefficients from -2 to 2, of all sums of any two or three releases."""
    tally = Tally()
    lively = {name: releases for name, releases in shown.releases.items() if len(releases) >= 3}
    share = number // max(1, len(lively))
    for name, releases in lively.items():
        cohort = shown.contributions[name].cohort
        names = [cohort.user_id(one) for one in range(cohort.size)]
        tries = max(1, min(share // 50, 400))
        for _ in range(tries):
            chosen = sorted(chance.choice(len(releases), int(chance.integers(2, 4)), replace=False))
            if releases[chosen[-1]].hour - releases[chosen[0]].hour <= REST:
                parts, slack = _features([releases[one] for one in chosen])
                times = chance.choice(
                    COEFFICIENTS, (max(50, share // tries), len(parts)), p=[0.05, 0.2, 0.5, 0.2, 0.05]
                )
                words = [f"{name} random sum of releases {chosen}"] * len(times)
                tally.judge(times @ parts, np.abs(times) @ slack, names, words)
    allowed = RATE * tally.tried
    tally.note = f"{tally.won} of {tally.tried} sums, {allowed:.1f} allowed by chance"
    if tally.won <= allowed + 3 * allowed**0.5:
        tally.exact = tally.near = 0
        tally.people = set()
    return tally


def _features(releases: list[Release]) -> tuple[Ints, Floats]:
    """The sums of some releases: by release and figure what each member contributes, and the rounding."""
    order = (TASKS, WEEK, MINUTES, STREAK, DAYS)
    parts = np.concatenate([release.parts[list(order)] for release in releases])
    return parts, np.concatenate([release.slack[list(order)] for release in releases])
