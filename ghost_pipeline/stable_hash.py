"""Hashes of rows that no release of a library changes, so that they may be kept from run to run.

Texts are hashed with BLAKE2b, and the columns of a row are combined with the finalizer of MurmurHash3 (fmix64). Both
are frozen by their definitions. polars and DuckDB may change their own hashes with any release, and everything that was
kept would then count as changed.

The hashes tell contents apart; they are no protection against people who choose the contents.
"""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

_Hashes = npt.NDArray[np.uint64]

HASH_BYTES = 8
_BLOCK = 1 << 16
"""Rows whose intermediate results stay in the processor's cache."""
_SHIFT = np.uint64(33)
_FACTORS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_NULL = 0x9E3779B97F4A7C15
_START = np.uint64(0x6A09E667F3BCC908)


def text_hash(text: str) -> int:
    """Return the hash of a text: 8 bytes of BLAKE2b over its UTF-8."""
    return int.from_bytes(blake2b(text.encode(), digest_size=HASH_BYTES).digest(), "little")


def row_hashes(rows: pl.DataFrame) -> pl.Series:
    """Return a UInt64 for each row; it depends on the values and the order of the columns, not on their names.

    Args:
        rows: columns of texts, numbers, booleans and times; nulls are values of their own.

    """
    columns = [_numbers(column) for column in rows.iter_columns()]
    found = np.full(rows.height, _START)
    for first in range(0, rows.height, _BLOCK):
        block = found[first : first + _BLOCK]
        for column in columns:
            block ^= column[first : first + _BLOCK]
            _mix(block)
    return pl.Series("hash", found)


def _numbers(column: pl.Series) -> _Hashes:
    """A number for each value of a column."""
    numbers: _Hashes
    match column.dtype:
        case pl.String:
            encoded = column.to_arrow().dictionary_encode()
            texts = b"".join(
                blake2b(text.encode(), digest_size=HASH_BYTES).digest() for text in encoded.dictionary.to_pylist()
            )
            # The last one is that of nulls.
            hashes = np.frombuffer(texts + _NULL.to_bytes(HASH_BYTES, "little"), "<u8").astype(np.uint64)
            numbers = hashes[encoded.indices.fill_null(len(hashes) - 1).to_numpy()]
            return numbers
        case pl.Float32 | pl.Float64:
            numbers = column.cast(pl.Float64).fill_null(0.0).to_numpy().view(np.uint64)
        case pl.UInt64:
            numbers = column.fill_null(0).to_numpy()
        case _:
            numbers = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    return np.where(column.is_null().to_numpy(), np.uint64(_NULL), numbers) if column.null_count() else numbers


def _mix(hashes: _Hashes) -> None:
    """Apply fmix64 in place."""
    for factor in _FACTORS:
        hashes ^= hashes >> _SHIFT
        hashes *= factor
    hashes ^= hashes >> _SHIFT
