"""Contracts of the tables that are published only: the publication, how fresh its tables are, its history files."""

import dataframely as dy

from ghost_pipeline.contracts.columns import instant
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning


class Publication(dy.Schema):
    """Which publication this is; `publication.json` and `ghost_publication` in PostgreSQL name theirs, too."""

    id = dy.String(
        primary_key=True,
        regex="^[0-9a-f]{20}$",
        description="Follows from what is published: the same lake, the same id",
    )
    as_of = instant("as_of of the newest table; null while all are empty", nullable=True)


class TableInfo(dy.Schema):
    """How fresh each published table is, and which inputs it was built from."""

    table = dy.String(primary_key=True, min_length=1, description="Name of the published table")
    as_of = instant("as_of of its newest row; null while the table is empty", nullable=True)
    rows = dy.Int64(min=0, description="Number of rows")
    inputs_hash = dy.String(
        regex="^[0-9a-f]{64}$", description="SHA-256 over the lake files that it was built from, in order"
    )


class HistoryFiles(dy.Schema):
    """The Parquet files of the histories, which any Parquet client can read, too."""

    table = dy.String(min_length=1, description="Name of the published table")
    file = dy.String(
        primary_key=True, min_length=1, description="Path from the folder of the database; its name is never used again"
    )
    rows = dy.Int64(min=1, description="Number of rows")
    publications_ago = dy.Int32(
        min=0, description="0: holds rows of this publication; otherwise kept for readers of the one so many before it"
    )
    bytes = dy.Int64(min=1, description="Size of the file")


PUBLICATION = Contract(
    name="publication",
    schema=Publication,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="the publication, one row",
    published=True,
)
TABLE_INFO = Contract(
    name="table_info",
    schema=TableInfo,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one published table",
    published=True,
)
HISTORY_FILES = Contract(
    name="history_files",
    schema=HistoryFiles,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one Parquet file of a history",
    published=True,
)

PUBLISHED_ONLY = (PUBLICATION, TABLE_INFO, HISTORY_FILES)
"""Not in the lake: they are written with the published database."""
