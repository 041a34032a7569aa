"""What is deleted of Dagster's records of runs, and what stays."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.cli.dagster_home import DAGSTER_YAML
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.definitions import build_defs
from ghost_pipeline.defs import run_records
from ghost_pipeline.defs.event_storage import delete_runs
from ghost_pipeline.settings import Settings


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def table() -> None:
    print("told to nobody in particular")  # noqa: T201 - what a run prints is kept, too


def materialize(instance: dg.DagsterInstance, partition: str) -> str:
    return dg.materialize([table], instance=instance, partition_key=partition).run_id


def age(home: Path, run_id: str, days: int) -> None:
    """As if a run had ended so many days ago."""
    when = (wall_clock() - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with closing(sqlite3.connect(home / "history" / "runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET update_timestamp = ? WHERE run_id = ?", (when, run_id))


def test_the_job_deletes_runs_that_ended_too_long_ago_with_events_and_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_records, "RUNS_AT_ONCE", 1)
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        old, older, young = (materialize(instance, partition) for partition in "aab")
        running = instance.create_run_for_job(dg.Definitions([table]).resolve_implicit_global_asset_job_def())
        for run_id, days in ((old, 31), (older, 400), (young, 29), (running.run_id, 400)):
            age(tmp_path, run_id, days)
        assert (tmp_path / "storage" / old).is_dir()
        pruning = build_defs(Settings.load(data=tmp_path, keep_run_days=30)).get_job_def("prune_run_records")
        done = pruning.execute_in_process(instance=instance)
        assert {run.run_id for run in instance.get_runs()} == {young, running.run_id, done.run_id}
        assert instance.all_logs(old) == []
        # The lake still has it, and so has Dagster: once, by the last run that made it.
        assert instance.get_materialized_partitions(dg.AssetKey("table")) == {"a", "b"}
        kept = instance.fetch_materializations(dg.AssetRecordsFilter(dg.AssetKey("table"), ["a"]), limit=9).records
        assert [record.run_id for record in kept] == [older]
        assert instance.all_logs(young)
        assert not (tmp_path / "storage" / old).exists()
        assert (tmp_path / "storage" / young).is_dir()
        (output,) = (event for event in done.all_node_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT)
        assert output.event_specific_data.metadata["runs_deleted"].value == 2  # type: ignore[union-attr]
        assert pruning.execute_in_process(instance=instance).success


@dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="checked")])
def checked() -> Iterator[object]:
    yield dg.AssetCheckResult(check_name="whole", passed=True)
    yield dg.MaterializeResult()


def runs_with_a_result(instance: dg.DagsterInstance) -> list[str]:
    """The runs that the check has results of, the newest first."""
    key = dg.AssetCheckKey(dg.AssetKey("checked"), "whole")
    return [one.run_id for one in instance.event_log_storage.get_asset_check_execution_history(key, limit=9)]


def test_of_results_of_checks_only_those_of_runs_that_stay_and_the_newest_are_kept(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        oldest, older, newest = (dg.materialize([checked], instance=instance).run_id for _ in range(3))
        delete_runs(instance, [oldest])
        assert runs_with_a_result(instance) == [newest, older]
        delete_runs(instance, [newest])
        # It tells how the table is, however long ago that was found.
        assert runs_with_a_result(instance) == [newest, older]
        delete_runs(instance, [older])
        assert runs_with_a_result(instance) == [newest]
