"""What below a source folder is data, and which values the names of folders give."""

import traceback
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import good_rows, read_rows
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import LINE_FILE, PART

COHORTS, USERS = SOURCE_TABLES["cohorts"], SOURCE_TABLES["users"]


def write(path: Path, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)


def ids(folder: Path) -> list[str]:
    return sorted(FileSource(folder).scan(COHORTS).collect()["cohort_id"])


def keys(folder: Path) -> dict[str, str | None]:
    rows = good_rows(read_rows(FileSource(folder).scan(COHORTS), COHORTS)).collect()
    return dict(rows.select("cohort_id", "cohort_key").rows())


def fault(folder: Path) -> str:
    with pytest.raises(SourceError) as raised:
        FileSource(folder).scan(COHORTS).collect()
    return str(raised.value)


# --- files that are not data ---

HIDDEN = (
    "_temporary/0/attempt_0/part.parquet",
    ".spark-staging-7/part.parquet",
    ".part-0.parquet",
    "_part-0.parquet",
    "_delta_log/checkpoint.parquet",
    "year=2025/_temporary/part.parquet",
    "year=2025/.part.parquet",
)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_name_that_begins_with_an_underscore_or_a_dot_is_no_data(hidden: str, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    write(tmp_path / "cohorts" / hidden, cohort_id=["c2"])
    assert ids(tmp_path) == ["c1"]


def test_a_partition_may_begin_with_an_underscore(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "_year=2025" / "part.parquet", cohort_id=["c1"])
    assert ids(tmp_path) == ["c1"]


def test_a_hidden_folder_above_the_source_hides_nothing(tmp_path: Path) -> None:
    write(tmp_path / ".data" / "_in" / "cohorts" / "part.parquet", cohort_id=["c1"])
    assert ids(tmp_path / ".data" / "_in") == ["c1"]


def test_skipped_files_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    for hidden in HIDDEN:
        write(tmp_path / "cohorts" / hidden, cohort_id=["c2"])
    (tmp_path / "cohorts" / "part.txt").write_text("cohort_id\nc3\n", encoding="utf-8")
    assert FileSource(tmp_path).inspect(COHORTS).notes == [
        "files skipped: 7 with a name that begins with _ or ., 1 without the ending .parquet"
    ]


def test_a_folder_of_skipped_files_says_so(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "_temporary" / "part.parquet", cohort_id=["c2"])
    assert fault(tmp_path) == (
        f"{tmp_path}/cohorts: table cohorts is a folder without a Parquet, CSV or NDJSON file (files skipped: 1 with a "
        "name that begins with _ or .). Add one, or remove it"
    )


def test_skipped_files_are_no_parts(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    write(tmp_path / "cohorts" / "_temporary" / "part.parquet", cohort_id=["c2"])
    assert list(FileSource(tmp_path).part_versions(COHORTS)) == ["cohorts/part.parquet"]


def test_a_folder_with_the_name_of_a_file_is_a_table(tmp_path: Path) -> None:
    write(tmp_path / "cohorts.parquet" / "part-00000.snappy.parquet", cohort_id=["c1"])
    (tmp_path / "cohorts.parquet" / "_SUCCESS").touch()
    assert ids(tmp_path) == ["c1"]


def test_a_folder_and_one_with_the_name_of_a_file_are_two_tables(tmp_path: Path) -> None:
    write(tmp_path / "cohorts.parquet" / "part.parquet", cohort_id=["c1"])
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    assert "exists more than once (cohorts, cohorts.parquet)" in fault(tmp_path)


# --- symbolic links ---


@pytest.mark.parametrize("link", ["cohorts.parquet", "cohorts/part.parquet", "cohorts/more", "cohorts"])
def test_a_link_that_leads_out_is_refused_by_name(link: str, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "secret" / "part.parquet", cohort_id=["c1"])
    source = tmp_path / "source"
    (source / link).parent.mkdir(parents=True)
    target = tmp_path / "elsewhere" / "secret"
    (source / link).symlink_to(target / "part.parquet" if link.endswith(".parquet") else target)
    message = fault(source)
    assert message.startswith(f"{source / link}: is a symbolic link that leads out of the source folder. ")
    assert "secret" not in message


def test_a_link_within_the_source_is_read(tmp_path: Path) -> None:
    write(tmp_path / "versions" / "7.parquet", cohort_id=["c1"])
    (tmp_path / "cohorts.parquet").symlink_to(tmp_path / "versions" / "7.parquet")
    assert ids(tmp_path) == ["c1"]


def test_a_link_to_a_folder_within_the_source_is_entered(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "cohort_key=a" / "part.parquet", cohort_id=["c1"])
    write(tmp_path / "store" / "deep" / "part.parquet", cohort_id=["c2"])
    (tmp_path / "cohorts" / "cohort_key=b").symlink_to(tmp_path / "store")
    assert keys(tmp_path) == {"c1": "a", "c2": "b"}


@pytest.mark.parametrize("link", ["aaa", "zzz", "one/zzz"])
def test_a_folder_that_is_read_already_is_not_read_again_through_a_link(link: str, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "one" / "part.parquet", cohort_id=["c1"])
    (tmp_path / "cohorts" / link).symlink_to(tmp_path / "cohorts" / "one")
    assert list(FileSource(tmp_path).part_versions(COHORTS)) == ["cohorts/one/part.parquet"]


def test_a_link_to_the_hidden_folder_of_a_version_is_entered(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "_v7" / "part.parquet", cohort_id=["c1"])
    (tmp_path / "cohorts" / "current").symlink_to(tmp_path / "cohorts" / "_v7")
    assert ids(tmp_path) == ["c1"]


def test_a_link_to_the_table_itself_ends(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    (tmp_path / "cohorts" / "again").symlink_to(tmp_path / "cohorts")
    assert ids(tmp_path) == ["c1"]


def test_a_link_to_a_folder_above_the_table_is_named(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    (tmp_path / "cohorts" / "all").symlink_to(tmp_path)
    assert fault(tmp_path).startswith(f"{tmp_path / 'cohorts' / 'all'}: is a symbolic link to a folder that holds this")


def test_the_source_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real" / "cohorts.parquet", cohort_id=["c1"])
    (tmp_path / "source").symlink_to(tmp_path / "real")
    assert ids(tmp_path / "source") == ["c1"]


# --- values in names of folders ---


def test_a_file_beside_partitions_keeps_its_own_column(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1", "c2"], cohort_key=["own", None])
    write(tmp_path / "cohorts" / "cohort_key=told" / "part.parquet", cohort_id=["c3"])
    assert keys(tmp_path) == {"c1": "own", "c2": None, "c3": "told"}


def test_a_file_below_other_partitions_keeps_its_own_column(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "year=2025" / "part.parquet", cohort_id=["c1"], cohort_key=["own"])
    write(tmp_path / "cohorts" / "cohort_key=told" / "part.parquet", cohort_id=["c3"])
    assert keys(tmp_path) == {"c1": "own", "c3": "told"}


def test_a_file_without_the_column_beside_partitions_has_none(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "part.parquet", cohort_id=["c1"])
    write(tmp_path / "cohorts" / "cohort_key=told" / "part.parquet", cohort_id=["c3"])
    assert keys(tmp_path) == {"c1": None, "c3": "told"}


@pytest.mark.parametrize(
    ("name", "own"),
    [("a", "a"), ("7", 7), ("007", 7), ("7.0", 7), ("__HIVE_DEFAULT_PARTITION__", None), ("a%20b", "a b")],
)
def test_a_file_may_say_what_its_folder_says(name: str, own: object, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / f"cohort_key={name}" / "part.parquet", cohort_id=["c1"], cohort_key=[own])
    assert list(keys(tmp_path)) == ["c1"]


@pytest.mark.parametrize(("name", "own"), [("a", "b"), ("7", 8), ("a", None), ("__HIVE_DEFAULT_PARTITION__", "a")])
def test_a_file_that_contradicts_its_folder_is_an_error_that_names_both(name: str, own: object, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / f"cohort_key={name}" / "part.parquet", cohort_id=["c1", "c2"], cohort_key=[own, own])
    assert fault(tmp_path) == (
        f"{tmp_path}/cohorts/cohort_key=…/part.parquet: table cohorts: the column cohort_key in the file contradicts "
        "the name of its folder. Remove one of them"
    )


@pytest.mark.parametrize(("name", "own"), [("7", 7), ("7.0", 7), ("7", 7.0), ("a", " a "), ("007", "007")])
def test_a_file_may_name_the_id_of_its_folder(name: str, own: object, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / f"cohort_id={name}" / "part.parquet", cohort_id=[own])
    assert len(keys(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("2025-03-01", date(2025, 3, 1)),
        ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-03-01 10%3A00%3A00", datetime(2025, 3, 1, 10, tzinfo=UTC)),
        ("2025-03-01T10:00:00Z", datetime(2025, 3, 1, 10, tzinfo=UTC).replace(tzinfo=None)),
        ("2025-03-01", "2025-03-01T00:00:00Z"),
    ],
)
def test_a_file_may_name_the_time_of_its_folder_in_another_spelling(name: str, own: object, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / f"created_at={name}" / "part.parquet", cohort_id=["c1"], created_at=[own])
    assert len(keys(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "own"), [("2025-03-01", datetime(2025, 3, 1, 10, tzinfo=UTC)), ("2025-03-01", "soon")]
)
def test_a_time_that_is_another_one_contradicts_its_folder(name: str, own: object, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / f"created_at={name}" / "part.parquet", cohort_id=["c1"], created_at=[own])
    assert "the column created_at in the file contradicts the name of its folder. " in fault(tmp_path)


@pytest.mark.parametrize(("name", "own"), [("007", 7), ("7", "07"), ("1e3", 1000)])
def test_ids_that_are_equal_only_as_numbers_contradict_each_other(name: str, own: object, tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / f"cohort_id={name}" / "part.parquet", cohort_id=[own])
    assert "the column cohort_id in the file contradicts the name of its folder. " in fault(tmp_path)


NO_ROWS_OF_ADA = {
    "damaged.parquet": b"PAR1xx",
    "empty.csv": b"",
    "without a column.csv": b"x\n1\n",
    "a column twice.csv": b"created_at,created_at\n1,2\n",
    "with carriage returns.csv": b"x\r1\r",
    "cut.ndjson": b'{"created_at": "2025-03-0',
    "cut.csv.gz": b"\x1f\x8b\x08",
    "not UTF-8.json": b'[{"created_at": "\xff"}]',
    "a contradiction.csv": b"user_id,created_at\nbob,2025-03-01\n",
    "contradicting folders/user_id=adele/part.csv": b"created_at\n2025-03-01\n",
}
"""Files of a folder of Ada, each with a fault."""


@pytest.mark.parametrize("name", NO_ROWS_OF_ADA)
@pytest.mark.parametrize("column", ["user_id", "login"])
def test_no_fault_of_a_file_tells_the_value_of_its_folder(name: str, column: str, tmp_path: Path) -> None:
    file = tmp_path / "users" / "month=2025-03" / f"{column}=ada%40example" / name.replace("user_id", column)
    file.parent.mkdir(parents=True)
    file.write_bytes(NO_ROWS_OF_ADA[name].replace(b"user_id", column.encode()))
    mapping = tmp_path / "own.yaml"
    mapping.write_text(f"users: {{columns: {{user_id: {column}}}}}", encoding="utf-8")
    source = open_source(str(tmp_path), mapping)
    with closing(source), pytest.raises(SourceError) as raised:
        source.scan(USERS)
    assert f"users/month=2025-03/{column}=…/" in str(raised.value)
    assert "%40" not in "".join(traceback.format_exception(raised.value))


def test_a_link_below_the_folder_of_a_person_is_named_without_the_person(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "users" / "user_id=ada"
    folder.mkdir(parents=True)
    (folder / "part.csv").symlink_to(tmp_path)
    with pytest.raises(SourceError, match=r"users/user_id=…/part\.csv: is a symbolic link"):
        FileSource(tmp_path / "source").scan(USERS)


def test_a_line_in_the_folder_of_a_person_is_named_without_the_person(tmp_path: Path) -> None:
    folder = tmp_path / "users" / "mail=ada@example"
    folder.mkdir(parents=True)
    (folder / "part.csv").write_text("user_id,created_at\nu1\n", encoding="utf-8")
    assert FileSource(tmp_path).scan(USERS).collect()[LINE_FILE].to_list() == ["mail=…/part.csv"]


# --- columns ---


def test_only_listed_columns_are_read(tmp_path: Path) -> None:
    write(tmp_path / "cohorts.parquet", cohort_id=["c1"], password_hash=["x"])
    assert FileSource(tmp_path).scan(COHORTS).collect_schema().names() == ["cohort_id"]


def test_an_unlisted_column_may_have_a_type_that_nothing_reads(tmp_path: Path) -> None:
    wide = pa.array([1], pa.decimal256(60, 2))
    pq.write_table(pa.table({"cohort_id": ["c1"], "balance": wide}), tmp_path / "cohorts.parquet")
    assert ids(tmp_path) == ["c1"]


def test_an_unlisted_column_may_hold_intervals(tmp_path: Path) -> None:
    with_interval(tmp_path, "lasted")
    assert ids(tmp_path) == ["c1"]


def with_interval(folder: Path, name: str) -> None:
    duckdb.execute(f"COPY (SELECT 'c1' AS cohort_id, INTERVAL 1 DAY AS {name}) TO '{folder}/cohorts.parquet'")


def test_a_listed_column_of_a_wide_decimal_is_named_with_its_type(tmp_path: Path) -> None:
    wide = pa.array([1], pa.decimal256(60, 2))
    pq.write_table(pa.table({"cohort_id": ["c1"], "cohort_key": wide}), tmp_path / "cohorts.parquet")
    assert fault(tmp_path) == (
        f"{tmp_path / 'cohorts.parquet'}: table cohorts: the column cohort_key has the type decimal(60, 2), which "
        "cannot be read. Write it as text or as a number of at most 38 digits, or leave it out"
    )


def test_a_listed_column_of_intervals_is_named_with_its_type(tmp_path: Path) -> None:
    with_interval(tmp_path, "cohort_key")
    assert "the column cohort_key has the type interval, which cannot be read. " in fault(tmp_path)


@pytest.mark.parametrize("zone", ["localtime", "Factory", "+05:30", "Mars/Phobos", "UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("column", ["created_at", "unlisted"])
def test_a_time_in_a_zone_that_polars_does_not_know_is_its_instant(zone: str, column: str, tmp_path: Path) -> None:
    times = pa.array([1741773600], pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp("us", zone))
    pq.write_table(pa.table({"cohort_id": ["c1"], column: times}), tmp_path / "cohorts.parquet")
    (row,) = good_rows(read_rows(FileSource(tmp_path).scan(COHORTS), COHORTS)).collect().rows(named=True)
    assert row["created_at"] == (None if column == "unlisted" else datetime(2025, 3, 12, 10, tzinfo=UTC))


def test_a_listed_column_of_lists_is_named(tmp_path: Path) -> None:
    write(tmp_path / "cohorts.parquet", cohort_id=["c1"], cohort_key=[["a"]])
    with pytest.raises(SourceError, match="table cohorts: the column cohort_key has the type List"):
        read_rows(FileSource(tmp_path).scan(COHORTS), COHORTS)


# --- parts that are read together ---


def of_parts(folder: Path, parts: list[str]) -> dict[str, pl.DataFrame]:
    """The rows of parts that are read together, by part."""
    found: dict[str, pl.DataFrame] = {}
    for frame in FileSource(folder).scan_parts(COHORTS, parts):
        for (number,), rows in frame.collect().partition_by(PART, as_dict=True, include_key=False).items():
            found[parts[int(number)]] = rows
    return found


def test_parts_read_together_have_the_rows_of_each_alone(tmp_path: Path) -> None:
    write(tmp_path / "cohorts" / "a.parquet", cohort_id=[7, None])
    write(tmp_path / "cohorts" / "b.parquet", cohort_id=["07", " 8"])
    write(tmp_path / "cohorts" / "c.parquet", cohort_id=[9.5])
    write(tmp_path / "cohorts" / "d.parquet", cohort_id=[10, 11], cohort_key=["k", None])
    write(tmp_path / "cohorts" / "e.parquet", cohort_id=[12])
    write(tmp_path / "cohorts" / "cohort_id=c1" / "f.parquet", created_at=["never"])
    parts = [*FileSource(tmp_path).part_versions(COHORTS)]
    found = of_parts(tmp_path, parts[::-1])
    assert found.keys() == set(parts)
    for part, rows in found.items():
        assert rows.equals(FileSource(tmp_path).scan(COHORTS, parts=[part]).collect(), null_equal=True)


def test_parts_with_the_same_columns_are_one_frame(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "cohorts" / f"{name}.parquet", cohort_id=[name])
    write(tmp_path / "cohorts" / "c.parquet", cohort_id=[1])
    assert len([*FileSource(tmp_path).scan_parts(COHORTS, [*FileSource(tmp_path).part_versions(COHORTS)])]) == 2


def test_a_text_file_is_one_part(tmp_path: Path) -> None:
    (tmp_path / "cohorts.csv").write_text("cohort_id\nc1\nc2\n", encoding="utf-8")
    assert of_parts(tmp_path, ["cohorts.csv"])["cohorts.csv"]["cohort_id"].to_list() == ["c1", "c2"]
