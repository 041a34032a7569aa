"""CSV and JSON files in every dialect: what common writers write comes back equal, and a bad line costs itself."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import NULL_MARKERS
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, good_rows, read_rows
from ghost_pipeline.sources import text_files
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.mapping import load_mapping
from ghost_pipeline_tests.examples import examples

COHORTS, USERS, SPEEDS, KEYS = (
    SOURCE_TABLES[name] for name in ("cohorts", "users", "session_ngram_speed", "session_keystrokes")
)
Texts = list[tuple[str, str | None]]


def source(folder: Path, mapping: str = "") -> FileSource:
    path = folder / "mapping.yaml"
    path.write_text(mapping, encoding="utf-8")
    return FileSource(folder, load_mapping(path))


def rows(folder: Path, mapping: str = "") -> list[tuple[str, str | None]]:
    found = source(folder, mapping).scan(COHORTS).collect()
    if "cohort_key" not in found.columns:
        found = found.with_columns(cohort_key=pl.lit(None, pl.String))
    return [(one, key) for one, key in found.select("cohort_id", "cohort_key").iter_rows()]


def reasons(folder: Path) -> list[str | None]:
    return read_rows(source(folder).scan(COHORTS), COHORTS).collect()[REASON].to_list()


def written(folder: Path, content: bytes, name: str = "cohorts.csv") -> Path:
    (folder / name).write_bytes(content)
    return folder


# --- what writers write ---

CHARACTERS = st.one_of(
    st.sampled_from([",", ";", "\t", "|", '"', "'", "\\", "\n", "\r\n", " ", "é", "語", "👍🏽", "0", "N", "a"]),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"),
)
VALUES = st.lists(CHARACTERS, max_size=6).map("".join)
TABLES = st.lists(VALUES, min_size=1, max_size=6).map(lambda keys: [(f"c{at}", key) for at, key in enumerate(keys)])


SHARED_FOLDER = (HealthCheck.function_scoped_fixture,)
"""Each example writes its file again."""


def by_python(delimiter: str, quoting: Literal[0, 1], line_end: str, encoding: str) -> Callable[[Texts], bytes]:
    def write(table: Texts) -> bytes:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
        writer.writerows([("cohort_id", "cohort_key"), *table])
        return file.getvalue().encode(encoding)

    return write


def by_polars(table: Texts) -> bytes:
    return pl.DataFrame(table, ["cohort_id", "cohort_key"], orient="row").write_csv().encode()


def by_pyarrow(table: Texts) -> bytes:
    file = io.BytesIO()
    pa_csv.write_csv(pl.DataFrame(table, ["cohort_id", "cohort_key"], orient="row").to_arrow(), file)
    return file.getvalue()


def by_duckdb(table: Texts) -> bytes:
    frame = pl.DataFrame(table, ["cohort_id", "cohort_key"], orient="row")
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
        connection.register("table_to_write", frame.to_arrow())
        connection.execute(f"COPY table_to_write TO '{folder}/table.csv' (HEADER)")
        return Path(folder, "table.csv").read_bytes()


def by_spark(table: Texts) -> bytes:
    """Quote a field that holds a quote, a delimiter or a line end; escape quotes and backslashes in it."""

    def field(text: str) -> str:
        if not any(character in text for character in ',"\n\r') and text == text.strip():
            return text
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    lines = [("cohort_id", "cohort_key"), *table]
    return "".join(f"{field(one)},{field(str(key))}\n" for one, key in lines).encode()


QUOTINGS: tuple[Literal[0, 1], ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
WRITERS = {
    **{
        f"{quoting}-{delimiter!r}-{line_end!r}-{encoding}": by_python(delimiter, quoting, line_end, encoding)
        for quoting in QUOTINGS
        for delimiter in (",", ";", "\t", "|")
        for line_end, encoding in (("\n", "utf-8"), ("\r\n", "utf-8-sig"), ("\r\n", "utf-16"), ("\n", "utf-16"))
    },
    "polars": by_polars,
    "pyarrow": by_pyarrow,
    "duckdb": by_duckdb,
}


@pytest.mark.parametrize("block", [1 << 22, 16])
@pytest.mark.parametrize("writer", WRITERS)
@examples(4, 32, suppress=SHARED_FOLDER)
@given(TABLES)
def test_csv_of_every_writer_comes_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, block: int, table: Texts
) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    written(tmp_path, WRITERS[writer](table))
    found = rows(tmp_path, "cohorts: {format: {null_markers: []}}")
    assert [(one, key or "") for one, key in found] == table


@pytest.mark.parametrize("block", [1 << 22, 16])
@examples(30, 240, suppress=SHARED_FOLDER)
@given(TABLES)
def test_csv_of_spark_comes_back_equal_once_its_escape_is_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, table: Texts
) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    written(tmp_path, by_spark(table))
    found = rows(tmp_path, "cohorts: {format: {escape: '\\', null_markers: []}}")
    assert [(one, key or "") for one, key in found] == table


SPARK = b"""cohort_id,cohort_key
c1,"\\"a"
c2,th
c3,"b\\""
c4,he
c5,\\
c6,"a \\" b"
"""


@pytest.mark.parametrize("block", [1 << 22, 16])
def test_quotes_escaped_by_a_backslash_are_noticed(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    found = dict(rows(written(tmp_path, SPARK)))
    assert found == {"c1": '"a', "c2": "th", "c3": 'b"', "c4": "he", "c5": "\\", "c6": 'a " b'}


def test_a_backslash_before_the_end_of_a_field_is_itself(tmp_path: Path) -> None:
    assert rows(written(tmp_path, b'cohort_id,cohort_key\n"c1","C:\\"\n"c2","\\"\n')) == [("c1", "C:\\"), ("c2", "\\")]


@pytest.mark.parametrize("block", [1 << 22, 16])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@examples(6, 48, suppress=SHARED_FOLDER)
@given(TABLES)
def test_an_array_of_objects_comes_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, indent: int | None, block: int, table: Texts
) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    objects = [{"cohort_id": one, "cohort_key": key} for one, key in table]
    written(tmp_path, json.dumps(objects, indent=indent, ensure_ascii=False).encode(encoding), "cohorts.ndjson")
    assert rows(tmp_path) == table


@pytest.mark.parametrize("block", [1 << 22, 16])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@examples(6, 48, suppress=SHARED_FOLDER)
@given(TABLES)
def test_an_object_per_line_comes_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, block: int, table: Texts
) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    lines = [json.dumps({"cohort_id": one, "cohort_key": key}, ensure_ascii=False) for one, key in table]
    written(tmp_path, "\n".join(lines).encode(encoding), "cohorts.ndjson")
    assert rows(tmp_path) == table


@pytest.mark.parametrize("name", ["cohorts.json", "cohorts.jsonl", "cohorts.json.gz"])
def test_other_endings_of_json_are_read_if_there_is_no_other_file(name: str, tmp_path: Path) -> None:
    text = b'[{"cohort_id": "c1", "cohort_key": "k"}]'
    assert rows(written(tmp_path, gzip.compress(text) if name.endswith(".gz") else text, name)) == [("c1", "k")]


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize(
    ("ending", "pack"),
    [("gz", gzip.compress), ("zst", zstd), ("gz", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]))],
    ids=["gz", "zst", "gz-in-two-members"],
)
def test_packed_files_are_read(form: str, ending: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    text = b"cohort_id\nc1\nc2\n" if form == "csv" else b'{"cohort_id": "c1"}\n{"cohort_id": "c2"}\n'
    assert rows(written(tmp_path, pack(text), f"cohorts.{form}.{ending}")) == [("c1", None), ("c2", None)]


# --- lines ---


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert rows(written(tmp_path, b"\n\ncohort_id,cohort_key\n\nc1,a\n  \n\r\nc2,b\n\n")) == [("c1", "a"), ("c2", "b")]


def test_blank_lines_of_one_column_are_no_rows(tmp_path: Path) -> None:
    assert rows(written(tmp_path, b'cohort_id\n\nc1\n\n"c2"\n\n')) == [("c1", None), ("c2", None)]


def test_line_ends_may_be_mixed(tmp_path: Path) -> None:
    content = b'cohort_id,cohort_key\nc1,a\r\nc2,"b"\nc3,"c\r\nd"\r\n'
    assert rows(written(tmp_path, content)) == [("c1", "a"), ("c2", "b"), ("c3", "c\r\nd")]


def test_a_quote_that_is_not_closed_does_not_take_the_rows_that_follow(tmp_path: Path) -> None:
    content = b'cohort_id,cohort_key\nc1,a\nc2,"b\n' + b"".join(b"x%d,k\n" % number for number in range(50_000))
    assert len(good_rows(read_rows(source(written(tmp_path, content)).scan(COHORTS), COHORTS)).collect()) == 50_001


def test_the_number_of_a_bad_line_counts_lines_inside_of_quotes_and_blank_ones(tmp_path: Path) -> None:
    content = b'\ncohort_id,cohort_key\nc1,"a\nb"\n\nc2\n'
    found = source(written(tmp_path, content)).scan(COHORTS).collect()
    assert found["_line"].to_list() == [None, 6]


@pytest.mark.parametrize("block", [1, 7, 16, 64])
def test_the_number_of_a_bad_line_does_not_depend_on_blocks(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    content = b'cohort_id,cohort_key\nc1,"a\nb"\nbad\nc2,b\nc3,"x"y\n\nc4,d,e\nc5,"open\nc6,f\n'
    found = source(written(tmp_path, content)).scan(COHORTS).collect()
    assert found["_line"].drop_nulls().to_list() == [4, 6, 8, 9]


@pytest.mark.parametrize("line", [b'c1, "k"', b'c1,  "k"', b' "c1",k'])
@pytest.mark.parametrize("others", [b"", b'c0,"\\""\n'])
def test_a_space_before_a_quote_makes_no_part_of_an_id_of_it(line: bytes, others: bytes, tmp_path: Path) -> None:
    written(tmp_path, b"cohort_id,cohort_key\n" + others + line + b'\nc2," ""k"\n')
    assert reasons(tmp_path)[-2:] == ["the line has a quote or a carriage return out of place", None]
    assert good(tmp_path).tail(1).select("cohort_id", "cohort_key").row(0) == ("c2", '"k')


# --- the header ---


@pytest.mark.parametrize("separator", ["sep=;", "SEP=;", '"sep=;"', "sep=; ", "\nsep=;\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_that_names_the_separator_is_no_header(separator: str, end: str, encoding: str, tmp_path: Path) -> None:
    content = f"{separator}\ncohort_id;cohort_key\nc1;a,b\nbad\n".replace("\n", end)
    written(tmp_path, content.encode(encoding))
    assert good(tmp_path).select("cohort_id", "cohort_key").rows() == [("c1", "a,b")]
    assert source(tmp_path).scan(COHORTS).collect()["_line"][-1] == content.count("\n")


def test_a_stated_delimiter_counts_more_than_a_line_that_names_one(tmp_path: Path) -> None:
    written(tmp_path, b"sep=;\ncohort_id|cohort_key\nc1|k\n")
    assert rows(tmp_path, "cohorts: {format: {delimiter: '|'}}") == [("c1", "k")]


def test_rows_without_a_header_may_follow_a_line_that_names_the_separator(tmp_path: Path) -> None:
    written(tmp_path, b"sep=;\nc1;k\n")
    mapping = "cohorts: {columns: {cohort_id: '1', cohort_key: '2'}, format: {header: false}}"
    assert rows(tmp_path, mapping) == [("c1", "k")]


def test_a_name_in_a_header_may_hold_line_ends(tmp_path: Path) -> None:
    written(tmp_path, b'"of\nwhom",cohort_id,"a\n\nb",cohort_key\nx,c1,y,k\nbad\n')
    assert good(tmp_path).select("cohort_id", "cohort_key").rows() == [("c1", "k")]
    assert source(tmp_path).scan(COHORTS).collect()["_line"].to_list() == [None, 6]


def test_a_quote_in_a_header_that_is_not_closed_does_not_take_the_rows_that_follow(tmp_path: Path) -> None:
    written(tmp_path, b'cohort_id,cohort_key,"x\nc1,k,1\nc2,k,2\n')
    assert [row[0] for row in rows(tmp_path)] == ["c1", "c2"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_rows_without_a_header_is_the_one_that_gives_most_fields(
    delimiter: str, tmp_path: Path
) -> None:
    written(tmp_path, f"1{delimiter}k\n2{delimiter}k\n".encode())
    assert good(tmp_path, "cohorts: {columns: {cohort_id: '1'}, format: {header: false}}")["cohort_id"].to_list() == [
        "1",
        "2",
    ]


def test_a_good_file_has_no_columns_for_bad_lines(tmp_path: Path) -> None:
    assert source(written(tmp_path, b"cohort_id\nc1\n")).scan(COHORTS).collect_schema().names() == ["cohort_id"]


# --- missing values ---


def good(folder: Path, mapping: str = "", table: str = "cohorts") -> pl.DataFrame:
    found = SOURCE_TABLES[table]
    return good_rows(read_rows(source(folder, mapping).scan(found), found)).collect()


@pytest.mark.parametrize("marker", [*NULL_MARKERS, "", " NULL "])
def test_a_marker_without_quotes_is_missing(marker: str, tmp_path: Path) -> None:
    content = f"user_id,cohort_id,timezone,diagnostic_score,created_at\nu1,{marker},{marker},{marker},2025-03-01\n"
    (row,) = good(written(tmp_path, content.encode(), "users.csv"), table="users").rows(named=True)
    assert (row["cohort_id"], row["timezone"], row["diagnostic_score"]) == (None, None, None)


@pytest.mark.parametrize("marker", [*NULL_MARKERS, ""])
def test_an_id_that_is_a_marker_is_rejected_as_missing(marker: str, tmp_path: Path) -> None:
    assert reasons(written(tmp_path, f"cohort_id,cohort_key\n{marker},k\n".encode())) == ["cohort_id is missing"]


@pytest.mark.parametrize("marker", NULL_MARKERS)
@pytest.mark.parametrize("others", ["", 'c0,"x"\n'])
def test_a_marker_in_quotes_is_an_id(marker: str, others: str, tmp_path: Path) -> None:
    found = good(written(tmp_path, f'cohort_id,cohort_key\n{others}"{marker}",{marker}\n'.encode()))
    assert found.tail(1).select("cohort_id", "cohort_key").row(0) == (marker, None)


def test_markers_may_be_stated(tmp_path: Path) -> None:
    written(tmp_path, b"cohort_id,cohort_key\nNA,-\n")
    found = good(tmp_path, "cohorts: {format: {null_markers: ['-']}}")
    assert found.select("cohort_id", "cohort_key").row(0) == ("NA", None)


@pytest.mark.parametrize("marker", NULL_MARKERS)
def test_an_ngram_may_be_spelled_like_a_marker(marker: str, tmp_path: Path) -> None:
    content = f"session_id,ngram_text,ngram_size,ms_per_keystroke\ns1,{marker},2,100\n"
    found = good(written(tmp_path, content.encode(), "session_ngram_speed.csv"), table="session_ngram_speed")
    assert found["ngram_text"].to_list() == [marker]


def test_nan_without_quotes_is_no_id_in_json(tmp_path: Path) -> None:
    written(tmp_path, b'{"cohort_id": NaN}\n{"cohort_id": "NaN"}\n{"cohort_id": null}\n', "cohorts.ndjson")
    assert reasons(tmp_path) == ["cohort_id is missing", None, "cohort_id is missing"]


@pytest.mark.parametrize("text", ["7", "7.0", '"7"', "7.00"])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_id_has_one_spelling_in_every_format(form: str, text: str, tmp_path: Path) -> None:
    content = f"cohort_id\n{text}\n" if form == "csv" else f'{{"cohort_id": {text}}}'
    assert good(written(tmp_path, content.encode(), f"cohorts.{form}"))["cohort_id"].to_list() == ["7"]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_large_integer_keeps_its_digits(form: str, tmp_path: Path) -> None:
    digits = "123456789012345678901234567890"
    content = f"cohort_id\n{digits}\n" if form == "csv" else f'{{"cohort_id": {digits}}}'
    assert good(written(tmp_path, content.encode(), f"cohorts.{form}"))["cohort_id"].to_list() == [digits]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_large_number_with_a_fraction_of_zero_keeps_its_digits(form: str, tmp_path: Path) -> None:
    digits = "1234567890123456789.0"
    content = f"cohort_id\n{digits}\n" if form == "csv" else f'{{"cohort_id": {digits}}}'
    found = good(written(tmp_path, content.encode(), f"cohorts.{form}"))["cohort_id"].to_list()
    assert found == ["1234567890123456789"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"cohort_id": {"a": 1}}', "cohort_id holds no single value"),
        ('{"cohort_id": [1]}', "cohort_id holds no single value"),
        ('{"cohort_id": true}', "cohort_id holds true or false"),
        ('{"cohort_id": "c2", "cohort_key": []}', "cohort_key holds no single value"),
        ('{"cohort_id": "c2", "cohort_key": false}', None),
        ('{"cohort_id": "c2", "unlisted": {"a": [1]}}', None),
    ],
)
@pytest.mark.parametrize("form", ["[{},{}]", "{}\n{}\n"])
def test_a_value_of_json_that_is_no_single_one_costs_its_row(
    row: str, says: str | None, form: str, tmp_path: Path
) -> None:
    written(tmp_path, form.format('{"cohort_id": "c1", "cohort_key": "k"}', row).encode(), "cohorts.ndjson")
    assert reasons(tmp_path) == [None, says]


def test_a_file_of_nothing_but_objects_in_ids_is_all_rejected(tmp_path: Path) -> None:
    written(tmp_path, b'{"cohort_id": {"a": 1}}\n{"cohort_id": []}\n', "cohorts.ndjson")
    assert reasons(tmp_path) == ["cohort_id holds no single value"] * 2


# --- what is stated, and what is detected ---


def test_the_format_of_a_file_may_be_stated(tmp_path: Path) -> None:
    written(tmp_path, "1|'Zo\xeb|x'\n".encode("latin-1"))
    mapping = """
        cohorts:
          columns: {cohort_id: "1", cohort_key: "2"}
          format: {delimiter: "|", quote: "'", encoding: latin-1, header: false}
    """
    assert rows(tmp_path, mapping) == [("1", "Zo\xeb|x")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"cohort_id;cohort_key\nc1;x\n",
            "semicolon between fields, double quote, UTF-8, the first line is the header",
        ),
        (
            "cohort_id\tcohort_key\n".encode("utf-16"),
            "tab between fields, double quote, UTF-16-LE, the first line is the",
        ),
        (
            b'cohort_id,cohort_key\nc1, \\N\n"c2",NULL\nc3,"NA"\n',
            "comma between fields, double quote, UTF-8, the first line is the header, read as missing: NULL, \\N",
        ),
        (
            b"cohort_id,cohort_key\nc1,None\nNAN,x\n",
            "comma between fields, double quote, UTF-8, the first line is the header, read as missing: None",
        ),
        (
            SPARK,
            "comma between fields, double quote, quotes escaped by a backslash, UTF-8, the first line is the header",
        ),
    ],
)
def test_what_was_detected_is_reported(content: bytes, says: str, tmp_path: Path) -> None:
    (note,) = source(written(tmp_path, content)).inspect(COHORTS).notes
    assert note.startswith(says)


# --- nothing of the content is said ---

PERSON = "Ada-Lovelace"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cohorts.csv", f"{PERSON},x\n{PERSON},y\n"),
        ("cohorts.csv", f"name,cohort_id\r{PERSON},x\r"),
        ("cohorts.csv", f'"{PERSON}'),
        ("cohorts.csv", f"{PERSON}\x00\n"),
        ("cohorts.csv.gz", PERSON),
        ("cohorts.csv.zst", PERSON),
        ("cohorts.ndjson", f'{{"{PERSON}": "x"}}'),
        ("cohorts.ndjson", f'{{"cohort_id": "{PERSON}'),
        ("cohorts.ndjson", f'[{{"cohort_id": "{PERSON}'),
        ("cohorts.ndjson", f"[] {PERSON}"),
        ("cohorts.ndjson", PERSON),
        ("cohorts.parquet", PERSON),
        ("cohorts.parquet", f"PAR1{PERSON}PAR1"),
    ],
)
def test_no_message_holds_any_content(name: str, content: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as raised:
        source(written(tmp_path, content.encode(), name)).scan(COHORTS).collect()
    error: BaseException | None = raised.value
    while error is not None:
        assert PERSON not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
