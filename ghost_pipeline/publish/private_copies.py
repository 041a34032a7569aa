"""The copies of a published database that this project's readers open, where no other client looks.

Whoever opens `ghost.duckdb` for writing locks it against everybody else, changes it, and leaves a log beside it that
DuckDB applies to whatever has that name next. So each publication is there twice: `ghost.duckdb` for any client, and
`.published/<id>.<bytes>.<SHA-256>.duckdb`, read-only, for the readers of this project. Both have the same size and time
of change until one of them is touched.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from ghost_pipeline.lake.atomic import remove_file
from ghost_pipeline.lake.concurrent_replace import ConcurrentReplaceError
from ghost_pipeline.lake.file_versions import FileVersion, file_version

PRIVATE = ".published"
"""The folder of the copies, beside the database."""
_NAME = re.compile(r"(?P<id>[0-9a-f]*)\.(?P<bytes>\d+)\.(?P<sha256>[0-9a-f]{64})\.duckdb")
_MODE = 0o440
_CHUNK = 1 << 30


class PrivateCopy(NamedTuple):
    """A copy that is complete, by its size."""

    path: Path
    id: str
    """Of the publication; empty if the release that wrote it named none."""
    sha256: str
    version: FileVersion

    def is_of(self, seen: FileVersion | None) -> bool:
        """Whether a file of that version is the one that was copied, untouched; the time of change tells."""
        return seen is not None and self.version[:2] == seen[:2]


def private_copies(*folders: Path) -> list[PrivateCopy]:
    """The complete copies in some data folders, the newest first."""
    found = (one for folder in folders for one in _complete(folder / PRIVATE))
    return sorted(found, key=lambda one: one.version.changed_ns, reverse=True)


def private_name(publication_id: str, size: int, sha256: str) -> str:
    """The name of a copy, from the data folder."""
    return f"{PRIVATE}/{publication_id}.{size}.{sha256}.duckdb"


def copy_as_it_is(source: Path, target: Path) -> str:
    """Copy the bytes of a file, with its time of change, and return their SHA-256.

    No log beside the source is applied, and no lock of another process is asked for. Btrfs and XFS share the blocks
    of both; elsewhere 1 GB takes 0.6 CPU seconds to copy and 0.75 to hash.

    Raises:
        ConcurrentReplaceError: the file was changed meanwhile.
        OSError: it cannot be read, or the copy cannot be written.

    """
    with source.open("rb") as original, target.open("wb") as copy:
        before = os.fstat(original.fileno())
        _copy(original, copy, before.st_size)
        copy.flush()
        os.fsync(copy.fileno())
        after = os.fstat(original.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ConcurrentReplaceError(str(source))
    digest = sha256_of(target)
    os.utime(target, ns=(before.st_mtime_ns, before.st_mtime_ns))
    # Of the rights that the umask leaves.
    target.chmod(stat.S_IMODE(target.stat().st_mode) & _MODE)
    return digest


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_in_step(copy: Path, published: Path) -> None:
    """Give a copy the time of change of the published file, which sending it to a bucket changes."""
    # Another program may have removed or replaced the file: the next reader looks at that.
    with suppress(OSError):
        there = published.stat()
        if there.st_size == copy.stat().st_size:
            os.utime(copy, ns=(there.st_mtime_ns, there.st_mtime_ns))


def remove_private_copies(folder: Path, kept: Iterable[Path] = ()) -> None:
    """Remove the copies in a data folder, but not these; a reader that has one of them open keeps it.

    Raises:
        LakeError: one cannot be removed, and may show people who were erased.

    """
    for one in set((folder / PRIVATE).glob("*")) - set(kept):
        remove_file(folder, one)


def _complete(folder: Path) -> Iterator[PrivateCopy]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        name = _NAME.fullmatch(entry.name)
        version = file_version(entry.path) if name else None
        if name and version and version.size == int(name["bytes"]):
            yield PrivateCopy(Path(entry.path), name["id"], name["sha256"], version)


def _copy(original: IO[bytes], copy: IO[bytes], size: int) -> None:
    """Let the system copy, which may share blocks; where it cannot, read and write."""
    with suppress(OSError, AttributeError):
        while copy.tell() < size:
            copied = os.copy_file_range(
                original.fileno(), copy.fileno(), _CHUNK, offset_src=copy.tell(), offset_dst=copy.tell()
            )
            if copied == 0:
                return
            copy.seek(copied, os.SEEK_CUR)
        return
    original.seek(copy.tell())
    shutil.copyfileobj(original, copy)
