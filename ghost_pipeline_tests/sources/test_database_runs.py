"""Whole runs from databases through the installed command: the bytes of the same rows in files, and no password."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest

from ghost_pipeline_tests import running
from ghost_pipeline_tests.running import found_in, lake_digest
from ghost_pipeline_tests.sources.mariadb import MariaDb
from ghost_pipeline_tests.sources.servers import PASSWORD, READER, Database, demo_world, fill_duckdb, fill_sqlite

AS_OF = "2025-03-12T12:00Z"
MATERIALIZE = ("materialize", "--as-of", AS_OF)
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "s3cr3t")
OWN_NAMES = """
users:
  table: app.people
  columns: {user_id: id, cohort_id: group, created_at: "signed up"}
cohorts:
  query: SELECT name AS cohort_id, key AS cohort_key, NULL::timestamptz AS created_at FROM app.groups
user_progress:
  query: |
    SELECT id AS progress_id, person AS user_id, lower(what) AS task_type,
           to_timestamp(finished / 1e6) AS completed_at, seconds / 60.0 AS time_spent_minutes
    FROM app.tasks WHERE to_timestamp(finished / 1e6) >= {start} AND to_timestamp(finished / 1e6) < {end}
"""


def run(data: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return running.run(arguments, data, None, **variables)


@pytest.fixture(scope="module")
def from_files(demo_run: Path) -> dict[str, str]:
    """The lake that the demo world as files gives."""
    return lake_digest(demo_run)


def test_postgresql_gives_the_bytes_of_files_and_shows_no_password(
    database: Database, tmp_path: Path, from_files: dict[str, str]
) -> None:
    database.load(demo_world())
    commands = (MATERIALIZE, ("doctor",), ("doctor", "--json"), ("settings",), ("settings", "--json"))
    outputs = [run(tmp_path, *command, GHOST_SOURCE=database.with_password) for command in commands]
    assert [done.returncode for done in outputs] == [0] * len(commands), outputs
    assert lake_digest(tmp_path) == from_files
    assert [done.args for done in outputs for text in SECRETS if text in done.stdout + done.stderr] == []
    assert found_in(tmp_path, SECRETS) == []
    assert "GHOST_SOURCE=postgresql://reader:***@/" in outputs[3].stdout


@pytest.mark.long
def test_sqlite_gives_the_bytes_of_files(tmp_path: Path, from_files: dict[str, str]) -> None:
    file = fill_sqlite(tmp_path / "app.db", tables=demo_world())
    done = run(tmp_path / "data", *MATERIALIZE, GHOST_SOURCE=f"sqlite:///{file}")
    assert done.returncode == 0, done.stderr
    assert lake_digest(tmp_path / "data") == from_files


@pytest.mark.long
def test_duckdb_gives_the_bytes_of_files(tmp_path: Path, from_files: dict[str, str]) -> None:
    file = tmp_path / "app.duckdb"
    fill_duckdb(file, tables=demo_world())
    done = run(tmp_path / "data", *MATERIALIZE, GHOST_SOURCE=f"duckdb:///{file}")
    assert done.returncode == 0, done.stderr
    assert lake_digest(tmp_path / "data") == from_files


@pytest.mark.long
def test_mariadb_gives_the_bytes_of_files_and_shows_no_password(
    mariadb: MariaDb, tmp_path: Path, from_files: dict[str, str]
) -> None:
    mariadb.load(demo_world())
    commands = (MATERIALIZE, ("doctor",), ("settings",))
    outputs = [run(tmp_path, *command, GHOST_SOURCE=mariadb.address) for command in commands]
    assert [done.returncode for done in outputs] == [0] * len(commands), outputs
    assert lake_digest(tmp_path) == from_files
    assert [done.args for done in outputs for text in SECRETS if text in done.stdout + done.stderr] == []
    assert found_in(tmp_path, SECRETS) == []
    assert "GHOST_SOURCE=mysql://reader:***@/" in outputs[2].stdout


@pytest.mark.long
def test_own_names_and_queries_give_the_bytes_of_files(
    database: Database, tmp_path: Path, from_files: dict[str, str]
) -> None:
    world = demo_world()
    people = world["users"].rename({"user_id": "id", "cohort_id": "group", "created_at": "signed up"})
    groups = world["cohorts"].select(name="cohort_id", key="cohort_key")
    tasks = world["user_progress"].select(
        id="progress_id",
        person="user_id",
        what=pl.col("task_type").str.to_uppercase(),
        finished=pl.col("completed_at").dt.epoch("us"),
        seconds=pl.col("time_spent_minutes") * 60,
    )
    database.load({"people": people, "groups": groups, "tasks": tasks})
    database.execute(
        "CREATE SCHEMA app", *(f"ALTER TABLE {name} SET SCHEMA app" for name in ("people", "groups", "tasks"))
    )
    mapping = tmp_path / "own.yaml"
    mapping.write_text(OWN_NAMES, encoding="utf-8")
    variables = {"GHOST_SOURCE": database.address, "GHOST_SOURCE_MAPPING": str(mapping)}
    done = run(tmp_path / "data", *MATERIALIZE, **variables)
    assert done.returncode == 0, done.stderr
    assert lake_digest(tmp_path / "data") == from_files


@pytest.fixture
def broken(database: Database) -> Database:
    """The demo world with a query that stumbles over a person's row."""
    database.load(demo_world())
    database.execute("CREATE TABLE people AS SELECT 'ada@example.org' AS mail")
    return database


def test_a_run_that_fails_records_neither_password_nor_row(broken: Database, tmp_path: Path) -> None:
    mapping = tmp_path / "own.yaml"
    mapping.write_text("cohorts: {query: SELECT mail::int AS cohort_id FROM people}", encoding="utf-8")
    variables = {"GHOST_SOURCE": broken.with_password, "GHOST_SOURCE_MAPPING": str(mapping)}
    done = run(tmp_path / "data", *MATERIALIZE, **variables)
    assert done.returncode == 1
    assert "table cohorts, query cannot be read (SQLSTATE 22P02, a value cannot be converted)" in done.stderr
    assert "Traceback" not in done.stderr
    assert [text for text in (*SECRETS, "ada@") if text in done.stdout + done.stderr] == []
    assert found_in(tmp_path / "data", (*SECRETS, "ada@")) == []


def test_a_server_that_refuses_is_one_line_and_exit_code_1(database: Database, tmp_path: Path) -> None:
    address = database.with_password.replace("@/", "0@/")
    for command in (MATERIALIZE, ("doctor",)):
        done = run(tmp_path, *command, GHOST_SOURCE=address)
        assert done.returncode == 1
        output = done.stdout + done.stderr
        assert f'password authentication failed for user "{READER}"' in output
        assert [text for text in SECRETS if text in output] == []


@pytest.mark.long
@pytest.mark.parametrize(
    "location",
    [
        "host=localhost dbname=app user=ada password=s3cr3t",
        "ada:s3cr3t@localhost/app",
        "sqlite://ada:s3cr3t@localhost/app",
        "postgresql://ada:s3cr3t@x@localhost/app",
    ],
)
def test_an_address_in_another_form_is_shown_without_its_password(location: str, tmp_path: Path) -> None:
    for command in (MATERIALIZE, ("doctor",), ("doctor", "--json"), ("settings",), ("settings", "--json")):
        done = run(tmp_path, *command, GHOST_SOURCE=location)
        output = done.stdout + done.stderr
        assert "s3cr3t" not in output
        assert "Traceback" not in output
        assert command[0] == "settings" or "postgresql://user:password@host:port/database" in output
    assert [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()] == []


@pytest.mark.long
def test_an_hour_reads_its_look_back_and_a_backfill_what_is_older(tmp_path: Path) -> None:
    file, data = fill_sqlite(tmp_path / "app.db", tables=demo_world()), tmp_path / "data"
    source = f"sqlite:///{file}"
    done = run(data, *MATERIALIZE, GHOST_SOURCE=source)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(file)) as connection, connection:
        columns = "progress_id, user_id, task_type, completed_at, time_spent_minutes"
        for name, when in (("older", "2025-03-02T10:30:00+00:00"), ("newer", "2025-03-12T10:30:00+00:00")):
            connection.execute(
                f"INSERT INTO user_progress ({columns}) VALUES (?, 'me', 'reading', ?, 3)",  # noqa: S608 - our own names
                (name, when),
            )
    taken_in = "SELECT progress_id FROM lake.user_progress WHERE progress_id IN ('older', 'newer') ORDER BY 1"
    done = run(data, "materialize", "--as-of", "2025-03-12T13:00Z", GHOST_SOURCE=source)
    assert done.returncode == 0, done.stderr
    assert json.loads(run(data, "query", "--json", taken_in).stdout) == [{"progress_id": "newer"}]
    span = ("--from", "2025-03-02T10:00Z", "--to", "2025-03-02T11:00Z")
    done = run(data, "backfill", *span, GHOST_SOURCE=source)
    assert done.returncode == 0, done.stderr
    assert json.loads(run(data, "query", "--json", taken_in).stdout) == [
        {"progress_id": "newer"},
        {"progress_id": "older"},
    ]
    stale = json.loads(run(data, "stale", "--json").stdout)
    assert {row["hour"] for row in stale} == {"2025-03-12T11:00:00Z", "2025-03-12T12:00:00Z"}
