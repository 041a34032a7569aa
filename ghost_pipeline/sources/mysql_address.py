"""Addresses of MySQL and MariaDB servers, and their errors without passwords or values of rows."""

import re
import ssl
from typing import Any
from urllib.parse import unquote
from zoneinfo import available_timezones

import pymysql  # type: ignore[import-untyped]

from ghost_pipeline.locations import SERVER_ADDRESS

CONNECT_SECONDS = 10
DEFAULT_PORT = 3306
PARAMETERS = ("socket", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "time-zone")
MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
FORM = (
    "Write mysql://user:password@host:port/database, with special characters of user and password percent-encoded: @ "
    "is %40, / is %2F, % is %25"
)
LOST = "the connection was lost"
_LOST_CODES = frozenset({1053, 1927, 2006, 2013, 2014})
_TELLING = frozenset(
    {1040, 1044, 1045, 1046, 1049, 1054, 1064, 1130, 1142, 1143, 1146, 1203, 1205, 1213, 1226, 1227, 1251, 1290, 1305}
    | {1317, 1356, 1370, 1412, 1524, 1698, 1792, 1969, 2002, 2003, 2005, 2026, 2061, 3024, 3118, 4151}
)
"""Error numbers whose messages cite names and our own statement, but no values of rows."""
_CITED = re.compile(r"'[^']*'|`[^`]*`|(?<=^FUNCTION )[\w.]+")
_OWN_MESSAGE = re.compile(
    r"Unknown (?:column|table) Q in Q|Table Q doesn't exist|View Q references invalid [\w(); /]+|"
    r"FUNCTION Q does not exist|"
    r"\w+ command denied to user Q@Q for (?:table|column|routine) Q(?:\.Q)?(?: in table Q)?|"
    r"Access denied.*|You have an error in your SQL syntax; .+ near Q at line \d+|"
    r"(?:Lock wait timeout exceeded|Deadlock found when trying to get lock); try restarting transaction|"
    r"Query execution was interrupted.*|Table definition has changed, please retry transaction|"
    r"Cannot execute statement in a READ ONLY transaction"
)
"""The server's messages while it reads, with Q for what they cite; a function may raise others, in any words."""
_CLAUSES = "SELECT field list where clause on clause from clause group statement order clause having clause"


class MySqlAddress:
    """An address of a server, for the driver and for messages."""

    def __init__(self, location: str) -> None:
        """Parse an address.

        Raises:
            ValueError: it is malformed; the message shows no part of it.

        """
        parts = SERVER_ADDRESS.fullmatch(location)
        if parts is None or "," in parts["hosts"]:
            raise ValueError(FORM)
        given = dict(_parameter(one) for one in (parts["parameters"] or "").split("&") if one)
        if not given.keys() <= set(PARAMETERS):
            raise ValueError(f"A parameter is unknown; those are {', '.join(PARAMETERS)}")
        user, password, database = (unquote(parts[name] or "") for name in ("user", "password", "database"))
        if not database:
            raise ValueError(f"It names no database. {FORM}")
        host, port = _host_and_port(parts["hosts"])
        self.zone = given.get("time-zone", "UTC")
        if self.zone not in available_timezones():
            raise ValueError("time-zone is not the name of a time zone, such as Europe/Berlin")
        self.name = (
            f"mysql://{f'{user}@' if user else ''}{given.get('socket') or parts['hosts'] or 'localhost'}/{database}"
        )
        self._secrets = sorted({one for one in (password, parts["password"]) if one}, key=len, reverse=True)
        self.for_driver: dict[str, Any] = {
            "host": host,
            "port": port,
            "user": user or None,
            # The driver would encode a text as Latin-1.
            "password": password.encode(),
            "database": database,
            "unix_socket": given.get("socket"),
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_SECONDS,
            "program_name": "ghost_pipeline",
            **_tls(given),
        }

    def fault(self, error: Exception, statement: str | None = None) -> str:
        """The server's message; only its error number if the message may cite a row.

        Args:
            error: of the driver.
            statement: what was executed, if functions in it may have read rows.

        """
        code = error.args[0] if error.args else None
        if not isinstance(error, pymysql.err.MySQLError):
            # The driver asks for another package, for instance.
            return self.without_secrets(_line(str(error)))
        if code in _LOST_CODES or not isinstance(code, int) or code == 0:
            return LOST
        if code in _TELLING:
            says = self.without_secrets(_line(str(error.args[-1])))
            if statement is None or _OWN_MESSAGE.fullmatch(_CITED.sub("Q", says)):
                return says if statement is None else self._with_known_names(says, statement)
        return f"error {code}, see the server log"

    def _with_known_names(self, says: str, statement: str) -> str:
        """Return a message that cites only what stands in the address or in a statement."""
        known = _line(f"{self.name} {statement} {_CLAUSES}".replace("`", ""))

        def shown(cited: re.Match[str]) -> str:
            return cited[0] if all(name in known for name in cited[0].strip("'`").split(".")) else "…"

        return _CITED.sub(shown, says)

    def without_secrets(self, text: str) -> str:
        """A text without the password of the address."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.lower().replace("_", "-"), unquote(value)


def _host_and_port(hosts: str) -> tuple[str, int]:
    host, _, port = hosts.rpartition(":") if not hosts.endswith("]") and ":" in hosts else (hosts, "", "")
    return unquote(host).strip("[]") or "localhost", int(port) if port else DEFAULT_PORT


def _tls(given: dict[str, str]) -> dict[str, Any]:
    """Return the driver's arguments for a mode of MySQL's own clients; without one, TLS if the server offers it.

    Raises:
        ValueError: the mode is unknown, or a certificate cannot be read.

    """
    files = [given.get(name) for name in ("ssl-ca", "ssl-cert", "ssl-key")]
    mode = given.get("ssl-mode", "VERIFY_CA" if files[0] else "PREFERRED").upper()
    if mode not in MODES:
        raise ValueError(f"ssl-mode is unknown; it is one of {', '.join(MODES)}")
    if mode == "DISABLED":
        return {"ssl_disabled": True}
    if mode == "PREFERRED" and not any(files):
        return {}
    try:
        context = ssl.create_default_context(cafile=files[0])
        context.check_hostname = mode == "VERIFY_IDENTITY"
        context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("VERIFY") else ssl.CERT_NONE
        if files[1]:
            context.load_cert_chain(files[1], files[2])
    except OSError as error:
        raise ValueError(f"A certificate of ssl-ca, ssl-cert or ssl-key cannot be read ({error.strerror})") from None
    return {"ssl": context}


def _line(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
