"""`ghost-pipeline demo`: it goes on with its source, is the same at a fixed time, and mixes no two demos."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.cli import demo
from ghost_pipeline.cli.progress import NO_PROGRESS
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.reconciling import find_differences
from ghost_pipeline.demo_source.generated import generate_source
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Hour, Month, hours
from ghost_pipeline_tests.running import run

NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "generate_source", partial(generate_source, learners=600, typists=20))


def made(data: Path, as_of: datetime, days_ahead: int) -> dict[str, bytes]:
    """The files of the source after a demo at a time has generated it, or found it."""
    demo._generate(Settings.load(data=data), data / "source", as_of, days_ahead, NO_PROGRESS)  # noqa: SLF001
    return {file.name: file.read_bytes() for file in (data / "source").iterdir()}


def occupy(data: Path) -> None:
    Lake(data / "lake").write(COHORT_GHOST_DATA, Hour.ending_at(NOW), COHORT_GHOST_DATA.empty())


def test_people_practise_every_day_from_before_its_clock_to_the_end(tmp_path: Path) -> None:
    made(tmp_path, NOW, 31)
    for table, column in {"user_progress": "completed_at", "practice_sessions": "start_time"}.items():
        times = pl.read_parquet(tmp_path / "source" / f"{table}.parquet")[column]
        days = times.filter(times.is_between(NOW - 2 * DAY, NOW + 30 * DAY)).dt.date().n_unique()
        assert days == 33, table
        assert times.max() < NOW + 31 * DAY  # type: ignore[operator]


def test_a_demo_goes_on_with_the_source_that_is_there(tmp_path: Path) -> None:
    before = made(tmp_path, NOW, 31)
    assert json.loads(before[demo.CLOCK_FILE]) == {"as_of": "2026-11-30T14:00:00+00:00", "days_ahead": 31}
    occupy(tmp_path)
    assert made(tmp_path, NOW + 30 * DAY, 31) == before
    with pytest.raises(LakeError, match=r"contains the demo as of 2026-11-30T14:00Z.* Set GHOST_DATA to an empty"):
        made(tmp_path, NOW + 31 * DAY, 31)


def test_a_demo_at_a_fixed_time_is_mixed_with_no_other(tmp_path: Path) -> None:
    before = made(tmp_path, NOW, 0)
    occupy(tmp_path)
    assert made(tmp_path, NOW, 0) == before
    with pytest.raises(LakeError, match="Give --as-of 2026-11-30T14:00Z to build that one again"):
        made(tmp_path, NOW, 31)


def test_the_source_of_an_older_release_has_the_clock_of_that(tmp_path: Path) -> None:
    made(tmp_path, NOW, 0)
    (tmp_path / "source" / demo.CLOCK_FILE).unlink()
    occupy(tmp_path)
    with pytest.raises(LakeError, match="Give --as-of 2025-03-12T12:00Z"):
        made(tmp_path, NOW, 31)


@pytest.mark.long
def test_after_a_demo_nothing_is_late_and_dagster_has_what_the_lake_has(tmp_path: Path) -> None:
    begun = Hour.containing(wall_clock()).start
    done = run(["demo"], tmp_path)
    assert done.returncode == 0, done.stderr
    lake, settings = Lake(tmp_path / "lake"), Settings.load(data=tmp_path)
    end = max(lake.hours(COHORT_GHOST_DATA)).as_of
    # An hour may have ended between the look at the clock and the command's own.
    assert end in {begun, begun + HOUR}
    newest = set(hours(end - 48 * HOUR, end))
    assert newest <= set(lake.hours(COHORT_GHOST_DATA))
    assert newest <= set(lake.hours(NGRAM_SPEED_SUMMARY_HISTORY))
    assert Month.newest_complete(end) in lake.months(GHOST_BENCHMARKS)
    found = json.loads(run(["status", "--json"], tmp_path).stdout)
    assert [one["table"] for one in found["tables"] if one["late"]] == []
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        assert find_differences(instance, lake, settings, TABLE_ASSETS, wall_clock()).is_empty
