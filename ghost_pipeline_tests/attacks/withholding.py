"""Attacks on what is withheld, and when (A5, A6): a row that vanishes, or a reason that changes, answers a question.

The hour is what tells: a claim counts if the world agrees, and if the same claim at other hours is right much less
often.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ghost_pipeline_tests.attacks.contributions import ACTIVE_HOURS, FIGURES, MINUTES, TASKS, Contributions
from ghost_pipeline_tests.attacks.isolation import TIMES, Tally
from ghost_pipeline_tests.attacks.shown import Release, Shown, Told
from ghost_pipeline_tests.attacks.worlds import READER

WITHHELD, STOPS, HOLES = "A5 row withheld", "A5 releases stop", "A6 holes"
DOMINATED, TOO_FEW_MEMBERS = "dominated", "too_few_members"
MUCH = 5
"""How many times as often as at other hours a claim has to be right."""
STOPPED = 24
"""Hours without a new release after which a reader takes them to have stopped."""


def dominance(shown: Shown, cohorts: tuple[str, ...]) -> dict[str, Tally]:
    """Raise the own tasks or minutes until the row is withheld, the reason changes, or no new release comes."""
    tallies = {name: Tally() for name in (WITHHELD, STOPS)}
    for name in cohorts:
        people, told = shown.contributions[name], shown.told[name]
        for tally, hours in (
            (tallies[WITHHELD], list(_begins(told, DOMINATED))),
            (tallies[STOPS], list(_stops(shown.releases[name], told[-1].hour))),
        ):
            tally.tried += len(told)
            for hour in hours:
                for figure in (TASKS, MINUTES):
                    _claim_largest(tally, people, shown.releases[name], hour, figure)
    return tallies


def _begins(told: list[Told], reason: str) -> Iterator[int]:
    """The hours in which a reason is given that was not given the hour before."""
    yield from (after.hour for before, after in pairwise(told) if after.reason == reason != before.reason)


def _stops(releases: list[Release], last: int) -> Iterator[int]:
    """The hours after which no new release comes for a day."""
    hours = [release.hour for release in releases]
    yield from (one + 1 for one, other in pairwise([*hours, last]) if other - one > STOPPED)


def _claim_largest(tally: Tally, people: Contributions, releases: list[Release], hour: int, figure: int) -> None:
    """Claim the largest other member's figure, by a limit of 90 %, or the two largest ones', by that of three."""
    known = [release for release in releases if release.hour < hour]
    if not known:
        return
    others = int(known[-1].parts[figure].sum() - known[-1].parts[figure, READER])

    def claims(at: int) -> list[tuple[float, float, int]]:
        own = [int(people.values[figure, READER, one]) for one in (at - 1, at)]
        one = (0.9 * others - 0.1 * own[1], 0.9 * others - 0.1 * own[0])
        left = (others - own[1] / 9, others - own[0] / 9)
        return [(*one, 1), (left[0] * 9 / 10, left[1] * 18 / 19, 2)]

    def is_right(at: int, low: float, high: float, number: int) -> bool:
        values = np.sort(np.where(people.active[1:, at], people.values[figure, 1:, at], 0))
        return low - 1e-9 <= int(values[-number:].sum()) <= high + 1e-9

    other_hours = [release.hour for release in releases] + list(range(hour - 24, hour + 24))
    other_hours = [at for at in other_hours if abs(at - hour) > 2 and 0 < at < people.values.shape[2]]
    for place, (low, high, number) in enumerate(claims(hour)):
        if low <= 0 or high - low > low / TIMES:
            continue
        elsewhere = np.mean([is_right(at, *claims(at)[place]) for at in other_hours])
        if is_right(hour, low, high, number) and elsewhere * MUCH <= 1:
            tally.near += 1
            tally.exact += high - low <= 1
            values = np.where(people.active[:, hour], people.values[figure, :, hour], 0)
            values[READER] = 0
            tally.people.add(people.cohort.user_id(int(values.argmax())))
            tally.examples.append(
                f"{people.cohort.name}@{hour}: {FIGURES[figure]}, {number} largest {low:.1f} to {high:.1f}"
            )


def holes(shown: Shown) -> dict[str, Tally]:
    """Take the hour from which too few are active for that of a member's last activity, 14 days later."""
    tally = Tally()
    for name, told in shown.told.items():
        people = shown.contributions[name]
        last = np.where(people.cohort.tasks > 0, np.arange(people.cohort.tasks.shape[1]), -1).max(axis=1)
        for hour in _begins(told, TOO_FEW_MEMBERS):
            tally.tried += 1
            # Of a member who did nothing since.
            who = [one for one in range(1, people.cohort.size) if last[one] == hour - ACTIVE_HOURS]
            elsewhere = np.mean([np.isin(last[1:], hour - ACTIVE_HOURS + shift).any() for shift in range(-12, 13)])
            if who and elsewhere * MUCH <= 1:
                tally.exact, tally.near = tally.exact + 1, tally.near + 1
                tally.people.add(people.cohort.user_id(who[0]))
    return {HOLES: tally}
