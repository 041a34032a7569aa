"""Rows that arrive in batches, kept in a temporary file so that memory does not grow with a table."""

import tempfile
from collections.abc import Iterable

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.errors import SourceError


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
        raise SourceError(
            f"{tempfile.gettempdir()}: rows of the source cannot be kept there ({error.strerror or error}). Free some "
            f"space, or set TMPDIR to a folder on another disk",
        ) from error
