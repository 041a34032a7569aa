"""The version of a database's table: equal for equal rows, and another one after any change that a run would read."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.ingest.versions import ingest_versions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.sources.database import DatabaseSource
from ghost_pipeline.sources.duckdb_file import DuckDbSource
from ghost_pipeline.sources.mapping import MappedTable, SourceMapping
from ghost_pipeline.sources.mysql import MySqlSource
from ghost_pipeline.sources.postgres import PostgresSource
from ghost_pipeline.sources.sqlite import SqliteSource
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.sources.mariadb import MariaDb
from ghost_pipeline_tests.sources.servers import Database, fill_duckdb, fill_sqlite

USERS = SOURCE_TABLES["users"]
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
ROWS = (
    "CREATE TABLE users (user_id text, cohort_id text, timezone text, updated_at text, created_at text, secret text)",
    """INSERT INTO users VALUES ('u1', 'c1', NULL, '2025-03-12 11:00', '2025-01-01', 'a'),
        ('u2', 'c1', 'UTC', '2025-03-12 11:00', '2025-01-01', 'b')""",
)


class Tables:
    """A database with two users, as something that runs statements and gives versions."""

    def __init__(self, execute: Callable[..., object], opened: Callable[[SourceMapping], DatabaseSource]) -> None:
        self.execute, self._opened = execute, opened
        self.execute(*ROWS)

    def version(self, **tables: MappedTable) -> str:
        with closing(self._opened(SourceMapping(Path("own.yaml"), tables))) as source:
            return (source.part_versions(USERS) or {})[""]


@pytest.fixture(params=["postgresql", "sqlite", "duckdb", "mariadb"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Tables:
    file = tmp_path / "app.db"
    if request.param == "sqlite":
        return Tables(lambda *all_: fill_sqlite(file, all_), lambda own: SqliteSource(f"sqlite:///{file}", own))
    if request.param == "duckdb":
        return Tables(partial(fill_duckdb, file), lambda own: DuckDbSource(f"duckdb:///{file}", own))
    if request.param == "mariadb":
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        return Tables(mariadb.execute, lambda own: MySqlSource(mariadb.address, own))
    database: Database = request.getfixturevalue("database")
    return Tables(database.execute, lambda own: PostgresSource(database.address, own))


def test_rows_that_stay_have_one_version(tables: Tables) -> None:
    assert tables.version() == tables.version()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET cohort_id = 'c2' WHERE user_id = 'u1'",
        "UPDATE users SET updated_at = '2025-03-12 10:00' WHERE user_id = 'u1'",
        "UPDATE users SET timezone = '' WHERE user_id = 'u1'",
        "UPDATE users SET timezone = cohort_id, cohort_id = timezone WHERE user_id = 'u2'",
        "UPDATE users SET user_id = CASE user_id WHEN 'u1' THEN 'u3' ELSE user_id END",
        "DELETE FROM users WHERE user_id = 'u1'",
        "INSERT INTO users SELECT * FROM users",
        "INSERT INTO users SELECT 'u3', 'c1', NULL, '2025-03-12 10:00', '2025-01-01', 'c'",
    ],
)
def test_a_change_of_any_kind_is_another_version(change: str, tables: Tables) -> None:
    before = tables.version()
    tables.execute(change)
    assert tables.version() != before


def test_a_column_that_is_not_read_does_not_count(tables: Tables) -> None:
    before = tables.version()
    tables.execute("UPDATE users SET secret = 'changed'")
    assert tables.version() == before


def test_a_mapping_that_reads_another_column_is_another_version(tables: Tables) -> None:
    tables.execute("UPDATE users SET secret = timezone")
    assert tables.version() != tables.version(users=MappedTable(columns={"timezone": "secret"}))


def test_the_rows_of_a_query_have_a_version(tables: Tables) -> None:
    query = MappedTable(query="SELECT user_id, created_at FROM users WHERE {end} IS NOT NULL")
    before = tables.version(users=query)
    assert tables.version(users=query) == before
    tables.execute("DELETE FROM users WHERE user_id = 'u2'")
    assert tables.version(users=query) != before


@pytest.mark.parametrize("name", ["user_progress", "practice_sessions", "session_keystrokes"])
def test_events_have_none(name: str, tmp_path: Path) -> None:
    with closing(SqliteSource(f"sqlite:///{fill_sqlite(tmp_path / 'app.db')}")) as source:
        assert source.part_versions(SOURCE_TABLES[name]) is None


def test_a_table_that_has_not_changed_is_taken_in_once(tmp_path: Path) -> None:
    file, lake = tmp_path / "app.db", Lake(tmp_path / "lake")
    progress = "CREATE TABLE user_progress (progress_id, user_id, task_type, completed_at)"
    fill_sqlite(file, (*ROWS, "CREATE TABLE cohorts (cohort_id)", progress))

    def taken_in(hour: int) -> tuple[int, int]:
        with closing(SqliteSource(f"sqlite:///{file}")) as source:
            result = ingest_versions(source, lake, USERS, USERS.contract, Hour(NOON + timedelta(hours=hour)))
        return result.files_read, result.files_skipped

    assert [taken_in(hour) for hour in range(3)] == [(1, 0), (0, 1), (0, 1)]
    fill_sqlite(file, ("UPDATE users SET cohort_id = 'c2' WHERE user_id = 'u2'",))
    assert taken_in(3) == (1, 0)
    newest = lake.scan(USERS.contract).filter(pl.col("user_id") == "u2").sort("valid_from").collect()
    assert newest["cohort_id"].to_list() == ["c1", "c2"]
