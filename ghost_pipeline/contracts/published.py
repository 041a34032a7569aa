"""Contract of `table_info`, the published table that says how fresh the others are."""

import dataframely as dy

from ghost_pipeline.contracts.columns import instant
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning


class TableInfo(dy.Schema):
    """How fresh each published table is, and which inputs it was built from."""

    table = dy.String(primary_key=True, min_length=1, description="Name of the published table")
    as_of = instant("as_of of its newest row; null while the table is empty", nullable=True)
    rows = dy.Int64(min=0, description="Number of rows")
    inputs_hash = dy.String(
        regex="^[0-9a-f]{64}$", description="SHA-256 over the lake files that it was built from, in order"
    )


TABLE_INFO = Contract(
    name="table_info",
    schema=TableInfo,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one published table",
    published=True,
)
"""Not in the lake: it is written with the published database."""
