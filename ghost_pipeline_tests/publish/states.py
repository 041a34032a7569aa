"""States of the three tables that tests publish, one after the other, and what is then in the database."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import polars as pl
import psycopg2  # type: ignore[import-untyped]

from ghost_pipeline.contracts.specified import (
    SPECIFIED_COHORT_GHOST_DATA,
    SPECIFIED_GHOST_BENCHMARKS,
    SPECIFIED_NGRAM_SPEED_SUMMARIES,
    SpecifiedTable,
)
from ghost_pipeline.publish.postgres_copy import ReplacedTable, replacing_tables

BEGIN = datetime(2025, 3, 12, tzinfo=UTC)
HASH = "0" * 64
NAMESPACE = UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")
SPECIFICATION = [
    statement
    for statement in (Path(__file__).parent / "specification.sql").read_text(encoding="utf-8").split(";")
    if statement.strip()
]
"""The statements of the specification, as they stand there; indexes that it names without a statement, too."""
OF_THE_APPLICATION = (
    "CREATE TABLE cohorts (id uuid PRIMARY KEY)",
    "CREATE TABLE users (user_id text PRIMARY KEY)",
    "CREATE TABLE keyboards (keyboard_id text PRIMARY KEY)",
)
"""What the specification's tables refer to."""


def uuid_of(*key: object) -> str:
    return str(uuid5(NAMESPACE, repr(key)))


def benchmarks(figure: int, days: Iterable[int] = range(1, 4)) -> pl.DataFrame:
    """A row for each day, with the same figure."""
    table = SPECIFIED_GHOST_BENCHMARKS
    instant = BEGIN.replace(tzinfo=None)
    figures = [name for name in table.names if name.startswith("avg_")]
    rows = [
        {
            "id": uuid_of("benchmark", day),
            "target_band": Decimal("7.5"),
            "starting_skill": Decimal("6.0"),
            "day_number": day,
            "success_percentile": 25,
            "sample_size": 60,
            "created_at": instant,
            "updated_at": instant,
            **dict.fromkeys(figures, figure),
        }
        for day in days
    ]
    return pl.DataFrame(rows, schema=table.polars_schema)


def cohorts(figure: int, names: Iterable[str] = ("c1", "c2")) -> pl.DataFrame:
    """A row for each cohort, of the hour with that number."""
    table = SPECIFIED_COHORT_GHOST_DATA
    end = BEGIN + timedelta(hours=figure)
    rows = [
        {
            "id": uuid_of("cohort", name, figure),
            "cohort_id": name,
            "snapshot_date": date(2025, 3, 12),
            "snapshot_hour": figure,
            "active_member_count": 24,
            **{column: Decimal(figure % 7) for column in table.names if column.startswith("avg_")},
            "avg_tasks_completed": Decimal(figure),
            "top_10_percent_tasks": figure,
            "updated_at": end.replace(tzinfo=None),
        }
        for name in names
    ]
    return pl.DataFrame(rows, schema=table.polars_schema)


def summaries(figure: float, ngrams: Iterable[str] = ("th", "he", "er"), user: str = "u1") -> pl.DataFrame:
    """A row for each n-gram, with the same average."""
    rows = [
        {
            "summary_id": uuid_of("summary", user, ngram),
            "user_id": user,
            "keyboard_id": "k1",
            "ngram_text": ngram,
            "ngram_size": len(ngram),
            "decaying_average_ms": figure + 0.1,
            "target_speed_ms": 600.0,
            "target_performance_pct": 60_000 / (figure + 0.1),
            "meets_target": True,
            "sample_count": 3,
            "last_updated": f"{BEGIN:%Y-%m-%dT%H:%M:%SZ}",
            "created_at": f"{BEGIN:%Y-%m-%dT%H:%M:%SZ}",
        }
        for ngram in ngrams
    ]
    return pl.DataFrame(rows, schema=SPECIFIED_NGRAM_SPEED_SUMMARIES.polars_schema)


def publish(address: str, table: SpecifiedTable, *frames: pl.DataFrame, hour: int = 1) -> ReplacedTable:
    """Publish one table alone."""
    with replacing_tables(address) as tables:
        return tables.replace(table, frames, BEGIN + timedelta(hours=hour), HASH)


def publish_state(
    address: str, figure: int, summaries_of: Iterator[pl.DataFrame] | None = None
) -> tuple[ReplacedTable, ...]:
    """Publish a state in which every table shows the figure, as of that hour."""
    end = BEGIN + timedelta(hours=figure)
    with replacing_tables(address) as tables:
        return (
            tables.replace(SPECIFIED_GHOST_BENCHMARKS, [benchmarks(figure)], end, HASH),
            tables.replace(SPECIFIED_COHORT_GHOST_DATA, [cohorts(figure)], end, HASH),
            tables.replace(SPECIFIED_NGRAM_SPEED_SUMMARIES, summaries_of or [summaries(figure)], end, HASH),
        )


def ask(address: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows that an application gets."""
    connection = psycopg2.connect(address)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
    finally:
        connection.close()


FIGURES = """
    SELECT
        (SELECT array_agg(DISTINCT avg_tasks_completed) FROM ghost_benchmarks),
        (SELECT count(*) FROM ghost_benchmarks),
        (SELECT array_agg(DISTINCT avg_tasks_completed::int) FROM cohort_ghost_data),
        (SELECT count(*) FROM cohort_ghost_data),
        (SELECT array_agg(DISTINCT trunc(decaying_average_ms)::int) FROM ngram_speed_summaries),
        (SELECT count(*) FROM ngram_speed_summaries),
        (SELECT array_agg(DISTINCT extract(epoch FROM as_of - '2025-03-12Z')::int / 3600) FROM ghost_table_info),
        (SELECT count(*) FROM ghost_table_info)
"""


def whole(figure: int) -> tuple[object, ...]:
    """What `FIGURES` gives where every table shows the figure."""
    return [figure], 3, [figure], 2, [figure], 3, [figure], 3
