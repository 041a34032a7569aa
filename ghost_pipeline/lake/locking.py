"""Who may write while somebody else writes.

One process at a time, where what one writes depends on what the one before it has written; and one alone in the whole
lake, where nothing may be written that was read before.

Locks are taken in this order, so that nobody waits for somebody who waits for them: the lake's; that of a table; those
of what is extracted from it; that of the sums of activity; that of the ledger of stale hours. Nobody takes the lake's
twice.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, ReadWriteLock, Timeout

from ghost_pipeline.errors import LakeError

LOCK_SECONDS = 600
_LAKE = ".lake.lock"


@contextmanager
def table_lock(folder: Path, table: str) -> Iterator[None]:
    """Keep other processes out of the block until this one has left it.

    The operating system frees the lock of a process that dies.

    Args:
        folder: where the lock file lies and stays.
        table: what is guarded.

    Raises:
        LakeError: another run keeps it for too long, or the lock cannot be written.

    """
    path = folder / f".{table}.lock"
    lock = FileLock(path, timeout=LOCK_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise LakeError(
            f"{table}: another run has been writing it for {LOCK_SECONDS} s ({path}). Wait for it, or stop it, and run "
            f"again",
        ) from error
    except OSError as error:
        raise _unwritable(folder, path, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def shared_lock(folder: Path) -> Iterator[None]:
    """Work in the lake as every step does: beside any number of others, and never while somebody has it alone.

    Args:
        folder: `Lake.root`, where the lock file lies and stays.

    Raises:
        LakeError: somebody has the lake alone for too long, or the lock cannot be written.

    """
    with _lake(folder, exclusive=False, refused="an erasure has had the lake to itself"):
        yield


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Have the lake to oneself: no step is at work in the block, so nothing is written after it that was read before.

    While one waits for the steps that are at work, those that begin wait behind it: steps that follow one another
    without end keep nobody waiting.

    Args:
        folder: `Lake.root`, where the lock file lies and stays.

    Raises:
        LakeError: steps are at work for too long, or the lock cannot be written.

    """
    with _lake(folder, exclusive=True, refused="other runs have been at work in the lake"):
        yield


@contextmanager
def _lake(folder: Path, *, exclusive: bool, refused: str) -> Iterator[None]:
    path = folder / _LAKE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not the one instance for the path: two threads of a process would get an error instead of waiting.
        lock = ReadWriteLock(path, timeout=LOCK_SECONDS, is_singleton=False)
        try:
            (lock.acquire_write if exclusive else lock.acquire_read)()
        except BaseException:
            lock.close()
            raise
    except Timeout as error:
        raise LakeError(f"{folder}: {refused} for {LOCK_SECONDS} s ({path}). Wait for it, and run again") from error
    except (OSError, sqlite3.Error) as error:
        raise _unwritable(folder, path, error) from error
    try:
        yield
    finally:
        lock.release()
        lock.close()


def _unwritable(folder: Path, path: Path, error: Exception) -> LakeError:
    says = getattr(error, "strerror", None) or error
    return LakeError(
        f"{path}: cannot be written ({says}). Make {folder} a folder that can be written, then run again",
    )
