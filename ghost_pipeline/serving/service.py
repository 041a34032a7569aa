"""Shared by all routes: the reader, the responses in memory, and how an answer is sent and described."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from types import GenericAlias
from typing import Any, NamedTuple

import polars as pl
from fastapi.responses import Response
from pydantic import BaseModel, create_model

from ghost_pipeline.serving.freshness import stale_from
from ghost_pipeline.serving.in_memory_responses import InMemoryGhostData
from ghost_pipeline.serving.reader import GhostReader

JSON = "application/json"
AS_OF, STALE = "Ghost-As-Of", "Ghost-Stale"


class Problem(BaseModel):
    """The reason for a refusal, in one sentence."""

    detail: str


PROBLEMS: dict[int | str, dict[str, object]] = {
    401: {"model": Problem, "description": "The token is missing or invalid"},
    403: {"model": Problem, "description": "The token is another user's"},
    422: {"model": Problem, "description": "A parameter is wrong; the detail lists the allowed values"},
    500: {"model": Problem, "description": "The published data cannot be read"},
    503: {"model": Problem, "description": "Nothing has been published yet"},
}
UNKNOWN_USER: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "The user is unknown"},
    **PROBLEMS,
}


class Service:
    """State of a running server."""

    def __init__(self, reader: GhostReader, clock: Callable[[], datetime]) -> None:
        """Start without responses in memory; the application loads them."""
        self.reader, self.clock = reader, clock
        self.in_memory: InMemoryGhostData | None = None

    def answer(self, content: str | bytes, as_of: datetime | None, table: str) -> Response:
        """A JSON response whose headers give its `as_of` and whether its table is older than its schedule promises."""
        stamp = _stamp(as_of, table)
        headers = stamp.stale if self.clock() > stamp.stale_from else stamp.fresh
        return Response(content, media_type=JSON, headers=headers)


class _Stamp(NamedTuple):
    stale_from: datetime
    fresh: dict[str, str]
    stale: dict[str, str]


@lru_cache(maxsize=64)
def _stamp(as_of: datetime | None, table: str) -> _Stamp:
    clock = {} if as_of is None else {AS_OF: f"{as_of:%Y-%m-%dT%H:%M:%SZ}"}
    return _Stamp(stale_from(as_of, table), {**clock, STALE: "false"}, {**clock, STALE: "true"})


def rows_model(name: str, schema: pl.Schema, **more: pl.Schema) -> type[BaseModel]:
    """Describe an answer made of rows, from the columns of its frames."""
    fields: dict[str, Any] = {"user_id": str, "keyboard_id": str, "as_of": datetime | None}
    for part, columns in {"rows": schema, **more}.items():
        fields[part] = GenericAlias(list, (_row_model(f"{name}_{part}", columns),))
    model: type[BaseModel] = create_model(name, **fields)
    return model


def _row_model(name: str, schema: pl.Schema) -> type[BaseModel]:
    # Nullable throughout: the transforms document which columns are null, and when.
    fields: dict[str, Any] = {column: (dtype.to_python() | None, ...) for column, dtype in schema.items()}
    model: type[BaseModel] = create_model(name, **fields)
    return model
