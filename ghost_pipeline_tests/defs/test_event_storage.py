"""Events of runs whose files were kept open: Dagster's own storage reads them, during the runs and afterwards."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from ghost_pipeline.defs.event_storage import MOST_OPEN, open_event_files


@dg.asset
def numbers() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 7})


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
