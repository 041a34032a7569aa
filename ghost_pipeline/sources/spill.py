"""Rows that arrive in batches, kept in a temporary file so that memory does not grow with a table."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.errors import SourceError

_TOGETHER = 64
"""Temporary files that one frame holds open: a process may have some 1,000."""
_BATCH = 1 << 16


def spilled(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pl.LazyFrame:
    """Write batches of rows to a Parquet file and scan it.

    The file has no name (`TMPDIR` chooses its disk): it lasts as long as the frame or one derived from it, and no kill
    leaves it behind.

    Raises:
        SourceError: the temporary folder cannot be written, or is full.

    """
    try:
        with tempfile.TemporaryFile() as file:
            with pq.ParquetWriter(file, schema, compression="lz4") as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.seek(0)
            return pl.scan_parquet(file)
    except OSError as error:
        raise no_room(error) from error


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


def no_room(error: OSError) -> SourceError:
    """Return the error of a temporary folder that cannot be written."""
    return SourceError(
        f"{tempfile.gettempdir()}: rows of the source cannot be kept there ({error.strerror or error}). Free some "
        f"space, or set TMPDIR to a folder on another disk",
    )
