"""A DuckDB file as a source: read only, shut off from everything else, and every value as validation expects it."""

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.settings import MAX_TASK_MINUTES
from ghost_pipeline.sources.duckdb_file import DuckDbSource
from ghost_pipeline.sources.mapping import MappedTable, SourceMapping
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Window, domains
from ghost_pipeline_tests.sources.servers import SCHEMA, fill_duckdb

USERS, COHORTS, PROGRESS = (SOURCE_TABLES[name] for name in ("users", "cohorts", "user_progress"))
KEYSTROKES = SOURCE_TABLES["session_keystrokes"]
ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

Opener = Callable[..., DuckDbSource]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A path with characters that mean something in a statement."""
    return tmp_path / "ware'house data?#%41.duckdb"


@pytest.fixture
def opened(file: Path) -> Iterator[Opener]:
    """Runs statements on the file, opens it, with a mapping where one is given, and closes it."""
    sources: list[DuckDbSource] = []

    def open_one(*statements: str, **tables: MappedTable) -> DuckDbSource:
        fill_duckdb(file, *statements)
        sources.append(DuckDbSource(f"duckdb:///{file}", SourceMapping(Path("own.yaml"), tables)))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


def fault(source: DuckDbSource, table: str) -> str:
    with pytest.raises(SourceError) as raised:
        source.scan(SOURCE_TABLES[table])
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- opening ---


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"{tmp_path}/no\.duckdb is not a file\. Set GHOST_SOURCE to duckdb:///"):
        open_source(f"duckdb:///{tmp_path}/no.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_duckdb(tmp_path / "app.duckdb", "CREATE TABLE cohorts (cohort_id INT)")
    monkeypatch.chdir(tmp_path)
    with closing(open_source("duckdb:///app.duckdb")) as source:
        assert source.tables() == {"cohorts"}


def test_a_file_of_another_kind_is_named(file: Path) -> None:
    file.write_bytes(b"cohort_id\n" * 1000)
    with closing(DuckDbSource(f"duckdb:///{file}")) as source:
        assert fault(source, "cohorts").endswith(": is not a DuckDB file. Correct GHOST_SOURCE")


def test_a_file_that_another_process_writes_to_is_one_line(file: Path, opened: Opener) -> None:
    source = opened("CREATE TABLE cohorts (cohort_id INT)")
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert fault(source, "cohorts").endswith(
            ": another process has the file open for writing. Run again when it has finished, or read a copy"
        )
        writer.communicate()
    assert source.scan(COHORTS).collect().height == 0


def test_a_writer_does_not_wait_for_a_source(file: Path, opened: Opener) -> None:
    source = opened("CREATE TABLE cohorts (cohort_id INT)")
    frame = source.scan(COHORTS)
    code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('INSERT INTO cohorts VALUES (1)')"
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    assert frame.collect().height == 0


def test_a_file_of_a_newer_duckdb_is_one_line(file: Path, opened: Opener) -> None:
    source = opened("CREATE TABLE cohorts (cohort_id INT)")
    write_storage_version(file, 9999)
    assert f": a newer DuckDB wrote the file; this one is {duckdb.__version__}. Upgrade" in fault(source, "cohorts")


def test_a_damaged_file_is_one_line(file: Path, opened: Opener) -> None:
    source = opened("CREATE TABLE cohorts (cohort_id INT)")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert "Make the file readable, or restore it" in fault(source, "cohorts")


def test_rows_that_only_the_log_has_are_there(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed.duckdb"
    file = tmp_path / "app.duckdb"
    with duckdb.connect(str(file)) as writer:
        writer.execute("SET checkpoint_threshold = '1TB'")
        writer.execute("CREATE TABLE cohorts AS SELECT 1 AS cohort_id")
        for suffix in ("", ".wal"):
            Path(f"{crashed}{suffix}").write_bytes(Path(f"{file}{suffix}").read_bytes())
    with closing(DuckDbSource(f"duckdb:///{crashed}")) as source:
        assert source.scan(COHORTS).collect().height == 1


def write_storage_version(file: Path, version: int) -> None:
    """Give a file another storage version, with the checksum that belongs to it."""
    content = bytearray(file.read_bytes())
    content[12:20] = struct.pack("<Q", version)
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", content[8:4096]):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    content[:8] = struct.pack("<Q", checksum)
    file.write_bytes(content)


# --- what is there ---


def test_the_schema_of_an_application_needs_no_mapping(opened: Opener) -> None:
    assert domains(opened(*SCHEMA)) == {Domain.GHOST, Domain.NGRAMS}


def test_a_view_is_a_table(opened: Opener) -> None:
    source = opened(
        "CREATE TABLE groups AS SELECT 'c1' AS id", "CREATE VIEW cohorts AS SELECT id cohort_id FROM groups"
    )
    assert source.scan(COHORTS).collect().rows() == [("c1",)]


def test_the_case_of_names_does_not_matter(opened: Opener) -> None:
    source = opened("CREATE TABLE Cohorts AS SELECT 'C1' AS Cohort_ID")
    assert source.scan(COHORTS).collect().to_dicts() == [{"cohort_id": "C1"}]


def test_a_missing_required_column_is_named(opened: Opener) -> None:
    assert "lacks the column cohort_id (it has id)" in fault(opened("CREATE TABLE cohorts (id INT)"), "cohorts")


def test_own_names_of_any_spelling_are_mapped(opened: Opener) -> None:
    source = opened(
        'CREATE SCHEMA "My.App"',
        """CREATE TABLE "My.App"."Co""horts; DROP" ("The ID" VARCHAR, cohort_id VARCHAR, "key'" VARCHAR)""",
        """INSERT INTO "My.App"."Co""horts; DROP" VALUES ('c1', 'not this', 'k')""",
        cohorts=MappedTable(table='"My.App"."Co""horts; DROP"', columns={"cohort_id": "The ID", "cohort_key": "key'"}),
    )
    assert source.scan(COHORTS).collect().to_dicts() == [{"cohort_id": "c1", "cohort_key": "k"}]


def test_a_mapped_table_that_is_not_there_is_named(opened: Opener) -> None:
    message = fault(opened(cohorts=MappedTable(table="app.groups")), "cohorts")
    assert message.startswith("mapping own.yaml: table cohorts, table: source duckdb:///")
    assert "has no table or view app.groups" in message


# --- values ---


VALUES = [
    ("UUID", f"'{ID}'", "user_id", ID),
    ("BIGINT", "7", "user_id", "7"),
    ("UBIGINT", "18446744073709551615", "user_id", "18446744073709551615"),
    ("HUGEINT", "170141183460469231731687303715884105727", "user_id", "170141183460469231731687303715884105727"),
    ("UHUGEINT", "340282366920938463463374607431768211455", "user_id", "340282366920938463463374607431768211455"),
    ("ENUM('u1', 'u2')", "'u1'", "user_id", "u1"),
    ("DECIMAL(3,1)", "5.3", "diagnostic_score", 5.3),
    ("DECIMAL(38,0)", "7", "diagnostic_score", 7.0),
    ("FLOAT", "5.3", "diagnostic_score", 5.3),
    ("DOUBLE", "5.3", "diagnostic_score", 5.3),
    ("DOUBLE", "'inf'", "diagnostic_score", "diagnostic_score is not finite"),
    ("VARCHAR", "'good'", "diagnostic_score", "diagnostic_score is not a number"),
    ("DECIMAL(3,1)", "NULL", "diagnostic_score", None),
    ("TIMESTAMPTZ", "'2025-03-12 13:00+01'", "created_at", NOON),
    ("TIMESTAMP", "'2025-03-12 12:00'", "created_at", NOON),
    ("TIMESTAMP", "'2025-03-12 12:00:00.000001'", "created_at", NOON + timedelta(microseconds=1)),
    ("TIMESTAMP_S", "'2025-03-12 12:00'", "created_at", NOON),
    ("TIMESTAMP_MS", "'2025-03-12 12:00'", "created_at", NOON),
    ("TIMESTAMP_NS", "'2025-03-12 12:00'", "created_at", NOON),
    ("DATE", "'2025-03-12'", "created_at", datetime(2025, 3, 12, tzinfo=UTC)),
    ("VARCHAR", "'2025-03-12T13:00:00+01:00'", "created_at", NOON),
    ("TIMESTAMPTZ", "'infinity'", "created_at", "created_at is outside 1970 to 2199"),
    ("TIMESTAMP", "'-infinity'", "created_at", "created_at is outside 1970 to 2199"),
    ("TIMESTAMP", "'200000-01-01'", "created_at", "created_at is outside 1970 to 2199"),
    ("DATE", "'infinity'", "created_at", "created_at is outside 1970 to 2199"),
    ("TIMESTAMP", "NULL", "created_at", "created_at is missing"),
    ("BIGINT", "1741780800", "created_at", "created_at is not a time"),
    ("TIME", "'12:00'", "created_at", "created_at is not a time"),
    ("BOOLEAN", "true", "cohort_excluded", True),
    ("INTEGER", "1", "cohort_excluded", True),
    ("VARCHAR", "'no'", "cohort_excluded", False),
    ("INTEGER[]", "[1, 2]", "timezone", "[1, 2]"),
]


@pytest.mark.parametrize(("own", "literal", "column", "expected"), VALUES)
def test_a_value_is_read_or_costs_its_row(
    own: str, literal: str, column: str, expected: object, opened: Opener
) -> None:
    others = {name: f"'{value}'" for name, value in (("user_id", "u1"), ("created_at", "2025-01-01")) if name != column}
    given = {**others, column: f"({literal})::{own}"}
    source = opened(f"CREATE TABLE users AS SELECT {', '.join(f'{value} AS {name}' for name, value in given.items())}")
    (row,) = read_rows(source.scan(USERS), USERS).collect().iter_rows(named=True)
    assert (row[REASON] or row[column]) == expected


@pytest.mark.parametrize(
    ("minutes", "ms"), [("INTERVAL 90 SECOND", 90_000), ("1.5", 90_000), ("'1.5'", 90_000), ("1.5::FLOAT", 90_000)]
)
def test_minutes_of_any_type_are_minutes(minutes: str, ms: int, opened: Opener) -> None:
    source = opened(
        f"""CREATE TABLE user_progress AS SELECT 'p' AS progress_id, 'u' AS user_id, 'reading' AS task_type,
            now() AS completed_at, {minutes} AS time_spent_minutes"""
    )
    rows = read_rows(source.scan(PROGRESS), PROGRESS, MAX_TASK_MINUTES).collect()
    assert rows["time_spent_ms"].to_list() == [ms]


def test_a_column_that_is_not_listed_may_be_anything(opened: Opener) -> None:
    source = opened("CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id, {'a': [1]} AS other, 0.5::DECIMAL(38, 38) AS d")
    assert source.scan(COHORTS).collect().rows() == [("c1",)]


def test_many_batches_are_all_there(opened: Opener) -> None:
    source = opened("CREATE TABLE cohorts AS SELECT i AS cohort_id FROM range(300000) r(i)")
    assert source.scan(COHORTS).select(pl.col("cohort_id").n_unique()).collect().item() == 300_000


def test_a_table_without_rows_has_its_columns(opened: Opener) -> None:
    frame = opened(*SCHEMA).scan(USERS).collect()
    assert (frame.height, frame.width) == (0, len(USERS.columns))


# --- windows ---


def progress(own: str, *times: str | None) -> tuple[str, str]:
    literals = ["NULL" if time is None else f"'{time}'" for time in times]
    rows = ", ".join(f"('p{number}', {literal})" for number, literal in enumerate(literals))
    return (
        f"CREATE TABLE user_progress (progress_id VARCHAR, user_id VARCHAR, task_type VARCHAR, completed_at {own})",
        f"INSERT INTO user_progress (progress_id, completed_at) VALUES {rows}",  # noqa: S608 - literals
    )


def found(source: DuckDbSource, start: datetime | None, end: datetime) -> list[str]:
    return sorted(source.scan(PROGRESS, Window(start, end)).collect()["progress_id"])


@pytest.mark.parametrize("own", ["TIMESTAMPTZ", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_S", "DATE"])
def test_a_window_holds_its_start_and_not_its_end(own: str, opened: Opener) -> None:
    source = opened(*progress(own, "2025-03-11", "2025-03-12", "2025-03-13", "2025-03-14", None, "2200-01-01"))
    day = datetime(2025, 3, 12, tzinfo=UTC)
    assert found(source, day, day + timedelta(days=2)) == ["p1", "p2", "p4", "p5"]


def test_a_window_without_a_start_reads_from_the_beginning(opened: Opener) -> None:
    source = opened(*progress("TIMESTAMP", "1999-01-01", "2025-03-11", "2025-03-12"))
    assert found(source, None, datetime(2025, 3, 12, tzinfo=UTC)) == ["p0", "p1"]


def test_times_as_text_are_windowed_by_days_around(opened: Opener) -> None:
    source = opened(
        *progress(
            "VARCHAR", "2025-03-12T23:30:00-12:00", "2025-03-13T11:30:00Z", "2025-02-01", "2025-04-01", "soon", ""
        )
    )
    assert found(source, NOON + 23 * HOUR, NOON + 24 * HOUR) == ["p0", "p1", "p4", "p5"]


def test_numbers_that_are_no_times_are_in_every_window(opened: Opener) -> None:
    assert found(opened(*progress("BIGINT", "1741780800")), NOON, NOON + HOUR) == ["p0"]


def test_a_window_leaves_out_row_groups(file: Path, opened: Opener) -> None:
    opened("CREATE TABLE user_progress AS SELECT 'p' || i progress_id, '2024-01-01'::TIMESTAMP + i * INTERVAL 1 SECOND "
           "completed_at FROM range(1000000) r(i)")  # fmt: skip
    source = opened()
    relation = source._relation("user_progress")  # noqa: SLF001 - the statement itself
    assert relation is not None
    condition = source._placed(relation.columns["completed_at"])  # noqa: SLF001
    condition = condition.replace("\0start\0", "TIMESTAMPTZ '2024-01-02'").replace(
        "\0end\0", "TIMESTAMPTZ '2024-01-03'"
    )
    with duckdb.connect(str(file), read_only=True) as connection:
        plan = connection.execute(f"EXPLAIN SELECT * FROM user_progress WHERE {condition}").fetchall()[0][1]  # noqa: S608
    assert "2024-01-02 00:00:00'::TIMESTAMP" in plan
    assert "CAST(completed_at" not in plan


def test_rows_of_sessions_are_windowed_by_the_start_of_their_session(opened: Opener) -> None:
    ids = {name: ID[:-1] + name for name in "abc"}
    source = opened(
        *SCHEMA,
        *(
            f"INSERT INTO practice_sessions (session_id, start_time) VALUES ('{ids[name]}', {start})"  # noqa: S608
            for name, start in (("a", "'2025-03-12 12:30'"), ("b", "'2025-03-12 13:00'"), ("c", "NULL"))
        ),
        *(f"INSERT INTO session_keystrokes (session_id, key_index) VALUES ('{one}', 0)" for one in ids.values()),  # noqa: S608
        "INSERT INTO session_keystrokes (session_id, key_index) VALUES (NULL, 1)",
    )
    rows = source.scan(KEYSTROKES, Window(NOON, NOON + HOUR)).collect()
    assert set(rows["session_id"]) == {ids["a"], ids["c"], None}


# --- queries ---


QUERY = """SELECT i AS progress_id, 'u' AS user_id, 'reading' AS task_type, to_timestamp(i * 3600) AS completed_at
    FROM range(483800, 483900) r(i) WHERE to_timestamp(i * 3600) >= {start} AND to_timestamp(i * 3600) < {end};"""


def test_a_query_gets_its_window(opened: Opener) -> None:
    source = opened(user_progress=MappedTable(query=QUERY))
    assert source.scan(PROGRESS, Window(NOON, NOON + 2 * HOUR)).collect().height == 2
    assert source.scan(PROGRESS).collect().height == 100


def test_a_wrong_query_is_named_by_file_table_and_key(opened: Opener) -> None:
    message = fault(opened(cohorts=MappedTable(query="SELECT absent FROM (SELECT 1 AS a)")), "cohorts")
    assert "mapping own.yaml: table cohorts, query cannot be read (Binder Error: Referenced column" in message


@pytest.mark.parametrize(
    "query",
    ["SELECT 1 AS cohort_id) AS a; DROP TABLE t; SELECT * FROM (SELECT 1", "DELETE FROM t", "SELECT 1; SELECT 2"],
)
def test_a_query_is_one_select(query: str, opened: Opener) -> None:
    message = fault(opened("CREATE TABLE t (a INT)", cohorts=MappedTable(query=query)), "cohorts")
    assert message.startswith(("mapping own.yaml: table cohorts, query: is not one SELECT", "source duckdb://"))


@pytest.mark.parametrize(
    "what",
    [
        "read_csv('{folder}/other.csv')",
        "'{folder}/other.csv'",
        "read_text('{folder}/other.csv')",
        "glob('{folder}/*')",
        "read_parquet('s3://bucket/key')",
        "read_csv('https://host/other.csv')",
        "st_read('{folder}/other.csv')",
        "postgres_scan('host=h', 'public', 't')",
    ],
)
def test_a_query_reaches_nothing_but_the_file(what: str, opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("cohort_id\nsecret\n", encoding="utf-8")
    query = f"SELECT '' || COLUMNS(*) AS cohort_id FROM {what.format(folder=tmp_path)}"  # noqa: S608 - a test's own text
    message = fault(opened(cohorts=MappedTable(query=query)), "cohorts")
    assert "query cannot be read (" in message
    assert "secret" not in message


def test_an_error_within_rows_cites_none_of_them(opened: Opener) -> None:
    source = opened(
        """CREATE TABLE people AS SELECT CASE i WHEN 299999 THEN 'ada@example.org' ELSE '1' END AS mail
            FROM range(300000) r(i)""",
        cohorts=MappedTable(query="SELECT mail::INT AS cohort_id FROM people"),
    )
    message = fault(source, "cohorts")
    assert "query cannot be read (Conversion Error: Could not convert string" in message
    assert "ada" not in message
    assert source.tables() == {"cohorts"}


def test_a_query_that_needs_more_memory_spills_and_leaves_nothing(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr("ghost_pipeline.sources.duckdb_file._SECURED", ("SET memory_limit = '60MB'", "SET threads = 1"))
    query = "SELECT md5(i::VARCHAR) AS cohort_id FROM range(2000000) r(i) ORDER BY 1"
    source = opened(cohorts=MappedTable(query=query))
    assert source.scan(COHORTS).select(pl.len()).collect().item() == 2_000_000
    source.close()
    assert list(folder.iterdir()) == []


def test_a_table_that_is_dropped_in_between_is_named(file: Path, opened: Opener) -> None:
    source = opened(*SCHEMA)
    assert "cohorts" in source.tables()
    fill_duckdb(file, "DROP TABLE cohorts")
    assert "table cohorts cannot be read (Catalog Error: Table with name cohorts does not exist" in fault(
        source, "cohorts"
    )
