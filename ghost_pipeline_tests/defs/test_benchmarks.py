"""The monthly tables as the steps write them, over the demo world."""

import json
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.defs.benchmarks import BENCHMARK_ASSETS, STABLE, materialize_ghost_benchmarks
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import RECORDED_DICTIONARY
from ghost_pipeline.errors import LakeError
from ghost_pipeline.publish.json_files import dictionary_texts
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.computing import compute_one, shown_rows
from ghost_pipeline_tests.running import DEMO_WORLD, lake_digest

FEBRUARY, MARCH = Month.from_key("2025-02"), Month.from_key("2025-03")
ONE_CELL = {"bands": (Decimal("7.5"),), "starting_skills": (Decimal("6.0"),)}
"""Where one cell is enough: the curves of all 24 take a second to draw."""


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """The demo world, taken in up to the end of March."""
    settings = Settings.load(source=str(DEMO_WORLD), data=tmp_path_factory.mktemp("data"))
    resources = RunContext.of(settings)
    for asset in RAW_ASSETS:
        if asset.contract.name in {"users", "cohorts", "user_progress"}:
            compute_one(asset.compute, resources, Hour.ending_at(MARCH.as_of))
    return resources


@dataclass(frozen=True)
class February:
    """A month that was computed once, for the tests that only look at it."""

    settings: Settings
    outcomes: dict[str, TableResult]
    streak_shares: pl.DataFrame
    dictionary: Any
    schema: Any


@pytest.fixture(scope="module")
def february(resources: RunContext, tmp_path_factory: pytest.TempPathFactory) -> February:
    of = with_settings(resources, data=tmp_path_factory.mktemp("february"))
    outcomes = run(of)
    recorded = of.lake.metadata(GHOST_BENCHMARKS, FEBRUARY)[RECORDED_DICTIONARY]
    dictionary, schema = (json.loads(text) for text in dictionary_texts(recorded).values())
    shares = of.lake.scan(GHOST_STREAK_SHARES, [FEBRUARY]).collect()
    return February(of.settings, outcomes, shares, dictionary, schema)


def run(resources: RunContext, month: Month = FEBRUARY) -> dict[str, TableResult]:
    return {asset.contract.name: compute_one(asset.compute, resources, month) for asset in BENCHMARK_ASSETS}


def with_settings(resources: RunContext, **changes: object) -> RunContext:
    return RunContext.of(resources.settings.model_copy(update=changes), resources.lake)


def test_one_part_and_sixteen_parts_give_the_same_bytes(resources: RunContext) -> None:
    run(resources)
    data = resources.settings.local
    once = lake_digest(data)
    run(with_settings(resources, shards=16))
    assert lake_digest(data) == once


def test_streak_shares_of_the_demo_world(february: February) -> None:
    shares = february.streak_shares.filter(pl.col("target_band") == 7.5)
    # Of all starts there are 53: the three beside the 50 of one start would be shown by subtraction.
    assert shares.select("starting_skill", "streak_threshold", "sample_size", "percentage").head(3).rows() == [
        (Decimal("6.0"), 3, 50, 98),
        (Decimal("6.0"), 5, 50, 98),
        (Decimal("6.0"), 7, 50, 73),
    ]


def test_the_dictionary_fulfils_its_schema(february: February) -> None:
    nested = february.dictionary
    Draft202012Validator.check_schema(february.schema)
    Draft202012Validator(february.schema).validate(nested)
    assert set(nested) == {"band_7.5_achievers"}
    assert len(nested["band_7.5_achievers"]["starting_skill_6.0"]) == 90


def test_the_schema_refuses_a_figure_that_is_no_number(february: February) -> None:
    nested = deepcopy(february.dictionary)
    nested["band_7.5_achievers"]["starting_skill_6.0"]["day_1"]["mock_tests"] = "none"
    assert not Draft202012Validator(february.schema).is_valid(nested)


def test_a_cell_that_shrank_below_the_minimum_is_gone_after_the_refresh(resources: RunContext) -> None:
    run(resources)
    assert run(with_settings(resources, min_sample=52))["ghost_benchmarks"].rows == 270
    left = resources.lake.scan(GHOST_BENCHMARKS, [FEBRUARY]).select("population", "target_band").unique().collect()
    assert [(population, float(band)) for population, band in left.iter_rows()] == [("at_least", 7.0)]


def test_a_figure_that_moved_too_far_is_named(resources: RunContext) -> None:
    resources = with_settings(resources, **ONE_CELL)
    run(resources)
    february = resources.lake.scan(GHOST_BENCHMARKS, [FEBRUARY]).collect()
    same = compute_one(materialize_ghost_benchmarks, resources, MARCH)
    assert same.warnings[STABLE.name] == []
    day_12 = (pl.col("day_number") == 12) & (pl.col("success_percentile") == 25) & (pl.col("population") == "interval")
    moved = february.with_columns(
        pl.when(day_12).then(pl.lit(30, pl.Int32)).otherwise("avg_tasks_completed").alias("avg_tasks_completed")
    )
    resources.lake.write(GHOST_BENCHMARKS, FEBRUARY, moved)
    assert compute_one(materialize_ghost_benchmarks, resources, MARCH).warnings[STABLE.name] == [
        "avg_tasks_completed of interval 7.5 from 6.0, day 12, top 25 %: 30 in 2025-02, 15 now"
    ]
    resources.lake.remove(GHOST_BENCHMARKS, MARCH)


def test_the_cells_say_what_is_missing_and_why(february: February) -> None:
    samples = shown_rows(february.outcomes["ghost_benchmarks"].metadata["samples"])
    assert ("interval", "7.5", "6.0", 50, 50, 90, None) in samples
    assert ("interval", "8.0", "5.0", 0, 0, 0, "no achievers") in samples
    assert "fewer than 50 achievers" in {row[-1] for row in samples}


def test_the_curves_are_pictures_that_carry_their_data(february: February) -> None:
    for name in ("curves_interval", "curves_at_least"):
        assert "(data:image/png;base64,iVBOR" in str(february.outcomes["ghost_benchmarks"].metadata[name])


def test_ties_are_broken_alike_in_one_part_and_in_sixteen(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    pl.DataFrame(
        {
            "user_id": [f"u{number:03}" for number in range(60)],
            "diagnostic_score": [5.5] * 60,
            "final_band_score": [7.5] * 60,
            "final_band_at": ["2025-02-01"] * 60,
            "created_at": ["2025-01-01"] * 60,
        }
    ).write_csv(source / "users.csv")
    (source / "cohorts.csv").write_text("cohort_id\n")
    pl.DataFrame(
        {
            "progress_id": [f"p{number}" for number in range(60)],
            "user_id": [f"u{number:03}" for number in range(60)],
            "task_type": ["reading"] * 60,
            "completed_at": ["2025-01-05"] * 60,
            "time_spent_minutes": [10 * number for number in range(60)],
        }
    ).write_csv(source / "user_progress.csv")
    settings = Settings.load(source=str(source), data=tmp_path / "data", shards=1, bands="7.5", starting_skills="5.5")
    one = RunContext.of(settings)
    for asset in RAW_ASSETS:
        if asset.contract.name in {"users", "cohorts", "user_progress"}:
            compute_one(asset.compute, one, Hour.ending_at(FEBRUARY.as_of))
    run(one)
    fastest = one.lake.scan(GHOST_FASTEST_IMPROVERS).collect()
    assert [float(value) for value in fastest["minutes_per_day"]] == [2.3]
    once = lake_digest(settings.local)
    run(with_settings(one, shards=16))
    assert lake_digest(settings.local) == once


def test_a_month_that_has_not_been_taken_in_is_an_error(tmp_path: Path) -> None:
    settings = Settings.load(source=str(DEMO_WORLD), data=tmp_path)
    with pytest.raises(LakeError, match=r"user_progress, month 2025-02: is not ingested yet"):
        compute_one(materialize_ghost_benchmarks, RunContext.of(settings), FEBRUARY)
