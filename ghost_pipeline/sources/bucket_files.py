"""The files of a source in a bucket: objects, each of them fetched in one version only.

One listing tells the names of a table's objects with their ETags, and an object that has not changed is not asked for.
Parquet is read in ranges by polars. Text is read several times, so it is first copied into a temporary file without a
name.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeVar, cast

import obstore
from obstore.exceptions import BaseError, PreconditionError

from ghost_pipeline.errors import SourceError
from ghost_pipeline.locations import ObjectAddress
from ghost_pipeline.object_storage import open_store, trouble
from ghost_pipeline.sources.data_files import Listing, is_hidden, without_partition_values
from ghost_pipeline.sources.spill import no_room

PAGE = 1000
"""Objects in one response of a listing."""
FOOTER = 1 << 16
"""Bytes at the end of a Parquet file that are fetched first: they most often hold the whole footer."""
_MAGIC = 8
"""Bytes after the footer: its length and `PAR1`."""

Answer = TypeVar("Answer")


def storage_error(where: str, error: Exception) -> SourceError:
    """Return the error of a request that failed, on one line."""
    if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
        return SourceError(
            f"{where} was removed while the source was read. Let exports replace objects, not remove them, and run "
            f"again"
        )
    why, remedy = trouble(error, "GHOST_SOURCE", "list and read")
    return SourceError(f"{where} cannot be read ({why}). {remedy}, then run again")


def replaced_error(where: str) -> SourceError:
    """Return the error of an object of which two versions were met."""
    return SourceError(f"{where} was replaced while it was read. Nothing was written. Run again")


@dataclass(frozen=True)
class BucketFile:
    """An object as it was listed. See `DataFile`."""

    files: "BucketFiles"
    part: str
    size: int
    e_tag: str | None
    changed: datetime

    def __str__(self) -> str:
        """The address for messages."""
        return self.files.shown(self.part)

    @property
    def address(self) -> str:
        """The address."""
        return str(self.files.address / self.part)

    @property
    def version(self) -> str:
        """Size and ETag; of a storage that tells no ETag, the time of the last change."""
        return f"{self.size}-{self.e_tag or self.changed.isoformat()}"

    def footer(self) -> io.BytesIO:
        """See `DataFile`; offsets that it tells are those of the whole object."""
        end = self._end(FOOTER)
        length = int.from_bytes(end[-_MAGIC : -_MAGIC // 2], "little") + _MAGIC
        if len(end) < length <= self.size:
            end = self._end(length)
        return io.BytesIO(end[-length:])

    @contextmanager
    def reopenable(self) -> Iterator[Callable[[], BinaryIO]]:
        """Copy the object into a temporary file without a name, which no kill leaves behind; see `DataFile`."""
        with ExitStack() as open_files:
            try:
                copy = open_files.enter_context(tempfile.TemporaryFile())
                chunks = iter(self._get(None).stream())
                while (chunk := self.files.asked(self.part, lambda: next(chunks, None))) is not None:
                    copy.write(chunk)
                copy.flush()
            except OSError as error:
                raise no_room(error) from error
            yield lambda: cast("BinaryIO", io.BufferedReader(_Reopened(copy), 1 << 16))

    def _end(self, length: int) -> bytes:
        if self.size == 0:
            return b""
        found = self._get((max(self.size - length, 0), self.size))
        return bytes(self.files.asked(self.part, found.bytes))

    def _get(self, within: tuple[int, int] | None) -> Any:  # noqa: ANN401 - a type of obstore that only stubs have
        options: Any = {"if_match": self.e_tag} if self.e_tag else {}
        if within:
            options["range"] = within
        return self.files.asked(self.part, lambda: obstore.get(self.files.store, self.part, options=options))


class BucketFiles:
    """The objects below an address. See `Files`."""

    mixes_versions = True
    """polars asks for ranges of an object, not for those of a version."""

    def __init__(self, address: ObjectAddress) -> None:
        """Open an address; credentials and endpoint come from the usual variables `AWS_*`.

        Raises:
            SourceError: the variables contradict one another.

        """
        self.address = address
        try:
            self.store = open_store(address)
        except BaseError as error:
            raise storage_error(f"source {address}:", error) from None
        self._names: dict[str, tuple[set[str], set[str]]] = {}
        self._listed: dict[str, BucketFile] = {}

    def __str__(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def identity(self) -> str:
        """The address."""
        return str(self.address)

    def shown(self, name: str) -> str:
        """See `Files`."""
        return str(self.address / without_partition_values(name))

    def is_file(self, name: str) -> bool:
        """See `Files`."""
        parent, _, own = name.rpartition("/")
        return own in self._names_in(parent)[0]

    def is_folder(self, name: str) -> bool:
        """See `Files`."""
        parent, _, own = name.rpartition("/")
        return own in self._names_in(parent)[1]

    def names(self) -> set[str]:
        """See `Files`."""
        files, folders = self._names_in("")
        return files | folders

    def file(self, name: str) -> BucketFile:
        """See `Files`."""
        return self._noted(self.asked(name, lambda: obstore.head(self.store, name)))

    def listed(self, part: str) -> BucketFile:
        """See `Files`."""
        return self._listed.get(part) or self.file(part)

    def below(self, folder: str) -> Listing:
        """See `Files`."""
        pages = iter(obstore.list(self.store, folder, chunk_size=PAGE))
        found: list[Any] = []
        while page := self.asked(folder, lambda: next(pages, None)):
            found += page
        there = _without_markers(found)
        files = [one for one in there if not any(map(is_hidden, _parts(one["path"].removeprefix(f"{folder}/"))))]
        hidden = {one["path"] for one in there} - {one["path"] for one in files}
        ordered = sorted(files, key=lambda one: _parts(one["path"]))
        return Listing(tuple(map(self._noted, ordered)), tuple(sorted(hidden)))

    def asked(self, name: str, request: Callable[[], Answer]) -> Answer:
        """Return the response to a request.

        Raises:
            SourceError: it failed, or the object is another one than was listed.

        """
        where = self.shown(name) if name else str(self)
        try:
            return request()
        except PreconditionError:
            raise replaced_error(where) from None
        except (BaseError, FileNotFoundError) as error:
            raise storage_error(f"source {where}:" if not name else where, error) from None

    def _names_in(self, parent: str) -> tuple[set[str], set[str]]:
        """Return the names of the objects and of the folders in a folder; a source asks once."""
        if parent not in self._names:
            found = self.asked(parent, lambda: obstore.list_with_delimiter(self.store, parent or None))
            folders = {_parts(one)[-1] for one in found["common_prefixes"]}
            objects = {_parts(one["path"])[-1]: one["size"] for one in found["objects"]}
            files = {name for name, size in objects.items() if size or name not in folders}
            self._names[parent] = files, folders
        return self._names[parent]

    def _noted(self, found: Any) -> BucketFile:  # noqa: ANN401 - a type of obstore that only stubs have
        file = BucketFile(self, found["path"], found["size"], found["e_tag"], found["last_modified"])
        self._listed[file.part] = file
        return file


class _Reopened(io.RawIOBase):
    """A file from its beginning, whatever others have read of it."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - what `TemporaryFile` returns is not one type everywhere
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._file.fileno()).st_size
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as in io
        read = os.pread(self._file.fileno(), len(buffer), self._at)
        buffer[: len(read)] = read
        self._at += len(read)
        return len(read)


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts


def _without_markers(found: Iterable[Any]) -> list[Any]:
    """Return objects without the empty ones that consoles create to show a folder."""
    every = list(found)
    folders = {parent.as_posix() for one in every for parent in PurePosixPath(one["path"]).parents}
    return [one for one in every if one["size"] or one["path"] not in folders]
