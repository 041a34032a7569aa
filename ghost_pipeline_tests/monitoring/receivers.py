"""Real receivers of alerts on loopback: a webhook and a mail server."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Webhook:
    """A server that takes JSON, or answers 500 while it is told to fail."""

    address: str
    got: list[dict[str, Any]] = field(default_factory=list)
    failing: bool = False


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a webhook."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not hook.failing:
                hook.got.append(json.loads(body))
            self.send_response(500 if hook.failing else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(f"json://operator:swordfish@127.0.0.1:{server.server_port}/alerts")
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield hook
        finally:
            server.shutdown()
            serving.join()


@dataclass
class Mailbox:
    """The mails that arrived."""

    address: str
    got: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.got.append(mail)
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Serve SMTP."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    box = Mailbox(f"mailto://127.0.0.1:{port}/?from=ghost@example.com&to=operator@example.com&mode=insecure")
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
