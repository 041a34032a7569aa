"""Events of runs whose files were kept open: Dagster's own storage reads them, during the runs and afterwards."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from ghost_pipeline.defs import event_storage
from ghost_pipeline.defs.checks import Check, report
from ghost_pipeline.defs.event_storage import BATCH, MOST_OPEN, open_event_files


@dg.asset
def numbers() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 7})


EVALUATED = dg.DagsterEventType.ASSET_CHECK_EVALUATION
CHECK = Check("whole", "Fails in one hour.")
FAILING = "2025-03-12-06:00"
WHOLE = dg.AssetCheckKey(dg.AssetKey("by_hour"), "whole")
HOURS = dg.HourlyPartitionsDefinition("2025-03-12-00:00", fmt="%Y-%m-%d-%H:%M")


@dg.asset(
    partitions_def=HOURS,
    backfill_policy=dg.BackfillPolicy.multi_run(24),
    check_specs=[CHECK.spec("by_hour", HOURS)],
)
def by_hour(context: dg.AssetExecutionContext) -> Iterator[object]:
    for key in context.partition_keys:
        context.add_asset_metadata({"hour": key}, partition_key=key)
    yield from report(
        "by_hour", CHECK, {key: dg.AssetCheckResult(passed=key != FAILING) for key in context.partition_keys}
    )
    yield dg.MaterializeResult(data_version=dg.DataVersion("7"))


def run_of_hours(instance: dg.DagsterInstance) -> str:
    tags = {
        "dagster/asset_partition_range_start": "2025-03-12-04:00",
        "dagster/asset_partition_range_end": "2025-03-12-09:00",
    }
    return dg.materialize([by_hour], instance=instance, tags=tags).run_id


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def run(instance: dg.DagsterInstance) -> str:
    return dg.materialize([numbers], instance=instance).run_id


def event_types(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    entries = (record.event_log_entry for record in instance.get_records_for_run(run_id).records)
    return [entry.get_dagster_event().event_type_value for entry in entries if entry.is_dagster_event]


def opened(folder: Path) -> set[str]:
    """The databases that this process holds open."""
    files = (str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return {file for file in files if file.startswith(str(folder)) and file.endswith(".db")}


def test_a_run_has_the_events_that_it_has_without(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    plain = event_types(instance, run(instance))
    with open_event_files(instance):
        run_id = run(instance)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as other:
        assert event_types(other, run_id) == plain


def test_partitions_that_are_stored_together_are_those_that_are_stored_alone(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    plain = event_types(instance, run_of_hours(instance))
    with open_event_files(instance):
        run_id = run_of_hours(instance)
    key = dg.AssetKey("by_hour")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as other:
        assert event_types(other, run_id) == plain
        assert plain.count("ASSET_MATERIALIZATION") == 6
        found = other.fetch_materializations(key, limit=100).records
        of_run = [one for one in found if one.run_id == run_id]
        hours = {str(one.partition_key): one.asset_materialization for one in of_run}
        assert sorted(hours) == [f"2025-03-12-{hour:02}:00" for hour in range(4, 10)]
        assert all(one and one.metadata["hour"].value == partition for partition, one in hours.items())
        assert other.get_materialized_partitions(key) == set(hours)
        latest = other.get_latest_materialization_event(key)
        assert latest is not None
        assert latest.run_id == run_id
        tags = other.get_event_tags_for_asset(key, filter_tags={"dagster/data_version": "7"})
        assert len(tags) == 2 * 6


def statuses(instance: dg.DagsterInstance, run_id: str) -> dict[str | None, tuple[str, str | None]]:
    """By partition: the status of the check, and the partition of the evaluation that it is from."""
    found = instance.event_log_storage.get_asset_check_execution_history(WHOLE, limit=100)
    of_run = [one for one in found if one.run_id == run_id]
    assert len(of_run) == len({one.partition for one in of_run})
    return {one.partition: (one.status.value, one.evaluation.partition if one.evaluation else None) for one in of_run}


@pytest.mark.parametrize("together", [1, 4, 500])
def test_evaluations_that_are_stored_together_are_those_that_are_stored_alone(
    together: int, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_storage, "STORED_TOGETHER", together)
    plain = statuses(instance, run_of_hours(instance))
    with open_event_files(instance):
        run_id = run_of_hours(instance)
        again = run_of_hours(instance)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as other:
        assert statuses(other, run_id) == statuses(other, again) == plain
        assert len(plain) == 6
        assert plain[FAILING] == ("FAILED", FAILING)
        assert list(plain.values()).count(("FAILED", FAILING)) == 1


def test_who_reads_sees_evaluations_that_wait_for_others(instance: dg.DagsterInstance) -> None:
    seen: list[int] = []

    @dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="looked_at")])
    def looked_at(context: dg.AssetExecutionContext) -> Iterator[object]:
        yield dg.AssetCheckResult(check_name="whole", passed=True)
        records = context.instance.get_records_for_run(context.run.run_id).records
        seen.append(sum(one.event_log_entry.dagster_event_type == EVALUATED for one in records))
        yield dg.MaterializeResult()

    with open_event_files(instance):
        dg.materialize([looked_at], instance=instance)
    assert seen == [1]


def test_an_evaluation_is_stored_although_the_block_is_left_by_an_error(instance: dg.DagsterInstance) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="failing")])
    def failing() -> Iterator[object]:
        yield dg.AssetCheckResult(check_name="whole", passed=False)
        raise RuntimeError("breaks")

    with pytest.raises(RuntimeError, match="breaks"), open_event_files(instance):
        dg.materialize([failing], instance=instance)
    key = dg.AssetCheckKey(dg.AssetKey("failing"), "whole")
    (found,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    assert found.status.value == "FAILED"


def test_after_the_block_dagster_stores_events_as_it_is_set_up_to(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BATCH, raising=False)
    with open_event_files(instance):
        assert BATCH in os.environ
    assert BATCH not in os.environ
    monkeypatch.setenv(BATCH, "7")
    with open_event_files(instance):
        assert os.environ[BATCH] == "7"
    assert os.environ[BATCH] == "7"


def test_another_process_sees_events_while_files_are_open(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with open_event_files(instance):
        run(instance)
        with dg.DagsterInstance.local_temp(str(tmp_path)) as other:
            latest = other.get_latest_materialization_event(dg.AssetKey("numbers"))
            assert latest is not None
            assert latest.asset_materialization is not None
            assert latest.asset_materialization.metadata["rows"].value == 7


def test_few_files_are_open_however_many_runs_there_are(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with open_event_files(instance):
        for _ in range(MOST_OPEN + 2):
            run(instance)
        assert 0 < len(opened(tmp_path)) <= MOST_OPEN


def test_no_file_stays_open(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with open_event_files(instance):
        run(instance)
    assert opened(tmp_path) == set()


def test_records_in_another_database_are_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance, open_event_files(instance):
        assert "ASSET_MATERIALIZATION" in event_types(instance, run(instance))


def test_dagster_connects_to_a_file_by_these_names() -> None:
    assert list(inspect.signature(SqliteEventLogStorage._connect).parameters) == ["self", "shard"]  # noqa: SLF001
    assert list(inspect.signature(SqliteEventLogStorage._initdb).parameters)[:2] == ["self", "engine"]  # noqa: SLF001
    text = inspect.getsource(SqliteEventLogStorage)
    assert "self._db_lock" in text
    assert "self._initialized_dbs" in text
    assert "NullPool" in inspect.getsource(SqliteEventLogStorage._connect), "open_event_files may be superfluous"  # noqa: SLF001


def test_dagster_stores_events_of_assets_by_these_names() -> None:
    storage = SqliteEventLogStorage
    for method, parameters in (
        (storage.store_event_batch, ["self", "events"]),
        (storage.prepare_insert_event, ["self", "event"]),
        (storage._store_asset_event_tags, ["self", "conn", "events", "event_ids"]),  # noqa: SLF001
        (storage._store_asset_event, ["self", "conn", "event", "event_id"]),  # noqa: SLF001
        (storage.store_asset_check_event, ["self", "event", "event_id"]),
    ):
        assert list(inspect.signature(method).parameters) == parameters
        assert method.__name__ in inspect.getsource(storage.store_event) or method is storage.store_event_batch
    assert "self.index_connection()" in inspect.getsource(storage._update_asset_check_evaluation)  # noqa: SLF001
    assert "return self.has_table(" in inspect.getsource(SqlEventLogStorage)
    assert "store_event_batch" not in vars(storage), "storing events together may be superfluous"
    assert BATCH in inspect.getsource(dg.DagsterInstance._get_event_batch_size)  # noqa: SLF001
