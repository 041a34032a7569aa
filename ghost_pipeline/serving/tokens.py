"""Who asks: signed tokens (JWT, HS256) whose subject is the user."""

from dataclasses import dataclass

import jwt

from ghost_pipeline.errors import ForbiddenError, GhostError

ALGORITHM = "HS256"
# The key is this server's alone, so an audience adds nothing; many applications put one in.
REQUIRED = ["sub", "exp"]


class TokenError(GhostError):
    """The caller shows no token, or one that does not hold."""


@dataclass(frozen=True)
class Caller:
    """Somebody who asks."""

    user_id: str

    def require(self, user_id: str) -> None:
        """Make sure that the caller asks for nobody but themselves (G8).

        Raises:
            ForbiddenError: they ask for somebody else, known or not.

        """
        if self.user_id != user_id:
            raise ForbiddenError("the token is another user's: people see their own figures only")


def read_token(authorization: str | None, key: str) -> Caller:
    """The caller whom an `Authorization` header names.

    Raises:
        TokenError: there is none, it has expired, or it was not signed with the key.

    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenError("no token: send `Authorization: Bearer <token>`")
    try:
        claims = jwt.decode(token, key, algorithms=[ALGORITHM], options={"require": REQUIRED, "verify_aud": False})
    except jwt.ExpiredSignatureError as error:
        raise TokenError("the token has expired: ask the application for a new one") from error
    except jwt.InvalidTokenError as error:
        raise TokenError("the token does not hold: it needs sub and exp, and the server's signature") from error
    return Caller(claims["sub"])
