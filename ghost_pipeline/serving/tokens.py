"""Signed tokens (JWT, HS256) whose subject is the user."""

from dataclasses import dataclass

import jwt

from ghost_pipeline.errors import ForbiddenError, GhostError

ALGORITHM = "HS256"
# The audience is not checked: the key belongs to this server alone, and many applications set one.
REQUIRED = ["sub", "exp"]


class TokenError(GhostError):
    """The caller's token is missing or invalid."""


@dataclass(frozen=True)
class Caller:
    """The user who sends a request."""

    user_id: str

    def require(self, user_id: str) -> None:
        """Check that the caller asks about themselves (G8).

        Raises:
            ForbiddenError: the caller asks about another user, known or not.

        """
        if self.user_id != user_id:
            raise ForbiddenError("the token is another user's: people see only their own figures")


def read_token(authorization: str | None, key: str) -> Caller:
    """Read the caller from an `Authorization` header.

    Raises:
        TokenError: the token is missing, has expired, or was not signed with the key.

    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenError("no token: send `Authorization: Bearer <token>`")
    try:
        claims = jwt.decode(token, key, algorithms=[ALGORITHM], options={"require": REQUIRED, "verify_aud": False})
    except jwt.ExpiredSignatureError as error:
        raise TokenError("the token has expired: ask the application for a new one") from error
    except jwt.InvalidTokenError as error:
        raise TokenError("the token is invalid: it needs sub, exp and the server's signature") from error
    return Caller(claims["sub"])
