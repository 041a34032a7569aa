"""Personal columns, derived from the contracts: ids and names of people, their zones, and what they typed.

Add a source table that refers to people, and its columns are personal without an edit here. Mark any other column of
a contract with `contracts.columns.personal`. How personal rows are found and removed is not said here.
"""

from collections.abc import Iterator

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.columns import is_personal, key_columns
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SOURCE_TABLES, SOURCE_USERS
from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable

ID_COLUMNS = {
    column.name: table
    for table in SOURCE_TABLES.values()
    if table is SOURCE_USERS or any(column.references == SOURCE_USERS.name for column in table.columns)
    for column in table.columns
    if column.kind is Kind.ID and column.name in table.key
}
"""Id columns of people and of what they own, each with the table that names its owner; users first."""

USER = next(iter(ID_COLUMNS))
"""The id column of a person."""


def owner_column(contract: Contract) -> str | None:
    """The column by which a table's rows belong to a person; None for a table without one."""
    return next((name for name in ID_COLUMNS if name in contract.polars_schema), None)


def personal_columns(contract: Contract) -> frozenset[str]:
    """The columns of a table that name a person or hold what a person wrote."""
    return PERSONAL_COLUMNS & contract.polars_schema.keys()


def _of_people(table: SourceTable) -> bool:
    """Whether a row belongs to a person, directly or through a table that it refers to."""
    referred = {column.references for column in table.columns if column.references}
    return table is SOURCE_USERS or any(_of_people(SOURCE_TABLES[name]) for name in referred)


def _names_people(column: SourceColumn, table: SourceTable) -> bool:
    """Whether a column of a table of people is personal: its keys and references, free text, single keys."""
    match column.kind:
        case Kind.ID:
            refers = column.references is not None and _of_people(SOURCE_TABLES[column.references])
            return column.name in table.key or refers
        case Kind.TEXT:
            return not column.one_of
        case _:
            return column.kind is Kind.CHARACTER


def _personal() -> Iterator[str]:
    for table in filter(_of_people, SOURCE_TABLES.values()):
        yield from (column.name for column in table.columns if _names_people(column, table))
    for contract in CONTRACTS.values():
        for name, column in contract.schema.columns().items():
            if is_personal(column) or key_columns(column) & ID_COLUMNS.keys():
                yield name


PERSONAL_COLUMNS = frozenset(_personal())
"""Names of all personal columns. Previews in Dagster and `ghost-pipeline doctor` never show their values."""
