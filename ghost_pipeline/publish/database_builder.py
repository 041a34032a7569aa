"""Build the published database as a temporary file, then swap it in atomically.

While one process writes a DuckDB file, no other process can read it. So the pipeline never writes to the published
file: it builds a new one from the lake and replaces the old one. Readers that have the old file open keep reading it.
"""

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract, Partitioning, duckdb_ddl, duckdb_indexes
from ghost_pipeline.contracts.published import TABLE_INFO
from ghost_pipeline.errors import PublishError, without_values
from ghost_pipeline.lake.atomic import clear_leftovers
from ghost_pipeline.lake.concurrent_replace import require_unreplaced, retry_on_replace
from ghost_pipeline.lake.file_versions import file_versions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import connect, exact_pattern
from ghost_pipeline.sql_quoting import sql_literal

STORAGE_VERSION = "v1.4.0"
"""Oldest DuckDB version that can open the file: clients upgrade later than pipelines."""

MEMORY_LIMIT = "1GB"


class PublishedTable(NamedTuple):
    """A row of `table_info`, or of PostgreSQL's `ghost_table_info`: a table's freshness and inputs."""

    table: str
    as_of: datetime | None
    rows: int
    inputs_hash: str


def publication_lock(database: Location) -> AbstractContextManager[None]:
    """The lock held while publishing, and while removing partitions that a publication reads."""
    return table_lock(open_files(database.parent).folder, database.name)


def with_gaps(lake: Lake) -> list[str]:
    """Names of the published event tables with missing hours, which `publish` refuses unless it allows gaps."""
    tables = (one for one in CONTRACTS.values() if one.published and one.partitioning is Partitioning.EVENT_HOUR)
    newest = ((one, lake.newest_hour(one)) for one in tables)
    return [one.name for one, hour in newest if hour and lake.complete_until(one) != hour.as_of]


def publish(lake: Lake, database: Location, *, allow_gaps: bool = False) -> list[PublishedTable]:
    """Build the published database from the lake and replace the previous one.

    Snapshot tables contain their newest hour, monthly and event tables all their partitions.

    Args:
        lake: the lake to publish.
        database: the file to replace.
        allow_gaps: publish event tables even if hours are missing: an erasure cannot wait for a run to fill them.

    Raises:
        PublishError: the database cannot be built; the previous one stays.
        LakeError: it cannot be written, another run publishes for too long, or other runs replace a table's files
            faster than they are read; the one before stays.

    """
    files = open_files(database.parent)
    with publication_lock(database):
        clear_leftovers(files.folder)
        try:
            with files.replacing([]) as staging:
                return _build(lake, files.folder, staging.add(database.name), allow_gaps=allow_gaps)
        except duckdb.Error as error:
            # Safe to cite in full: an IO error names files, and the reason comes after the name.
            why = str(error).splitlines()[0] if isinstance(error, duckdb.IOException) else without_values(error)
            # Without its cause: DuckDB cites the duplicate key, and Dagster stores causes, too.
            raise PublishError(
                f"{database}: cannot be built ({why}); the previous published database stays. "
                f"Free some space if the disk is full, and run again; if it fails again, run `ghost-pipeline doctor`",
            ) from None


def _build(lake: Lake, folder: Path, target: Path, *, allow_gaps: bool) -> list[PublishedTable]:
    with connect(folder) as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"ATTACH {sql_literal(str(target))} AS published (STORAGE_VERSION '{STORAGE_VERSION}')")
        info = [
            _fill(connection, lake, contract, allow_gaps=allow_gaps)
            for contract in CONTRACTS.values()
            if contract.published
        ]
        for statement in duckdb_ddl(TABLE_INFO, f"published.{TABLE_INFO.name}"):
            connection.execute(statement)
        connection.executemany(
            f"INSERT INTO published.{TABLE_INFO.name} VALUES (?, ?, ?, ?)",  # noqa: S608 - our own names
            info,
        )
        # Explicitly: DuckDB swallows errors of the checkpoint that DETACH makes.
        connection.execute("CHECKPOINT published")
        connection.execute("DETACH published")
    return info


def _fill(connection: duckdb.DuckDBPyConnection, lake: Lake, contract: Contract, *, allow_gaps: bool) -> PublishedTable:
    relation = f"published.{contract.name}"
    for statement in duckdb_ddl(contract, relation):
        connection.execute(statement)

    def insert() -> tuple[str, datetime | None]:
        connection.execute(f"TRUNCATE {relation}")
        files, as_of = _inputs(lake, contract, allow_gaps=allow_gaps)
        before = file_versions(files)
        try:
            _insert(connection, contract, relation, files)
            inputs_hash = lake.content_hash(files)
        except duckdb.Error:
            require_unreplaced(files, before, contract.name)
            raise
        # Rows and hash come from the same files: a client that knows a hash skips its rows.
        require_unreplaced(files, before, contract.name)
        return inputs_hash, as_of

    inputs_hash, as_of = retry_on_replace(insert)
    for statement in duckdb_indexes(contract, relation):
        connection.execute(statement)
    rows = connection.sql(f"SELECT count(*) FROM {relation}").pl().item()  # noqa: S608
    return PublishedTable(contract.name, as_of, int(rows), inputs_hash)


def _insert(connection: duckdb.DuckDBPyConnection, contract: Contract, relation: str, files: list[Path]) -> None:
    if not files:
        return
    names = ", ".join(f'"{name}"' for name in contract.polars_schema)
    sorted_by = contract.sorted_by or (() if contract.append_only else contract.primary_key)
    order = f" ORDER BY {', '.join(sorted_by)}" if sorted_by else ""
    connection.execute(
        f"INSERT INTO {relation} SELECT {names} FROM read_parquet(?, hive_partitioning = false){order}",  # noqa: S608
        [[exact_pattern(file) for file in files]],
    )


def _inputs(lake: Lake, contract: Contract, *, allow_gaps: bool) -> tuple[list[Path], datetime | None]:
    match contract.partitioning:
        case Partitioning.SNAPSHOT_HOUR:
            newest = lake.newest_hour(contract)
            return (lake.files(contract, [newest]), newest.as_of) if newest else ([], None)
        case Partitioning.MONTH:
            months = lake.months(contract)
            return lake.files(contract, months), (months[-1].as_of if months else None)
        case _:
            newest = lake.newest_hour(contract)
            if newest and contract.partitioning is Partitioning.EVENT_HOUR and not allow_gaps:
                # Another run may be filling in hours for late events, or was killed while it did.
                lake.scan_until(contract, newest.as_of)
            return lake.files(contract), (newest.as_of if newest else None)
