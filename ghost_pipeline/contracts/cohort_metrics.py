"""The registry of cohort figures.

Add a cohort figure: one `CohortMetric` in `COHORT_METRICS`. The snapshot, the release with the contributions that later
releases are compared with, their contracts, the published table with its DDL, Dagster's columns, the figures that
messages may name (`cohort_<name>`) and `docs/tables.md` follow from it.

Over a new column of users: also the column in `_UserGhostStatsHead` of `contracts/ghost.py` and its expression in
`completed_user_ghost_stats` of `domain/ghost/user_ghost_stats.py`. If the source brings it: also a `SourceColumn` in
`SOURCE_USERS` of `contracts/raw.py`; which built hours a change of it makes stale follows from that.
"""

from dataclasses import dataclass
from typing import Literal

import dataframely as dy
import polars as pl

from ghost_pipeline.contracts.columns import computed_from
from ghost_pipeline.contracts.raw import MS_PER_MINUTE


@dataclass(frozen=True)
class CohortMetric:
    """One figure over the active members of a cohort (G3.2, G3.3)."""

    name: str
    """Column of `cohort_ghost_data`."""
    source: str
    """Column of `user_ghost_stats` that it reduces."""
    statistic: Literal["mean", "percentile"]
    description: str
    scale: int = 0
    """Decimals kept; rounding is half away from zero."""
    precision: int = 9
    """Digits in all, wide enough that no real figure overflows."""
    percentile: int = 50
    """For percentiles: linear interpolation at h = (n - 1) p / 100."""
    unit: int = 1
    """How many units of the source make one of the figure (60,000 ms make a minute)."""
    released_scale: int | None = None
    """Decimals of the released figure, if fewer than `scale` (G9.3e)."""
    total: str = ""
    """For a figure of the last days, the column of all time: less this one it is the total at the earlier moment, which
    readers can compute, so that releases are compared by it, too (G9.3c)."""
    bounded: bool = False
    """Whether one member can only ever hold a small part of the sum, so that two cannot dominate a mean (G9.2)."""

    specified: str = ""
    """Its type in the specification's table of cohorts; empty for a figure that the specification has not."""
    why_wider: str = ""
    """Why the table in PostgreSQL has another type."""

    @property
    def column(self) -> dy.Column:
        """The column of the exact snapshot, where no figure is ever missing."""
        return self._column(nullable=False)

    @property
    def nullable_column(self) -> dy.Column:
        """The column of the release, where a figure may be withheld."""
        return self._column(nullable=True)

    def _column(self, *, nullable: bool) -> dy.Column:
        column: dy.Column
        if self.statistic == "mean":
            column = dy.Decimal(self.precision, self.scale, min=0, nullable=nullable, description=self.description)
        else:
            column = dy.Int32(min=0, nullable=nullable, description=self.description)
        return computed_from(column, f"user_ghost_stats.{self.source}")

    @property
    def shown_scale(self) -> int:
        """Decimals of the released figure."""
        return self.scale if self.released_scale is None else self.released_scale

    @property
    def dtype(self) -> pl.DataType:
        """The column's polars type."""
        return self.column.dtype


COHORT_METRICS: tuple[CohortMetric, ...] = (
    CohortMetric(
        "avg_tasks_completed",
        "tasks_completed",
        "mean",
        "Mean of the tasks completed so far",
        scale=2,
        specified="DECIMAL(5,2)",
        why_wider="Real cohorts have more than 999.99 tasks",
    ),
    CohortMetric(
        "avg_tasks_this_week",
        "tasks_this_week",
        "mean",
        "Mean of the tasks of the last 7 x 24 hours",
        scale=2,
        released_scale=0,
        total="tasks_completed",
        specified="DECIMAL(5,2)",
        why_wider="The same type as that of all tasks",
    ),
    CohortMetric(
        "avg_practice_minutes",
        "practice_time_ms",
        "mean",
        "Mean of the minutes practised so far",
        scale=2,
        precision=12,
        unit=MS_PER_MINUTE,
        specified="DECIMAL(7,2)",
        why_wider="99,999.99 minutes are 69 days",
    ),
    CohortMetric(
        "avg_streak",
        "current_streak",
        "mean",
        "Mean of the current streaks in days",
        scale=2,
        precision=8,
        specified="DECIMAL(4,2)",
        why_wider="A mean streak of 125 days is real",
    ),
    CohortMetric(
        "median_streak", "current_streak", "percentile", "Median of the current streaks in days", specified="INT"
    ),
    CohortMetric(
        "top_10_percent_tasks",
        "tasks_completed",
        "percentile",
        "90th percentile of the tasks completed so far",
        percentile=90,
        specified="INT",
    ),
    CohortMetric(
        "top_25_percent_tasks",
        "tasks_completed",
        "percentile",
        "75th percentile of the tasks completed so far",
        percentile=75,
        specified="INT",
    ),
    CohortMetric(
        "avg_days_practiced_per_week",
        "days_practiced",
        "mean",
        "Mean of the days practised of the last 7 dates",
        scale=2,
        precision=3,
        released_scale=1,
        bounded=True,
        specified="DECIMAL(3,2)",
    ),
    CohortMetric(
        "top_10_percent_days_practiced",
        "days_practiced",
        "percentile",
        "90th percentile of the days practised of the last 7 dates",
        percentile=90,
    ),
)

CONTRIBUTIONS = tuple(dict.fromkeys(metric.source for metric in COHORT_METRICS))
"""Columns of `user_ghost_stats` that members contribute: every figure is made of them."""

SUMS = tuple(
    dict.fromkeys(metric.source for metric in COHORT_METRICS if metric.statistic == "mean" and not metric.bounded)
)
"""Contributions whose sum two or three members must not hold almost alone (G9.2)."""


@dataclass(frozen=True)
class EarlierTotal:
    """A total of some days ago: what members had contributed to `total` before the days of `part` (G9.3c)."""

    total: str
    part: str
    unit: int
    steps: int
    """The released part is rounded by at most `unit / steps / 2` a person."""


EARLIER_TOTALS = tuple(
    EarlierTotal(metric.total, metric.source, metric.unit, 10**metric.shown_scale)
    for metric in COHORT_METRICS
    if metric.total
)
