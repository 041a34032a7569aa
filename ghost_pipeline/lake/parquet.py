"""The Parquet bytes of a partition; the same rows in the same order give the same bytes."""

from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.contract import Contract

ZSTD_LEVEL = 1
"""As small as level 3 (7.0 MB for 200,000 summaries), in two thirds of its time."""
ROW_GROUP_ROWS = 100_000
"""Row groups are written and read in parallel: split in two, 200,000 summaries take half the time."""


def parquet_bytes(contract: Contract, frame: pl.DataFrame) -> bytes:
    """The file of a frame that fulfils the contract."""
    return _parquet(frame) if frame.height else _empty(contract)


def parquet_bytes_of_parts(contract: Contract, key: str, parts: Iterable[pl.DataFrame]) -> tuple[bytes, int]:
    """The file of frames that follow one another and are never in memory together, and the number of their rows.

    Raises:
        ContractError: a frame breaks the contract.

    """
    rows, buffer = 0, BytesIO()
    schema = contract.empty().to_arrow().schema
    with pq.ParquetWriter(buffer, schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
        for part in parts:
            contract.require(part, key)
            # Without rechunk the chunks, and with them the pages of the file, would end at random.
            writer.write_table(part.rechunk().to_arrow())
            rows += part.height
    return buffer.getvalue(), rows


def is_sound(path: Path) -> bool:
    """Whether a file has the footer of a Parquet file; True if it was removed meanwhile, which is not damage."""
    try:
        pl.read_parquet_schema(path)
    except FileNotFoundError:
        return True
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.rechunk().write_parquet(
        buffer, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP_ROWS, statistics=True
    )
    return buffer.getvalue()


@cache
def _empty(contract: Contract) -> bytes:
    return _parquet(contract.empty())
