"""Versions of files: a file is never changed, only replaced, and its version changes then."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class FileVersion(NamedTuple):
    """Differs between a file and the one that replaces it."""

    size: int
    """Bytes."""
    changed_ns: int
    """Time of the last change; of an object a number made from its ETag, which its copy carries as that time."""
    number: int
    """Inode; 0 of an object."""


def file_version(path: Path | str) -> FileVersion | None:
    """The version of a file on this machine; None if there is none."""
    try:
        # Path objects would take as long as the files.
        found = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileVersion(found.st_size, found.st_mtime_ns, found.st_ino)


def file_versions(paths: Iterable[Path]) -> list[FileVersion | None]:
    """The versions of some files, in their order."""
    return [file_version(path) for path in paths]
