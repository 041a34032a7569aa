"""Reading a table of PostgreSQL: against what ADBC needs to write the same rows to Parquet, and the memory of it.

Generated in SQL: completed tasks with UUIDs, as an application keeps them. The server runs for the benchmark alone.
"""

import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.raw import SOURCE_USER_PROGRESS
from ghost_pipeline.sources.postgres import PostgresSource
from ghost_pipeline.sources.source import Window
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, prepared, working
from ghost_pipeline_tests.bench.postgres_server import postgres_server, server_address

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
LAST_DAYS = Window(BEGIN + timedelta(days=DAYS - 2), BEGIN + timedelta(days=DAYS))
USERS = 100_000
COLUMNS = "progress_id::text, user_id::text, task_type, completed_at, time_spent_minutes::text"
TABLE = f"""
    CREATE TABLE user_progress AS
    SELECT md5('p' || g)::uuid AS progress_id, md5('u' || g % {USERS})::uuid AS user_id,
        (ARRAY['speaking', 'writing', 'reading', 'listening', 'vocabulary', 'grammar', 'mock_test'])[1 + g % 7]
            AS task_type,
        '{BEGIN:%Y-%m-%d}Z'::timestamptz + interval '1 day' * ({DAYS}.0 * g / $1::int8) AS completed_at,
        ((g * 7919) % 6000 / 100.0)::numeric(5, 2) AS time_spent_minutes
    FROM generate_series(0, $1::int8 - 1) g
"""  # noqa: S608 - our own numbers


def prepare(folder: Path, rows: int) -> int:
    """The table, on the server of the folder; returns the number of rows."""
    with driver.connect(server_address(folder), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE.replace("$1", str(rows)))
        cursor.execute("CREATE INDEX ON user_progress (completed_at)")
        cursor.execute("VACUUM ANALYZE user_progress")
    return rows


def adbc_to_parquet(folder: Path, address: str) -> None:
    """The rows as ADBC gives them, batch by batch, to Parquet, and looked through there."""
    with working(), driver.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM user_progress")  # noqa: S608 - our own names
        batches = cursor.fetch_record_batch()
        with pq.ParquetWriter(folder / "plain.parquet", batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        pl.scan_parquet(folder / "plain.parquet").select(pl.all().max()).collect()


def source(address: str, window: Window | None) -> None:
    """The rows as a run gets them, and looked through."""
    with working(), closing(PostgresSource(address)) as opened:
        opened.scan(SOURCE_USER_PROGRESS, window).select(pl.all().max()).collect()


def measure(folder: Path, rows: int, runs: int) -> tuple[str, list[Measured]]:
    """A table read whole, and the last two days of it, against ADBC to Parquet."""
    with postgres_server(folder):
        title = f"user_progress of PostgreSQL: {prepared(__name__, folder, rows):,} rows"
        return title, in_turn(__name__, {"adbc_to_parquet": [], "source": [], "source_two_days": []}, folder, runs)


if __name__ == "__main__":
    contender, where, *rest = sys.argv[1:]
    place = Path(where)
    address = server_address(place)
    match contender:
        case "prepare":
            sys.stdout.write(f"{prepare(place, int(rest[0]))}\n")
        case "adbc_to_parquet":
            adbc_to_parquet(place, address)
        case "source":
            source(address, None)
        case "source_two_days":
            source(address, LAST_DAYS)
