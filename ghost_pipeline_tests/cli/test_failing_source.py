"""A source that fails never overwrites a good state: nothing of it is written, and the next good run repairs."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.defs import ghost
from ghost_pipeline.defs.partitions import SOURCE_FROM
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline_tests.defs.test_dagster_runs import SOURCE, Tables, execute, write
from ghost_pipeline_tests.running import lake_digest, published_rows

TASKS = [
    {
        "progress_id": f"p{hour}-{number}",
        "user_id": "usr-7f3a",
        "task_type": "reading",
        "completed_at": f"2025-03-12T{hour:02}:{number:02}Z",
    }
    for hour in (8, 9, 10, 11, 12)
    for number in range(40)
]
GOOD: Tables = {**SOURCE, "user_progress": TASKS}
PUBLISHED = ("published_database", "retention")


def vanished(source: Path) -> None:
    (source / "user_progress.ndjson").unlink()


def without_a_column(source: Path) -> None:
    rewritten(source, [{name: value for name, value in row.items() if name != "completed_at"} for row in TASKS])


def truncated(source: Path) -> None:
    file = source / "user_progress.parquet"
    pl.DataFrame(TASKS).write_parquet(file)
    (source / "user_progress.ndjson").unlink()
    file.write_bytes(file.read_bytes()[:-200])


def a_third_gone(source: Path) -> None:
    rewritten(source, [row for row in TASKS if not str(row["progress_id"]).endswith(("0", "4", "8"))])


def rewritten(source: Path, rows: list[dict[str, str]]) -> None:
    (source / "user_progress.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run(folder: Path, *hours: int, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    """Run hours, one after the other; the result of the last."""
    with dg.DagsterInstance.ephemeral() as instance:
        for hour in hours:
            result = execute(
                folder / "data",
                folder / "source",
                instance,
                raise_on_error=raise_on_error,
                partition_key=f"2025-03-12-{hour:02}:00",
            )
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, and a data folder with one published hour of it."""
    folder = tmp_path_factory.mktemp("built")
    write(folder / "source", GOOD)
    run(folder, 11)
    return folder


@pytest.fixture(scope="module")
def undisturbed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the next hour makes of that where nothing fails."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(built, folder, dirs_exist_ok=True)
    run(folder, 12)
    return folder


@pytest.fixture
def good(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return tmp_path


def fail(folder: Path) -> tuple[dg.ExecuteInProcessResult, str]:
    """Run the next hour, which fails; the result, and what the steps that failed said."""
    result = run(folder, 12, raise_on_error=False)
    assert not result.success
    return result, "".join(str(one.step_failure_data.error) for one in result.all_events if one.is_step_failure)


def state(folder: Path) -> dict[str, object]:
    """What readers see: every byte of the published database, and the lake but for what says what a run was about."""
    data = folder / "data"
    kept = {name: text for name, text in lake_digest(data).items() if not name.startswith("stale_hours")}
    return {**kept, "published": (data / "ghost.duckdb").read_bytes()}


def of_ghosts(files: dict[str, object]) -> dict[str, object]:
    """Those of the domain that has failed; the other one may go on."""
    tables = ("user_progress", "user_activity", "user_ghost_stats", "cohort_", "ghost_messages", "published")
    return {name: content for name, content in files.items() if name.startswith(tables)}


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (vanished, r"table user_progress is missing"),
        pytest.param(without_a_column, r"user_progress.* completed_at", marks=pytest.mark.long),
        pytest.param(truncated, r"user_progress\.parquet", marks=pytest.mark.long),
        (a_third_gone, r"user_progress, partition 2025-03-12-08:00: 12 of 40 rows are no longer in the source"),
    ],
)
def test_nothing_of_a_failing_source_is_written_and_the_next_good_run_repairs(
    good: Path, undisturbed: Path, breaks: Callable[[Path], None], says: str
) -> None:
    before = state(good)
    breaks(good / "source")
    result, error = fail(good)
    assert re.search(says, error)
    assert of_ghosts(state(good)) == of_ghosts(before)
    for table in ("user_progress", "user_ghost_stats", "cohort_ghost_data", "ghost_messages", *PUBLISHED):
        assert not result.asset_materializations_for_node(table), table
    shutil.copytree(undisturbed / "source", good / "source", dirs_exist_ok=True)
    (good / "source" / "user_progress.parquet").unlink(missing_ok=True)
    assert_repaired(good, undisturbed)


def test_a_step_that_breaks_its_contract_leaves_what_was_published(
    good: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(good)

    def without_members(stats: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
        return cohort_ghost_data(stats, as_of).with_columns(member_count=pl.lit(0, pl.Int32))

    with monkeypatch.context() as broken:
        broken.setattr(ghost, "cohort_ghost_data", without_members)
        result, error = fail(good)
    assert "cohort_ghost_data, partition 2025-03-12-12:00: column member_count: min broken by" in error
    (check,) = (one for one in result.get_asset_check_evaluations() if not one.passed and one.blocking)
    assert (check.check_name, check.asset_key.to_user_string()) == ("structure", "cohort_ghost_data")
    after = state(good)
    assert after["published"] == before["published"]
    assert {name for name in after if name.startswith("cohort_ghost_data")} <= set(before)
    assert not any(result.asset_materializations_for_node(name) for name in PUBLISHED)
    assert_repaired(good, undisturbed)


def assert_repaired(folder: Path, undisturbed: Path) -> None:
    """The failed hour, run again, ends where one without a failure does."""
    run(folder, 12)
    assert lake_digest(folder / "data") == lake_digest(undisturbed / "data")
    assert published_rows(folder / "data") == published_rows(undisturbed / "data")


def test_days_without_rows_warn_and_block_nothing(tmp_path: Path) -> None:
    days = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    rows = [
        {**TASKS[0], "progress_id": f"{day}-{number}", "completed_at": f"2025-03-{day:02}T10:{number:02}Z"}
        for day in days
        for number in range(50 if day < 12 else 20)
    ]
    source = write(tmp_path / "source", {**GOOD, "user_progress": rows})
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(
            tmp_path / "data",
            source,
            instance,
            partition_key="2025-03-12-11:00",
            tags={SOURCE_FROM: "2025-03-07-00:00"},
        )
    assert result.success
    (volume,) = (
        one
        for one in result.get_asset_check_evaluations()
        if (one.asset_key.to_user_string(), one.check_name) == ("user_progress", "volume")
    )
    assert (volume.passed, volume.severity, volume.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert volume.description == (
        "2025-03-07-11:00, rows of 24 hours: 0, expected 50 (median of the 5 days before), -100 %; "
        "2025-03-12-11:00, rows of 24 hours: 20, expected 50 (median of the 7 days before), -60 %"
    )
