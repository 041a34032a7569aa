"""Exact rounding against fractions."""

from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.shared.rounding import (
    decimal_ratio,
    mean_decimal,
    percentile,
    round_half_away,
)
from ghost_pipeline_tests.reference import plain_ghost

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
TOTALS = st.integers(-(10**15), 10**15)


def evaluate(expression: pl.Expr, **columns: list[int]) -> object:
    return pl.LazyFrame(columns).select(expression).collect().item()


@given(INT64, st.integers(1, 2**63 - 1))
def test_rounding_equals_fractions_over_the_whole_of_int64(numerator: int, denominator: int) -> None:
    rounded = evaluate(round_half_away(pl.col("n"), pl.col("d")), n=[numerator], d=[denominator])
    assert rounded == plain_ghost.round_half_away(Fraction(numerator, denominator))


@given(TOTALS, st.integers(1, 10**6), st.sampled_from([1, 60_000]), st.integers(0, 4))
def test_decimal_means_equal_fractions(total: int, count: int, unit: int, scale: int) -> None:
    mean = evaluate(mean_decimal(pl.col("t"), pl.col("n"), unit=unit, scale=scale), t=[total], n=[count])
    exact = plain_ghost.round_half_away(Fraction(total * 10**scale, count * unit))
    assert mean == Decimal(exact).scaleb(-scale)


@given(st.lists(TOTALS, min_size=1, max_size=30), st.integers(0, 100), st.sampled_from([1, 60_000]))
def test_percentiles_equal_fractions(values: list[int], percent: int, unit: int) -> None:
    assert evaluate(percentile("x", percent, unit=unit), x=values) == plain_ghost.percentile(values, percent, unit)


@pytest.mark.parametrize(("numerator", "rounded"), [(5, 3), (-5, -3), (4, 2), (3, 2), (-1, -1), (0, 0)])
def test_halves_go_away_from_zero(numerator: int, rounded: int) -> None:
    assert evaluate(round_half_away(pl.col("n"), 2), n=[numerator]) == rounded


def test_two_decimals_of_seventeen_eighths_are_2_13() -> None:
    mean = mean_decimal(pl.col("x").sum(), pl.len(), scale=2)
    assert evaluate(mean, x=[2, 2, 2, 2, 2, 2, 2, 3]) == Decimal("2.13")


def test_a_decimal_mean_has_its_declared_type() -> None:
    frame = pl.LazyFrame({"x": [1, 2]}).select(mean_decimal(pl.col("x").sum(), pl.len(), scale=2))
    assert frame.collect().schema == {"x": pl.Decimal(38, 2)}


def test_nothing_divided_by_nothing_is_null() -> None:
    assert evaluate(decimal_ratio(pl.col("x"), pl.col("y"), scale=2), x=[0], y=[0]) is None


def test_the_percentile_of_nothing_is_null() -> None:
    empty = pl.LazyFrame({"x": []}, schema={"x": pl.Int64})
    assert empty.select(percentile("x", 90)).collect().item() is None


def test_percentiles_and_means_work_per_group() -> None:
    frame = pl.LazyFrame({"g": ["a", "b", "a", "b"], "x": [10, 1, 20, 1]})
    found = frame.group_by("g").agg(p90=percentile("x", 90), p75=percentile("x", 75)).sort("g").collect()
    assert found.rows() == [("a", 19, 18), ("b", 1, 1)]
