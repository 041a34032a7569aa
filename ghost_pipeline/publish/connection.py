"""In-memory DuckDB connections, and paths as their statements take them."""

import re
from collections.abc import Iterable
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


def confine(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path]) -> None:
    """Let the statements of a connection read files of some folders, and nothing else of this machine or the network.

    What is attached stays so. No extension is loaded or installed, no variable of this process passes for a table, and
    none of it can be changed again.
    """
    # The folder as a path and as a pattern: DuckDB looks at a pattern before it looks for files.
    names = {f"{text}/" for folder in folders for text in (str(folder), exact_pattern(folder))}
    allowed = ", ".join(sql_literal(name) for name in sorted(names))
    for setting in (
        f"allowed_directories = [{allowed}]",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "allow_persistent_secrets = false",
        "python_enable_replacements = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def exact_pattern(path: Path | str) -> str:
    """A `read_parquet` pattern that matches one path only, whatever its folders are called: `[1]` would match `1`."""
    return re.sub(r"([*?\[\]])", r"[\1]", str(path))
