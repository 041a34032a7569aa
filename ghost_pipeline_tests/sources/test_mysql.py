"""MySQL and MariaDB as a source, on a real server: one snapshot, read only, and every value as validation expects."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.settings import MAX_TASK_MINUTES
from ghost_pipeline.sources.mapping import MappedTable, SourceMapping
from ghost_pipeline.sources.mysql import MySqlSource
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Window, domains
from ghost_pipeline_tests.sources.mariadb import MariaDb
from ghost_pipeline_tests.sources.servers import PASSWORD, READER

USERS, COHORTS, PROGRESS = (SOURCE_TABLES[name] for name in ("users", "cohorts", "user_progress"))
KEYSTROKES = SOURCE_TABLES["session_keystrokes"]
ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = (
    """CREATE TABLE users (user_id char(36) PRIMARY KEY, updated_at timestamp NULL, cohort_id bigint unsigned,
        diagnostic_score decimal(2,1), final_band_score decimal(2,1), final_band_at datetime, target_band decimal(2,1),
        timezone varchar(64), cohort_excluded tinyint(1) DEFAULT 0, created_at datetime(6))""",
    "CREATE TABLE cohorts (cohort_id bigint unsigned PRIMARY KEY, cohort_key varchar(200), created_at datetime)",
    """CREATE TABLE user_progress (progress_id bigint, user_id char(36), task_type enum('reading', 'mock_test'),
        completed_at datetime, time_spent_minutes decimal(6,2))""",
    "CREATE TABLE keyboards (keyboard_id binary(16), user_id char(36), target_ms_per_keystroke int)",
    """CREATE TABLE practice_sessions (session_id binary(16), user_id char(36), keyboard_id binary(16),
        start_time datetime(3), end_time datetime(3))""",
    """CREATE TABLE session_keystrokes (session_id binary(16), key_index int unsigned, keystroke_time datetime(6),
        keystroke_char char(1), expected_char char(1), text_index int)""",
)

Opener = Callable[..., MySqlSource]


@pytest.fixture
def opened(mariadb: MariaDb) -> Iterator[Opener]:
    """Opens the database of the test, with a mapping where one is given, and closes it."""
    sources: list[MySqlSource] = []

    def open_one(parameters: str = "", **tables: MappedTable) -> MySqlSource:
        sources.append(MySqlSource(mariadb.address + parameters, SourceMapping(Path("own.yaml"), tables)))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


def fault(source: MySqlSource, table: str) -> str:
    with pytest.raises(SourceError) as raised:
        source.scan(SOURCE_TABLES[table])
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- what is there ---


def test_the_schema_of_an_application_needs_no_mapping(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(*SCHEMA)
    assert domains(opened()) == {Domain.GHOST, Domain.NGRAMS}


def test_a_view_is_a_table(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute("CREATE VIEW cohorts AS SELECT 'c1' AS cohort_id")
    assert opened().scan(COHORTS).collect().rows() == [("c1",)]


def test_a_missing_required_column_is_named(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute("CREATE TABLE cohorts (id int)")
    assert "table cohorts: table cohorts lacks the column cohort_id (it has id)" in fault(opened(), "cohorts")


def test_own_names_of_any_spelling_are_mapped(mariadb: MariaDb, opened: Opener) -> None:
    other = f"{mariadb.name}.app"
    mariadb.execute(
        f"CREATE DATABASE `{other}`",
        f"CREATE TABLE `{other}`.`Co``horts\"; DROP` (`The ID` text, cohort_id text, `key'%s` text)",
        f"""INSERT INTO `{other}`.`Co``horts"; DROP` VALUES ('c1', 'not this', 'k')""",  # noqa: S608 - our own name
    )
    table = MappedTable(table=f'"{other}"."Co`horts""; DROP"', columns={"cohort_id": "the id", "cohort_key": "key'%s"})
    try:
        assert opened(cohorts=table).scan(COHORTS).collect().to_dicts() == [{"cohort_id": "c1", "cohort_key": "k"}]
    finally:
        mariadb.execute(f"DROP DATABASE `{other}`")


def test_a_mapped_table_that_is_not_there_is_named(opened: Opener) -> None:
    message = fault(opened(cohorts=MappedTable(table="app.groups")), "cohorts")
    assert message.startswith("mapping own.yaml: table cohorts, table: source mysql://")
    assert "has no table or view app.groups" in message


# --- values ---

VALUES = [
    ("char(36)", f"'{ID}'", "user_id", ID),
    ("bigint", "-7", "user_id", "-7"),
    ("bigint unsigned", "18446744073709551615", "user_id", "18446744073709551615"),
    ("decimal(65)", "'" + "9" * 65 + "'", "user_id", "9" * 65),
    ("decimal(5,2)", "7", "user_id", "7"),
    ("enum('u1', 'u2')", "'u1'", "user_id", "u1"),
    ("set('u1', 'u2')", "'u1,u2'", "user_id", "u1,u2"),
    ("uuid", f"'{ID}'", "user_id", ID),
    ("json", """'{"a": 1}'""", "timezone", """{"a": 1}"""),
    ("text", "'über 😀'", "timezone", "über 😀"),
    ("varbinary(9)", "'u1'", "user_id", "u1"),
    ("decimal(3,1)", "5.3", "diagnostic_score", 5.3),
    ("float", "5.3", "diagnostic_score", 5.3),
    ("double", "5.3", "diagnostic_score", 5.3),
    ("double", "0.1e0 + 0.2e0", "diagnostic_score", 0.1 + 0.2),
    ("smallint", "6", "diagnostic_score", 6.0),
    ("text", "'5.5'", "diagnostic_score", 5.5),
    ("text", "'good'", "diagnostic_score", "diagnostic_score is not a number"),
    ("decimal(3,1)", "NULL", "diagnostic_score", None),
    ("datetime", "'2025-03-12 12:00'", "created_at", NOON),
    ("datetime(6)", "'2025-03-12 12:00:00.000001'", "created_at", NOON + timedelta(microseconds=1)),
    ("date", "'2025-03-12'", "created_at", datetime(2025, 3, 12, tzinfo=UTC)),
    ("text", "'2025-03-12T13:00:00+01:00'", "created_at", NOON),
    ("datetime", "'0000-00-00'", "created_at", "created_at is not a time"),
    ("date", "'0000-00-00'", "created_at", "created_at is not a time"),
    ("datetime", "'2025-00-00'", "created_at", "created_at is not a time"),
    ("datetime", "'1000-01-01'", "created_at", "created_at is outside 1970 to 2199"),
    ("datetime", "'9999-12-31 23:59:59'", "created_at", "created_at is outside 1970 to 2199"),
    ("datetime", "NULL", "created_at", "created_at is missing"),
    ("datetime", "'0000-00-00'", "final_band_at", None),
    ("datetime(6)", "'0000-00-00'", "final_band_at", None),
    ("date", "'0000-00-00'", "final_band_at", None),
    ("timestamp", "'0000-00-00'", "final_band_at", None),
    ("datetime", "'2025-03-12 12:00'", "final_band_at", NOON),
    ("datetime", "'2025-00-00'", "final_band_at", "final_band_at is not a time"),
    ("int", "1741780800", "created_at", "created_at is not a time"),
    ("year", "2025", "created_at", "created_at is not a time"),
    ("time", "'12:00'", "created_at", "created_at is not a time"),
    ("tinyint(1)", "1", "cohort_excluded", True),
    ("tinyint(1)", "0", "cohort_excluded", False),
    ("boolean", "true", "cohort_excluded", True),
    ("bit(1)", "b'1'", "cohort_excluded", True),
    ("varchar(3)", "'no'", "cohort_excluded", False),
]


@pytest.mark.parametrize(("own", "literal", "column", "expected"), VALUES)
def test_a_value_is_read_or_costs_its_row(
    own: str, literal: str, column: str, expected: object, mariadb: MariaDb, opened: Opener
) -> None:
    columns = {"user_id": "varchar(9)", "created_at": "datetime"} | {column: own}
    values = {"user_id": "'u1'", "created_at": "'2025-01-01'"} | {column: literal}
    mariadb.execute(
        "SET sql_mode = ''",
        f"CREATE TABLE users ({', '.join(f'{name} {type_} NULL' for name, type_ in columns.items())})",
        f"SET STATEMENT sql_mode = '' FOR INSERT INTO users VALUES ({', '.join(values[name] for name in columns)})",  # noqa: S608
    )
    (row,) = read_rows(opened().scan(USERS), USERS).collect().iter_rows(named=True)
    assert (row[REASON] or row[column]) == expected


def test_a_timestamp_is_an_instant_whatever_the_zone_of_the_server(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        "CREATE TABLE users (user_id int, created_at timestamp)",
        "SET STATEMENT time_zone = '+02:00' FOR INSERT INTO users VALUES (1, '2025-03-12 14:00')",
    )
    assert read_rows(opened().scan(USERS), USERS).collect()["created_at"].to_list() == [NOON]


def test_uuids_of_16_bytes_are_uuids(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        "CREATE TABLE users (user_id binary(16), created_at datetime)",
        f"INSERT INTO users VALUES (unhex(replace('{ID}', '-', '')), '2025-03-12')",  # noqa: S608 - our own id
    )
    assert read_rows(opened().scan(USERS), USERS).collect()["user_id"].to_list() == [ID]


@pytest.mark.parametrize("zone", ["Europe%2FBerlin", "Europe/Berlin"])
def test_a_datetime_is_of_the_zone_of_the_address(zone: str, mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        "CREATE TABLE users (user_id int, created_at datetime(6), updated_at timestamp(6), final_band_at date)",
        "SET STATEMENT time_zone = '+00:00' FOR INSERT INTO users VALUES "
        "(1, '2025-03-12 13:00', '2025-03-12 12:00', '2025-03-12'), "
        "(2, '2025-10-26 02:30:00.000001', NULL, NULL), (3, '2025-03-30 02:30', NULL, NULL), "
        "(4, NULL, NULL, NULL)",
    )
    rows = read_rows(opened(f"&time-zone={zone}").scan(USERS), USERS).sort("user_id").collect()
    assert rows["created_at"].to_list() == [
        NOON,
        datetime(2025, 10, 26, 0, 30, 0, 1, tzinfo=UTC),
        datetime(2025, 3, 30, 1, 30, tzinfo=UTC),
        None,
    ]
    assert rows["updated_at"][0] == NOON
    assert rows["final_band_at"][0] == datetime(2025, 3, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("own", "minutes", "ms"),
    [("time", "'00:01:30'", 90_000), ("decimal(5,2)", "1.5", 90_000), ("varchar(5)", "'1.5'", 90_000)],
)
def test_minutes_of_any_type_are_minutes(own: str, minutes: str, ms: int, mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        f"CREATE TABLE user_progress (progress_id int, user_id int, task_type text, completed_at datetime, "
        f"time_spent_minutes {own})",
        f"INSERT INTO user_progress VALUES (1, 1, 'reading', '2025-03-12', {minutes})",  # noqa: S608 - literals
    )
    rows = read_rows(opened().scan(PROGRESS), PROGRESS, MAX_TASK_MINUTES).collect()
    assert rows["time_spent_ms"].to_list() == [ms]


def test_many_batches_are_all_there(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute("CREATE TABLE cohorts AS SELECT seq AS cohort_id FROM seq_1_to_120000")
    assert opened().scan(COHORTS).select(pl.col("cohort_id").n_unique()).collect().item() == 120_000


def test_a_table_without_rows_has_its_columns(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(*SCHEMA)
    frame = opened().scan(USERS).collect()
    assert (frame.height, frame.width) == (0, len(USERS.columns))


# --- windows ---


def with_progress(mariadb: MariaDb, own: str, *times: str | None) -> None:
    rows = ", ".join(f"('p{n}', {'NULL' if time is None else repr(time)})" for n, time in enumerate(times))
    mariadb.execute(
        f"CREATE TABLE user_progress (progress_id varchar(9), user_id int, task_type text, completed_at {own} NULL)",
        "SET STATEMENT sql_mode = '', time_zone = '+00:00' FOR "  # noqa: S608 - literals
        f"INSERT INTO user_progress (progress_id, completed_at) VALUES {rows}",
    )


def found(source: MySqlSource, start: datetime | None, end: datetime) -> list[str]:
    return sorted(source.scan(PROGRESS, Window(start, end)).collect()["progress_id"])


@pytest.mark.parametrize("own", ["datetime", "datetime(6)", "timestamp", "date"])
def test_a_window_holds_its_start_and_not_its_end(own: str, mariadb: MariaDb, opened: Opener) -> None:
    with_progress(mariadb, own, "2025-03-11", "2025-03-12", "2025-03-13", "2025-03-14", None, "0000-00-00")
    day = datetime(2025, 3, 12, tzinfo=UTC)
    assert found(opened(), day, day + timedelta(days=2)) == ["p1", "p2", "p4", "p5"]


def test_a_window_without_a_start_reads_from_the_beginning(mariadb: MariaDb, opened: Opener) -> None:
    with_progress(mariadb, "datetime", "1999-01-01", "2025-03-11", "2025-03-12", "1000-01-01")
    assert found(opened(), None, datetime(2025, 3, 12, tzinfo=UTC)) == ["p0", "p1", "p3"]


def test_times_as_text_are_windowed_by_days_around(mariadb: MariaDb, opened: Opener) -> None:
    with_progress(
        mariadb, "text", "2025-03-12T23:30:00-12:00", "2025-03-13T11:30:00Z", "2025-02-01", "2025-04-01", "soon", ""
    )
    assert found(opened(), NOON + 23 * HOUR, NOON + 24 * HOUR) == ["p0", "p1", "p4", "p5"]


def test_local_times_are_windowed_by_days_around(mariadb: MariaDb, opened: Opener) -> None:
    with_progress(mariadb, "datetime", "2025-03-12 13:30", "2025-03-10 12:30", "2025-03-15 12:30")
    assert found(opened("&time-zone=Europe/Berlin"), NOON, NOON + HOUR) == ["p0"]


def test_a_window_uses_the_index(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        """CREATE TABLE user_progress (KEY (completed_at)) AS SELECT seq AS progress_id, 1 AS user_id,
            'reading' AS task_type, timestamp('2020-01-01 00:00:00') + INTERVAL seq HOUR AS completed_at
            FROM seq_1_to_30000""",
        "ANALYZE TABLE user_progress",
    )
    source = opened()
    select = source._select(PROGRESS, Window(NOON, NOON + HOUR))  # noqa: SLF001 - the statement itself
    start, end = "TIMESTAMP'2022-03-12 12:00:00'", "TIMESTAMP'2022-03-12 13:00:00'"
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + select.replace("\0start\0", start).replace("\0end\0", end))
        (plan,) = cursor.fetchall()
    assert plan[5] == "completed_at"
    assert int(plan[8]) < 100


def test_rows_of_sessions_are_windowed_by_the_start_of_their_session(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        *SCHEMA,
        *(
            f"INSERT INTO practice_sessions (session_id, start_time) VALUES (repeat('{name}', 16), {start})"  # noqa: S608
            for name, start in (("a", "'2025-03-12 12:30'"), ("b", "'2025-03-12 13:00'"), ("c", "NULL"))
        ),
        *(f"INSERT INTO session_keystrokes (session_id) VALUES (repeat('{one}', 16))" for one in "abc"),  # noqa: S608
        "INSERT INTO session_keystrokes (key_index) VALUES (1)",
    )
    rows = opened().scan(KEYSTROKES, Window(NOON, NOON + HOUR)).collect()
    assert set(rows["session_id"]) == {b"a" * 16, b"c" * 16, None}


# --- queries ---

QUERY = """SELECT seq AS progress_id, 1 AS user_id, 'reading' AS task_type, FROM_UNIXTIME(seq * 3600) AS completed_at
    FROM seq_483800_to_483899 WHERE seq * 3600 >= TIMESTAMPDIFF(SECOND, TIMESTAMP'1970-01-01 00:00:00', {start})
    AND FROM_UNIXTIME(seq * 3600) < {end} AND 'a%sb' LIKE '%'; """


def test_a_query_gets_its_window(opened: Opener) -> None:
    source = opened(user_progress=MappedTable(query=QUERY))
    start = datetime.fromtimestamp(483810 * 3600, UTC)
    assert source.scan(PROGRESS, Window(start, start + 2 * HOUR)).collect()["progress_id"].to_list() == [483810, 483811]
    assert source.scan(PROGRESS).collect().height == 100


def test_a_wrong_query_is_named_by_file_table_and_key(opened: Opener) -> None:
    message = fault(opened(cohorts=MappedTable(query="SELECT absent")), "cohorts")
    assert (
        "mapping own.yaml: table cohorts, query cannot be read (Unknown column 'absent' in 'SELECT')"
        in message.replace("'field list'", "'SELECT'")
    )


def test_an_error_within_rows_cites_none_of_them(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        "CREATE TABLE people AS SELECT 'ada@example.org' AS mail",
        """CREATE FUNCTION checked(mail text) RETURNS int DETERMINISTIC
            BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = mail; RETURN 1; END""",
        f"GRANT EXECUTE ON `{mariadb.name}`.* TO {READER}@localhost",
    )
    message = fault(opened(cohorts=MappedTable(query="SELECT checked(mail) AS cohort_id FROM people")), "cohorts")
    assert "query cannot be read (error 1644, see the server log)" in message


def test_a_failure_leaves_the_source_usable(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(SCHEMA[0])
    source = opened(cohorts=MappedTable(query="SELECT nothing"))
    fault(source, "cohorts")
    assert source.scan(USERS).collect().height == 0


# --- one snapshot, read only ---


def test_all_tables_are_of_one_instant(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(*SCHEMA)
    source = opened()
    source.scan(USERS)
    mariadb.execute("INSERT INTO cohorts (cohort_id) VALUES (1)")
    assert source.scan(COHORTS).collect().height == 0
    assert opened().scan(COHORTS).collect().height == 1


def test_a_write_fails_in_the_session(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(
        "CREATE TABLE written (n int)",
        """CREATE FUNCTION written() RETURNS int DETERMINISTIC MODIFIES SQL DATA
            BEGIN INSERT INTO written VALUES (1); RETURN 1; END""",
        f"GRANT EXECUTE, INSERT ON `{mariadb.name}`.* TO {READER}@localhost",
    )
    message = fault(opened(cohorts=MappedTable(query="SELECT written() AS cohort_id")), "cohorts")
    assert "Cannot execute statement in a READ ONLY transaction" in message


def test_a_change_of_the_schema_does_not_wait_for_a_source(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(*SCHEMA)
    source = opened()
    source.scan(USERS)
    mariadb.execute("SET lock_wait_timeout = 1", "ALTER TABLE users ADD COLUMN nickname text", "DROP TABLE users")


def test_a_closed_source_leaves_no_session(mariadb: MariaDb) -> None:
    mariadb.execute(*SCHEMA)
    with closing(MySqlSource(mariadb.address)) as source:
        source.scan(USERS)
        assert len(sessions(mariadb)) == 1
    assert wait_for(lambda: sessions(mariadb) == [])


def sessions(mariadb: MariaDb) -> list[int]:
    with closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = database() AND user = '{READER}'"  # noqa: S608
        )
        return [row[0] for row in cursor.fetchall()]


def wait_for(is_so: Callable[[], bool]) -> bool:
    # The server notices a closed connection by itself, soon.
    return any(is_so() for _ in range(1000))


def test_a_connection_that_is_lost_is_one_line(mariadb: MariaDb, opened: Opener) -> None:
    mariadb.execute(*SCHEMA)
    source = opened()
    assert source.tables()
    mariadb.execute(*(f"KILL {one}" for one in sessions(mariadb)))
    assert "table users cannot be read (the connection was lost). Run again when" in fault(source, "users")
    assert source.scan(USERS).collect().height == 0


def test_a_temporary_folder_that_is_full_is_named(
    mariadb: MariaDb, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mariadb.execute("CREATE TABLE cohorts AS SELECT seq AS cohort_id FROM seq_1_to_120000")
    source = opened()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert "set TMPDIR to a folder on another disk" in fault(source, "cohorts")
    assert wait_for(lambda: sessions(mariadb) == [])


def test_no_right_to_a_column_is_named(mariadb: MariaDb) -> None:
    reader = f"r{mariadb.name[-20:]}"
    mariadb.execute(
        "CREATE TABLE cohorts AS SELECT 1 AS cohort_id, 'k' AS cohort_key",
        f"CREATE USER {reader}@localhost",
        f"GRANT SELECT (cohort_id) ON cohorts TO {reader}@localhost",
    )
    try:
        location = mariadb.address.replace(f"{READER}:{quote(PASSWORD, safe='')}@", f"{reader}@")
        with closing(MySqlSource(location)) as source:
            message = fault(source, "cohorts")
    finally:
        mariadb.execute(f"DROP USER {reader}@localhost")
    assert "SELECT command denied to user" in message


# --- connecting ---


def refused(address: str) -> str:
    with pytest.raises(SourceError) as raised:
        open_source(address)
    shown = "".join(traceback.format_exception(raised.value))
    for part in (PASSWORD, quote(PASSWORD, safe=""), "s3cr3t"):
        assert part not in shown
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_password_of_special_characters_is_accepted(mariadb: MariaDb) -> None:
    with closing(open_source(mariadb.over_tcp.replace("mysql://", "mariadb://"))) as source:
        assert source.name == f"source mysql://{READER}@localhost:{mariadb.port}/{mariadb.name}"
        assert source.tables() == set()


def test_a_wrong_password_is_one_line_without_it(mariadb: MariaDb) -> None:
    message = refused(mariadb.address.replace("@/", "wrong@/"))
    assert f"cannot connect (Access denied for user '{READER}'@'localhost'" in message


def test_a_wrong_database_is_one_line_without_the_password(mariadb: MariaDb) -> None:
    assert "Unknown database 'nowhere'" in refused(replace(mariadb, name="nowhere").address)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_wrong_host_is_one_line_without_the_password(host: str) -> None:
    message = refused(f"mysql://{READER}:{quote(PASSWORD, safe='')}@{host}/db")
    assert message.startswith(f"source mysql://{READER}@{host}/db: cannot connect (Can't connect to MySQL server")


@pytest.mark.parametrize(
    "rest",
    [
        ":s3cr3t@x@host/db",
        ":s3cr3t/x@host/db",
        ":s3cr3t%zz@host/db",
        ":s3cr3t@host",
        ":s3cr3t@a,b/db",
        ":s3cr3t@host/db?s3cr3t=1",
        ":s3cr3t@host/db?time-zone=s3cr3t",
        ":s3cr3t@host/db?ssl-mode=s3cr3t",
        ":s3cr3t@host/db?ssl-ca=s3cr3t",
    ],
)
def test_a_malformed_address_is_refused_without_its_password(rest: str) -> None:
    assert refused(f"mysql://{READER}{rest}").startswith("source mysql://…: the address is malformed. ")


def cipher(source: MySqlSource) -> str:
    with source._reading("cohorts") as cursor:  # noqa: SLF001 - the session itself
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return str(cursor.fetchall()[0][1])


@pytest.mark.parametrize("mode", ["PREFERRED", "required", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_a_connection_is_encrypted(mode: str, mariadb: MariaDb) -> None:
    ca = f"&ssl_ca={quote(str(mariadb.certificate), safe='')}" if mode.startswith("VERIFY") else ""
    with closing(MySqlSource(f"{mariadb.over_tcp}?ssl-mode={mode}{ca}")) as source:
        assert cipher(source) != ""


def test_a_connection_is_encrypted_if_the_server_offers_it(mariadb: MariaDb) -> None:
    with closing(MySqlSource(mariadb.over_tcp)) as source:
        assert cipher(source) != ""


def test_encryption_can_be_turned_off(mariadb: MariaDb) -> None:
    with closing(MySqlSource(f"{mariadb.over_tcp}?ssl-mode=DISABLED")) as source:
        assert cipher(source) == ""


def test_a_server_without_snapshots_is_one_line_and_no_session(
    mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghost_pipeline.sources.mysql.SESSION", ("START TRANSACTION WITH CONSISTENT PICTURE",))
    assert "the server refuses a read-only transaction with a consistent snapshot (" in refused(mariadb.address)
    assert wait_for(lambda: sessions(mariadb) == [])


def test_a_certificate_that_no_authority_signed_is_refused(mariadb: MariaDb) -> None:
    assert "certificate verify failed" in refused(f"{mariadb.over_tcp}?ssl-mode=VERIFY_CA")


def test_a_certificate_of_another_host_is_refused(mariadb: MariaDb) -> None:
    ca = quote(str(mariadb.certificate), safe="")
    address = mariadb.over_tcp.replace("localhost", "127.0.0.1")
    assert "certificate verify failed" in refused(f"{address}?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}")
