"""A folder of files as a source: every form gives the same rows, every fault is one line with its remedy."""

import gzip
import io
import json
import os
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import SOURCE_TABLES, SOURCE_USER_PROGRESS, SOURCE_USERS
from ghost_pipeline.contracts.source import Domain, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, good_rows, read_rows
from ghost_pipeline.settings import MAX_TASK_MINUTES
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import FAULT, domains, require_domain

COHORTS = SOURCE_TABLES["cohorts"]
PROGRESS = pl.DataFrame(
    {
        "progress_id": ["p1", "p2", "p3"],
        "user_id": ["u1", "u2", "u1"],
        "task_type": ["reading", "mock_test", "writing"],
        "completed_at": [datetime(2025, 3, 12, hour, 30, tzinfo=UTC) for hour in (9, 10, 11)],
        "time_spent_minutes": [5.5, 0.0, 20.25],
    }
)
WRITE_AGAIN = "write it again, beside and renamed, and run again"


def scan(folder: Path, table: SourceTable = COHORTS) -> pl.DataFrame:
    return FileSource(folder).scan(table).collect()


def good(folder: Path, table: SourceTable = SOURCE_USER_PROGRESS) -> pl.DataFrame:
    rows = read_rows(FileSource(folder).scan(table), table, MAX_TASK_MINUTES)
    return good_rows(rows).sort(table.key[0]).collect()


def reasons(folder: Path, table: SourceTable) -> list[str | None]:
    return read_rows(FileSource(folder).scan(table), table, MAX_TASK_MINUTES).collect()[REASON].to_list()


def fault(folder: Path, table: SourceTable = COHORTS) -> str:
    with pytest.raises(SourceError) as raised:
        scan(folder, table)
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- every form ---


def as_parquet(folder: Path, frame: pl.DataFrame) -> None:
    frame.write_parquet(folder / "user_progress.parquet")


def as_csv(folder: Path, frame: pl.DataFrame) -> None:
    frame.write_csv(folder / "user_progress.csv")


def as_ndjson(folder: Path, frame: pl.DataFrame) -> None:
    frame.write_ndjson(folder / "user_progress.ndjson")


def as_folder(folder: Path, frame: pl.DataFrame) -> None:
    (folder / "user_progress" / "deeper").mkdir(parents=True)
    frame.head(1).write_parquet(folder / "user_progress" / "a.parquet")
    frame.slice(1).write_parquet(folder / "user_progress" / "deeper" / "b.parquet")


def as_hive_folder(folder: Path, frame: pl.DataFrame) -> None:
    for (task_type,), part in frame.partition_by("task_type", as_dict=True, include_key=False).items():
        below = folder / "user_progress" / f"task_type={task_type}"
        below.mkdir(parents=True)
        part.write_parquet(below / "part-0.parquet")


FORMS = (as_parquet, as_csv, as_ndjson, as_folder, as_hive_folder)
every_form = pytest.mark.parametrize("write", FORMS, ids=lambda form: form.__name__)


@every_form
def test_every_form_gives_the_same_rows(write: Callable[[Path, pl.DataFrame], None], tmp_path: Path) -> None:
    write(tmp_path, PROGRESS)
    assert good(tmp_path).rows() == [
        ("p1", "u1", "reading", datetime(2025, 3, 12, 9, 30, tzinfo=UTC), 330_000),
        ("p2", "u2", "mock_test", datetime(2025, 3, 12, 10, 30, tzinfo=UTC), 0),
        ("p3", "u1", "writing", datetime(2025, 3, 12, 11, 30, tzinfo=UTC), 1_215_000),
    ]


@every_form
def test_every_form_names_its_table(write: Callable[[Path, pl.DataFrame], None], tmp_path: Path) -> None:
    write(tmp_path, PROGRESS)
    assert FileSource(tmp_path).tables() == {"user_progress"}


@pytest.mark.parametrize("write", [as_parquet, as_csv, as_ndjson], ids=lambda form: form.__name__)
def test_a_table_without_rows_still_has_its_columns(
    write: Callable[[Path, pl.DataFrame], None], tmp_path: Path
) -> None:
    write(tmp_path, PROGRESS.clear())
    assert good(tmp_path).height == 0


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS.map(lambda text: text.replace("\x00", "")), min_size=1, max_size=6))
def test_csv_and_ndjson_hold_any_text_that_parquet_holds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    frame = pl.DataFrame({"cohort_id": [f"c{number}" for number in range(len(texts))], "cohort_key": texts})
    folders = [tmp_path_factory.mktemp(form) for form in ("parquet", "csv", "ndjson")]
    frame.write_parquet(folders[0] / "cohorts.parquet")
    frame.write_csv(folders[1] / "cohorts.csv", quote_style="always")
    frame.write_ndjson(folders[2] / "cohorts.ndjson")
    expected = good(folders[0], COHORTS)
    assert good(folders[1], COHORTS).equals(expected)
    assert good(folders[2], COHORTS).equals(expected)


def test_files_of_several_forms_lie_side_by_side(tmp_path: Path) -> None:
    as_csv(tmp_path, PROGRESS)
    (tmp_path / "cohorts.ndjson").write_text('{"cohort_id": "c1"}\n', encoding="utf-8")
    pl.DataFrame({"user_id": ["u1"], "created_at": [date(2025, 3, 1)]}).write_parquet(tmp_path / "users.parquet")
    (tmp_path / "notes.txt").write_text("not ours", encoding="utf-8")
    assert FileSource(tmp_path).tables() == {"user_progress", "cohorts", "users"}


def test_columns_that_are_not_canonical_are_welcome(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(colour=pl.lit("red"), nested=pl.lit([1, 2])))
    assert good(tmp_path).height == 3


def test_optional_columns_may_be_absent(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,created_at\nu1,2025-03-01\n", encoding="utf-8")
    (row,) = good(tmp_path, SOURCE_USERS).rows(named=True)
    assert (row["timezone"], row["cohort_excluded"], row["target_band"]) == (None, False, None)


# --- csv and ndjson ---


def test_windows_line_ends_and_a_byte_order_mark_belong_to_no_value(tmp_path: Path) -> None:
    (tmp_path / "cohorts.csv").write_bytes(b'\xef\xbb\xbfcohort_id,cohort_key\r\nc1,"a ""b"", c"\r\n')
    assert scan(tmp_path).rows() == [("c1", 'a "b", c')]


def test_a_byte_order_mark_belongs_to_no_line_of_ndjson(tmp_path: Path) -> None:
    (tmp_path / "cohorts.ndjson").write_bytes(b'\xef\xbb\xbf{"cohort_id": "c1"}\r\n\r\n')
    assert scan(tmp_path)["cohort_id"].to_list() == ["c1"]


def test_a_key_of_white_space_survives_csv(tmp_path: Path) -> None:
    header = "session_id,key_index,keystroke_time,keystroke_char,expected_char,text_index"
    row = 's1,0,2025-03-12T10:00Z," ","\t",0'
    (tmp_path / "session_keystrokes.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    (found,) = good(tmp_path, SOURCE_TABLES["session_keystrokes"]).rows(named=True)
    assert (found["keystroke_char"], found["expected_char"]) == (" ", "\t")


def test_a_json_number_is_read_like_its_text(tmp_path: Path) -> None:
    row = {"progress_id": 7, "user_id": 12345678901234567890, "task_type": "reading", "completed_at": "2025-03-12"}
    (tmp_path / "user_progress.ndjson").write_text(json.dumps({**row, "time_spent_minutes": 1.5}), encoding="utf-8")
    (found,) = good(tmp_path).rows()
    assert (found[0], found[1], found[4]) == ("7", "12345678901234567890", 90_000)


@pytest.mark.parametrize(
    ("number", "id_"),
    [
        ("7", "7"),
        ("7.0", "7"),
        ("7e0", "7"),
        ("70e-1", "7"),
        ("1.5E1", "15"),
        ("-0e5", "0"),
        ("1e20", "1" + "0" * 20),
        ("12345678901234567.0", "12345678901234567"),
        ("1.50", "1.50"),
        ("15e-1", "1.5"),
        ("1e999", "1e999"),
        ('"7e0"', "7e0"),
    ],
)
def test_a_json_number_is_the_id_of_its_value(number: str, id_: str, tmp_path: Path) -> None:
    (tmp_path / "cohorts.ndjson").write_text(f'{{"cohort_id": {number}}}\n', encoding="utf-8")
    assert good(tmp_path, COHORTS)["cohort_id"].to_list() == [id_]


@pytest.mark.parametrize("number", ["Infinity", "-Infinity"])
def test_an_infinite_json_number_is_no_id(number: str, tmp_path: Path) -> None:
    (tmp_path / "cohorts.ndjson").write_text(f'{{"cohort_id": {number}}}\n{{"cohort_id": 7}}\n', encoding="utf-8")
    assert scan(tmp_path)[FAULT].to_list() == ["cohort_id holds an infinite number", None]


def test_lines_of_ndjson_may_have_different_keys(tmp_path: Path) -> None:
    lines = '{"cohort_id": 1}\n{"cohort_key": "x", "cohort_id": 2}\n'
    (tmp_path / "cohorts.ndjson").write_text(lines, encoding="utf-8")
    assert scan(tmp_path).rows() == [("1", None), ("2", "x")]


def test_half_an_emoji_costs_no_more_than_itself(tmp_path: Path) -> None:
    (tmp_path / "cohorts.ndjson").write_text('{"cohort_id": "c1", "cohort_key": "a\\ud83d"}\n', encoding="utf-8")
    assert scan(tmp_path).rows() == [("c1", "a\ufffd")]


# --- parquet ---


def test_whole_numbers_become_ids(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(progress_id=pl.Series([1, 2, 2**62], dtype=pl.Int64)))
    assert good(tmp_path)["progress_id"].to_list() == ["1", "2", str(2**62)]


def test_ids_that_became_floats_because_some_are_missing_are_whole_again(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [1, 2], "cohort_id": [3.0, None], "created_at": [date(2025, 3, 1)] * 2})
    frame.write_parquet(tmp_path / "users.parquet")
    assert good(tmp_path, SOURCE_USERS)["cohort_id"].to_list() == ["3", None]


@pytest.mark.parametrize("type_", [pa.uuid(), pa.binary(16)], ids=str)
def test_bytes_that_are_uuids_by_their_type_never_are_text(type_: pa.DataType, tmp_path: Path) -> None:
    one = uuid.UUID(bytes=b"user-00000000001")
    pq.write_table(pa.table({"cohort_id": pa.array([one.bytes, None], type_)}), tmp_path / "cohorts.parquet")
    assert good(tmp_path, COHORTS)["cohort_id"].to_list() == [str(one)]


def test_a_uuid_in_bytes_becomes_its_text(tmp_path: Path) -> None:
    one = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
    pq.write_table(pa.table({"cohort_id": pa.array([one.bytes], pa.uuid())}), tmp_path / "cohorts.parquet")
    assert good(tmp_path, COHORTS)["cohort_id"].to_list() == [str(one)]


def test_decimals_are_numbers(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(time_spent_minutes=pl.Series([Decimal("1.50")] * 3)))
    assert good(tmp_path)["time_spent_ms"].to_list() == [90_000] * 3


def test_times_of_other_zones_are_converted(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(pl.col("completed_at").dt.convert_time_zone("Asia/Kolkata")))
    assert good(tmp_path)["completed_at"].to_list() == PROGRESS["completed_at"].to_list()


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(pl.col("completed_at").dt.replace_time_zone(None)))
    assert good(tmp_path)["completed_at"].to_list() == PROGRESS["completed_at"].to_list()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+05:30", "America/New_York"])
def test_times_of_any_unit_from_pyarrow_are_the_same_instants(unit: str, zone: str | None, tmp_path: Path) -> None:
    times = pa.array([1741773600], pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp(unit))
    times = times.cast(pa.timestamp(unit, zone)) if zone else times
    columns = {"progress_id": ["p"], "user_id": ["u"], "task_type": ["reading"], "completed_at": times}
    pq.write_table(pa.table(columns), tmp_path / "user_progress.parquet", version="2.6")
    assert good(tmp_path)["completed_at"].to_list() == [datetime(2025, 3, 12, 10, tzinfo=UTC)]


def test_nanoseconds_are_cut_to_microseconds(tmp_path: Path) -> None:
    exact = pl.Series([1741773600_123456789] * 3).cast(pl.Datetime("ns", "UTC"))
    as_parquet(tmp_path, PROGRESS.with_columns(completed_at=exact))
    assert good(tmp_path)["completed_at"][0] == datetime(2025, 3, 12, 10, 0, 0, 123456, tzinfo=UTC)


def test_an_infinite_time_of_duckdb_costs_its_row_alone(tmp_path: Path) -> None:
    rows = "(VALUES ('c1', 'infinity'::TIMESTAMP), ('c2', '-infinity'), ('c3', '2025-03-01'))"
    duckdb.execute(f"COPY (FROM {rows} AS cohorts(cohort_id, created_at)) TO '{tmp_path}/cohorts.parquet'")
    assert good(tmp_path, COHORTS)["cohort_id"].to_list() == ["c3"]


def test_a_date_is_its_first_instant(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(completed_at=pl.lit(date(2025, 3, 12))))
    assert set(good(tmp_path)["completed_at"]) == {datetime(2025, 3, 12, tzinfo=UTC)}


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["reading", "mock_test", "writing"])])
def test_a_task_type_may_be_a_category(dtype: pl.DataType, tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(pl.col("task_type").cast(dtype)))
    assert good(tmp_path)["task_type"].to_list() == ["reading", "mock_test", "writing"]


def test_times_may_be_texts_in_categories(tmp_path: Path) -> None:
    texts = pl.Series(["2025-03-12T10:00Z"] * 3, dtype=pl.Categorical)
    as_parquet(tmp_path, PROGRESS.with_columns(completed_at=texts))
    assert set(good(tmp_path)["completed_at"]) == {datetime(2025, 3, 12, 10, tzinfo=UTC)}


def test_a_column_of_nulls_is_a_column_that_is_missing(tmp_path: Path) -> None:
    as_parquet(tmp_path, PROGRESS.with_columns(time_spent_minutes=pl.lit(None)))
    assert good(tmp_path)["time_spent_ms"].to_list() == [0, 0, 0]


# --- folders of Parquet files ---


def in_folder(folder: Path, **frames: pl.DataFrame) -> None:
    for name, frame in frames.items():
        path = folder / "cohorts" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)


def test_the_name_of_a_folder_is_a_text(tmp_path: Path) -> None:
    for name in ("007", "008", "2025-01-01", "1.50"):
        in_folder(tmp_path, **{f"cohort_id={name}/part": pl.DataFrame({"cohort_key": ["k"]})})
    assert good(tmp_path, COHORTS)["cohort_id"].to_list() == ["007", "008", "1.50", "2025-01-01"]


def test_the_name_of_a_folder_may_be_escaped_or_stand_for_null(tmp_path: Path) -> None:
    for name in ("a%20b%2Fc", "__HIVE_DEFAULT_PARTITION__"):
        in_folder(tmp_path, **{f"cohort_key={name}/part": pl.DataFrame({"cohort_id": [name[:1]]})})
    assert good(tmp_path, COHORTS)["cohort_key"].to_list() == [None, "a b/c"]


def test_only_folders_of_the_table_have_a_say(tmp_path: Path) -> None:
    outer = tmp_path / "cohort_key=outer"
    in_folder(outer, a=pl.DataFrame({"cohort_id": ["c1"], "cohort_key": ["inner"]}))
    assert good(outer, COHORTS)["cohort_key"].to_list() == ["inner"]


def test_a_column_that_only_some_files_have_is_kept(tmp_path: Path) -> None:
    in_folder(
        tmp_path,
        a=pl.DataFrame({"cohort_id": ["c1"]}),
        b=pl.DataFrame({"cohort_id": ["c2"], "cohort_key": ["later"]}),
        c=pl.DataFrame({"cohort_id": ["c3"], "created_at": [date(2025, 3, 1)]}),
    )
    assert good(tmp_path, COHORTS).select("cohort_id", "cohort_key").rows() == [
        ("c1", None),
        ("c2", "later"),
        ("c3", None),
    ]


def test_a_row_of_a_file_that_lacks_a_required_column_is_rejected(tmp_path: Path) -> None:
    in_folder(tmp_path, a=pl.DataFrame({"cohort_id": ["c1"]}), b=pl.DataFrame({"cohort_key": ["x"]}))
    assert reasons(tmp_path, COHORTS) == [None, "cohort_id is missing"]


@pytest.mark.parametrize("other", [pl.Series([1]), pl.Series([1], dtype=pl.Int32), pl.Series([None]), pl.Series([1.0])])
def test_files_may_differ_in_the_type_of_an_id(other: pl.Series, tmp_path: Path) -> None:
    in_folder(tmp_path, a=pl.DataFrame({"cohort_id": ["c1"]}), b=pl.DataFrame({"cohort_id": other}))
    assert scan(tmp_path)["cohort_id"].to_list()[0] == "c1"


def test_files_whose_types_have_nothing_in_common_are_one_clear_error(tmp_path: Path) -> None:
    time = datetime(2025, 3, 1, tzinfo=UTC)
    in_folder(
        tmp_path,
        a=pl.DataFrame({"cohort_id": ["c1"], "created_at": [time]}),
        b=pl.DataFrame({"cohort_id": ["c2"], "created_at": [time.replace(tzinfo=None)]}),
    )
    assert fault(tmp_path).startswith(f"{tmp_path}/cohorts: table cohorts cannot be read (")


# --- what cannot be read ---


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"source {tmp_path}/nowhere: not a folder. Set GHOST_SOURCE to a folder"):
        FileSource(tmp_path / "nowhere")


def test_a_missing_table_is_named_with_the_files_it_could_be(tmp_path: Path) -> None:
    message = f"source {tmp_path}: table cohorts is missing. Add cohorts.parquet, .csv or .ndjson, or a folder cohorts/"
    assert fault(tmp_path).startswith(message)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1], "created_at": ["2025-03-01"]}).write_parquet(tmp_path / "users.parquet")
    assert fault(tmp_path, SOURCE_USERS) == (
        f"{tmp_path}/users.parquet: table users lacks the column user_id (it has created_at, id). Rename or add it; "
        "docs/source.md lists every column"
    )


def test_several_missing_columns_are_all_named(tmp_path: Path) -> None:
    PROGRESS.select("user_id").write_parquet(tmp_path / "user_progress.parquet")
    message = fault(tmp_path, SOURCE_USER_PROGRESS)
    assert "lacks the columns progress_id, task_type, completed_at (it has user_id). Rename or add them" in message


@pytest.mark.parametrize("name", ["cohorts.CSV", "Cohorts.csv", "cohorts.csv.bz2", "cohorts.xlsx", "COHORTS"])
def test_a_missing_table_is_told_what_may_hold_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / ".cohorts.csv").touch()
    (tmp_path / "cohorts_old.csv").touch()
    assert f" ({name}: not read under this name)" in fault(tmp_path)
    with pytest.raises(SourceError, match=rf"no canonical table \({re.escape(name)}: not read under this name\)"):
        domains(FileSource(tmp_path))


@pytest.mark.parametrize("second", ["cohorts.csv", "cohorts.parquet", "cohorts/"])
def test_two_candidates_for_a_table_are_named(second: str, tmp_path: Path) -> None:
    (tmp_path / "cohorts.ndjson").write_text('{"cohort_id": "c1"}\n', encoding="utf-8")
    if second.endswith("/"):
        (tmp_path / second).mkdir()
    else:
        (tmp_path / second).write_text("", encoding="utf-8")
    message = fault(tmp_path)
    assert message.startswith(f"source {tmp_path}: table cohorts exists more than once (")
    assert {"cohorts.ndjson", second.strip("/")} == set(message.partition("(")[2].partition(")")[0].split(", "))
    assert message.endswith("Keep one of them")


def test_a_folder_without_a_file_of_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "cohorts").mkdir()
    assert fault(tmp_path) == (
        f"{tmp_path}/cohorts: table cohorts is a folder without a Parquet, CSV or NDJSON file. Add one, or remove it"
    )


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"cohort_id": [str(number) for number in range(1000)]}).write_parquet(buffer)
    return buffer.getvalue()


WHOLE = parquet_bytes()


@pytest.mark.parametrize("length", [0, 1, 4, 8, 12, 100, len(WHOLE) // 2, len(WHOLE) - 8, len(WHOLE) - 1])
@pytest.mark.parametrize("name", ["cohorts.parquet", "cohorts/part-1.parquet"])
def test_a_parquet_file_that_is_cut_off_is_named(name: str, length: int, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(WHOLE[:length])
    message = fault(tmp_path)
    assert message.startswith(f"{tmp_path}/{name}: table cohorts cannot be read (")
    assert message.endswith(WRITE_AGAIN)


ROWS_OF_ZST = b"cohort_id\n" + b"".join(f"c{number * number}\n".encode() for number in range(200_000))
TRUNCATED_ZST = pa.compress(ROWS_OF_ZST, "zstd", asbytes=True)[:-999]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cohorts.csv", b"", "cannot be read (the file is empty)"),
        ("cohorts.csv", b"\n\n", "cannot be read (the file is empty)"),
        ("cohorts.csv", gzip.compress(b"cohort_id\nc1\n", mtime=0), "cannot be read (its content is gzip)"),
        ("cohorts.ndjson", pa.compress(b"{}", "zstd", asbytes=True), "cannot be read (its content is Zstandard)"),
        ("cohorts.csv", b"PK\x03\x04\x14", "cannot be read (its content is a ZIP archive or a spreadsheet)"),
        ("cohorts.csv", WHOLE, "cannot be read (its content is Parquet)"),
        ("cohorts.csv", "cohort_id\nc1\n".encode("utf-32"), "cannot be read (its content is UTF-32)"),
        ("cohorts.json", b'{"cohort_id":{"0":"c1","1":"Ada"}}', "(it is one object of columns, not of rows; pandas"),
        ("cohorts.json", b'{"cohorts":["Ada"]}', "lacks the column cohort_id (known of its only column: none). Rename"),
        ("cohorts.ndjson", b'{"cohort_id":1}\r{"cohort_id":2}\r', "(none of its 1 lines is a JSON object)"),
        ("cohorts.ndjson", b'{"cohort_id": "c1"}\n{"cohort_id": "c2', "line 2 is not valid JSON (Unterminated string"),
        ("cohorts.ndjson", b'\n\n{"cohort_id": }\n', "cannot be read (none of its 1 lines is a JSON object)"),
        ("cohorts.ndjson", b'{"cohort_id": ' + b"1" * 5000 + b"}\n", "none of its 1 lines is a JSON object"),
        ("cohorts.ndjson", b"[" * 100_000, "the array is not valid JSON from line 1 on"),
        ("cohorts.ndjson", b'[{"cohort_id": "c1"},\n{"cohort_id": "Ada', "the array is not valid JSON from line 2 on"),
        ("cohorts.ndjson", b'[{"cohort_id": "c1"}]\n["Ada"]', "the array is not valid JSON from line 2 on"),
        ("cohorts.ndjson.gz", b'{"cohort_id": "c1"}\n', "cannot be read (it cannot be unpacked, BadGzipFile)"),
        (
            "cohorts.csv.gz",
            gzip.compress(b"cohort_id\nAda\n", mtime=0)[:-9],
            "cannot be read (it cannot be unpacked, EOFError)",
        ),
        (
            "cohorts.csv.zst",
            b"cohort_id\nAda\n",
            "cannot be read (it cannot be unpacked, it is truncated or no Zstandard",
        ),
        (
            "cohorts.csv.zst",
            TRUNCATED_ZST,
            "cannot be read (it cannot be unpacked, it is truncated or no Zstandard file)",
        ),
        ("cohorts.csv", "cohort_id\nAda\n".encode("utf-16")[:-1], "cannot be read (it is not valid UTF-16)"),
        ("cohorts.parquet", b"cohort_id\nc1\n", "cannot be read (parquet: "),
        ("cohorts.csv", b"cohort_key\nx\n", "lacks the column cohort_id"),
        ("cohorts.ndjson", b'{"cohort_key": "x"}\n', "lacks the column cohort_id"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    message = fault(tmp_path)
    assert message.startswith(f"{tmp_path}/{name}: table cohorts")
    assert says in message
    assert "Ada" not in message


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=60), name=st.sampled_from(["cohorts.csv", "cohorts.ndjson", "cohorts.parquet"]))
def test_whatever_a_file_holds_it_is_rows_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / name).write_bytes(content)
    said = f"{folder}/{name}: table cohorts"
    try:
        scan(folder)
    except SourceError as error:
        said = str(error)
    assert said.startswith(f"{folder}/{name}: table cohorts")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["a[1]*?{b}", "an Ada's folder"])
@every_form
def test_a_folder_may_have_any_name(write: Callable[[Path, pl.DataFrame], None], name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    write(tmp_path / name, PROGRESS)
    assert good(tmp_path / name).height == 3


# --- domains ---


def with_tables(folder: Path, *names: str) -> FileSource:
    for name in names:
        (folder / f"{name}.csv").touch()
    return FileSource(folder)


def test_a_source_may_have_the_ghost_domain_alone(tmp_path: Path) -> None:
    assert domains(with_tables(tmp_path, "users", "cohorts", "user_progress")) == {Domain.GHOST}


def test_a_source_may_have_the_ngram_domain_alone(tmp_path: Path) -> None:
    assert domains(with_tables(tmp_path, "users", "keyboards", "practice_sessions")) == {Domain.NGRAMS}


@pytest.mark.parametrize("names", [(), ("users",)])
def test_a_source_without_any_domain_says_what_it_needs(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="A source needs users with cohorts and user_progress, or"):
        domains(with_tables(tmp_path, *names))


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("users", "cohorts"), "table user_progress is missing, which the ghost domain needs"),
        (("user_progress",), "tables users, cohorts are missing, which the ghost domain needs"),
        (("users", "session_keystrokes"), "tables keyboards, practice_sessions are missing, which the ngrams domain"),
    ],
)
def test_a_domain_that_is_begun_has_to_be_whole(names: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"source {tmp_path}: {missing}"):
        domains(with_tables(tmp_path, *names))


def test_a_domain_that_is_asked_for_has_to_be_there(tmp_path: Path) -> None:
    source = with_tables(tmp_path, "users", "cohorts", "user_progress")
    with pytest.raises(SourceError, match="tables keyboards, practice_sessions are missing, which the ngrams domain"):
        require_domain(source, Domain.NGRAMS)


# --- opening ---


@pytest.mark.parametrize("location", [None, ""])
def test_no_source_says_how_to_set_one(location: str | None) -> None:
    with pytest.raises(SourceError, match=r"GHOST_SOURCE is not set\. Set it to a folder of canonical tables, or try"):
        open_source(location)


def test_a_folder_is_a_source(tmp_path: Path) -> None:
    assert open_source(str(tmp_path)).name == f"source {tmp_path}"


def test_an_address_that_nothing_reads_is_named_without_its_password() -> None:
    with pytest.raises(SourceError) as raised:
        open_source("mongodb://ada:secret@host/db")
    assert str(raised.value).startswith("source mongodb://…: no adapter reads this. Set GHOST_SOURCE to")
    assert "secret" not in str(raised.value)


def test_a_rewrite_in_place_of_the_same_size_and_time_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "cohorts.csv"
    path.write_text("cohort_id\nc1\n", encoding="utf-8")
    before, times = FileSource(tmp_path).part_versions(COHORTS), path.stat()
    time.sleep(0.05)
    path.write_text("cohort_id\nc2\n", encoding="utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert FileSource(tmp_path).part_versions(COHORTS) != before
