"""Attacks on the rank that is shown (A1): with each of its own figures, the reader's rank compares with everybody.

At a higher own figure, or at a later time, some more or some fewer are below: so many peers have a figure in between.
A claim about one or two peers counts if the world agrees, and if the claims of an attack are right at least twice as
often as the same claims at other values. Five at a time are the edge of a step, which is out of scope (G9.6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from ghost_pipeline_tests.attacks.contributions import MINUTES, STREAK, TASKS, Contributions
from ghost_pipeline_tests.attacks.isolation import FEW, TIMES, Tally
from ghost_pipeline_tests.attacks.shown import Shown
from ghost_pipeline_tests.attacks.worlds import READER, Cohort, Ints, as_of

COHORT_RANK, GLOBAL_RANK, SLOW_RANK = "A1 rank, cohort", "A1 rank, global", "A1 slow, rank of releases"
BY_BASE = {"cohort": COHORT_RANK, "global": GLOBAL_RANK}
METRICS = {"tasks_completed": TASKS, "practice_time": MINUTES, "streak": STREAK}
BETTER = 2
"""How many times as often as elsewhere the claims of an attack have to be right."""
STEP, MOST = 5, 0.75
"""Persons by which a reader takes ranks to move, if that explains so many of those that are shown."""
REST = 14 * 24


@dataclass(frozen=True)
class _Seen:
    """A rank, and what the reader had done at the hour that it is taken to be of."""

    hour: int
    own: int
    rank: int
    members: int


@dataclass(frozen=True)
class _Claim:
    """So many peers have a figure from `low` to `high` at an hour."""

    hour: int
    low: int
    high: int
    peers: int


def ranks(shown: Shown, cohorts: Sequence[str], bases: Sequence[str] = ("cohort",)) -> dict[str, Tally]:
    """Try every rank that is shown to the readers of some cohorts: as if of the hour, and as if of the release."""
    tallies: dict[str, Tally] = {}
    for (name, base, figure), seen in _told(shown, cohorts, bases).items():
        people = _everyone(shown, name) if base == "global" else shown.contributions[name]
        every_hour = [_seen(people, figure, hour, rank) for hour, rank in seen]
        tallies.setdefault(BY_BASE[base], Tally()).add(_attack(people, figure, every_hour))
        if base == "cohort":
            released = {one.hour: one.release_hour for one in shown.told[name]}
            at_release = {released[hour]: rank for hour, rank in seen}
            slow = [_seen(people, figure, hour, rank) for hour, rank in at_release.items() if hour is not None]
            tallies.setdefault(SLOW_RANK, Tally()).add(_attack(people, figure, slow))
    return tallies


def _told(
    shown: Shown, cohorts: Sequence[str], bases: Sequence[str]
) -> dict[tuple[str, str, int], list[tuple[int, int]]]:
    """The ranks of each hour that has one, by cohort, base and figure; the tables of an hour are read once."""
    reader = shown.reader()
    told: dict[tuple[str, str, int], list[tuple[int, int]]] = {
        key: [] for key in product(cohorts, bases, METRICS.values())
    }
    for hour, name, base, (metric, figure) in product(shown.world.played, cohorts, bases, METRICS.items()):
        user_id = shown.contributions[name].cohort.user_id(READER)
        rank = reader.percentile(user_id, metric, base, as_of(hour)).percentile
        if rank is not None:
            told[name, base, figure].append((hour, rank))
    return told


def _everyone(shown: Shown, first: str) -> Contributions:
    """All users as if they were one cohort, with the reader of `first` as its reader."""
    cohorts = sorted(shown.world.cohorts, key=lambda cohort: cohort.name != first)
    tasks, minutes, joined = (
        np.concatenate([getattr(cohort, name) for cohort in cohorts]) for name in ("tasks", "minutes", "joined")
    )
    return Contributions.of(Cohort("everyone", tasks, minutes, joined))


def _seen(people: Contributions, figure: int, hour: int, rank: int) -> _Seen:
    own = int(people.values[figure, READER, hour])
    return _Seen(hour, own, rank, int(people.member[:, hour].sum()))


def _attack(people: Contributions, figure: int, seen: list[_Seen]) -> Tally:
    # Not of all: where people have come since the release, a rank is no multiple of five of those who are there now.
    in_steps = sum(_below(one, STEP) is not None for one in seen)
    step = STEP if in_steps >= MOST * len(seen) else 1
    claims = []
    tally = Tally()
    below = [(one, number) for one in seen if (number := _below(one, step)) is not None]
    for (one, fewer), (other, more) in combinations(below, 2):
        if other.hour - one.hour > REST:
            continue
        tally.tried += 1
        if claim := _claim(one, other, more - fewer):
            claims.append(claim)
    right = [claim for claim in claims if _is_right(claim, _peers(people, figure, claim.hour), 0)]
    elsewhere = [_elsewhere(claim, _peers(people, figure, claim.hour)) for claim in claims]
    if claims:
        tally.notes = [f"{people.cohort.name}: {len(right)} of {len(claims)} claims right"]
    if claims and len(right) / len(claims) >= BETTER * float(np.mean(elsewhere)):
        tally.exact = sum(claim.low == claim.high for claim in right)
        tally.near = len(right)
        for claim in right:
            peers = _peers(people, figure, claim.hour)
            inside = np.flatnonzero((peers >= claim.low) & (peers <= claim.high)) + 1
            tally.people |= {people.cohort.user_id(int(one)) for one in inside}
        tally.examples = [f"{people.cohort.name}: {claim}" for claim in right[:5]]
    return tally


def _below(seen: _Seen, step: int) -> int | None:
    """How many members are below, as far as a rank tells it, in steps of so many; None if no number gives the rank."""
    found = [number for number in range(0, seen.members, step) if 100 * number // seen.members == seen.rank]
    return found[0] if len(found) == 1 else None


def _claim(one: _Seen, other: _Seen, more: int) -> _Claim | None:
    low, high = sorted((one.own, other.own))
    if one.own == other.own:
        # Who is no longer below has just passed the own figure.
        high = low + low // TIMES
        return _Claim(other.hour, low, high, -more) if 0 < -more <= FEW else None
    if other.own < one.own:
        more = -more
    # A tenth is what counts; wider claims are none.
    return _Claim(other.hour, low, high - 1, more) if 0 < more <= FEW and (high - 1 - low) * TIMES <= low else None


def _peers(people: Contributions, figure: int, hour: int) -> Ints:
    values = people.values[figure, 1:, hour]
    return np.where(people.member[1:, hour], values, -1)


def _is_right(claim: _Claim, peers: Ints, shift: int) -> bool:
    return int(((peers >= claim.low + shift) & (peers <= claim.high + shift)).sum()) == claim.peers


def _elsewhere(claim: _Claim, peers: Ints) -> float:
    """How often the same claim would be right at other values, from the lowest to the highest of the peers."""
    shifts = [
        value - claim.low for value in range(max(0, int(peers.min())), int(peers.max()) + 1) if value != claim.low
    ]
    return float(np.mean([_is_right(claim, peers, shift) for shift in shifts])) if shifts else 1.0
