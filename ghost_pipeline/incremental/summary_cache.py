"""The cache from one hour's summaries of typing speed to the next (N3.3).

Every cached frame carries its own validity key, so any may be missing or stale after a crash: sessions the version of
the files that they were read from (`hashed_sessions`), inputs the content hash of the summaries that follow from them,
measurements the hashes of their sessions.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import IO, Self

import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import SESSION_NGRAM_SPEED
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import (
    HASHED_SESSION_SCHEMA,
    PAIR,
    PAIR_INPUT_SCHEMA,
    SESSION_MEASUREMENTS_SCHEMA,
    aged,
    in_sessions,
    still_counting,
    usable,
)
from ghost_pipeline.incremental.hashed_sessions import HashedSessions
from ghost_pipeline.incremental.measurement_parts import measurement_parts
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import HOUR, Hour

_INPUTS = "inputs"
_INPUT_SCHEMA = pl.Schema({**PAIR_INPUT_SCHEMA, "content_hash": pl.String()})


@dataclass(frozen=True)
class KeptState:
    """Summaries of `ngram_speed_summaries` in their order, and the inputs that they follow from."""

    inputs: pl.DataFrame
    """Their inputs, as returned by `pair_inputs`."""
    file: IO[bytes] | None = None
    """A Parquet file of the summaries."""
    rows: Sequence[pl.DataFrame] = ()
    """The summaries, if they are in memory instead."""

    def summaries(self) -> Iterator[pl.DataFrame]:
        """Read the rows, a row group at a time."""
        yield from self.rows
        if self.file is not None:
            self.file.seek(0)
            stored = pq.ParquetFile(self.file)
            for group in range(stored.num_row_groups):
                yield pl.DataFrame(pl.from_arrow(stored.read_row_group(group)))

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()


NO_STATE = KeptState(PAIR_INPUT_SCHEMA.to_frame())


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

    def __init__(
        self,
        lake: Lake,
        hour: Hour,
        versions: pl.DataFrame,
        before: KeptState | None = None,
        sessions: HashedSessions | None = None,
    ) -> None:
        """Open the cache in a lake; nothing is created before the first write.

        Args:
            lake: the lake.
            hour: the hour of the run.
            versions: the `session_versions` of the lake, listed once for all hours of a run.
            before: a previous state to use in place of the lake's.
            sessions: those of an earlier hour to use in place of the lake's.

        """
        self._lake, self._hour, self._versions, self._earlier = lake, hour, versions, sessions
        self._cache = Cache(lake.root, NGRAM_SPEED_SUMMARIES.name)
        self._beside = ThreadPoolExecutor(max_workers=1)
        self._given = before
        self._before = self._beside.submit(self._state)
        self._write: Future[None] | None = None

    def __enter__(self) -> Self:
        """Use the cache."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until all frames are written.

        Raises:
            LakeError: one cannot be written.

        """
        self._beside.shutdown()
        if self._given is None and self._before.exception() is None:
            self._before.result().close()
        if kind is None and self._write is not None:
            self._write.result()

    @property
    def before(self) -> KeptState:
        """The summaries of the hour, otherwise of the previous hour, otherwise of the newest; empty if there are none.

        Any of them will do: equal inputs have equal summaries.
        """
        return self._before.result()

    @cached_property
    def sessions(self) -> HashedSessions:
        """The hashed sessions at the end of the hour; reads only hours whose files were replaced."""
        return HashedSessions(self._lake, self._cache, self._hour.as_of, self._keep, self._versions, self._earlier)

    def measurements(self, pairs: pl.DataFrame, max_sessions: int) -> pl.DataFrame:
        """The measurements of some pairs that still count; reads only sessions without a usable cached frame.

        Args:
            pairs: `user_id` and `keyboard_id`.
            max_sessions: the newest sessions that a summary covers.

        Returns:
            Rows of `still_counting`, one for each session of the pairs.

        """
        frames = [self._cache.read(_measurements_of(*pair), SESSION_MEASUREMENTS_SCHEMA) for pair in pairs.iter_rows()]
        known = pl.concat([SESSION_MEASUREMENTS_SCHEMA.to_frame(), *frames])
        by_age = aged(self.sessions.of_pairs(pairs, known.select(HASHED_SESSION_SCHEMA.names())).lazy()).collect()
        kept = usable(known, by_age, max_sessions)
        unread = by_age.join(kept, on="session_id", how="anti")
        hours = {Hour.containing(start) for start in unread["start_time"]}
        read = in_sessions(self._lake.scan(SESSION_NGRAM_SPEED, sorted(hours)), unread)
        return self._counting(pl.concat([kept, read]), by_age, max_sessions)

    def all_measurements(self, memory_mb: int, max_sessions: int) -> Iterator[pl.DataFrame]:
        """The measurements of all pairs that still count, in parts; see `measurement_parts`."""
        for part in measurement_parts(self._lake, self.sessions, memory_mb):
            by_age = aged(part.lazy().select(HASHED_SESSION_SCHEMA.names())).collect()
            yield self._counting(part, by_age, max_sessions)

    def keep_inputs(self, inputs: pl.DataFrame) -> None:
        """Cache the inputs of the hour's summaries, which are in the lake."""
        self._keep({_inputs_of(self._hour): inputs.with_columns(content_hash=pl.lit(self._content_hash(self._hour)))})

    def forget(self, pairs: pl.DataFrame) -> None:
        """Remove the measurements of pairs that no longer exist."""
        for pair in pairs.select(PAIR).iter_rows():
            self._cache.remove(_measurements_of(*pair))

    def _counting(self, measurements: pl.DataFrame, by_age: pl.DataFrame, max_sessions: int) -> pl.DataFrame:
        """Thin out measurements, and cache those of each pair."""
        counting = still_counting(measurements, by_age, max_sessions)
        parts = counting.partition_by(PAIR, as_dict=True)
        self._keep({_measurements_of(*pair): part for pair, part in parts.items()})
        return counting

    def _keep(self, frames: Mapping[str, pl.DataFrame]) -> None:
        # One write waits at most: the frames of all parts together do not fit in memory.
        if self._write is not None:
            self._write.result()
        self._write = self._beside.submit(self._cache.write, frames)

    def _state(self) -> KeptState:
        if self._given is not None:
            return self._given
        for one in (self._hour, Hour(self._hour.start - HOUR), self._lake.newest_hour(NGRAM_SPEED_SUMMARIES)):
            # The run of a newer hour may remove it while it is read; it then counts as absent.
            with suppress(FileNotFoundError):
                if one and (found := self._state_of(one)):
                    return found
        return NO_STATE

    def _state_of(self, hour: Hour) -> KeptState | None:
        inputs = self._cache.read(_inputs_of(hour), _INPUT_SCHEMA)
        if inputs.is_empty():
            return None
        for path in self._lake.files(NGRAM_SPEED_SUMMARIES, [hour]):
            # Another run may replace the file meanwhile; the opened one stays as it is.
            file = path.open("rb")
            if (inputs["content_hash"] == self._lake.content_hash_of_opened(path, file)).all():
                return KeptState(inputs.select(PAIR_INPUT_SCHEMA.names()), file)
            file.close()
        return None

    def _content_hash(self, hour: Hour) -> str:
        return self._lake.content_hash(self._lake.files(NGRAM_SPEED_SUMMARIES, [hour]))


def _inputs_of(hour: Hour) -> str:
    return f"{_INPUTS}/{hour.start:%Y-%m-%dT%H}"


def _measurements_of(user_id: str, keyboard_id: str) -> str:
    # A hash, so that the file name reveals no id, and is neither too long nor a path.
    return f"measurements/{sha256(repr((user_id, keyboard_id)).encode()).hexdigest()}"
