"""The measurements of an n-gram in a session, merged: their mean and their number (N1.1, N3.6).

There are many times more measurements than anything else in this project, so they are touched as little as
possible: on the way in each becomes one integer (n-gram, session) beside its value, these are sorted once,
and from then on everything is a pass over runs of equal integers. Floats are added in the order of their
size, so that a mean is the same to the bit whatever the order of the rows or the number of threads. (An
expression that sorts before it sums does not do that: polars sees no use in such a sort and leaves it out.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

# A size is at most 20; together with the number of a text it is what an n-gram is known by in here.
_SIZE_BITS = 5
_KEY_BITS = 64


@dataclass(frozen=True)
class SessionMeans:
    """Means of n-grams in sessions: one entry per (n-gram, session) that has a measurement.

    Entries of one n-gram lie together, and among them the sessions with the larger number come first.
    """

    ngram: npt.NDArray[np.int64]
    """Equal for equal (text, size); which number it is means nothing. See `texts_and_sizes`."""
    session: npt.NDArray[np.int64]
    """The position of the session among those that were handed in."""
    mean: npt.NDArray[np.float64]
    """Mean of the measurements in ms per keystroke; of equal ones that value, to the bit."""
    count: npt.NDArray[np.int64]
    """How many measurements."""
    texts: pl.Series
    """An empty column of the type that knows the texts, which polars forgets with the last such column."""

    def texts_and_sizes(self, ngram: npt.NDArray[np.int64]) -> tuple[pl.Series, pl.Series]:
        """Return the `ngram_text` and `ngram_size` that numbers stand for."""
        text = (
            pl.Series("ngram_text", ngram >> _SIZE_BITS, pl.UInt32).cat.to(self.texts.dtype).cast(pl.String)
        )
        return text, pl.Series("ngram_size", ngram & (2**_SIZE_BITS - 1), pl.Int32)


def session_means(session_ngram_speed: pl.LazyFrame, session_ids: pl.Series) -> SessionMeans:
    """Merge the measurements of each n-gram in each of the sessions.

    Args:
        session_ngram_speed: `session_id`, `ngram_text` String, `ngram_size` Int32 (1 to 20),
            `ms_per_keystroke` Float64. Measurements of other sessions are left out.
        session_ids: the sessions, without repeats; their order numbers them.
    """
    bits = len(session_ids).bit_length()
    texts = pl.Series(dtype=pl.Categorical(pl.Categories.random("ngram_text")))
    # Counted from the end: ascending numbers are what is cheap to sort, and the last session is to be first.
    sessions = pl.LazyFrame({"session_id": session_ids}).select(
        "session_id", from_last=pl.int_range(pl.len(), dtype=pl.UInt64).reverse()
    )
    text = pl.col("ngram_text").cast(texts.dtype).to_physical().cast(pl.UInt64)
    measured = (
        session_ngram_speed.select(
            "session_id",
            ngram=text * 2**_SIZE_BITS + pl.col("ngram_size").cast(pl.UInt64),
            value="ms_per_keystroke",
        )
        .join(sessions, on="session_id", how="inner")
        .select(key=pl.col("ngram") * 2**bits + pl.col("from_last"), value="value")
        .collect()
    )
    key, row = _sorted_with_rows(measured["key"])
    value = measured["value"].to_numpy()[row]
    starts, count = runs(key)
    if len(starts) < len(key):
        _sort_within_runs(key, value, count)
        # Differences to the first are added up, so that the mean of equal values is that value exactly.
        first = value[starts]
        value = first + np.add.reduceat(value - np.repeat(first, count), starts) / count
        key = key[starts]
    session = len(session_ids) - 1 - (key & np.uint64(2**bits - 1)).astype(np.int64)
    return SessionMeans((key >> np.uint64(bits)).astype(np.int64), session, value, count, texts)


def runs(*columns: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where runs of equal values of all the columns start, and how long they are."""
    height = len(columns[0])
    changes = np.ones(height, np.bool_)
    if height:
        changes[1:] = columns[0][1:] != columns[0][:-1]
    for column in columns[1:]:
        changes[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(changes)
    return starts, np.diff(starts, append=height)


def _sorted_with_rows(keys: pl.Series) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the keys ascending, and for each the row that it came from."""
    height = len(keys)
    row_bits = height.bit_length()
    if int(keys.max() or 0).bit_length() + row_bits > _KEY_BITS:  # type: ignore[arg-type]
        row = keys.arg_sort().to_numpy()
        return keys.to_numpy()[row], row
    # With the row in the low bits one sorts plain integers and moves nothing else: several times faster.
    key = keys.to_numpy() << np.uint64(row_bits)
    key |= np.arange(height, dtype=np.uint64)
    key.sort()
    row = key & np.uint64(2**row_bits - 1)
    key >>= np.uint64(row_bits)
    return key, row


def _sort_within_runs(
    key: npt.NDArray[np.uint64], value: npt.NDArray[np.float64], count: npt.NDArray[np.int64]
) -> None:
    """Sort, in place, the values of each run of equal keys."""
    # Most n-grams occur once in a session, and nothing is to be sorted where a run is one long.
    repeated = np.flatnonzero(np.repeat(count > 1, count))
    value[repeated] = value[repeated][np.lexsort((value[repeated], key[repeated]))]
