"""The file of the published database on this machine: itself, or the copy of the object in a bucket."""

import logging
import time
from pathlib import Path
from threading import Lock, Thread

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import clear_leftovers
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location, Mirrored

LOOK_SECONDS = 5.0
"""Between two looks at whether the object has been replaced."""
_log = logging.getLogger("ghost_pipeline.lake")


class PublishedFile:
    """One published file. Safe to use from threads."""

    def __init__(self, location: Location) -> None:
        """Name it; nothing is read yet."""
        self.location = location
        self._files = open_files(location.parent)
        self.path = self._files.folder / location.name
        """Where it can be read, once it has been fetched."""
        self._lock, self._looked, self._fails = Lock(), time.monotonic(), False

    def fetched(self) -> Path | None:
        """The path at which the newest version can be read now; None where there is none.

        Raises:
            LakeError: storage cannot be read.

        """
        if isinstance(self.location, Mirrored):
            clear_leftovers(self._files.folder)
        return next(iter(self._files.located([self.location.name])), None)

    def follow(self) -> None:
        """See to it that a newer version of an object takes the place of the copy, without keeping anybody waiting."""
        if not isinstance(self.location, Mirrored):
            return
        with self._lock:
            if time.monotonic() - self._looked < LOOK_SECONDS:
                return
            # Until the look is over, no other one begins.
            self._looked = float("inf")
        Thread(target=self._look, name="ghost-published", daemon=True).start()

    def _look(self) -> None:
        try:
            self._files.located([self.location.name])
            self._fails = False
        except LakeError as error:
            if not self._fails:
                _log.error("%s; the publication before it goes on answering", error)
            self._fails = True
        finally:
            self._looked = time.monotonic()
