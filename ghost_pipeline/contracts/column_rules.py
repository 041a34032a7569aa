"""The rules of a column as data, for other tools and to tell one version of a contract from another."""

import hashlib
import json

import dataframely as dy

from ghost_pipeline.contracts.contract import Contract

RULES = ("min", "min_exclusive", "max", "max_exclusive", "min_length", "max_length", "regex")
"""Attributes of dataframely's columns that limit values."""


def column_rules(column: dy.Column) -> dict[str, object]:
    """The limits of a column's values that are set, by name."""
    found = ((name, getattr(column, name, None)) for name in RULES)
    return {name: value for name, value in found if value is not None}


def fingerprint(contract: Contract) -> str:
    """Eight hexadecimal digits that change with the columns of a contract: names, types, keys, nulls and rules."""
    columns = [
        (name, str(column.dtype), column.nullable, column.primary_key, column_rules(column))
        for name, column in contract.schema.columns().items()
    ]
    text = json.dumps([contract.partitioning.keys, columns], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
