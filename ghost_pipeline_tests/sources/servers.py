"""What tests do with databases beside what a source does: make tables and fill them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import duckdb
import polars as pl

from ghost_pipeline_tests.running import DEMO_WORLD

READER = "reader"
PASSWORD = "s3cr3t@/:?#%&' wörd"  # noqa: S105 - of a server that lasts as long as the tests
"""Every character that means something in an address."""
DEMO_TABLES = ("users", "cohorts", "user_progress")

SCHEMA = (
    """CREATE TABLE users (user_id uuid PRIMARY KEY, updated_at timestamptz, cohort_id uuid,
        diagnostic_score numeric(2,1), final_band_score numeric(2,1), final_band_at timestamptz,
        target_band numeric(2,1), timezone text, cohort_excluded boolean DEFAULT false, created_at timestamp)""",
    "CREATE TABLE cohorts (cohort_id uuid PRIMARY KEY, cohort_key varchar(200), created_at timestamp)",
    """CREATE TABLE user_progress (progress_id uuid, user_id uuid, task_type text, completed_at timestamptz,
        time_spent_minutes numeric)""",
    """CREATE TABLE keyboards (keyboard_id uuid, updated_at timestamptz, user_id uuid, keyboard_name text,
        target_ms_per_keystroke integer)""",
    """CREATE TABLE practice_sessions (session_id uuid, user_id uuid, keyboard_id uuid, start_time timestamp,
        end_time timestamp)""",
    """CREATE TABLE session_keystrokes (session_id uuid, key_index integer, keystroke_time timestamp,
        keystroke_char char(1), expected_char char(1), text_index integer)""",
)
"""The tables of an application, with the types that such an application gives them."""


@dataclass(frozen=True)
class Database:
    """A database of the server of the tests."""

    socket: Path
    name: str

    @property
    def address(self) -> str:
        """As the user who may do everything, without a password."""
        return f"postgresql://postgres@/{self.name}?host={self.socket}"

    @property
    def with_password(self) -> str:
        """As a user who may read, with the password."""
        return f"postgresql://{READER}:{quote(PASSWORD, safe='')}@/{self.name}?host={self.socket}"

    def execute(self, *statements: str) -> None:
        """Run statements, each for itself."""
        with driver.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with driver.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def load(self, tables: dict[str, pl.DataFrame]) -> None:
        """Make tables out of frames."""
        with driver.connect(self.address, autocommit=True) as connection, connection.cursor() as cursor:
            for name, rows in tables.items():
                cursor.adbc_ingest(name, rows.to_arrow())


def demo_world() -> dict[str, pl.DataFrame]:
    """The tables of the demo world."""
    return {name: pl.read_parquet(DEMO_WORLD / f"{name}.parquet") for name in DEMO_TABLES}


def fill_duckdb(file: Path, *statements: str, tables: dict[str, pl.DataFrame] | None = None) -> None:
    """Run statements on a DuckDB file, and make tables out of frames."""
    with duckdb.connect(str(file)) as connection:
        for statement in ("SET TimeZone = 'UTC'", *statements):
            connection.execute(statement)
        for name, rows in (tables or {}).items():
            connection.register("rows_given", rows.to_arrow())
            connection.execute(f"CREATE TABLE {name} AS FROM rows_given")
            connection.unregister("rows_given")


def fill_sqlite(file: Path, statements: Iterable[str] = (), tables: dict[str, pl.DataFrame] | None = None) -> Path:
    """Run statements on a SQLite file, and make tables out of frames, times as ISO 8601 text."""
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        for name, rows in (tables or {}).items():
            text = rows.with_columns(pl.selectors.temporal().dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
            connection.execute(f"CREATE TABLE {name} ({', '.join(rows.columns)})")
            places = ", ".join("?" * rows.width)
            connection.executemany(f"INSERT INTO {name} VALUES ({places})", text.rows())  # noqa: S608 - our own names
        connection.commit()
    return file
