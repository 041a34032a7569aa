"""Worlds of small cohorts, drawn by a seed; the first member of every cohort is the reader's account.

Hours are counted from the beginning of the history, which is long enough for people to have been silent for weeks.
What a member did in an hour is a number of tasks and of whole minutes. Days are those of UTC.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.windows import HOUR

Ints = NDArray[np.int64]
Chance = np.random.Generator

BEGIN = datetime(2025, 2, 3, tzinfo=UTC)
"""A Monday, the first hour of every history."""
HISTORY = 28 * 24
"""Hours before the first one that is played."""
NEVER = 10**6
READER = 0
_BY_HOUR = np.array([1, 0, 0, 0, 0, 0, 2, 6, 8, 7, 6, 6, 7, 6, 6, 6, 7, 9, 12, 14, 14, 11, 7, 3]) / 144
_BY_DAY = np.array([1.2, 1.15, 1.1, 1.1, 0.9, 0.7, 0.85])


@dataclass(frozen=True)
class Cohort:
    """A cohort's members; each array has a row, or an entry, for each of them."""

    name: str
    tasks: Ints
    """Tasks by member and hour."""
    minutes: Ints
    joined: Ints
    """The hour in which the account was made; before it there is nothing to count."""
    enters: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The hour from whose end on the member is in the cohort, if the account is older than that."""
    leaves: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The hour from whose end on the member is in no cohort."""

    def __post_init__(self) -> None:
        """Let all stay who are not said to come or go."""
        size = len(self.tasks)
        object.__setattr__(self, "enters", self.enters if len(self.enters) else np.zeros(size, dtype=np.int64))
        object.__setattr__(self, "leaves", self.leaves if len(self.leaves) else np.full(size, NEVER))

    @property
    def size(self) -> int:
        """How many people are ever in it."""
        return len(self.tasks)

    def user_id(self, member: int) -> str:
        """The id of a member."""
        return f"{self.name}-{member:02}"


@dataclass(frozen=True)
class World:
    """Cohorts over some hours."""

    cohorts: tuple[Cohort, ...]
    hours: int
    """How many hours are played."""
    moves_at: int
    """The hour in which members change their cohort; the played ones fall into those up to it and those after it."""

    @property
    def played(self) -> range:
        """The hours that are played."""
        return range(HISTORY, HISTORY + self.hours)

    def write(self, source: Path, *, moved: bool) -> None:
        """Write the source as it is before or after the members have moved."""
        source.mkdir(parents=True, exist_ok=True)
        users = [row for cohort in self.cohorts for row in self._users(cohort, moved=moved)]
        pl.DataFrame(users).write_parquet(source / "users.parquet")
        pl.DataFrame({"cohort_id": [cohort.name for cohort in self.cohorts]}).write_parquet(source / "cohorts.parquet")
        pl.concat(map(_progress, self.cohorts)).write_parquet(source / "user_progress.parquet")

    def _users(self, cohort: Cohort, *, moved: bool) -> list[dict[str, object]]:
        changed = (cohort.enters > 0) | (cohort.leaves < NEVER)
        inside = np.where(moved, cohort.leaves == NEVER, cohort.enters == 0)
        return [
            {
                "user_id": cohort.user_id(member),
                "cohort_id": cohort.name if inside[member] else None,
                "created_at": start_of(int(cohort.joined[member])),
                "updated_at": start_of(self.moves_at if moved and changed[member] else int(cohort.joined[member])),
            }
            for member in range(cohort.size)
        ]


def start_of(hour: int) -> datetime:
    """When an hour starts."""
    return BEGIN + hour * HOUR


def as_of(hour: int) -> datetime:
    """When an hour ends."""
    return BEGIN + (hour + 1) * HOUR


def hour_ending_at(instant: datetime) -> int:
    """The hour that ends at an instant."""
    return (instant - BEGIN) // HOUR - 1


def _progress(cohort: Cohort) -> pl.DataFrame:
    members, hours = np.nonzero(cohort.tasks)
    number = cohort.tasks[members, hours]
    first = np.cumsum(number) - number
    rows = np.repeat(np.arange(len(members)), number)
    place = np.arange(len(rows)) - first[rows]
    minutes = np.where(place == 0, cohort.minutes[members, hours][rows], 0)
    instants = [
        start_of(int(hour)) + timedelta(seconds=1 + int(one)) for hour, one in zip(hours[rows], place, strict=True)
    ]
    return pl.DataFrame(
        {
            "progress_id": [f"{cohort.name}-{number}" for number in range(len(rows))],
            "user_id": [cohort.user_id(int(member)) for member in members[rows]],
            "task_type": ["reading"] * len(rows),
            "completed_at": pl.Series(instants, dtype=pl.Datetime("us", "UTC")),
            "time_spent_minutes": minutes.astype(np.float64),
        },
        schema_overrides={"progress_id": pl.String, "user_id": pl.String, "task_type": pl.String},
    )


# --- people ---


def _blank(size: int, hours: int) -> Ints:
    return np.zeros((size, HISTORY + hours), dtype=np.int64)


def _minutes(chance: Chance, tasks: Ints) -> Ints:
    """Whole minutes, 1 to 12 for a task."""
    return np.where(tasks > 0, tasks * chance.integers(1, 13, tasks.shape), 0)


def lively(name: str, chance: Chance, size: int, hours: int, *, minutes: bool = True) -> Cohort:
    """People with a weekly rhythm, a few doing most; some join, some fall silent for weeks and return."""
    total = HISTORY + hours
    tasks = _blank(size, hours)
    rate = np.exp(chance.normal(0.6, 1.1, size)).clip(0.15, 25)
    stays = np.exp(chance.normal(2.6, 0.8, size)) * 24
    pause = np.exp(chance.normal(2.2, 0.8, size)) * 24
    clock = _BY_HOUR[np.arange(total) % 24] * _BY_DAY[np.arange(total) // 24 % 7]
    for member in range(size):
        at, there = chance.uniform(-400, 0), True
        while at < total:
            until = at + chance.exponential(stays[member] if there else pause[member])
            window = slice(max(0, int(at)), max(0, int(until)))
            if there:
                sessions = chance.random(len(clock[window])) < rate[member] / 2.5 * clock[window]
                tasks[member, window] = sessions * (1 + chance.poisson(1.5, len(sessions)))
            at, there = until, not there
    joined = np.where(chance.random(size) < 0.2, chance.integers(HISTORY - 240, total, size), 0)
    joined[READER] = 0
    tasks[np.arange(total) < joined[:, None]] = 0
    _accompany(chance, tasks)
    return Cohort(name, tasks, _minutes(chance, tasks) if minutes else np.zeros_like(tasks), joined)


def moving(name: str, chance: Chance, size: int, hours: int, moves_at: int) -> Cohort:
    """Lively people; two leave the cohort and two with a history enter it, all in one hour."""
    cohort = lively(name, chance, size, hours)
    enters, leaves = np.zeros(size, dtype=np.int64), np.full(size, NEVER)
    movers = 1 + chance.permutation(size - 1)[:4]
    enters[movers[:2]], leaves[movers[2:]] = moves_at, moves_at
    return replace(
        cohort, joined=np.where(cohort.joined > moves_at - 24, 0, cohort.joined), enters=enters, leaves=leaves
    )


def daily(name: str, chance: Chance, size: int, hours: int) -> Cohort:
    """People who nearly all practise every day: days of 7 change rarely, and for one at a time."""
    tasks = _blank(size, hours)
    for day in range(tasks.shape[1] // 24):
        there = chance.random(size) < 0.97
        at = day * 24 + chance.choice(24, size, p=_BY_HOUR / _BY_HOUR.sum())
        tasks[np.arange(size), at] += there * (1 + chance.poisson(2, size))
    _accompany(chance, tasks)
    return Cohort(name, tasks, _minutes(chance, tasks), np.zeros(size, dtype=np.int64))


def _accompany(chance: Chance, tasks: Ints) -> None:
    """Let the reader do a task in most hours of the day, to fill up what changes."""
    hours = np.arange(tasks.shape[1])
    tasks[READER] = (chance.random(len(hours)) < 0.4) & (hours % 24 >= 7) & (hours >= HISTORY - 24)


def at_rest(name: str, chance: Chance, size: int, hours: int, *, step: int = 1, minutes: int = 6) -> Cohort:
    """Peers who do nothing any more, and a reader who does `step` tasks an hour."""
    tasks = _blank(size, hours)
    totals = chance.integers(8, 26, size)
    days = HISTORY // 24 - 1 - chance.integers(0, 9, size)
    for member in range(1, size):
        share = chance.multinomial(totals[member], [0.5, 0.3, 0.2])
        for back, number in enumerate(share):
            tasks[member, (days[member] - back) * 24 + 10] += number
    tasks[READER, HISTORY - 30] = 1
    tasks[READER, HISTORY + 1 :] = step
    spent = tasks * 5
    spent[READER] = tasks[READER] * minutes // step
    return Cohort(name, tasks, spent, np.zeros(size, dtype=np.int64))


def _scripted(name: str, chance: Chance, size: int, hours: int, noon: Callable[[Ints, int], None]) -> Cohort:
    """Peers at rest, to whom something happens at noon of the first day; the reader does nothing before it."""
    cohort = at_rest(name, chance, size, hours)
    cohort.tasks[READER, HISTORY + 1 :] = 0
    noon(cohort.tasks, HISTORY + 12)
    return replace(cohort, minutes=cohort.tasks * 5)


def a_week_ago(name: str, chance: Chance, size: int, hours: int) -> Cohort:
    """A3: seven tasks of one member turn a week old while four others do one."""

    def noon(tasks: Ints, hour: int) -> None:
        tasks[5, hour - 168] += 7
        tasks[5, hour - 160] += 1
        tasks[[1, 2, 3, 4], hour - 2] += 1
        tasks[[1, 2, 3, 4], hour] += 1

    return _scripted(name, chance, size, hours, noon)


def returner(name: str, chance: Chance, size: int, hours: int) -> Cohort:
    """A4: one with 300 tasks returns after weeks, and three others do a task in that hour."""

    def noon(tasks: Ints, hour: int) -> None:
        tasks[5], tasks[5, 30:130] = 0, 3
        tasks[5, hour] = 4
        tasks[[1, 2, 3], hour] += 1

    return _scripted(name, chance, size, hours, noon)


def reader_inside(name: str, chance: Chance, size: int, hours: int) -> Cohort:
    """A4: four change, by 40, 37, 1 and the reader's own 11."""

    def noon(tasks: Ints, hour: int) -> None:
        tasks[[1, 2, 3, READER], hour] += np.array([40, 37, 1, 11])

    return _scripted(name, chance, size, hours, noon)


def one_streak(name: str, chance: Chance, size: int, hours: int) -> Cohort:
    """A6: one has a streak, the others have none."""
    cohort = at_rest(name, chance, size, hours)
    cohort.tasks[READER] = 0
    cohort.tasks[:, HISTORY - 48 :] = 0
    cohort.tasks[: READER + 1, HISTORY - 60] = 1
    cohort.tasks[1, 10::24] += 1
    return replace(cohort, minutes=cohort.tasks * 5)


def ten(name: str, chance: Chance, hours: int) -> Cohort:
    """A6: ten active members; one ages out on the first day; the others have just been here."""
    cohort = at_rest(name, chance, 10, hours)
    silent = HISTORY + int(chance.integers(6, 20)) - 14 * 24
    cohort.tasks[1, silent - 3 :] = 0
    cohort.tasks[1, silent] = 5
    cohort.tasks[READER] = 0
    cohort.tasks[READER, HISTORY - 20] = 3
    # A day of practice for all others, so that a streak of one member is not all there is.
    cohort.tasks[2:, HISTORY - 20] += 1
    return replace(cohort, minutes=cohort.tasks * 5)


def inflated(name: str, chance: Chance, size: int, hours: int, *, step: int) -> Cohort:
    """A5: peers who did all their tasks the day before, and a reader who does `step` more every hour."""
    tasks = _blank(size, hours)
    at = HISTORY - 8 - chance.integers(0, 12, size)
    tasks[np.arange(size), at] = chance.integers(4, 11, size)
    tasks[1, at[1]] = 24
    tasks[READER] = 0
    tasks[READER, HISTORY - 5] = 1
    tasks[READER, HISTORY + 1 :] = step
    return Cohort(name, tasks, np.minimum(tasks, 30), np.zeros(size, dtype=np.int64))


def slowly_inflated(name: str, chance: Chance, size: int, hours: int, *, step: int) -> Cohort:
    """A5 by the day: peers do a task at ten every morning, and the reader some more than the day before."""
    cohort = inflated(name, chance, size, hours, step=0)
    others = np.sort(cohort.tasks[1:].sum(axis=1))
    limit = 9 * int(others[:-2].sum()) - int(others[-1])
    cohort.tasks[:, HISTORY - 38 :: 24] += 1
    cohort.tasks[:, HISTORY + 10 :: 24] += 1
    cohort.tasks[READER, HISTORY + 8] += limit - 30
    cohort.tasks[READER, HISTORY + 32 :: 24] += step
    return replace(cohort, minutes=np.minimum(cohort.tasks, 1))


def raised(name: str, chance: Chance, size: int, hours: int, *, step: int) -> Cohort:
    """A5 among people who move all the time."""
    cohort = lively(name, chance, size, hours)
    cohort.tasks[READER, HISTORY:] = step
    cohort.minutes[READER, HISTORY:] = 1
    return cohort


def ten_and_a_busy_reader(name: str, chance: Chance, hours: int) -> Cohort:
    """A6: ten active members; one ages out long after the reader's tasks have stopped all releases."""
    cohort = at_rest(name, chance, 10, hours)
    silent = HISTORY + 70 + int(chance.integers(0, 20)) - 14 * 24
    cohort.tasks[1:, : HISTORY - 7 * 24] = 0
    cohort.tasks[1:, HISTORY - 8] += 5
    cohort.tasks[1] = 0
    cohort.tasks[1, silent] = 5
    return replace(cohort, minutes=cohort.tasks * 5)


def fresh(name: str, chance: Chance, size: int, hours: int) -> Cohort:
    """A3: a busy cohort that began this week, but for one member who has practised before."""
    cohort = lively(name, chance, size, hours)
    began = HISTORY - 3 * 24
    cohort.tasks[:, :began] = 0
    cohort.tasks[1, began - 8 * 24] = 300
    for member in range(size):
        cohort.tasks[member, began + int(chance.integers(0, 60))] += int(chance.integers(80, 120))
    return replace(cohort, minutes=cohort.tasks.copy(), joined=np.zeros(size, dtype=np.int64))


def few_users(hours: int, seed: int) -> World:
    """A single cohort of 21 people, who are all users there are."""
    return World((at_rest("few", np.random.default_rng((seed, 21)), 21, hours),), hours, HISTORY + hours)


def many_cohorts(seed: int, hours: int, lively_sizes: tuple[int, ...]) -> World:
    """Every kind of cohort."""
    chance = np.random.default_rng(seed)
    moves_at = HISTORY + hours // 2
    return World(
        (
            *(lively(f"lively{at}", chance, size, hours) for at, size in enumerate(lively_sizes)),
            lively("untimed", chance, 24, hours, minutes=False),
            moving("moving", chance, 26, hours, moves_at),
            daily("daily", chance, 24, hours),
            at_rest("rank", chance, 12, hours),
            inflated("inflated", chance, 12, hours, step=10),
            inflated("inflated2", chance, 24, hours, step=30),
            slowly_inflated("slowly", chance, 12, hours, step=60),
            raised("raised", chance, 24, hours, step=8),
            fresh("fresh", chance, 16, hours),
            a_week_ago("week", chance, 24, hours),
            returner("returner", chance, 18, hours),
            reader_inside("inside", chance, 20, hours),
            one_streak("streak", chance, 12, hours),
            ten("ten", chance, hours),
            ten_and_a_busy_reader("ten2", chance, hours),
        ),
        hours,
        moves_at,
    )
