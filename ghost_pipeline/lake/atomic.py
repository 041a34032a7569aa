"""Replacing files atomically: a reader sees the old file or the new one, never half of either."""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ghost_pipeline.errors import LakeError

STAGING = ".staging"
RENAMES_TRIED = 10
FILE_MODE, FOLDER_MODE = 0o640, 0o750
"""Rights of what is written, unless the umask takes more away: rows are about people."""
_numbers = count()

_FEW = 8
"""Above this number of files one flush of all file systems is cheaper than one per file (4,600 files took 25 s one by
one and 2 s together)."""


class Replacements:
    """Staged files that become visible together, in the order in which they were added."""

    def __init__(
        self, root: Path, *, flush: bool = True, before: Callable[[Path, Path], None] = lambda _staged, _target: None
    ) -> None:
        """Stage below `root`, which has to be on the file system of every target.

        Without `flush` a power cut may leave an empty file under a good name: safe only for self-checksummed files.
        `before` is called for each file right before it is renamed, with its staged path and its target.
        """
        self._staging, self._flush, self._before = root / STAGING, flush, before
        self._staged: list[tuple[Path, Path]] = []

    def add(self, target: Path) -> Path:
        """A path to write to; `commit` moves the file to `target`.

        The path is in `.staging`, out of reach of every `*.parquet` pattern below a table's folder: a sibling such as
        `.tmp_x.parquet` would be read by polars and DuckDB alike.
        """
        make_folder(self._staging)
        temporary = self._staging / _name(target.suffix)
        # A restarted container has the host name, process ids and numbers of its predecessor.
        _remove(temporary)
        self._staged.append((temporary, target))
        return temporary

    def retarget(self, target: Path, other: Path) -> None:
        """Let the file that was staged for `target` replace another one: its name may follow from its content."""
        self._staged = [(staged, other if one == target else one) for staged, one in self._staged]

    def commit(self) -> None:
        """Flush the files to disk, so that a power cut leaves no empty file under a good name; then rename them."""
        for temporary, _ in self._staged:
            temporary.chmod(stat.S_IMODE(temporary.stat().st_mode) & FILE_MODE)
        if self._flush and len(self._staged) > _FEW:
            os.sync()
        elif self._flush:
            for temporary, _ in self._staged:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
        for temporary, target in self._staged:
            self._before(temporary, target)
            _rename(temporary, target)
        self._staged = []

    def discard(self) -> None:
        """Remove staged files that were not committed; if that fails, the next run removes them."""
        for temporary, _ in self._staged:
            with suppress(OSError):
                _remove(temporary)


@contextmanager
def replacing(
    root: Path, *, flush: bool = True, before: Callable[[Path, Path], None] = lambda _staged, _target: None
) -> Iterator[Replacements]:
    """Commit the replacements at the end of the block, or discard them if it raises.

    Args:
        root: see `Replacements`.
        flush: see `Replacements`.
        before: see `Replacements`.

    Raises:
        LakeError: a file cannot be written (no space, read-only); the targets not yet renamed are as they were.

    """
    replacements = Replacements(root, flush=flush, before=before)
    try:
        yield replacements
        replacements.commit()
    except OSError as error:
        raise LakeError(
            f"{error.filename2 or error.filename or root}: cannot be written ({error.strerror or error}); what was "
            f"there before stays. Free some space or make {root} writable, then run again",
        ) from error
    finally:
        replacements.discard()


def remove_file(root: Path, file: Path) -> bool:
    """Remove a file below `root`; returns whether it was there.

    Raises:
        LakeError: it cannot be removed.

    """
    try:
        file.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise LakeError(
            f"{file}: cannot be removed ({error.strerror or error}). Make {root} writable, then run again",
        ) from error
    return True


def remove_folder(root: Path, folder: Path) -> None:
    """Remove a folder below `root` at once: a reader sees all of its files or none.

    Raises:
        LakeError: it cannot be removed.

    """
    doomed = root / STAGING / _name(".folder")
    try:
        make_folder(doomed.parent)
        folder.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        raise LakeError(
            f"{folder}: cannot be removed ({error.strerror or error}). Make {root} writable, then run again",
        ) from error


def staged_folder(root: Path) -> Path:
    """A path at which the caller may make a temporary folder; after a kill it is removed like any leftover.

    The staging folder is created if possible: a process that may only read, or whose root is missing, goes on.
    """
    with suppress(OSError):
        (root / STAGING).mkdir(FOLDER_MODE, exist_ok=True)
    return root / STAGING / _name(".folder")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, closed to other users.

    Raises:
        OSError: it cannot be made.

    """
    try:
        folder.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(FOLDER_MODE, exist_ok=True)


def clear_leftovers(root: Path) -> None:
    """Remove the temporary files that a killed process of this machine left behind.

    Files that cannot be removed, because this process may only read, stay and do no harm.
    """
    with suppress(OSError):
        for file in (root / STAGING).iterdir():
            host, _, rest = file.name.rpartition("@")
            process = rest.split("-", 1)[0]
            if host == socket.gethostname() and process.isdecimal() and not _alive(int(process)):
                with suppress(OSError):
                    shutil.rmtree(file) if file.is_dir() else file.unlink()


def clear_staging(root: Path) -> None:
    """Remove everything that processes of any machine have staged below `root`; no process may be writing there.

    Raises:
        LakeError: it cannot be removed.

    """
    if (root / STAGING).exists():
        try:
            shutil.rmtree(root / STAGING)
        except OSError as error:
            raise LakeError(
                f"{root / STAGING}: cannot be removed ({error.strerror or error}). Make {root} writable, then run "
                f"again",
            ) from error


def _rename(temporary: Path, target: Path) -> None:
    for attempt in count(1):
        try:
            make_folder(target.parent)
            temporary.replace(target)
        except FileNotFoundError:
            # Between the two calls another process may have removed the empty folder.
            if attempt == RENAMES_TRIED or not temporary.exists():
                raise
        else:
            return


def _remove(temporary: Path) -> None:
    """Remove a temporary file and the log that DuckDB keeps beside a database."""
    for file in (temporary, temporary.with_name(f"{temporary.name}.wal")):
        file.unlink(missing_ok=True)


def _name(suffix: str) -> str:
    """A unique name that shows which process it belongs to."""
    return f"{socket.gethostname()}@{os.getpid()}-{next(_numbers)}{suffix}.tmp"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
