"""Files in a bucket of object storage (S3), read through copies on this machine.

A file is an object and is replaced by one PUT: a reader gets all of the old one or all of the new one. Everything is
read from a complete copy of one version, so that no query plan sees two versions of a file, and an object that was not
replaced is not fetched again. A copy is current if its size and modification time are those made from the object's
ETag: one `stat` shows it, and no index has to be kept in step.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from errno import ENOENT
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.exceptions import BaseError

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import Replacements, make_folder, replacing
from ghost_pipeline.lake.file_versions import FileVersion
from ghost_pipeline.lake.local_files import SHARD_FILE, LocalFiles, Staging, holds
from ghost_pipeline.locations import Mirrored
from ghost_pipeline.object_storage import open_store, trouble

AT_ONCE = 16
"""Objects that are fetched in parallel: each takes some 20 ms, most of it waiting."""
PAGE = 1000
"""Objects in one response of a listing, and the maximum in a request to delete."""
FEW = 2
"""Up to this number files are requested one by one; more by listing the range from the first to the last."""
ONE_PUT = 100 << 20
"""A larger file is sent in parallel parts, and appears with the last one; the limit of one PUT is 5 GiB."""
REMOVED_AT_ONCE = 100
_GONE = "removed while it was to be read"
_TIMES = (1 << 31) * 1_000_000_000
"""Range of times that every file system can store to the nanosecond."""

Answer = TypeVar("Answer")


class ObjectFiles:
    """The objects below an address, and their copies on this machine. See `Files`."""

    def __init__(self, place: Mirrored) -> None:
        """Open an address; credentials and endpoint come from the usual variables `AWS_*`.

        Raises:
            LakeError: the variables contradict one another.

        """
        self._address, self.folder = place.address, place.copy
        try:
            self._store = open_store(place.address)
        except BaseError as error:
            raise self._failed("", "opened", error) from error

    def __str__(self) -> str:
        """The address."""
        return str(self._address)

    def __bool__(self) -> bool:
        """Whether there is an object."""
        return self._asked("", "listed", lambda: next(iter(obstore.list(self._store)), None)) is not None

    def folders(self, parent: str) -> list[str]:
        """See `Files`."""
        found = self._asked(parent, "listed", lambda: obstore.list_with_delimiter(self._store, parent))
        return [name.rpartition("/")[2] for name in found["common_prefixes"]]

    def names(self, parent: str) -> list[str]:
        """See `Files`."""
        return [name for name, _ in self._listed(parent)]

    def partitions(self, parent: str, levels: int, since: str = "") -> Iterator[tuple[tuple[str, ...], FileVersion]]:
        """See `Files`."""
        for name, version in self._listed(parent, since=f"{parent}/{since}" if since else None):
            *folders, file = name.removeprefix(f"{parent}/").split("/")
            values = tuple(folder.partition("=")[2] for folder in folders)
            if file == SHARD_FILE and len(values) == levels and all("=" in folder for folder in folders):
                yield values, version

    def in_folders(self, parent: str, folders: Sequence[str]) -> Iterator[tuple[tuple[str, ...], FileVersion]]:
        """See `Files`: one listing from the first to the last."""
        if not folders:
            return
        wanted = {folder.partition("=")[2] for folder in folders}
        last = max(wanted)
        for values, version in self.partitions(parent, 2, min(folders)):
            if values[0] > last:
                break
            if values[0] in wanted:
                yield values, version

    def versions_in(self, parent: str) -> dict[str, FileVersion]:
        """See `Files`."""
        found = ((name.removeprefix(f"{parent}/"), version) for name, version in self._listed(parent))
        return {name: version for name, version in found if "/" not in name}

    def place(self, parent: str) -> str:
        """See `Files`."""
        return f"{self}/{parent}"

    def file_versions(self, names: Sequence[str]) -> dict[str, FileVersion]:
        """See `Files`."""
        if len(names) <= FEW:
            found = ((name, self._file_version(name)) for name in names)
            return {name: version for name, version in found if version is not None}
        wanted, first, last = set(names), min(names), max(names)
        parent = os.path.commonpath([os.path.dirname(first), os.path.dirname(last)])  # noqa: PTH120 - no paths
        versions = {}
        # A folder sorts before what is in it.
        for name, version in self._listed(parent, since=first.rpartition("/")[0]):
            if name > last:
                break
            if name in wanted:
                versions[name] = version
        return versions

    def located(self, names: Sequence[str]) -> list[Path]:
        """See `Files`; fetches copies that are not current.

        Raises:
            LakeError: an object cannot be fetched, or its copy cannot be written.

        """
        versions = self.file_versions(names)
        self._fetch([name for name, version in versions.items() if not self._is_current(name, version)])
        return [self.folder / name for name in names if name in versions]

    def at_hand(self, names: Sequence[str]) -> list[Path]:
        """See `Files`."""
        return [path for name in names if (path := self.folder / name).exists()]

    def fresh(self, names: Sequence[str]) -> list[Path]:
        """See `Files`."""
        for name in names:
            LocalFiles(self.folder).remove(name)
        return self.located(names)

    @contextmanager
    def replacing(self, names: Sequence[str], *, flush: bool = True) -> Iterator[Staging]:
        """See `Files`."""
        versions = self.file_versions(names)
        with replacing(self.folder, flush=flush, before=self._upload) as replacements:
            yield _ObjectStaging(self, versions, replacements)

    def remove(self, name: str) -> bool:
        """See `Files`; the copy first, since a copy without its object would never be found."""
        LocalFiles(self.folder).remove(name)
        was_there = self._file_version(name) is not None
        if was_there:
            self._asked(name, "removed", lambda: obstore.delete(self._store, name))
        return was_there

    def remove_folder(self, parent: str) -> None:
        """See `Files`; in descending order, so that a kill leaves a gapless beginning."""
        shutil.rmtree(self.folder / parent, ignore_errors=True)
        names = sorted((name for name, _ in self._listed(parent)), reverse=True)
        for first in range(0, len(names), REMOVED_AT_ONCE):
            some = names[first : first + REMOVED_AT_ONCE]
            self._asked(parent, "removed", lambda some=some: obstore.delete(self._store, some))  # type: ignore[misc]

    def rename(self, names: Sequence[tuple[str, str]]) -> None:
        """See `Files`: the store copies each object, which keeps its ETag, so that the copy here stays current."""
        with ThreadPoolExecutor(AT_ONCE) as workers:
            list(workers.map(lambda one: self._rename(*one), names))

    def remove_empty_folders(self, parent: str) -> None:
        """See `Files`: only copies are in folders."""
        LocalFiles(self.folder).remove_empty_folders(parent)

    def forget_copies(self, parent: str) -> None:
        """See `Files`; a kill, another machine or a lifecycle rule may have left a copy without its object."""
        there = dict(self._listed(parent))
        for copy in list((self.folder / parent).rglob("*")):
            name = copy.relative_to(self.folder).as_posix()
            if copy.is_file() and not (name in there and self._is_current(name, there[name])):
                LocalFiles(self.folder).remove(name)

    def _rename(self, old: str, new: str) -> None:
        # A kill after the copy leaves both; the next attempt copies again.
        self._asked(old, "renamed", lambda: obstore.copy(self._store, old, new))
        self._asked(old, "renamed", lambda: obstore.delete(self._store, old))
        with suppress(FileNotFoundError):
            make_folder((self.folder / new).parent)
            (self.folder / old).replace(self.folder / new)

    def has(self, name: str, version: FileVersion | None, content: bytes) -> bool:
        """Whether an object, whose version `file_versions` told, has these bytes."""
        if version is None or version.size != len(content):
            return False
        if not self._is_current(name, version):
            self._fetch([name])
        return holds(self.folder / name, content)

    def _listed(self, parent: str, since: str | None = None) -> Iterator[tuple[str, FileVersion]]:
        pages = iter(obstore.list(self._store, parent, offset=since, chunk_size=PAGE))
        while page := self._asked(parent, "listed", lambda: next(pages, None)):
            for one in page:
                yield one["path"], _file_version(one["size"], one["e_tag"])

    def _file_version(self, name: str) -> FileVersion | None:
        try:
            found = self._asked(name, "read", lambda: obstore.head(self._store, name))
        except FileNotFoundError:
            return None
        return _file_version(found["size"], found["e_tag"])

    def _is_current(self, name: str, version: FileVersion) -> bool:
        try:
            # Path objects would take as long as the files.
            copy = os.stat(f"{self.folder}/{name}")  # noqa: PTH116
        except OSError:
            return False
        return (copy.st_size, copy.st_mtime_ns) == (version.size, version.changed_ns)

    def _fetch(self, names: Sequence[str]) -> None:
        if not names:
            return
        try:
            with replacing(self.folder) as replacements, ThreadPoolExecutor(AT_ONCE) as workers:
                paths = [replacements.add(self.folder / name) for name in names]
                list(workers.map(self._download, names, paths))
        except LakeError as error:
            # An object that was removed meanwhile is not a failure to write copies.
            if isinstance(error.__cause__, FileNotFoundError) and error.__cause__.strerror == _GONE:
                raise error.__cause__ from None
            raise

    def _download(self, name: str, path: Path) -> None:
        try:
            found = self._asked(name, "read", lambda: obstore.get(self._store, name))
        except FileNotFoundError as error:
            # As for a file of this machine: `retry_on_replace` lists the files again.
            raise FileNotFoundError(ENOENT, _GONE, f"{self}/{name}") from error
        chunks = iter(found.stream())
        with path.open("wb") as file:
            while (chunk := self._asked(name, "read", lambda: next(chunks, None))) is not None:
                file.write(chunk)
        _stamp(path, _file_version(found.meta["size"], found.meta["e_tag"]))

    def _upload(self, staged: Path, target: Path) -> None:
        """Replace an object by a staged file, which becomes its copy right after."""
        name, size = target.relative_to(self.folder).as_posix(), staged.stat().st_size
        try:
            put = self._asked(
                name, "written", lambda: obstore.put(self._store, name, staged, use_multipart=size > ONE_PUT)
            )
        except FileNotFoundError as error:
            raise self._failed(name, "written", error) from error
        _stamp(staged, _file_version(size, put["e_tag"]))

    def _asked(self, name: str, done: str, request: Callable[[], Answer]) -> Answer:
        """The response to a request.

        Raises:
            FileNotFoundError: there is no such object.
            LakeError: it failed; names the reason and the remedy.

        """
        try:
            return request()
        except BaseError as error:
            raise self._failed(name, done, error) from error

    def _failed(self, name: str, done: str, error: Exception) -> LakeError:
        stays = "; what was there before stays" if done == "written" else ""
        why, remedy = trouble(error, "GHOST_DATA", "list, read, write and delete")
        return LakeError(f"{self}/{name}".rstrip("/") + f": cannot be {done} ({why}){stays}. {remedy}, then run again")


class _ObjectStaging:
    def __init__(self, files: ObjectFiles, versions: dict[str, FileVersion], replacements: Replacements) -> None:
        self._files, self._versions, self._replacements = files, versions, replacements

    def add(self, name: str) -> Path:
        return self._replacements.add(self._files.folder / name)

    def put(self, name: str, content: bytes) -> bool:
        if self._files.has(name, self._versions.get(name), content):
            return False
        self.add(name).write_bytes(content)
        return True


def _file_version(size: int, e_tag: str | None) -> FileVersion:
    digest = sha256((e_tag or "").strip('"').encode()).digest()
    return FileVersion(size, int.from_bytes(digest[:8], "big") % _TIMES, 0)


def _stamp(path: Path, version: FileVersion) -> None:
    os.utime(path, ns=(version.changed_ns, version.changed_ns))
