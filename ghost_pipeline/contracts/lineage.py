"""The lineage of columns: for each column of a table, the columns of other tables that its values come from.

Nothing is listed here. Where a column is declared, `computed_from` says what it is computed from; one without passes on
the column of the same name of the first table upstream that has it. Columns that only select, group or date rows are no
inputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import dataframely as dy

from ghost_pipeline.contracts.columns import declared_inputs, key_columns
from ghost_pipeline.contracts.contract import Contract, Layer


class Input(NamedTuple):
    """A column of another table."""

    table: str
    """A table of the lake, or `source.<table>`."""
    column: str

    @classmethod
    def parse(cls, text: str) -> "Input":
        """Read `table.column` or `source.table.column`."""
        table, _, column = text.rpartition(".")
        return cls(table, column)


def column_lineage(contract: Contract, upstream: Sequence[Contract]) -> dict[str, tuple[Input, ...]]:
    """The inputs of every column that has any, in the order of the columns.

    Args:
        contract: the table.
        upstream: the tables that it is computed from; of columns with the same name, the first table's is passed on.

    """
    if contract.layer is Layer.OPERATIONS:
        # Rows about whole rows and partitions; no value of theirs follows from a column.
        return {}
    found = {name: tuple(dict.fromkeys(_inputs(contract, upstream, name))) for name in contract.polars_schema}
    return {name: inputs for name, inputs in found.items() if inputs}


def _inputs(contract: Contract, upstream: Sequence[Contract], name: str) -> Iterator[Input]:
    column = contract.schema.columns()[name]
    declared = declared_inputs(column)
    if declared == ():
        return
    having = [one for one in upstream if name in one.polars_schema]
    followed = declared or [one for one in contract.polars_schema if one in key_columns(column)]
    if followed:
        # A history has the columns of its snapshots, with what those declare.
        having = [one for one in having if _as_declared(one.schema.columns()[name]) == _as_declared(column)]
    if having:
        yield Input(having[0].name, name)
    else:
        yield from _followed(contract, upstream, followed)


def _as_declared(column: dy.Column) -> tuple[object, ...]:
    return column.dtype, column.description, declared_inputs(column), key_columns(column)


def _followed(contract: Contract, upstream: Sequence[Contract], declared: Iterable[str]) -> Iterator[Input]:
    """Yield declared inputs; those of a column of the same table in its place."""
    for text in declared:
        one = Input.parse(text)
        if one.table:
            yield one
        else:
            yield from _inputs(contract, upstream, one.column)
