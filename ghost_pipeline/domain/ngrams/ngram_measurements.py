"""The mean and the number of an n-gram's measurements in each session (N1.1, N3.6).

Measurements outnumber all other rows many times, so each is touched as little as possible: it becomes one integer
(n-gram, session) beside its value, these are sorted once, and every later step is a pass over runs of equal
integers. A mean is the same to the bit in any order of rows and with any number of threads. (Sorting the values
before summing them would not help: polars drops a sort whose result is only summed.)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

# A size is at most 20; with the number of a text it identifies an n-gram in this module.
_SIZE_BITS = 5
_KEY_BITS = 64
_BLOCK = 2**18
_SUM_BITS = 62
_LARGEST_EXPONENT = 1000

_Index = slice | npt.NDArray[np.int64]
_ALL = slice(None)


@dataclass(frozen=True)
class SessionMeans:
    """Means of n-grams in sessions: one entry per (n-gram, session) that has a measurement.

    The entries are in the order of n-grams and, of one n-gram, of the places of the sessions.
    """

    count: npt.NDArray[np.int32]
    """How many measurements an entry has."""
    _key: npt.NDArray[np.uint64]
    """From the high bits to the low ones: n-gram, place and, where `_row_bits` are not 0, row of `_value`."""
    _place_bits: int
    _row_bits: int
    _value: npt.NDArray[np.float64]
    _texts: pl.Series

    def mean(self, entries: _Index = _ALL) -> npt.NDArray[np.float64]:
        """Return means in ms per keystroke; the mean of equal measurements is their value, to the bit."""
        rows = self._key[entries] & np.uint64(2**self._row_bits - 1) if self._row_bits else entries
        means: npt.NDArray[np.float64] = self._value[rows]
        return means

    def place(self, entries: _Index = _ALL) -> npt.NDArray[np.int64]:
        """Return the places of the entries' sessions."""
        place = self._key[entries] >> np.uint64(self._row_bits)
        place &= np.uint64(2**self._place_bits - 1)
        return place.astype(np.int64)

    def ngram(self, entries: _Index = _ALL) -> tuple[pl.Series, pl.Series]:
        """Return `ngram_text` and `ngram_size` of the entries."""
        number = (self._key[entries] >> np.uint64(self._row_bits + self._place_bits)).astype(np.int64)
        text = pl.Series("ngram_text", number >> _SIZE_BITS, pl.UInt32).cat.to(self._texts.dtype)
        size = pl.Series("ngram_size", number & (2**_SIZE_BITS - 1), pl.Int32)
        return text.cast(pl.String), size

    def first_of_each(self, low_bits: int) -> npt.NDArray[np.int64]:
        """Return the first entries of each n-gram and place, places that differ in low bits being one."""
        return np.flatnonzero(_changes(self._key, self._row_bits + low_bits))

    def place_is_below(self, limit: int, low_bits: int) -> npt.NDArray[np.bool_]:
        """Return whether the low bits of the places are a number below the limit."""
        mask, shift = np.uint64(2**low_bits - 1), np.uint64(self._row_bits)
        is_below = np.empty(len(self._key), np.bool_)
        for block in _blocks(len(self._key)):
            np.less((self._key[block] >> shift) & mask, limit, out=is_below[block])
        return is_below


def session_means(session_ngram_speed: pl.LazyFrame, sessions: pl.LazyFrame, place_bits: int) -> SessionMeans:
    """Merge the measurements of each n-gram in each of the sessions.

    Args:
        session_ngram_speed: `session_id`, `ngram_text` String, `ngram_size` Int32 (1 to 20),
            `ms_per_keystroke` Float64; a row per measurement. Those of other sessions are left out.
        sessions: `session_id` (unique) and `place` UInt64 (unique): an n-gram's entries are in this order.
        place_bits: how many bits the largest place takes.

    Raises:
        OverflowError: so many different texts and such large places do not fit in one integer.
    """
    # Polars forgets the numbers of the texts with the last column of their type, so one such column is kept.
    texts = pl.Series(dtype=pl.Categorical(pl.Categories.random("ngram_text")))
    text = pl.col("ngram_text").cast(texts.dtype).to_physical().cast(pl.UInt64)
    measured = (
        session_ngram_speed.select(
            "session_id",
            ngram=text * 2**_SIZE_BITS + pl.col("ngram_size").cast(pl.UInt64),
            value="ms_per_keystroke",
        )
        .join(sessions.select("session_id", "place"), on="session_id", how="inner")
        .select(key=pl.col("ngram") * 2**place_bits + pl.col("place"), value="value")
        .collect()
    )
    # No n-gram is empty, so the number that the empty text gets now is the number of texts.
    ngram_bits = int(pl.Series([""]).cast(texts.dtype).to_physical()[0]).bit_length() + _SIZE_BITS
    if ngram_bits + place_bits > _KEY_BITS:
        raise OverflowError(
            f"n-grams take {ngram_bits} bits and sessions {place_bits}, together more than {_KEY_BITS}; "
            "summarise fewer users at a time",
        )
    key, value, row_bits = _sorted(measured)
    changes = _changes(key, row_bits)
    if changes.all():
        return SessionMeans(np.broadcast_to(np.int32(1), len(key)), key, place_bits, row_bits, value, texts)
    first = np.flatnonzero(changes)
    count = np.diff(first, append=len(key)).astype(np.int32)
    mean = np.empty(len(first))
    for block in _blocks(len(first)):
        rows: _Index = slice(int(first[block.start]), int(first[block.stop - 1] + count[block.stop - 1]))
        if row_bits:
            rows = (key[rows] & np.uint64(2**row_bits - 1)).astype(np.int64)
        mean[block] = _means(value[rows], count[block])
    return SessionMeans(count, key[first] >> np.uint64(row_bits), place_bits, 0, mean, texts)


def _means(value: npt.NDArray[np.float64], count: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return the means of consecutive stretches of so many values, whatever the order within a stretch.

    Integers have the same sum in any order, floats do not. So each value is measured from the smallest one of its
    stretch, in units of a power of two so small that the sum just fits an integer: that is finer than a float,
    and the mean of equal values is exactly that value.
    """
    first = np.cumsum(count) - count
    base = np.minimum.reduceat(value, first)
    above = value - np.repeat(base, count)
    largest = np.frexp(np.maximum.reduceat(above, first))[1] + np.frexp(count)[1]
    unit = np.exp2(-np.minimum(_SUM_BITS - largest, _LARGEST_EXPONENT))
    above /= np.repeat(unit, count)
    total = np.add.reduceat(np.rint(above, out=above).astype(np.int64), first)
    means: npt.NDArray[np.float64] = base + total * unit / count
    return means


def _sorted(measured: pl.DataFrame) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64], int]:
    """Return the keys ascending, the values, and how many low bits of a key name the row of its value.

    With 0 bits the values are in the order of the keys.
    """
    key = measured["key"].to_numpy(writable=True)
    value = measured["value"].to_numpy()
    row_bits = len(key).bit_length()
    if int(key.max(initial=0)).bit_length() + row_bits > _KEY_BITS:
        order = np.argsort(key)
        return key[order], value[order], 0
    # With the row in the low bits only plain integers are sorted and moved: several times faster.
    key <<= np.uint64(row_bits)
    key |= np.arange(len(key), dtype=np.uint64)
    # polars sorts these in half the time that numpy takes.
    return pl.Series(key).sort().to_numpy(), value, row_bits


def _changes(key: npt.NDArray[np.uint64], low_bits: int) -> npt.NDArray[np.bool_]:
    """Return which keys differ from the one before in more than their low bits; the first one does."""
    changes = np.ones(len(key), np.bool_)
    for block in _blocks(len(key) - 1):
        high = key[block.start : block.stop + 1] >> np.uint64(low_bits)
        np.not_equal(high[1:], high[:-1], out=changes[block.start + 1 : block.stop + 1])
    return changes


def _blocks(length: int) -> Iterator[slice]:
    """Cut a length into stretches whose intermediate results stay in the processor's cache."""
    for start in range(0, length, _BLOCK):
        yield slice(start, min(start + _BLOCK, length))
