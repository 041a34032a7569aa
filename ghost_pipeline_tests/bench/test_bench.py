"""Every contender at a tiny size: what is compared runs, and chDB has the figures of the pipeline."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.bench import hourly
from ghost_pipeline_tests.bench.__main__ import main
from ghost_pipeline_tests.bench.chdb_contender import chdb_python, measure_chdb, prepare_chdb

pytestmark = pytest.mark.long

SUITES = (
    "hourly",
    "source_postgres",
    "published_postgres",
    "month",
    "messages",
    "releases",
    "ngram_summaries",
    "ngram_hour",
    "ngram_extraction_to_5",
    "ngram_extraction_to_20",
    "ngram_extraction_steps",
    "whole_hour",
    "whole_hour_postgres",
    "whole_hour_course_runs",
    "publication",
)
SIZES = {"users": 400, "events": 20_000, "rows": 2_000, "achievers": 300, "typists": 4, "keys": 20_000, "runs": 1}
TINY = [part for name, size in SIZES.items() for part in (f"--{name}", str(size))]
FIGURES = {
    "tasks": "tasks_completed",
    "week": "tasks_this_week",
    "ms": "practice_time_ms",
    "speaking": "speaking_tasks",
    "writing": "writing_tasks",
    "reading": "reading_tasks",
    "listening": "listening_tasks",
    "mock_tests": "mock_tests",
    "days": "days_practiced",
    "streak": "current_streak",
    "longest": "longest_streak",
    "active": "is_active_member",
    "day_in_journey": "day_in_journey",
}


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_prints_a_table_of_its_contenders(suite: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*TINY, "--only", suite, "--folder", str(tmp_path), "--json", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "| contender |" in result.output
    assert (tmp_path / f"{suite}.json").stat().st_size > 0


def test_an_unknown_suite_is_refused() -> None:
    assert CliRunner().invoke(main, ["--only", "nothing"]).exit_code == 2


def test_chdb_has_the_figures_of_the_pipeline(tmp_path: Path) -> None:
    python = chdb_python()
    if python is None:
        pytest.skip("chDB cannot be installed here")
    hourly.prepare(tmp_path, 500, 30_000)
    prepare_chdb(python, tmp_path, hourly.AS_OF)
    measure_chdb(python, tmp_path, hourly.AS_OF, 1)
    theirs = pl.read_parquet(tmp_path / "chdb-out-users.parquet").rename(FIGURES).sort("user_id")
    ours = Lake(tmp_path / "lake").scan(USER_GHOST_STATS, [Hour.ending_at(hourly.AS_OF)]).collect().sort("user_id")
    names = ["user_id", *FIGURES.values()]
    assert ours.select(names).equals(theirs.select(names).cast(pl.Schema(ours.select(names).schema)))
