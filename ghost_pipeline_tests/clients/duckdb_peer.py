"""Reads by a DuckDB of another version, in an environment that has nothing else; prints what it found as JSON.

`lake LINE LAKE OUT` reads every table's folder by the line and writes what it read to OUT, as Parquet.
`database FILE` counts the rows of every table and view of a published database.
"""

import json
import sys
from pathlib import Path

import duckdb


def read_lake(line: str, lake: Path, out: Path) -> dict[str, dict[str, str]]:
    """The types of all columns, by table."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    types = {}
    for folder in sorted(path for path in lake.iterdir() if path.is_dir() and path.name[0] != "."):
        told = line.replace("{folder}", str(folder))
        types[folder.name] = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {told}").fetchall()}
        connection.execute(f"COPY ({told}) TO '{out / folder.name}.parquet' (FORMAT PARQUET)")
    return types


def count_rows(file: str) -> dict[str, int]:
    """The number of rows of every table and view."""
    connection = duckdb.connect(file, read_only=True)
    names = connection.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()
    counted = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone() for (name,) in names}  # noqa: S608
    return {name: row[0] for name, row in counted.items() if row}


match sys.argv[1:]:
    case ["lake", given, where, target]:
        sys.stdout.write(json.dumps(read_lake(given, Path(where), Path(target))) + "\n")
    case ["database", given]:
        sys.stdout.write(json.dumps(count_rows(given)) + "\n")
