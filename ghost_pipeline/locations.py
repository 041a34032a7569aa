"""Where something is written: a path of this machine, or an address in a bucket of object storage."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<key>.*))?")


@dataclass(frozen=True)
class ObjectAddress:
    """A bucket, and what the keys below this address begin with. `str` of it is `s3://bucket/key`."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://bucket/key`; the key may be empty.

        Raises:
            ValueError: it is none.

        """
        found = _ADDRESS.fullmatch(text)
        parts = (found["key"] or "").rstrip("/").split("/") if found else [".."]
        if not found or (parts != [""] and {"", ".", ".."} & set(parts)):
            raise ValueError("is no address of a bucket such as s3://bucket/prefix")
        return cls(found["bucket"], "/".join(parts))

    def __truediv__(self, name: str) -> Self:
        """The address of something below this one."""
        return type(self)(self.bucket, f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        """The address as it is written."""
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")


@dataclass(frozen=True)
class Mirrored:
    """An address in a bucket, and the path of this machine at which copies of what is there lie."""

    address: ObjectAddress
    copy: Path

    def __truediv__(self, name: str) -> Self:
        """What lies below, by the same name in both places."""
        return type(self)(self.address / name, self.copy / name)

    def __str__(self) -> str:
        """The address: the copy is nobody's business."""
        return str(self.address)

    @property
    def name(self) -> str:
        """The last part of both."""
        return self.copy.name

    @property
    def parent(self) -> Self:
        """What it lies in."""
        return type(self)(ObjectAddress(self.address.bucket, self.address.key.rpartition("/")[0]), self.copy.parent)

    def with_suffix(self, suffix: str) -> Self:
        """Beside it, with another suffix."""
        return self.parent / self.copy.with_suffix(suffix).name


Location = Path | Mirrored
