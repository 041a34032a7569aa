"""What `doctor` says of each small input that people reported: the one line that they need, and no row."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from ghost_pipeline.cli.doctor import diagnose
from ghost_pipeline.cli.findings import Verdict
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.settings import MAX_TASK_MINUTES, Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline_tests.running import SHARED_DATA
from ghost_pipeline_tests.sources.servers import Database

REPORTS = SHARED_DATA.parent / "reports"


@pytest.fixture
def reported(tmp_path: Path) -> Callable[[str], Path]:
    """Gives a copy of a report, in which a test may put another of its files in place."""

    def copied(name: str) -> Path:
        if not (REPORTS / name).is_dir():
            pytest.skip(f"no {name} in {REPORTS}; name the folder data beside it in GHOST_SHARED_DATA")
        return Path(shutil.copytree(REPORTS / name, tmp_path / "source"))

    return copied


def said(source: Path | str, mapping: Path | None = None) -> list[str]:
    """What is said of a source, a line each: verdict, what it is about, and the finding."""
    beside = {"settings", "storage", "lake", "published"}
    beside |= {"dagster", "ports", "rights", "clock", "time zones", "alerts"}
    with TemporaryDirectory() as data:
        findings = list(diagnose(Settings.load(source=str(source), source_mapping=mapping, data=Path(data))))
    return [f"{one.verdict.value} {one.about}: {one.description}" for one in findings if one.about not in beside]


def rows(source: Path, table: str) -> pl.DataFrame:
    """The rows of a table; none is rejected."""
    with closing(open_source(str(source), None)) as opened:
        contract = SOURCE_TABLES[table]
        read = read_rows(opened.scan(contract), contract, MAX_TASK_MINUTES).collect()
    assert read[REASON].to_list() == [None] * read.height
    return read


def test_files_that_are_no_data_are_counted(reported: Callable[[str], Path]) -> None:
    lines = said(reported("01-hidden-files"))
    assert "ok users files: files skipped: 1 with a name that begins with _ or ." in lines
    assert "ok user_progress files: files skipped: 2 with a name that begins with _ or ." in lines
    assert {"ok users: 12 rows, all readable", "ok user_progress: 60 rows, all readable"} <= set(lines)


def test_null_markers_are_named(reported: Callable[[str], Path]) -> None:
    source = reported("03-null-marks-in-csv")
    (files,) = [line for line in said(source) if line.startswith("ok users files")]
    assert files.endswith(r", the first line is the header, read as missing: NA, \N")
    assert rows(source, "users")["cohort_id"].drop_nulls().unique().to_list() == ["c1"]


def test_text_stored_as_bytes_is_text(reported: Callable[[str], Path]) -> None:
    source = reported("05-text-as-bytes")
    assert not [line for line in said(source) if not line.startswith("ok ")]
    users = rows(source, "users").sort("user_id")
    assert users.select("user_id", "cohort_id", "timezone").row(-1) == ("u11", "c1", "Pacific/Auckland")
    minutes = rows(source, "user_progress")["time_spent_ms"] // 60_000
    assert (minutes.min(), minutes.max()) == (10, 21)


def test_quotes_escaped_by_a_backslash_are_detected(reported: Callable[[str], Path]) -> None:
    source = reported("06-backslash-quotes")
    (files,) = [line for line in said(source) if line.startswith("ok session_ngram_speed files")]
    assert "quotes escaped by a backslash" in files
    assert sorted(rows(source, "session_ngram_speed")["ngram_text"]) == ['"a', "\\", 'b"', "he", "th"]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("users.csv", "or state header: false in the mapping if the first line is a row"),
        ("users-carriage-returns.csv", "its lines end with carriage returns alone"),
    ],
)
def test_a_header_that_is_data_is_one_short_line(file: str, says: str, reported: Callable[[str], Path]) -> None:
    source = reported("08-header-is-data")
    content = (source / file).read_bytes()
    (source / "users.csv").write_bytes(content)
    (wrong,) = [line for line in said(source) if line.startswith("wrong ")]
    assert wrong.startswith(f"wrong users: {source}/users.csv: table users lacks the column")
    assert says in wrong
    assert len(wrong.removeprefix(f"wrong users: {source}")) < 250
    fields = [field.strip() for line in content.decode().splitlines() for field in line.split(",")]
    assert [field for field in fields if len(field) > 2 and "_" not in field and field in wrong] == []


def test_rows_hidden_by_a_policy_are_named(reported: Callable[[str], Path], database: Database) -> None:
    source = reported("09-row-level-security")
    statements = (source / "setup.sql").read_text(encoding="utf-8").split(";")
    database.execute(*(one.replace("rlsr", "rlsr_report") for one in statements if one.strip()))
    try:
        lines = said(database.address.replace("postgres@", "rlsr_report@"))
        wrong = [line for line in lines if line.startswith("wrong ")]
        assert [line.split(":")[0] for line in wrong] == ["wrong users", "wrong user_progress"]
        assert all(
            "row-level security policy" in line and "A policy would hide rows from this role" in line for line in wrong
        )
        assert not [line for line in lines if "6 rows" in line]
    finally:
        database.execute("DROP OWNED BY rlsr_report", "DROP ROLE rlsr_report")


def test_an_unlisted_column_stops_nothing(reported: Callable[[str], Path]) -> None:
    lines = said(reported("17-wide-decimal-nobody-asked-for"))
    assert not [line for line in lines if not line.startswith("ok ")]
    assert "ok users: 12 rows, all readable" in lines


def test_a_time_in_the_zone_localtime_is_its_instant(reported: Callable[[str], Path]) -> None:
    source = reported("17-wide-decimal-nobody-asked-for")
    shutil.move(source / "timezone-localtime.parquet", source / "users.parquet")
    instants = pq.read_table(source / "users.parquet")["created_at"].cast("int64").to_pylist()
    lines = said(source)
    (users,) = [line for line in lines if line.startswith(("ok users: ", "wrong users: "))]
    assert users.startswith("ok users: ")
    assert sorted(rows(source, "users")["created_at"].dt.epoch("us")) == sorted(instants)


def test_a_folder_with_the_name_of_a_file_is_the_table(reported: Callable[[str], Path]) -> None:
    (wrong,) = said(reported("18-folder-called-users.parquet"))
    assert "has only users. A source needs users with cohorts and user_progress" in wrong


def test_a_table_that_is_mapped_twice_is_named_with_its_lines(reported: Callable[[str], Path]) -> None:
    source = reported("24-mapping-says-a-table-twice")
    (wrong,) = said(source, source / "mapping.yaml")
    assert "line 7: the key users is given a second time, after line 1" in wrong


@pytest.mark.parametrize("name", ["10-left-over-wal", "25-keys-given-decomposed"])
def test_nothing_is_wrong_with_the_source_of_other_reports(name: str, reported: Callable[[str], Path]) -> None:
    assert {line.split()[0] for line in said(reported(name))} == {Verdict.OK.value}
