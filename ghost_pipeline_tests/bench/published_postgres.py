"""Publishing n-gram summaries to PostgreSQL, of which one in a hundred has changed: against replacing all of them.

The server runs for the benchmark alone. Each contender has a schema, and every run of one is an hour of its own.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.specified import SPECIFIED_NGRAM_SPEED_SUMMARIES
from ghost_pipeline.publish.postgres_copy import replacing_tables
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, prepared, working
from ghost_pipeline_tests.bench.postgres_server import postgres_server, server_address

TABLE = SPECIFIED_NGRAM_SPEED_SUMMARIES
ROWS = "rows.parquet"
BATCH = 100_000
OF_A_TYPIST = 5_000
PARTS = 100
"""One part of so many changes in an hour."""
BEGIN = datetime(2025, 3, 12, tzinfo=UTC)
CONTENDERS = ("delete_and_copy", "published")


def prepare(folder: Path, rows: int) -> int:
    """The summaries of the hour before, as a file and in both schemas; returns their number."""
    number, typist = pl.int_range(rows, eager=True).alias("number"), pl.col("number") // OF_A_TYPIST
    average = pl.col("number") % 700 + 100.25
    hour = pl.lit("2025-03-11T00:00:00Z")
    frame = pl.DataFrame(number).select(
        # Ids lie in no order, as those of uuid5 do.
        summary_id=pl.concat_str(
            pl.col("number").hash(7).cast(pl.String).str.zfill(20), pl.lit("-a38f-"), pl.col("number").cast(pl.String)
        ),
        user_id=pl.format("6f9619ff-8b86-d011-b42d-{}", typist.cast(pl.String).str.zfill(12)),
        keyboard_id=pl.format("e02fd0e4-00fd-090A-ca30-{}", typist.cast(pl.String).str.zfill(12)),
        ngram_text=pl.format("n{}", pl.col("number") % OF_A_TYPIST),
        ngram_size=(pl.col("number") % 19 + 2).cast(pl.Int32),
        decaying_average_ms=average,
        target_speed_ms=pl.lit(600.0),
        target_performance_pct=60_000 / average,
        meets_target=average <= 600,
        sample_count=pl.lit(20, pl.Int32),
        last_updated=hour,
        created_at=hour,
    )
    frame.write_parquet(folder / ROWS, row_group_size=BATCH)
    for contender in CONTENDERS:
        execute(folder, f"CREATE SCHEMA {contender}")
        with replacing_tables(address(folder, contender)) as tables:
            tables.replace(TABLE, frame.iter_slices(BATCH), BEGIN, "0" * 64)
        execute(folder, f"VACUUM ANALYZE {contender}.{TABLE.name}")
    return rows


def batches(folder: Path, hour: int) -> Iterator[pl.DataFrame]:
    """The summaries of an hour: in each, typists of another one of `PARTS` parts have practised."""
    practised = pl.col("user_id").str.tail(12).cast(pl.Int64) % PARTS < hour
    for batch in pl.scan_parquet(folder / ROWS).collect_batches(chunk_size=BATCH, maintain_order=True):
        yield batch.with_columns(
            decaying_average_ms=pl.col("decaying_average_ms") + pl.when(practised).then(1).otherwise(0),
            last_updated=pl.when(practised).then(pl.lit("2025-03-12T00:00:00Z")).otherwise("last_updated"),
        )


def delete_and_copy(folder: Path) -> None:
    """The plain way: delete every row and copy the new ones, in one transaction."""
    with working(), driver.connect(address(folder, "delete_and_copy")) as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {TABLE.name}")  # noqa: S608 - our own name
        schema = pl.DataFrame(schema=TABLE.polars_schema).to_arrow().schema
        arrow = (one for frame in batches(folder, next_hour(folder)) for one in frame.to_arrow().to_batches())
        cursor.adbc_ingest(TABLE.name, pa.RecordBatchReader.from_batches(schema, arrow), mode="append")
        connection.commit()


def published(folder: Path) -> None:
    """What a run does."""
    hour = next_hour(folder)
    with working(), replacing_tables(address(folder, "published")) as tables:
        tables.replace(TABLE, batches(folder, hour), BEGIN + timedelta(hours=hour), "0" * 64)


def next_hour(folder: Path) -> int:
    """Another one at every call, so that every run finds something changed."""
    file = folder / f"hour-{sys.argv[1]}"
    hour = int(file.read_text(encoding="utf-8")) + 1 if file.exists() else 1
    file.write_text(str(hour), encoding="utf-8")
    return hour


def address(folder: Path, schema: str) -> str:
    """The server, and a schema on it."""
    return f"{server_address(folder)}&options=-csearch_path%3D{schema}"


def execute(folder: Path, statement: str) -> list[tuple[int, ...]]:
    """Run a statement for itself."""
    with driver.connect(server_address(folder), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows: list[tuple[int, ...]] = cursor.fetchall() if cursor.description else []
        return rows


def measure(folder: Path, rows: int, runs: int) -> tuple[str, list[Measured]]:
    """An hour of both contenders, and how large their tables have become."""
    with postgres_server(folder):
        number = prepared(__name__, folder, rows)
        size = "SELECT pg_total_relation_size('{}." + TABLE.name + "') / 1048576"
        before = execute(folder, size.format("published"))[0][0]
        measured = in_turn(__name__, {name: [] for name in CONTENDERS}, folder, runs)
        after = ", ".join(f"{execute(folder, size.format(one))[0][0]} MiB of {one}" for one in CONTENDERS)
        title = f"{TABLE.name} to PostgreSQL: {number:,} rows, 1 % changed; {before} MiB have become {after}"
        return title, measured


if __name__ == "__main__":
    contender, where, *rest = sys.argv[1:]
    place = Path(where)
    match contender:
        case "prepare":
            sys.stdout.write(f"{prepare(place, int(rest[0]))}\n")
        case "delete_and_copy":
            delete_and_copy(place)
        case "published":
            published(place)
