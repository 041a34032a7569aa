"""What learners practise, and when: the rows of `user_progress`."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import Flags, Ints, counting, filled, floor, numbered, sum_within
from ghost_pipeline.demo_source.cast import CURRENT, DEMO, HEAVY, LIGHT
from ghost_pipeline.demo_source.clock import DAY, INSTANT, MINUTE, SATURDAY, SECOND, Clock, weekday
from ghost_pipeline.demo_source.dirt import dirty_progress
from ghost_pipeline.demo_source.draws import Draws
from ghost_pipeline.demo_source.learners import Learners

_MOCK_TEST_AGE = 4

_TASKS: Mapping[str, tuple[float, float]] = {
    "speaking": (0.21, 11.0),
    "writing": (0.16, 22.0),
    "reading": (0.20, 16.0),
    "listening": (0.20, 14.0),
    "vocabulary": (0.13, 7.0),
    "grammar": (0.10, 8.0),
}
"""task_type -> (share, median minutes)."""

_TASK_TYPES = (*_TASKS, "mock_test")
_MOCK_TEST = len(_TASKS)


def _practice_days(draws: Draws, clock: Clock, world: Learners) -> Flags:
    """[learner, day]: bursts, single days off and, now and then, a pause of 3 to 12 days."""
    size = len(world.role)
    calendar = clock.first_day + np.arange(clock.days)
    moods = np.array([1.05, 1.05, 1.03, 1.0, 0.9, 0.85, 0.97])[weekday(calendar)]
    steady = world.role == HEAVY
    practised = np.zeros((size, clock.days), dtype=np.bool_)
    yesterday = np.zeros(size, dtype=np.bool_)
    pause = filled(0, size)
    for column, day in enumerate(calendar):
        mood = np.where(steady, 1.0, moods[column])
        chance = np.where(yesterday, world.stay, world.resume) * mood
        today = draws.chance(chance, size) & (pause == 0)
        today |= (world.start == day) & draws.chance(0.9, size)
        today &= (world.start <= day) & (day < world.end)
        pausing = today & ~steady & draws.chance(1 / 45, size)
        pause = np.where(pausing, 3 + draws.below(10, size), np.maximum(pause - 1, 0))
        practised[:, column] = yesterday = today
    demo = np.flatnonzero(world.role == DEMO)
    week = clock.today - clock.first_day - 6
    practised[demo, week : week + 7] = np.array([True, False, True, False, True, True, True])
    light = np.flatnonzero(world.role == LIGHT)
    practised[light] = False
    for earliest, latest in ((1, 8), (9, 16), (17, 24)):
        back = earliest + draws.below(latest - earliest + 1, len(light))
        practised[light, clock.today - clock.first_day - back] = True
    return practised


def draw_progress(draws: Draws, clock: Clock, world: Learners) -> pl.DataFrame:
    """Draw the rows of `user_progress`, dirt included."""
    who, column = np.nonzero(_practice_days(draws, clock, world))
    day = clock.first_day + column
    size = len(who)
    tasks = floor(world.tasks[who] * draws.spread(0.45, size) + draws.uniform(size))
    tasks = np.clip(tasks, 1, np.where(world.role[who] == HEAVY, 40, 16))
    mock = (day - world.start[who] >= _MOCK_TEST_AGE) & draws.chance(0.1, size) & (world.role[who] != LIGHT)
    events = tasks + mock
    begin = _begin(draws, clock, world, who, day)
    of_day = np.repeat(np.arange(size), events)
    is_mock = mock[of_day] & (counting(events) == events[of_day] - 1)
    kind, tenths = _tasks_done(draws, world, who[of_day], is_mock)
    count = len(of_day)
    took = tenths * (MINUTE // 10) + draws.below(4 * MINUTE, count) + 20 * SECOND
    completed = begin[of_day] + sum_within(took, events)
    keep = np.flatnonzero(completed < clock.end)
    user = who[of_day]
    keep = keep[np.lexsort((user[keep], completed[keep]))]
    missing = draws.chance(0.02, count)[keep]
    rows = pl.DataFrame(
        {
            "progress_id": numbered("progress", np.arange(1, len(keep) + 1), 7),
            "user_id": world.ids.gather(user[keep]),
            "task_type": pl.Series(_TASK_TYPES).gather(kind[keep]),
            "completed_at": pl.Series(completed[keep]).cast(INSTANT),
            "time_spent_minutes": (pl.Series(tenths[keep]) / 10).set(pl.Series(missing), None),
        },
    )
    ordinary = world.ids.filter(pl.Series((world.role == CURRENT) & (world.start < clock.today - 1)))
    dirty = dirty_progress(rows, clock, ordinary)
    return pl.concat([rows, dirty]).sort("completed_at", "progress_id", "user_id")


def _begin(draws: Draws, clock: Clock, world: Learners, who: Ints, day: Ints) -> Ints:
    """When each day's practice begins: after work, before it or at noon, later at weekends."""
    size, people = len(who), len(world.role)
    habit = draws.pick((0.65, 0.15, 0.20), people)
    habit[world.role == DEMO] = 1
    habit[world.role == HEAVY] = 2
    around = np.array([80.0, 35.0, 50.0])[habit] * draws.normal(people)
    usual = np.array([1160.0, 430.0, 760.0])[habit] + around
    weekend = (weekday(day) >= SATURDAY) & draws.chance(0.4, size) & (world.role[who] != DEMO)
    minute = np.where(weekend, 680.0 + 70.0 * draws.normal(size), usual[who] + 28.0 * draws.normal(size))
    local = day * DAY + floor(np.clip(minute, 300.0, 1380.0) * MINUTE)
    return np.maximum(clock.instant(local, world.zone[who]), world.created_at[who] + 2 * MINUTE)


def _tasks_done(draws: Draws, world: Learners, user: Ints, is_mock: Flags) -> tuple[Ints, Ints]:
    """What was practised, and for how many tenths of a minute."""
    size = len(user)
    favourite = draws.below(len(_TASKS), len(world.role))
    kind = draws.pick([share for share, _ in _TASKS.values()], size)
    kind = np.where(draws.chance(0.15, size), favourite[user], kind)
    kind = np.where(is_mock, _MOCK_TEST, kind)
    usual = np.array([*(minutes for _, minutes in _TASKS.values()), 50.0])
    pace = draws.spread(0.2, len(world.role))
    minutes = usual[kind] * np.where(is_mock, draws.spread(0.1, size), draws.spread(0.4, size) * pace[user])
    return kind, np.clip(floor(minutes * 10.0), 30, 600)
