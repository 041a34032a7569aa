"""Partitions are replaced as a whole, whatever happens; gaps have names."""

import errno
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.raw import REJECTED_ROWS, USER_PROGRESS, USERS
from ghost_pipeline.errors import ContractError, LakeError
from ghost_pipeline.lake import listing
from ghost_pipeline.lake.atomic import STAGING, clear_leftovers, replacing
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import write_layout
from ghost_pipeline.lake.local_files import LocalFiles
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.windows import HOUR as ONE_HOUR
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.lake import rewriting
from ghost_pipeline_tests.samples import HOUR, MONTH, TABLES, partition_of, sample

NOWHERE = Rejects("users", None)
COHORTS_HOURLY = CONTRACTS["cohort_ghost_data"]
SESSIONS = CONTRACTS["practice_sessions"]
BENCHMARKS = CONTRACTS["ghost_benchmarks"]
README = Path(__file__).parent.parent.parent / "data" / "README.md"
KILLS = 20
SEED = 20250312

every_table = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def hour(number: int) -> Hour:
    """An hour by its distance to that of the tests."""
    return Hour(HOUR.start + number * ONE_HOUR)


def progress(number: int, *completed_at: datetime) -> pl.DataFrame:
    """Events whose values tell `number` apart."""
    return pl.DataFrame(
        {
            "progress_id": [f"p{number}-{one}" for one in range(len(completed_at))],
            "user_id": ["u1"] * len(completed_at),
            "task_type": ["reading"] * len(completed_at),
            "completed_at": list(completed_at),
            "time_spent_ms": [number] * len(completed_at),
        },
        schema=USER_PROGRESS.polars_schema,
    )


def write(lake: Lake, *numbers: int) -> None:
    for number in numbers:
        lake.write(USER_PROGRESS, hour(number), progress(max(number, 0), hour(number).start))


def temporary_files(root: Path) -> list[str]:
    return [path.name for path in (root / STAGING).glob("*")]


# --- writing and reading ---


@examples(8, 25)
@given(table=st.sampled_from(TABLES), rows=st.integers(0, 20), seed=st.integers(0, 2**32 - 1))
def test_rows_come_back_as_they_were_written(table: str, rows: int, seed: int) -> None:
    contract = CONTRACTS[table]
    frame = sample(contract, rows, seed)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        written = lake.write(contract, partition_of(contract), frame)
        assert (written.rows, written.changed) == (rows, True)
        assert lake.scan(contract).collect().equals(frame)
        assert lake.scan(contract, [partition_of(contract)]).collect().schema == frame.schema
        assert lake.rows(contract, partition_of(contract)) == rows


@every_table
def test_a_table_that_was_never_written_has_no_rows_and_all_columns(contract: Contract, lake: Lake) -> None:
    assert lake.scan(contract).collect().equals(contract.empty())
    assert lake.scan(contract, [partition_of(contract)]).collect().schema == contract.empty().schema
    assert lake.rows(contract, partition_of(contract)) == 0


def test_nothing_is_created_before_the_first_write(lake: Lake) -> None:
    lake.scan(USERS).collect()
    assert not lake.root.exists()


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o640, 0o750), (0o077, 0o600, 0o700)])
def test_other_users_cannot_read_what_is_written(umask: int, file: int, folder: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write(Lake(tmp_path / "data" / "lake"), 0)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "data").rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()}
    assert (modes, folders) == ({file}, {folder})


def test_a_partition_is_replaced_as_a_whole(lake: Lake) -> None:
    lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start, HOUR.start))
    lake.write(USER_PROGRESS, HOUR, progress(2, HOUR.start))
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [2]


def test_partitions_do_not_touch_each_other(lake: Lake) -> None:
    write(lake, 0, 1)
    lake.write(USER_PROGRESS, hour(1), USER_PROGRESS.empty())
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [0]


def test_an_empty_partition_exists(lake: Lake) -> None:
    assert not lake.exists(USER_PROGRESS, HOUR)
    lake.write(USER_PROGRESS, HOUR, USER_PROGRESS.empty())
    assert lake.exists(USER_PROGRESS, HOUR)


def test_the_same_rows_again_leave_the_file_alone(lake: Lake) -> None:
    lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start))
    before = lake.path(USER_PROGRESS, HOUR).stat()
    again = lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start))
    after = lake.path(USER_PROGRESS, HOUR).stat()
    assert not again.changed
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_rows_make_another_file(lake: Lake) -> None:
    lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start))
    before = lake.path(USER_PROGRESS, HOUR).stat().st_ino
    assert lake.write(USER_PROGRESS, HOUR, progress(2, HOUR.start)).changed
    assert lake.path(USER_PROGRESS, HOUR).stat().st_ino != before


@examples(8, 25)
@given(table=st.sampled_from(TABLES), rows=st.integers(1, 30), cut=st.integers(0, 30), seed=st.integers(0, 2**32 - 1))
def test_the_same_rows_give_the_same_bytes_however_they_lie_in_memory(
    table: str, rows: int, cut: int, seed: int
) -> None:
    contract = CONTRACTS[table]
    frame = sample(contract, rows, seed)
    from_rows = pl.DataFrame(frame.rows(), schema=contract.polars_schema, orient="row")
    in_chunks = pl.concat([frame.head(cut), frame.slice(cut)], rechunk=False)
    a_slice = pl.concat([frame.head(3), frame, frame.tail(3)]).slice(min(3, rows), rows)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.write(contract, partition_of(contract), frame)
        for same in (from_rows, in_chunks, a_slice):
            assert not lake.write(contract, partition_of(contract), same).changed


@examples(8, 25)
@given(table=st.sampled_from(TABLES), rows=st.integers(0, 30), cut=st.integers(0, 30), seed=st.integers(0, 2**32 - 1))
def test_parts_that_follow_one_another_are_one_partition_of_the_same_bytes(
    table: str, rows: int, cut: int, seed: int
) -> None:
    contract = CONTRACTS[table]
    frame = sample(contract, rows, seed)
    in_chunks = pl.concat([frame.head(cut), frame.slice(cut)], rechunk=False)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        written = lake.write_parts(contract, partition_of(contract), [frame.head(cut), frame.slice(cut)])
        assert (written.rows, written.changed) == (rows, True)
        assert lake.scan(contract).collect().equals(frame)
        lake.write_parts(contract, partition_of(contract), [frame])
        assert not lake.write_parts(contract, partition_of(contract), [in_chunks]).changed


def test_parts_with_enums_are_a_partition_of_texts(lake: Lake) -> None:
    texts = sample(GHOST_MESSAGES, 6, 1).with_columns(text=pl.Series(list("abacab")), type=pl.Series(list("xyxyxz")))
    # Each part has an Enum of its own, with another number of texts.
    parts = [
        part.with_columns(part[name].cast(pl.Enum(part[name].unique())) for name in ("text", "type"))
        for part in (texts.head(2), texts.slice(2))
    ]
    lake.write_parts(GHOST_MESSAGES, HOUR, parts)
    assert pl.read_parquet(lake.path(GHOST_MESSAGES, HOUR), hive_partitioning=False).equals(texts)


def test_a_file_of_enums_tells_readers_the_same_schema(lake: Lake) -> None:
    texts = sample(GHOST_MESSAGES, 2, 1)
    lake.write_parts(GHOST_MESSAGES, HOUR, [texts])
    schema = pq.read_schema(lake.path(GHOST_MESSAGES, HOUR))
    lake.write_parts(GHOST_MESSAGES, HOUR, [texts.with_columns(texts["text"].cast(pl.Enum(texts["text"].unique())))])
    assert pq.read_schema(lake.path(GHOST_MESSAGES, HOUR)).equals(schema, check_metadata=True)


def test_a_partition_of_no_parts_exists_and_is_empty(lake: Lake) -> None:
    lake.write_parts(USER_PROGRESS, HOUR, [])
    assert lake.exists(USER_PROGRESS, HOUR)
    assert lake.scan(USER_PROGRESS).collect().equals(USER_PROGRESS.empty())


def test_a_part_that_breaks_the_contract_leaves_the_partition_as_it_was(lake: Lake) -> None:
    lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start))
    broken = progress(2, HOUR.start).with_columns(time_spent_ms=pl.lit(-1, pl.Int64))
    with pytest.raises(ContractError, match=r"user_progress, partition 2025-03-12-11:00: column time_spent_ms: min"):
        lake.write_parts(USER_PROGRESS, HOUR, [progress(3, HOUR.start), broken])
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [1]
    assert temporary_files(lake.root) == []


REWRITE = """
import sys
from pathlib import Path
import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline_tests.samples import partition_of

old, new = Lake(Path(sys.argv[1])), Lake(Path(sys.argv[2]))
for contract in CONTRACTS.values():
    rows = old.scan(contract).collect().rows()
    frame = pl.DataFrame(rows, schema=contract.polars_schema, orient="row")
    new.write(contract, partition_of(contract), frame)
"""


def test_the_same_rows_give_the_same_bytes_in_a_fresh_process(tmp_path: Path) -> None:
    here, there = Lake(tmp_path / "here"), Lake(tmp_path / "there")
    for number, contract in enumerate(CONTRACTS.values()):
        here.write(contract, partition_of(contract), sample(contract, 50, number))
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "1"}
    arguments = [sys.executable, "-c", REWRITE, str(here.root), str(there.root)]
    subprocess.run(arguments, env=environment, cwd=README.parent.parent, check=True)
    for contract in CONTRACTS.values():
        files = [one.path(contract, partition_of(contract)).read_bytes() for one in (here, there)]
        assert files[0] == files[1], contract.name


def test_parts_that_are_validated_are_not_looked_at_again(lake: Lake) -> None:
    broken = progress(1, HOUR.start).with_columns(user_id=pl.lit(None, pl.String))
    with pytest.raises(ContractError):
        lake.write_parts(USER_PROGRESS, HOUR, [broken])
    lake.write_parts(USER_PROGRESS, HOUR, [broken], validated=True)
    assert lake.rows(USER_PROGRESS, HOUR) == 1


def test_a_frame_that_breaks_the_contract_leaves_the_old_partition(lake: Lake) -> None:
    lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start))
    broken = progress(2, HOUR.start).with_columns(time_spent_ms=pl.lit(-1, pl.Int64))
    with pytest.raises(ContractError, match=r"user_progress, partition 2025-03-12-11:00: column time_spent_ms: min"):
        lake.write(USER_PROGRESS, HOUR, broken)
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [1]
    assert temporary_files(lake.root) == []


@pytest.mark.parametrize(
    ("contract", "partition"),
    [(BENCHMARKS, HOUR), (USERS, MONTH), (REJECTED_ROWS, HOUR), (USERS, Rejects("users", None))],
)
def test_a_partition_of_another_kind_of_table_is_refused(
    contract: Contract, partition: Hour | Month | Rejects, lake: Lake
) -> None:
    with pytest.raises(LakeError, match="not a partition of a table that is partitioned by"):
        lake.write(contract, partition, contract.empty())


def test_a_file_holds_every_column_without_its_path(lake: Lake) -> None:
    lake.write(COHORTS_HOURLY, HOUR, sample(COHORTS_HOURLY, 3, 1))
    alone = pl.read_parquet(lake.path(COHORTS_HOURLY, HOUR), hive_partitioning=False)
    assert alone.schema == COHORTS_HOURLY.polars_schema


# --- where things lie ---


@pytest.mark.parametrize(
    ("table", "partition", "folder"),
    [
        ("user_progress", HOUR, "partition_date=2025-03-12/partition_hour=11"),
        ("session_keystrokes", Hour.from_key("2025-03-12-01:00"), "partition_date=2025-03-12/partition_hour=01"),
        ("users", HOUR, "partition_date=2025-03-12/partition_hour=11"),
        ("cohort_ghost_data", HOUR, "partition_date=2025-03-12/partition_hour=11"),
        ("ghost_benchmarks", MONTH, "partition_month=2025-02"),
        ("rejected_rows", Rejects("users", HOUR), "partition_table=users/partition_date=2025-03-12/partition_hour=11"),
        (
            "rejected_rows",
            Rejects("users", None),
            "partition_table=users/partition_date=unknown/partition_hour=unknown",
        ),
    ],
)
def test_a_partition_has_its_folder(table: str, partition: Hour | Month | Rejects, folder: str, lake: Lake) -> None:
    assert lake.path(CONTRACTS[table], partition) == lake.root / table / folder / "shard-0.parquet"


@pytest.mark.parametrize("partitioning", Partitioning, ids=lambda one: one.name)
def test_the_folders_are_those_that_the_page_of_the_data_folder_names(partitioning: Partitioning) -> None:
    folders = "/".join(f"{level}=" for level in partitioning.keys)
    assert f"`{folders}`" in README.read_text(encoding="utf-8")


def test_the_example_of_the_page_of_the_data_folder_is_true() -> None:
    path = Lake(Path("lake")).path(COHORTS_HOURLY, HOUR)
    assert str(path) in README.read_text(encoding="utf-8")


def test_a_folder_with_the_signs_of_a_pattern_is_a_folder_like_any_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a[1]*?{b}")
    write(lake, 0)
    assert lake.hours(USER_PROGRESS) == [HOUR]
    assert lake.scan(USER_PROGRESS).collect().height == 1


# --- which partitions are there ---


def test_hours_are_listed_in_their_order(lake: Lake) -> None:
    write(lake, 30, 2, -11, 0)
    assert lake.hours(USER_PROGRESS) == [hour(-11), hour(0), hour(2), hour(30)]


def test_months_are_listed_in_their_order(lake: Lake) -> None:
    for key in ("2025-02", "2024-12", "2025-01"):
        lake.write(BENCHMARKS, Month.from_key(key), BENCHMARKS.empty())
    assert [month.key for month in lake.months(BENCHMARKS)] == ["2024-12", "2025-01", "2025-02"]


def test_rejects_are_listed_by_their_table(lake: Lake) -> None:
    for partition in (Rejects("users", None), Rejects("users", HOUR), Rejects("cohorts", HOUR)):
        lake.write(REJECTED_ROWS, partition, REJECTED_ROWS.empty())
    assert set(lake.rejects(REJECTED_ROWS, "users")) == {Rejects("users", None), Rejects("users", HOUR)}


def test_a_folder_without_a_file_is_no_partition(lake: Lake) -> None:
    write(lake, 0)
    lake.path(USER_PROGRESS, hour(24)).parent.mkdir(parents=True)
    assert lake.hours(USER_PROGRESS) == [HOUR]
    assert lake.newest_hour(USER_PROGRESS) == HOUR


@examples(8, 20)
@given(st.sets(st.integers(-60, 60), max_size=6))
def test_the_newest_hour_is_the_last_of_all(numbers: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        write(lake, *numbers)
        assert lake.newest_hour(USER_PROGRESS) == max(lake.hours(USER_PROGRESS), default=None)


def test_hours_between_two_instants_are_half_open(lake: Lake) -> None:
    write(lake, 0, 1, 2, 3)
    assert lake.hours_between(USER_PROGRESS, hour(1).start, hour(3).start) == [hour(1), hour(2)]
    assert lake.hours_between(USER_PROGRESS, None, hour(1).start) == [hour(0)]


def test_a_removed_partition_is_gone(lake: Lake) -> None:
    write(lake, 0, 1)
    assert lake.remove(USER_PROGRESS, hour(0))
    assert not lake.remove(USER_PROGRESS, hour(0))
    assert lake.hours(USER_PROGRESS) == [hour(1)]


def test_a_table_without_hours_is_complete_to_no_time(lake: Lake) -> None:
    assert lake.complete_until(USER_PROGRESS) is None


@examples(8, 20)
@given(st.sets(st.integers(0, 8), min_size=1))
def test_hours_are_complete_until_the_first_that_is_missing(numbers: set[int]) -> None:
    first_missing = next(number for number in range(min(numbers), 10) if number not in numbers)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        write(lake, *numbers)
        assert lake.complete_until(USER_PROGRESS) == hour(first_missing).start


def test_reading_until_an_instant_leaves_out_what_comes_later(lake: Lake) -> None:
    write(lake, 0, 1, 2)
    assert lake.scan_until(USER_PROGRESS, hour(1).as_of).collect()["time_spent_ms"].to_list() == [0, 1]


def test_reading_until_before_the_first_hour_gives_no_rows(lake: Lake) -> None:
    write(lake, 5)
    assert lake.scan_until(USER_PROGRESS, hour(0).as_of).collect().height == 0


def test_missing_hours_are_named(lake: Lake) -> None:
    write(lake, 0, 2, 3, 5)
    with pytest.raises(LakeError) as raised:
        lake.scan_until(USER_PROGRESS, hour(5).as_of)
    assert str(raised.value).startswith(
        "user_progress: 2 of 6 hours before 2025-03-12T17:00Z are not in the lake "
        "(2025-03-12-12:00, 2025-03-12-15:00). Materialize user_progress"
    )


def test_hours_that_are_missing_at_the_end_are_named(lake: Lake) -> None:
    write(lake, 0)
    with pytest.raises(
        LakeError, match=r"4 of 5 hours .* \(2025-03-12-12:00, 2025-03-12-13:00, 2025-03-12-14:00 \.\.\.\)"
    ):
        lake.scan_until(USER_PROGRESS, hour(4).as_of)


def test_silence_that_lasts_beyond_the_instant_is_no_gap(lake: Lake) -> None:
    write(lake, -800, 0)
    assert lake.scan_until(USER_PROGRESS, hour(-300).as_of).collect().height == 1
    assert lake.file_versions((USER_PROGRESS,), hour(-300).as_of).height == 1
    lake.remove(USER_PROGRESS, hour(0))
    write(lake, -100)
    with pytest.raises(LakeError, match="hours before"):
        lake.scan_until(USER_PROGRESS, hour(-300).as_of)


def test_a_gap_after_the_instant_does_not_matter(lake: Lake) -> None:
    write(lake, 0, 1, 3)
    assert lake.scan_until(USER_PROGRESS, hour(1).as_of).collect().height == 2


def test_a_content_hash_changes_with_name_and_content(tmp_path: Path) -> None:
    lakes = [Lake(tmp_path / name) for name in ("a", "b", "c", "d")]
    for one, (number, value) in zip(lakes, [(0, 1), (0, 1), (0, 2), (1, 1)], strict=True):
        one.write(USER_PROGRESS, hour(number), progress(value, HOUR.start))
    found = [one.content_hash(one.files(USER_PROGRESS)) for one in lakes]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_what_has_been_written_is_told_in_the_order_that_was_asked_for(lake: Lake) -> None:
    write(lake, 0, 2)
    assert lake.written(USER_PROGRESS, [hour(2), hour(1), hour(0)]) == [hour(2), hour(0)]
    assert lake.files(USER_PROGRESS, [hour(2), hour(1)]) == [lake.path(USER_PROGRESS, hour(2))]


def test_a_lake_is_empty_until_something_is_written(lake: Lake) -> None:
    assert lake.is_empty
    write(lake, 0)
    assert not lake.is_empty


# --- which files were replaced since an earlier look ---


def file_versions_of(lake: Lake, end: int = 3) -> dict[datetime, int]:
    return dict(lake.file_versions([USER_PROGRESS, SESSIONS], hour(end).start).iter_rows())


def with_hours(lake: Lake, *contracts: Contract) -> None:
    for contract in contracts:
        for number in range(3):
            lake.write(contract, hour(number), contract.empty())


def test_marks_stay_while_the_files_do(lake: Lake) -> None:
    with_hours(lake, USER_PROGRESS, SESSIONS)
    before = file_versions_of(lake)
    assert list(before) == [hour(number).start for number in range(3)]
    with_hours(lake, USER_PROGRESS, SESSIONS)
    assert file_versions_of(Lake(lake.root)) == before


@pytest.mark.parametrize("contract", ["user_progress", "practice_sessions"])
def test_a_mark_changes_with_a_file_of_its_hour_of_any_table(lake: Lake, contract: str) -> None:
    with_hours(lake, USER_PROGRESS, SESSIONS)
    before = file_versions_of(lake)
    lake.write(CONTRACTS[contract], hour(1), sample(CONTRACTS[contract], 2, 1))
    after = file_versions_of(lake)
    assert [one for one in after if after[one] != before[one]] == [hour(1).start]


def test_a_file_that_is_replaced_by_the_same_has_another_mark(lake: Lake) -> None:
    with_hours(lake, USER_PROGRESS, SESSIONS)
    before = file_versions_of(lake)
    path = lake.path(USER_PROGRESS, hour(1))
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=times)
    copy.replace(path)
    assert file_versions_of(lake)[hour(1).start] != before[hour(1).start]


def test_hours_that_one_table_alone_has_are_marked_too(lake: Lake) -> None:
    with_hours(lake, USER_PROGRESS)
    assert len(file_versions_of(lake)) == 3


def test_hours_from_the_instant_on_have_no_marks(lake: Lake) -> None:
    with_hours(lake, USER_PROGRESS, SESSIONS)
    assert list(file_versions_of(lake, 2)) == [hour(0).start, hour(1).start]


def test_a_table_with_a_gap_has_no_marks_but_an_error(lake: Lake) -> None:
    with_hours(lake, USER_PROGRESS, SESSIONS)
    lake.remove(SESSIONS, hour(1))
    with pytest.raises(LakeError, match=r"practice_sessions: 1 of 3 hours before 2025-03-12T14:00Z .*03-12-12:00\)"):
        file_versions_of(lake)


def test_a_silence_is_no_gap_of_marks(lake: Lake) -> None:
    for number in (-5000, 0, 1, 2):
        lake.write(USER_PROGRESS, hour(number), USER_PROGRESS.empty())
    assert len(file_versions_of(lake)) == 4


# --- parts that are small in memory ---


@examples(10, 30)
@given(sizes=st.lists(st.integers(0, 9), max_size=8), room=st.integers(1, 9))
def test_parts_are_all_hours_in_their_order_and_none_is_too_large(sizes: list[int], room: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        lake = Lake(Path(folder))
        write_layout(LocalFiles(lake.root))
        for number, size in enumerate(sizes):
            path = lake.path(USER_PROGRESS, hour(number))
            path.parent.mkdir(parents=True)
            path.write_bytes(bytes(size))
        patched.setattr(listing, "PART_BYTES", room)
        parts = list(lake.in_parts(USER_PROGRESS, reversed([hour(number) for number in range(len(sizes))])))
        large = {one for one in range(len(sizes)) if lake.is_large(USER_PROGRESS, hour(one))}
    assert [one for part in parts for one in part] == [hour(number) for number in range(len(sizes))]
    assert large == {number for number, size in enumerate(sizes) if size > room}
    size_of = {hour(number): size for number, size in enumerate(sizes)}
    assert all(sum(size_of[one] for one in part) <= room or len(part) == 1 for part in parts)


def test_an_hour_that_is_not_there_has_room_in_any_part(lake: Lake) -> None:
    assert list(lake.in_parts(USER_PROGRESS, [hour(1), hour(0)])) == [[hour(0), hour(1)]]


# --- hours of a derived table that have to be computed anew ---


@pytest.mark.parametrize(
    ("numbers", "stale", "left"),
    [
        ((0, 1, 2, 3), 1, (0, 2, 3)),
        ((0, 1, 2, 3), 3, (0, 1, 2)),
        ((0, 1, 2, 3), 4, (0, 1, 2, 3)),
        ((0, 1, 2, 3), 0, ()),
        ((0, 1, 2, 3), -5, ()),
        ((0, 1, 1001, 1002), 1, ()),
        ((0, 1, 1001, 1002), 500, ()),
        ((0, 1, 1001, 1002), 1001, ()),
        ((0, 1, 1001, 1002), 1002, (0, 1, 1001)),
        ((0,), 0, ()),
        ((), 0, ()),
    ],
)
def test_after_an_hour_has_become_stale_the_next_run_reads_from_there_or_before(
    numbers: tuple[int, ...], stale: int, left: tuple[int, ...], lake: Lake
) -> None:
    write(lake, *numbers)
    lake.invalidate(USER_PROGRESS, hour(stale))
    assert lake.hours(USER_PROGRESS) == [hour(number) for number in left]
    complete = lake.complete_until(USER_PROGRESS)
    assert complete is None or complete <= hour(stale).start
    assert temporary_files(lake.root) == []


# --- many hours at once ---


def in_hours(*numbers: int) -> tuple[pl.DataFrame, pl.Series]:
    """Events at half past, one per hour that is named, and the starts of their hours."""
    frame = progress(7, *(hour(number).start + timedelta(minutes=30) for number in numbers))
    return frame, frame["completed_at"].dt.truncate("1h")


def test_hours_without_a_row_become_empty_partitions(lake: Lake) -> None:
    changed = lake.write_hours(USER_PROGRESS, [hour(number) for number in range(3)], *in_hours(1))
    assert changed == 3
    assert [lake.rows(USER_PROGRESS, hour(number)) for number in range(3)] == [0, 1, 0]


def test_hours_outside_of_the_window_are_left_alone(lake: Lake) -> None:
    write(lake, 5)
    lake.write_hours(USER_PROGRESS, [hour(1)], *in_hours(0, 1, 5))
    assert lake.hours(USER_PROGRESS) == [hour(1), hour(5)]
    assert lake.scan(USER_PROGRESS, [hour(5)]).collect()["time_spent_ms"].to_list() == [5]


def test_only_hours_that_changed_are_counted(lake: Lake) -> None:
    window = [hour(number) for number in range(3)]
    lake.write_hours(USER_PROGRESS, window, *in_hours(0, 1))
    assert lake.write_hours(USER_PROGRESS, window, *in_hours(0, 1)) == 0
    assert lake.write_hours(USER_PROGRESS, window, *in_hours(0, 1, 2)) == 1


def test_no_hours_are_no_work(lake: Lake) -> None:
    assert lake.write_hours(USER_PROGRESS, [], *in_hours(0)) == 0
    assert not lake.root.exists()


@examples(5, 15)
@given(st.lists(st.integers(0, 4), max_size=8))
def test_many_hours_at_once_are_the_same_as_one_by_one(numbers: list[int]) -> None:
    frame, starts = in_hours(*numbers)
    with tempfile.TemporaryDirectory() as folder:
        at_once, one_by_one = Lake(Path(folder) / "a"), Lake(Path(folder) / "b")
        at_once.write_hours(USER_PROGRESS, [hour(number) for number in range(5)], frame, starts)
        for number in range(5):
            one_by_one.write(USER_PROGRESS, hour(number), frame.filter(starts == hour(number).start))
        names = [path.relative_to(at_once.root) for path in at_once.files(USER_PROGRESS)]
        assert [path.relative_to(one_by_one.root) for path in one_by_one.files(USER_PROGRESS)] == names
        assert [(at_once.root / name).read_bytes() for name in names] == [
            (one_by_one.root / name).read_bytes() for name in names
        ]


def test_one_row_that_breaks_the_contract_keeps_every_hour_as_it_was(lake: Lake) -> None:
    write(lake, 0, 1)
    frame, starts = in_hours(0, 1)
    broken = frame.with_columns(user_id=pl.Series(["u1", None]))
    with pytest.raises(ContractError, match="user_progress, partition 2025-03-12-11:00 to 2025-03-12-12:00: "):
        lake.write_hours(USER_PROGRESS, [hour(0), hour(1)], broken, starts)
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [0, 1]


@pytest.mark.parametrize("number", [4, 30])
def test_hours_are_replaced_in_their_order_up_to_one_that_cannot_be(number: int, lake: Lake) -> None:
    window = [hour(one) for one in range(number)]
    lake.write_hours(USER_PROGRESS, window, progress(1), pl.Series([], dtype=pl.Datetime("us", "UTC")))
    stuck = lake.path(USER_PROGRESS, hour(2))
    stuck.unlink()
    (stuck / "in the way").mkdir(parents=True)
    with pytest.raises(LakeError, match=f"{stuck}: cannot be written"):
        lake.write_hours(USER_PROGRESS, reversed(window), *in_hours(*range(number)))
    sizes = [lake.rows(USER_PROGRESS, one) for one in window if one != hour(2)]
    assert sizes == [1, 1] + [0] * (number - 3)
    assert temporary_files(lake.root) == []


# --- when writing fails or is cut off ---


def test_a_staged_file_is_no_parquet_file_to_anybody(lake: Lake) -> None:
    write(lake, 0)
    with replacing(lake.root) as replacements:
        staged = replacements.add(lake.path(USER_PROGRESS, HOUR))
        staged.write_bytes(b"half")
        assert list(lake.root.rglob("*.parquet")) == [lake.path(USER_PROGRESS, HOUR)]
        assert not list((lake.root / "user_progress").rglob("*.tmp"))
        staged.write_bytes(lake.path(USER_PROGRESS, HOUR).read_bytes())


def test_a_block_that_raises_leaves_the_old_file_and_no_other(lake: Lake) -> None:
    write(lake, 0)
    before = lake.path(USER_PROGRESS, HOUR).read_bytes()
    with pytest.raises(ZeroDivisionError), replacing(lake.root) as replacements:
        assert replacements.add(lake.path(USER_PROGRESS, HOUR)).write_bytes(b"half") / 0
    assert lake.path(USER_PROGRESS, HOUR).read_bytes() == before
    assert temporary_files(lake.root) == []


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_to_its_end_leaves_the_old_one(lake: Lake) -> None:
    write(lake, 0)
    other = progress(1, *[HOUR.start] * 100)
    with pytest.raises(LakeError, match=r"cannot be written \(File too large\)"), files_no_larger_than(100):
        lake.write(USER_PROGRESS, HOUR, other)
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [0]
    assert temporary_files(lake.root) == []


def test_no_space_leaves_the_old_partition(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write(lake, 0)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LakeError, match=r"No space left on device\); what was there before stays\. Free some space"):
        lake.write(USER_PROGRESS, HOUR, progress(1, HOUR.start))
    monkeypatch.undo()
    assert lake.scan(USER_PROGRESS).collect()["time_spent_ms"].to_list() == [0]
    assert temporary_files(lake.root) == []


@pytest.mark.parametrize("blocked", [STAGING, "users"])
def test_a_file_in_the_place_of_a_folder_is_named_and_nothing_else_changes(blocked: str, lake: Lake) -> None:
    write(lake, 0)
    (lake.root / STAGING).rmdir()
    (lake.root / blocked).write_text("in the way", encoding="utf-8")
    with pytest.raises(LakeError, match=f"{lake.root}/{blocked}.*: cannot be written .* make {lake.root} writable"):
        lake.write(USERS, HOUR, sample(USERS, 2, 1))
    assert lake.scan(USER_PROGRESS).collect().height == 1
    assert (lake.root / blocked).read_text(encoding="utf-8") == "in the way"


def test_a_lake_in_the_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file", encoding="utf-8")
    with pytest.raises(LakeError, match="cannot be written"):
        write(Lake(tmp_path / "lake"), 0)


VERSIONS = {number: progress(number, *[HOUR.start] * 20_000) for number in (0, 1)}


def assert_complete(lake: Lake) -> None:
    found = lake.scan(USER_PROGRESS, [HOUR]).collect()
    assert found.equals(VERSIONS[found["time_spent_ms"][0]])


def test_a_reader_sees_the_old_or_the_new_partition_whenever_the_writer_is_killed(tmp_path: Path) -> None:
    lake, chance = Lake(tmp_path / "lake"), random.Random(SEED)
    target, copies = lake.path(USER_PROGRESS, HOUR), []
    for number, frame in VERSIONS.items():
        lake.write(USER_PROGRESS, HOUR, frame)
        copies.append(tmp_path / f"version-{number}")
        copies[-1].write_bytes(target.read_bytes())
    for kill in range(KILLS):
        ready = tmp_path / f"ready-{kill}"
        arguments = [sys.executable, "-m", rewriting.__name__, *map(str, (lake.root, target, ready, *copies))]
        with subprocess.Popen(arguments, cwd=README.parent.parent) as process:
            while not ready.exists():
                assert process.poll() is None, "the writer does not get going"
                time.sleep(0.002)
            end = time.monotonic() + 0.1 * chance.random()
            while time.monotonic() < end:
                assert_complete(lake)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert_complete(lake)
    Lake(lake.root)
    assert temporary_files(lake.root) == []
    assert lake.files(USER_PROGRESS) == [target]


def test_many_writers_of_one_partition_leave_one_of_their_versions(lake: Lake) -> None:
    versions = [progress(number, *[HOUR.start] * (number + 1)) for number in range(8)]
    threads = [threading.Thread(target=lake.write, args=(USER_PROGRESS, HOUR, version)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lake.scan(USER_PROGRESS).collect()
    assert any(found.equals(version) for version in versions)
    assert temporary_files(lake.root) == []


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(root: Path, *names: str) -> None:
    (root / STAGING).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / STAGING / name).write_text("half", encoding="utf-8")


def test_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    mine = f"{socket.gethostname()}@{dead_process()}"
    leave(tmp_path, f"{mine}-0.parquet.tmp", f"{mine}-1.duckdb.tmp", f"{mine}-1.duckdb.tmp.wal")
    Lake(tmp_path)
    assert temporary_files(tmp_path) == []


def test_leftovers_of_living_processes_other_machines_and_people_are_kept(tmp_path: Path) -> None:
    host, dead = socket.gethostname(), dead_process()
    names = {f"{host}@{os.getpid()}-0.parquet.tmp", f"{host}@1-0.parquet.tmp", f"elsewhere@{dead}-0.parquet.tmp"}
    names |= {f"{host}@notes.txt", "notes.txt", f"{dead}-0.parquet.tmp"}
    leave(tmp_path, *names)
    Lake(tmp_path)
    assert set(temporary_files(tmp_path)) == names


def test_a_folder_that_a_dead_process_was_removing_is_removed(tmp_path: Path) -> None:
    (tmp_path / STAGING / f"{socket.gethostname()}@{dead_process()}-0.folder.tmp" / "in it").mkdir(parents=True)
    Lake(tmp_path)
    assert temporary_files(tmp_path) == []


def test_a_number_that_no_process_can_have_belongs_to_a_dead_one(tmp_path: Path) -> None:
    leave(tmp_path, f"{socket.gethostname()}@{10**30}-0.parquet.tmp")
    clear_leftovers(tmp_path)
    assert temporary_files(tmp_path) == []


def test_a_file_in_the_place_of_the_temporary_ones_keeps_nobody_from_reading(lake: Lake) -> None:
    write(lake, 0)
    (lake.root / STAGING).rmdir()
    (lake.root / STAGING).write_text("in the way", encoding="utf-8")
    assert Lake(lake.root).rows(USER_PROGRESS, HOUR) == 1


def test_a_leftover_of_the_same_name_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    with replacing(tmp_path) as replacements:
        staged = replacements.add(tmp_path / "a.duckdb")
        staged.write_text("own", encoding="utf-8")
    prefix, number = staged.name.removesuffix(".duckdb.tmp").rsplit("-", 1)
    following = f"{prefix}-{int(number) + 1}.duckdb.tmp"
    leave(tmp_path, following, f"{following}.wal")
    with replacing(tmp_path) as replacements:
        staged = replacements.add(tmp_path / "b.duckdb")
        assert staged.name == following
        assert temporary_files(tmp_path) == []
        staged.write_text("own", encoding="utf-8")


def test_a_partition_key_is_readable() -> None:
    keys = [Rejects("users", HOUR).key, Rejects("users", None).key, HOUR.key, MONTH.key]
    assert keys == ["users|2025-03-12-11:00", "users|unknown", "2025-03-12-11:00", "2025-02"]
