"""Connections that ask for nothing do not keep the server from answering others."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ghost_pipeline.serving import server
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import environment
from ghost_pipeline_tests.serving.worlds import served

HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Half: "
FLOOD = 1_100


def half_open(client: httpx.Client, number: int, stack: ExitStack, sent: bytes = HALF) -> list[socket.socket]:
    """Connections that have sent a part of a request."""
    found = []
    for _ in range(number):
        found.append(stack.enter_context(socket.create_connection((client.base_url.host, client.base_url.port or 0))))
        found[-1].sendall(sent)
    return found


def is_closed(connection: socket.socket, patience: float = 10) -> bool:
    """Whether the server ends a connection."""
    connection.settimeout(patience)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def few(published: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A server that takes ten connections and waits long for requests."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 10)
    monkeypatch.setattr(server, "REQUEST_SECONDS", 600)
    with served(published) as client:
        yield client


@pytest.fixture
def impatient(published: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A server that waits 0.3 s for a request."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3)
    with served(published) as client:
        yield client


def test_half_open_requests_make_room_for_a_whole_one(few: httpx.Client) -> None:
    with ExitStack() as stack:
        held = half_open(few, 30, stack)
        assert few.get("/health").status_code == 200
        assert is_closed(held[0])
        # The youngest is not closed, and is answered once it is whole.
        held[-1].sendall(b"x\r\n\r\n")
        held[-1].settimeout(10)
        assert held[-1].recv(15) == b"HTTP/1.1 200 OK"


def test_a_connection_without_a_word_makes_room_too(few: httpx.Client) -> None:
    with ExitStack() as stack:
        held = half_open(few, 30, stack, b"")
        assert few.get("/health").status_code == 200
        assert is_closed(held[0])


@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_request_that_does_not_arrive_is_given_up(sent: bytes, impatient: httpx.Client) -> None:
    with ExitStack() as stack:
        (held,) = half_open(impatient, 1, stack, sent)
        assert is_closed(held)


def test_drops_do_not_prolong_the_wait(impatient: httpx.Client) -> None:
    with ExitStack() as stack:
        (held,) = half_open(impatient, 1, stack)
        end = time.monotonic() + 10
        try:
            while time.monotonic() < end:
                held.sendall(b"x")
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            return
        pytest.fail("the server still waits")


def test_half_of_a_second_request_is_given_up(impatient: httpx.Client) -> None:
    with ExitStack() as stack:
        (held,) = half_open(impatient, 1, stack, HALF + b"x\r\n\r\n" + HALF)
        held.settimeout(10)
        received = b""
        try:
            while piece := held.recv(65_536):
                received += piece
        except ConnectionResetError:
            pass
        assert received.startswith(b"HTTP/1.1 200 OK")


def test_headers_without_end_are_cut_off(published: Settings) -> None:
    with served(published) as client, ExitStack() as stack:
        (held,) = half_open(client, 1, stack)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            held.sendall(b"x" * 64_000_000)


def test_a_connection_is_used_for_many_requests(published: Settings) -> None:
    with served(published) as client:
        assert {client.get("/health").status_code for _ in range(50)} == {200}


@pytest.mark.long
def test_1100_half_open_requests_do_not_stop_a_server_with_1024_files(published: Settings, tmp_path: Path) -> None:
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)); "
        "from ghost_pipeline.cli.main import main; main(sys.argv[1:])"
    )
    read, write = os.pipe()
    command = [sys.executable, "-c", program, "serve", "--port", "0"]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, env=environment(published.local), cwd=tmp_path, stderr=write)
        )
        stack.callback(process.terminate)
        os.close(write)
        lines = stack.enter_context(os.fdopen(read, encoding="utf-8"))
        address = next(line.split()[3].rstrip("/,") for line in lines if line.startswith("Web page on"))
        client = stack.enter_context(httpx.Client(base_url=address, timeout=30))
        half_open(client, FLOOD, stack)
        assert [client.get("/health?lenient=true").status_code for _ in range(3)] == [200] * 3
