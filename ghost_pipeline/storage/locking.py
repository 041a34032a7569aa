"""One process at a time, where what one writes depends on what the one before it has written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ghost_pipeline.errors import LakeError

LOCK_SECONDS = 600


@contextmanager
def one_at_a_time(folder: Path, table: str) -> Iterator[None]:
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
        raise LakeError(
            f"{path}: cannot be written ({error.strerror or error}). Make {folder} a folder that can be written, then "
            f"run again",
        ) from error
    try:
        yield
    finally:
        lock.release()
