"""Routes about learners (peer comparison, messages, ranks, benchmarks) and the health of the published tables."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_json

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.rank_metrics import RANK_ALIASES, RANK_BASES, RANK_METRICS
from ghost_pipeline.domain.ghost.percentile_rank import rank_column
from ghost_pipeline.errors import NothingPublishedError, PublishError
from ghost_pipeline.serving.auth import CheckedRoute, UserId, authenticated_route
from ghost_pipeline.serving.freshness import health
from ghost_pipeline.serving.json_rows import as_json_rows
from ghost_pipeline.serving.learners import CONTEXTS, POPULATIONS, percentile_of
from ghost_pipeline.serving.responses import (
    BenchmarkRow,
    ExtendedGhostData,
    GhostData,
    Health,
    Messages,
    PercentileRank,
    PublicationHealth,
    extended_ghost_data,
    ghost_data_fields,
)
from ghost_pipeline.serving.service import JSON, PROBLEMS, UNKNOWN_USER, Problem, Service

# For the OpenAPI description only: the reader rejects other values with an error that lists the allowed ones.
Context = Annotated[str, Query(description="Where the messages are shown", json_schema_extra={"enum": list(CONTEXTS)})]
Metric = Annotated[str, Query(json_schema_extra={"enum": [*RANK_METRICS, *RANK_ALIASES]})]
Base = Annotated[str, Query(json_schema_extra={"enum": list(RANK_BASES)})]
Population = Annotated[str, Query(json_schema_extra={"enum": list(POPULATIONS)})]


class OwnValues(BaseModel):
    """Figures of the user that the app knows to be newer than the last hour's (G7.6)."""

    tasks_completed: int | None = Query(None, ge=0, le=10**9)
    tasks_this_week: int | None = Query(None, ge=0, le=10**9)
    practice_minutes: float | None = Query(None, ge=0, le=10**9, allow_inf_nan=False)
    speaking_tasks: int | None = Query(None, ge=0, le=10**9)
    days_practiced: int | None = Query(None, ge=0, le=7)
    current_streak: int | None = Query(None, ge=0, le=10**6)


def learner_routes(service: Service) -> APIRouter:
    """Build the routes over a service."""
    router = APIRouter(route_class=authenticated_route(service))

    @router.get("/users/{user_id}/messages", response_model=Messages, responses=UNKNOWN_USER, tags=["learners"])
    def messages(
        user_id: UserId,
        context: Context,
        own: Annotated[OwnValues, Query()],
    ) -> Response:
        """Messages for the user in a context; empty if no message is true."""
        answer = service.served.reader.messages(user_id, context, own=own.model_dump(exclude_none=True))
        return service.answer(answer.model_dump_json(), answer.as_of, USER_GHOST_STATS.name)

    @router.get("/users/{user_id}/percentile", response_model=PercentileRank, responses=UNKNOWN_USER, tags=["learners"])
    async def percentile(user_id: UserId, metric: Metric, base: Base = "cohort") -> Response:
        """Percentage of the cohort, or of all users, strictly below the user."""
        rank_column(metric, base)
        served = service.served
        answer = percentile_of(await served.row(user_id), user_id, metric, base, served.as_of)
        return service.answer(answer.model_dump_json(), answer.as_of, USER_GHOST_STATS.name)

    @router.get(
        "/benchmarks",
        response_model=list[BenchmarkRow],
        responses=PROBLEMS,
        tags=["learners"],
    )
    def benchmarks(
        target_band: Annotated[float | None, Query(ge=0, le=9, allow_inf_nan=False)] = None,
        starting_skill: Annotated[float | None, Query(ge=0, le=9, allow_inf_nan=False)] = None,
        day_number: Annotated[int | None, Query(ge=1, le=366)] = None,
        success_percentile: Annotated[int | None, Query(ge=1, le=99)] = None,
        population: Population = POPULATIONS[0],
    ) -> Response:
        """Benchmarks of the newest month that serves answers, filtered by the parameters."""
        reader = service.served.reader
        rows = reader.benchmarks(
            population,
            target_band=target_band,
            starting_skill=starting_skill,
            day_number=day_number,
            success_percentile=success_percentile,
        )
        as_of = reader.inputs().benchmarks_as_of
        return service.answer(as_json_rows(rows.select(*BenchmarkRow.model_fields)), as_of, GHOST_BENCHMARKS.name)

    return router


def ghost_data_route(service: Service) -> APIRouter:
    """Build the busiest route; requests without parameters skip FastAPI's parsing, which halves their time."""

    async def plain(request: Request) -> Response:
        served = service.served
        content = to_json(ghost_data_fields(await served.row(request.path_params["user_id"])))
        return service.answer(content, served.as_of, USER_GHOST_STATS.name)

    router = APIRouter(route_class=authenticated_route(service, plain))

    @router.get(
        "/cohort/{user_id}/ghost-data",
        response_model=GhostData | ExtendedGhostData,
        responses=UNKNOWN_USER,
        tags=["learners"],
    )
    async def ghost_data(
        user_id: UserId,
        *,
        extended: Annotated[bool, Query(description="Add the as_of of every figure, and suppressed")] = False,
    ) -> Response:
        """Peer comparison for one user: own figures, success benchmark, cohort, top performers."""
        served = service.served
        row = await served.row(user_id)
        if extended:
            content = extended_ghost_data(row, served.as_of).model_dump_json().encode()
        else:
            content = to_json(ghost_data_fields(row))
        return service.answer(content, served.as_of, USER_GHOST_STATS.name)

    return router


def health_route(service: Service) -> APIRouter:
    """Build the route that monitoring asks, with or without a token."""
    router = APIRouter(route_class=CheckedRoute)

    @router.get(
        "/health",
        response_model=Health,
        responses={
            422: {"model": Problem, "description": "A parameter is wrong"},
            503: {
                "model": Health,
                "description": "What is published is out of date, not whole or unreadable, or nothing is published yet",
            },
        },
        tags=["operations"],
    )
    def server_health(
        *, lenient: Annotated[bool, Query(description="200 as long as there are answers, however old")] = False
    ) -> Response:
        """Freshness of every published table against its schedule, without counts of people; needs no token."""
        try:
            looked = service.looked
        except (NothingPublishedError, PublishError) as error:
            status = "unpublished" if isinstance(error, NothingPublishedError) else "unreadable"
            found = Health(status=status, publication=None, tables=[])
            return Response(found.model_dump_json(), 503, media_type=JSON)
        name = looked.publication.database.name
        of = PublicationHealth(
            id=name.id if name else None,
            as_of=name.as_of if name else None,
            kept=service.is_kept,
            differing_parts=looked.differing_parts,
        )
        found = health(looked.table_info, of, service.clock())
        code = 200 if found.status == "ok" or (lenient and found.status != "unpublished") else 503
        return Response(found.model_dump_json(), code, media_type=JSON)

    return router
