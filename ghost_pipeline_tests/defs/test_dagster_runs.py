"""What a run leaves in Dagster's records: counts and reasons, and nothing that names a person."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.cli.run import AT_THE_END, selection
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.errors import SourceError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import lake_digest

KEYS = ["2025-03-12-10:00", "2025-03-12-11:00"]
PERSONAL = ("usr-7f3a", "kbd-7f3a", "ses-7f3a", "prg-7f3a", "Ada's keyboard", "Atlantic/Azores", "usr-bad")
"""Ids and texts of the source that stand nowhere else."""

Tables = Mapping[str, Sequence[Mapping[str, object]]]

SOURCE: Tables = {
    "users": [
        {"user_id": "usr-7f3a", "cohort_id": "c1", "created_at": "2025-03-01", "timezone": "Atlantic/Azores"},
        {"user_id": "usr-bad", "cohort_id": "c1", "created_at": "2025-03-01", "target_band": 99},
    ],
    "cohorts": [{"cohort_id": "c1"}],
    "user_progress": [
        {"progress_id": "prg-7f3a", "user_id": "usr-7f3a", "task_type": "reading", "completed_at": "2025-03-12T10:30Z"},
        {
            "progress_id": "prg-7f3a-2",
            "user_id": "usr-7f3a",
            "task_type": "podcast",
            "completed_at": "2025-03-12T10:30Z",
        },
    ],
    "keyboards": [{"keyboard_id": "kbd-7f3a", "user_id": "usr-7f3a", "keyboard_name": "Ada's keyboard"}],
    "practice_sessions": [
        {"session_id": f"ses-7f3a-{hour}", "user_id": "usr-7f3a", "keyboard_id": "kbd-7f3a"}
        | {"start_time": f"2025-03-12T{hour:02}:00Z", "end_time": f"2025-03-12T{hour:02}:10Z"}
        for hour in (9, 10, 11)
    ],
    "session_keystrokes": [
        {"session_id": f"ses-7f3a-{hour}", "key_index": index, "keystroke_time": f"2025-03-12T{hour:02}:00:0{index}Z"}
        | {"keystroke_char": char, "expected_char": char, "text_index": index}
        for hour in (9, 10, 11)
        for index, char in enumerate("then")
    ],
}


def write(folder: Path, tables: Tables) -> Path:
    folder.mkdir()
    for name, rows in tables.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.ndjson").write_text(text, encoding="utf-8")
    return folder


def execute(
    data: Path, source: Path, instance: dg.DagsterInstance, *, raise_on_error: bool = True, **options: object
) -> dg.ExecuteInProcessResult:
    settings = Settings.load(source=str(source), data=data)
    wanted = selection({Domain.GHOST, Domain.NGRAMS}, monthly=False)
    return (
        build_defs(settings)
        .resolve_job_def(HOURLY)
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in wanted],
            raise_on_error=raise_on_error,
            **options,  # type: ignore[arg-type]
        )
    )


def records(instance: dg.DagsterInstance) -> str:
    """Everything that Dagster keeps of the runs of an instance, as it keeps it."""
    return "\n".join(
        dg.serialize_value(entry) for run in instance.get_runs() for entry in instance.all_logs(run.run_id)
    )


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dg.ExecuteInProcessResult, str]:
    """Two hours of both domains in one run: the data folder, the result and Dagster's records."""
    folder = tmp_path_factory.mktemp("ranged")
    source = write(folder / "source", SOURCE)
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]}
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(folder / "data", source, instance, tags=tags)
        return folder, result, records(instance)


def test_a_run_over_a_range_gives_the_bytes_of_single_runs_in_both_halves(
    ranged: tuple[Path, dg.ExecuteInProcessResult, str],
) -> None:
    folder, _, _ = ranged
    with dg.DagsterInstance.ephemeral() as instance:
        for key in KEYS:
            execute(folder / "single", folder / "source", instance, partition_key=key)
    assert lake_digest(folder / "single") == lake_digest(folder / "data")


def test_a_run_over_a_range_materializes_every_partition(ranged: tuple[Path, dg.ExecuteInProcessResult, str]) -> None:
    _, result, _ = ranged
    events = result.get_asset_materialization_events()
    found = {
        name: sorted(str(one.partition) for one in events if one.asset_key == dg.AssetKey(name))
        for name in ("users", "user_ghost_stats", "ngram_speed_summaries")
    }
    assert found == dict.fromkeys(found, KEYS)


def test_records_are_there_to_be_searched(ranged: tuple[Path, dg.ExecuteInProcessResult, str]) -> None:
    _, _, text = ranged
    assert "partition_row_count" in text
    assert "task_type is not one of" in text


@pytest.mark.parametrize("personal", PERSONAL)
def test_no_id_and_no_name_reaches_dagsters_records(
    personal: str, ranged: tuple[Path, dg.ExecuteInProcessResult, str]
) -> None:
    folder, _, text = ranged
    assert personal not in text
    assert personal in "".join(file.read_text(encoding="utf-8") for file in (folder / "source").iterdir())


def metadata(result: dg.ExecuteInProcessResult, table: str, key: str) -> Mapping[str, dg.MetadataValue]:
    """What Dagster shows of a partition."""
    events = result.get_asset_materialization_events()
    (found,) = (one for one in events if one.asset_key == dg.AssetKey(table) and one.partition == key)
    return found.step_materialization_data.materialization.metadata


PICTURED = {
    "cohort_ghost_release": "released_and_suppressed",
    "user_released_ranks": "cohort_ranks",
    "ghost_messages": "behind_close_ahead",
    "ngram_speed_summaries": "distribution_of_speeds",
    "users": "counted",
    "user_progress": "counted",
    "rejected_rows": "counted",
}


@pytest.mark.parametrize("table", PICTURED)
def test_only_the_newest_partition_of_a_run_has_its_picture(
    table: str, ranged: tuple[Path, dg.ExecuteInProcessResult, str]
) -> None:
    _, result, _ = ranged
    earlier, newest = (metadata(result, table, key) for key in KEYS)
    assert PICTURED[table] not in earlier
    assert next(iter(newest)) == PICTURED[table]
    assert isinstance(newest[PICTURED[table]], dg.TableMetadataValue)


def test_what_is_not_counted_has_no_picture(ranged: tuple[Path, dg.ExecuteInProcessResult, str]) -> None:
    _, result, _ = ranged
    assert "counted" not in metadata(result, "cohorts", KEYS[-1])


def test_pictures_are_few_kilobytes_of_dagsters_records(
    ranged: tuple[Path, dg.ExecuteInProcessResult, str],
) -> None:
    _, result, _ = ranged
    pictures = [metadata(result, table, KEYS[-1])[name] for table, name in PICTURED.items()]
    tables = [one for one in pictures if isinstance(one, dg.TableMetadataValue)]
    assert len(tables) == len(PICTURED)
    assert sum(len(dg.serialize_value(one)) for one in tables) < 20_000


def test_numbers_are_plain_so_that_dagster_plots_them(ranged: tuple[Path, dg.ExecuteInProcessResult, str]) -> None:
    _, result, _ = ranged
    for key in KEYS:
        found = metadata(result, "cohort_ghost_release", key)
        assert found["suppressed"].value == 1
        assert found["released"].value == 0
        assert "oldest_release_hours" not in found
        seconds, memory = found["seconds"], found["peak_memory_mb"]
        assert isinstance(seconds, dg.FloatMetadataValue)
        assert isinstance(memory, dg.IntMetadataValue)
        assert 0 < (seconds.value or 0) < 600
        assert (memory.value or 0) > 50


def test_coverage_warns_of_rejected_rows_with_their_reasons(
    ranged: tuple[Path, dg.ExecuteInProcessResult, str],
) -> None:
    _, result, _ = ranged
    found = {
        one.asset_key.to_user_string(): one
        for one in result.get_asset_check_evaluations()
        if one.check_name == "coverage" and not one.passed
    }
    assert {"users", "user_progress", "rejected_rows"} <= set(found)
    assert all(one.severity is dg.AssetCheckSeverity.WARN for one in found.values())
    metadata = found["rejected_rows"].metadata
    assert metadata["users: target_band is outside 0 to 9"].value == 1


def test_structure_passes_where_rows_were_rejected(ranged: tuple[Path, dg.ExecuteInProcessResult, str]) -> None:
    _, result, _ = ranged
    structure = [one for one in result.get_asset_check_evaluations() if one.check_name == "structure"]
    tables = len(selection({Domain.GHOST, Domain.NGRAMS}, monthly=False)) - len(AT_THE_END)
    assert sorted(str(one.partition) for one in structure) == sorted(KEYS * tables)
    assert all(one.passed for one in structure)


def test_a_file_that_cannot_be_read_is_recorded_without_its_rows(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {**SOURCE, "user_progress": []})
    (source / "user_progress.ndjson").unlink()
    (source / "user_progress.parquet").write_bytes(b"PAR1prg-7f3a,usr-7f3a,reading")
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(tmp_path / "data", source, instance, raise_on_error=False, partition_key=KEYS[-1])
        text = records(instance)
    assert not result.success
    assert "user_progress.parquet: table user_progress cannot be read" in text
    assert "prg-7f3a" not in text


def test_a_step_that_fails_raises_its_own_error_to_the_command_line(tmp_path: Path) -> None:
    source = write(tmp_path / "source", SOURCE)
    (source / "cohorts.ndjson").unlink()
    (source / "cohorts.parquet").write_bytes(b"PAR1")
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(SourceError, match=r"cohorts\.parquet: table cohorts cannot be read"),
    ):
        execute(tmp_path / "data", source, instance, partition_key=KEYS[-1])


def test_every_hourly_and_every_monthly_table_has_its_job() -> None:
    defs = build_defs(Settings.load())
    for name, monthly in ((HOURLY, False), (MONTHLY, True)):
        keys = {key.to_user_string() for key in defs.resolve_job_def(name).asset_layer.executable_asset_keys}
        wanted = {
            one.contract.name for one in TABLE_ASSETS if (one.contract.partitioning is Partitioning.MONTH) == monthly
        }
        assert keys == {*wanted, "published_database", *([] if monthly else ["retention"])}


def test_a_backfill_runs_in_parts_of_a_day(tmp_path: Path) -> None:
    defs = build_defs(Settings.load(data=tmp_path))
    policies = {
        step.contract.name: defs.resolve_assets_def(step.contract.name).backfill_policy for step in TABLE_ASSETS
    }
    monthly = {one.contract.name for one in TABLE_ASSETS if one.contract.partitioning is Partitioning.MONTH}
    for name, policy in policies.items():
        assert policy is not None
        assert policy.max_partitions_per_run == (1 if name in monthly else 24)


def test_rejected_rows_keep_the_row_that_the_records_do_not(
    ranged: tuple[Path, dg.ExecuteInProcessResult, str],
) -> None:
    folder, _, _ = ranged
    rows = Lake(folder / "data" / "lake").scan(REJECTED_ROWS).collect()["row"].to_list()
    assert sum("usr-bad" in row for row in rows) == 1
    assert sum("prg-7f3a-2" in row for row in rows) == 1
