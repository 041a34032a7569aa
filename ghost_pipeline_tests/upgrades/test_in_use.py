"""A lake of an earlier release goes on: the next hour and month, with the contracts of today and with others.

What comes out is what a lake has that was written from scratch, but for what can never be computed again.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import LAYOUT_FILE
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.running import lake_digest, published_rows
from ghost_pipeline_tests.upgrades.conftest import RELEASES
from ghost_pipeline_tests.upgrades.edits import EVERY, edited_package
from ghost_pipeline_tests.upgrades.record import NEXT_HOUR, NEXT_MONTH, RECORDED, materialize, run, unpack, write_source

pytestmark = pytest.mark.long

LESSON = {"lesson_id": "l1", "user_id": "u01", "started_at": "2025-03-12T11:30:00Z"}
RELEASED = "SELECT as_of, cohort_id, median_tasks_this_week FROM lake.cohort_ghost_release ORDER BY ALL"
KEPT = {
    *("cohort_ghost_release", "cohort_release_contributions", "users", "user_progress", "rejected_rows", "lessons"),
    "ngram_speed_summary_history",
}
"""Ledgers and raw tables keep their files of before, and so does the history whose key has changed.

A new table has no files of the hours before it was first read.
"""


@dataclass(frozen=True)
class InUse:
    """A lake that goes on, and one from scratch, by the same package."""

    folder: Path
    package: Path | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = run(self.folder, *arguments, package=self.package)
        assert done.returncode == 0, done.stderr
        return done

    def rows(self, sql: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.run("query", sql, "--json").stdout)
        return found


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- with the contracts of today ---


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    write_source(folder / "source")
    materialize(folder, [*RECORDED, NEXT_HOUR, NEXT_MONTH])
    return folder / "data"


@pytest.fixture(scope="module")
def went_on(release: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("went-on")
    unpack(release, folder)
    materialize(folder, [NEXT_HOUR, NEXT_MONTH])
    return folder / "data"


def test_a_lake_that_went_on_has_the_files_of_one_from_scratch(went_on: Path, scratch: Path) -> None:
    found, expected = lake_digest(went_on), lake_digest(scratch)
    assert found.keys() == expected.keys()
    # The ledger keeps what an earlier release has shown, by the rules of then.
    lake = Lake(went_on / "lake")
    recorded = [lake.path(COHORT_GHOST_RELEASE, Hour.ending_at(datetime.fromisoformat(end))) for end in RECORDED]
    kept = {str(path).removeprefix(f"{lake.root}/") for path in recorded}
    assert kept <= found.keys()
    assert [name for name in found if found[name] != expected[name] and name not in kept] == []
    assert (went_on / "lake" / LAYOUT_FILE).read_bytes() == (scratch / "lake" / LAYOUT_FILE).read_bytes()


def test_what_is_published_is_what_one_from_scratch_publishes(went_on: Path, scratch: Path) -> None:
    assert published_rows(went_on) == published_rows(scratch)


# --- with other contracts ---


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edited_package(tmp_path_factory.mktemp("package"), EVERY)


def with_lesson(folder: Path) -> None:
    (folder / "source" / "lessons.ndjson").write_text(f"{json.dumps(LESSON)}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def next_hour(release: str, package: Path, tmp_path_factory: pytest.TempPathFactory) -> InUse:
    """The next hour, by a release that has changed contracts in every way."""
    found = InUse(tmp_path_factory.mktemp("next-hour"), package)
    unpack(release, found.folder)
    with_lesson(found.folder)
    found.run("materialize", "--as-of", NEXT_HOUR)
    return found


@pytest.fixture(scope="module")
def rebuilt(next_hour: InUse, tmp_path_factory: pytest.TempPathFactory) -> InUse:
    """The next month after that, and then what is stale."""
    folder = Path(shutil.copytree(next_hour.folder, tmp_path_factory.mktemp("rebuilt") / "it"))
    found = InUse(folder, next_hour.package)
    found.run("materialize", "--as-of", NEXT_MONTH)
    found.run("backfill", "--stale")
    return found


@pytest.fixture(scope="module")
def from_scratch(package: Path, tmp_path_factory: pytest.TempPathFactory) -> InUse:
    folder = tmp_path_factory.mktemp("from-scratch")
    write_source(folder / "source")
    with_lesson(folder)
    materialize(folder, [*RECORDED, NEXT_HOUR, NEXT_MONTH], package)
    return InUse(folder, package)


def test_a_new_figure_is_in_the_next_hour_and_null_before(next_hour: InUse) -> None:
    found = next_hour.rows(
        "SELECT DISTINCT as_of, median_tasks_this_week IS NULL AS is_null, avg_other_tasks IS NULL AS other_is_null "
        "FROM lake.cohort_ghost_data ORDER BY as_of"
    )
    assert [(row["is_null"], row["other_is_null"]) for row in found] == [(True, True), (True, True), (False, False)]


def test_the_ledger_of_releases_goes_on_with_the_new_figure(next_hour: InUse) -> None:
    rows = next_hour.rows(RELEASED)
    assert [row["median_tasks_this_week"] is None for row in rows] == [True] * 6 + [False] * 3


def test_what_lacks_the_new_columns_is_listed_as_stale(next_hour: InUse) -> None:
    found = json.loads(next_hour.run("stale", "--json").stdout)
    stale = {(row["table"], row["hour"] or row["month"]) for row in found}
    hours = ("2025-03-12T09:00:00Z", "2025-03-12T10:00:00Z")
    # The month has been computed again; messages are stale because the changed range has rejected events.
    tables = ("user_ghost_stats", "cohort_ghost_data", "ghost_messages")
    assert stale == {(table, hour) for table in tables for hour in hours}


def test_a_new_figure_of_months_is_published(next_hour: InUse) -> None:
    rows = next_hour.rows("SELECT count(*) AS all, count(avg_reading_minutes) AS known FROM ghost_benchmarks")
    assert rows[0]["all"] == rows[0]["known"] == 30


def test_a_dropped_column_is_in_no_answer(next_hour: InUse) -> None:
    for table in ("lake.cohort_ghost_data", "cohort_ghost_release"):
        assert "median_streak" not in next_hour.rows(f"SELECT * FROM {table} LIMIT 1")[0]  # noqa: S608 - our own names


def test_a_changed_description_is_published(next_hour: InUse) -> None:
    sql = (
        "SELECT comment FROM duckdb_columns() WHERE database_name = 'published' "
        "AND table_name = 'cohort_ghost_release' AND column_name = 'avg_streak'"
    )
    assert next_hour.rows(sql) == [{"comment": "Mean of the running streaks in days"}]


def test_a_changed_key_is_published(next_hour: InUse) -> None:
    sql = "SELECT constraint_column_names AS key FROM duckdb_constraints() WHERE table_name = 'ngram_speed_summaries' "
    assert next_hour.rows(f"{sql} AND constraint_type = 'PRIMARY KEY'") == [
        {"key": ["user_id", "keyboard_id", "ngram_text"]}
    ]


def test_a_new_table_has_its_rows(next_hour: InUse) -> None:
    assert next_hour.rows("SELECT lesson_id FROM lake.lessons") == [{"lesson_id": "l1"}]


def test_after_one_backfill_nothing_is_stale(rebuilt: InUse) -> None:
    assert json.loads(rebuilt.run("stale", "--json").stdout) == []


def test_what_can_be_computed_again_is_what_a_lake_from_scratch_has(rebuilt: InUse, from_scratch: InUse) -> None:
    found, expected = lake_digest(rebuilt.data), lake_digest(from_scratch.data)
    differing = {name.split("/")[0] for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
    assert differing <= KEPT


def test_a_history_whose_key_has_changed_differs_in_its_ids_alone(rebuilt: InUse, from_scratch: InUse) -> None:
    found, expected = (
        pl.read_parquet(lake.data / "lake" / "ngram_speed_summary_history", hive_partitioning=False)
        .drop("summary_id")
        .sort(pl.all())
        for lake in (rebuilt, from_scratch)
    )
    assert found.height > 0
    assert found.equals(expected)


def test_the_ledger_keeps_its_rows(rebuilt: InUse) -> None:
    ledger = rebuilt.data / "lake" / "cohort_ghost_release"
    frames = [pl.read_parquet(file, hive_partitioning=False) for file in sorted(ledger.rglob("*.parquet"))]
    assert ["median_tasks_this_week" in frame.columns for frame in frames] == [False, False, True, True]
