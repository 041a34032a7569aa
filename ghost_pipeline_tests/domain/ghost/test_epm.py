"""EPM, six laboratory days of one university course: the figures its README promises.

The data are not part of the repository. They are read from the folder that the environment variable
GHOST_SHARED_DATA names, by default `../shared/data` beside the project.
"""

import os
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.domain.shared.local_time import unknown_timezones
from ghost_pipeline_tests.domain.ghost.ghost_frames import INSTANT, Row, at
from ghost_pipeline_tests.reference.months import ghost_benchmarks
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

PROJECT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("GHOST_SHARED_DATA", PROJECT.parent / "shared" / "data")) / "epm"
NOVEMBER = at("2014-11-20T12:00")
DECEMBER = at("2014-12-12T00:00")

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"no EPM data in {FOLDER}; name their parent folder in GHOST_SHARED_DATA",
)


@pytest.fixture(scope="module")
def users() -> pl.LazyFrame:
    return pl.scan_parquet(FOLDER / "users.parquet").with_columns(score_known_at=pl.lit(None, dtype=INSTANT))


@pytest.fixture(scope="module")
def progress() -> pl.LazyFrame:
    milliseconds = (pl.col("time_spent_minutes") * 60_000).round(mode="half_away_from_zero").cast(pl.Int64)
    events = pl.scan_parquet(FOLDER / "user_progress.parquet").with_columns(time_spent_ms=milliseconds)
    return events.filter(pl.col("time_spent_ms") >= 0)


@pytest.fixture(scope="module")
def november(users: pl.LazyFrame, progress: pl.LazyFrame) -> pl.DataFrame:
    return user_ghost_stats(users, progress, NOVEMBER).collect()


def part(row: Row, expected: Row) -> Row:
    return {name: row[name] for name in expected}


def test_times(progress: pl.LazyFrame) -> None:
    seconds = progress.group_by(mock=pl.col("task_type") == "mock_test").agg(pl.col("time_spent_ms").sum()).sort("mock")
    assert seconds.collect()["time_spent_ms"].to_list() == [1_751_792_000, 1_692_443_000]


def test_all_zones_are_known(users: pl.LazyFrame) -> None:
    assert unknown_timezones(users).collect().height == 0


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        (
            "epm-001",
            {
                "tasks_completed": 662,
                "writing_tasks": 379,
                "reading_tasks": 283,
                "tasks_this_week": 151,
                "practice_minutes": 201.7,
                "mock_tests": 917,
                "current_streak": 1,
                "day_in_journey": 50,
                "tasks_completed_percentile_cohort": 60,
                "streak_percentile_cohort": 12,
                "practice_time_percentile_cohort": 36,
            },
        ),
        ("epm-089", {"tasks_completed": 50, "mock_tests": 474, "current_streak": 0}),
    ],
)
def test_users(november: pl.DataFrame, user_id: str, expected: Row) -> None:
    assert part(november.row(by_predicate=pl.col("user_id") == user_id, named=True), expected) == expected


@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        (
            "exam_first",
            {
                "active_member_count": 31,
                "avg_tasks_completed": Decimal("662.74"),
                "avg_tasks_this_week": Decimal("153.71"),
                "avg_practice_minutes": Decimal("273.87"),
                "avg_streak": Decimal("0.97"),
                "avg_days_practiced_per_week": Decimal("0.97"),
                "median_streak": 1,
                "top_10_percent_tasks": 883,
                "top_25_percent_tasks": 798,
            },
        ),
        (
            "exam_none",
            {
                "active_member_count": 11,
                "member_count": 22,
                "avg_tasks_completed": Decimal("402.00"),
                "avg_practice_minutes": Decimal("197.02"),
                "top_10_percent_tasks": 543,
            },
        ),
        (
            "global",
            {
                "active_member_count": 103,
                "avg_tasks_completed": Decimal("588.15"),
                "avg_practice_minutes": Decimal("245.14"),
            },
        ),
    ],
)
def test_cohorts_in_november(november: pl.DataFrame, cohort: str, expected: Row) -> None:
    rows = cohort_ghost_data(november.lazy(), NOVEMBER).collect()
    assert part(rows.row(by_predicate=pl.col("cohort_id") == cohort, named=True), expected) == expected


def test_cohorts_in_december(users: pl.LazyFrame, progress: pl.LazyFrame) -> None:
    rows = cohort_ghost_data(user_ghost_stats(users, progress, DECEMBER), DECEMBER).collect()
    everybody = {
        "snapshot_hour": 23,
        "active_member_count": 84,
        "member_count": 115,
        "avg_tasks_completed": Decimal("752.92"),
        "avg_tasks_this_week": Decimal("117.08"),
        "avg_practice_minutes": Decimal("301.38"),
        "avg_streak": Decimal("1.00"),
    }
    assert part(rows.row(by_predicate=pl.col("cohort_id") == "global", named=True), everybody) == everybody
    none = {"active_member_count": 5, "member_count": 22}
    assert part(rows.row(by_predicate=pl.col("cohort_id") == "exam_none", named=True), none) == none


def test_no_cell_has_fifty_achievers(users: pl.LazyFrame, progress: pl.LazyFrame) -> None:
    assert ghost_benchmarks(users, progress, at("2015-02-01T00:00")).collect().height == 0
