"""Partitions that another run removes or replaces while they are read."""

from collections.abc import Callable
from typing import TypeVar

from ghost_pipeline.errors import LakeError

ATTEMPTS = 10
"""So often in a row only by runs that follow one another without end."""

Found = TypeVar("Found")


class ConcurrentReplaceError(Exception):
    """A partition has been replaced while others were read that belong to it."""


def retry_on_replace(read: Callable[[], Found]) -> Found:
    """What `read` gives; again where a partition that it has listed is gone by the time it is its turn.

    A reader that needs several partitions of one moment raises `ConcurrentReplaceError` if one was replaced meanwhile.

    Raises:
        LakeError: files go faster than they are read.

    """
    left = ATTEMPTS
    while True:
        left -= 1
        try:
            return read()
        except (FileNotFoundError, ConcurrentReplaceError) as error:
            if not left:
                raise LakeError(
                    f"{error}: other runs have done that {ATTEMPTS} times while it was read. Run again when they are "
                    f"done",
                ) from error
