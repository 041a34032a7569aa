"""Runs of commands in Dagster's records: they belong to the code location, and every planned check has a result."""

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
import yaml

from ghost_pipeline.cli.main import main
from ghost_pipeline.defs.launcher import LOCATION, PROCESS
from ghost_pipeline_tests.running import DEMO_WORLD, run

ROOT = Path(main.callback.__code__.co_filename).parent.parent.parent if main.callback else Path()
COHORTS = dg.AssetKey("cohort_ghost_data")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hours of the demo world, built by one backfill."""
    folder = tmp_path_factory.mktemp("data")
    done = run(["backfill", "--from", "2025-03-12T10:00Z", "--to", "2025-03-12T12:00Z"], folder, DEMO_WORLD)
    assert done.returncode == 0, done.stderr
    return folder


def runs(data: Path) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(data / "dagster_home")) as instance:
        return list(instance.get_runs())


def test_the_location_has_the_name_that_every_workspace_gives_it() -> None:
    for file in (ROOT / "workspace.yaml", ROOT / "deploy" / "workspace.yaml"):
        (location,) = yaml.safe_load(file.read_text(encoding="utf-8"))["load_from"]
        assert [one["location_name"] for one in location.values()] == [LOCATION]


def test_every_run_of_a_command_belongs_to_the_code_location(data: Path) -> None:
    found = runs(data)
    assert {one.job_name for one in found} == {"hourly", "monthly"}
    for one in found:
        assert one.remote_job_origin is not None
        assert one.remote_job_origin.location_name == LOCATION
        assert one.tags["dagster/code_location"] == LOCATION
        assert one.tags_for_storage()[".dagster/repository"] == f"__repository__@{LOCATION}"
        assert one.tags[PROCESS]
        # The daemon starts none of them again.
        assert one.tags["dagster/max_retries"] == "0"


def test_a_failed_run_of_a_command_belongs_to_it_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("users", "cohorts", "user_progress"):
        (source / f"{name}.parquet").write_bytes(b"PAR1x")
    assert run(["materialize", "--as-of", "2025-03-12T12:00Z"], tmp_path / "data", source).returncode == 1
    (failed,) = runs(tmp_path / "data")
    assert failed.status is dg.DagsterRunStatus.FAILURE
    assert failed.remote_job_origin is not None


def test_no_check_of_a_range_is_left_without_a_result(data: Path) -> None:
    with dg.DagsterInstance.from_config(str(data / "dagster_home")) as instance:
        storage = instance.event_log_storage
        for name, partitions in {
            "structure": ["2025-03-12-10:00", "2025-03-12-11:00"],
            "coverage": ["2025-03-12-10:00", "2025-03-12-11:00"],
            "period_over_period": ["2025-03-12-10:00", "2025-03-12-11:00"],
            "freshness": ["2025-03-12-10:00", "2025-03-12-11:00"],
        }.items():
            history = storage.get_asset_check_execution_history(dg.AssetCheckKey(COHORTS, name), limit=99)
            assert Counter(one.partition for one in history) == Counter(partitions), name
            assert {one.status.value for one in history} <= {"SUCCEEDED", "FAILED"}, name
        every = [dg.AssetCheckKey(key, "structure") for key in instance.get_asset_keys()]
        planned = [
            key
            for key in every
            for one in storage.get_asset_check_execution_history(key, limit=99)
            if one.status.value == "PLANNED"
        ]
        assert planned == []


def test_a_run_of_older_hours_leaves_the_result_of_the_newest(data: Path) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("user_progress"), "coverage")
    with dg.DagsterInstance.from_config(str(data / "dagster_home")) as instance:
        storage = instance.event_log_storage
        before = storage.get_asset_check_execution_history(key, limit=1)[0].evaluation
        done = run(["backfill", "--from", "2025-03-01T00:00Z", "--to", "2025-03-01T02:00Z"], data, DEMO_WORLD)
        assert done.returncode == 0, done.stderr
        after = storage.get_asset_check_execution_history(key, limit=1)[0].evaluation
    assert before is not None
    assert after is not None
    assert (after.passed, after.metadata) == (before.passed, before.metadata)
