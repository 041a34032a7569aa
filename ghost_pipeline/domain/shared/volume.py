"""How many rows of events 24 hours should have had: as many as such a day has."""

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
    """Which of the days before, by their distance, a day is compared with.

    The same weekday of up to four weeks; of a table that has not two of them, the days of the week before; none where
    it has not three of those.

    Args:
        there: the days of which there are rows, or the knowledge that there were none.

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
