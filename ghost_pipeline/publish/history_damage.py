"""Files of histories that are damaged: how a publication finds them, and what a reader is told."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.local_files import Files
from ghost_pipeline.publish.connection import connect, exact_pattern
from ghost_pipeline.publish.history_files import HistoryFile, history_files
from ghost_pipeline.sql_quoting import sql_literal


def is_whole(path: Path, contract: Contract, file: HistoryFile) -> bool:
    """Whether a file has the size, and by its footer the columns and number of rows, that it was written with.

    Its rows are not read: that would cost what the history has, in every publication.
    """
    try:
        if path.stat().st_size != file.bytes:
            return False
        footer = pq.read_metadata(path)
        return bool(footer.num_rows == file.rows and footer.schema.names == list(contract.polars_schema))
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return False


def damage(table: str, files: Iterable[HistoryFile], place: Files) -> str | None:
    """What to do about the first of a table's files that cannot be read; None if all can.

    Reads all their rows, so only after an error. A copy of a bucket's file is fetched again.
    """
    with connect(place.folder) as connection:
        for one in files:
            suspect = place.folder / one.file
            if not _is_readable(connection, suspect) and not all(
                _is_readable(connection, path) for path in place.fresh([one.file])
            ):
                return (
                    f"{table}: {place}/{one.file} is damaged. Delete it and run `ghost-pipeline publish`: it "
                    f"writes the file from the lake"
                )
    return None


def history_faults(database: Path, place: Files) -> list[str]:
    """The files that a published database names and that are missing or damaged, by size and footer; each in words."""
    named = [one for one in history_files(database) if not one.publications_ago]
    faults = []
    for one in named:
        if not (found := place.located([one.file])):
            faults.append(f"{place}/{one.file} is missing")
        elif not is_whole(found[0], CONTRACTS[one.table], one._replace(bytes=one.bytes or found[0].stat().st_size)):
            faults.append(f"{place}/{one.file} is damaged")
    return faults


def _is_readable(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    rows = f"read_parquet([{sql_literal(exact_pattern(path))}], hive_partitioning = false)"
    try:
        connection.execute(f"SELECT bit_xor(hash(rows)) FROM {rows} AS rows").fetchall()  # noqa: S608 - our own names
    except duckdb.Error:
        return False
    return True
