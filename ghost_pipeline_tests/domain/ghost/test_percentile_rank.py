"""Percentile ranks."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ghost.percentile_rank import RANK_COLUMNS, percentile_rank, rank_column
from ghost_pipeline.errors import GhostError
from ghost_pipeline_tests.reference import plain_ghost


def ranks(tasks: list[int], cohorts: list[str | None], base: str = "cohort") -> list[int | None]:
    schema = {"cohort_id": pl.String, "tasks_completed": pl.Int64}
    frame = pl.LazyFrame({"cohort_id": cohorts, "tasks_completed": tasks}, schema=schema)
    return frame.select(percentile_rank("tasks_completed", base)).collect().to_series().to_list()


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_the_rank_is_the_share_strictly_below_in_integers(tasks: list[int]) -> None:
    expected = [plain_ghost.percentile_rank(value, tasks) for value in tasks]
    assert ranks(tasks, ["c1"] * len(tasks)) == expected
    assert ranks(tasks, [None] * len(tasks), "global") == expected


def test_29_of_50_is_58() -> None:
    assert ranks(list(range(50)), ["c1"] * 50)[29] == 58


def test_everybody_tied_is_0() -> None:
    assert ranks([3, 3, 3], ["c1"] * 3) == [0, 0, 0]


def test_without_a_cohort_the_cohort_rank_is_null() -> None:
    assert ranks([5, 1, 9], [None, "c1", "c1"]) == [None, 0, 50]


@pytest.mark.parametrize(
    ("metric", "column"),
    [
        ("streak", "streak_percentile_cohort"),
        ("current_streak", "streak_percentile_cohort"),
        ("practice_minutes", "practice_time_percentile_cohort"),
        ("practice_time", "practice_time_percentile_cohort"),
    ],
)
def test_aliases_name_the_same_column(metric: str, column: str) -> None:
    assert rank_column(metric) == column
    assert column in RANK_COLUMNS


def test_an_unknown_metric_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(GhostError, match=r"unknown metric 'accuracy'; choose one of tasks_completed, streak"):
        rank_column("accuracy")


def test_an_unknown_base_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(GhostError, match="unknown base 'country'; choose one of cohort, global"):
        percentile_rank("streak", "country")
