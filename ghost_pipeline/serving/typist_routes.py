"""Routes about typists: the heat map and the other n-gram queries (N4)."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from unicodedata import normalize

import polars as pl
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH
from ghost_pipeline.domain.ngrams.ngram_insights import IMPACT_SCHEMA, LEARNING_RATE_SCHEMA, MISTAKE_PAIR_SCHEMA
from ghost_pipeline.domain.ngrams.ngram_queries import (
    ERROR_COUNT_SCHEMA,
    HEAT_MAP_SCHEMA,
    LOOKBACK_DISTANCE,
    MIN_OCCURRENCES,
    PERFORMANCE_SCHEMA,
    SORT_ORDERS,
)
from ghost_pipeline.domain.ngrams.ngram_trends import (
    BIGGEST_CHANGES_SCHEMA,
    MISSING_TARGET_SCHEMA,
    N_SESSIONS,
    NGRAM_TREND_SCHEMA,
)
from ghost_pipeline.serving.auth import UserId, authenticated_route
from ghost_pipeline.serving.json_rows import as_json_rows
from ghost_pipeline.serving.reader import GhostReader
from ghost_pipeline.serving.service import PROBLEMS, Problem, Service, rows_model
from ghost_pipeline.serving.typists import ROWS
from ghost_pipeline.settings import MAX_NGRAM_SIZE

SortOrder = Annotated[str, Query(json_schema_extra={"enum": list(SORT_ORDERS)})]
KeyboardId = Annotated[str, Path(description="A keyboard of the user", examples=["keyboard-0007-1"])]
MOST = 10_000
Number = Annotated[int, Query(le=MOST, ge=-MOST, description="Maximum number of rows; 0 or less returns none")]
Target = Annotated[
    float | None,
    Query(gt=0, le=10**6, allow_inf_nan=False, description="Target in ms per keystroke, instead of the keyboard's own"),
]
_SIZE = "([1-9]|1[0-9]|20)"
Sizes = Annotated[
    str | None,
    Query(
        pattern=rf"^({_SIZE}(,{_SIZE})*)?$",
        description="Sizes of n-grams, 1 to 20, separated by commas; empty selects none, absent selects all",
        examples=["2,3"],
    ),
]


def _composed(text: object) -> object:
    return normalize("NFC", text) if isinstance(text, str) else text


Composed = BeforeValidator(_composed)
"""Text is compared and measured in NFC, as it is stored: a decomposed one may have twice the length."""
Keys = Annotated[
    str | None,
    Composed,
    Query(max_length=200, description="Only n-grams that consist of these characters", examples=["asdf"]),
]
NgramText = Annotated[str, Composed, Query(min_length=1, max_length=MAX_NGRAM_LENGTH, examples=["th"])]


class Keyboard(BaseModel):
    """A keyboard that the user has practised on."""

    keyboard_id: str
    keyboard_name: str | None
    target_ms_per_keystroke: float
    ngrams: int


class Keyboards(BaseModel):
    """The keyboards of a user, the most practised first."""

    user_id: str
    as_of: datetime | None
    rows: list[Keyboard]


HeatMap = rows_model("HeatMap", HEAT_MAP_SCHEMA)
Slowest = rows_model("Slowest", PERFORMANCE_SCHEMA)
Errors = rows_model("Errors", ERROR_COUNT_SCHEMA)
Trend = rows_model("Trend", NGRAM_TREND_SCHEMA, learning_rates=LEARNING_RATE_SCHEMA)
Progress = rows_model(
    "Progress",
    MISSING_TARGET_SCHEMA,
    biggest_changes=BIGGEST_CHANGES_SCHEMA,
    practice_impact=IMPACT_SCHEMA,
    mistake_pairs=MISTAKE_PAIR_SCHEMA,
)


UNKNOWN_TYPIST: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "The user or the keyboard is unknown"},
    **PROBLEMS,
}


def typist_routes(service: Service) -> APIRouter:
    """Build the routes over a service."""
    route_class = authenticated_route(service)
    router = APIRouter(tags=["typists"], responses=UNKNOWN_TYPIST, route_class=route_class)

    def answer(reader: GhostReader, ids: dict[str, str], **parts: pl.DataFrame) -> Response:
        return service.answer(_body(reader, ids, parts), reader.ngrams_as_of(), NGRAM_SPEED_SUMMARIES.name)

    @router.get("/users/{user_id}/keyboards", response_model=Keyboards)
    def keyboards(user_id: UserId) -> Response:
        """The keyboards that the user has practised on."""
        reader = service.served.reader
        return answer(reader, {"user_id": user_id}, rows=reader.keyboards(user_id))

    @router.get("/ngrams/{user_id}/{keyboard_id}/heatmap", response_model=HeatMap)
    def heatmap(
        user_id: UserId,
        keyboard_id: KeyboardId,
        *,
        target_speed_ms: Target = None,
        ngram_size_filter: Annotated[int | None, Query(ge=1, le=MAX_NGRAM_SIZE)] = None,
        exclude_successful: Annotated[bool, Query(description="Hide n-grams that meet the target")] = False,
        sort_order: SortOrder = SORT_ORDERS[0],
    ) -> Response:
        """Speed, category and colour of each n-gram against the target."""
        reader = service.served.reader

        def make() -> bytes:
            rows = reader.heatmap(
                user_id,
                keyboard_id,
                target_speed_ms=target_speed_ms,
                ngram_size_filter=ngram_size_filter,
                exclude_successful=exclude_successful,
                sort_order=sort_order,
            )
            return _body(reader, _ids(user_id, keyboard_id), {"rows": rows})

        asked = (user_id, keyboard_id, target_speed_ms, ngram_size_filter, exclude_successful, sort_order)
        body = reader.publication().cached(asked, make)
        return service.answer(body, reader.ngrams_as_of(), NGRAM_SPEED_SUMMARIES.name)

    @router.get("/ngrams/{user_id}/{keyboard_id}/slowest", response_model=Slowest)
    def slowest(
        user_id: UserId,
        keyboard_id: KeyboardId,
        *,
        n: Number = ROWS,
        ngram_sizes: Sizes = None,
        included_keys: Keys = None,
        min_occurrences: Annotated[int, Query(ge=0, le=10**9)] = MIN_OCCURRENCES,
        focus_on_speed_target: Annotated[bool, Query(description="Only n-grams that miss the target")] = False,
    ) -> Response:
        """Slowest n-grams by decaying average."""
        reader = service.served.reader
        rows = reader.slowest(
            user_id,
            keyboard_id,
            n,
            ngram_sizes=_sizes(ngram_sizes),
            included_keys=included_keys,
            min_occurrences=min_occurrences,
            focus_on_speed_target=focus_on_speed_target,
        )
        return answer(reader, _ids(user_id, keyboard_id), rows=rows)

    @router.get("/ngrams/{user_id}/{keyboard_id}/errors", response_model=Errors)
    def errors(
        user_id: UserId,
        keyboard_id: KeyboardId,
        *,
        n: Number = ROWS,
        ngram_sizes: Sizes = None,
        included_keys: Keys = None,
        lookback_distance: Annotated[
            int, Query(le=10**9, ge=-(10**9), description="Number of newest sessions to count")
        ] = LOOKBACK_DISTANCE,
    ) -> Response:
        """Most often mistyped n-grams."""
        reader = service.served.reader
        rows = reader.errors(
            user_id,
            keyboard_id,
            n,
            ngram_sizes=_sizes(ngram_sizes),
            included_keys=included_keys,
            lookback_distance=lookback_distance,
        )
        return answer(reader, _ids(user_id, keyboard_id), rows=rows)

    @router.get("/ngrams/{user_id}/{keyboard_id}/trend", response_model=Trend)
    def trend(user_id: UserId, keyboard_id: KeyboardId, *, ngram_text: NgramText) -> Response:
        """Hourly history of one n-gram, with its learning rate."""
        reader = service.served.reader
        rows = reader.trend(user_id, keyboard_id, ngram_text)
        rates = reader.learning_rates(user_id, keyboard_id, ngram_text)
        return answer(reader, _ids(user_id, keyboard_id), rows=rows, learning_rates=rates)

    @router.get("/ngrams/{user_id}/{keyboard_id}/progress", response_model=Progress)
    def progress(
        user_id: UserId,
        keyboard_id: KeyboardId,
        *,
        n: Number = ROWS,
        n_sessions: Annotated[int, Query(le=MOST, ge=-MOST)] = N_SESSIONS,
        target_speed_ms: Target = None,
    ) -> Response:
        """Progress of practice: misses per session, biggest changes, costliest n-grams, mistakes."""
        reader = service.served.reader
        found = reader.progress(user_id, keyboard_id, n, n_sessions=n_sessions, target_speed_ms=target_speed_ms)
        return answer(reader, _ids(user_id, keyboard_id), **found._asdict())

    return router


def _ids(user_id: str, keyboard_id: str) -> dict[str, str]:
    return {"user_id": user_id, "keyboard_id": keyboard_id}


def _body(reader: GhostReader, ids: dict[str, str], parts: Mapping[str, pl.DataFrame]) -> bytes:
    """The answer as JSON.

    Raises:
        UnknownUserError: there are no rows, because the user is unknown.
        UnknownKeyboardError: the same of the keyboard.

    """
    if all(frame.is_empty() for frame in parts.values()):
        reader.require_typist(**ids)
    as_of = reader.ngrams_as_of()
    head = {**ids, "as_of": None if as_of is None else f"{as_of:%Y-%m-%dT%H:%M:%SZ}"}
    rows = [f'"{name}": {as_json_rows(frame)}' for name, frame in parts.items()]
    return (", ".join([json.dumps(head)[:-1], *rows]) + "}").encode()


def _sizes(text: str | None) -> list[int] | None:
    return None if text is None else [int(size) for size in text.split(",") if size]
