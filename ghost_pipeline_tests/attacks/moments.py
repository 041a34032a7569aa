"""Small worlds in which one thing happens: each is made for one rule, and keeps all others.

Everybody practised ten days, three days and a day before, and nothing of that turns a week or two weeks old while the
world is played. So a release comes in every hour, and what differs between two of them is what happens in between. The
first member is the reader.
"""

from collections.abc import Collection

import numpy as np

from ghost_pipeline_tests.attacks.worlds import HISTORY, READER, Cohort, Ints, World

FIRST, THEN = HISTORY + 1, HISTORY + 2
"""The hours in which something happens; in the one before, figures are released."""
WEEK, FORTNIGHT, DAY = 7 * 24, 14 * 24, 24
MORNING = 10
MUCH = 300
"""More than ten times what the rounding of the week's tasks hides in a cohort of twelve, twice."""


def _calm(size: int, *, streaks: bool = True) -> Ints:
    tasks = np.zeros((size, HISTORY + 2 * DAY), dtype=np.int64)
    member = np.arange(size)
    tasks[:, HISTORY - 10 * DAY + MORNING] = 4 + member % 4
    tasks[:, HISTORY - 3 * DAY + MORNING] = 6 + member % 3
    tasks[:, HISTORY - DAY + MORNING] = streaks
    return tasks


def _cohort(name: str, tasks: Ints) -> Cohort:
    # A task takes a minute: more than 1,440 in an hour would be rejected.
    return Cohort(name, tasks, tasks.copy(), np.zeros(len(tasks), dtype=np.int64))


def _world(hours: int, *cohorts: Cohort) -> World:
    return World(cohorts, hours, HISTORY + hours)


def together(worlds: Collection[World]) -> World:
    """All cohorts in one world, as long as the longest."""
    cohorts = {cohort.name: cohort for world in worlds for cohort in world.cohorts}
    return _world(max(world.hours for world in worlds), *cohorts.values())


def a_streak() -> World:
    """One has a streak, the others have none."""
    tasks = _calm(12, streaks=False)
    tasks[1, HISTORY - 20 * DAY + MORNING : HISTORY : DAY] += 1
    return _world(1, _cohort("streak", tasks))


def an_early_member() -> World:
    """All began this week, but for one who has practised before."""
    tasks = _calm(16)
    tasks[:, HISTORY - 10 * DAY + MORNING] = 0
    tasks[1, HISTORY - 10 * DAY + MORNING] = MUCH
    tasks[:, HISTORY - 3 * DAY + MORNING] += 100
    return _world(1, _cohort("early", tasks))


def a_returner() -> World:
    """One with many tasks returns while three others do one; of four who do tasks, two outweigh the rest."""
    returns, inside = _calm(18), _calm(20)
    returns[5], returns[5, 30:130] = 0, 3
    returns[[1, 2, 3, 5], FIRST] = np.array([1, 1, 1, 4])
    inside[[1, 2, 3, READER], FIRST] = np.array([40, 37, 1, 11])
    return _world(2, _cohort("returner", returns), _cohort("inside", inside))


def one_task() -> World:
    """One does seven tasks, and the others none."""
    tasks = _calm(12)
    tasks[1, FIRST] = 7
    return _world(2, _cohort("alone", tasks))


def a_week_ago(many: int, others: int, size: int) -> World:
    """One does as many tasks as a week before, in the hour in which those turn a week old; four do some."""
    tasks = _calm(size)
    tasks[5, [FIRST, FIRST - WEEK]] += many
    tasks[[1, 2, 3, 4], FIRST] += others
    return _world(2, _cohort(f"week{many}", tasks))


def there_and_back() -> World:
    """This week's tasks of eight rise, and those of seven of them fall again an hour later."""
    tasks = _calm(12)
    tasks[1:9, FIRST] += MUCH
    tasks[2:9, THEN - WEEK] += MUCH
    return _world(3, _cohort("back", tasks))


def one_falls_silent(size: int) -> World:
    """The last task of one is two weeks old."""
    tasks = _calm(size)
    tasks[1], tasks[1, FIRST - FORTNIGHT] = 0, 5
    return _world(2, _cohort(f"silent{size}", tasks))


def one_falls_silent_unnoticed() -> World:
    """The reader's tasks stop all releases, and after that the last task of one turns two weeks old."""
    tasks = _calm(10)
    tasks[1], tasks[1, HISTORY + 5 - FORTNIGHT] = 0, 5
    tasks[READER, FIRST:] = 1
    return _world(7, _cohort("unnoticed", tasks))


def four_members() -> World:
    """Four members with streaks, of which the reader's is the shortest."""
    tasks = np.zeros((4, HISTORY + 2 * DAY), dtype=np.int64)
    for member, days in enumerate((10, 22, 24, 26)):
        tasks[member, HISTORY - days * DAY + MORNING : HISTORY : DAY] = 1
    return _world(1, _cohort("four", tasks))


def eleven_members() -> World:
    """Eleven members; the reader has done most."""
    tasks = _calm(11)
    tasks[READER, HISTORY - 3 * DAY + MORNING] = 20
    return _world(1, _cohort("eleven", tasks))


def _stairs(size: int) -> Ints:
    """Peers who have done 8, 10, 13, 18, 23 and more tasks, and a reader with 8 who does one an hour."""
    tasks = _calm(size, streaks=False)
    totals = np.concatenate([[8], 8 + np.cumsum([0, 2, 3, *[5] * (size - 4)])])
    tasks[:, HISTORY - 10 * DAY + MORNING] = totals // 2
    tasks[:, HISTORY - 3 * DAY + MORNING] = totals - totals // 2
    tasks[READER, FIRST:] = 1
    return tasks


def passing(*, others: bool) -> World:
    """A reader passes peers at rest; with `others`, further members do a task an hour, so that releases come."""
    tasks = _stairs(24)
    if others:
        # All from the first hour on: who begins alone is the only one whose streak changes.
        tasks[[READER, *range(18, 24)], HISTORY:] = 1
        tasks[18:, [HISTORY - 10 * DAY + MORNING, HISTORY - 3 * DAY + MORNING]] = 50
    return _world(8, _cohort("rank", tasks))


def few_users(hours: int) -> World:
    """A reader passes peers at rest, and there are no other users."""
    return _world(hours, _cohort("few", _stairs(21)))
