"""Locations: a path of this machine, an address in a bucket of object storage, an address of PostgreSQL."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>.*))?")
_HOST = r"(?:\[[^\[\]@/?#\s]+\]|[^:@/?#\[\],\s]*)(?::\d*)?"
POSTGRES_ADDRESS = re.compile(
    r"(?!.*%(?![0-9A-Fa-f]{2}))postgres(?:ql)?://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/?#\s]*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?:/(?P<database>[^@/?#\s]*))?"
    r"(?:\?(?P<parameters>[^@#\s]*))?"
)
"""An address of PostgreSQL, as libpq reads it, with the special characters of its parts percent-encoded."""
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
        if not found or (parts != [""] and {"", ".", ".."} & set(parts)):
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

    def with_suffix(self, suffix: str) -> Self:
        """The location beside it with another suffix."""
        return self.parent / self.copy.with_suffix(suffix).name


Location = Path | Mirrored


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


def shown_source(location: str) -> str:
    """A source's location as it may be shown: without a password, and of an address that is malformed nothing at all.

    A password may stand before the host or among the parameters; one with a bare `@` or `/` may look like a host.
    """
    scheme, is_address, _ = location.partition("://")
    if not is_address or scheme == "sqlite":
        return location
    parts = POSTGRES_ADDRESS.fullmatch(location)
    if parts is None:
        return f"{scheme}://…"
    user, password, hosts, database, parameters = parts.groups()
    credentials = "" if user is None else f"{user}{':***' if password else ''}@"
    return f"{scheme}://{credentials}{hosts}/{database or ''}{'?…' if parameters else ''}"
