"""Checks before every answer: the caller's token, the user that the path names, and the parameters.

Route classes rather than FastAPI dependencies, which cost as much as an answer itself (60 of 200 microseconds).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import SecretStr

from ghost_pipeline.errors import PublishError, UnknownArgumentError
from ghost_pipeline.serving.service import Service
from ghost_pipeline.serving.tokens import read_token

UserId = Annotated[str, Path(description="The user; with a token, its subject", examples=["learner-00042"])]
SCHEME = "token"
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "Signed with HS256; its subject is the user",
}
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CheckedRoute(APIRoute):
    """Rejects parameters that the route does not have: a misspelt filter would silently filter nothing."""

    def plain_handler(self) -> Handler | None:
        """The handler of requests without parameters, if the route has a faster one for them."""
        return None

    def get_route_handler(self) -> Handler:
        """The handler, preceded by the check.

        Raises:
            UnknownArgumentError: the route lacks a parameter; names it and the allowed ones.

        """
        handle = super().get_route_handler()
        plain = self.plain_handler() or handle

        async def checked(request: Request) -> Response:
            if not request.scope["query_string"]:
                return await plain(request)
            _require_known(request, self.path)
            return await handle(request)

        return checked


def authenticated_route(service: Service, plain_answer: Handler | None = None) -> type[CheckedRoute]:
    """The class of routes that answer only about the caller (G8); without a key, callers are not authenticated."""

    class OpenRoute(CheckedRoute):
        """Answers every caller."""

        def plain_handler(self) -> Handler | None:
            return plain_answer

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answered(request: Request) -> Response:
                served = service.present
                try:
                    return await handle(request)
                except PublishError:
                    if not await asyncio.to_thread(service.serve_newest, served):
                        raise
                return await handle(request)

            return answered

    if service.settings.token_key is None:
        return OpenRoute
    key = service.settings.token_key.get_secret_value()

    class TokenRoute(OpenRoute):
        """Requires a token and, if the path names a user, that user's own.

        Raises:
            TokenError: the token is missing or invalid.
            ForbiddenError: the token is another user's.

        """

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def authenticated(request: Request) -> Response:
                caller = read_token(request.headers.get("authorization"), key)
                if (user_id := request.path_params.get("user_id")) is not None:
                    caller.require(user_id)
                return await handle(request)

            return authenticated

    return TokenRoute


def describe_tokens(app: FastAPI, token_key: SecretStr | None) -> None:
    """Mark the routes that require a token in the OpenAPI description; without a key there are none."""
    if token_key is None:
        return
    described = app.openapi()
    described["components"]["securitySchemes"] = {SCHEME: BEARER}
    for path in described["paths"].values():
        for operation in path.values():
            if "401" in operation["responses"]:
                operation["security"] = [{SCHEME: []}]


def _require_known(request: Request, path: str) -> None:
    described = request.app.openapi()["paths"][path]["get"].get("parameters", [])
    allowed = [one["name"] for one in described if one["in"] == "query"]
    must = f"parameters must be among {', '.join(allowed)}" if allowed else "there must be no parameter"
    for name in request.query_params:
        if name not in allowed:
            raise UnknownArgumentError(f"{must} (got {name!r})")
