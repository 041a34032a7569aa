"""Rows that arrive in batches, kept in a temporary file so that memory does not grow with a table."""

import tempfile
from collections.abc import Hashable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import chain
from typing import IO, Self

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.errors import SourceError

_TOGETHER = 64
"""Temporary files that one frame holds open: a process may have some 1,000."""
_BATCH = 1 << 16
_REPEATED = 8
"""Rows per different value from which on a column of texts has a dictionary: one of distinct ids takes as long as all
the rest of the file."""


def spilled(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pl.LazyFrame:
    """Write batches of rows to a Parquet file and scan it.

    The file has no name (`TMPDIR` chooses its disk): it lasts as long as the frame or one derived from it, and no kill
    leaves it behind.

    Raises:
        SourceError: the temporary folder cannot be written, or is full.

    """
    try:
        with tempfile.TemporaryFile() as file:
            arriving = iter(batches)
            first = next(arriving, None)
            with _writer(file, schema, first) as writer:
                for batch in chain(() if first is None else (first,), arriving):
                    writer.write_batch(batch)
            file.seek(0)
            return pl.scan_parquet(file)
    except OSError as error:
        raise no_room(error) from error


def _writer(file: IO[bytes], schema: pa.Schema, first: pa.RecordBatch | None) -> pq.ParquetWriter:
    """Open the file, which is read once or twice and lives for minutes.

    Two million events take 0.28 CPU s, 0.76 with compression and all dictionaries, for a third more room. Statistics of
    times tell which row groups an hour is in; no others are asked for.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    repeated = [name for name in texts if first and pc.count_distinct(first[name]).as_py() * _REPEATED <= len(first)]
    times = [field.name for field in schema if pa.types.is_temporal(field.type)]
    return pq.ParquetWriter(file, schema, compression="none", use_dictionary=repeated, write_statistics=times)


def together(frames: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
    """Return the rows of frames of text, at least one; a column that a frame lacks is null there.

    Of many frames, the rows are written once more: each holds a temporary file open.

    Raises:
        SourceError: as `spilled`.

    """
    written: list[pl.LazyFrame] = []
    some: list[pl.LazyFrame] = []
    for frame in frames:
        some.append(frame)
        if len(some) == _TOGETHER:
            written.append(_rewritten(some))
            some = []
    every = [*written, *some]
    return every[0] if len(every) == 1 else pl.concat(every, how="diagonal_relaxed")


def _rewritten(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    every = pl.concat(frames, how="diagonal_relaxed")
    schema = every.collect_schema().to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in every.collect_batches(chunk_size=_BATCH):
            yield from batch.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

    return spilled(schema, batches())


class Groups:
    """Frames in a temporary file, of which those of one group are read together; a context manager.

    The file has no name, as in `spilled`. It keeps every type as it is.
    """

    def __init__(self) -> None:
        """Open a file without rows.

        Raises:
            SourceError: the temporary folder cannot be written.

        """
        self._places: dict[Hashable, list[tuple[int, int]]] = {}
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        except OSError as error:
            raise no_room(error) from error

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, which removes it."""
        self._file.close()

    def add(self, group: Hashable, rows: pl.DataFrame) -> None:
        """Add rows to a group.

        Raises:
            SourceError: the temporary folder is full.

        """
        buffer = BytesIO()
        rows.write_ipc(buffer, compression="lz4")
        try:
            place = self._file.seek(0, 2)
            self._file.write(buffer.getbuffer())
        except OSError as error:
            raise no_room(error) from error
        self._places.setdefault(group, []).append((place, buffer.tell()))

    def read(self, group: Hashable) -> list[pl.DataFrame]:
        """Return the frames of a group, in the order in which they were added."""
        found = []
        for place, size in self._places.get(group, ()):
            self._file.seek(place)
            found.append(pl.read_ipc(BytesIO(self._file.read(size))))
        return found


def no_room(error: OSError) -> SourceError:
    """Return the error of a temporary folder that cannot be written."""
    return SourceError(
        f"{tempfile.gettempdir()}: rows of the source cannot be kept there ({error.strerror or error}). Free some "
        f"space, or set TMPDIR to a folder on another disk",
    )
