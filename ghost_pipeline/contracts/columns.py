"""Column types that several tables share, so that an instant or an id is the same everywhere."""

from collections.abc import Mapping
from typing import cast

import dataframely as dy
import polars as pl

from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

_KEY, _PERSONAL = "key", "personal"
"""Entries of a column's metadata."""


def schema_of(
    name: str, description: str, columns: Mapping[str, dy.Column], *, head: type[dy.Schema] = dy.Schema
) -> type[dy.Schema]:
    """A schema whose columns are computed, after those of `head`; `description` takes the place of a docstring."""
    return cast("type[dy.Schema]", type(name, (head,), {"__doc__": description, **columns}))


def identifier(description: str, *, primary_key: bool = False, nullable: bool = False) -> dy.String:
    """A text id; UUIDs are their text. Never empty."""
    return dy.String(primary_key=primary_key, nullable=nullable, min_length=1, description=description)


class Characters(dy.String):
    """Text whose length counts characters; that of dataframely counts bytes, and few scripts have one a character."""

    def validation_rules(self, expr: pl.Expr) -> dict[str, pl.Expr]:
        """The rules of a text, with the length in characters."""
        rules: dict[str, pl.Expr] = super().validation_rules(expr)
        if self.max_length is not None:
            rules["max_length"] = expr.str.len_chars() <= self.max_length
        return rules


def instant(description: str, *, primary_key: bool = False, nullable: bool = False) -> dy.Datetime:
    """A UTC instant to the microsecond, between 1970 and 2200; outside are mistakes of units, not events."""
    return dy.Datetime(
        primary_key=primary_key,
        nullable=nullable,
        min=FIRST_INSTANT,
        max_exclusive=LAST_INSTANT,
        time_unit="us",
        time_zone="UTC",
        description=description,
    )


def row_id(table_key: str) -> dy.String:
    """The specification's `id`: uuid5 of the key (G1.10)."""
    return dy.String(
        regex=r"^[0-9a-f-]{36}$",
        description=f"uuid5 of ({table_key})",
        metadata={_KEY: frozenset(table_key.split(", "))},
    )


def key_columns(column: dy.Column) -> frozenset[str]:
    """The columns that a `row_id` is made of; empty for any other column."""
    return frozenset((column.metadata or {}).get(_KEY, ()))


def personal(column: dy.String) -> dy.String:
    """Mark a column whose values name a person or hold what a person wrote, so that no preview shows them."""
    return column.with_metadata({**(column.metadata or {}), _PERSONAL: True})


def is_personal(column: dy.Column) -> bool:
    """Whether a column is marked as personal."""
    return bool((column.metadata or {}).get(_PERSONAL))


def as_of_column() -> dy.Datetime:
    """The clock of the partition."""
    return instant("End of the partition; every figure in the row is as of this instant")


def count(description: str) -> dy.Int64:
    """A number of things, never negative."""
    return dy.Int64(min=0, description=description)


def small(description: str, *, low: int = 0, high: int | None = None, nullable: bool = False) -> dy.Int32:
    """A small whole number within a range."""
    return dy.Int32(min=low, max=high, nullable=nullable, description=description)
