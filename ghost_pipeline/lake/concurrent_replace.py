"""Reading partitions that another run may replace or remove meanwhile.

A reader lists files first and opens them later, and DuckDB opens each twice: for its footer and for its rows. A file
renamed over it between the two is read by the wrong footer, which is an error, seldom and at any place.
"""

import os
import time
from collections.abc import Callable, Iterable
from errno import ENOENT
from pathlib import Path
from typing import TypeVar

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.file_versions import FileVersion, file_versions

ATTEMPTS = 10
"""Reads before giving up: only a continuous stream of writers can exhaust them.

Next to a process that did nothing but replace files, 2 of 10 reads by DuckDB failed: at that rate ten attempts fail
together once in 10 million reads.
"""
FIRST_PAUSE = 0.002
"""Seconds before the second attempt, twice as many before each further one: 1.0 s in all. Removing a year of expired
hours, the longest burst of a single run, takes about 0.6 s."""

Found = TypeVar("Found")


class ConcurrentReplaceError(Exception):
    """A file was replaced or removed while it, or others that belong to it, were read."""


def retry_on_replace(read: Callable[[], Found]) -> Found:
    """Return the result of `read`, called again if a file that it listed is gone by the time it opens it.

    Args:
        read: raises `ConcurrentReplaceError` if it needs several files of one moment and one was replaced meanwhile.

    Raises:
        LakeError: files are replaced faster than they are read, or one is missing.

    """
    for pause in (FIRST_PAUSE * 2**attempt for attempt in range(ATTEMPTS - 1)):
        try:
            return read()
        except (FileNotFoundError, ConcurrentReplaceError):
            time.sleep(pause)
    try:
        return read()
    except ConcurrentReplaceError as error:
        raise LakeError(
            f"{error}: other runs replaced or removed it {ATTEMPTS} times while it was read. Run again when they are "
            f"done",
        ) from error
    except FileNotFoundError as error:
        raise LakeError(
            f"{_missing_file(error)}: is missing, after {ATTEMPTS} attempts to read its table. If other runs remove "
            f"files, run again when they are done; otherwise restore the file, or materialize its partition again",
        ) from error


def require_unreplaced(files: Iterable[Path], before: list[FileVersion | None], name: str) -> None:
    """Require that none of some files was replaced or removed since their versions were taken, nor gone by then.

    Args:
        files: the files.
        before: their versions before they were read.
        name: what is read, for the message.

    Raises:
        ConcurrentReplaceError: one was replaced or removed.
        FileNotFoundError: one was gone by then; names the file.

    """
    files = list(files)
    for file, version in zip(files, before, strict=True):
        if version is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(file))
    if file_versions(files) != before:
        raise ConcurrentReplaceError(name)


def _missing_file(error: FileNotFoundError) -> str:
    """The path; polars, unlike Python, has it in its message only, after the number of the system's error."""
    if error.filename:
        return str(error.filename)
    return (str(error).splitlines() or [""])[0].rpartition(f"(os error {ENOENT}): ")[2]
