"""Parquet files that are replaced while DuckDB reads them.

It opens a file for its footer and once more for its rows. What is renamed over it between the two is read by the wrong
footer: an error, seldom and at any place. Beside a process that did nothing but replace files, 2 of 10 readings failed.
"""

from collections.abc import Sequence
from os import stat_result
from pathlib import Path

import duckdb

ATTEMPTS = 10
"""Nine more: at 2 failures of 10, one reading in ten million has none that is whole."""

_TORN = (duckdb.Error, duckdb.IOException, duckdb.InvalidInputException)


def may_be_torn(error: duckdb.Error) -> bool:
    """Whether an error may come from a file that was replaced or removed meanwhile: no mistake of the statement is."""
    return type(error) in _TORN


def state_of(files: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    """What tells files from those that replace them; None for one that is gone."""
    return [_state_of(file) for file in files]


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found: stat_result = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
