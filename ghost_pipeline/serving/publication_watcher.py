"""Watching for publications: a new one is opened when it appears, without a restart."""

import logging
from collections.abc import Callable, Hashable
from copy import copy
from datetime import datetime
from functools import cached_property
from itertools import count
from threading import Lock
from typing import Self

import polars as pl
from polars._typing import EngineType

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.errors import NothingPublishedError, PublishError
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.serving.bounded_cache import BoundedCache
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.settings import Settings

_log = logging.getLogger("ghost_pipeline.serving")

SMALL: EngineType = "in-memory"
"""For some thousand rows, such as those of a keyboard, setting up the streaming engine takes longer than the work."""
CACHE_BYTES = 96 << 20
"""For keyboards and heat maps asked for again: of 2,000 n-grams, the summaries take 0.3 MB, the encoded map 0.6."""
_numbers = count()


class Publication:
    """One version of the published database, with a cache that many answers share."""

    def __init__(self, database: PublishedDatabase, inputs: Inputs | None, cache: BoundedCache) -> None:
        """Take an open database; `inputs` is None if no hour of the ghost domain has been published."""
        self.database, self.inputs = database, inputs
        self._cache, self._number = cache, next(_numbers)

    def cached(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer for a key, from the cache if it is there."""
        return self._cache.get((self._number, "answer", key), make, len)

    def summaries(self, user_id: str, keyboard_id: str) -> pl.DataFrame:
        """`ngram_speed_summaries` of a user and keyboard: the page asks for the same ones again with every filter."""
        return self._cache.get(
            (self._number, "summaries", user_id, keyboard_id),
            lambda: self.database.rows(NGRAM_SPEED_SUMMARIES, user_id=user_id, keyboard_id=keyboard_id),
            lambda rows: int(rows.estimated_size()),
        )

    @cached_property
    def ngrams_as_of(self) -> datetime | None:
        """End of the newest published hour of the n-gram domain; None if there is none."""
        return self.database.as_of(NGRAM_SPEED_SUMMARIES)


class PublicationWatcher:
    """Gives access to the newest publication. Safe to use from threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Watch the data folder of the settings, by default those of the environment."""
        self.settings = settings or Settings.load()
        self._lock = Lock()
        self._publication: Publication | None = None
        self._cache = BoundedCache(CACHE_BYTES)
        self._failing = self._told = ""
        self.is_watching = True
        """False for a reader that stays with one publication."""

    def pinned(self) -> Self:
        """A copy of the reader that stays with the present publication, for answers made of several queries.

        Raises:
            NothingPublishedError: nothing has been published yet.
            PublishError: the publication cannot be read.

        """
        self.publication()
        pinned = copy(self)
        pinned.is_watching = False
        return pinned

    @property
    def fault(self) -> str:
        """Why answers come from a copy or from an earlier publication, in one line; empty if from what is published."""
        found = self._publication
        return self._failing or (found.database.fault if found else "")

    def publication(self) -> Publication:
        """The newest publication; it stays usable after another one has replaced it.

        Raises:
            NothingPublishedError: nothing has been published yet.
            PublishError: the publication cannot be read.

        """
        found = self._publication
        if found is None or (self.is_watching and not found.database.is_current):
            with self._lock:
                found = self._publication
                if found is None or not found.database.is_current:
                    found = self._open(found)
        return found

    def _open(self, before: Publication | None) -> Publication:
        try:
            if before is None:
                database = PublishedDatabase.open(self.settings.database)
            elif (database := before.database.successor()) is before.database:
                # Its file was touched, removed or replaced by something else, and it is the newest all the same.
                self._failing = ""
                self._tell(database.fault)
                return before
            try:
                inputs = Inputs.published(database, self.settings)
            except NothingPublishedError:
                inputs = None
        except (PublishError, NothingPublishedError) as error:
            if before is None:
                raise
            # Answers continue from the previous publication; the next query tries again, and only the first one tells.
            if str(error) != self._failing:
                _log.error("%s; answers continue from the previous publication", error)
            self._failing = str(error)
            return before
        self._cache.clear()
        self._failing = ""
        self._tell(database.fault)
        self._publication = Publication(database, inputs, self._cache)
        return self._publication

    def _tell(self, fault: str) -> None:
        """Log what is wrong with the published file, once for all the times that it is found so in a row."""
        if fault and fault != self._told:
            _log.error("%s", fault)
        self._told = fault
