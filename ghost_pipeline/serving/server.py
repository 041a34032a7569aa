"""The process that answers over HTTP, with limits that keep connections which ask for nothing from using it up.

uvicorn limits requests, not connections: 1,100 clients that had sent half a request held all 1,024 files of the
process, and no other client was answered until they went.
"""

import asyncio
import itertools
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

MAX_CONNECTIONS = 500
"""Of the 1,024 files that Linux gives a process by default; histories and the rows of users need some of them."""
BACKLOG = 128
"""Connections that wait to be accepted, and that are accepted in a row, before any is looked at."""
REQUEST_SECONDS, ANSWER_SECONDS = 10.0, 60.0
"""Time for a whole request to arrive, and for its answer to be read; the slowest answers take 2 s."""
REQUEST_BYTES = 64 << 10
"""Of a request line and headers. A request of this API has no body; what follows an answer counts, too."""

_places = itertools.count()


def build_server(app: FastAPI, **values: Any) -> uvicorn.Server:  # noqa: ANN401 - what uvicorn takes
    """A server of the application, with limits on connections and time."""
    config = uvicorn.Config(
        app,
        http=LimitedConnection,
        ws="none",
        backlog=BACKLOG,
        log_level="warning",
        access_log=False,
        **values,
    )
    return uvicorn.Server(config)


class LimitedConnection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection that is closed if a request or the reading of its answer takes too long.

    If there are too many, the one that has waited longest for a request makes room: a client that sends one gets its
    answer, however many others hold connections open.
    """

    _deadline: asyncio.TimerHandle | None = None
    waiting_since: int | None = None
    """Place in the order in which connections began to wait; None while a request is answered.

    Not a time: uvloop's clock stands still while a batch of connections is accepted.
    """
    _bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a new connection."""
        if len(self.connections) >= MAX_CONNECTIONS and not self._make_room():
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self.waiting_since is not None:
            self._bytes += len(data)
            if self._bytes > REQUEST_BYTES:
                self.transport.abort()
                return
        super().data_received(data)
        if self.waiting_since is not None and self.cycle is not None and not self.cycle.response_complete:
            self.waiting_since = None
            self._limit(ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        """Go on after an answer."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        self.waiting_since, self._bytes = next(_places), 0
        self._limit(REQUEST_SECONDS)

    def _limit(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest; false if all are being answered."""
        waiting = [one for one in cast("set[LimitedConnection]", self.connections) if one.waiting_since is not None]
        if not waiting:
            return False
        longest = min(waiting, key=lambda one: one.waiting_since or 0)
        # Its end is told in the next turn of the loop, after which others may have come.
        self.connections.discard(longest)
        longest.transport.abort()
        return True
