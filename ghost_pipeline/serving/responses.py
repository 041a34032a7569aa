"""The objects that apps receive (G8), made from rows of figures."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.percentile_rank import RANK_COLUMNS

Number = int | float
"""A number that is sent as an integer if it is whole: 12, not 12.0."""

EXAMPLE: dict[str, JsonValue] = {
    "user_stats": {
        "tasks_completed": 8,
        "tasks_this_week": 5,
        "practice_minutes": 140,
        "current_streak": 5,
        "day_in_journey": 12,
    },
    "success_benchmark": {
        "target_band": 7.5,
        "day_number": 12,
        "benchmark_tasks": 15,
        "benchmark_practice_minutes": 200,
        "message": "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8.",
    },
    "cohort_comparison": {
        "cohort_size": 24,
        "avg_tasks_completed": 12,
        "avg_tasks_this_week": 8,
        "user_percentile": 35,
        "message": "Your cohort is averaging 12 tasks. You're at 8. Catch up?",
    },
    "top_performers": {"top_10_percent_tasks": 22, "top_25_percent_tasks": 18},
}
"""The specification's example: the answer for `me` of the demo world at 2025-03-12T12:00Z."""

RESPONSE_COLUMNS: tuple[str, ...] = (
    "user_id",
    "tasks_completed",
    "tasks_this_week",
    "practice_minutes",
    "current_streak",
    "day_in_journey",
    "benchmark_band",
    "benchmark_tasks",
    "benchmark_minutes",
    "benchmark_as_of",
    "success_benchmark_text",
    "cohort_released",
    "cohort_suppressed",
    "cohort_size",
    "cohort_avg_tasks_completed",
    "cohort_avg_tasks_this_week",
    "cohort_top_10_percent_tasks",
    "cohort_top_25_percent_tasks",
    "cohort_as_of",
    "cohort_comparison_text",
    *RANK_COLUMNS,
)
"""The columns of `ghost_figures` and `with_message_texts` that the responses about a user show."""


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class UserStats(_Response):
    """The user's own figures."""

    tasks_completed: int
    tasks_this_week: int = Field(description="In the 7 x 24 hours before as_of")
    practice_minutes: Number
    current_streak: int = Field(description="Days")
    day_in_journey: int = Field(description="1 on the day of registration")


class SuccessBenchmark(_Response):
    """Averages of people who reached the band, by that day; nulls if there is no benchmark."""

    target_band: float
    day_number: int = Field(description="The user's day, even past the last day that has a benchmark")
    benchmark_tasks: int | None
    benchmark_practice_minutes: int | None
    message: str | None


class CohortComparison(_Response):
    """The user compared with the released figures of the cohort; nulls and size 0 if none are released."""

    cohort_size: int
    avg_tasks_completed: Number | None
    avg_tasks_this_week: Number | None
    user_percentile: int | None = Field(
        description="Percentage of the members strictly below in tasks, as of the release"
    )
    message: str | None


class TopPerformers(_Response):
    """Tasks at which the top of the cohort begins; nulls if the cohort has too few members to show it."""

    top_10_percent_tasks: int | None
    top_25_percent_tasks: int | None


class GhostData(_Response):
    """Peer comparison for one user."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    user_stats: UserStats
    success_benchmark: SuccessBenchmark
    cohort_comparison: CohortComparison
    top_performers: TopPerformers


class ExtendedGhostData(GhostData):
    """Peer comparison, with the age of each figure and whether the cohort is withheld."""

    as_of: datetime = Field(description="End of the hour of the user's own figures")
    released_as_of: datetime | None = Field(description="as_of of the cohort's figures")
    benchmark_as_of: datetime | None = Field(description="End of the month of the benchmark")
    suppressed: bool = Field(description="Whether the cohort's figures exist but are withheld")


class Message(_Response):
    """One sentence for one user in one context."""

    type: str
    metric: str
    position: str | None = Field(description="ahead, close or behind; null if the sentence does not say")
    tone: str
    priority: str
    user_value: Number
    figure: Number
    figure_as_of: datetime
    text: str


class Messages(_Response):
    """Messages for a user in a context; none if no message is true."""

    user_id: str
    context: str
    as_of: datetime
    messages: list[Message]


class PercentileRank(_Response):
    """Percentage of the others strictly below the user, as of the cohort's release or of the day before."""

    user_id: str
    metric: str
    base: str
    percentile: int | None = Field(
        description="null if the user was not in the cohort when it was released, if it is withheld, or if there "
        "are too few users"
    )
    as_of: datetime


class _BenchmarkCell(_Response):
    population: str
    target_band: float
    starting_skill: float
    day_number: int
    success_percentile: int


_FIGURES: dict[str, Any] = {metric.column_name: int for metric in BENCHMARK_METRICS}
BenchmarkRow = create_model(
    "BenchmarkRow",
    __base__=_BenchmarkCell,
    __doc__="Figures that the top achievers had reached by a day of their journey.",
    **_FIGURES,
    sample_size=int,
    month=str,
    renewed=(
        str | None,
        Field(description="Month that the figures are from; null if an earlier release has built them"),
    ),
    as_of=datetime,
)


class TableHealth(_Response):
    """Freshness of a published table; not its rows, which count people."""

    table: str
    as_of: datetime | None
    max_age_hours: int = Field(description="Age in hours after which it counts as stale")
    stale: bool


class PublicationHealth(_Response):
    """The publication that answers come from."""

    id: str | None = Field(description="As in the table `publication`; null if an earlier release wrote it")
    as_of: datetime | None
    kept: bool = Field(description="Whether it is kept because what is published now is gone or damaged")
    differing_parts: list[str] = Field(
        description="Parts of the data folder that belong to another publication, or cannot be read"
    )


class Health(_Response):
    """Whether everything published is whole, and as fresh as its schedule promises."""

    status: str = Field(description="ok, stale, unreadable or unpublished")
    publication: PublicationHealth | None
    tables: list[TableHealth]


def ghost_data(row: dict[str, Any]) -> GhostData:
    """Build the response from a row with `RESPONSE_COLUMNS`."""
    return GhostData.model_validate(ghost_data_fields(row))


def extended_ghost_data(row: dict[str, Any], as_of: datetime) -> ExtendedGhostData:
    """Build the extended response from a row with `RESPONSE_COLUMNS`."""
    more = {
        "as_of": as_of,
        "released_as_of": row["cohort_as_of"],
        "benchmark_as_of": row["benchmark_as_of"],
        "suppressed": row["cohort_suppressed"],
    }
    return ExtendedGhostData.model_validate({**ghost_data_fields(row), **more})


def number(value: float | Decimal) -> Number:
    """Convert a number to the form in which it is sent."""
    exact = float(value)
    return int(exact) if exact.is_integer() else exact


def _number_or_none(value: float | Decimal | None) -> Number | None:
    return None if value is None else number(value)


def ghost_data_fields(row: dict[str, Any]) -> dict[str, dict[str, object]]:
    """The fields of a `GhostData` from a row with `RESPONSE_COLUMNS`; encoding them directly halves the time."""
    return {
        "user_stats": {
            "tasks_completed": row["tasks_completed"],
            "tasks_this_week": row["tasks_this_week"],
            "practice_minutes": number(row["practice_minutes"]),
            "current_streak": row["current_streak"],
            "day_in_journey": row["day_in_journey"],
        },
        "success_benchmark": {
            "target_band": float(row["benchmark_band"]),
            "day_number": row["day_in_journey"],
            "benchmark_tasks": row["benchmark_tasks"],
            "benchmark_practice_minutes": row["benchmark_minutes"],
            "message": row["success_benchmark_text"],
        },
        "cohort_comparison": {
            "cohort_size": row["cohort_size"] or 0,
            "avg_tasks_completed": _number_or_none(row["cohort_avg_tasks_completed"]),
            "avg_tasks_this_week": _number_or_none(row["cohort_avg_tasks_this_week"]),
            "user_percentile": row["tasks_completed_percentile_cohort"] if row["cohort_released"] else None,
            "message": row["cohort_comparison_text"],
        },
        "top_performers": {
            "top_10_percent_tasks": row["cohort_top_10_percent_tasks"],
            "top_25_percent_tasks": row["cohort_top_25_percent_tasks"],
        },
    }
