"""The registry of benchmark figures.

Add a benchmark figure: one `BenchmarkMetric` in `BENCHMARK_METRICS`. The counts of a month, the column `avg_<name>` of
`ghost_benchmarks` with its contract and DDL, the nested JSON with its schema, the charts, the tables in PostgreSQL, the
HTTP response and `docs/tables.md` follow from it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import dataframely as dy

from ghost_pipeline.contracts.columns import computed_from, small
from ghost_pipeline.contracts.raw import MOCK_TEST, MODULE_TYPES, MS_PER_MINUTE, TASK_TYPES

INPUTS_OF_MEASURES = {
    "events": ("user_progress.task_type",),
    "time": ("user_progress.time_spent_ms",),
    "streak": ("user_progress.completed_at", "users.timezone"),
}
"""Columns that each measure is computed from, besides those that say whose day of the journey it is."""


@dataclass(frozen=True)
class BenchmarkMetric:
    """One figure of an achiever at the end of a day of the journey (G5.3)."""

    name: str
    measure: Literal["events", "time", "streak"]
    """Counted so far: events, their time in ms, or the days of the current streak."""
    label: str
    """The figure in words, as a column's description begins."""
    of: tuple[str, ...] = TASK_TYPES
    """Types of events that count; a streak is always one of tasks."""
    unit: int = 1
    """How many counted units make one shown unit."""
    json_name: str = ""
    """Name in `ghost_benchmarks.json`, where it is another one."""
    chart: str = ""
    """Its name on the axis of a chart by day; empty for a figure without a chart."""

    @property
    def column_name(self) -> str:
        """The column of `ghost_benchmarks`."""
        return f"avg_{self.name}"

    @property
    def json_key(self) -> str:
        """The key in `ghost_benchmarks.json`."""
        return self.json_name or self.name

    @property
    def column(self) -> dy.Column:
        """The column's type and description."""
        column = small(f"{self.label} that the top success_percentile % had by the end of the day")
        return computed_from(column, *INPUTS_OF_MEASURES[self.measure])


BENCHMARK_METRICS = (
    BenchmarkMetric("tasks_completed", "events", "Tasks", chart="tasks"),
    BenchmarkMetric("practice_minutes", "time", "Minutes of practice", unit=MS_PER_MINUTE, chart="minutes"),
    *(
        BenchmarkMetric(f"{module}_tasks", "events", f"{module.capitalize()} tasks", of=(module,))
        for module in MODULE_TYPES
    ),
    BenchmarkMetric("mock_tests", "events", "Mock tests", of=(MOCK_TEST,)),
    BenchmarkMetric("streak", "streak", "Days of the current streak", json_name="streak_avg"),
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `ghost_benchmarks.json`, the nested form of the benchmarks (G5.4).

    Bands, starting skills, days, metrics; a cell or a day without enough achievers is absent.
    """
    keys = [metric.json_key for metric in BENCHMARK_METRICS]
    figures = {
        "type": "object",
        "description": "Means over the achievers, rounded half away from zero to two decimals; null where two of them "
        "hold nearly all",
        "properties": {key: {"type": ["number", "null"], "minimum": 0} for key in keys},
        "required": keys,
        "additionalProperties": False,
    }
    days = _level(r"^day_[1-9]\d*$", "Day of the journey, from 1", figures)
    starts = _level(r"^starting_skill_\d\.\d$", "Lower end of the half band of the diagnostic score", days)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ghost benchmarks",
        **_level(r"^band_\d\.\d_achievers$", "People whose final score is in [band, band + 0.5)", starts),
    }


def _level(pattern: str, description: str, below: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "patternProperties": {pattern: below},
        "additionalProperties": False,
    }
