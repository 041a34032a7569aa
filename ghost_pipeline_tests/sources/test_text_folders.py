"""Tables as folders of CSV or NDJSON files."""

import gzip
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, good_rows, read_rows, rows_as_json
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.mapping import load_mapping

COHORTS, USERS = SOURCE_TABLES["cohorts"], SOURCE_TABLES["users"]


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def keys(folder: Path, mapping: Path | None = None) -> dict[str, str | None]:
    rows = good_rows(read_rows(FileSource(folder, load_mapping(mapping)).scan(COHORTS), COHORTS)).collect()
    return dict(rows.sort("cohort_id").select("cohort_id", "cohort_key").rows())


def fault(folder: Path) -> str:
    with pytest.raises(SourceError) as raised:
        FileSource(folder).scan(COHORTS).collect()
    return str(raised.value)


CSV = b"cohort_id,cohort_key\nc1,a\n"
OTHER_CSV = b"cohort_key;cohort_id\nb;c2\n"
LINES, ARRAY = b'{"cohort_id": "c1", "cohort_key": "a"}\n', b'[{"cohort_id": "c2", "cohort_key": "b"}]'
ZSTD = bytes(pa.compress(OTHER_CSV, "zstd", asbytes=True))


@pytest.mark.parametrize(
    "files",
    [
        {"cohorts/0.csv": CSV, "cohorts/1.csv": OTHER_CSV},
        {"cohorts.csv/part-0.csv.gz": gzip.compress(CSV, mtime=0), "cohorts.csv/part-1.csv": OTHER_CSV},
        {"cohorts/a/b/0.csv": CSV, "cohorts/c.csv.zst": ZSTD},
        {"cohorts/0.csv": CSV, "cohorts/1.csv": OTHER_CSV.decode().encode("utf-16")},
        {"cohorts/2025-03-01.ndjson": LINES, "cohorts/2025-03-02.ndjson": ARRAY},
        {"cohorts.ndjson/0.ndjson": LINES, "cohorts.ndjson/1.ndjson.gz": gzip.compress(ARRAY, mtime=0)},
        {"cohorts/0.json": LINES, "cohorts/1.jsonl": ARRAY},
        {"cohorts/cohort_key=a/0.csv": b"cohort_id\nc1\n", "cohorts/cohort_key=b/0.csv": b"cohort_id\nc2\n"},
        {"cohorts/cohort_key=a/0.ndjson": b'{"cohort_id": "c1"}\n', "cohorts/1.ndjson": ARRAY},
        {"cohorts/cohort_id=c1/0.csv": b"cohort_key\na\n", "cohorts/cohort_id=c2/0.csv": b"cohort_key\nb\n"},
        {"cohorts/cohort_key=a/0.csv": CSV, "cohorts/cohort_key=b/0.csv": OTHER_CSV},
        {"cohorts/0.csv": CSV, "cohorts/1.csv": OTHER_CSV, "cohorts/_old/2.csv": b"cohort_id\nc3\n"},
        {"cohorts/0.csv": CSV, "cohorts/1.csv": OTHER_CSV, "cohorts/manifest.json": b"{}"},
    ],
    ids=" ".join,
)
def test_the_files_of_a_folder_are_one_table(files: dict[str, bytes], tmp_path: Path) -> None:
    assert keys(put(tmp_path, files)) == {"c1": "a", "c2": "b"}


def test_a_column_that_one_file_lacks_is_null_there(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/0.csv": CSV, "cohorts/1.csv": b"cohort_id\nc2\n"})
    assert keys(tmp_path) == {"c1": "a", "c2": None}


def test_a_mapping_names_the_folder_and_its_columns(tmp_path: Path) -> None:
    put(tmp_path, {"groups/key=a/0.csv": b"id\nc1\n", "groups/key=b/0.csv": b"id\nc2\n"})
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("cohorts: {table: groups, columns: {cohort_id: id, cohort_key: key}}", encoding="utf-8")
    assert keys(tmp_path, mapping) == {"c1": "a", "c2": "b"}


@pytest.mark.parametrize(
    ("one", "other"), [("0.csv", "1.parquet"), ("0.csv.gz", "1.ndjson"), ("0.ndjson", "1.parquet")]
)
def test_two_forms_in_a_folder_are_an_error_that_names_one_of_each(one: str, other: str, tmp_path: Path) -> None:
    put(tmp_path, {f"cohorts/{one}": b"", f"cohorts/{other}": b""})
    assert fault(tmp_path) == (
        f"{tmp_path}/cohorts: table cohorts has files of several forms, such as {one} and {other}. Keep those of one"
    )


def test_a_folder_and_a_file_of_one_table_are_an_error(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/0.csv": CSV, "cohorts.csv": CSV})
    assert "exists more than once (cohorts.csv, cohorts)" in fault(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read (the file is empty)"),
        (b"name\nAda\n", "lacks the column cohort_id"),
        (b"cohort_id,cohort_id\nAda,x\n", "has the column cohort_id more than once"),
    ],
)
def test_a_bad_file_is_named_without_its_content(content: bytes, says: str, tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/0.csv": CSV, "cohorts/1.csv": content})
    message = fault(tmp_path)
    assert message.startswith(f"{tmp_path}/cohorts/1.csv: table cohorts")
    assert says in message
    assert "Ada" not in message


def test_a_file_that_contradicts_its_folder_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/cohort_key=b/0.csv": CSV})
    assert "0.csv: table cohorts: the column cohort_key in the file contradicts the name of its folder" in fault(
        tmp_path
    )


def test_a_bad_line_beside_a_partition_costs_itself(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/cohort_key=a/0.csv": b"cohort_id,cohort_key\nc1,a\nshort\n"})
    read = read_rows(FileSource(tmp_path).scan(COHORTS), COHORTS).collect()
    assert sorted(read[REASON].to_list(), key=str) == [None, "the line has too few fields"]


def places(folder: Path) -> list[str]:
    read = read_rows(FileSource(folder).scan(COHORTS), COHORTS)
    bad = read.filter(pl.col(REASON).is_not_null()).select(rows_as_json(read, COHORTS).alias("row")).collect()
    return sorted(bad["row"])


def test_a_bad_line_is_kept_with_its_file_and_number(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/a/0.csv": b"cohort_id,cohort_key\nc1,a\nshort\n", "cohorts/1.csv": CSV + b"x,y,z\n"})
    assert places(tmp_path) == ['{"file":"1.csv","line":3}', '{"file":"a/0.csv","line":3}']


def test_the_value_of_a_partition_is_not_kept_with_a_bad_line(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/cohort_key=secret/day=1/0.csv": b"cohort_id\nc1\nshort,\n"})
    assert places(tmp_path) == ['{"file":"cohort_key=…/day=1/0.csv","line":3}']


def test_the_line_of_a_single_file_needs_no_file(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts.csv": b"cohort_id\nc1\nshort,\n"})
    assert places(tmp_path) == ['{"line":3}']


def test_each_file_is_a_part(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/0.csv": CSV, "cohorts/1.csv": OTHER_CSV})
    source = FileSource(tmp_path)
    assert list(source.part_versions(COHORTS)) == ["cohorts/0.csv", "cohorts/1.csv"]
    assert source.scan(COHORTS, parts=["cohorts/1.csv"]).collect()["cohort_id"].to_list() == ["c2"]


def test_no_part_is_a_table_without_rows(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/0.csv": CSV})
    assert FileSource(tmp_path).scan(COHORTS, parts=[]).collect().height == 0


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    source = FileSource(put(tmp_path, {"cohorts/0.csv": CSV}))
    assert source.scan(COHORTS).collect()["cohort_id"].to_list() == ["c1"]
    put(tmp_path, {"beside.csv": b"cohort_id,cohort_key\nc3,a\n"})
    (tmp_path / "beside.csv").replace(tmp_path / "cohorts" / "0.csv")
    assert source.scan(COHORTS).collect()["cohort_id"].to_list() == ["c3"]


def test_doctor_is_told_how_many_files_were_read_in_which_way(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts/0.csv": CSV, "cohorts/1.csv": CSV, "cohorts/2.csv": OTHER_CSV, "cohorts/x.txt": b""})
    assert FileSource(tmp_path).inspect(COHORTS).notes == [
        "files skipped: 1 without the ending .csv",
        "2 files: comma between fields, double quote, UTF-8, the first line is the header",
        "1 file: semicolon between fields, double quote, UTF-8, the first line is the header",
    ]


@pytest.fixture
def few_files_may_be_open() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 150, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files_may_be_open")
def test_a_folder_may_have_more_files_than_a_process_may_open(tmp_path: Path) -> None:
    put(tmp_path, {f"cohorts/{at}.ndjson": json.dumps({"cohort_id": f"c{at}"}).encode() for at in range(300)})
    found = FileSource(tmp_path).scan(COHORTS).collect()
    assert found["cohort_id"].sort().to_list() == sorted(f"c{at}" for at in range(300))


# --- files that are not UTF-8 ---

LATIN = "user_id,cohort_id,created_at\nu1,Zoë,2025-01-01T00:00:00Z\nu2,c2,2025-01-01T00:00:00Z\n".encode("latin-1")
LATIN_LINES = '{"user_id": "u1", "cohort_id": "Zoë", "created_at": "2025-01-01"}\n'.encode("latin-1")
NOTE = (
    "1 line is not text in this encoding. If the file is Latin-1, write `users: {format: {encoding: latin-1}}` into "
    "the mapping file (GHOST_SOURCE_MAPPING)"
)


@pytest.mark.parametrize(
    ("name", "content"), [("users.csv", LATIN), ("users.ndjson", LATIN_LINES + LATIN_LINES.replace(b"\xeb", b"e"))]
)
def test_doctor_is_told_which_line_of_the_mapping_reads_latin_1(name: str, content: bytes, tmp_path: Path) -> None:
    assert FileSource(put(tmp_path, {name: content})).inspect(USERS).notes[-1] == NOTE


def test_the_line_that_doctor_shows_reads_the_file(tmp_path: Path) -> None:
    put(tmp_path, {"users.csv": LATIN})
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(NOTE.split("`")[1], encoding="utf-8")
    source = FileSource(tmp_path, load_mapping(mapping))
    assert source.scan(USERS).collect()["cohort_id"].to_list() == ["Zoë", "c2"]
    assert "not text" not in " ".join(source.inspect(USERS).notes)


def test_an_array_that_is_not_utf_8_says_where_an_encoding_is_stated(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts.json": '[{"cohort_id": "Zoë"}]'.encode("latin-1")})
    assert "it is not valid UTF-8; the mapping file may state another encoding" in fault(tmp_path)


def test_text_that_is_utf_8_needs_no_note(tmp_path: Path) -> None:
    put(tmp_path, {"cohorts.csv": "cohort_id\nZoë\n".encode()})
    assert len(FileSource(tmp_path).inspect(COHORTS).notes) == 1


def test_the_rows_of_files_are_those_of_polars(tmp_path: Path) -> None:
    frames = [pl.DataFrame({"cohort_id": [f"c{at}"], "cohort_key": [f'"{at}, é']}) for at in range(70)]
    (tmp_path / "cohorts").mkdir()
    for at, frame in enumerate(frames):
        frame.write_csv(tmp_path / "cohorts" / f"{at:02}.csv")
    assert FileSource(tmp_path).scan(COHORTS).collect().sort("cohort_id").equals(pl.concat(frames).sort("cohort_id"))
