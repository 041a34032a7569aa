"""A real S3 server on loopback, for tests: it keeps its objects in memory and notes what it was asked."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from threading import Thread
from typing import Any
from urllib.parse import unquote

import obstore
from obstore.store import S3Store
from werkzeug.serving import make_server

BUCKET = "ghost-lake"
ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>so it is</Message></Error>"

logging.getLogger("werkzeug").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: str
    range: str = ""

    @property
    def kind(self) -> str:
        """PUT, HEAD, GET, POST or LIST."""
        return "LIST" if self.method == "GET" and "list-type" in self.query else self.method


def allow(_request: Request) -> tuple[str, bytes] | None:
    """Let the server answer."""
    return None


@dataclass
class S3Server:
    """The server, with one bucket."""

    endpoint: str
    requests: list[Request] = field(default_factory=list)
    refuses: Callable[[Request], tuple[str, bytes] | None] = allow
    """Answers a request with a status and a code of S3's in place of doing it."""

    def environment(self) -> dict[str, str]:
        """The variables with which a process reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-shows",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def store(self) -> S3Store:
        """The bucket, as another client sees it."""
        return S3Store(
            BUCKET,
            endpoint=self.endpoint,
            access_key_id="test",
            secret_access_key="test",  # noqa: S106 - a test
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Everything below a prefix, by what follows it."""
        store = self.store()
        names = [one["path"] for page in obstore.list(store, prefix) for one in page]
        return {name.removeprefix(f"{prefix}/"): bytes(obstore.get(store, name).bytes()) for name in names}

    def asked(self, kind: str) -> list[str]:
        """The paths below the bucket of all requests of a kind, in their order."""
        return [unquote(one.path).removeprefix(f"/{BUCKET}/") for one in self.requests if one.kind == kind]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server until the end of the block."""
    # A second to import, and `make test` runs no server.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415

    backend: Any = DomainDispatcherApplication(create_backend_app)
    server: S3Server

    def noting(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], environ.get("HTTP_RANGE", "")
        )
        server.requests.append(request)
        if refused := server.refuses(request):
            status, code = refused
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(status, [("Content-Type", "application/xml")])
            return [] if request.method == "HEAD" else [ERROR % code]
        answer: Iterable[bytes] = backend(environ, start)
        return answer

    listening = make_server("127.0.0.1", 0, noting, threaded=True)
    server = S3Server(f"http://127.0.0.1:{listening.server_port}")
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        _make_bucket(server)
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def _make_bucket(server: S3Server) -> None:
    connection = HTTPConnection(server.endpoint.removeprefix("http://"))
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200
    connection.close()
