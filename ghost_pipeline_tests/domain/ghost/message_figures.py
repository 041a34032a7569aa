"""Figures of users as `ghost_figures` gives them, with nothing known but what a test speaks of."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.domain.ghost.ghost_figures import ghost_figures
from ghost_pipeline_tests.domain.ghost.ghost_frames import at
from ghost_pipeline_tests.reference.months import LIMITS

AS_OF = at("2025-03-12T12:00")
MONTH_END = at("2025-03-01T00:00")
RELEASED = AS_OF - timedelta(hours=3)

SCHEMA = ghost_figures(
    USER_GHOST_STATS.empty().lazy(),
    COHORT_GHOST_RELEASE.empty().lazy(),
    GHOST_BENCHMARKS.empty().lazy(),
    GHOST_STREAK_SHARES.empty().lazy(),
    GHOST_FASTEST_IMPROVERS.empty().lazy(),
    AS_OF,
    limits=LIMITS,
).collect_schema()
DEFAULTS: dict[str, Any] = {
    "user_id": "u",
    "as_of": AS_OF,
    "snapshot_date": AS_OF.date(),
    "snapshot_hour": 11,
    "tasks_completed": 0,
    "tasks_this_week": 0,
    "speaking_tasks": 0,
    "days_practiced": 0,
    "current_streak": 0,
    "minutes_per_day": Decimal(0),
    "benchmark_band": Decimal("7.5"),
    "benchmark_day": 12,
    "streak_threshold": 5,
    "benchmark_as_of": MONTH_END,
    "speaking_benchmark_as_of": MONTH_END,
    "improvers_as_of": MONTH_END,
    "streak_as_of": MONTH_END,
    "cohort_as_of": RELEASED,
    "streak_at_risk": False,
    "silent": False,
}


def figures(*users: dict[str, Any]) -> pl.LazyFrame:
    """A row per user; decimals may be given as text."""
    rows = [{**dict.fromkeys(SCHEMA), **DEFAULTS, **_exact(user)} for user in users]
    return pl.LazyFrame(rows, schema=SCHEMA, orient="row")


def _exact(user: dict[str, Any]) -> dict[str, Any]:
    return {
        name: Decimal(value) if SCHEMA[name].is_decimal() and value is not None else value
        for name, value in user.items()
    }
