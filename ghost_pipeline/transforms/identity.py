"""Stable row ids: the same key gives the same UUID in every run and on every machine (G1.10)."""

import json
import uuid
from collections.abc import Sequence
from datetime import date, datetime

import polars as pl

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "ghost_pipeline")


def row_id(table: str, *key: pl.Expr) -> pl.Expr:
    """The uuid5 of a row's key as String, named `id`.

    The name under `NAMESPACE` is the compact JSON array of the table and the key parts. JSON quotes, so
    parts may contain any character, and null differs from the text "null". Numbers (decimals with all
    their digits), dates and times (ISO 8601) enter as text.
    """

    def identify(parts: Sequence[pl.Series]) -> pl.Series:
        # A literal arrives with length 1, whatever the length of the columns beside it.
        lengths = {len(part) for part in parts}
        height = 0 if 0 in lengths else max(lengths)
        columns = (part if len(part) == height else part.new_from_index(0, height) for part in parts)
        rows = zip(*(column.to_list() for column in columns), strict=True)
        return pl.Series([_uuid(table, row) for row in rows], dtype=pl.String)

    return pl.map_batches(list(key), identify, return_dtype=pl.String, is_elementwise=True).alias("id")


def _uuid(table: str, row: tuple[object, ...]) -> str:
    name = json.dumps([table, *(None if part is None else _text(part) for part in row)], separators=(",", ":"))
    return str(uuid.uuid5(NAMESPACE, name))


def _text(part: object) -> str:
    return part.isoformat() if isinstance(part, date | datetime) else str(part)
