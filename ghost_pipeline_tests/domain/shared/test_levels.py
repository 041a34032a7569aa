"""The rule of levels over numbers, arrays and expressions."""

import numpy as np
import polars as pl
import pytest

from ghost_pipeline.domain.shared.levels import levels_hold

LIMIT = 90


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ((0, 0, 0, 0), True),
        ((40, 37, 11, 1), False),
        ((9, 9, 9, 2), True),
        ((9, 9, 9, 1), False),
        ((1, 0, 0, 0), False),
        ((1, 1, 1, 1), True),
        ((1, 1, 0, 0), False),
    ],
)
def test_the_others_need_a_ninth_of_what_two_hold(values: tuple[int, ...], *, holds: bool) -> None:
    assert levels_hold(sum(values), values[:3], LIMIT) == holds


def test_rounding_counts_to_the_others() -> None:
    assert not levels_hold(7, (7, 0, 0), LIMIT)
    assert levels_hold(7, (7, 0, 0), LIMIT, blur=12)


def test_arrays_and_expressions_are_judged_like_numbers() -> None:
    total, *largest = np.array([[89, 40, 37, 11], [29, 9, 9, 9]]).T
    assert levels_hold(total, largest, LIMIT).tolist() == [False, True]
    frame = pl.DataFrame({"total": total, "a": largest[0], "b": largest[1], "c": largest[2]})
    found = frame.select(levels_hold(pl.col("total"), [pl.col("a"), pl.col("b"), pl.col("c")], LIMIT))
    assert found.to_series().to_list() == [False, True]
