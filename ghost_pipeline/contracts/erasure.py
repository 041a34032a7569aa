"""What names a person in which table, and the contract of what is kept of those who were erased."""

import dataframely as dy

from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.raw import SOURCE_TABLES, SOURCE_USERS, Kind, SourceTable


class ErasedPeople(dy.Schema):
    """Tombstones: ids that were erased, as keyed hashes, so that no source brings them back."""

    erased_date = dy.Date(description="The UTC day of the erasure")
    tombstone = dy.String(
        primary_key=True,
        regex="^[0-9a-f]{64}$",
        description="HMAC-SHA256 of the id's column and the id; of a user, and of each session, keyboard and task",
    )
    key_check = dy.String(
        regex="^[0-9a-f]{64}$", description="HMAC-SHA256 of nothing under the same key: tells whether a key is that one"
    )
    under_way = dy.String(
        nullable=True,
        regex="^[0-9a-f]{64}$",
        description="Tombstone of the person while not all of theirs is gone, and no source is read; then null",
    )


ERASED_PEOPLE = Contract(
    name="erased_people",
    schema=ErasedPeople,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.ERASED_DAY,
    grain="one id of a person who was erased",
)


def _of_people(table: SourceTable) -> bool:
    return table is SOURCE_USERS or any(column.references == SOURCE_USERS.name for column in table.columns)


NAMING = {
    column.name: table
    for table in SOURCE_TABLES.values()
    for column in table.columns
    if _of_people(table) and column.kind is Kind.ID and column.name in table.key
}
"""Columns that name a person or what is theirs, each with the table that says whose it is: users first."""


USER = next(iter(NAMING))
"""The one of them that names the person."""


def owner_column(contract: Contract) -> str | None:
    """The column by which a table's rows belong to a person; None where they belong to nobody."""
    return next((name for name in NAMING if name in contract.polars_schema), None)
