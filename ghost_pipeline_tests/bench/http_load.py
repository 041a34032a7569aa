"""A client that asks as fast as a server answers, over kept connections, and compares every answer to the byte.

Standard input: JSON with host, port, connections, seconds and `requests`, a list of [path, answers], where an answer
is [Ghost-As-Of or "", body]; without answers any body will do. Standard output: JSON with the answers per second and
the failed ones.
"""

import json
import selectors
import socket
import sys
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter

END_OF_HEAD = b"\r\n\r\n"


@dataclass
class _Connection:
    socket: socket.socket
    asked: int = 0
    received: bytearray = field(default_factory=bytearray)


def main() -> None:
    """Ask for some seconds, then report."""
    order = json.loads(sys.stdin.read())
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path, _ in order["requests"]]
    answers = [{of: body.encode() for of, body in known} for _, known in order["requests"]]
    turn = cycle(range(len(requests)))
    selector = selectors.DefaultSelector()
    for _ in range(order["connections"]):
        connection = _Connection(socket.create_connection((order["host"], order["port"])))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        _ask(connection, requests, turn)
    answered, failed, seen = 0, 0, set()
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
            known = answers[connection.asked]
            failed += status != b"200" or bool(known and known.get(as_of) != body)
            seen.add(as_of)
            connection.received.clear()
            _ask(connection, requests, turn)
    elapsed = perf_counter() - start
    report = {"per_second": answered / elapsed, "answered": answered, "failed": failed, "publications": len(seen)}
    sys.stdout.write(json.dumps(report))


def _ask(connection: _Connection, requests: list[bytes], turn: "cycle[int]") -> None:
    connection.asked = next(turn)
    connection.socket.sendall(requests[connection.asked])


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
