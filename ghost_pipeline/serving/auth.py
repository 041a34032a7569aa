"""What stands before every answer: who asks, for whom, and with which parameters.

A route class instead of dependencies: those cost as much as the answer itself (60 of 200 microseconds).
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import SecretStr

from ghost_pipeline.errors import UnknownArgumentError
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
    """Refuses a parameter that the route does not have: a misspelt filter that filters nothing misleads."""

    def plain_handler(self) -> Handler | None:
        """What answers a request without parameters, where a route has a shorter way for those."""
        return None

    def get_route_handler(self) -> Handler:
        """The handler, behind the check.

        Raises:
            UnknownArgumentError: names the parameter, and those there are.

        """
        handle = super().get_route_handler()
        plain = self.plain_handler() or handle

        async def checked(request: Request) -> Response:
            if not request.scope["query_string"]:
                return await plain(request)
            _require_known(request, self.path)
            return await handle(request)

        return checked


def guarded_route(token_key: SecretStr | None, plain_answer: Handler | None = None) -> type[CheckedRoute]:
    """The class of routes that answer for the caller alone (G8); without a key nobody is asked who they are."""

    class OpenRoute(CheckedRoute):
        """Asks nobody who they are."""

        def plain_handler(self) -> Handler | None:
            return plain_answer

    if token_key is None:
        return OpenRoute
    key = token_key.get_secret_value()

    class GuardedRoute(OpenRoute):
        """Asks for a token and, where the path names a user, for that user's own.

        Raises:
            TokenError: there is no token that holds.
            ForbiddenError: it is another user's.

        """

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                caller = read_token(request.headers.get("authorization"), key)
                if (user_id := request.path_params.get("user_id")) is not None:
                    caller.require(user_id)
                return await handle(request)

            return guarded

    return GuardedRoute


def describe_tokens(app: FastAPI, token_key: SecretStr | None) -> None:
    """Say in the description of the API which routes ask for a token; without a key none does."""
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
    for name in request.query_params:
        if name not in allowed:
            raise UnknownArgumentError(f"parameter {name!r} is unknown, allowed are {', '.join(allowed) or 'none'}")
