from decimal import Decimal

import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.benchmarks.benchmark_drift import benchmark_drift

CELL = {
    "population": "interval",
    "target_band": Decimal("7.5"),
    "starting_skill": Decimal("6.0"),
    "day_number": 12,
    "success_percentile": 25,
}


def month(**figures: int) -> pl.LazyFrame:
    row = {**CELL, **{metric.column_name: 100 for metric in BENCHMARK_METRICS}, **figures}
    return pl.LazyFrame([row], schema_overrides={metric.column_name: pl.Int32 for metric in BENCHMARK_METRICS})


def moved(current: pl.LazyFrame, previous: pl.LazyFrame, percent: int = 20) -> list[tuple[str, int, int]]:
    return benchmark_drift(current, previous, percent).select("metric", "previous", "current").collect().rows()


def test_a_move_beyond_the_amount_is_named() -> None:
    assert moved(month(avg_streak=121), month()) == [("avg_streak", 100, 121)]


def test_a_move_of_exactly_the_amount_is_none() -> None:
    assert moved(month(avg_streak=120), month()) == []


def test_a_fall_counts_like_a_rise() -> None:
    assert moved(month(avg_mock_tests=79), month()) == [("avg_mock_tests", 100, 79)]


def test_a_small_figure_may_double() -> None:
    assert moved(month(avg_mock_tests=2), month(avg_mock_tests=1)) == []


def test_a_figure_that_was_zero_is_named_when_it_grows() -> None:
    assert moved(month(avg_mock_tests=3), month(avg_mock_tests=0)) == [("avg_mock_tests", 0, 3)]


def test_the_largest_relative_move_comes_first() -> None:
    found = moved(month(avg_streak=150, avg_mock_tests=300), month())
    assert [metric for metric, _, _ in found] == ["avg_mock_tests", "avg_streak"]


def test_a_cell_that_only_one_month_has_is_left_out() -> None:
    other = month().with_columns(day_number=pl.lit(13, pl.Int64))
    assert moved(month(avg_streak=500), other) == []
