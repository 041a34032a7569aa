"""Paths as DuckDB reads them: in SQL as a literal, in `read_parquet` as a pattern."""

import re
from pathlib import Path


def exact(path: Path) -> str:
    """A path that matches itself alone, whatever its folders are called: `[1]` would match the file `1`."""
    return re.sub(r"([*?\[\]])", r"[\1]", str(path))


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
