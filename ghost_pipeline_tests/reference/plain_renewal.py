"""Which rows of a month may be renewed, from scratch and from events alone (G9.7)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from ghost_pipeline_tests.domain.ghost.ghost_frames import Row
from ghost_pipeline_tests.reference import plain_ghost

Numbers = Mapping[str, Sequence[int]]
"""The numbers of each person behind a row, one for each figure of the row."""


def benchmark_numbers(
    users: Sequence[Row],
    events: Sequence[Row],
    as_of: datetime,
    *,
    population: str,
    band: Decimal,
    start: Decimal,
    day: int,
) -> Numbers:
    """The eight figures of each achiever of a cell whose day has ended."""
    found = {}
    for user in users:
        if not plain_ghost.is_achiever(user, as_of):
            continue
        if plain_ghost.in_population(user, population, band) and plain_ghost.starts_at(user, start):
            figures = plain_ghost.day_figures(user, events, as_of, day)
            if figures is not None:
                found[user["user_id"]] = figures
    return found


def may_be_renewed(before: Numbers, after: Numbers, min_changed: int, *, has_means: bool) -> bool:
    """Whether a row that showed the people of `before` may show those of `after`."""
    figures = len(next(iter([*before.values(), *after.values()]), ()))
    for figure in range(figures):
        differences = []
        changed = 0
        for person in {*before, *after}:
            was = before[person][figure] if person in before else 0
            now = after[person][figure] if person in after else 0
            differences.append(abs(now - was))
            changed += was != now or (person in before) != (person in after)
        if 0 < changed < min_changed or (has_means and not levels_pass(differences)):
            return False
    return True


def levels_pass(values: Sequence[int]) -> bool:
    """Whether what lies outside the three largest is at least a ninth of the two largest."""
    ordered = sorted(values, reverse=True)
    return 9 * sum(ordered[3:]) >= sum(ordered[:2])
