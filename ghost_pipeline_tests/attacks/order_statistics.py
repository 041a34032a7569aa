"""Attacks on the percentiles of small cohorts (A6): with the own figure, they tell the largest other member's.

A single percentile without a name is out of scope (G9.6); what is computed from it and the own figure is not.
"""

import json
from collections.abc import Iterator
from typing import Any

from ghost_pipeline_tests.attacks.contributions import STREAK, TASKS
from ghost_pipeline_tests.attacks.isolation import HALF, TIMES, Tally
from ghost_pipeline_tests.attacks.shown import Release, Shown, hour_of
from ghost_pipeline_tests.attacks.worlds import READER
from ghost_pipeline_tests.running import run

PERCENTILES = "A6 percentiles of few"
_ROWS = "SELECT cohort_id, as_of::VARCHAR AS as_of, median_streak, top_10_percent_tasks FROM lake.cohort_ghost_release"
FOUR = 4
SECOND = 2
Claim = tuple[int, float, float]
"""A figure, and between which values the largest other member's is."""


def order_statistics(shown: Shown) -> dict[str, Tally]:
    """Compute the largest other member's figure from each release, where it tells that."""
    asked = run(["query", "--json", f"{_ROWS} WHERE released_as_of = as_of"], shown.settings.local)
    assert asked.returncode == 0, asked.stderr
    told = {(row["cohort_id"], hour_of(row["as_of"])): row for row in json.loads(asked.stdout)}
    tally = Tally()
    for name, releases in shown.releases.items():
        for release in releases:
            row = told[name, release.hour]
            tally.tried += 1
            for figure, low, high in (*_less_the_median(release, row), *_below_the_own(release, row)):
                others = release.parts[figure].copy()
                others[READER] = 0
                if low <= others.max() <= high and (high - low) * TIMES <= 2 * others.max():
                    tally.near += 1
                    tally.exact += int(high - low <= 1)
                    tally.people.add(shown.contributions[name].cohort.user_id(int(others.argmax())))
                    tally.examples.append(f"{name}@{release.hour}: largest other {low:.2f} to {high:.2f}")
    return {PERCENTILES: tally}


def _less_the_median(release: Release, row: dict[str, Any]) -> Iterator[Claim]:
    """Of four, the own smallest: the median is the mean of two, and the sum less these and the own one is another's."""
    own, median = int(release.parts[STREAK, READER]), row["median_streak"]
    if release.size == FOUR and 0 < own < median - 1:
        total = float(release.averages[STREAK]) * release.size
        room = 1 + release.slack[STREAK]
        yield STREAK, total - own - 2 * median - room, total - own - 2 * median + room


def _below_the_own(release: Release, row: dict[str, Any]) -> Iterator[Claim]:
    """Of up to eleven, the own largest: the 90th percentile is at the next, or between the two."""
    own, top = int(release.parts[TASKS, READER]), row["top_10_percent_tasks"]
    below, tenths = divmod(9 * (release.size - 1), 10)
    if top is not None and below == release.size - SECOND and own > top:
        share = tenths / 10
        yield TASKS, (top - HALF - share * own) / (1 - share), (top + HALF - share * own) / (1 - share)
