"""The events of a month's achievers, read from the lake once for all tables of the month.

The first table that is computed reads the hours and caches the achievers' events by shard; the others read the cache,
and the last of them removes it. It is valid for the versions of the files that it was read from and for the people that
it was read for. Otherwise, or if a frame is missing or damaged, the hours are read again.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.domain.ghost.benchmarks.shards import COMPACT_SCHEMA, compact, numbered
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.concurrent_replace import ConcurrentReplaceError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import Month

_NAME = "achiever_events"
_CONTENTS, _TAKEN = "contents", "taken"
_CONTENTS_SCHEMA = pl.Schema(
    {"inputs": pl.String(), "shard": pl.UInt16(), "frame": pl.String(), "rows": pl.Int64()},
)
_TAKEN_SCHEMA = pl.Schema({"inputs": pl.String(), "table": pl.String()})

READ_BYTES = 64 << 20
"""Bytes of hours that are read together: 1.5 million events at most, 30 MB in compact form."""
FRAME_ROWS = 2_000_000
"""Events that wait in memory before they are cached: 42 MB."""


class AchieverEvents:
    """The achievers of a month with their events, in shards."""

    def __init__(self, lake: Lake, month: Month, achievers: pl.LazyFrame, shards: int) -> None:
        """Take the achievers as they were at the end of the month: rows of `users`, each user once."""
        self._lake, self._month, self._shards = lake, month, shards
        self._cache = Cache(lake.root, _NAME)
        people = achievers.sort("user_id").collect()
        self._numbered = numbered(people["user_id"], shards)
        self._people = people.with_columns(self._numbered["number"].alias("user_id"))

    def shards(self, table: Contract, tables: Sequence[Contract]) -> Iterator[tuple[pl.LazyFrame, pl.LazyFrame]]:
        """Yield each shard's achievers and events, both with numbers instead of user ids (UInt32).

        Args:
            table: the table that is computed from them.
            tables: all tables that need them. The cache is removed once each has been given all shards.

        Raises:
            ConcurrentReplaceError: events have changed while they were read, or another run replaced the cache.

        """
        with table_lock(self._lake.root, _NAME):
            contents = self._contents()
        for number in range(self._shards):
            events = self._events(contents.filter(pl.col("shard") == number))
            yield self._people.filter(self._numbered["shard"] == number).lazy(), events.lazy()
        self._take(contents, table, tables)

    def named(self, people: pl.DataFrame) -> pl.DataFrame:
        """Return people with their user ids in place of the numbers, in their order."""
        ids = self._numbered.select(name="user_id", user_id="number")
        names = people.select("user_id").join(ids, on="user_id", how="left", maintain_order="left")["name"]
        return people.with_columns(names.alias("user_id"))

    def _contents(self) -> pl.DataFrame:
        """Return which frames hold the events; reads the hours if the cache is not valid."""
        inputs = self._inputs()
        kept = self._cache.read(_CONTENTS, _CONTENTS_SCHEMA)
        if kept.height and (kept["inputs"] == inputs).all():
            return kept
        self._cache.clear()
        # A row for each shard even without events, so that there is a row to know the inputs by.
        rows = [(inputs, number, "", 0) for number in range(self._shards)]
        for part, events in enumerate(self._parts()):
            for (number,), frame in events.partition_by("shard", include_key=False, as_dict=True).items():
                name = f"shard-{number:03}/{part:05}"
                self._cache.write({name: frame.select(COMPACT_SCHEMA.names())})
                rows.append((inputs, number, name, frame.height))
        if self._inputs() != inputs:
            raise ConcurrentReplaceError(f"{USER_PROGRESS.name}, month {self._month.key}: replaced while it was read")
        contents = pl.DataFrame(rows, schema=_CONTENTS_SCHEMA, orient="row")
        self._cache.write({_CONTENTS: contents})
        return contents

    def _inputs(self) -> str:
        """Return a hash of the versions of the hours, the achievers, and the number of shards."""
        versions = self._lake.file_versions((USER_PROGRESS,), self._month.as_of)
        content = sha256("\0".join(self._numbered["user_id"]).encode())
        for column in ("hour", "file_version"):
            content.update(versions[column].to_physical().to_numpy().tobytes())
        return f"{self._month.key} {self._shards} {content.hexdigest()}"

    def _parts(self) -> Iterator[pl.DataFrame]:
        """Yield the achievers' events in the order of hours, some two million at a time."""
        lake, users = self._lake, self._numbered.lazy()
        waiting: list[pl.DataFrame] = []
        for hours in lake.in_parts(USER_PROGRESS, lake.hours_until(USER_PROGRESS, self._month.as_of), READ_BYTES):
            waiting.append(compact(lake.scan(USER_PROGRESS, hours), users).collect())
            if sum(frame.height for frame in waiting) >= FRAME_ROWS:
                yield pl.concat(waiting)
                waiting = []
        if waiting:
            yield pl.concat(waiting)

    def _events(self, contents: pl.DataFrame) -> pl.DataFrame:
        found = [COMPACT_SCHEMA.to_frame()]
        for name, rows in contents.filter(pl.col("rows") > 0).select("frame", "rows").iter_rows():
            frame = self._cache.read(name, COMPACT_SCHEMA)
            if frame.height != rows:
                self._cache.remove(_CONTENTS)
                raise ConcurrentReplaceError(f"{_NAME}: replaced while it was read")
            found.append(frame)
        return pl.concat(found)

    def _take(self, contents: pl.DataFrame, table: Contract, tables: Sequence[Contract]) -> None:
        """Note that a table has been given all shards; once all have, the cache is of no more use."""
        inputs = contents["inputs"][0]
        with table_lock(self._lake.root, _NAME):
            kept = self._cache.read(_TAKEN, _TAKEN_SCHEMA).filter(pl.col("inputs") == inputs)
            taken = sorted({*kept["table"], table.name})
            if {one.name for one in tables} <= set(taken):
                self._cache.clear()
            else:
                self._cache.write({_TAKEN: pl.DataFrame({"inputs": inputs, "table": taken}, schema=_TAKEN_SCHEMA)})
