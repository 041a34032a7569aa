"""Small sources for tests: users and events with everything defaulted that a test does not speak of."""

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import polars as pl

INSTANT = pl.Datetime("us", "UTC")

USER_SCHEMA = pl.Schema(
    {
        "user_id": pl.String(),
        "cohort_id": pl.String(),
        "diagnostic_score": pl.Float64(),
        "final_band_score": pl.Float64(),
        "final_band_at": INSTANT,
        "target_band": pl.Float64(),
        "timezone": pl.String(),
        "cohort_excluded": pl.Boolean(),
        "created_at": INSTANT,
        "score_known_at": INSTANT,
    },
)
PROGRESS_SCHEMA = pl.Schema(
    {
        "progress_id": pl.String(),
        "user_id": pl.String(),
        "task_type": pl.String(),
        "completed_at": INSTANT,
        "time_spent_ms": pl.Int64(),
    },
)

Row = dict[str, Any]


def at(text: str) -> datetime:
    """An instant in UTC from ISO text."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def user(user_id: str, **values: object) -> Row:
    """A user of cohort c1 who was created on 1 March 2025."""
    return {
        "user_id": user_id,
        "cohort_id": "c1",
        "diagnostic_score": None,
        "final_band_score": None,
        "final_band_at": None,
        "target_band": None,
        "timezone": None,
        "cohort_excluded": False,
        "created_at": at("2025-03-01T00:00"),
        "score_known_at": None,
        **values,
    }


def event(user_id: str, completed_at: str | datetime, task_type: str = "reading", minutes: float = 10) -> Row:
    """A completion; numbered when it is put into a frame."""
    return {
        "user_id": user_id,
        "task_type": task_type,
        "completed_at": at(completed_at) if isinstance(completed_at, str) else completed_at,
        "time_spent_ms": round(minutes * 60_000),
    }


def users_frame(rows: Iterable[Row]) -> pl.LazyFrame:
    """Users as the transforms take them."""
    return pl.LazyFrame(list(rows), schema=USER_SCHEMA)


def progress_frame(rows: Iterable[Row]) -> pl.LazyFrame:
    """Events as the transforms take them."""
    numbered = [{"progress_id": f"p{number:05}", **row} for number, row in enumerate(rows)]
    return pl.LazyFrame(numbered, schema=PROGRESS_SCHEMA)


def table_bytes(frame: pl.LazyFrame | pl.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file: equal only where names, types, order and values are."""
    buffer = io.BytesIO()
    frame.lazy().collect().rechunk().write_parquet(buffer)
    return buffer.getvalue()
