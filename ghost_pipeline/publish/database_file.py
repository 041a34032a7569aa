"""The local file of the published database: the file itself, or the copy of the object in a bucket."""

import logging
import time
from pathlib import Path
from threading import Lock, Thread

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import clear_leftovers
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.file_versions import FileVersion, file_version
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location, Mirrored
from ghost_pipeline.publish.history import fetch_history
from ghost_pipeline.publish.history_damage import damage
from ghost_pipeline.publish.history_files import history_files

CHECK_SECONDS = 5.0
"""Minimum interval between two checks for a newer object."""
_log = logging.getLogger("ghost_pipeline.lake")


class PublishedFile:
    """The published file at one location. Safe to use from threads."""

    def __init__(self, location: Location) -> None:
        """Take the location; nothing is read yet."""
        self.location = location
        self._files = open_files(location.parent)
        self.path = self._files.folder / location.name
        """The local path, readable once `fetched` has returned it."""
        self._lock, self._checked, self._failing = Lock(), time.monotonic(), False
        self._complete: FileVersion | None = None

    def fetched(self) -> Path | None:
        """Fetch the newest version with its history and return its path; None if nothing has been published.

        Raises:
            LakeError: storage cannot be read.

        """
        if isinstance(self.location, Mirrored):
            clear_leftovers(self._files.folder)
        return self._located()

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

    def damage(self, table: str) -> str | None:
        """What to do about a damaged file of a history, after an error; None if there is none.

        Raises:
            LakeError: storage cannot be read.

        """
        named = [one for one in history_files(self.path) if one.table == table and not one.publications_ago]
        return damage(table, named, self._files)

    def _located(self) -> Path | None:
        path = next(iter(self._files.located([self.location.name])), None)
        version = file_version(path) if path and isinstance(self.location, Mirrored) else None
        if path and version != self._complete:
            fetch_history(self._files, path)
            self._complete = version
        return path

    def _refresh(self) -> None:
        try:
            # An object of which a listing tells may be removed before it is fetched.
            retry_on_replace(self._located)
            self._failing = False
        except LakeError as error:
            if not self._failing:
                _log.error("%s; answers continue from the previous publication", error)
            self._failing = True
        finally:
            self._checked = time.monotonic()
