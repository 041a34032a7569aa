"""Expected rows of an event table in 24 hours, from comparable earlier days."""

from collections.abc import Collection, Mapping
from statistics import median

from ghost_pipeline.domain.shared.comparisons import Comparison, compared

SAME_WEEKDAY = (7, 14, 21, 28)
"""Days before; a Sunday is compared with Sundays."""
DAYS_BEFORE = tuple(range(1, 8))
FEWEST_WEEKS, FEWEST_DAYS = 2, 3
ROWS = "rows of 24 hours"
FARTHEST = max(SAME_WEEKDAY)


def days_to_compare(there: Collection[int]) -> tuple[int, ...]:
    """Return the earlier days, by their distance, with which a day is compared.

    These are the same weekday of up to four weeks; if the table has fewer than two of them, the days of the week
    before; if it has fewer than three of those, none.

    Args:
        there: the days that have been taken in, with rows or without.

    """
    weeks = tuple(day for day in SAME_WEEKDAY if day in there)
    days = tuple(day for day in DAYS_BEFORE if day in there)
    if len(weeks) >= FEWEST_WEEKS:
        return weeks
    return days if len(days) >= FEWEST_DAYS else ()


def volume(found: int, before: Mapping[int, int], *, fall: int, rise: int) -> Comparison:
    """Compare the rows of 24 hours with the median of the days that `days_to_compare` names.

    Args:
        found: the rows.
        before: the rows of those days, by their distance.
        fall: percent by which they may be fewer.
        rise: percent by which they may be more.

    """
    of_weeks = set(before) <= set(SAME_WEEKDAY) and len(before) >= FEWEST_WEEKS
    basis = f"median of {len(before)} days, a week apart" if of_weeks else f"median of the {len(before)} days before"
    return compared(ROWS, basis, median(before.values()), found, fall=fall, rise=rise)
