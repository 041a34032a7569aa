"""Which order statistics are the ends of a percentile's interval."""

from fractions import Fraction
from math import comb

import pytest

from ghost_pipeline.domain.shared.order_statistics import interval_ranks

TAIL = Fraction(25, 1000)


def plain_ranks(people: int, percent: int) -> tuple[int | None, int | None]:
    """The ends from exact fractions, read from G10.1."""
    chance = Fraction(percent, 100)
    below = [Fraction(0)]
    for number in range(people + 1):
        below.append(below[-1] + comb(people, number) * chance**number * (1 - chance) ** (people - number))
    low = max(rank for rank in range(people + 2) if below[rank] <= TAIL)
    high = min(rank for rank in range(people + 2) if 1 - below[rank] <= TAIL)
    return tuple(rank if 2 < rank < people - 1 else None for rank in (low, high))  # type: ignore[return-value]


@pytest.mark.parametrize("percent", [10, 25, 50, 75, 90])
def test_ranks_equal_exact_fractions(percent: int) -> None:
    for people in (*range(1, 64), 99, 150, 233):
        assert interval_ranks(people, percent) == plain_ranks(people, percent), people


def test_the_median_of_fifty() -> None:
    assert interval_ranks(50, 50) == (18, 33)


def test_an_end_at_the_largest_value_is_none() -> None:
    assert interval_ranks(50, 90) == (41, None)


def test_half_a_million_people_are_as_exact_as_the_normal_approximation() -> None:
    # 250,000 and 1.96 standard deviations of 353.6
    assert interval_ranks(500_000, 50) == (249_307, 250_694)
