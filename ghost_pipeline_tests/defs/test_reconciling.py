"""Dagster's records are brought to the lake: what only the lake has is reported, what it has no longer is forgotten."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.reconciling import Differences, find_differences, reconcile
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, Month, hours
from ghost_pipeline_tests.running import run

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
KEYS = ["2025-03-12-09:00", "2025-03-12-10:00", "2025-03-12-11:00"]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three hours of events and cohorts, the newest hour of users, and a month."""
    lake = Lake(tmp_path / "lake")
    for hour in hours(NOON - 3 * HOUR, NOON):
        lake.write(USER_PROGRESS, hour, USER_PROGRESS.empty())
        lake.write(COHORT_GHOST_DATA, hour, COHORT_GHOST_DATA.empty())
    lake.write(USER_GHOST_STATS, Hour.ending_at(NOON), USER_GHOST_STATS.empty())
    lake.write(GHOST_BENCHMARKS, Month.from_key("2025-02"), GHOST_BENCHMARKS.empty())
    return lake


def settings(lake: Lake) -> Settings:
    return Settings.load(data=lake.root.parent, partitions_start="2025-01-01")


def differences(instance: dg.DagsterInstance, lake: Lake, now: datetime = NOON) -> Differences:
    return find_differences(instance, lake, settings(lake), TABLE_ASSETS, now)


def materialized(instance: dg.DagsterInstance, table: str) -> list[str]:
    return sorted(instance.get_materialized_partitions(dg.AssetKey(table)))


def records(folder: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(folder))


def test_what_only_the_lake_has_is_reported(lake: Lake, tmp_path: Path) -> None:
    with records(tmp_path) as instance:
        found = differences(instance, lake)
        assert found.gone == {}
        assert found.missing["user_progress"] == KEYS
        assert found.missing["ghost_benchmarks"] == ["2025-02"]
        reconcile(instance, found, NOON)
        assert materialized(instance, "user_progress") == KEYS
        assert materialized(instance, "user_ghost_stats") == KEYS[-1:]
        assert differences(instance, lake).is_empty


def test_tables_without_a_file_for_each_hour_have_the_hours_that_were_built(lake: Lake, tmp_path: Path) -> None:
    with records(tmp_path) as instance:
        missing = differences(instance, lake).missing
    assert missing["rejected_rows"] == missing["retention"] == missing["user_activity_days"] == KEYS


def test_hours_that_dagster_cannot_have_are_left_out(lake: Lake, tmp_path: Path) -> None:
    lake.write(USER_PROGRESS, Hour.from_key("2024-12-31-23:00"), USER_PROGRESS.empty())
    with records(tmp_path) as instance:
        assert differences(instance, lake, NOON - HOUR).missing["user_progress"] == KEYS[:-1]


def test_what_the_lake_has_no_longer_is_forgotten_with_its_checks(lake: Lake, tmp_path: Path) -> None:
    users, check = dg.AssetKey("user_ghost_stats"), dg.AssetCheckKey(dg.AssetKey("user_ghost_stats"), "structure")
    with records(tmp_path) as instance:
        for key in KEYS:
            instance.report_runless_asset_event(dg.AssetMaterialization(users, partition=key, tags={"a": "b"}))
            instance.report_runless_asset_event(dg.AssetCheckEvaluation(users, check.name, passed=False, partition=key))
        found = differences(instance, lake)
        assert found.gone == {"user_ghost_stats": KEYS[:-1]}
        reconcile(instance, found, NOON)
        assert materialized(instance, "user_ghost_stats") == KEYS[-1:]
        history = instance.event_log_storage.get_asset_check_execution_history(check, limit=9)
        assert [one.partition for one in history] == KEYS[-1:]
        assert differences(instance, lake).gone == {}


def test_the_schedule_requests_a_run_only_if_something_differs(lake: Lake, tmp_path: Path) -> None:
    repository = build_defs(settings(lake)).get_repository_def()

    def tick(instance: dg.DagsterInstance) -> int:
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=NOON,
            resources={"lake": lake},
            repository_def=repository,
        ) as context:
            return len(repository.get_schedule_def("reconcile_schedule").evaluate_tick(context).run_requests or [])

    with records(tmp_path) as instance:
        assert tick(instance) == 1
        assert repository.get_job("reconcile").execute_in_process(instance=instance).success
        assert tick(instance) == 0


def test_the_command_restores_what_a_lost_database_knew(demo_run: Path, tmp_path: Path) -> None:
    done = run(["reconcile", "--quiet"], demo_run, DAGSTER_HOME=str(tmp_path / "lost"))
    assert done.returncode == 0, done.stderr
    with dg.DagsterInstance.from_config(str(tmp_path / "lost")) as instance:
        assert materialized(instance, "cohort_ghost_data") == KEYS[-1:]
        there = [hour.key for hour in Lake(demo_run / "lake").hours(USER_PROGRESS)]
        assert materialized(instance, "user_progress") == there
        assert len(there) > 100
