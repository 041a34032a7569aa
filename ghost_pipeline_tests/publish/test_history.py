"""Histories: which files hold them, that unchanged files stay, and that each publication keeps reading its own."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.errors import LakeError, PublishError
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import write_layout
from ghost_pipeline.lake.local_files import LocalFiles
from ghost_pipeline.publish.database_builder import publication_lock, publish
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.history import DATA_VARIABLE, KEPT_MONTHS, KEPT_PUBLICATIONS, fetch_history, remove_unnamed
from ghost_pipeline.publish.history_files import history_files
from ghost_pipeline.publish.history_spans import SETTLED, spans
from ghost_pipeline.publish.partition_contents import PartitionContents
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.samples import sample

HISTORY = CONTRACTS["ngram_speed_summary_history"]
ERRORS = CONTRACTS["session_ngram_errors"]
KEYBOARDS = CONTRACTS["keyboards"]
ROWS = sample(HISTORY, 12, 1)
START = datetime(2025, 1, 30, 20, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def at(text: str) -> Hour:
    return Hour(datetime.fromisoformat(f"{text}:00+00:00"))


def put(data: Path, hour: str | Hour, rows: int = 2, first: int = 0) -> None:
    """Write an hour; the rows of another `first` are others."""
    Lake(data / "lake").write(HISTORY, at(hour) if isinstance(hour, str) else hour, ROWS[first : first + rows])


def published(data: Path) -> dict[str, str]:
    """Publish, and return the hashes of `table_info`."""
    return {one.table: one.inputs_hash for one in publish(Lake(data / "lake"), data / "ghost.duckdb")}


def named(data: Path) -> dict[str, str]:
    """The files of the present publication with the hashes of their bytes."""
    files = [one.file for one in history_files(data / "ghost.duckdb") if not one.publications_ago]
    return {file: hashlib.sha256((data / file).read_bytes()).hexdigest() for file in files}


def there(data: Path) -> set[str]:
    return {path.relative_to(data).as_posix() for path in (data / "history").rglob("*") if path.is_file()}


def keys(data: Path) -> list[str]:
    contents = PartitionContents(Lake(data / "lake"), HISTORY)
    return [span.key for span in spans(contents)]


@contextmanager
def client(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB client that knows nothing of this project."""
    with duckdb.connect(str(data / "ghost.duckdb"), read_only=True) as connection:
        yield connection


def counted(connection: duckdb.DuckDBPyConnection) -> int:
    ((rows,),) = connection.execute("SELECT count(*) FROM ngram_speed_summary_history").fetchall()
    return int(rows)


# --- which hours share a file ---


def test_whole_months_then_whole_days_then_hours_share_a_file(data: Path) -> None:
    for hour in ("2025-01-31T23", "2025-02-01T00", "2025-02-28T23", "2025-03-04T05", "2025-03-05T00", "2025-03-05T01"):
        put(data, hour)
    assert keys(data) == ["2025-01-31T23", "2025-02", "2025-03-04", "2025-03-05T00", "2025-03-05T01"]


def test_a_month_is_one_file_once_late_rows_of_its_last_day_are_rare(data: Path) -> None:
    put(data, "2025-01-01T00")
    put(data, "2025-01-31T23")
    newest = Hour(datetime(2025, 2, 1, tzinfo=UTC) + SETTLED - HOUR)
    put(data, Hour(newest.start - HOUR))
    assert keys(data)[:2] == ["2025-01-01", "2025-01-31"]
    put(data, newest)
    assert keys(data)[0] == "2025-01"


def test_an_hour_without_rows_has_no_file(data: Path) -> None:
    put(data, "2025-03-05T00")
    put(data, "2025-03-05T01", rows=0)
    assert keys(data) == ["2025-03-05T00"]


# --- a publication writes what has changed ---


def test_another_hour_leaves_the_files_before_it_alone(data: Path) -> None:
    for hour in ("2025-01-01T00", "2025-02-01T00", "2025-03-05T00"):
        put(data, hour)
    published(data)
    before = {file: (data / file).stat().st_ino for file in there(data)}
    put(data, "2025-03-05T01")
    published(data)
    assert {file: (data / file).stat().st_ino for file in before} == before
    assert len(there(data)) == len(before) + 1


def test_a_late_row_changes_the_file_of_its_month_alone(data: Path) -> None:
    for hour in ("2025-01-01T00", "2025-02-01T00", "2025-03-05T00"):
        put(data, hour)
    published(data)
    before = set(named(data))
    put(data, "2025-01-02T00", first=5)
    published(data)
    assert [file.split("/")[-1][:7] for file in before - set(named(data))] == ["2025-01"]


def test_no_file_of_an_unchanged_month_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in ("2025-01-01T00", "2025-02-01T00", "2025-03-05T00"):
        put(data, hour)
    published(data)
    put(data, "2025-03-05T01")
    opened: list[Path] = []
    read = Path.open

    def noted(path: Path, mode: str = "r") -> object:
        opened.append(path)
        return read(path, mode)

    monkeypatch.setattr(Path, "open", noted)
    published(data)
    lake = data / "lake"
    assert [path for path in opened if path.suffix == ".parquet" and path.is_relative_to(lake)] == [
        Lake(lake).path(HISTORY, at("2025-03-05T01"))
    ]


def test_the_file_of_a_history_is_written_again_if_it_is_gone(data: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    before = named(data)
    shutil.rmtree(data / "history")
    published(data)
    assert named(data) == before


def test_an_expired_partition_vanishes_from_the_published_history(data: Path) -> None:
    put(data, "2025-03-05T00")
    put(data, "2025-03-05T01", first=5)
    published(data)
    Lake(data / "lake").remove(HISTORY, at("2025-03-05T00"))
    published(data)
    with client(data) as connection:
        assert counted(connection) == 2


def test_a_file_that_lacks_a_later_nullable_column_has_nulls(data: Path) -> None:
    lake = Lake(data / "lake")
    for hour in ("2025-03-05T00", "2025-03-05T01"):
        lake.write(ERRORS, at(hour), sample(ERRORS, 3, 1))
    old = lake.path(ERRORS, at("2025-03-05T00"))
    pl.read_parquet(old, hive_partitioning=False).drop("keystroke_char").write_parquet(old)
    published(data)
    database = PublishedDatabase.open(data / "ghost.duckdb")
    assert database.rows(ERRORS)["keystroke_char"][:3].null_count() == 3


def test_keyboards_are_a_table_of_all_versions(data: Path) -> None:
    lake = Lake(data / "lake")
    for number, hour in enumerate(("2025-01-01T00", "2025-03-05T00")):
        lake.write(KEYBOARDS, at(hour), sample(KEYBOARDS, 3, number))
    published(data)
    assert PublishedDatabase.open(data / "ghost.duckdb").rows(KEYBOARDS).height == 6


def test_a_damaged_file_is_named_and_the_publication_before_stays(data: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    put(data, "2025-03-05T01")
    damaged = Lake(data / "lake").path(HISTORY, at("2025-03-05T01"))
    damaged.write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(LakeError, match=f"{HISTORY.name}: {damaged} is damaged. Delete it and run again"):
        published(data)
    with client(data) as connection:
        assert counted(connection) == 2


# --- damaged files of histories ---


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(_: bytes) -> bytes:
    return b""


def without_footer(content: bytes) -> bytes:
    """The same size, with other bytes where the footer was."""
    length = int.from_bytes(content[-8:-4], "little")
    footer = bytes(byte ^ 0xFF for byte in content[-8 - length : -8])
    return content[: -8 - length] + footer + content[-8:]


def in_the_data(content: bytes) -> bytes:
    """The same size and footer, with other bytes in the pages."""
    return content[:4] + b"\xff" * 200 + content[204:]


def damage(data: Path, how: Callable[[bytes], bytes], table: str = HISTORY.name) -> Path:
    (file,) = [data / one.file for one in history_files(data / "ghost.duckdb") if one.table == table]
    file.write_bytes(how(file.read_bytes()))
    return file


@pytest.mark.parametrize("how", [cut, emptied, without_footer])
@pytest.mark.parametrize("contract", [HISTORY, KEYBOARDS], ids=lambda contract: contract.name)
def test_a_damaged_file_of_a_history_is_written_again(
    data: Path, how: Callable[[bytes], bytes], contract: Contract
) -> None:
    Lake(data / "lake").write(contract, at("2025-03-05T00"), sample(contract, 3, 1))
    published(data)
    before = named(data)
    damage(data, how, contract.name)
    published(data)
    assert named(data) == before
    assert PublishedDatabase.open(data / "ghost.duckdb").rows(contract).height == 3


def test_a_file_of_other_rows_under_the_name_is_written_again(data: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    before = named(data)
    (file,) = before
    ROWS.head(1).write_parquet(data / file)
    with duckdb.connect(str(data / "ghost.duckdb")) as connection:
        # As an earlier version published it: sizes were not recorded.
        connection.execute("ALTER TABLE history_files DROP COLUMN bytes")
    published(data)
    assert named(data) == before


def test_files_whose_size_was_not_recorded_stay(data: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    (file,) = named(data)
    inode = (data / file).stat().st_ino
    with duckdb.connect(str(data / "ghost.duckdb")) as connection:
        connection.execute("ALTER TABLE history_files DROP COLUMN bytes")
    put(data, "2025-03-05T00", rows=5)
    published(data)
    assert (data / file).stat().st_ino == inode
    assert {one.bytes for one in history_files(data / "ghost.duckdb")} == {
        (data / name).stat().st_size for name in there(data)
    }


@pytest.mark.parametrize("how", [cut, emptied, without_footer, in_the_data])
def test_a_reader_is_told_which_file_is_damaged_and_what_to_do(data: Path, how: Callable[[bytes], bytes]) -> None:
    put(data, "2025-03-05T00", rows=12)
    published(data)
    file = damage(data, how)
    with pytest.raises(PublishError) as raised:
        PublishedDatabase.open(data / "ghost.duckdb").rows(HISTORY)
    assert str(raised.value) == (
        f"{HISTORY.name}: {file} is damaged. Delete it and run `ghost-pipeline publish`: it writes the file "
        f"from the lake"
    )
    file.unlink()
    published(data)
    assert PublishedDatabase.open(data / "ghost.duckdb").rows(HISTORY).height == 12


def test_a_query_is_told_which_file_is_damaged(data: Path) -> None:
    put(data, "2025-03-05T00", rows=12)
    published(data)
    file = damage(data, in_the_data)
    with pytest.raises(PublishError, match=f"{HISTORY.name}: {file} is damaged. Delete it"):
        query(f"FROM {HISTORY.name}", data / "ghost.duckdb", Lake(data / "lake"))


def test_a_table_of_all_versions_names_the_damaged_file(data: Path) -> None:
    Lake(data / "lake").write(KEYBOARDS, at("2025-03-05T00"), sample(KEYBOARDS, 50, 1))
    published(data)
    file = damage(data, in_the_data, KEYBOARDS.name)
    with pytest.raises(LakeError, match=f"{KEYBOARDS.name}: {file} is damaged. Delete it"):
        published(data)


def test_copies_are_not_removed_while_a_publication_is_made(data: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    written = data / "history" / HISTORY.name / "2025-03-05T01.0123.parquet"
    written.write_bytes(b"to be named")
    with publication_lock(data / "ghost.duckdb"):
        fetch_history(LocalFiles(data), data / "ghost.duckdb", "ghost.duckdb")
        assert written.exists()
    fetch_history(LocalFiles(data), data / "ghost.duckdb", "ghost.duckdb")
    assert there(data) == set(named(data))


# --- incremental equals from scratch ---

CHANGES = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([0, 0, 1, 2, -1]), st.booleans()), min_size=1, max_size=12
)
"""An hour, what becomes of it (so many rows, or removed), and whether a publication follows."""
HOURS = [Hour(START + timedelta(hours=1) * step) for step in (0, 3, 4, 30, 200, 400, 690, 780, 800, 801)]
"""Hours of two days of January, of February, and of March: months, days and hours change their file."""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(CHANGES)
def test_contents_and_spans_are_those_from_scratch(tmp_path_factory: pytest.TempPathFactory, changes: list) -> None:  # type: ignore[type-arg]
    data = tmp_path_factory.mktemp("spans")
    lake = Lake(data)
    for number, rows, look in changes:
        if rows < 0:
            lake.remove(HISTORY, HOURS[number])
        else:
            lake.write(HISTORY, HOURS[number], ROWS[number : number + rows])
        if look:
            contents = PartitionContents(lake, HISTORY)
            spans(contents)
            contents.remember()
    found = PartitionContents(lake, HISTORY)
    incremental = found.content_hash, found.rows, spans(found)
    clear_cache(lake.root)
    scratch = PartitionContents(lake, HISTORY)
    assert incremental == (scratch.content_hash, scratch.rows, spans(scratch))


def test_publications_one_after_another_give_the_bytes_of_one_from_scratch(data: Path, tmp_path: Path) -> None:
    for hour in HOURS:
        put(data, hour, rows=12)
        hashes = published(data)
    for hour in HOURS:
        put(tmp_path / "scratch", hour, rows=12)
    assert published(tmp_path / "scratch") == hashes
    assert named(tmp_path / "scratch") == named(data)


def test_a_large_file_has_the_same_bytes_every_time(data: Path) -> None:
    # Several row groups, which threads write.
    many = pl.concat([ROWS] * 10_000).with_columns(
        pl.format("user{}", pl.int_range(120_000).hash(1) % 1_000_000).alias("user_id")
    )
    write_layout(LocalFiles(data / "lake"))
    path = Lake(data / "lake").path(HISTORY, at("2025-03-05T00"))
    path.parent.mkdir(parents=True)
    many.unique(HISTORY.primary_key).sort(HISTORY.primary_key).write_parquet(path)
    found = set()
    for _ in range(3):
        shutil.rmtree(data / "history", ignore_errors=True)
        published(data)
        found |= set(named(data).values())
    assert len(found) == 1


# --- readers ---


def test_a_reader_of_an_earlier_publication_keeps_its_files(data: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    with client(data) as before:
        put(data, "2025-03-05T00", rows=5)
        published(data)
        assert counted(before) == 2


def test_a_file_goes_when_no_kept_publication_names_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT_PUBLICATIONS == 24
    monkeypatch.setattr("ghost_pipeline.publish.history.KEPT_PUBLICATIONS", 2)
    put(data, "2025-03-05T00")
    published(data)
    (old,) = named(data)
    put(data, "2025-03-05T00", rows=5)
    for kept in (True, True, False):
        published(data)
        assert (old in there(data)) == kept


def test_few_files_of_a_month_that_late_rows_change_every_hour_are_kept(data: Path) -> None:
    assert KEPT_MONTHS == 2
    put(data, "2025-01-01T00")
    put(data, "2025-03-05T00")
    for rows in range(2, 8):
        put(data, "2025-01-10T00", rows=rows)
        published(data)
    months = [one for one in there(data) if one.startswith("2025-01.") or "/2025-01." in one]
    assert len(months) == 1 + KEPT_MONTHS


def test_leftovers_of_a_killed_publication_are_removed(data: Path) -> None:
    put(data, "2025-03-05T00")
    left = data / "history" / HISTORY.name / "2025-03-04T00.0123.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"unnamed")
    published(data)
    assert there(data) == set(named(data))


def test_after_an_erasure_no_other_file_stays(data: Path) -> None:
    for rows in (2, 5):
        put(data, "2025-03-05T00", rows=rows)
        published(data)
    assert len(there(data)) == 2
    remove_unnamed(data, data / "ghost.duckdb")
    assert there(data) == set(named(data))


def test_a_moved_folder_is_read_by_our_readers(data: Path, tmp_path: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    moved = data.rename(tmp_path / "it's [moved] *")
    assert PublishedDatabase.open(moved / "ghost.duckdb").rows(HISTORY).height == 2
    rows = query(
        "SELECT count(*) FROM ngram_speed_summary_history", moved / "ghost.duckdb", Lake(moved / "lake")
    ).rows()
    assert rows == [(2,)]


def test_a_client_reads_a_moved_folder_if_it_names_it(data: Path, tmp_path: Path) -> None:
    put(data, "2025-03-05T00")
    published(data)
    moved = data.rename(tmp_path / "moved")
    with client(moved) as connection:
        connection.execute(f"SET VARIABLE {DATA_VARIABLE} = '{moved}'")
        assert counted(connection) == 2


def test_a_database_of_an_earlier_version_is_taken_over(data: Path) -> None:
    put(data, "2025-03-05T00")
    with duckdb.connect(str(data / "ghost.duckdb")) as connection:
        connection.execute("CREATE TABLE ngram_speed_summary_history AS SELECT 1 AS of_an_earlier_version")
    published(data)
    with client(data) as connection:
        assert counted(connection) == 2
