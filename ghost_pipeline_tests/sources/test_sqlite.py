"""A SQLite file as a source: read only, and any value in any column."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.sources.mapping import MappedTable, SourceMapping
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Window, domains
from ghost_pipeline.sources.sqlite import SqliteSource
from ghost_pipeline_tests.sources.servers import SCHEMA, fill_sqlite

USERS, COHORTS, PROGRESS = (SOURCE_TABLES[name] for name in ("users", "cohorts", "user_progress"))
KEYSTROKES = SOURCE_TABLES["session_keystrokes"]
ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A path with characters that mean something in an address."""
    return tmp_path / "app data?#%41.db"


@pytest.fixture
def opened() -> Iterator[list[SqliteSource]]:
    """Sources to close at the end."""
    sources: list[SqliteSource] = []
    yield sources
    for source in sources:
        source.close()


def source_of(opened: list[SqliteSource], file: Path, *statements: str, **tables: MappedTable) -> SqliteSource:
    fill_sqlite(file, statements)
    opened.append(SqliteSource(f"sqlite:///{file}", SourceMapping(Path("own.yaml"), tables)))
    return opened[-1]


def fault(source: SqliteSource, table: str) -> str:
    with pytest.raises(SourceError) as raised:
        source.scan(SOURCE_TABLES[table])
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- opening ---


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=rf"source sqlite:///{tmp_path}/no.db: {tmp_path}/no.db is not a file. Set GHOST"
    ):
        open_source(f"sqlite:///{tmp_path}/no.db")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_sqlite(tmp_path / "app.db", ["CREATE TABLE cohorts (cohort_id)"])
    monkeypatch.chdir(tmp_path)
    with closing(open_source("sqlite:///app.db")) as source:
        assert source.tables() == {"cohorts"}


def test_a_file_of_another_kind_is_named(file: Path, opened: list[SqliteSource]) -> None:
    file.write_bytes(b"cohort_id\n" * 100)
    opened.append(SqliteSource(f"sqlite:///{file}"))
    assert "table cohorts cannot be read (file is not a database)" in fault(opened[-1], "cohorts")


def test_the_schema_of_an_application_needs_no_mapping(file: Path, opened: list[SqliteSource]) -> None:
    assert domains(source_of(opened, file, *SCHEMA)) == {Domain.GHOST, Domain.NGRAMS}


def test_the_case_of_names_does_not_matter(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, "CREATE TABLE Cohorts (Cohort_ID)", "INSERT INTO Cohorts VALUES ('C1')")
    assert source.scan(COHORTS).collect().to_dicts() == [{"cohort_id": "C1"}]


def test_a_missing_required_column_is_named(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, "CREATE TABLE cohorts (id)")
    assert "lacks the column cohort_id (it has id)" in fault(source, "cohorts")


# --- values ---


@pytest.mark.parametrize(
    ("literal", "column", "expected"),
    [
        ("7", "user_id", "7"),
        (f"x'{ID.replace('-', '')}'", "user_id", ID),
        ("NULL", "user_id", "user_id is missing"),
        ("5.3", "diagnostic_score", 5.3),
        ("0.1 + 0.2", "diagnostic_score", 0.1 + 0.2),
        ("6", "diagnostic_score", 6.0),
        ("'5.5'", "diagnostic_score", 5.5),
        ("'good'", "diagnostic_score", "diagnostic_score is not a number"),
        ("9e999", "diagnostic_score", "diagnostic_score is not finite"),
        ("NULL", "diagnostic_score", None),
        ("'2025-03-12 13:00:00+01:00'", "created_at", NOON),
        ("'2025-03-12 12:00:00'", "created_at", NOON),
        ("'2025-03-12'", "created_at", datetime(2025, 3, 12, tzinfo=UTC)),
        ("1741780800", "created_at", "created_at is not a time"),
        ("2460746.5", "created_at", "created_at is not a time"),
        ("1", "cohort_excluded", True),
        ("'no'", "cohort_excluded", False),
        ("NULL", "timezone", None),
    ],
)
def test_a_value_is_read_or_costs_its_row(
    literal: str, column: str, expected: object, file: Path, opened: list[SqliteSource]
) -> None:
    given = {"user_id": "'u1'", "created_at": "'2025-01-01'"} | {column: literal}
    source = source_of(
        opened, file, f"CREATE TABLE users AS SELECT {', '.join(f'{value} AS {name}' for name, value in given.items())}"
    )
    (row,) = read_rows(source.scan(USERS), USERS).collect().iter_rows(named=True)
    assert (row[REASON] or row[column]) == expected


def test_values_of_all_types_in_one_column_are_read_one_by_one(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(
        opened,
        file,
        "CREATE TABLE users (user_id, created_at, diagnostic_score)",
        f"""INSERT INTO users VALUES (1, '2025-01-01', NULL), (2.0, '2025-01-01', 5), ('u3', '2025-01-01', '5.5'),
            (x'{UUID(ID).hex}', '2025-01-01', 0.1 + 0.2), ('u5', '2025-01-01', 'five'), ('u6', 5, x'00')""",  # noqa: S608 - literals
    )
    rows = read_rows(source.scan(USERS), USERS).collect()
    assert rows["user_id"].to_list() == ["1", "2", "u3", ID, "u5", "u6"]
    assert rows["diagnostic_score"].to_list()[:4] == [None, 5.0, 5.5, 0.1 + 0.2]
    assert [reason is None for reason in rows[REASON]] == [True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("blob", "expected"),
    [
        ("x'7531'", "u1"),
        (f"x'{UUID(ID).hex}'", ID),
        ("CAST('sixteen letters!' AS BLOB)", "sixteen letters!"),
        ("x'ff00'", "user_id holds bytes, not text"),
        ("x'ff'", "user_id holds bytes, not text"),
    ],
)
def test_bytes_among_texts_are_text_or_cost_their_row(
    blob: str, expected: str, file: Path, opened: list[SqliteSource]
) -> None:
    source = source_of(
        opened,
        file,
        "CREATE TABLE users (user_id, created_at)",
        f"INSERT INTO users VALUES ({blob}, '2025-01-01'), ('u2', '2025-01-01'), (3.0, '2025-01-01')",  # noqa: S608
    )
    rows = read_rows(source.scan(USERS), USERS).collect()
    assert (rows[REASON][0] or rows["user_id"][0]) == expected
    assert rows["user_id"].to_list()[1:] == ["u2", "3"]


def test_a_text_that_is_not_utf_8_costs_its_characters(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(
        opened, file, "CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id, CAST(x'41ff42' AS TEXT) AS cohort_key"
    )
    assert source.scan(COHORTS).collect()["cohort_key"].to_list() == ["A\ufffdB"]


def test_a_table_without_rows_has_its_columns(file: Path, opened: list[SqliteSource]) -> None:
    rows = read_rows(source_of(opened, file, *SCHEMA).scan(USERS), USERS).collect()
    assert rows.height == 0


def test_many_batches_are_all_there(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(
        opened,
        file,
        """CREATE TABLE cohorts AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 120000)
            SELECT n AS cohort_id FROM n""",
    )
    assert source.scan(COHORTS).collect()["cohort_id"].n_unique() == 120_000


# --- windows ---


def with_progress(opened: list[SqliteSource], file: Path, *times: str) -> SqliteSource:
    rows = ", ".join(f"('p{number}', {time})" for number, time in enumerate(times))
    return source_of(
        opened,
        file,
        "CREATE TABLE user_progress (progress_id, user_id, task_type, completed_at)",
        f"INSERT INTO user_progress (progress_id, completed_at) VALUES {rows}",  # noqa: S608 - literals
    )


def test_a_window_holds_its_days_and_one_around_for_zones(file: Path, opened: list[SqliteSource]) -> None:
    source = with_progress(
        opened,
        file,
        "'2025-03-10T23:00Z'",
        "'2025-03-11 23:59:00-12:00'",
        "'2025-03-12T12:30:00Z'",
        "'2025-03-13T01:00+12:45'",
        "'2025-03-14'",
    )
    rows = source.scan(PROGRESS, Window(NOON, NOON + HOUR)).collect()
    assert sorted(rows["progress_id"]) == ["p1", "p2", "p3"]


def test_a_row_that_tells_no_place_lies_in_every_window(file: Path, opened: list[SqliteSource]) -> None:
    source = with_progress(opened, file, "NULL", "1741780800", "'yesterday'", "x'00'", "''", "'2025-01-01'")
    rows = source.scan(PROGRESS, Window(NOON, NOON + HOUR)).collect()
    assert sorted(rows["progress_id"]) == ["p0", "p1", "p2", "p3", "p4"]


def test_a_window_without_a_start_reads_from_the_beginning(file: Path, opened: list[SqliteSource]) -> None:
    source = with_progress(opened, file, "'1999-01-01'", "'2025-03-11'", "'2025-04-01'")
    rows = source.scan(PROGRESS, Window(None, NOON)).collect()
    assert sorted(rows["progress_id"]) == ["p0", "p1"]


def test_rows_of_sessions_are_windowed_by_the_start_of_their_session(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(
        opened,
        file,
        *SCHEMA,
        """INSERT INTO practice_sessions (session_id, start_time) VALUES ('in', '2025-03-12T12:00Z'),
            ('before', '2025-03-01'), ('nowhere', NULL)""",
        "INSERT INTO session_keystrokes (session_id) VALUES ('in'), ('before'), ('nowhere'), (NULL)",
    )
    rows = source.scan(KEYSTROKES, Window(NOON, NOON + HOUR)).collect()
    assert set(rows["session_id"]) == {"in", "nowhere", None}


# --- mapping ---


def test_own_names_of_any_spelling_are_mapped(file: Path, opened: list[SqliteSource]) -> None:
    mapped = MappedTable(table='"Co""horts.x; DROP"', columns={"cohort_id": "the id'"})
    source = source_of(
        opened,
        file,
        """CREATE TABLE "Co""horts.x; DROP" ("the id'")""",
        """INSERT INTO "Co""horts.x; DROP" VALUES ('c1')""",
        cohorts=mapped,
    )
    assert source.scan(COHORTS).collect().to_dicts() == [{"cohort_id": "c1"}]


def test_a_column_that_is_not_there_is_no_text(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, "CREATE TABLE cohorts (id)", cohorts=MappedTable(columns={"cohort_id": "nothing"}))
    assert "own.yaml: table cohorts, columns.cohort_id: the table has no column nothing" in fault(source, "cohorts")


QUERY = """SELECT n AS progress_id, 'u' AS user_id, 'reading' AS task_type, datetime(n, 'unixepoch') AS completed_at
    FROM times WHERE datetime(n, 'unixepoch') >= {start} AND datetime(n, 'unixepoch') < {end} -- all of them"""


def test_a_query_gets_its_window_as_parameters(file: Path, opened: list[SqliteSource]) -> None:
    noon = int(NOON.timestamp())
    source = source_of(
        opened,
        file,
        "CREATE TABLE times (n)",
        f"INSERT INTO times VALUES ({noon - 1}), ({noon}), ({noon + 3599}), ({noon + 3600})",  # noqa: S608 - literals
        user_progress=MappedTable(query=QUERY),
    )
    assert source.scan(PROGRESS, Window(NOON, NOON + HOUR)).collect()["progress_id"].to_list() == [noon, noon + 3599]
    assert source.scan(PROGRESS).collect().height == 4


def test_a_wrong_query_is_named_by_file_table_and_key(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, cohorts=MappedTable(query="SELECT absent"))
    assert "mapping own.yaml: table cohorts, query cannot be read (no such column: absent)" in fault(source, "cohorts")


# --- one state, read only ---


def test_a_write_fails_in_the_session(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, "CREATE TABLE cohorts (cohort_id)")
    with pytest.raises(sqlite3.OperationalError, match="attempt to write a readonly database"):
        source._connection.execute("INSERT INTO cohorts VALUES ('c1')")  # noqa: SLF001 - the session itself


def test_writers_do_not_wait_for_a_source(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, "CREATE TABLE cohorts (cohort_id)")
    frame = source.scan(COHORTS)
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as writer:
        writer.execute("INSERT INTO cohorts VALUES ('c1')")
    assert frame.collect().height == 0


def test_all_tables_are_of_one_instant_in_wal_mode(file: Path, opened: list[SqliteSource]) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        source = source_of(opened, file, *SCHEMA)
        source.scan(USERS)
        writer.execute("INSERT INTO cohorts (cohort_id) VALUES ('c1')")
        assert source.scan(COHORTS).collect().height == 0


def test_a_table_that_is_dropped_in_between_is_named(file: Path, opened: list[SqliteSource]) -> None:
    source = source_of(opened, file, *SCHEMA)
    assert "cohorts" in source.tables()
    fill_sqlite(file, ["DROP TABLE cohorts"])
    assert "table cohorts cannot be read (no such table: main.cohorts)" in fault(source, "cohorts")
