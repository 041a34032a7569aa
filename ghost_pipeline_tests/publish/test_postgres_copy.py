"""The specification's tables on a real server: what is made, what is written, what readers see, what is refused."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import polars as pl
import psycopg2  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ghost_pipeline.contracts.specified import (
    OWN_TABLES,
    SPECIFIED_COHORT_GHOST_DATA,
    SPECIFIED_GHOST_BENCHMARKS,
    SPECIFIED_NGRAM_SPEED_SUMMARIES,
    SPECIFIED_TABLES,
    SpecifiedTable,
)
from ghost_pipeline.errors import PublishError
from ghost_pipeline.publish.postgres_copy import published_state, replacing_tables
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.publish.states import (
    BEGIN,
    FIGURES,
    HASH,
    OF_THE_APPLICATION,
    SPECIFICATION,
    ask,
    benchmarks,
    cohorts,
    publish,
    publish_state,
    summaries,
    uuid_of,
    whole,
)
from ghost_pipeline_tests.sources.servers import PASSWORD, Database

SUMMARIES, COHORTS = SPECIFIED_NGRAM_SPEED_SUMMARIES, SPECIFIED_COHORT_GHOST_DATA
PUBLICATIONS = 20
RACES = 20


def refusal(address: str, table: SpecifiedTable = SUMMARIES, rows: pl.DataFrame | None = None) -> str:
    """The one line with which a publication is refused."""
    with pytest.raises(PublishError) as raised:
        publish(address, table, summaries(1) if rows is None else rows)
    message = str(raised.value)
    assert "\n" not in message
    return message


# --- what is made ---

SHAPE = """
    SELECT c.relname || '.' || a.attname AS what,
        concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
            'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)) AS how
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'
    UNION ALL
    SELECT c.relname || ' ' || k.contype::text, string_agg(pg_get_constraintdef(k.oid), '; ' ORDER BY k.conname)
    FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
    WHERE c.relnamespace = %s::regnamespace AND k.contype <> 'n' GROUP BY 1
    UNION ALL
    SELECT c.relname, replace(pg_get_indexdef(c.oid), %s || '.', '')
    FROM pg_class c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'i' AND c.relname LIKE 'idx%%'
"""


def shape(address: str, schema: str) -> dict[str, str]:
    tables = (*SPECIFIED_TABLES, "idx_")
    return {what: how for what, how in ask(address, SHAPE, *[schema] * 4) if what.startswith(tables)}


def test_the_tables_differ_from_the_specification_where_it_is_declared_and_nowhere_else(database: Database) -> None:
    database.execute("CREATE SCHEMA specified", "CREATE SCHEMA made")
    there, here = (f"{database.address}&options=-csearch_path%3D{schema}" for schema in ("specified", "made"))
    connection = psycopg2.connect(there)
    with connection, connection.cursor() as cursor:
        for statement in (*OF_THE_APPLICATION, *SPECIFICATION):
            cursor.execute(statement)
    connection.close()
    publish_state(here, 1)
    specified, made = shape(database.address, "specified"), shape(database.address, "made")
    differing = {what for what in {*specified, *made} if specified.get(what) != made.get(what)}
    declared = {f"{table.name}.{what}" for table in SPECIFIED_TABLES.values() for what, *_ in table.differences}
    constraints = {"cohort_ghost_data u", "cohort_ghost_data f", "ngram_speed_summaries f"}
    assert differing == {one for one in declared if not one.endswith(".constraint")} | constraints
    assert made["cohort_ghost_data u"] == "UNIQUE (cohort_id, snapshot_date, snapshot_hour)"
    assert len(made) > 40


def test_every_table_and_column_made_has_its_comment(database: Database) -> None:
    publish_state(database.address, 1)
    sql = """
        SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NULL
        UNION ALL
        SELECT relname, '' FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND obj_description(oid) IS NULL
    """
    assert ask(database.address, sql) == []


def test_the_tables_lie_in_the_first_schema_of_the_search_path(database: Database) -> None:
    database.execute('CREATE SCHEMA "Own name"')
    publish_state(f"{database.address}&options=-csearch_path%3D%22Own%5C%20name%22", 1)
    sql = "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|inf)' GROUP BY 1"
    assert ask(database.address, sql) == [("Own name", len(SPECIFIED_TABLES) + len(OWN_TABLES))]


def test_a_schema_that_is_not_there_is_named_with_its_remedy(database: Database) -> None:
    message = refusal(f"{database.address}&options=-csearch_path%3Dnowhere")
    assert "the search_path names no existing schema. Create it" in message


# --- what is written ---


def test_a_publication_says_what_it_did(database: Database) -> None:
    publish(database.address, SUMMARIES, summaries(1), hour=1)
    second = pl.concat([summaries(1, ["th"]), summaries(2, ["he"]), summaries(2, ["in"])])
    done = publish(database.address, SUMMARIES, second, hour=2)
    assert (done.rows, done.inserted, done.updated, done.deleted) == (3, 1, 1, 1)
    rows = ask(database.address, "SELECT ngram_text, decaying_average_ms FROM ngram_speed_summaries ORDER BY 1")
    assert rows == [("he", 2.1), ("in", 2.1), ("th", 1.1)]


def test_rows_that_are_the_same_are_not_written_again(database: Database) -> None:
    versions = "SELECT xmin::text::bigint, ctid::text FROM ngram_speed_summaries ORDER BY 2"
    publish(database.address, SUMMARIES, summaries(1))
    before = ask(database.address, versions)
    done = publish(database.address, SUMMARIES, summaries(1), hour=2)
    assert (done.inserted, done.updated, done.deleted) == (0, 0, 0)
    assert ask(database.address, versions) == before


def test_a_figure_that_is_gone_becomes_null(database: Database) -> None:
    publish(database.address, COHORTS, cohorts(1))
    publish(database.address, COHORTS, cohorts(1).with_columns(top_10_percent_tasks=pl.lit(None)))
    assert ask(database.address, "SELECT DISTINCT top_10_percent_tasks FROM cohort_ghost_data") == [(None,)]


def test_a_person_who_is_gone_is_gone(database: Database) -> None:
    both = pl.concat([summaries(1, user="u1"), summaries(1, user="u2")])
    publish(database.address, SUMMARIES, both)
    publish(database.address, SUMMARIES, summaries(1, user="u1"))
    assert ask(database.address, "SELECT DISTINCT user_id FROM ngram_speed_summaries") == [("u1",)]


def test_a_row_that_postgresql_cannot_hold_is_left_out_and_counted(database: Database) -> None:
    done = publish(database.address, SUMMARIES, summaries(1), summaries(1, user="u\0"))
    assert (done.rows, done.not_storable) == (3, 3)
    assert ask(database.address, "SELECT count(*) FROM ngram_speed_summaries") == [(3,)]


def test_what_is_there_is_recorded_in_the_same_transaction(database: Database) -> None:
    publish_state(database.address, 5)
    sql = "SELECT table_name, extract(hour FROM as_of AT TIME ZONE 'UTC')::int, rows FROM ghost_table_info ORDER BY 1"
    assert ask(database.address, sql) == [
        ("cohort_ghost_data", 5, 2),
        ("ghost_benchmarks", 5, 3),
        ("ngram_speed_summaries", 5, 3),
    ]


ROWS = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(1, 3), max_size=6)


@examples(5, 15, suppress=(HealthCheck.function_scoped_fixture,))
@given(states=st.lists(ROWS, min_size=1, max_size=4), size=st.integers(1, 4))
def test_after_any_states_the_table_is_the_last_one(
    states: list[dict[str, int]], size: int, database: Database
) -> None:
    address = f"{database.address}&options=-csearch_path%3D{(schema := f's{uuid4().hex}')}"
    database.execute(f"CREATE SCHEMA {schema}")
    for state in states:
        rows = pl.concat([summaries(0, []), *(summaries(figure, [ngram]) for ngram, figure in state.items())])
        publish(address, SUMMARIES, *rows.iter_slices(size))
    found = ask(address, "SELECT ngram_text, trunc(decaying_average_ms)::int FROM ngram_speed_summaries")
    assert dict(found) == states[-1]
    assert len(found) == len(states[-1])


# --- what readers see, and what stays ---


def test_readers_see_whole_states_while_publications_go_on(database: Database) -> None:
    """In one snapshot all tables show the same state, and never none; nobody waits for a lock."""
    publish_state(database.address, 1)
    seen: list[tuple[object, ...]] = []
    faults: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        connection = psycopg2.connect(database.address)
        try:
            connection.set_session("REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1ms'")
                while not done.is_set():
                    cursor.execute(FIGURES)
                    seen.append(cursor.fetchone())
                    connection.commit()
        except psycopg2.Error as error:
            faults.append(error)
        finally:
            connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for figure in range(2, PUBLICATIONS + 2):
            publish_state(database.address, figure)
    finally:
        done.set()
        reader.join()
    assert faults == []
    states = [whole(figure) for figure in range(1, PUBLICATIONS + 2)]
    assert [one for one in seen if one not in states] == []
    assert sum(state in seen for state in states) > PUBLICATIONS / 2


def test_grants_views_and_triggers_of_the_application_survive(database: Database) -> None:
    publish_state(database.address, 1)
    database.execute(
        "CREATE ROLE app NOLOGIN" if not ask(database.address, "SELECT 1 FROM pg_roles WHERE rolname = 'app'") else "",
        "GRANT SELECT ON ghost_benchmarks TO app",
        "CREATE VIEW best AS SELECT avg_tasks_completed AS tasks FROM ghost_benchmarks WHERE day_number = 1",
        "CREATE TABLE noticed (ngram text)",
        """CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO noticed VALUES (NEW.ngram_text); RETURN NEW; END $$""",
        "CREATE TRIGGER notice AFTER UPDATE ON ngram_speed_summaries FOR EACH ROW EXECUTE FUNCTION notice()",
    )
    identity = "SELECT 'ghost_benchmarks'::regclass::oid, has_table_privilege('app', 'ghost_benchmarks', 'SELECT')"
    before = ask(database.address, identity)
    publish_state(database.address, 2)
    assert ask(database.address, identity) == before
    assert before[0][1]
    assert ask(database.address, "SELECT tasks FROM best") == [(2,)]
    assert ask(database.address, "SELECT count(*) FROM noticed") == [(3,)]
    database.execute("DROP OWNED BY app", "DROP ROLE app")


def test_columns_that_the_application_has_added_stay(database: Database) -> None:
    publish_state(database.address, 1)
    database.execute("ALTER TABLE ghost_benchmarks ADD note text DEFAULT 'ours', ADD seen int")
    database.execute("UPDATE ghost_benchmarks SET seen = 7")
    publish_state(database.address, 2)
    assert ask(database.address, "SELECT DISTINCT avg_tasks_completed, note, seen FROM ghost_benchmarks") == [
        (2, "ours", 7)
    ]


def test_a_column_that_an_earlier_release_did_not_have_is_added_with_its_comment(database: Database) -> None:
    publish_state(database.address, 1)
    database.execute("ALTER TABLE ghost_benchmarks DROP avg_tasks_completed")
    assert published_state(database.address).faults == ()
    publish_state(database.address, 2)
    assert ask(database.address, "SELECT DISTINCT avg_tasks_completed FROM ghost_benchmarks") == [(2,)]
    comment = "SELECT count(*) FROM pg_description WHERE objoid = 'ghost_benchmarks'::regclass"
    assert ask(database.address, comment) == [(1 + len(SPECIFIED_GHOST_BENCHMARKS.names),)]


def test_a_column_that_needs_a_value_is_not_added(database: Database) -> None:
    publish_state(database.address, 1)
    database.execute("ALTER TABLE ghost_benchmarks DROP day_number CASCADE")
    assert any("it lacks day_number" in fault for fault in published_state(database.address).faults)


# --- what fails ---


def test_a_publication_that_a_constraint_stops_leaves_everything_as_it_was(database: Database) -> None:
    publish_state(database.address, 1)
    database.execute(
        "ALTER TABLE ngram_speed_summaries ADD CONSTRAINT quick CHECK (decaying_average_ms < 2 OR user_id <> 'u1')"
    )
    with pytest.raises(PublishError) as raised:
        publish_state(database.address, 2)
    assert str(raised.value).partition(": ")[2] == (
        'replacing ngram_speed_summaries failed (new row for relation "ngram_speed_summaries" violates check '
        'constraint "quick"); the previous rows stay. Correct that and run again'
    )
    assert ask(database.address, FIGURES) == [whole(1)]
    database.execute("ALTER TABLE ngram_speed_summaries DROP CONSTRAINT quick")
    publish_state(database.address, 2)
    assert ask(database.address, FIGURES) == [whole(2)]


def test_a_connection_that_is_lost_in_the_middle_leaves_everything_as_it_was(database: Database) -> None:
    publish_state(database.address, 1)

    def lost() -> Iterator[pl.DataFrame]:
        yield summaries(2)
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'ghost_pipeline' AND datname = current_database()"
        )
        for number in range(100):
            yield summaries(2, (f"{number}-{row}" for row in range(1000)))

    with pytest.raises(
        PublishError, match=r"replacing ngram_speed_summaries failed \(.*\); the previous rows stay\. Run"
    ):
        publish_state(database.address, 2, lost())
    assert ask(database.address, FIGURES) == [whole(1)]
    publish_state(database.address, 2)
    assert ask(database.address, FIGURES) == [whole(2)]


def test_rows_that_cannot_be_read_stop_it_with_their_own_error(database: Database) -> None:
    publish_state(database.address, 1)

    def broken() -> Iterator[pl.DataFrame]:
        yield summaries(2)
        raise PublishError("ghost.duckdb: cannot be read")

    with pytest.raises(PublishError, match=r"^ghost\.duckdb: cannot be read$"):
        publish_state(database.address, 2, broken())
    assert ask(database.address, FIGURES) == [whole(1)]


def test_limits_on_statements_are_for_the_application(database: Database) -> None:
    publish_state(database.address, 1)
    database.execute(
        """CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$""",
        "CREATE TRIGGER wait AFTER UPDATE ON ghost_benchmarks FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    )
    publish_state(
        f"{database.address}&options=-cstatement_timeout%3D500%20-cdefault_transaction_isolation%3Dserializable", 2
    )
    assert ask(database.address, FIGURES) == [whole(2)]


def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(tmp_path: Path) -> None:
    address = f"postgresql://app:{quote(PASSWORD, safe='')}@/app?host={tmp_path}"
    message = refusal(address)
    assert message.startswith(f"postgresql://app@{tmp_path}/app: cannot connect (connection to server on socket")
    assert "GHOST_PUBLISH_POSTGRES" in message
    assert PASSWORD not in message


# --- what is refused ---


def test_rows_of_somebody_else_are_not_deleted(database: Database) -> None:
    database.execute(
        *(statement for statement in SPECIFIED_GHOST_BENCHMARKS.ddl()),
        "INSERT INTO ghost_benchmarks (target_band, starting_skill, day_number) VALUES (7, 6, 1)",
    )
    message = refusal(database.address, SPECIFIED_GHOST_BENCHMARKS, benchmarks(1))
    assert "ghost_benchmarks contains rows that ghost-pipeline did not write; nothing was changed." in message
    assert "run TRUNCATE public.ghost_benchmarks" in message
    assert ask(database.address, "SELECT count(*) FROM ghost_benchmarks") == [(1,)]
    database.execute("TRUNCATE ghost_benchmarks")
    assert publish(database.address, SPECIFIED_GHOST_BENCHMARKS, benchmarks(1)).inserted == 3


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("CREATE TABLE ngram_speed_summaries (id int)", "it lacks summary_id, user_id, "),
        ("CREATE VIEW ngram_speed_summaries AS SELECT 1 AS summary_id", "it is not a table; it lacks user_id, "),
        ("CREATE TABLE ghost_table_info (name text)", "ghost_table_info does not match .*; it lacks table_name"),
    ],
)
def test_a_table_that_is_another_one_is_left_alone(statement: str, fault: str, database: Database) -> None:
    database.execute(statement)
    message = refusal(database.address)
    assert "does not match docs/postgres_tables.md (" in message
    assert fault.rpartition("; ")[2] in message
    assert ask(database.address, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND "
               "relkind IN ('r', 'v')") == [(1,)]  # fmt: skip


def test_a_column_that_needs_a_value_is_named(database: Database) -> None:
    database.execute(*SUMMARIES.ddl(), "ALTER TABLE ngram_speed_summaries ADD tenant int NOT NULL")
    assert "(it needs values for tenant)" in refusal(database.address)


def test_the_specifications_own_ddl_will_do_where_the_rows_fit(database: Database) -> None:
    database.execute(*OF_THE_APPLICATION, *SPECIFICATION)
    cohort = uuid_of("a cohort")
    database.execute(
        f"INSERT INTO cohorts VALUES ('{cohort}')",  # noqa: S608 - our own id
        "INSERT INTO users VALUES ('u1')",
        "INSERT INTO keyboards VALUES ('k1')",
    )
    for hour in (1, 2):
        publish(database.address, COHORTS, cohorts(hour, [cohort]), hour=hour)
        done = publish(database.address, SUMMARIES, summaries(1), hour=hour)
    assert (done.inserted, done.updated, done.deleted) == (0, 0, 0)
    assert ask(database.address, "SELECT cohort_id::text, snapshot_hour FROM cohort_ghost_data") == [(cohort, 2)]


@pytest.mark.parametrize(
    ("figure", "name", "fault"),
    [
        (1, "ada@example.org", "SQLSTATE 22P02, a value cannot be converted"),
        (1000, None, "SQLSTATE 22003, a number is too large for its column"),
    ],
)
def test_a_row_that_the_specifications_ddl_cannot_hold_is_told_without_its_values(
    figure: int, name: str | None, fault: str, database: Database
) -> None:
    database.execute(*OF_THE_APPLICATION, *SPECIFICATION)
    rows = cohorts(1, [name or uuid_of("a cohort")]).with_columns(avg_tasks_completed=pl.lit(figure))
    message = refusal(database.address, COHORTS, rows)
    assert f"({fault}); the previous rows stay. A column is narrower than docs/postgres_tables.md lists" in message
    assert "ada" not in message


def test_an_older_state_does_not_replace_a_newer_one(database: Database) -> None:
    publish_state(database.address, 2)
    with pytest.raises(PublishError) as raised:
        publish_state(database.address, 1)
    assert (
        "cohort_ghost_data already holds data as of 2025-03-12T02:00Z, newer than this data folder's "
        "2025-03-12T01:00Z. If another data folder publishes there, give each its own schema."
    ) in str(raised.value)
    assert ask(database.address, FIGURES) == [whole(2)]
    going_back = str(raised.value).rpartition("run ")[2]
    database.execute(going_back)
    publish_state(database.address, 1)
    assert ask(database.address, FIGURES) == [whole(1)]


def test_a_data_folder_without_the_domain_does_not_empty_it(database: Database) -> None:
    publish_state(database.address, 2)
    with (
        pytest.raises(PublishError, match="and this data folder has none"),
        replacing_tables(database.address) as tables,
    ):
        tables.replace(SUMMARIES, [summaries(0, [])], None, HASH)
    assert ask(database.address, FIGURES) == [whole(2)]


def test_benchmarks_may_go_back_to_an_earlier_month(database: Database) -> None:
    publish(database.address, SPECIFIED_GHOST_BENCHMARKS, benchmarks(2), hour=2)
    publish(database.address, SPECIFIED_GHOST_BENCHMARKS, benchmarks(1), hour=1)
    assert ask(database.address, "SELECT DISTINCT avg_tasks_completed FROM ghost_benchmarks") == [(1,)]


# --- several at once ---


def test_publications_at_once_follow_one_another(database: Database) -> None:
    faults: list[Exception] = []

    def publish_one(figure: int) -> None:
        try:
            publish(database.address, SUMMARIES, summaries(figure))
        except Exception as error:  # noqa: BLE001 - of a thread, to be shown
            faults.append(error)

    threads = [threading.Thread(target=publish_one, args=(figure,)) for figure in range(1, RACES + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    found = ask(database.address, "SELECT count(*), count(DISTINCT decaying_average_ms) FROM ngram_speed_summaries")
    assert found == [(3, 1)]


def test_publications_into_two_schemas_do_not_wait(database: Database) -> None:
    database.execute("CREATE SCHEMA other")
    with replacing_tables(database.address) as tables:
        tables.replace(SUMMARIES, [summaries(1)], BEGIN, HASH)
        publish(f"{database.address}&options=-csearch_path%3Dother", SUMMARIES, summaries(1))
    assert ask(database.address, "SELECT count(*) FROM other.ngram_speed_summaries") == [(3,)]


# --- what the doctor asks ---


def test_an_empty_database_has_no_faults(database: Database) -> None:
    there = published_state(database.address)
    assert (there.as_of, there.faults) == ({}, ())
    assert ask(database.address, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_what_has_been_published_is_told_with_its_as_of(database: Database) -> None:
    publish_state(database.address, 1)
    there = published_state(database.address)
    assert there.faults == ()
    assert set(there.as_of) == set(SPECIFIED_TABLES)
    assert {as_of.hour for as_of in there.as_of.values() if as_of} == {1}


def test_rights_that_are_missing_are_told(database: Database) -> None:
    publish(database.address, SUMMARIES, summaries(1))
    there = published_state(database.with_password)
    faults = [fault.partition(", schema public: ")[2] for fault in there.faults]
    assert faults == [
        "no right to create ghost_benchmarks. GRANT CREATE ON SCHEMA, or create it",
        "no right to create cohort_ghost_data. GRANT CREATE ON SCHEMA, or create it",
        "no right to INSERT, UPDATE, DELETE on ngram_speed_summaries. Grant it",
        "no right to INSERT, UPDATE, DELETE on ghost_table_info. Grant it",
        "no right to INSERT, UPDATE, DELETE on ghost_publication. Grant it",
    ]
    message = refusal(database.with_password)
    assert "replacing ngram_speed_summaries failed (permission denied for table ngram_speed_summaries)" in message
    assert "grant what docs/postgres_tables.md lists" in message


def test_what_would_be_refused_is_told(database: Database) -> None:
    database.execute(
        "CREATE TABLE ngram_speed_summaries (id int)",
        *SPECIFIED_GHOST_BENCHMARKS.ddl(),
        "INSERT INTO ghost_benchmarks (target_band, starting_skill, day_number) VALUES (7, 6, 1)",
    )
    first, second = published_state(database.address).faults
    assert "ghost_benchmarks contains rows that ghost-pipeline did not write" in first
    assert "ngram_speed_summaries does not match" in second


def test_a_server_that_allows_reading_only_is_told(database: Database) -> None:
    (fault,) = published_state(f"{database.address}&options=-cdefault_transaction_read_only%3Don").faults
    assert fault.endswith("allows only reading. Name the primary server")


def test_an_encoding_that_not_every_text_fits_is_told(database: Database) -> None:
    name = f"latin_{uuid4().hex}"
    root = replace(database, name="postgres")
    root.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        (fault,) = published_state(replace(database, name=name).address).faults
        assert fault.endswith("the database's encoding is LATIN1, which cannot store every text. Use UTF8")
    finally:
        root.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_tables_that_are_there_need_no_right_to_make_them(database: Database) -> None:
    """What the page of the tables lists for a user who shall do nothing else."""
    grants = "SELECT, INSERT, UPDATE, DELETE"
    tables = (*SPECIFIED_TABLES.values(), *OWN_TABLES)
    database.execute(*(statement for table in tables for statement in table.ddl()))
    database.execute(*(f"GRANT {grants} ON {table.name} TO reader" for table in tables))
    assert published_state(database.with_password).faults == ()
    publish_state(database.with_password, 1)
    assert ask(database.address, FIGURES) == [whole(1)]
