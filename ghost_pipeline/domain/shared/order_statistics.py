"""Distribution-free intervals of percentiles: which order statistics are their ends (G10.1)."""

from functools import lru_cache
from math import ceil, floor, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TAIL = 0.025
"""The chance that the percentile lies below the lower end, and that it lies above the upper one."""

OUTERMOST = 2
"""Order statistics at each end that are never shown: they would be one person's figure."""

_STANDARD_DEVIATIONS = 12
"""Beyond so many, what a binomial distribution still has is less than a float can add to 1."""


class IntervalRanks(NamedTuple):
    """The ranks of the ends of an interval among the values in ascending order, from 1; None where there is no end."""

    low: int | None
    high: int | None


@lru_cache(maxsize=65_536)
def interval_ranks(people: int, percent: int) -> IntervalRanks:
    """Return the ends of the 95 % interval of the `percent`-th percentile of `people` values.

    With B ~ Binomial(people, percent / 100): the largest rank l with P(B < l) <= 0.025, and the smallest rank u with
    P(B >= u) <= 0.025. An end among the two lowest or two highest values is none.
    """
    first, below = _distribution(people, percent / 100)
    # below[i] = P(B < first + i).
    low = first + int(np.searchsorted(below, TAIL, side="right")) - 1
    high = first + int(np.searchsorted(-(1 - below), -TAIL, side="left"))
    return IntervalRanks(*(rank if OUTERMOST < rank <= people - OUTERMOST else None for rank in (low, high)))


def _distribution(people: int, chance: float) -> tuple[int, NDArray[np.float64]]:
    """Return the first rank k that matters, and P(B < k), P(B < k + 1), ... up to the last one that matters.

    Sums up the probabilities by their ratios, from the most likely number outwards: no factorial overflows.
    """
    middle = people * chance
    reach = _STANDARD_DEVIATIONS * sqrt(people * chance * (1 - chance)) + _STANDARD_DEVIATIONS
    first, last = max(0, floor(middle - reach)), min(people, ceil(middle + reach))
    number = np.arange(first, last + 1)
    # log P(B = k + 1) - log P(B = k)
    steps = np.log((people - number[:-1]) / (number[:-1] + 1) * (chance / (1 - chance)))
    logarithms = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(logarithms - logarithms.max())
    below = np.concatenate([[0.0], np.cumsum(weights)])
    return first, below / below[-1]
