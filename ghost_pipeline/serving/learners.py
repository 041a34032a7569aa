"""Answers about learners: peer comparison, messages, ranks (G4, G7, G8)."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal, overload

import polars as pl

from ghost_pipeline.contracts.messages import DISPLAY_RULES
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import AT_LEAST, INTERVAL
from ghost_pipeline.domain.ghost.ghost_messages import ghost_messages, with_message_texts
from ghost_pipeline.domain.ghost.percentile_rank import rank_column
from ghost_pipeline.errors import UnknownArgumentError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.serving.publication_watcher import SMALL, PublicationWatcher
from ghost_pipeline.serving.responses import (
    RESPONSE_COLUMNS,
    ExtendedGhostData,
    GhostData,
    Message,
    Messages,
    PercentileRank,
    extended_ghost_data,
    ghost_data,
    number,
)

CONTEXTS = tuple(rule.context for rule in DISPLAY_RULES)
POPULATIONS = (INTERVAL, AT_LEAST)
"""Whose benchmarks: people who reached that band, or that one or a higher one."""
RESPONSE_TEXTS = ("success_benchmark", "cohort_comparison")
OWN_VALUES = {
    "tasks_completed": 10**9,
    "tasks_this_week": 10**9,
    "practice_minutes": 10**9,
    "speaking_tasks": 10**9,
    "days_practiced": 7,
    "current_streak": 10**6,
}
"""Users' own figures that an app may know to be newer than the last hour's (G7.6), each with its maximum."""


class Learners(PublicationWatcher):
    """Answers about learners, each from one publication as a whole."""

    def inputs(self, as_of: datetime | None = None) -> Inputs:
        """The tables behind answers: of the newest publication or, given an `as_of`, of an hour of the lake.

        Raises:
            NothingPublishedError: there is no such hour.
            PublishError: the database cannot be read.

        """
        if as_of is not None:
            return Inputs.of_hour(Lake(self.settings.lake), as_of, self.settings)
        publication = self.publication()
        return publication.inputs or Inputs.published(publication.database, self.settings)

    @overload
    def ghost_data(
        self, user_id: str, as_of: datetime | None = None, *, extended: Literal[False] = False
    ) -> GhostData: ...

    @overload
    def ghost_data(
        self, user_id: str, as_of: datetime | None = None, *, extended: Literal[True]
    ) -> ExtendedGhostData: ...

    def ghost_data(self, user_id: str, as_of: datetime | None = None, *, extended: bool = False) -> GhostData:
        """Peer comparison for a user (G8): own figures, success benchmark, cohort, top performers.

        Args:
            user_id: the user.
            as_of: answer from this hour of the lake, not from the newest publication.
            extended: add the age of every figure, and whether the cohort is withheld (G9.5).

        Raises:
            UnknownUserError: the user is unknown.
            NothingPublishedError: nothing has been published yet, or the lake has no such hour.

        """
        inputs = self.inputs(as_of)
        row = response_row(inputs, user_id)
        return extended_ghost_data(row, inputs.as_of) if extended else ghost_data(row)

    def messages(
        self,
        user_id: str,
        context: str,
        as_of: datetime | None = None,
        own: Mapping[str, float] | None = None,
    ) -> Messages:
        """Messages for a user in a context, the most relevant first (G7.5).

        Args:
            user_id: the user.
            context: one of `CONTEXTS`.
            as_of: answer from this hour of the lake, not from the newest publication.
            own: newer figures of the user, known to the app, by the names of `OWN_VALUES`.

        Raises:
            UnknownArgumentError: the context or a figure is unknown, or a value is out of range.
            UnknownUserError: the user is unknown.
            NothingPublishedError: nothing has been published yet, or the lake has no such hour.

        """
        _require("context", context, CONTEXTS)
        inputs = self.inputs(as_of)
        user = with_own(inputs.user(user_id), own or {}, inputs.as_of)
        rows = ghost_messages(inputs.figures(user), [context]).collect(engine=SMALL)
        return Messages(
            user_id=user_id,
            context=context,
            as_of=inputs.as_of,
            messages=[
                Message(**{**row, "user_value": number(row["user_value"]), "figure": number(row["figure"])})
                for row in rows.select(*Message.model_fields).iter_rows(named=True)
            ],
        )

    def percentile(
        self, user_id: str, metric: str, base: str = "cohort", as_of: datetime | None = None
    ) -> PercentileRank:
        """Percentage of the cohort's members, or of all users, strictly below a user (G4).

        Raises:
            UnknownArgumentError: the metric or base is unknown; lists the allowed ones.
            UnknownUserError: the user is unknown.
            NothingPublishedError: nothing has been published yet, or the lake has no such hour.

        """
        column = rank_column(metric, base)
        inputs = self.inputs(as_of)
        row = (
            inputs.figures(inputs.user(user_id))
            .select(column, "cohort_released")
            .collect(engine=SMALL)
            .row(0, named=True)
        )
        return percentile_of(row, user_id, metric, base, inputs.as_of)

    def benchmarks(
        self,
        population: str = INTERVAL,
        *,
        target_band: float | None = None,
        starting_skill: float | None = None,
        day_number: int | None = None,
        success_percentile: int | None = None,
    ) -> pl.DataFrame:
        """Benchmarks of the newest month that serves answers, filtered; the columns of `ghost_benchmarks`.

        Raises:
            UnknownArgumentError: the population is unknown.
            NothingPublishedError: nothing has been published yet.

        """
        _require("population", population, POPULATIONS)
        wanted = {
            "target_band": target_band,
            "starting_skill": starting_skill,
            "day_number": day_number,
            "success_percentile": success_percentile,
        }
        rows = self.inputs().benchmarks.filter(
            pl.col("population") == population,
            *(pl.col(name).cast(pl.Float64) == value for name, value in wanted.items() if value is not None),
        )
        return rows.sort(GHOST_BENCHMARKS.primary_key)


def response_rows(inputs: Inputs, users: pl.DataFrame) -> pl.LazyFrame:
    """`RESPONSE_COLUMNS` of some users, one row each; every response is made from it."""
    return with_message_texts(inputs.figures(users), RESPONSE_TEXTS).select(RESPONSE_COLUMNS)


def response_row(inputs: Inputs, user_id: str) -> dict[str, object]:
    """`RESPONSE_COLUMNS` of a user.

    Raises:
        UnknownUserError: the user is unknown.

    """
    return response_rows(inputs, inputs.user(user_id)).collect(engine=SMALL).row(0, named=True)


def percentile_of(row: Mapping[str, Any], user_id: str, metric: str, base: str, as_of: datetime) -> PercentileRank:
    """The rank of a user from a row with its column and `cohort_released`.

    Raises:
        UnknownArgumentError: the metric or base is unknown; lists the allowed ones.

    """
    column = rank_column(metric, base)
    # A withheld cohort looks like a missing one (G9.5).
    hidden = base == "cohort" and not row["cohort_released"]
    return PercentileRank(
        user_id=user_id,
        metric=metric,
        base=base,
        percentile=None if hidden else row[column],
        as_of=as_of,
    )


def with_own(user: pl.DataFrame, own: Mapping[str, float], as_of: datetime) -> pl.DataFrame:
    """The user's row with the newer figures that the app knows.

    A figure above the pipeline's means practice since then: the streak counts as active, and the user as not silent.
    """
    practised = False
    for name, value in own.items():
        _require("own figure", name, tuple(OWN_VALUES))
        _require_number(name, value)
        practised |= value > user[name].item()
        user = user.with_columns(pl.lit(value).cast(user.schema[name]).alias(name))
    if "practice_minutes" in own:
        minutes = pl.lit(round(own["practice_minutes"] * MS_PER_MINUTE))
        user = user.with_columns(minutes.cast(user.schema["practice_time_ms"]).alias("practice_time_ms"))
    if practised:
        now = pl.lit(as_of).cast(user.schema["last_activity_at"])
        return user.with_columns(streak_status=pl.lit("active"), last_activity_at=now)
    if own.get("current_streak") == 0:
        return user.with_columns(streak_status=pl.lit("broken"))
    return user


def _require_number(name: str, value: float) -> None:
    most = OWN_VALUES[name]
    whole = name != "practice_minutes"
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 <= value <= most:
        raise UnknownArgumentError(
            f"{name} must be a {'whole ' if whole else ''}number from 0 to {most} (got {value!r})"
        )


def _require(argument: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise UnknownArgumentError(f"{argument} must be one of {', '.join(allowed)} (got {value!r})")
