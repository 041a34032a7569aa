"""DuckDB in memory, and where it puts rows that do not fit."""

from pathlib import Path

import duckdb

from ghost_pipeline.lake.atomic import staged_folder
from ghost_pipeline.publish.duckdb_paths import literal


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """A database of its own in memory, in UTC.

    What does not fit into memory goes into the staging folder below `folder`, where whoever clears up after killed
    processes, or erases a person, finds it. DuckDB's own choice is the folder in which the process happens to run.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET temp_directory = {literal(str(staged_folder(folder)))}")
    return connection
