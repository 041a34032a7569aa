"""Dagster's webserver, closed to pages of other sites.

Its pages require no password, and it runs mutations that come by GET: any other page that is open in the same browser
could start runs with the address of an image. Dagster has no setting against that; its class names its middleware.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from dagster_webserver import app as dagster_app
from dagster_webserver.cli import cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ghost_pipeline.serving.app import LOOPBACK


class SameOrigin:
    """Refuses what pages of other sites send, and queries in addresses, which need no page to be sent."""

    def __init__(self, app: ASGIApp) -> None:
        """Take the application behind it."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or 405, or hand the request on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            await _refuse("The request comes from a page of another origin.", 403, scope, receive, send)
        # Dagster's own pages name the operation there, and no query.
        elif scope["path"].endswith("/graphql") and "query" in QueryParams(scope["query_string"]):
            await _refuse("Send the query as JSON, by POST.", 405, scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _refuse(reason: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted, which the server answers with 403.
        await send({"type": "websocket.close", "code": 1008})
    else:
        await PlainTextResponse(reason, status)(scope, receive, send)


def serve_pages(arguments: Sequence[str], names: Sequence[str] = ()) -> None:
    """Serve Dagster's pages until the process is told to stop.

    Args:
        arguments: those of `dagster-webserver`.
        names: under which browsers reach the server, besides those of loopback.

    """

    class GuardedWebserver(DagsterWebserver[Any, Any]):
        """Adds checks of `Host`, against names that others point at this machine, and of `Origin`."""

        def build_middleware(self) -> list[Middleware]:
            hosts: list[Any] = [*LOOPBACK, *names]
            guards = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(SameOrigin)]
            return [*guards, *super().build_middleware()]

    dagster_app.DagsterWebserver = GuardedWebserver  # type: ignore[attr-defined]
    cli(list(arguments), auto_envvar_prefix="DAGSTER_WEBSERVER")
