"""Column types that several tables share, so that an instant or an id is the same everywhere."""

from collections.abc import Mapping
from typing import TypeVar, cast

import dataframely as dy
import polars as pl

from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

_KEY, _PERSONAL, _INPUTS = "key", "personal", "inputs"
"""Entries of a column's metadata."""

Column = TypeVar("Column", bound=dy.Column)


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


def computed_from(column: Column, *inputs: str) -> Column:
    """Declare the columns that a column's values are computed from.

    A column needs no declaration if it passes on the column of the same name of a table upstream; see `lineage`.

    Args:
        column: the column.
        inputs: `table.column`, `source.table.column` of the source, or just `column` of the same table; none if the
            values come from the clock, a setting or a registry.

    """
    return column.with_metadata({**(column.metadata or {}), _INPUTS: inputs})


def declared_inputs(column: dy.Column) -> tuple[str, ...] | None:
    """The inputs that `computed_from` has declared; None without a declaration."""
    return cast("tuple[str, ...] | None", (column.metadata or {}).get(_INPUTS))


def as_of_column() -> dy.Datetime:
    """The clock of the partition."""
    return computed_from(instant("End of the partition; every figure in the row is as of this instant"))


def date_of_hour(description: str) -> dy.Date:
    """The date of an hourly partition, part of the key."""
    return computed_from(dy.Date(primary_key=True, description=description))


def hour_of_date() -> dy.Int32:
    """The hour of an hourly partition, part of the key."""
    return computed_from(dy.Int32(primary_key=True, min=0, max=23, description="The hour of that date"))


def month_column(*, primary_key: bool = False) -> dy.String:
    """The month of a monthly partition."""
    return computed_from(
        dy.String(primary_key=primary_key, regex=r"^\d{4}-\d{2}$", description="Month, such as 2025-02")
    )


def starting_skill_column(description: str, *, primary_key: bool = False, nullable: bool = False) -> dy.Decimal:
    """A column of the half band of the diagnostic score."""
    column = dy.Decimal(2, 1, primary_key=primary_key, nullable=nullable, description=description)
    return computed_from(column, "users.diagnostic_score")


def renewed_column() -> dy.String:
    """The month that the figures of a row are from (G9.7)."""
    return computed_from(
        dy.String(
            regex=r"^\d{4}-\d{2}$",
            description="Month that the figures are from: an earlier one if too few people have changed since",
        )
    )


def row_written(description: str) -> dy.Datetime:
    """The clock of the partition in which a row was written."""
    return computed_from(instant(description))


def count(description: str) -> dy.Int64:
    """A number of things, never negative."""
    return dy.Int64(min=0, description=description)


def small(description: str, *, low: int = 0, high: int | None = None, nullable: bool = False) -> dy.Int32:
    """A small whole number within a range."""
    return dy.Int32(min=low, max=high, nullable=nullable, description=description)
