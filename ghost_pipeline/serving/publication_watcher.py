"""Following the publications: the newest one is opened when it is there, without a restart."""

import logging
from collections.abc import Callable, Hashable
from copy import copy
from datetime import datetime
from functools import cached_property, lru_cache, partial
from threading import Lock
from typing import Self

import polars as pl

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.errors import NothingPublishedError, PublishError
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.settings import Settings

_log = logging.getLogger("ghost_pipeline.serving")

BOARDS = 256
"""Keyboards whose summaries are kept in memory: a page asks for the same one again with every filter."""
ANSWERS = 256
"""Heat maps kept as they are sent; one of 2,000 n-grams is 0.6 MB."""


class Publication:
    """One state of the published database, and what many answers are made from in it."""

    def __init__(self, database: PublishedDatabase, inputs: Inputs | None) -> None:
        """Keep both; `inputs` is None where no hour of the ghost half has been published."""
        self.database, self.inputs = database, inputs
        self.summaries = lru_cache(maxsize=BOARDS)(partial(_summaries, database))
        """`ngram_speed_summaries` of a user and keyboard."""
        self._answers: dict[Hashable, bytes] = {}

    def cached(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """An answer that is the same whenever it is asked for, made once; at most `ANSWERS` are kept."""
        found = self._answers.get(key)
        if found is None:
            found = make()
            if len(self._answers) >= ANSWERS:
                self._answers.clear()
            self._answers[key] = found
        return found

    @cached_property
    def ngrams_as_of(self) -> datetime | None:
        """End of the newest hour of the n-gram half; None where none has been published."""
        return self.database.as_of(NGRAM_SPEED_SUMMARIES)


class PublicationWatcher:
    """Knows the newest publication. Safe to use from threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Read below the data folder of the settings, by default those of the environment."""
        self.settings = settings or Settings.load()
        self._lock = Lock()
        self._publication: Publication | None = None
        self.follows = True
        """False for a reader that is held to one publication."""

    def pinned(self) -> Self:
        """The same reader, held to the publication that is the newest now: for answers made of several questions.

        Raises:
            NothingPublishedError: there is none.
            PublishError: it cannot be read.

        """
        self.publication()
        held = copy(self)
        held.follows = False
        return held

    def publication(self) -> Publication:
        """The newest publication; whoever holds one keeps it, also when another has replaced it.

        Raises:
            NothingPublishedError: there is none.
            PublishError: it cannot be read.

        """
        found = self._publication
        if found is None or (self.follows and not found.database.is_current):
            with self._lock:
                found = self._publication
                if found is None or not found.database.is_current:
                    found = self._open(found)
        return found

    def _open(self, before: Publication | None) -> Publication:
        try:
            database = PublishedDatabase.open(self.settings.database)
            try:
                inputs = Inputs.published(database, self.settings)
            except NothingPublishedError:
                inputs = None
        except PublishError as error:
            if before is None:
                raise
            # The answers before stay; the next question looks again.
            _log.error("%s; the publication before it goes on answering", error)
            return before
        self._publication = Publication(database, inputs)
        return self._publication


def _summaries(database: PublishedDatabase, user_id: str, keyboard_id: str) -> pl.DataFrame:
    return database.rows(NGRAM_SPEED_SUMMARIES, user_id=user_id, keyboard_id=keyboard_id)
