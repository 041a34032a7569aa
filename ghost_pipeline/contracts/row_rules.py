"""Whether every row of a frame fulfils the rules of a schema: yes or no, without naming the rows.

dataframely evaluates all rules to columns and filters the rows by them, which names every fault, and makes its
expressions each time: 4 ms for the dozen rows of an hour, where the answer takes 0.7 ms. Of a million events it takes
three times as long.
"""

from functools import lru_cache

import dataframely as dy
import polars as pl

_SCHEMAS = 256
"""More than there are tables, with and without their keys and with coded texts."""


def fulfils(schema: type[dy.Schema], frame: pl.DataFrame) -> bool:
    """Return whether a frame has the types of a schema and every row fulfils its rules.

    False if that is not known: the schema has a rule over several columns, or a key.
    """
    rules = _rules(schema)
    return rules is not None and dict(frame.schema) == _types(schema) and all(frame.select(rules).row(0))


@lru_cache(maxsize=_SCHEMAS)
def _rules(schema: type[dy.Schema]) -> list[pl.Expr] | None:
    """Return the rules of all columns, or None if the schema has others; each is true if all rows fulfil it."""
    of_columns = {
        f"{name}|{rule}": condition
        for name, column in schema.columns().items()
        for rule, condition in column.validation_rules(pl.col(name)).items()
    }
    shown = schema.filter(schema.create_empty()).failure.details().columns
    if set(shown) != {*schema.columns(), *of_columns}:
        return None
    # A rule is fulfilled where it is null: whether a value may be null is a rule of its own.
    conditions = [condition.fill_null(value=True).all().alias(name) for name, condition in of_columns.items()]
    return [pl.lit(value=True), *conditions]


@lru_cache(maxsize=_SCHEMAS)
def _types(schema: type[dy.Schema]) -> dict[str, pl.DataType]:
    return {name: column.dtype for name, column in schema.columns().items()}
