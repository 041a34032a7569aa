"""Locks between processes that write to the lake.

A table lock serializes writers whose result depends on what the previous one wrote. The lake's lock is shared by steps
and exclusive for an erasure, after which nothing may be written that was read before it.

Lock order, to avoid deadlock: lake, table, derived tables, activity, achiever events, stale-hours ledger, changes of a
table's settled days. A process takes the lake's lock only once.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, ReadWriteLock, Timeout

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import FILE_MODE, make_folder

LOCK_SECONDS = 600
_LAKE = ".lake.lock"


@contextmanager
def table_lock(folder: Path, table: str) -> Iterator[None]:
    """Hold a table's lock: other processes wait to enter the block until this one has left it.

    The operating system frees the lock of a process that dies.

    Args:
        folder: folder of the lock file, which stays there.
        table: the table, or another name, that the lock guards.

    Raises:
        LakeError: another run holds it for more than 600 s, or the lock file cannot be written.

    """
    path = folder / f".{table}.lock"
    lock = FileLock(path, timeout=LOCK_SECONDS)
    try:
        _make_file(path)
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
def table_lock_if_free(folder: Path, table: str) -> Iterator[bool]:
    """Hold a table's lock unless another process does, without waiting; gives whether it is held.

    Raises:
        LakeError: the lock file cannot be written.

    """
    path = folder / f".{table}.lock"
    lock = FileLock(path, timeout=0)
    try:
        _make_file(path)
        with suppress(Timeout):
            lock.acquire()
    except OSError as error:
        raise _unwritable(folder, path, error) from error
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextmanager
def shared_lock(folder: Path) -> Iterator[None]:
    """Hold the lake's lock as every step does: together with other steps, but never during an erasure.

    Args:
        folder: `Lake.root`, the folder of the lock file, which stays there.

    Raises:
        LakeError: an erasure holds it for more than 600 s, or the lock file cannot be written.

    """
    with _lake(folder, exclusive=False, refused="an erasure has held the lake"):
        yield


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the lake's lock alone: no step runs during the block, so nothing is written after it that was read before.

    Steps that begin while this waits for running ones wait behind it, so a continuous stream of steps cannot starve
    it.

    Args:
        folder: `Lake.root`, the folder of the lock file, which stays there.

    Raises:
        LakeError: steps are running for more than 600 s, or the lock file cannot be written.

    """
    with _lake(folder, exclusive=True, refused="other runs have been using the lake"):
        yield


@contextmanager
def _lake(folder: Path, *, exclusive: bool, refused: str) -> Iterator[None]:
    path = folder / _LAKE
    try:
        make_folder(folder)
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


def _make_file(path: Path) -> None:
    """Make a lock file that is missing, closed to other users: a library would make one that all may read."""
    make_folder(path.parent)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, FILE_MODE))


def _unwritable(folder: Path, path: Path, error: Exception) -> LakeError:
    says = getattr(error, "strerror", None) or error
    return LakeError(
        f"{path}: cannot be written ({says}). Make {folder} a folder that can be written, then run again",
    )
