"""The interface to a lake's files, and its implementation for a folder of this machine.

A file's name is its path below the lake, with slashes. A file is never changed, only replaced as a whole.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import Replacements, make_folder, remove_file, remove_folder, replacing
from ghost_pipeline.lake.file_versions import FileVersion, file_version

SHARD_FILE = "shard-0.parquet"
"""The one file of a partition."""


class Staging(Protocol):
    """Staged files; they replace the existing ones in the order in which they were added."""

    def add(self, name: str) -> Path:
        """A path to write the file of that name to."""
        ...

    def put(self, name: str, content: bytes) -> bool:
        """Stage a file; False if the existing file has the same bytes, and is left alone."""
        ...


class Files(Protocol):
    """The files below one place. `str` of it is that place, for messages."""

    @property
    def folder(self) -> Path:
        """The folder of this machine with the files or their copies, and with locks and caches."""
        ...

    def __bool__(self) -> bool:
        """Whether there is any file."""
        ...

    def folders(self, parent: str) -> list[str]:
        """The names of the folders directly below one, in no order; none if it does not exist."""
        ...

    def names(self, parent: str) -> list[str]:
        """The names of all files below a folder, in no order; none if it does not exist."""
        ...

    def partitions(self, parent: str, levels: int, since: str = "") -> Iterator[tuple[tuple[str, ...], FileVersion]]:
        """The partitions below a folder that have a file, in no order.

        Args:
            parent: the folder.
            levels: the number of hive-style folders between it and the files.
            since: skip folders directly below `parent` whose names sort before this.

        Returns:
            For each the values in the names of its folders, and the version of its file.

        """
        ...

    def in_folders(self, parent: str, folders: Sequence[str]) -> Iterator[tuple[tuple[str, ...], FileVersion]]:
        """The same as `partitions` with two levels, of some folders directly below `parent` (ascending) only."""
        ...

    def versions_in(self, parent: str) -> dict[str, FileVersion]:
        """The files directly below a folder, by name."""
        ...

    def place(self, parent: str) -> str:
        """A text that differs between a folder and a copy of it."""
        ...

    def file_versions(self, names: Sequence[str]) -> dict[str, FileVersion]:
        """The versions of the given files that exist."""
        ...

    def located(self, names: Sequence[str]) -> list[Path]:
        """The paths `folder / name` of the given files that exist, readable now, in the given order."""
        ...

    def at_hand(self, names: Sequence[str]) -> list[Path]:
        """The paths of the given files that can be read without fetching them."""
        ...

    def fresh(self, names: Sequence[str]) -> list[Path]:
        """The same as `located`, but fetched again: a copy may be damaged."""
        ...

    def replacing(self, names: Sequence[str], *, flush: bool = True) -> AbstractContextManager[Staging]:
        """Replace some files at the end of the block, or none if it raises.

        Args:
            names: the files that may be staged.
            flush: whether a power cut must not leave them empty.

        Raises:
            LakeError: one cannot be written; those staged before it are new, it and the others as before.

        """
        ...

    def remove(self, name: str) -> bool:
        """Remove a file; returns whether it was there.

        Raises:
            LakeError: it cannot be removed.

        """
        ...

    def remove_folder(self, parent: str) -> None:
        """Remove a folder with all files below it.

        Raises:
            LakeError: it cannot be removed.

        """
        ...

    def rename(self, names: Sequence[tuple[str, str]]) -> None:
        """Give files new names, in their order; a file that has the new name already is replaced.

        Raises:
            LakeError: one cannot be renamed; each has its old name or its new one, an object perhaps both.

        """
        ...

    def remove_empty_folders(self, parent: str) -> None:
        """Remove the folders below one that have no file."""
        ...

    def forget_copies(self, parent: str) -> None:
        """Remove copies below a folder whose files were removed or replaced.

        Raises:
            LakeError: one cannot be removed.

        """
        ...


class LocalFiles:
    """Files of a folder of this machine, replaced by renames."""

    def __init__(self, folder: Path) -> None:
        """Look below a folder; nothing is created before the first write."""
        self.folder = folder

    def __str__(self) -> str:
        """The folder."""
        return str(self.folder)

    def __bool__(self) -> bool:
        """Whether the folder exists."""
        return self.folder.exists()

    def folders(self, parent: str) -> list[str]:
        """See `Files`."""
        try:
            return os.listdir(f"{self.folder}/{parent}")  # noqa: PTH208 - names, not paths
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError as error:
            raise _closed(error) from error

    def names(self, parent: str) -> list[str]:
        """See `Files`."""
        found = (self.folder / parent).rglob("*")
        return [file.relative_to(self.folder).as_posix() for file in found if file.is_file()]

    def partitions(self, parent: str, levels: int, since: str = "") -> Iterator[tuple[tuple[str, ...], FileVersion]]:
        """See `Files`."""
        return _partitions(f"{self.folder}/{parent}", levels, since)

    def in_folders(self, parent: str, folders: Sequence[str]) -> Iterator[tuple[tuple[str, ...], FileVersion]]:
        """See `Files`."""
        for folder in folders:
            value = folder.partition("=")[2]
            for values, version in _partitions(f"{self.folder}/{parent}/{folder}", 1):
                yield (value, *values), version

    def versions_in(self, parent: str) -> dict[str, FileVersion]:
        """See `Files`."""
        found = ((name, file_version(f"{self.folder}/{parent}/{name}")) for name in self.folders(parent))
        return {name: version for name, version in found if version is not None}

    def place(self, parent: str) -> str:
        """See `Files`."""
        found = file_version(f"{self.folder}/{parent}")
        return f"{self.folder.absolute()} {found.number if found else 0}"

    def file_versions(self, names: Sequence[str]) -> dict[str, FileVersion]:
        """See `Files`."""
        found = ((name, file_version(f"{self.folder}/{name}")) for name in names)
        return {name: version for name, version in found if version is not None}

    def located(self, names: Sequence[str]) -> list[Path]:
        """See `Files`."""
        return [Path(path) for name in names if os.path.exists(path := f"{self.folder}/{name}")]  # noqa: PTH110 - speed

    def at_hand(self, names: Sequence[str]) -> list[Path]:
        """See `Files`."""
        return self.located(names)

    def fresh(self, names: Sequence[str]) -> list[Path]:
        """See `Files`."""
        return self.located(names)

    @contextmanager
    def replacing(self, names: Sequence[str], *, flush: bool = True) -> Iterator[Staging]:
        """See `Files`."""
        del names
        with replacing(self.folder, flush=flush) as replacements:
            yield _LocalStaging(self.folder, replacements)

    def remove(self, name: str) -> bool:
        """See `Files`."""
        removed = remove_file(self.folder, self.folder / name)
        if removed:
            # Empty folders would slow down every listing: a year has 365 of days and 9,000 of hours.
            hour = (self.folder / name).parent
            with suppress(OSError):
                hour.rmdir()
                if "=" in hour.parent.name:
                    hour.parent.rmdir()
        return removed

    def remove_folder(self, parent: str) -> None:
        """See `Files`: at once, so that a reader sees all of its files or none."""
        remove_folder(self.folder, self.folder / parent)

    def rename(self, names: Sequence[tuple[str, str]]) -> None:
        """See `Files`; a power cut afterwards undoes nothing."""
        for old, new in names:
            try:
                make_folder((self.folder / new).parent)
                (self.folder / old).replace(self.folder / new)
            except OSError as error:
                raise LakeError(
                    f"{self.folder / old}: cannot be renamed ({error.strerror or error}). Make {self.folder} writable, "
                    f"then run again",
                ) from error
        os.sync()

    def remove_empty_folders(self, parent: str) -> None:
        """See `Files`."""
        for folder, _, _ in os.walk(self.folder / parent, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()

    def forget_copies(self, parent: str) -> None:
        """See `Files`: there are none."""


class _LocalStaging:
    def __init__(self, folder: Path, replacements: Replacements) -> None:
        self._folder, self._replacements = folder, replacements

    def add(self, name: str) -> Path:
        return self._replacements.add(self._folder / name)

    def put(self, name: str, content: bytes) -> bool:
        if holds(self._folder / name, content):
            return False
        self.add(name).write_bytes(content)
        return True


def holds(path: Path, content: bytes) -> bool:
    """Whether a file exists and has these bytes."""
    with suppress(OSError):
        return path.stat().st_size == len(content) and path.read_bytes() == content
    return False


def _closed(error: OSError) -> LakeError:
    return LakeError(f"{error.filename}: cannot be read ({error.strerror}). Let this user read it, or run as its owner")


def _partitions(folder: str, levels: int, since: str = "") -> Iterator[tuple[tuple[str, ...], FileVersion]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError as error:
        raise _closed(error) from error
    with entries:
        for entry in entries:
            _, equals, value = entry.name.partition("=")
            if not equals or entry.name < since:
                continue
            if levels > 1:
                for values, version in _partitions(entry.path, levels - 1):
                    yield (value, *values), version
            elif found := file_version(f"{entry.path}/{SHARD_FILE}"):
                yield (value,), found
