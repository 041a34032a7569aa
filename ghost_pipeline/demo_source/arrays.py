"""Arrays of numbers and ids that every part of the demo source is made of."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
NONE = -1
"""Stands for a missing value."""


def floor(values: Floats) -> Ints:
    """Round down to whole numbers."""
    return np.floor(values).astype(np.int64)


def counting(lengths: Ints) -> Ints:
    """Return 0, 1, 2 ... for each of the lengths, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) - np.repeat(ends - lengths, lengths)


def sum_within(values: Ints, lengths: Ints) -> Ints:
    """Return running sums that restart with each group; no group is empty."""
    sums = np.cumsum(values)
    firsts = np.cumsum(lengths) - lengths
    before: Ints = sums[firsts] - values[firsts]
    return sums - np.repeat(before, lengths)


def numbered(prefix: str, numbers: Ints, digits: int) -> pl.Series:
    """Return ids such as learner-00042: a prefix and a number with leading zeros."""
    frame = pl.DataFrame({"number": numbers})
    return frame.select(pl.format(prefix + "-{}", pl.col("number").cast(pl.String).str.zfill(digits))).to_series()


def filled(value: int, size: int) -> Ints:
    """Return an array of one value."""
    return np.full(size, value, dtype=np.int64)
