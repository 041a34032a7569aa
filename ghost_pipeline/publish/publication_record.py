"""Which publication something belongs to, and the file that lists the parts of one.

A publication has an id, which follows from what it holds: the same lake gives the same id. Its time is its `as_of`. The
table `publication` of the database, the table `ghost_publication` in PostgreSQL and `publication.json` name both. The
last also lists size and SHA-256 of the files, so that files which cannot name a publication themselves, such as the
benchmarks in their specified form, can be told apart.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from ghost_pipeline.lake.local_files import Files

PUBLICATION_FILE = "publication.json"
_ID_DIGITS = 20
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


class PublicationName(NamedTuple):
    """The row of the table `publication`."""

    id: str
    as_of: datetime | None
    """as_of of its newest table; None if all are empty."""

    @classmethod
    def of_contents(cls, contents: Iterable[str], as_of: datetime | None) -> Self:
        """The name of the publication that holds these, each given as a text that differs when it does."""
        return cls(hashlib.sha256("\n".join(contents).encode()).hexdigest()[:_ID_DIGITS], as_of)

    def __str__(self) -> str:
        """The id, and the as_of as people write it."""
        return f"{self.id} as of {self.as_of:%Y-%m-%dT%H:%MZ}" if self.as_of else f"{self.id}, empty"


class PartFile(NamedTuple):
    """What tells a file of a publication from that of another one."""

    bytes: int
    sha256: str

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Of a text, encoded as UTF-8."""
        content = text.encode()
        return cls(len(content), hashlib.sha256(content).hexdigest())


class PublicationRecord(NamedTuple):
    """What `publication.json` says."""

    id: str
    files: dict[str, PartFile]
    """By name."""


def record_text(publication: PublicationName, files: Mapping[str, PartFile]) -> str:
    """The text of `publication.json`."""
    as_of = f"{publication.as_of:{_INSTANT}}" if publication.as_of else None
    parts = {name: part._asdict() for name, part in files.items()}
    return json.dumps({"id": publication.id, "as_of": as_of, "files": parts}, indent=2) + "\n"


def read_record(files: Files) -> PublicationRecord | None:
    """What `publication.json` in a data folder says; None if it is missing or damaged.

    Raises:
        LakeError: a bucket cannot be read.

    """
    found = files.located([PUBLICATION_FILE])
    return _read(found[0]) if found else None


def _read(path: Path) -> PublicationRecord | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        parts = {name: PartFile(int(one["bytes"]), str(one["sha256"])) for name, one in told["files"].items()}
        return PublicationRecord(str(told["id"]), parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
