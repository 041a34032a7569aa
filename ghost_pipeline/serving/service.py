"""Shared by all routes: the publication that is served, and how an answer is sent and described."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from threading import Event, Lock
from types import GenericAlias
from typing import Any, NamedTuple

import polars as pl
from fastapi.responses import Response
from pydantic import BaseModel, create_model

from ghost_pipeline.errors import GhostError, LakeError, NothingPublishedError, PublishError
from ghost_pipeline.publish.database_file import CHECK_SECONDS
from ghost_pipeline.publish.publication_parts import differing_files
from ghost_pipeline.publish.publication_record import PUBLICATION_FILE, PublicationName
from ghost_pipeline.serving.freshness import stale_from
from ghost_pipeline.serving.keyed_rows import KeyedRows
from ghost_pipeline.serving.learners import response_row
from ghost_pipeline.serving.publication_watcher import Publication
from ghost_pipeline.serving.reader import GhostReader
from ghost_pipeline.settings import Settings

JSON = "application/json"
AS_OF, STALE = "Ghost-As-Of", "Ghost-Stale"
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer: no proxy or browser keeps a person's figures, or takes them for anything but what they are.
Routes that stamp their answers name them; `app` adds them to all others."""
_log = logging.getLogger("ghost_pipeline.serving")


class Problem(BaseModel):
    """The reason for a refusal, in one sentence."""

    detail: str


PROBLEMS: dict[int | str, dict[str, object]] = {
    401: {"model": Problem, "description": "The token is missing or invalid"},
    403: {"model": Problem, "description": "The token is another user's"},
    422: {"model": Problem, "description": "A parameter is wrong; the detail lists the allowed values"},
    503: {"model": Problem, "description": "Nothing has been published yet, or what this answer needs cannot be read"},
}
UNKNOWN_USER: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "The user is unknown"},
    **PROBLEMS,
}


class Served(NamedTuple):
    """The publication that answers come from."""

    reader: GhostReader
    """Stays with the publication."""
    rows: KeyedRows | None
    """Its users by key; without them, each is computed from the database, which takes 10 ms instead of 0.01."""
    turn: asyncio.Lock
    """For those computed from the database, one at a time: many would keep the rows from being built."""

    @property
    def as_of(self) -> datetime:
        """End of the hour of the users' figures.

        Raises:
            NothingPublishedError: no hour of the ghost domain has been published.

        """
        return self.reader.inputs().as_of

    def is_of(self, publication: Publication) -> bool:
        """Whether the answers come from that publication."""
        return self.reader.publication() is publication

    async def row(self, user_id: str) -> dict[str, Any]:
        """`RESPONSE_COLUMNS` of a user.

        Raises:
            UnknownUserError: the user is unknown.
            NothingPublishedError: no hour of the ghost domain has been published.
            PublishError: the published database cannot be read.

        """
        if self.rows is None:
            async with self.turn:
                return await asyncio.to_thread(response_row, self.reader.inputs(), user_id)
        found = self.rows.row(user_id)
        if found is None:
            raise self.reader.inputs().unknown(user_id)
        return found


class Looked(NamedTuple):
    """What `/health` tells of the publication, as of the last time that it was looked at."""

    publication: Publication
    table_info: pl.DataFrame
    """The rows of the table `table_info`."""
    differing_parts: list[str]
    """As in `differing_files`."""
    at: float
    """On the monotonic clock."""


class Service:
    """State of a running server."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        """Start without a publication; `refresh` finds it."""
        self.settings, self.clock = settings, clock
        self.stopping = Event()
        """Set to end a `refresh` that is under way."""
        self._newest = GhostReader(settings)
        self._served: Served | None = None
        self._unkeyed: Publication | None = None
        """The publication whose users are being read, or could not be read by key: it is not tried again."""
        self._change = Lock()
        """Held while what is served is looked at and replaced, by `refresh` and `serve_newest` in threads."""
        self._failing, self._unreadable = "", False
        self._is_kept = False
        self._problem: GhostError = NothingPublishedError("nothing has been looked for yet")
        """Why there is no publication to serve, while there is none."""
        self._turn = asyncio.Lock()
        self._looked: Looked | PublishError | None = None

    @property
    def looked(self) -> Looked:
        """What `/health` tells: `refresh` has read and hashed it, so that no request makes the server do that.

        Raises:
            NothingPublishedError: nothing has been published yet.
            PublishError: the publication cannot be read.

        """
        if isinstance(self._looked, Looked):
            return self._looked
        raise (self._looked or self._problem).with_traceback(None)

    @property
    def present(self) -> Served | None:
        """The publication that answers come from; None before there is one."""
        return self._served

    @property
    def is_kept(self) -> bool:
        """Whether answers come from a publication that is kept, because what is published now is gone or damaged."""
        return self._is_kept

    @property
    def served(self) -> Served:
        """The publication that answers come from. Opens nothing, which could take a while.

        Raises:
            NothingPublishedError: nothing has been published yet.
            PublishError: the publication cannot be read, and there was none before.

        """
        if self._served is None:
            raise self._problem.with_traceback(None)
        return self._served

    def start(self) -> None:
        """Open the newest publication, if none is open and there is one that can be read."""
        self._open()
        self._look()

    def _open(self) -> None:
        if self._served is None:
            try:
                reader = self._newest.pinned()
            except (NothingPublishedError, PublishError) as error:
                self._problem = error
                return
            with self._change:
                if self._served is None:
                    self._served = Served(reader, None, self._turn)

    def refresh(self) -> None:
        """Serve the newest publication, once all its users can be read by key; until then the one before answers.

        A publication whose users cannot be read is not served while there is another.
        """
        self._open()
        try:
            self._refresh()
        finally:
            self._is_kept = self._unreadable or bool(self._newest.fault)
            self._look()

    def _look(self) -> None:
        """Read what `/health` tells: at once of another publication, otherwise at most every `CHECK_SECONDS`."""
        if self._served is None:
            return
        publication, before, now = self._served.reader.publication(), self._looked, time.monotonic()
        is_known = isinstance(before, Looked) and before.publication is publication
        if isinstance(before, Looked) and is_known and now - before.at < CHECK_SECONDS:
            return
        try:
            info = before.table_info if isinstance(before, Looked) and is_known else publication.database.table_info()
            self._looked = Looked(publication, info, self._differing_parts(publication.database.name), now)
        except PublishError as error:
            self._looked = error

    def _differing_parts(self, name: PublicationName | None) -> list[str]:
        try:
            return differing_files(self.settings.place, name)
        except LakeError as error:
            # Answers go on while the storage fails. Which parts differ is not known; what lists them cannot be read.
            self._report(str(error))
            return [PUBLICATION_FILE]

    def _refresh(self) -> None:
        try:
            reader = self._newest.pinned()
            publication = reader.publication()
            with self._change:
                before = self._served
                if publication is self._unkeyed or (before and before.rows is not None and before.is_of(publication)):
                    return
            self._unkeyed = publication
            rows = self._keyed_rows(publication)
        except NothingPublishedError:
            return
        except PublishError as error:
            self._report(f"{error}; answers continue from the previous publication, if there is one")
            self._unreadable = True
            return
        if rows is not None:
            self._unkeyed = None
        with self._change:
            present = self._served
            # Otherwise a still newer one answers, because the one before failed to.
            is_newest = present is None or present is before or present.is_of(publication)
            if is_newest and not self.stopping.is_set():
                self._served, self._failing = Served(reader, rows, self._turn), ""
                self._unreadable = False

    def serve_newest(self, failed: Served | None) -> bool:
        """Serve the newest publication at once, after one has failed to answer; returns whether it is another one.

        It may have replaced history files that the one before reads.
        """
        # Before the lock: opening takes a while.
        reader = self._newest.pinned()
        with self._change:
            present = self._served
            if present is failed or (present and failed and present.is_of(failed.reader.publication())):
                if present and present.is_of(reader.publication()):
                    return False
                self._served = Served(reader, None, self._turn)
        return True

    def _keyed_rows(self, publication: Publication) -> KeyedRows | None:
        try:
            return KeyedRows.build(publication, self.stopping.is_set)
        except OSError as error:
            self._report(
                f"{tempfile.gettempdir()}: the users of the publication cannot be written ({error.strerror or error}); "
                f"each is read from the database instead, which takes longer. Free some space or set TMPDIR to "
                f"another folder"
            )
            return None

    def _report(self, what: str) -> None:
        """Log a failure, once for all the times that it comes in a row."""
        if what != self._failing:
            _log.error("%s", what)
        self._failing = what

    def answer(self, content: str | bytes, as_of: datetime | None, table: str) -> Response:
        """A JSON response whose headers give its `as_of` and whether it is stale.

        It is if its table is older than its schedule promises, or if it comes from a publication that is kept.
        """
        stamp = _stamp(as_of, table)
        headers = stamp.stale if self._is_kept or self.clock() > stamp.stale_from else stamp.fresh
        return Response(content, media_type=JSON, headers=headers)


class _Stamp(NamedTuple):
    stale_from: datetime
    fresh: dict[str, str]
    stale: dict[str, str]


@lru_cache(maxsize=64)
def _stamp(as_of: datetime | None, table: str) -> _Stamp:
    clock = PRIVATE if as_of is None else {**PRIVATE, AS_OF: f"{as_of:%Y-%m-%dT%H:%M:%SZ}"}
    return _Stamp(stale_from(as_of, table), {**clock, STALE: "false"}, {**clock, STALE: "true"})


def rows_model(name: str, schema: pl.Schema, **more: pl.Schema) -> type[BaseModel]:
    """Describe an answer made of rows, from the columns of its frames."""
    fields: dict[str, Any] = {"user_id": str, "keyboard_id": str, "as_of": datetime | None}
    for part, columns in {"rows": schema, **more}.items():
        fields[part] = GenericAlias(list, (_row_model(f"{name}_{part}", columns),))
    model: type[BaseModel] = create_model(name, **fields)
    return model


def _row_model(name: str, schema: pl.Schema) -> type[BaseModel]:
    # Nullable throughout: the transforms document which columns are null, and when.
    fields: dict[str, Any] = {column: (dtype.to_python() | None, ...) for column, dtype in schema.items()}
    model: type[BaseModel] = create_model(name, **fields)
    return model
