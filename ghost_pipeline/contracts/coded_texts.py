"""Frames with an Enum where a contract has text: each text is checked and written once, however many rows have it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import dataframely as dy
import polars as pl

_MOST_KEYS = 2**63
_SCHEMAS = 64
"""More than there are sets of texts that change from hour to hour."""


def coded_texts(expected: Mapping[str, pl.DataType], frame: pl.DataFrame) -> dict[str, pl.Enum]:
    """Return the columns of a frame that are an Enum where text is expected."""
    return {
        name: dtype
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Enum) and expected[name] == pl.String
    }


def schema_of_text(schema: type[dy.Schema], name: str) -> type[dy.Schema]:
    """Return a schema of one column, for the texts that an Enum may hold."""
    return cast("type[dy.Schema]", type("Texts", (dy.Schema,), {name: schema.columns()[name]}))


@lru_cache(maxsize=_SCHEMAS)
def coded_schema(schema: type[dy.Schema], coded: tuple[tuple[str, pl.Enum], ...]) -> type[dy.Schema]:
    """Return a schema with Enums for some of its texts; it does not check the key."""
    types = dict(coded)
    columns = {
        name: dy.Enum(types[name].categories, nullable=column.nullable) if name in types else _beside_key(column)
        for name, column in schema.columns().items()
    }
    return cast("type[dy.Schema]", type("Coded", (dy.Schema,), columns))


def _beside_key(column: dy.Column) -> dy.Column:
    """Return a column that is not part of the key."""
    if not column.primary_key:
        return column
    other = column.with_metadata(column.metadata or {})
    other.primary_key = False
    return other


def repeated_keys(frame: pl.DataFrame, key: Sequence[str]) -> int:
    """Return how many rows have a key that another row also has; keys have no nulls.

    One integer for each key is compared, which takes a tenth of the time of comparing texts.
    """
    if not key or not frame.height:
        return 0
    keys, number = pl.zeros(frame.height, pl.Int64, eager=True), 1
    for column in (frame[name] for name in key):
        codes, size = _codes(column)
        keys, number = keys * size + codes, number * size
    if number < _MOST_KEYS and keys.n_unique() == frame.height:
        return 0
    return int(frame.select(pl.struct(key).is_duplicated().sum()).item())


def _codes(column: pl.Series) -> tuple[pl.Series, int]:
    """Return an integer for each value, equal for equal values only, and a number that is above all of them."""
    if isinstance(column.dtype, pl.Enum):
        return column.to_physical().cast(pl.Int64), len(column.dtype.categories)
    codes = column.rle_id() if column.is_sorted() else column.rank("dense")
    return codes.cast(pl.Int64), int(cast("int", codes.max())) + 1
