"""What a run does with a lake whose tables have gained or lost columns since the last one."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.activity import ACTIVITY_CONTRACTS
from ghost_pipeline.contracts.contract import Layer, Partitioning
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import USERS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.incremental.contract_changes import REBUILT, adopt_contracts, open_current
from ghost_pipeline.incremental.stale_ledger import changed_months, stale_hours
from ghost_pipeline.ingest.dependents import SNAPSHOTS
from ghost_pipeline.lake.cache import CACHE, Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.recorded_columns import COLUMNS_FILE, RecordedColumns
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.crashes.faults import DiedError, Fault, Faults
from ghost_pipeline_tests.samples import HOUR, MONTH, partition_of, sample

TABLES = (COHORT_GHOST_DATA, COHORT_GHOST_RELEASE, GHOST_BENCHMARKS, USERS, *ACTIVITY_CONTRACTS.values())
EARLIER = Hour(HOUR.start - timedelta(hours=1))


class Before(dy.Schema):
    """Things as an earlier release knew them."""

    name = dy.String(primary_key=True, description="Its name")
    gone = dy.Int64(nullable=True, description="No longer there")
    weight = dy.Float64(nullable=True, description="In kilograms")


class Today(dy.Schema):
    """Things."""

    colour = dy.String(nullable=True, description="Its colour")
    name = dy.String(primary_key=True, description="Its name")
    weight = dy.Float64(nullable=True, description="In kilograms")


def things(schema: type[dy.Schema]) -> Contract:
    return Contract("things", schema, Layer.RAW, Partitioning.EVENT_HOUR, "one thing")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a partition of some tables, recorded by a run."""
    lake = Lake(tmp_path / "lake")
    for table in TABLES:
        lake.write(table, partition_of(table), sample(table, 3, 1))
    adopt_contracts(lake, str)
    return lake


def said(lake: Lake) -> list[str]:
    lines: list[str] = []
    adopt_contracts(Lake(lake.root), lines.append)
    return lines


def without(lake: Lake, table: Contract, column: str) -> None:
    """Let the last run have known a table without one of its columns."""
    path = lake.root / COLUMNS_FILE
    record = json.loads(path.read_text())
    del record["tables"][table.name]["columns"][column]
    path.write_text(json.dumps(record))


# --- files of other columns ---


@pytest.fixture
def mixed(tmp_path: Path) -> Lake:
    """A table with an hour of an earlier release and one of today."""
    lake = Lake(tmp_path / "lake")
    before, today = things(Before), things(Today)
    lake.write(before, EARLIER, pl.DataFrame({"name": ["a"], "gone": [7], "weight": [1.5]}))
    lake.write(today, HOUR, pl.DataFrame({"colour": ["red"], "name": ["b"], "weight": [2.5]}))
    return lake


def test_a_column_that_a_file_lacks_is_null_and_one_that_is_gone_is_left_out(mixed: Lake) -> None:
    expected = pl.DataFrame({"colour": [None, "red"], "name": ["a", "b"], "weight": [1.5, 2.5]})
    assert_frame_equal(mixed.scan(things(Today)).collect(), expected)


def test_a_new_column_may_be_a_condition(mixed: Lake) -> None:
    assert mixed.scan(things(Today)).filter(colour="red").select("name").collect().rows() == [("b",)]
    assert mixed.partitions_where(things(Today), pl.col("colour").is_null()) == {EARLIER: 1}


def test_a_partition_that_is_rewritten_has_the_columns_of_today(mixed: Lake) -> None:
    mixed.rewrite(things(Today), [EARLIER], lambda rows: rows)
    assert pl.read_parquet_schema(mixed.path(things(Today), EARLIER)) == things(Today).polars_schema


def test_a_column_of_another_type_is_named_with_its_file(mixed: Lake, tmp_path: Path) -> None:
    class Heavy(dy.Schema):
        """Things."""

        name = dy.String(primary_key=True, description="Its name")
        weight = dy.Int64(nullable=True, description="In kilograms")

    with pytest.raises(LakeError, match=r"^things: column weight is Float64 in .*shard-0.parquet and Int64 in this"):
        mixed.require_fitting([things(Heavy)])
    mixed.require_fitting([things(Today)])
    assert tmp_path


@pytest.mark.parametrize("last_run", ["knew the columns", "did not know them", "lost the record"])
def test_a_query_sees_files_of_both_kinds(last_run: str, lake: Lake, tmp_path: Path) -> None:
    old = COHORT_GHOST_DATA.polars_schema.keys() - {"avg_streak"}
    rows = sample(COHORT_GHOST_DATA, 3, 2).select(name for name in COHORT_GHOST_DATA.polars_schema if name in old)
    path = lake.path(COHORT_GHOST_DATA, EARLIER)
    path.parent.mkdir(parents=True)
    rows.with_columns(gone=1).write_parquet(path)
    without(lake, COHORT_GHOST_DATA, "avg_streak")
    if last_run == "lost the record":
        (lake.root / COLUMNS_FILE).unlink()
    if last_run != "did not know them":
        said(lake)
    found = query("SELECT * FROM lake.cohort_ghost_data", tmp_path / "none.duckdb", lake)
    assert found.columns == list(COHORT_GHOST_DATA.polars_schema)
    assert found.height == 6
    assert found["avg_streak"].null_count() >= 3


# --- what the next run does ---


def test_what_is_rebuilt_is_what_late_events_make_stale() -> None:
    assert {one.name for one in REBUILT} == {one.name for tables in SNAPSHOTS.values() for one in tables}


def test_a_lake_of_the_same_columns_is_left_alone(lake: Lake) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.*")}
    assert said(lake) == []
    assert {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.*")} == before


def test_nothing_is_made_of_an_empty_lake(tmp_path: Path) -> None:
    assert open_current(tmp_path / "lake", str).is_empty


def test_hours_that_lack_a_column_are_stale(lake: Lake) -> None:
    without(lake, COHORT_GHOST_DATA, "avg_streak")
    (line,) = said(lake)
    assert line == (
        "cohort_ghost_data: has new columns (avg_streak); 1 hours are stale until `ghost-pipeline backfill --stale`"
    )
    assert stale_hours(lake).select("table", "hour").rows() == [("cohort_ghost_data", HOUR.start)]
    assert said(lake) == []


def test_months_that_lack_a_column_are_stale(lake: Lake) -> None:
    without(lake, GHOST_BENCHMARKS, "avg_tasks_completed")
    said(lake)
    assert changed_months(lake).select("table", "month").rows() == [("ghost_benchmarks", MONTH.start)]


@pytest.mark.parametrize("table", [COHORT_GHOST_RELEASE, USERS], ids=lambda one: one.name)
def test_what_cannot_be_computed_again_keeps_its_rows(table: Contract, lake: Lake) -> None:
    before = lake.path(table, partition_of(table)).read_bytes()
    without(lake, table, [*table.polars_schema][-1])
    (line,) = said(lake)
    assert line.endswith("they are null in partitions of before")
    assert lake.path(table, partition_of(table)).read_bytes() == before
    assert stale_hours(lake).is_empty()


@pytest.mark.parametrize("table", ACTIVITY_CONTRACTS.values(), ids=list(ACTIVITY_CONTRACTS))
def test_sums_of_activity_are_computed_again(table: Contract, lake: Lake) -> None:
    without(lake, table, "tasks_completed")
    said(lake)
    assert not lake.exists(table, partition_of(table))


def test_caches_are_emptied_for_new_columns_alone(lake: Lake) -> None:
    Cache(lake.root, "users").write({"one": pl.DataFrame({"a": [1]})})
    path = lake.root / COLUMNS_FILE
    record = json.loads(path.read_text())
    record["tables"]["users"]["columns"]["gone"] = "Int64"
    path.write_text(json.dumps(record))
    assert said(lake) == []
    assert (lake.root / CACHE).exists()
    without(lake, USERS, "timezone")
    said(lake)
    assert not (lake.root / CACHE).exists()


def test_without_a_record_the_newest_file_tells_the_columns(lake: Lake) -> None:
    (lake.root / COLUMNS_FILE).unlink()
    path = lake.path(COHORT_GHOST_DATA, HOUR)
    pl.read_parquet(path, hive_partitioning=False).drop("avg_streak").write_parquet(path)
    assert [line.split(";")[0] for line in said(lake)] == ["cohort_ghost_data: has new columns (avg_streak)"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tables": {"users": {"colums": {}}}}', '{"tables": []}'])
def test_a_damaged_record_is_written_again(content: str, lake: Lake) -> None:
    path = lake.root / COLUMNS_FILE
    before = path.read_bytes()
    path.write_text(content)
    assert said(lake) == []
    assert path.read_bytes() == before


def test_the_record_is_that_of_the_contracts(lake: Lake) -> None:
    recorded = lake.columns()
    assert recorded is not None
    assert {name: asdict(one) for name, one in recorded.items()} == {
        name: asdict(RecordedColumns.of(contract)) for name, contract in CONTRACTS.items()
    }


def operations(lake: Lake) -> Iterator[int]:
    """The operations that adopting the contracts has, by trying it on a copy."""
    copy = Path(shutil.copytree(lake.root, lake.root.parent / "tried"))
    faults = Faults(copy)
    with faults.installed():
        adopt_contracts(Lake(copy), str)
    return iter(range(len(faults.operations)))


def test_killed_at_any_operation_the_next_run_does_it_again(lake: Lake) -> None:
    without(lake, COHORT_GHOST_DATA, "avg_streak")
    without(lake, GHOST_BENCHMARKS, "avg_tasks_completed")
    for table in ACTIVITY_CONTRACTS.values():
        without(lake, table, "tasks_completed")
    for at in operations(lake):
        copy = Path(shutil.copytree(lake.root, lake.root.parent / f"{at}"))
        with pytest.raises(DiedError), Faults(copy, at, Fault.KILL).installed():
            adopt_contracts(Lake(copy), str)
        adopt_contracts(Lake(copy), str)
        again = Lake(copy)
        assert stale_hours(again).height == 1
        assert changed_months(again).height == 1
        assert not any(again.exists(table, partition_of(table)) for table in ACTIVITY_CONTRACTS.values())
        assert said(again) == []
