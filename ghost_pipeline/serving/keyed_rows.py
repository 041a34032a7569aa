"""What the answers about each user are made of, in a temporary file that is read by key.

A look-up in DuckDB and the joins of one user's figures take 10 ms, for 16,384 users at once 1 microsecond each. So
the figures of all users are computed once per publication, in batches, and a request reads some kilobytes of a file.
"""

import os
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Self

import numpy as np
import polars as pl
from pydantic_core import from_json, to_json

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.errors import PublishError
from ghost_pipeline.serving.learners import response_rows
from ghost_pipeline.serving.publication_watcher import SMALL, Publication
from ghost_pipeline.serving.responses import RESPONSE_COLUMNS

BATCH_ROWS = 16_384
"""Users computed at a time: half of it takes 40 MiB less and a fifth more CPU time, six times it 200 MiB more."""
BLOCK_ROWS = 32
"""Users read from the file at a time, 12 kB; of every block the first user_id stays in memory (100 bytes)."""


@dataclass
class KeyedRows:
    """`RESPONSE_COLUMNS` of every user of one publication, as lines of JSON in the order of user_id."""

    # Without a name, open in this process alone: the system removes it when the process ends, however it ends.
    _file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _firsts: list[str] = field(default_factory=list)
    """The first user_id of each block."""
    _starts: list[int] = field(default_factory=list)
    """Where each block starts in the file."""
    _size: int = 0

    def __post_init__(self) -> None:
        """Close the file when no answer needs the rows any more."""
        weakref.finalize(self, self._file.close)

    @classmethod
    def build(cls, publication: Publication, is_stopped: Callable[[], bool] = lambda: False) -> Self | None:
        """Compute the rows of a publication; None if it has no learners, or if the server stops meanwhile.

        Raises:
            PublishError: the published database cannot be read.
            OSError: the temporary file cannot be written.

        """
        if publication.inputs is None:
            return None
        built = cls()
        for users in publication.database.batches(USER_GHOST_STATS, BATCH_ROWS):
            if is_stopped():
                return None
            built.append(response_rows(publication.inputs, users).collect(engine=SMALL))
        return built

    def row(self, user_id: str) -> dict[str, Any] | None:
        """The row of a user; None for an unknown one."""
        block = bisect_right(self._firsts, user_id) - 1
        if block < 0:
            return None
        start = self._starts[block]
        end = self._starts[block + 1] if block + 1 < len(self._starts) else self._size
        lines = os.pread(self._file.fileno(), end - start, start)
        # JSON escapes quotes and line breaks: neither an id nor a text can contain the beginning of a line.
        found = lines.find(_BEGINNING + to_json(user_id) + b",")
        if found < 0:
            return None
        values = from_json(lines[found + 1 :].split(b"\n", 1)[0]).values()
        return dict(zip(RESPONSE_COLUMNS, values, strict=True))

    def append(self, rows: pl.DataFrame) -> None:
        """Add the rows of the users that follow in the order of user_id.

        Raises:
            PublishError: they are not in order.
            OSError: the temporary file cannot be written.

        """
        ids = rows["user_id"]
        if ids.is_empty():
            return
        if not ids.is_sorted() or (self._firsts and ids[0] <= self._firsts[-1]):
            raise PublishError(
                f"{USER_GHOST_STATS.name}: not in the order of user_id. Run `ghost-pipeline publish`: it "
                f"rebuilds the file"
            )
        lines, starts = _as_lines(rows)
        self._firsts += ids.gather_every(BLOCK_ROWS).to_list()
        self._starts += [self._size + start for start in starts]
        self._file.write(lines)
        self._file.flush()
        self._size += len(lines)


_BEGINNING = b'\n{"0":'


def _as_lines(rows: pl.DataFrame) -> tuple[memoryview, list[int]]:
    """A line for each row, and where every `BLOCK_ROWS`th starts.

    Names are numbers: they halve the file. So are instants, in seconds: texts of them take a fifth of the time.
    """
    numbers = pl.selectors.decimal().cast(pl.Float64)
    seconds = pl.selectors.datetime(time_zone="UTC").dt.epoch("s")
    named = rows.with_columns(numbers, seconds).rename(
        {name: str(number) for number, name in enumerate(RESPONSE_COLUMNS)}
    )
    # Each line begins with its line break, so that a line of a block can be found by its beginning.
    lines = named.select(pl.concat_str(pl.lit("\n"), pl.struct(pl.all()).struct.json_encode())).to_series()
    _, offsets, text = lines.to_arrow().buffers()
    return memoryview(text), np.frombuffer(offsets, np.int64)[: rows.height : BLOCK_ROWS].tolist()
