"""Figures of a partition against those of one before."""

import polars as pl
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.months import GHOST_STREAK_SHARES
from ghost_pipeline.domain.shared.period_figures import (
    FEW_MEMBERS,
    cohort_figures,
    period_drift,
    release_figures,
    row_count,
    sample_figures,
)
from ghost_pipeline_tests.samples import sample


def cohorts(active: int) -> dict[str, float | None]:
    rows = sample(COHORT_GHOST_DATA, 3, 1).with_columns(
        cohort_id=pl.Series(["c1", "global", "c2"]),
        member_count=pl.Series([5, 200, 7], dtype=pl.Int32),
        active_member_count=pl.Series([1, active, 1], dtype=pl.Int32),
        avg_tasks_completed=pl.Series(["3.00", "12.25", "4.00"]).cast(pl.Decimal(9, 2)),
    )
    return cohort_figures(rows.lazy()).collect().row(0, named=True)


def test_the_figures_of_cohorts_are_those_over_all_users() -> None:
    figures = cohorts(FEW_MEMBERS)
    assert {name: figures[name] for name in ("cohorts", "member_count", "active_member_count")} == {
        "cohorts": 2,
        "member_count": 200,
        "active_member_count": FEW_MEMBERS,
    }
    assert figures["avg_tasks_completed"] == 12.25
    assert isinstance(figures["member_count"], int)


def test_averages_of_few_are_not_compared() -> None:
    figures = cohorts(FEW_MEMBERS - 1)
    assert figures["avg_tasks_completed"] is None
    assert figures["member_count"] == 200


def test_an_hour_without_cohorts_has_figures_too() -> None:
    figures = cohort_figures(COHORT_GHOST_DATA.empty().lazy()).collect().row(0, named=True)
    assert (figures["cohorts"], figures["member_count"], figures["avg_tasks_completed"]) == (0, 0, None)


def test_figures_of_other_tables() -> None:
    shares = sample(GHOST_STREAK_SHARES, 2, 1).with_columns(sample_size=pl.Series([60, 70], dtype=pl.Int32))
    assert sample_figures(shares.lazy()).collect().row(0, named=True) == {"rows": 2, "sample_size": 130}
    assert row_count(shares.lazy()).collect().row(0, named=True) == {"rows": 2}
    released = sample(COHORT_GHOST_RELEASE, 3, 1).with_columns(released=pl.Series([True, False, True]))
    assert release_figures(released.lazy()).collect().row(0, named=True) == {"released": 2}


def moved(now: float | None, before: float | None) -> list[bool]:
    return [one.moved for one in period_drift({"figure": now}, {"figure": before}, "a day before", 30)]


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (700, 1000, False),
        (699, 1000, True),
        (1300, 1000, False),
        (1301, 1000, True),
        (0, 1000, True),
        (4, 8, False),
        (8.39, 12.0, True),
        (8.41, 12.0, False),
        (5, 0, False),
        (0.5, 0.0, False),
    ],
)
def test_a_figure_may_move_by_so_much(now: float, before: float, *, expected: bool) -> None:
    assert moved(now, before) == [expected]


@pytest.mark.parametrize(("now", "before"), [(None, 3), (3, None), (None, None)])
def test_what_either_has_not_is_not_compared(now: float | None, before: float | None) -> None:
    assert moved(now, before) == []


def test_a_figure_that_is_new_is_not_compared() -> None:
    assert period_drift({"new": 3}, {}, "a day before", 30) == []
