"""Which file this project's readers open: a private copy of the published one, whatever has become of that.

The published file is open to any client, so it is only looked at. As long as its size and time of change are those of a
private copy, the copy is opened. Another file in its place is copied first, and taken for a publication if it is one:
a database with our tables and, where `publication.json` lies beside it, the one that is named there. If it is none, or
is gone, the copy of the last publication stays, and what is wrong is told in one line.
"""

import errno
import logging
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import NamedTuple

import duckdb

from ghost_pipeline.contracts.published import PUBLICATION, TABLE_INFO
from ghost_pipeline.errors import LakeError, NothingPublishedError, PublishError
from ghost_pipeline.lake.atomic import clear_leftovers, make_folder, staged_folder
from ghost_pipeline.lake.concurrent_replace import ATTEMPTS, ConcurrentReplaceError, retry_on_replace
from ghost_pipeline.lake.file_versions import FileVersion, file_version
from ghost_pipeline.lake.locking import table_lock_if_free
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location, Mirrored
from ghost_pipeline.publish.connection import connect
from ghost_pipeline.publish.history import fetch_history
from ghost_pipeline.publish.history_damage import damage
from ghost_pipeline.publish.history_files import history_files
from ghost_pipeline.publish.private_copies import (
    PrivateCopy,
    copy_as_it_is,
    private_copies,
    private_name,
    remove_private_copies,
)
from ghost_pipeline.publish.publication_record import PUBLICATION_FILE, PublicationName, read_record
from ghost_pipeline.sql_quoting import sql_literal

CHECK_SECONDS = 5.0
"""Minimum interval between two checks for a newer object."""
REPAIR = "Run `ghost-pipeline publish`: it writes the file from the lake"
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_own_folders: dict[Path, TemporaryDirectory[str]] = {}
"""For each data folder that this process may only read, one in `TMPDIR` with its copies; removed when the process ends.
Not of one `PublishedFile`: what has found a copy opens it later."""
_own_folders_change = Lock()
_log = logging.getLogger("ghost_pipeline.publish")


class FoundDatabase(NamedTuple):
    """What to open."""

    path: Path
    """A private copy, which no client changes."""
    version: FileVersion | None
    """Of the private copy; None if it is already gone."""
    seen: FileVersion | None
    """Of the published file; None if it is missing."""
    fault: str = ""
    """What is wrong with the published file, in one line; empty if the copy is one of it."""


class UnusableError(Exception):
    """The published file is missing or holds no publication; says which."""

    def __init__(self, why: str, remedy: str = REPAIR) -> None:
        """Take the reason, and what to do about it."""
        super().__init__(why)
        self.remedy = remedy


class PublishedFile:
    """The published file at one location. Safe to use from threads."""

    def __init__(self, location: Location) -> None:
        """Take the location; nothing is read yet."""
        self.location = location
        self._files = open_files(location.parent)
        self.folder = self._files.folder
        """The folder of this machine with the published file or its copy, and with its histories."""
        self.path = self.folder / location.name
        """The local path, which any client may open; it is only looked at."""
        self._lock, self._checked, self._failing = Lock(), time.monotonic(), False
        self._complete: Path | None = None
        self._refused: tuple[FileVersion, str] | None = None
        """A version of the published file that is no publication, and why: it is not copied again."""

    def found(self) -> FoundDatabase | None:
        """Fetch the newest version with its history and find what to open; None if nothing has been published.

        Raises:
            PublishError: there is something, but no publication, and no copy of one.
            LakeError: storage cannot be read, or the file is replaced faster than it is read.

        """
        if isinstance(self.location, Mirrored):
            clear_leftovers(self.folder)
        return retry_on_replace(self._fetched)

    def required(self) -> FoundDatabase:
        """The same as `found`.

        Raises:
            NothingPublishedError: nothing has been published yet.
            PublishError: there is something, but no publication, and no copy of one.
            LakeError: storage cannot be read, or the file is replaced faster than it is read.

        """
        found = self.found()
        if found is None:
            raise NothingPublishedError(
                f"{self.location}: nothing has been published yet. Run `ghost-pipeline demo`, or set GHOST_SOURCE and "
                f"run `ghost-pipeline materialize --as-of ...`",
            )
        return found

    def is_as_found(self, found: FoundDatabase) -> bool:
        """Whether neither the published file nor the copy has been replaced since; two calls of the system."""
        return _seen(self.path) == found.seen and file_version(found.path) == found.version

    def start_refresh(self) -> None:
        """Fetch a newer version of the object in the background, at most every `CHECK_SECONDS`."""
        if not isinstance(self.location, Mirrored):
            return
        with self._lock:
            if time.monotonic() - self._checked < CHECK_SECONDS:
                return
            # No other check starts before this one ends.
            self._checked = float("inf")
        Thread(target=self._refresh, name="ghost-published", daemon=True).start()

    def damage(self, table: str, database: Path) -> str | None:
        """What to do about a damaged file of a history that a database names, after an error; None if there is none.

        Raises:
            LakeError: storage cannot be read.

        """
        named = [one for one in history_files(database) if one.table == table and not one.publications_ago]
        return damage(table, named, self._files)

    def _refresh(self) -> None:
        try:
            # An object of which a listing tells may be removed before it is fetched.
            retry_on_replace(self._fetched)
            self._failing = False
        except (LakeError, PublishError) as error:
            if not self._failing:
                _log.error("%s; answers continue from the previous publication", error)
            self._failing = True
        finally:
            self._checked = time.monotonic()

    def _fetched(self) -> FoundDatabase | None:
        if not isinstance(self.location, Mirrored):
            return self._looked()
        self._files.located([self.location.name])
        found = self._looked()
        if found and found.path != self._complete:
            fetch_history(self._files, found.path, self.location.name)
            self._complete = found.path
        return found

    def _looked(self) -> FoundDatabase | None:
        seen = _seen(self.path)
        copies = private_copies(self.folder, *_own_folder(self.folder, make=False))
        if found := next((one for one in copies if one.is_of(seen)), None):
            for own in _own_folder(self.folder, make=False):
                # Those of earlier publications may show people who were erased since.
                remove_private_copies(own, [found.path])
            return _as_found(found.path, seen)
        try:
            if seen is None and not copies and self._is_unpublished():
                return None
            return _as_found(self._adopted(seen, copies), seen)
        except UnusableError as why:
            fault = f"{self.location}: {why}"
            if not copies:
                raise PublishError(f"{fault}. {why.remedy}") from None
            stays = f"{fault}; answers come from the copy of the last publication. {why.remedy}"
            return _as_found(copies[0].path, seen, stays)

    def _is_unpublished(self) -> bool:
        """Whether there is no trace of a publication.

        Raises:
            UnusableError: that cannot be seen.

        """
        try:
            return file_version(self.path) is None and file_version(self.folder / PUBLICATION_FILE) is None
        except OSError as error:
            raise _unreadable(error) from error

    def _adopted(self, seen: FileVersion | None, copies: list[PrivateCopy]) -> Path:
        """A private copy of the file that lies there now, if it is a publication.

        Raises:
            UnusableError: it is none.
            ConcurrentReplaceError: it was replaced meanwhile.

        """
        if seen is None:
            raise UnusableError("is missing")
        if self._refused and self._refused[0] == seen:
            raise UnusableError(self._refused[1])
        try:
            _require_file(self.path)
            try:
                return self._copied(staged_folder(self.folder), self.folder, seen, copies)
            except OSError as error:
                if error.errno not in _CLOSED or not os.access(self.path, os.R_OK):
                    raise
                # A process that may only read here keeps a copy of its own, until it ends.
                (folder,) = _own_folder(self.folder, make=True)
                return self._copied(staged_folder(folder), folder, seen, copies)
        except UnusableError as why:
            self._refused = seen, str(why)
            raise
        except FileNotFoundError as error:
            raise ConcurrentReplaceError(str(self.location)) from error
        except OSError as error:
            raise _unreadable(error) from error

    def _copied(self, staging: Path, folder: Path, seen: FileVersion, copies: list[PrivateCopy]) -> Path:
        make_folder(staging)
        try:
            staged = staging / self.location.name
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    sha256 = copy_as_it_is(self.path, staged)
                    break
                except ConcurrentReplaceError:
                    staged.unlink(missing_ok=True)
                    if attempt == ATTEMPTS:
                        raise UnusableError("is being changed by another program") from None
            if _seen(self.path) != seen:
                raise ConcurrentReplaceError(str(self.location))
            name = publication_of(staged)
            publication_id = name.id if name else ""
            self._require_published(publication_id, sha256, copies)
            target = folder / private_name(publication_id, seen.size, sha256)
            make_folder(target.parent)
            staged.replace(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._remove_others(folder, target, seen)
        return target

    def _require_published(self, publication_id: str, sha256: str, copies: list[PrivateCopy]) -> None:
        """Require that the file is one that was published, not one that another program has made of it.

        Raises:
            UnusableError: it is not.

        """
        if isinstance(self.location, Mirrored):
            # Copied because the object is another one; a copy that was changed would have been fetched again.
            return
        record = read_record(self._files)
        if record and record.id != publication_id:
            raise UnusableError(f"is another publication than the one that {PUBLICATION_FILE} names")
        recorded = record and record.files.get(self.location.name)
        known = {recorded.sha256} if recorded else {one.sha256 for one in copies if one.id == publication_id}
        if known and sha256 not in known:
            raise UnusableError("was changed by another program after it was published")

    def _remove_others(self, folder: Path, kept: Path, seen: FileVersion) -> None:
        with suppress(LakeError), table_lock_if_free(folder, self.location.name) as is_held:
            # Otherwise a publication is under way, whose copy is there before its file.
            if is_held and _seen(self.path) == seen:
                remove_private_copies(folder, [kept])


def _own_folder(folder: Path, *, make: bool) -> list[Path]:
    """The folder of this process in `TMPDIR` for copies of a data folder; none if there is none and none is to be made.

    Raises:
        OSError: it cannot be made.

    """
    with _own_folders_change:
        if make and folder not in _own_folders:
            _own_folders[folder] = TemporaryDirectory(prefix="ghost-published-")
        return [Path(_own_folders[folder].name)] if folder in _own_folders else []


def _unreadable(error: OSError) -> UnusableError:
    closed = "Let this user read it and the folders above it"
    remedy = closed if error.errno in _CLOSED else "Correct that, or free some space there and in TMPDIR, and ask again"
    return UnusableError(f"cannot be read ({error.strerror or error})", remedy)


def _as_found(path: Path, seen: FileVersion | None, fault: str = "") -> FoundDatabase:
    return FoundDatabase(path, file_version(path), seen, fault)


def published_copy(database: Location) -> Path | None:
    """The copy of the present publication that readers open; None if there is none, or none that can be read.

    Raises:
        LakeError: storage cannot be read.

    """
    try:
        found = PublishedFile(database).found()
    except PublishError:
        return None
    return found.path if found else None


def publication_of(database: Path) -> PublicationName | None:
    """Which publication a database file is; None if an earlier release wrote it, which named none.

    Raises:
        UnusableError: it is no published database.

    """
    try:
        with connect() as connection:
            connection.execute(f"ATTACH {sql_literal(str(database))} AS published (READ_ONLY)")
            connection.execute(f"SELECT count(*) FROM published.{TABLE_INFO.name}")  # noqa: S608 - our own names
            try:
                rows = connection.execute(f"SELECT id, as_of FROM published.{PUBLICATION.name}").fetchall()  # noqa: S608
            except duckdb.CatalogException:
                return None
            return PublicationName(*rows[0])
    except (duckdb.Error, IndexError, TypeError) as error:
        raise UnusableError(f"is not a published database ({_reason(error, database)})") from error


def _reason(error: Exception, database: Path) -> str:
    """The first line of an error, without the path of the copy, which means nothing to anybody."""
    return (str(error).splitlines() or [type(error).__name__])[0].replace(str(database), database.name)


def _require_file(path: Path) -> None:
    """Require that a path is that of a file.

    Raises:
        UnusableError: it is a folder, or something else.

    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "special file"
        raise UnusableError(f"is a {kind}, not a file: move it away")


def _seen(path: Path) -> FileVersion | None:
    """The version of the published file; None if it is missing, or is behind folders that are closed."""
    try:
        return file_version(path)
    except OSError:
        return None
