"""Locations: a path of this machine, an address in a bucket of object storage, an address of a database."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>[^?]*))?")
_HOST = r"(?:\[[^\[\]@/?#\s]+\]|[^:@/?#\[\],\s]*)(?::\d*)?"
SERVER_ADDRESS = re.compile(
    r"(?!.*%(?![0-9A-Fa-f]{2}))(?P<scheme>postgres(?:ql)?|mysql|mariadb)://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/?#\s]*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?:/(?P<database>[^@/?#\s]*))?"
    r"(?:\?(?P<parameters>[^@#\s]*))?"
)
"""An address of a database server, with the special characters of its parts percent-encoded."""
POSTGRES_ADDRESS = re.compile(rf"(?=postgres(?:ql)?://){SERVER_ADDRESS.pattern}")
"""An address of PostgreSQL, as libpq reads it."""
FILE_SCHEMES = frozenset({"sqlite", "duckdb"})
"""Schemes of databases that are a file: three slashes and its path."""
MASKED = "…"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_SECRET_PARAMETER = re.compile(
    r"(?:pass|pwd|secret|token)[^=]*=|(?:^|[?&;\s])[\w-]*(?:key|sig|pw|auth|credentials?)\s*=", re.IGNORECASE
)
_CONNECTION_STRING = re.compile(
    r"(?:^|[;\s])\s*(?:host|hostaddr|port|dbname|database|server|user|username|uid)\s*=|\s--?[a-z]", re.IGNORECASE
)
"""A parameter of what libpq and ODBC call a connection string, or of a command; any other one may hide a password."""
_CREDENTIALS = re.compile(r":.*@", re.DOTALL)
MALFORMED_POSTGRES_ADDRESS = (
    "Write postgresql://user:password@host:port/database, with special characters of user and password "
    "percent-encoded: @ is %40, / is %2F, % is %25"
)


@dataclass(frozen=True)
class ObjectAddress:
    """A bucket and a prefix of its keys. `str` of it is `s3://bucket/key`."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/key`; the key may be empty.

        Raises:
            ValueError: it is not such an address.

        """
        found = _ADDRESS.fullmatch(text)
        parts = (found["key"] or "").rstrip("/").split("/") if found else [".."]
        # Messages show an address: credentials and parameters belong into variables.
        has_credentials = _CREDENTIALS.search(unquote(text.removeprefix(SCHEME)))
        if not found or has_credentials or (parts != [""] and {"", ".", ".."} & set(parts)):
            raise ValueError("is not a bucket address such as s3://bucket/prefix")
        return cls(found["bucket"], "/".join(parts))

    def __truediv__(self, name: str) -> Self:
        """The address `name` below this one."""
        return type(self)(self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        """The address as text."""
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")


@dataclass(frozen=True)
class Mirrored:
    """An address in a bucket, and the path of this machine for copies of its objects."""

    address: ObjectAddress
    copy: Path

    def __truediv__(self, name: str) -> Self:
        """The location `name` below, in both places."""
        return type(self)(self.address / name, self.copy / name)

    def __str__(self) -> str:
        """The address; the path of the copies means nothing to a user."""
        return str(self.address)

    @property
    def name(self) -> str:
        """The last part of both paths."""
        return self.copy.name

    @property
    def parent(self) -> Self:
        """The location above."""
        return type(self)(ObjectAddress(self.address.bucket, self.address.key.rpartition("/")[0]), self.copy.parent)


Location = Path | Mirrored


def as_uri(location: Location) -> str:
    """The address of a file or folder as a URI, for other tools."""
    return location.absolute().as_uri() if isinstance(location, Path) else str(location)


def parse_data_location(value: object) -> object:
    """An address of a bucket as an `ObjectAddress`; anything else as it is.

    Raises:
        ValueError: the text is neither a folder nor an address.

    """
    if not isinstance(value, str) or not ("://" in value or value.startswith("s3:")):
        return value
    if not value.startswith(SCHEME):
        raise ValueError("is neither a folder nor an address such as s3://bucket/prefix")
    return ObjectAddress.parse(value)


def may_hold_password(text: str) -> bool:
    """Whether a text that is not an address may hold a password: it has an `@`, or names a password."""
    return any("@" in one or _SECRET_PARAMETER.search(one) for one in (text, unquote(text)))


def shown_source(location: str) -> str:
    """A source's location as it may be shown: a path, or an address without its password; otherwise hardly anything.

    A text that is neither is likely to be an address in another form, and any part of it may be the password. One with
    a bare `@` or `/` may even look like a host.
    """
    scheme, is_address, rest = location.partition("://")
    if not is_address:
        return location if _is_path(location) else MASKED
    hidden = f"{scheme}://{MASKED}" if _SCHEME.fullmatch(scheme) else MASKED
    if scheme in FILE_SCHEMES:
        return location if rest.startswith("/") and _is_path(rest[1:]) else hidden
    if location.startswith(SCHEME):
        return location if _ADDRESS.fullmatch(location) and not may_hold_password(location) else hidden
    parts = SERVER_ADDRESS.fullmatch(location)
    if parts is None or _SECRET_PARAMETER.search(unquote(parts["database"] or "")):
        return hidden
    credentials = "" if parts["user"] is None else f"{parts['user']}{':***' if parts['password'] else ''}@"
    parameters = "?…" if parts["parameters"] else ""
    return f"{scheme}://{credentials}{parts['hosts']}/{parts['database'] or ''}{parameters}"


def _is_path(text: str) -> bool:
    decoded = unquote(text)
    if any(one.search(decoded) for one in (_SECRET_PARAMETER, _CONNECTION_STRING, _CREDENTIALS)):
        return False
    return decoded.startswith(("/", "./", "../", "~")) or not {"@", ":"} & set(decoded)
