"""PostgreSQL as a source, on a real server: one snapshot, read only, and every value as validation expects it."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.settings import MAX_TASK_MINUTES, Settings
from ghost_pipeline.sources.mapping import MappedTable, SourceMapping
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.postgres import PostgresSource
from ghost_pipeline.sources.source import Window, domains
from ghost_pipeline_tests.sources.servers import PASSWORD, READER, SCHEMA, Database, fill_sqlite

USERS, COHORTS, PROGRESS = (SOURCE_TABLES[name] for name in ("users", "cohorts", "user_progress"))
KEYSTROKES = SOURCE_TABLES["session_keystrokes"]
ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ZONES = [timezone(timedelta(hours=hours)) for hours in (-12, -5, 0, 5.5, 14)]

Opener = Callable[..., PostgresSource]


@pytest.fixture
def opened(database: Database) -> Iterator[Opener]:
    """Opens the database of the test, with a mapping where one is given, and closes it."""
    sources: list[PostgresSource] = []

    def open_one(**tables: MappedTable) -> PostgresSource:
        sources.append(PostgresSource(database.address, SourceMapping(Path("own.yaml"), tables)))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


SESSIONS_OPEN = """SELECT count(*)::text AS cohort_id FROM pg_stat_activity
    WHERE application_name = 'ghost_pipeline' AND datname = current_database()"""


def fault(source: PostgresSource, table: str) -> str:
    with pytest.raises(SourceError) as raised:
        source.scan(SOURCE_TABLES[table])
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- what is there ---


def test_the_schema_of_an_application_needs_no_mapping(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA)
    source = opened()
    assert domains(source) == {Domain.GHOST, Domain.NGRAMS}
    assert "session_ngram_speed" not in source.tables()


def test_a_domain_that_is_absent_is_no_fault(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA[:3])
    assert domains(opened()) == {Domain.GHOST}


def test_a_missing_table_says_how_to_add_one_to_a_database(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA[:2])
    with pytest.raises(
        SourceError, match=r"table user_progress is missing, .* Create user_progress as tables or views"
    ):
        domains(opened())


def test_a_view_is_a_table(database: Database, opened: Opener) -> None:
    database.execute("CREATE VIEW cohorts AS SELECT 'c1' AS cohort_id")
    assert opened().scan(COHORTS).collect().rows() == [("c1",)]


def test_tables_are_found_by_the_search_path(database: Database) -> None:
    database.execute(
        "CREATE SCHEMA app",
        "CREATE TABLE app.cohorts (cohort_id text)",
        "INSERT INTO app.cohorts VALUES ('of app')",
        "CREATE TABLE public.cohorts (cohort_id text)",
    )
    with closing(open_source(f"{database.address}&options=-csearch_path%3Dapp")) as source:
        assert source.scan(COHORTS).collect().rows() == [("of app",)]


def test_a_missing_required_column_is_named(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE cohorts (id text)")
    assert "table public.cohorts: table cohorts lacks the column cohort_id (it has id)" in fault(opened(), "cohorts")


def test_missing_optional_columns_are_left_out(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE cohorts (cohort_id text, secret text)")
    assert opened().scan(COHORTS).collect_schema().names() == ["cohort_id"]


# --- values ---

VALUES = [
    ("uuid", f"'{ID}'", "user_id", ID),
    ("bigint", "7", "user_id", "7"),
    ("bytea", f"decode('{ID.replace('-', '')}', 'hex')", "user_id", ID),
    ("name", "'u1'", "user_id", "u1"),
    ("numeric(3,1)", "5.3", "diagnostic_score", 5.3),
    ("numeric", "'NaN'", "diagnostic_score", None),
    ("double precision", "'NaN'", "diagnostic_score", None),
    ("double precision", "'infinity'", "diagnostic_score", "diagnostic_score is not finite"),
    ("numeric", "1e400", "diagnostic_score", "diagnostic_score is not finite"),
    ("real", "5.3", "diagnostic_score", 5.3),
    ("double precision", "5.3", "diagnostic_score", 5.3),
    ("smallint", "6", "diagnostic_score", 6.0),
    ("text", "' 5.5 '", "diagnostic_score", 5.5),
    ("text", "'good'", "diagnostic_score", "diagnostic_score is not a number"),
    ("numeric", "NULL", "diagnostic_score", None),
    ("interval", "'5 hours'", "diagnostic_score", "diagnostic_score is not a number"),
    ("timestamptz", "'2025-03-12 13:00+01'", "created_at", NOON),
    ("timestamp", "'2025-03-12 12:00'", "created_at", NOON),
    ("timestamp(6)", "'2025-03-12 12:00:00.000001'", "created_at", NOON + timedelta(microseconds=1)),
    ("date", "'2025-03-12'", "created_at", datetime(2025, 3, 12, tzinfo=UTC)),
    ("text", "'2025-03-12T13:00:00+01:00'", "created_at", NOON),
    ("timestamptz", "'infinity'", "created_at", "created_at is outside 1970 to 2199"),
    ("timestamp", "'-infinity'", "created_at", "created_at is outside 1970 to 2199"),
    ("timestamp", "'200000-01-01'", "created_at", "created_at is outside 1970 to 2199"),
    ("date", "'infinity'", "created_at", "created_at is outside 1970 to 2199"),
    ("timestamptz", "NULL", "created_at", "created_at is missing"),
    ("bigint", "1741780800", "created_at", "created_at is not a time"),
    ("time", "'12:00'", "created_at", "created_at is not a time"),
    ("boolean", "true", "cohort_excluded", True),
    ("integer", "1", "cohort_excluded", True),
    ("text", "'no'", "cohort_excluded", False),
    ("char(5)", "'UTC'", "timezone", "UTC"),
    ("jsonb", """'{"a": 1}'""", "timezone", '{"a": 1}'),
    ("text[]", "'{a,b}'", "timezone", "{a,b}"),
]


@pytest.mark.parametrize(("own", "literal", "column", "expected"), VALUES)
def test_a_value_is_read_or_costs_its_row(
    own: str, literal: str, column: str, expected: object, database: Database, opened: Opener
) -> None:
    others = {name: f"'{value}'" for name, value in (("user_id", "u1"), ("created_at", "2025-01-01")) if name != column}
    given = {**others, column: f"({literal})::{own}"}
    values = ", ".join(f"{value} AS {name}" for name, value in given.items())
    database.execute(f"CREATE TABLE users AS SELECT {values}")
    (row,) = read_rows(opened().scan(USERS), USERS).collect().iter_rows(named=True)
    assert (row[REASON] or row[column]) == expected


def test_a_bad_value_costs_its_row_alone(database: Database, opened: Opener) -> None:
    database.execute(
        "CREATE TABLE users (user_id text, created_at timestamptz)",
        "INSERT INTO users VALUES ('u1', 'infinity'), ('u2', '2025-01-01'), (NULL, '2025-01-01')",
    )
    reasons = read_rows(opened().scan(USERS), USERS).sort("user_id", nulls_last=True).collect()[REASON].to_list()
    assert reasons == ["created_at is outside 1970 to 2199", None, "user_id is missing"]


@pytest.mark.parametrize(
    ("minutes", "ms"), [("interval '90 seconds'", 90_000), ("1.5", 90_000), ("'1.5'::text", 90_000)]
)
def test_minutes_of_any_type_are_minutes(minutes: str, ms: int, database: Database, opened: Opener) -> None:
    database.execute(
        f"""CREATE TABLE user_progress AS SELECT 'p' AS progress_id, 'u' AS user_id, 'reading' AS task_type,
            now() AS completed_at, {minutes} AS time_spent_minutes"""
    )
    assert read_rows(opened().scan(PROGRESS), PROGRESS, MAX_TASK_MINUTES).collect()["time_spent_ms"].to_list() == [ms]


def test_an_interval_is_milliseconds_where_they_are_asked_for(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE keyboards AS SELECT 'k' AS keyboard_id, 'u' AS user_id, "
                     "interval '0.35 s' AS target_ms_per_keystroke")  # fmt: skip
    assert opened().scan(SOURCE_TABLES["keyboards"]).collect()["target_ms_per_keystroke"].to_list() == [350.0]


def test_a_typed_space_stays_a_space(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA, f"INSERT INTO session_keystrokes VALUES ('{ID}', 0, now(), ' ', 'e', 0)")  # noqa: S608
    assert opened().scan(KEYSTROKES).collect()["keystroke_char"].to_list() == [" "]


def test_an_enum_and_a_domain_are_their_text(database: Database, opened: Opener) -> None:
    database.execute(
        "CREATE TYPE task AS ENUM ('reading')",
        "CREATE DOMAIN moment AS timestamptz",
        """CREATE TABLE user_progress AS SELECT 'p' AS progress_id, 'u' AS user_id, 'reading'::task AS task_type,
            '2025-03-12 12:00Z'::moment AS completed_at""",
    )
    row = read_rows(opened().scan(PROGRESS), PROGRESS, MAX_TASK_MINUTES).collect().row(0, named=True)
    assert (row["task_type"], row["completed_at"], row[REASON]) == ("reading", NOON, None)


def test_text_is_utf_8_whatever_the_client_is_set_to(
    database: Database, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE cohorts AS SELECT U&'\\20AC 1' AS cohort_id")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert opened().scan(COHORTS).collect().rows() == [("€ 1",)]


def test_a_time_without_a_zone_is_utc_whatever_the_server_is_set_to(database: Database, opened: Opener) -> None:
    database.execute(
        f"ALTER DATABASE {database.name} SET timezone TO 'Asia/Tokyo'",
        f"ALTER DATABASE {database.name} SET datestyle TO 'German'",
        "CREATE TABLE user_progress (progress_id text, user_id text, task_type text, completed_at timestamp)",
        "INSERT INTO user_progress VALUES ('p', 'u', 'reading', '2025-03-12 12:00')",
    )
    assert opened().scan(PROGRESS, Window(NOON, NOON + HOUR)).collect().height == 1


def test_many_batches_are_all_there(database: Database, opened: Opener) -> None:
    database.execute(
        "CREATE TABLE cohorts AS SELECT repeat('x', 100) || g AS cohort_id FROM generate_series(1, 300000) g"
    )
    assert opened().scan(COHORTS).select(pl.col("cohort_id").n_unique()).collect().item() == 300_000


def test_a_table_without_rows_has_its_columns(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA)
    frame = opened().scan(USERS).collect()
    assert (frame.height, frame.width) == (0, len(USERS.columns))


# --- windows ---


def with_progress(database: Database, own: str, *times: str | None) -> None:
    literals = ["NULL" if time is None else f"'{time}'" for time in times]
    rows = ", ".join(f"('p{number}', {literal})" for number, literal in enumerate(literals))
    database.execute(
        "DROP TABLE IF EXISTS user_progress",
        f"CREATE TABLE user_progress (progress_id text, user_id text, task_type text, completed_at {own})",
        f"INSERT INTO user_progress (progress_id, completed_at) VALUES {rows}",  # noqa: S608 - literals
    )


@pytest.mark.parametrize("own", ["timestamptz", "timestamp", "date"])
def test_a_window_holds_its_start_and_not_its_end(own: str, database: Database, opened: Opener) -> None:
    with_progress(database, own, "2025-03-11", "2025-03-12", "2025-03-13", "2025-03-14")
    day = datetime(2025, 3, 12, tzinfo=UTC)
    rows = opened().scan(PROGRESS, Window(day, day + timedelta(days=2))).collect()
    assert sorted(rows["progress_id"]) == ["p1", "p2"]


def test_a_window_without_a_start_reads_from_the_beginning(database: Database, opened: Opener) -> None:
    with_progress(database, "timestamptz", "1999-01-01", "2025-03-11", "2025-03-12")
    rows = opened().scan(PROGRESS, Window(None, datetime(2025, 3, 12, tzinfo=UTC))).collect()
    assert sorted(rows["progress_id"]) == ["p0", "p1"]


@pytest.mark.parametrize(
    ("own", "times"),
    [
        ("timestamptz", (None, "infinity", "1969-01-01", "2200-01-01")),
        ("text", (None, "yesterday", "12.03.2025", "")),
    ],
)
def test_a_row_that_tells_no_place_lies_in_every_window(
    own: str, times: tuple[str | None, ...], database: Database, opened: Opener
) -> None:
    with_progress(database, own, *times, "2025-03-01")
    rows = opened().scan(PROGRESS, Window(NOON, NOON + HOUR)).collect()
    assert sorted(rows["progress_id"]) == ["p0", "p1", "p2", "p3"]


TIMES = st.one_of(
    st.none(),
    st.sampled_from(["", "soon", "infinity", "1969-12-31", "1970-01-01T12:00+14:00", "2200-01-01"]),
    st.datetimes(datetime(2025, 3, 9), datetime(2025, 3, 16), timezones=st.sampled_from(ZONES)).map(datetime.isoformat),  # noqa: DTZ001 - the zones are drawn
)


@given(times=st.lists(TIMES, min_size=1, max_size=12), first=st.integers(-72, 72), length=st.integers(1, 48))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_window_gives_what_filtering_everything_gives(
    times: list[str | None], first: int, length: int, database: Database
) -> None:
    with_progress(database, "text", *times)
    same_within(database.address, Window(NOON + first * HOUR, NOON + (first + length) * HOUR))


@given(times=st.lists(TIMES, min_size=1, max_size=12), first=st.integers(-72, 72), length=st.integers(1, 48))
@settings(deadline=None)
def test_a_window_of_sqlite_gives_what_filtering_everything_gives(
    times: list[str | None], first: int, length: int
) -> None:
    columns = ("progress_id", "user_id", "task_type", "completed_at")
    rows = [(f"p{number}", None, None, time) for number, time in enumerate(times)]
    with TemporaryDirectory() as folder:
        table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
        file = fill_sqlite(Path(folder) / "app.db", tables={"user_progress": table})
        same_within(f"sqlite:///{file}", Window(NOON + first * HOUR, NOON + (first + length) * HOUR))


def same_within(address: str, window: Window) -> None:
    with closing(open_source(address)) as source:
        assert within(source.scan(PROGRESS, window), window) == within(source.scan(PROGRESS), window)


def within(rows: pl.LazyFrame, window: Window) -> list[str]:
    """The rows that a run of the window takes in or sets aside."""
    time = pl.col("completed_at")
    found = read_rows(rows, PROGRESS, MAX_TASK_MINUTES).filter(
        time.is_null() | time.is_between(window.start, window.end, closed="left")
    )
    return sorted(found.collect()["progress_id"])


def test_times_as_text_are_windowed_by_days_around(database: Database, opened: Opener) -> None:
    with_progress(database, "text", "2025-03-12T23:30:00-12:00", "2025-03-13T11:30:00Z", "2025-02-01", "2025-04-01")
    rows = opened().scan(PROGRESS, Window(NOON + 23 * HOUR, NOON + 24 * HOUR)).collect()
    assert sorted(rows["progress_id"]) == ["p0", "p1"]


def test_numbers_that_are_no_times_lie_in_every_window(database: Database, opened: Opener) -> None:
    with_progress(database, "bigint", "1741780800")
    assert opened().scan(PROGRESS, Window(NOON, NOON + HOUR)).collect().height == 1


@pytest.mark.parametrize("own", ["uuid", "text"])
def test_rows_of_sessions_are_windowed_by_the_start_of_their_session(
    own: str, database: Database, opened: Opener
) -> None:
    ids = {name: ID[:-1] + name for name in "abc"}
    database.execute(
        *SCHEMA,
        f"ALTER TABLE session_keystrokes ALTER session_id TYPE {own}",
        *(
            f"INSERT INTO practice_sessions (session_id, start_time) VALUES ('{ids[name]}', {start})"  # noqa: S608
            for name, start in (("a", "'2025-03-12 12:30'"), ("b", "'2025-03-12 13:00'"), ("c", "NULL"))
        ),
        *(f"INSERT INTO session_keystrokes (session_id, key_index) VALUES ('{one}', 0)" for one in ids.values()),  # noqa: S608
        "INSERT INTO session_keystrokes (session_id, key_index) VALUES (NULL, 1)",
    )
    rows = opened().scan(KEYSTROKES, Window(NOON, NOON + HOUR)).collect()
    assert set(rows["session_id"]) == {ids["a"], ids["c"], None}


def test_versions_have_no_window(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id, '1999-01-01'::timestamptz AS created_at")
    assert opened().scan(COHORTS, Window(NOON, NOON + HOUR)).collect().height == 1


def test_another_window_is_read_anew(database: Database, opened: Opener) -> None:
    with_progress(database, "timestamptz", "2025-03-12 12:30Z", "2025-03-12 13:30Z")
    source = opened()
    found = [source.scan(PROGRESS, Window(NOON + n * HOUR, NOON + (n + 1) * HOUR)) for n in range(2)]
    assert [frame.collect()["progress_id"].to_list() for frame in found] == [["p0"], ["p1"]]


# --- mapping ---


def test_own_names_of_any_spelling_are_mapped(database: Database, opened: Opener) -> None:
    database.execute(
        'CREATE SCHEMA "My.App"',
        """CREATE TABLE "My.App"."Co""horts; DROP" ("The ID" text, cohort_id text, "key'" text)""",
        """INSERT INTO "My.App"."Co""horts; DROP" VALUES ('c1', 'not this', 'k')""",
    )
    table = MappedTable(table='"My.App"."Co""horts; DROP"', columns={"cohort_id": "The ID", "cohort_key": "key'"})
    assert opened(cohorts=table).scan(COHORTS).collect().to_dicts() == [{"cohort_id": "c1", "cohort_key": "k"}]


def test_a_mapped_table_that_is_not_there_is_named_with_its_key(opened: Opener) -> None:
    message = fault(opened(cohorts=MappedTable(table="app.groups")), "cohorts")
    assert message.startswith("mapping own.yaml: table cohorts, table: source postgresql://postgres@")
    assert "has no table or view app.groups" in message


def test_a_mapped_column_that_is_not_there_is_named_with_its_key(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE groups (id text)")
    message = fault(opened(cohorts=MappedTable(table="groups", columns={"cohort_id": "ID"})), "cohorts")
    assert message.startswith(
        "mapping own.yaml: table cohorts, columns.cohort_id: the table has no column ID (it has id)"
    )


@pytest.mark.parametrize("name", ["a.b.c", 'a."b', ".a", "a."])
def test_what_is_no_name_is_refused(name: str, opened: Opener) -> None:
    assert f"table cohorts, table: {name} is not a valid name" in fault(
        opened(cohorts=MappedTable(table=name)), "cohorts"
    )


def test_a_query_gives_a_table(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE orders (person int, finished timestamp)", "INSERT INTO orders VALUES (1, now())")
    query = """SELECT person || '-' || finished AS progress_id, person AS user_id, 'reading' AS task_type,
        finished AS completed_at FROM orders; -- every order is a task"""
    with pytest.raises(SourceError, match="query cannot be read"):
        opened(user_progress=MappedTable(query=query)).scan(PROGRESS)
    rows = opened(user_progress=MappedTable(query=query.replace(";", ""))).scan(PROGRESS).collect()
    assert (rows["user_id"].to_list(), rows["task_type"].to_list()) == ([1], ["reading"])


QUERY = """SELECT g::text AS progress_id, 'u' AS user_id, 'reading' AS task_type,
    '2025-03-12Z'::timestamptz + g * interval '1 hour' AS completed_at,
    ({start}) || '' AS time_spent_minutes
    FROM generate_series(0, 23) g WHERE '{}' = '{}' AND '2025-03-12Z'::timestamptz + g * interval '1 hour' < {end}"""


def test_a_query_gets_its_window_as_parameters(opened: Opener) -> None:
    source = opened(user_progress=MappedTable(query=QUERY))
    rows = source.scan(PROGRESS, Window(NOON, NOON + 2 * HOUR)).collect()
    assert set(rows["progress_id"]) == {"12", "13"}
    assert set(rows["time_spent_minutes"]) == {"2025-03-12 12:00:00+00"}


def test_a_query_without_a_window_gives_all(opened: Opener) -> None:
    assert opened(user_progress=MappedTable(query=QUERY)).scan(PROGRESS).collect().height == 24


def test_a_wrong_query_is_named_by_file_table_and_key(opened: Opener) -> None:
    message = fault(opened(cohorts=MappedTable(query="SELECT nothing")), "cohorts")
    assert 'mapping own.yaml: table cohorts, query cannot be read (column "nothing" does not exist)' in message


def test_an_error_within_rows_cites_none_of_them(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE people (mail text)", "INSERT INTO people VALUES ('ada@example.org')")
    source = opened(cohorts=MappedTable(query="SELECT mail::int AS cohort_id FROM people"))
    message = fault(source, "cohorts")
    assert "query cannot be read (invalid input syntax for type integer)" in message
    assert "ada" not in message


@pytest.mark.parametrize("code", ["P0001", "22P02"])
def test_an_error_that_a_function_raises_cites_no_row(code: str, database: Database, opened: Opener) -> None:
    database.execute(
        f"""CREATE FUNCTION checked(mail text) RETURNS text LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'no cohort for %', mail USING ERRCODE = '{code}'; END $$""",
    )
    source = opened(cohorts=MappedTable(query="SELECT checked('ada' || '@example.org') AS cohort_id"))
    assert "ada" not in fault(source, "cohorts")
    with pytest.raises(SourceError) as raised:
        source.part_versions(SOURCE_TABLES["cohorts"])
    assert "ada" not in str(raised.value)


def test_a_failure_leaves_the_source_usable(database: Database, opened: Opener) -> None:
    database.execute("CREATE TABLE users (user_id text, created_at timestamptz)")
    source = opened(cohorts=MappedTable(query="SELECT 1 / (g - 200000) AS cohort_id FROM generate_series(1, 300000) g"))
    assert "query cannot be read (division by zero)" in fault(source, "cohorts")
    assert source.scan(USERS).collect().height == 0


# --- one snapshot, read only ---


def test_all_tables_are_of_one_instant(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA)
    source = opened()
    source.scan(USERS)
    database.execute("INSERT INTO cohorts (cohort_id) VALUES (gen_random_uuid())")
    assert source.scan(COHORTS).collect().height == 0
    assert opened().scan(COHORTS).collect().height == 1


def test_a_write_fails_in_the_session(database: Database, opened: Opener) -> None:
    database.execute(
        "CREATE TABLE written (n int)",
        """CREATE FUNCTION write() RETURNS text VOLATILE LANGUAGE sql AS
            'INSERT INTO written VALUES (1) RETURNING ''c1'''""",
    )
    message = fault(opened(cohorts=MappedTable(query="SELECT write() AS cohort_id")), "cohorts")
    assert "cannot execute INSERT in a read-only transaction" in message


def test_a_table_that_is_dropped_in_between_is_named(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA)
    source = opened()
    assert domains(source) == {Domain.GHOST, Domain.NGRAMS}
    database.execute("DROP TABLE cohorts")
    assert 'table cohorts cannot be read (relation "public.cohorts" does not exist)' in fault(source, "cohorts")


def test_nobody_who_changes_the_schema_waits_for_a_source(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA)
    source = opened()
    source.scan(USERS)
    # SET holds for the session of the same call.
    database.execute("SET lock_timeout TO '1s'", "ALTER TABLE users ADD COLUMN nickname text", "DROP TABLE users")


def test_frames_outlast_their_source(database: Database) -> None:
    database.execute("CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id")
    with closing(PostgresSource(database.address)) as source:
        frame = source.scan(COHORTS)
    assert [frame.collect().height for _ in range(2)] == [1, 1]


def test_a_closed_source_leaves_no_session(database: Database) -> None:
    database.execute(*SCHEMA)
    with closing(PostgresSource(database.address)) as source:
        source.scan(USERS)
    own = SourceMapping(None, {"cohorts": MappedTable(query=SESSIONS_OPEN)})
    with closing(PostgresSource(database.address, own)) as other:
        assert other.scan(COHORTS).collect().rows() == [("1",)]


def test_all_steps_of_a_run_share_one_source(database: Database, tmp_path: Path) -> None:
    of_run = Settings.load(source=database.address, data=tmp_path)
    resources = RunContext.of(of_run)
    first = resources.source.open()
    assert replace(resources, settings=of_run.model_copy()).source.open() is first
    resources.source.close()
    with closing(resources.source.open()) as second:
        assert second is not first


def test_a_connection_that_is_lost_is_one_line(database: Database, opened: Opener) -> None:
    database.execute(*SCHEMA)
    source = opened()
    assert source.tables()
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    for _ in range(2):
        assert "table users cannot be read (the connection was lost). Run again when" in fault(source, "users")


def test_no_right_to_read_is_named(database: Database) -> None:
    database.execute("CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id", f"CREATE ROLE nobody_{database.name} LOGIN")
    try:
        address = database.address.replace("postgres@", f"nobody_{database.name}@")
        with closing(PostgresSource(address)) as source:
            assert "permission denied for table cohorts" in fault(source, "cohorts")
    finally:
        database.execute(f"DROP ROLE nobody_{database.name}")


def test_a_right_to_the_columns_that_are_read_is_enough(database: Database) -> None:
    reader = f"reader_{database.name}"
    database.execute(
        "CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id, 'ada@example.org' AS mail",
        f"CREATE ROLE {reader} LOGIN",
        f"GRANT SELECT (cohort_id) ON cohorts TO {reader}",
    )
    try:
        with closing(PostgresSource(database.address.replace("postgres@", f"{reader}@"))) as source:
            assert source.inspect(COHORTS).rows.collect().rows() == [("c1",)]
    finally:
        database.execute("DROP TABLE cohorts", f"DROP ROLE {reader}")


# --- rows that a policy hides ---


@pytest.fixture
def hidden(database: Database) -> Iterator[tuple[Database, str]]:
    """A table of which a policy shows a role one row of two, and the address as that role."""
    reader = f"reader_{database.name}"
    database.execute(
        "CREATE TABLE cohorts AS SELECT unnest(ARRAY['c1', 'c2']) AS cohort_id",
        f"CREATE ROLE {reader} LOGIN",
        f"GRANT SELECT ON cohorts TO {reader}",
        "ALTER TABLE cohorts ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON cohorts USING (cohort_id = 'c1')",
    )
    try:
        yield database, database.address.replace("postgres@", f"{reader}@")
    finally:
        database.execute(f"DROP OWNED BY {reader} CASCADE", f"DROP ROLE {reader}")


def granted(database: Database, address: str, *statements: str) -> None:
    reader = address.partition("//")[2].partition("@")[0]
    database.execute(*statements, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")


def test_a_table_whose_rows_a_policy_hides_is_named(hidden: tuple[Database, str]) -> None:
    with closing(PostgresSource(hidden[1])) as source:
        message = fault(source, "cohorts")
    assert 'cannot be read (query would be affected by row-level security policy for table "cohorts")' in message
    assert "let it read all of them (ALTER ROLE ... BYPASSRLS), or map the table to a view" in message


def test_the_sample_of_doctor_is_refused_as_well(hidden: tuple[Database, str]) -> None:
    with closing(PostgresSource(hidden[1])) as source, pytest.raises(SourceError, match="row-level security policy"):
        source.inspect(COHORTS)


def test_a_policy_on_the_owner_of_a_table_is_named(hidden: tuple[Database, str]) -> None:
    database, address = hidden
    reader = address.partition("//")[2].partition("@")[0]
    database.execute("ALTER TABLE cohorts FORCE ROW LEVEL SECURITY", f"ALTER TABLE cohorts OWNER TO {reader}")
    with closing(PostgresSource(address)) as source:
        assert "row-level security policy" in fault(source, "cohorts")


def test_a_policy_below_a_query_is_named_with_the_query(hidden: tuple[Database, str]) -> None:
    mapping = SourceMapping(Path("own.yaml"), {"cohorts": MappedTable(query="SELECT cohort_id FROM cohorts")})
    with closing(PostgresSource(hidden[1], mapping)) as source:
        assert "own.yaml: table cohorts, query cannot be read (query would be affected" in fault(source, "cohorts")


def test_a_policy_below_a_view_with_the_rights_of_its_reader_is_named(hidden: tuple[Database, str]) -> None:
    granted(*hidden, "CREATE VIEW groups WITH (security_invoker) AS SELECT * FROM cohorts")
    mapping = SourceMapping(Path("own.yaml"), {"cohorts": MappedTable(table="groups")})
    with closing(PostgresSource(hidden[1], mapping)) as source:
        assert 'row-level security policy for table "cohorts"' in fault(source, "cohorts")


def test_a_view_of_an_owner_who_sees_every_row_gives_every_row(hidden: tuple[Database, str]) -> None:
    granted(*hidden, "CREATE VIEW groups AS SELECT * FROM cohorts")
    mapping = SourceMapping(Path("own.yaml"), {"cohorts": MappedTable(table="groups")})
    with closing(PostgresSource(hidden[1], mapping)) as source:
        assert source.scan(COHORTS).collect().height == 2


def test_a_role_that_no_policy_binds_reads_every_row(hidden: tuple[Database, str]) -> None:
    database, address = hidden
    database.execute(f"ALTER ROLE {address.partition('//')[2].partition('@')[0]} BYPASSRLS")
    with closing(PostgresSource(address)) as source:
        assert source.scan(COHORTS).collect().height == 2


def test_a_column_without_a_right_to_read_is_named(hidden: tuple[Database, str]) -> None:
    database, address = hidden
    reader = address.partition("//")[2].partition("@")[0]
    database.execute(
        "ALTER TABLE cohorts DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE cohorts ADD COLUMN cohort_key text, ADD COLUMN secret text",
        f"REVOKE SELECT ON cohorts FROM {reader}",  # noqa: S608 - our own name
        f"GRANT SELECT (cohort_id) ON cohorts TO {reader}",
    )
    with closing(PostgresSource(address)) as source:
        message = fault(source, "cohorts")
    assert message.endswith(
        "(permission denied for table cohorts). GRANT SELECT on its column cohort_key, and run again"
    )


# --- connecting ---


def refused(address: str) -> str:
    with pytest.raises(SourceError) as raised:
        PostgresSource(address)
    shown = "".join(traceback.format_exception(raised.value))
    for part in (PASSWORD, quote(PASSWORD, safe=""), "s3cr3t"):
        assert part not in shown
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_password_of_special_characters_is_accepted(database: Database) -> None:
    with closing(PostgresSource(f"{database.with_password}&sslmode=prefer")) as source:
        assert source.name == f"source postgresql://{READER}@{database.socket}/{database.name}"
        assert source.tables() == set()


def test_a_wrong_password_is_one_line_without_it(database: Database) -> None:
    message = refused(database.with_password.replace("@/", "wrong@/"))
    assert message.startswith(f"source postgresql://{READER}@{database.socket}/{database.name}: cannot connect (")
    assert f'password authentication failed for user "{READER}"' in message


def test_a_wrong_database_is_one_line_without_the_password(database: Database) -> None:
    message = refused(database.with_password.replace(database.name, "nowhere"))
    assert 'database "nowhere" does not exist' in message


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_wrong_host_is_one_line_without_the_password(host: str) -> None:
    message = refused(f"postgresql://{READER}:{quote(PASSWORD, safe='')}@{host}/db")
    assert message.startswith(f"source postgresql://{READER}@{host}/db: cannot connect (")


@pytest.mark.parametrize(
    "rest", [":s3cr3t@x@host/db", ":s3cr3t/x@host/db", ":s3cr3t?x@host/db", ":s3cr3t#x@host/db", ":s3cr3t%zz@host/db"]
)
def test_a_password_that_is_not_encoded_is_refused_without_it(rest: str) -> None:
    assert "the address is malformed" in refused(f"postgresql://{READER}{rest}")


def test_a_password_among_the_parameters_is_not_shown() -> None:
    message = refused("postgresql:///db?host=/nowhere&user=s&password=s3cr3t&sslmode=s3cr3t")
    assert 'sslmode value: "***"' in message


def test_the_variables_of_libpq_hold(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOST", str(database.socket)), ("USER", READER), ("DATABASE", database.name)):
        monkeypatch.setenv(f"PG{name}", value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with closing(PostgresSource("postgresql://")) as source:
        assert source.name == f"source postgresql://{READER}@{database.socket}/{database.name}"
    monkeypatch.setenv("PGPASSWORD", "s3cr3t, but wrong")
    assert "password authentication failed" in refused("postgresql://")


def test_nothing_is_kept_beside(
    database: Database, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    database.execute("CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id")
    frame = opened().scan(COHORTS)
    assert list(tmp_path.iterdir()) == []
    assert frame.collect().height == 1


def test_a_temporary_folder_that_cannot_be_written_is_named(
    database: Database, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE cohorts AS SELECT 'c1' AS cohort_id")
    source = opened()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert "set TMPDIR to a folder on another disk" in fault(source, "cohorts")
