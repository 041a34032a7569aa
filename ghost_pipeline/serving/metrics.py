"""`/metrics` for Prometheus, and the log of requests: routes by their pattern, never by the ids in a path."""

import logging
import time
from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ghost_pipeline.errors import NothingPublishedError, PublishError
from ghost_pipeline.serving.auth import CheckedRoute
from ghost_pipeline.serving.freshness import stale_from
from ghost_pipeline.serving.service import Service

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""Limits of the histogram: most answers take 0.2 ms, the slowest 2 s."""
PAGE, UNKNOWN = "page", "unknown"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_log = logging.getLogger("ghost_pipeline.requests")


class _Published(Collector):
    """The age of what is published; without counts of rows, which would tell how many people there are."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Read what the server knows already."""
        service, now = self._service, self._service.clock()
        readable = GaugeMetricFamily("ghost_published_readable", "1 if what is published can be read and is whole")
        age = GaugeMetricFamily("ghost_published_age_seconds", "Time since the as_of of a table", labels=["table"])
        stale = GaugeMetricFamily("ghost_published_stale", "1 if a table is older than promised", labels=["table"])
        try:
            looked = service.looked
        except (NothingPublishedError, PublishError):
            readable.add_metric([], 0)
        else:
            readable.add_metric([], 0 if service.is_kept or looked.differing_parts else 1)
            for table, as_of in looked.table_info.select("table", "as_of").drop_nulls().sort("table").iter_rows():
                age.add_metric([table], (now - as_of).total_seconds())
                stale.add_metric([table], float(now > stale_from(as_of, table)))
        yield from (readable, age, stale)


class RequestFigures:
    """The counts and times of requests of one server."""

    def __init__(self, service: Service) -> None:
        """Begin with no request."""
        self.registry = CollectorRegistry()
        self.registry.register(_Published(service))
        labels, registry = ["method", "route"], self.registry
        told = "Time to the first byte of an answer"
        self._requests = Counter("ghost_http_requests", "Answered requests", [*labels, "status"], registry=registry)
        self._seconds = Histogram("ghost_http_request_seconds", told, labels, buckets=SECONDS, registry=registry)

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class MeasuredRequests:
    """Counts every request and logs it in one line, as the outermost layer of an application."""

    def __init__(self, app: ASGIApp, figures: RequestFigures) -> None:
        """Wrap an application."""
        self._app, self._figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        since, started = time.perf_counter(), False

        async def send_measured(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and not started:
                started = True
                self._note(scope, message["status"], time.perf_counter() - since)
            await send(message)

        await self._app(scope, receive, send_measured)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else UNKNOWN
        route = route_of(scope)
        self._figures.add(method, route, status, seconds)
        _log.info(
            "%s %s %d %.1f ms",
            *(method, route, status, seconds * 1000),
            extra={"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 3)},
        )


def route_of(scope: Scope) -> str:
    """The pattern of the route that answers, such as `/users/{user_id}/messages`; `page` for files of the page."""
    found = getattr(scope.get("route"), "path", None)
    if isinstance(found, str) and found:
        return found
    return PAGE if scope.get("endpoint") is not None else UNKNOWN


def metrics_route(figures: RequestFigures) -> APIRouter:
    """Build the route that Prometheus asks, with or without a token."""
    router = APIRouter(route_class=CheckedRoute)

    @router.get("/metrics", tags=["operations"], response_class=Response)
    def metrics() -> Response:
        """Counts and times of requests, and the age of every published table; needs no token and names no person."""
        return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)

    return router
