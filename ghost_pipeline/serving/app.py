"""The HTTP API and the web page, as one application (ASGI)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ghost_pipeline import __version__
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.errors import (
    ForbiddenError,
    GhostError,
    NothingPublishedError,
    PublishError,
    UnknownKeyboardError,
    UnknownUserError,
)
from ghost_pipeline.serving.auth import describe_tokens
from ghost_pipeline.serving.learner_routes import ghost_data_route, health_route, learner_routes
from ghost_pipeline.serving.metrics import MeasuredRequests, RequestFigures, metrics_route
from ghost_pipeline.serving.page import PageFiles
from ghost_pipeline.serving.service import PRIVATE, Service
from ghost_pipeline.serving.tokens import TokenError
from ghost_pipeline.serving.typist_routes import typist_routes
from ghost_pipeline.settings import Settings

POLL_SECONDS = 1.0
"""Interval at which the server looks for a new publication."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
STATUS = {
    TokenError: 401,
    ForbiddenError: 403,
    UnknownUserError: 404,
    UnknownKeyboardError: 404,
    NothingPublishedError: 503,
    PublishError: 503,
}
INTERNAL: dict[type[Exception], str] = {
    NothingPublishedError: "nothing has been published yet",
    GhostError: "the published data cannot be read; the reason is in the server's log",
}
"""What a caller is told in place of paths and remedies, which are for the operator of the server."""
_OPERATORS = 500
"""From this status on, it is the operator of the server who has to do something."""
_log = logging.getLogger("ghost_pipeline.serving")


def build_app(settings: Settings, clock: Callable[[], datetime] = wall_clock) -> FastAPI:
    """Build the application over the published database of the settings; `clock` tells the age of its tables."""
    service = Service(settings, clock)
    app = FastAPI(
        title="ghost_pipeline",
        version=__version__,
        summary="Anonymized peer comparison and n-gram typing analytics",
        description="Every answer comes from one publication. The header `Ghost-As-Of` gives its `as_of`; "
        "`Ghost-Stale: true` means that the publication is older than its schedule promises, or that the published "
        "file is gone or damaged and the last publication answers.",
        lifespan=_lifespan_of(service),
        # FastAPI's own pages load their scripts from other hosts.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(ghost_data_route(service))
    app.include_router(learner_routes(service))
    app.include_router(typist_routes(service))
    app.include_router(health_route(service))
    figures = RequestFigures(service)
    app.include_router(metrics_route(figures))
    describe_tokens(app, settings.token_key)
    app.mount("/", PageFiles(), name="page")
    app.add_exception_handler(GhostError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    if settings.token_key is None:
        # Without tokens only the loopback address protects the answers. DNS rebinding would get round it: a foreign
        # page that points its own name at 127.0.0.1.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
    app.add_middleware(_PrivateAnswers)
    app.add_middleware(MeasuredRequests, figures=figures)
    return app


class _PrivateAnswers:
    """Adds the headers of `PRIVATE` to every answer that lacks them, refusals of the framework included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in PRIVATE.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_private)


def _lifespan_of(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        polling = asyncio.create_task(_poll(service))
        try:
            yield
        finally:
            service.stopping.set()
            polling.cancel()
            with suppress(asyncio.CancelledError):
                await polling

    return lifespan


async def _poll(service: Service) -> None:
    while True:
        try:
            await asyncio.to_thread(service.refresh)
        except Exception:  # noqa: BLE001 - the previous answers stay, and the next poll may succeed
            _log.exception("the new publication could not be loaded")
        await asyncio.sleep(POLL_SECONDS)


async def _refused(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        status = 422 if isinstance(error, ValueError) else 500
    headers = {"WWW-Authenticate": "Bearer"} if status == STATUS[TokenError] else None
    if status < _OPERATORS:
        return JSONResponse({"detail": str(error)}, status, headers)
    _log.warning("%s", error)
    told = next(text for kind, text in INTERNAL.items() if isinstance(error, kind))
    return JSONResponse({"detail": told}, status, headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for it
    faults = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors())
    return JSONResponse({"detail": faults}, 422)


async def _failed(_request: Request, _error: Exception) -> Response:
    # Sent outside of every middleware. The error itself is logged by the framework.
    return JSONResponse({"detail": INTERNAL[GhostError]}, 500, PRIVATE)
