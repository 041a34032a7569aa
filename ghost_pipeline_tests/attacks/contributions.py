"""What every member had done at the end of an hour, counted from the world and not by the pipeline (G1, G2)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghost_pipeline_tests.attacks.worlds import Cohort, Ints

FIGURES = ("tasks", "week", "minutes", "streak", "days")
"""What each member contributes to the sums that are shown, in this order."""
TASKS, WEEK, MINUTES, STREAK, DAYS = range(len(FIGURES))
ACTIVE_HOURS = 14 * 24
WEEK_HOURS = 7 * 24

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Contributions:
    """The members of a cohort over all hours."""

    cohort: Cohort
    values: Ints
    """By figure, member and hour; also of people who are not members at that hour."""
    member: Flags
    """Whether the person is a member, active or not, by member and hour."""
    active: Flags

    @classmethod
    def of(cls, cohort: Cohort) -> "Contributions":
        """Count."""
        size, hours = cohort.tasks.shape
        ends = np.arange(hours) + 1
        total = cohort.tasks.cumsum(axis=1)
        before = np.concatenate([np.zeros((size, WEEK_HOURS), dtype=np.int64), total[:, :-WEEK_HOURS]], axis=1)
        streak, days = _days(cohort.tasks)
        done = cohort.tasks > 0
        last = np.maximum.accumulate(np.where(done, ends, 0), axis=1)
        member = (
            (ends >= cohort.joined[:, None] + 1) & (ends > cohort.enters[:, None]) & (ends <= cohort.leaves[:, None])
        )
        # Activity in the first minute of an hour is older than 14 days at the end of the 336th hour after it.
        active = member & (last > 0) & (ends - last < ACTIVE_HOURS)
        values = np.stack([total, total - before, cohort.minutes.cumsum(axis=1), streak, days])
        return cls(cohort, values, member, active)

    def at(self, hour: int, population: Flags) -> Ints:
        """By figure and member; 0 for those who are not in the population."""
        return np.where(population, self.values[:, :, hour], 0)


def _days(tasks: Ints) -> tuple[Ints, Ints]:
    """The current streak and the days of the last seven with a task, by member and hour."""
    size, hours = tasks.shape
    by_day = tasks.reshape(size, -1, 24)
    today = (by_day.cumsum(axis=2) > 0).astype(np.int64)
    whole = today[:, :, -1]
    run = np.zeros((size, whole.shape[1] + 1), dtype=np.int64)
    for day in range(whole.shape[1]):
        run[:, day + 1] = np.where(whole[:, day] > 0, run[:, day] + 1, 0)
    streak = run[:, :-1, None] + today
    six = np.concatenate([np.zeros((size, 6), dtype=np.int64), whole], axis=1)
    earlier = sum(six[:, 6 - back : 6 - back + whole.shape[1]] for back in range(1, 7))
    days = np.asarray(earlier)[:, :, None] + today
    return streak.reshape(size, hours), days.reshape(size, hours)
