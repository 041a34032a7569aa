"""A client that asks as fast as a server answers, over kept connections, and compares every answer to the byte.

Standard input: JSON with host, port, connections, seconds, and either

- `requests`, a list of [path, answers], asked in turn, where an answer is [Ghost-As-Of or "", body]; without answers
  any body will do; or
- `path` with a place for a number, `count`, and `digests`: per Ghost-As-Of a file with 8 bytes for the body of each
  number. The numbers are spread out evenly: none comes again before all others.

Standard output: JSON with the answers per second, the failed ones, and when each publication was first seen.
"""

import json
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import cycle
from math import gcd
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

END_OF_HEAD = b"\r\n\r\n"
DIGEST_BYTES = 8
GOLDEN = 0.6180339887
"""A step of so much of the numbers goes evenly through all of them."""

Check = Callable[[str, bytes], bool]
"""Whether a body is right for the publication that it names."""


@dataclass
class _Connection:
    socket: socket.socket
    check: Check = lambda _as_of, _body: True
    received: bytearray = field(default_factory=bytearray)


def digest(body: bytes) -> bytes:
    """The digest of a body."""
    return blake2b(body, digest_size=DIGEST_BYTES).digest()


def main() -> None:
    """Ask for some seconds, then report."""
    order = json.loads(sys.stdin.read())
    requests = _in_turn(order) if "requests" in order else _spread_out(order)
    selector = selectors.DefaultSelector()
    for _ in range(order["connections"]):
        connection = _Connection(socket.create_connection((order["host"], order["port"])))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        _ask(connection, requests)
    answered, failed = 0, 0
    seen: list[tuple[float, str]] = []
    start = perf_counter()
    stop = start + order["seconds"]
    while perf_counter() < stop:
        for key, _ in selector.select(timeout=1):
            connection = key.data
            connection.received += connection.socket.recv(1 << 20)
            answer = _complete(connection.received)
            if answer is None:
                continue
            status, as_of, body = answer
            answered += 1
            failed += status != b"200" or not connection.check(as_of, body)
            if not seen or seen[-1][1] != as_of:
                seen.append((monotonic(), as_of))
            connection.received.clear()
            _ask(connection, requests)
    elapsed = perf_counter() - start
    report = {"per_second": answered / elapsed, "answered": answered, "failed": failed, "seen": seen}
    sys.stdout.write(json.dumps(report))


def _in_turn(order: dict[str, Any]) -> Iterator[tuple[bytes, Check]]:
    def check(known: dict[str, bytes]) -> Check:
        return lambda as_of, body: not known or known.get(as_of) == body

    return cycle(
        [(_request(path), check({of: body.encode() for of, body in known})) for path, known in order["requests"]]
    )


def _spread_out(order: dict[str, Any]) -> Iterator[tuple[bytes, Check]]:
    digests = {as_of: Path(file).read_bytes() for as_of, file in order["digests"].items()}
    count = order["count"]
    step = next(one for one in range(int(count * GOLDEN) or 1, 2 * count + 1) if gcd(one, count) == 1)

    def check(number: int) -> Check:
        known = slice(number * DIGEST_BYTES, (number + 1) * DIGEST_BYTES)
        return lambda as_of, body: as_of in digests and digests[as_of][known] == digest(body)

    number = 0
    while True:
        yield _request(order["path"].format(number)), check(number)
        number = (number + step) % count


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _ask(connection: _Connection, requests: Iterator[tuple[bytes, Check]]) -> None:
    request, connection.check = next(requests)
    connection.socket.sendall(request)


def _complete(received: bytearray) -> tuple[bytes, str, bytes] | None:
    """Status, Ghost-As-Of and body, once all of it is there."""
    at = received.find(END_OF_HEAD)
    if at < 0:
        return None
    head = bytes(received[:at]).lower()
    length = int(_header(head, b"content-length"))
    body = at + len(END_OF_HEAD)
    if len(received) < body + length:
        return None
    return head.split(b" ", 2)[1], _header(head, b"ghost-as-of").decode().upper(), bytes(received[body:])


def _header(head: bytes, name: bytes) -> bytes:
    found = head.find(b"\r\n" + name + b": ")
    if found < 0:
        return b""
    start = found + len(name) + 4
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None]


if __name__ == "__main__":
    main()
