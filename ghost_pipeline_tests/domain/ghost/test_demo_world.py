"""The demo world, 84 invented people: every figure its README promises."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.domain.ghost.benchmarks.ghost_fastest_improvers import user_minutes_per_day
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline_tests.domain.ghost.ghost_frames import INSTANT, Row, at
from ghost_pipeline_tests.reference.months import benchmark_day, ghost_benchmarks, ghost_streak_shares
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

FOLDER = Path(__file__).parents[2] / "data" / "demo_world"
AS_OF = at("2025-03-12T12:00")
MONTH_END = at("2025-03-01T00:00")


@pytest.fixture(scope="module")
def users() -> pl.LazyFrame:
    return pl.scan_parquet(FOLDER / "users.parquet").with_columns(score_known_at=pl.lit(None, dtype=INSTANT))


@pytest.fixture(scope="module")
def progress() -> pl.LazyFrame:
    milliseconds = (pl.col("time_spent_minutes") * 60_000).cast(pl.Int64)
    return pl.scan_parquet(FOLDER / "user_progress.parquet").with_columns(time_spent_ms=milliseconds)


@pytest.fixture(scope="module")
def stats(users: pl.LazyFrame, progress: pl.LazyFrame) -> pl.DataFrame:
    return user_ghost_stats(users, progress, AS_OF).collect()


@pytest.fixture(scope="module")
def benchmarks(users: pl.LazyFrame, progress: pl.LazyFrame) -> pl.DataFrame:
    return ghost_benchmarks(users, progress, MONTH_END).collect()


def part(row: Row, expected: Row) -> Row:
    return {name: row[name] for name in expected}


def test_rows(users: pl.LazyFrame, progress: pl.LazyFrame) -> None:
    events = progress.collect()
    assert (users.collect().height, events.height, events["time_spent_minutes"].sum()) == (84, 1603, 31_694)
    assert dict(events["task_type"].value_counts().iter_rows()) == {
        "reading": 829,
        "writing": 224,
        "speaking": 154,
        "listening": 144,
        "vocabulary": 132,
        "grammar": 120,
    }


def test_me(stats: pl.DataFrame) -> None:
    me = {
        "tasks_completed": 8,
        "tasks_this_week": 5,
        "practice_minutes": 140.0,
        "current_streak": 5,
        "day_in_journey": 12,
        "tasks_completed_percentile_cohort": 35,
        "tasks_completed_percentile_global": 11,
        "starting_skill": Decimal("6.0"),
    }
    assert part(stats.row(by_predicate=pl.col("user_id") == "me", named=True), me) == me


def test_my_sides_of_the_messages(stats: pl.DataFrame) -> None:
    own = stats.lazy().filter(pl.col("user_id") == "me").select(benchmark_day(), user_minutes_per_day())
    assert own.collect().row(0) == (12, Decimal("11.7"))


@pytest.mark.parametrize(("cohort", "members"), [("c1", 28), ("global", 84)])
def test_the_cohort(stats: pl.DataFrame, cohort: str, members: int) -> None:
    expected = {
        "member_count": members,
        "active_member_count": 24,
        "avg_tasks_completed": Decimal("12.00"),
        "avg_tasks_this_week": Decimal("8.00"),
        "avg_practice_minutes": Decimal("180.83"),
        "avg_streak": Decimal("5.92"),
        "median_streak": 7,
        "avg_days_practiced_per_week": Decimal("5.92"),
        "top_10_percent_tasks": 22,
        "top_25_percent_tasks": 18,
        "top_10_percent_days_practiced": 7,
    }
    rows = cohort_ghost_data(stats.lazy(), AS_OF).collect()
    assert part(rows.row(by_predicate=pl.col("cohort_id") == cohort, named=True), expected) == expected


def test_the_cohort_an_hour_later(users: pl.LazyFrame, progress: pl.LazyFrame) -> None:
    later = AS_OF + timedelta(hours=1)
    rows = cohort_ghost_data(user_ghost_stats(users, progress, later), later).collect()
    c1 = rows.row(by_predicate=pl.col("cohort_id") == "c1", named=True)
    assert (c1["avg_tasks_completed"], c1["avg_practice_minutes"]) == (Decimal("12.04"), Decimal("184.96"))


def test_benchmark_rows(benchmarks: pl.DataFrame) -> None:
    rows = benchmarks.group_by("population", "target_band", "starting_skill", "sample_size").len().sort(pl.all())
    assert rows.rows() == [
        ("at_least", Decimal("7.0"), Decimal("6.0"), 50, 270),
        ("at_least", Decimal("7.5"), Decimal("6.0"), 50, 270),
        ("interval", Decimal("7.5"), Decimal("6.0"), 50, 270),
    ]


@pytest.mark.parametrize(
    ("population", "band", "day", "percentile", "tasks", "minutes"),
    [
        ("interval", "7.5", 12, 10, 20, 270),
        ("interval", "7.5", 12, 25, 15, 200),
        ("interval", "7.5", 12, 50, 10, 130),
        ("interval", "7.5", 13, 25, 17, 220),
        ("interval", "7.5", 90, 25, 17, 220),
        ("at_least", "7.0", 12, 25, 16, 208),
    ],
)
def test_benchmarks(
    benchmarks: pl.DataFrame,
    population: str,
    band: str,
    day: int,
    percentile: int,
    tasks: int,
    minutes: int,
) -> None:
    row = benchmarks.filter(
        population=population,
        target_band=Decimal(band),
        day_number=day,
        success_percentile=percentile,
    )
    assert row.select("avg_tasks_completed", "avg_practice_minutes").rows() == [(tasks, minutes)]


@pytest.mark.parametrize(
    ("start", "sample", "percentages"),
    [(None, 50, {3: 94, 5: 94, 7: 70}), (Decimal("6.0"), 50, {3: 98, 5: 98, 7: 73})],
)
def test_streak_shares(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    start: Decimal | None,
    sample: int,
    percentages: dict[int, int],
) -> None:
    shares = ghost_streak_shares(users, progress, MONTH_END).filter(
        pl.col("target_band") == Decimal("7.5"),
        pl.col("starting_skill").eq_missing(pl.lit(start, dtype=pl.Decimal(2, 1))),
        pl.col("streak_threshold").is_in(list(percentages)),
    )
    assert shares.select("streak_threshold", "sample_size", "percentage").collect().rows() == [
        (days, sample, percentage) for days, percentage in percentages.items()
    ]
