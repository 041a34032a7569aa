"""The cache from one hour's summaries of typing speed to the next (N3.3).

Every cached frame carries its own validity key, so any may be missing or stale after a crash: sessions the version of
the files that they were read from, inputs the content hash of the summaries that follow from them, measurements the
hashes of their sessions.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Self

import polars as pl

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, SESSION_NGRAM_SPEED
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import (
    HASHED_SESSION_SCHEMA,
    PAIR,
    PAIR_INPUT_SCHEMA,
    SESSION_MEASUREMENTS_SCHEMA,
    aged,
    hashed_sessions,
    in_sessions,
    still_counting,
    usable,
)
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.windows import HOUR, Hour

_SESSION_SCHEMA = pl.Schema({**FILE_VERSION_SCHEMA, **HASHED_SESSION_SCHEMA})
_INPUTS = "inputs"
_INPUT_SCHEMA = pl.Schema({**PAIR_INPUT_SCHEMA, "content_hash": pl.String()})


@dataclass(frozen=True)
class KeptState:
    """Summaries, and the inputs that they follow from."""

    summaries: pl.DataFrame
    """Rows of `ngram_speed_summaries`."""
    inputs: pl.DataFrame
    """Their inputs, as returned by `pair_inputs`."""


def forget_inputs(lake: Lake, until: datetime) -> None:
    """Remove the inputs of hours that had ended by `until`, whose summaries have expired."""
    cache, first = Cache(lake.root, NGRAM_SPEED_SUMMARIES.name), _inputs_of(Hour(until))
    for name in cache.names(_INPUTS):
        if name < first:
            cache.remove(name)


class NgramCache:
    """The cache of `ngram_speed_summaries` for the run of one hour.

    A thread reads the previous state and writes frames while the run computes, so caching adds no time.
    """

    def __init__(self, lake: Lake, hour: Hour, before: KeptState | None = None) -> None:
        """Open the cache in a lake; nothing is created before the first write.

        Args:
            lake: the lake.
            hour: the hour of the run.
            before: a previous state to use in place of the lake's.

        """
        self._lake, self._hour = lake, hour
        self._cache = Cache(lake.root, NGRAM_SPEED_SUMMARIES.name)
        self._beside = ThreadPoolExecutor(max_workers=1)
        self._before = self._beside.submit(lambda: before or self._state())
        self._writes: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Use the cache."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until all frames are written.

        Raises:
            LakeError: one cannot be written.

        """
        self._beside.shutdown()
        if kind is None:
            for write in self._writes:
                write.result()

    @property
    def before(self) -> KeptState:
        """The summaries of the hour, otherwise of the previous hour, otherwise of the newest; empty if there are none.

        Any of them will do: equal inputs have equal summaries.
        """
        return self._before.result()

    def sessions(self) -> pl.DataFrame:
        """The hashed sessions at the end of the hour; reads only hours whose files were replaced.

        Raises:
            LakeError: hours are missing; names them.

        """
        versions = self._lake.file_versions((PRACTICE_SESSIONS, SESSION_NGRAM_SPEED), self._hour.as_of)
        frames = [self._cache.read(name, _SESSION_SCHEMA) for name in _months(versions)]
        kept = pl.concat([_SESSION_SCHEMA.to_frame(), *frames])
        known = kept.filter(pl.col("file_version").is_in(versions["file_version"].implode()))
        changed = versions.join(known, on="file_version", how="anti")
        if changed.height:
            known = pl.concat([known, self._hashed(changed)])
            whole = pl.concat([known, kept.filter(pl.col("hour") >= self._hour.as_of)])
            # One file per month, so that an hour does not rewrite earlier months.
            self._keep({name: whole.filter(month) for name, month in _months(changed).items()})
        return known.filter(pl.col("session_id").is_not_null()).select(HASHED_SESSION_SCHEMA.names())

    def measurements(self, sessions: pl.DataFrame, max_sessions: int) -> pl.DataFrame:
        """The measurements of some pairs that still count; reads only sessions without a usable cached frame.

        Args:
            sessions: all hashed sessions of these pairs.
            max_sessions: the newest sessions that a summary covers.

        Returns:
            Rows of `still_counting`.

        """
        names = {pair: _measurements_of(*pair) for pair in sessions.select(PAIR).unique().iter_rows()}
        frames = [self._cache.read(name, SESSION_MEASUREMENTS_SCHEMA) for name in names.values()]
        by_age = aged(sessions.lazy()).collect()
        kept = usable(pl.concat([SESSION_MEASUREMENTS_SCHEMA.to_frame(), *frames]), by_age, max_sessions)
        unread = by_age.join(kept, on="session_id", how="anti")
        hours = {Hour.containing(start) for start in unread["start_time"]}
        read = in_sessions(self._lake.scan(SESSION_NGRAM_SPEED, hours), unread)
        counting = still_counting(pl.concat([kept, read]), by_age, max_sessions)
        parts = counting.partition_by(PAIR, as_dict=True)
        self._keep({names[pair]: part for pair, part in parts.items()})
        return counting

    def keep_inputs(self, inputs: pl.DataFrame) -> None:
        """Cache the inputs of the hour's summaries, which are in the lake."""
        self._keep({_inputs_of(self._hour): inputs.with_columns(content_hash=pl.lit(self._content_hash(self._hour)))})

    def forget(self, pairs: pl.DataFrame) -> None:
        """Remove the measurements of pairs that no longer exist."""
        for pair in pairs.select(PAIR).iter_rows():
            self._cache.remove(_measurements_of(*pair))

    def _keep(self, frames: Mapping[str, pl.DataFrame]) -> None:
        self._writes.append(self._beside.submit(self._cache.write, frames))

    def _state(self) -> KeptState:
        for one in (self._hour, Hour(self._hour.start - HOUR), self._lake.newest_hour(NGRAM_SPEED_SUMMARIES)):
            # The run of a newer hour may remove it while it is read; it then counts as absent.
            with suppress(FileNotFoundError):
                if one and (found := self._state_of(one)):
                    return found
        return KeptState(NGRAM_SPEED_SUMMARIES.empty(), PAIR_INPUT_SCHEMA.to_frame())

    def _state_of(self, hour: Hour) -> KeptState | None:
        inputs = self._cache.read(_inputs_of(hour), _INPUT_SCHEMA)
        if inputs.is_empty() or not (inputs["content_hash"] == self._content_hash(hour)).all():
            return None
        summaries = self._lake.scan(NGRAM_SPEED_SUMMARIES, [hour]).collect()
        # Another run may have rebuilt that hour while it was read.
        if not (inputs["content_hash"] == self._content_hash(hour)).all():
            return None
        return KeptState(summaries, inputs.select(PAIR_INPUT_SCHEMA.names()))

    def _hashed(self, versions: pl.DataFrame) -> pl.DataFrame:
        """Read the sessions of some hours. An hour without sessions gets a row, too, which shows that it was read."""
        hours = [Hour.containing(start) for start in versions["hour"]]
        sessions, speed = (self._lake.scan(table, hours) for table in (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED))
        found = hashed_sessions(sessions, speed).with_columns(hour=pl.col("start_time").dt.truncate("1h"))
        return versions.join(found.collect(), on="hour", how="left").select(_SESSION_SCHEMA.names())

    def _content_hash(self, hour: Hour) -> str:
        return self._lake.content_hash(self._lake.files(NGRAM_SPEED_SUMMARIES, [hour]))


def _months(versions: pl.DataFrame) -> dict[str, pl.Expr]:
    """The names of the frames that hold the sessions of some hours, each with the condition of its rows."""
    month = pl.col("hour").dt.truncate("1mo")
    return {f"sessions/{one:%Y-%m}": month == one for one in versions.select(month.unique()).to_series()}


def _inputs_of(hour: Hour) -> str:
    return f"{_INPUTS}/{hour.start:%Y-%m-%dT%H}"


def _measurements_of(user_id: str, keyboard_id: str) -> str:
    # A hash, so that the file name reveals no id, and is neither too long nor a path.
    return f"measurements/{sha256(repr((user_id, keyboard_id)).encode()).hexdigest()}"
