"""Addresses of PostgreSQL servers, and their errors without passwords or values of rows."""

import os
import re
from typing import Final
from urllib.parse import unquote

import adbc_driver_manager as adbc

from ghost_pipeline.locations import MALFORMED_POSTGRES_ADDRESS, POSTGRES_ADDRESS

CONNECT_SECONDS = 10
"""Time limit for connecting, unless the address or PGCONNECT_TIMEOUT sets another."""

SESSION: Final = (
    # Times without a zone are UTC, as text and in comparisons.
    "SET LOCAL TIME ZONE 'UTC'",
    "SET LOCAL DateStyle TO ISO",
    # Overrides PGCLIENTENCODING: the driver decodes every text as UTF-8.
    "SET LOCAL client_encoding TO 'UTF8'",
    # A run may compute for minutes between two statements.
    "SET LOCAL idle_in_transaction_session_timeout TO 0",
)
"""The first statements of every transaction."""

LOST = "the connection was lost"
MESSAGE = re.compile(r"(?:ERROR|FATAL|PANIC):\s*([^\n]*)")
"""The server's message within an error of libpq."""
_TELLING = frozenset({"08", "23", "25", "28", "3D", "3F", "42", "53", "54", "55", "57", "58"})
"""Classes of SQLSTATE whose first lines cite no values of rows."""
_CONVERSION = {"22003": "a number is too large for its column", "22021": "a text holds NUL"}


class PostgresAddress:
    """An address of a server, for the driver and for messages."""

    def __init__(self, location: str) -> None:
        """Parse an address like libpq, whose environment variables count as well.

        Raises:
            ValueError: it is malformed; the message shows no part of it.

        """
        parts = POSTGRES_ADDRESS.fullmatch(location)
        if parts is None:
            raise ValueError(MALFORMED_POSTGRES_ADDRESS)
        # Not parse_qs, which decodes a plus sign as a space; libpq does not.
        pairs = [one.partition("=") for one in (parts["parameters"] or "").split("&")]
        parameters = {name: value for name, _, value in pairs}

        def told(part: str | None, parameter: str, variable: str) -> str:
            return part or unquote(parameters.get(parameter, "")) or os.environ.get(variable, "")

        user = told(parts["user"], "user", "PGUSER")
        host = told(parts["hosts"], "host", "PGHOST")
        database = told(parts["database"], "dbname", "PGDATABASE")
        self.name = f"postgresql://{f'{user}@' if user else ''}{host or 'local socket'}/{database or user}"
        secrets = [parts["password"], os.environ.get("PGPASSWORD")]
        secrets += [value for name, _, value in pairs if "password" in name]
        self._secrets = sorted({text for one in secrets if one for text in (one, unquote(one))}, key=len, reverse=True)
        added = ["fallback_application_name=ghost_pipeline"]
        if "connect_timeout" not in parameters and "PGCONNECT_TIMEOUT" not in os.environ:
            added.append(f"connect_timeout={CONNECT_SECONDS}")
        joint = "&" if parts["parameters"] else "" if location.endswith("?") else "?"
        self.for_libpq = f"{location}{joint}{'&'.join(added)}"

    def connection_fault(self, error: adbc.Error) -> str:
        """The reason for a failed connection, without passwords."""
        line = str(error).removeprefix("IO: ").removeprefix("[libpq] ").removeprefix("Failed to connect: ")
        return self.without_secrets(line.splitlines()[0].rstrip("."))

    def fault(self, error: adbc.Error) -> str:
        """The server's message; only its error number if the message may cite a row."""
        if not error.sqlstate:
            return LOST
        message = MESSAGE.search(str(error))
        if error.sqlstate[:2] in _TELLING and message:
            return self.without_secrets(message[1].rstrip("."))
        otherwise = "a value cannot be converted" if error.sqlstate[:2] == "22" else "see the server log"
        return f"SQLSTATE {error.sqlstate}, {_CONVERSION.get(error.sqlstate, otherwise)}"

    def without_secrets(self, text: str) -> str:
        """A text without the passwords of the address and the environment."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
