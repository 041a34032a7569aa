"""`ghost-pipeline status`: what is late, what was set aside, what failed last."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.contracts.activity import USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.defs.launcher import PROCESS, this_process
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.monitoring.status import status
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Day, Hour, Month
from ghost_pipeline_tests.running import run

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    for end in (NOON, NOON - timedelta(hours=1)):
        lake.write(COHORT_GHOST_DATA, Hour.ending_at(end), COHORT_GHOST_DATA.empty())
    lake.write(GHOST_BENCHMARKS, Month.from_key("2025-02"), GHOST_BENCHMARKS.empty())
    lake.write(USER_ACTIVITY_DAYS, Day.containing(NOON - timedelta(days=1)), USER_ACTIVITY_DAYS.empty())
    return lake


def rows(lake: Lake, now: datetime) -> dict[str, list[object]]:
    found = status(Settings.load(data=lake.root.parent), now).tables
    return {table: rest for table, *rest in found.select("table", "newest", "age_hours", "late").rows()}


def test_the_newest_partition_of_each_table_that_has_one(lake: Lake) -> None:
    assert rows(lake, NOON + timedelta(minutes=90)) == {
        "cohort_ghost_data": ["2025-03-12-11:00", 1, False],
        "ghost_benchmarks": ["2025-02", 277, False],
        "user_activity_days": ["2025-03-11", 13, False],
    }


def test_what_is_older_than_its_policy_is_late(lake: Lake) -> None:
    found = rows(lake, NOON + timedelta(hours=2, seconds=1))
    assert [found["cohort_ghost_data"][2], found["ghost_benchmarks"][2]] == [True, False]
    found = rows(lake, datetime(2025, 4, 5, 0, 0, 1, tzinfo=UTC))
    assert found["ghost_benchmarks"][2] is True


def test_rejected_rows_and_stale_hours_are_counted(lake: Lake) -> None:
    rejected = pl.DataFrame(
        {"source_table": "users", "hour": None, "reason": "user_id is missing", "row": "{}"},
        schema=REJECTED_ROWS.polars_schema,
    )
    lake.write(REJECTED_ROWS, Rejects("users", None), rejected)
    mark_stale(lake, [COHORT_GHOST_DATA], NOON - timedelta(hours=5), NOON)
    found = status(Settings.load(data=lake.root.parent), NOON)
    assert (found.rejected_rows, found.stale_hours, found.failed) == (1, 2, None)


def test_nothing_has_run_yet(tmp_path: Path) -> None:
    done = run(["status"], tmp_path)
    assert done.returncode == 0
    assert "last failed run: none" in done.stdout
    assert not (tmp_path / "dagster_home").exists()


def test_the_last_failed_run_is_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    users, cohorts, progress = (source / f"{name}.csv" for name in ("users", "cohorts", "user_progress"))
    users.write_text("user_id,created_at\nu1,2025-03-01\n", encoding="utf-8")
    cohorts.write_text("cohort_id\n", encoding="utf-8")
    progress.write_text("progress_id,user_id,task_type\n", encoding="utf-8")
    assert run(["materialize", "--as-of", "2025-03-12T12:00Z"], tmp_path, source).returncode == 1
    done = run(["status", "--json"], tmp_path)
    failed = json.loads(done.stdout)["last_failed_run"]
    assert (failed["job"], failed["partition"]) == ("hourly", "2025-03-12-11:00")
    assert "table user_progress lacks the column completed_at" in failed["error"]
    assert "\n" not in failed["error"]
    told = run(["alert", "--dry-run"], tmp_path)
    assert "run failed: the run of hourly of 2025-03-12-11:00 failed" in told.stdout
    assert "ghost-pipeline materialize --as-of 2025-03-12T12:00Z" in told.stdout
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        (recorded,) = instance.get_runs()
    assert recorded.tags[PROCESS].partition(":")[0] == this_process().partition(":")[0]
