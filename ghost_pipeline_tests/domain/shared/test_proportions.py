"""Wilson's interval of a share, Newcombe's of a difference."""

from math import sqrt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.shared.proportions import Z, newcombe_interval, wilson_interval


def wilson(reached: int, people: int) -> tuple[float | None, float | None]:
    low, high = wilson_interval(pl.lit(reached, pl.Int64), pl.lit(people, pl.Int64))
    row: tuple[float | None, float | None] = pl.select(low=low, high=high).row(0)
    return row


@given(st.integers(1, 10_000), st.data())
def test_the_ends_are_the_shares_that_lie_z_errors_from_the_observed_one(people: int, data: st.DataObject) -> None:
    reached = data.draw(st.integers(1, max(1, people - 1)))
    low, high = wilson(reached, people)
    assert low is not None
    assert high is not None
    for end in (low, high) if reached < people else (low,):
        assert abs(reached / people - end) == pytest.approx(Z * sqrt(end * (1 - end) / people), rel=1e-6)


def test_none_and_all() -> None:
    assert wilson(0, 50) == pytest.approx((0, Z**2 / (50 + Z**2)))
    assert wilson(50, 50) == pytest.approx((50 / (50 + Z**2), 1))


def test_nobody_has_no_interval() -> None:
    assert wilson(0, 0) == (None, None)


def test_the_difference_of_75_and_40_percent() -> None:
    first, second = (
        (pl.lit(reached / people), *wilson_interval(pl.lit(reached), pl.lit(people)))
        for reached, people in ((45, 60), (20, 50))
    )
    low, high = newcombe_interval(first, second)
    assert pl.select(low=low, high=high).row(0) == (pytest.approx(0.165452932537), pytest.approx(0.504474768722))
