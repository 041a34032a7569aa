"""In-memory DuckDB connections, and paths as their statements take them."""

import re
from pathlib import Path

import duckdb

from ghost_pipeline.lake.atomic import staged_folder
from ghost_pipeline.sql_quoting import sql_literal


def connect(folder: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database of its own, in UTC.

    Rows that do not fit in memory spill into the staging folder below `folder`: there they are cleared after a killed
    process, and an erasure reaches them. DuckDB's own choice is the current working directory. Without a folder nothing
    may spill: for some hundred rows.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    if folder is not None:
        connection.execute(f"SET temp_directory = {sql_literal(str(staged_folder(folder)))}")
    return connection


def exact_pattern(path: Path | str) -> str:
    """A `read_parquet` pattern that matches one path only, whatever its folders are called: `[1]` would match `1`."""
    return re.sub(r"([*?\[\]])", r"[\1]", str(path))
