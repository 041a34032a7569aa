"""The table `history_files` of a published database."""

from pathlib import Path
from typing import NamedTuple

import duckdb

from ghost_pipeline.contracts.published import HISTORY_FILES
from ghost_pipeline.publish.connection import connect
from ghost_pipeline.sql_quoting import sql_literal


class HistoryFile(NamedTuple):
    """A row of `history_files`."""

    table: str
    file: str
    rows: int
    publications_ago: int = 0
    bytes: int = 0
    """0 if it is not known: an earlier version did not record it."""


def history_files(database: Path) -> list[HistoryFile]:
    """The rows of `history_files` of a published database; none if it has no such table, or is no database."""
    with connect() as connection:
        try:
            connection.execute(f"ATTACH {sql_literal(str(database))} AS published (READ_ONLY)")
            found = connection.execute(f"FROM published.{HISTORY_FILES.name}")
            names = [name for name, *_ in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error:
            # Published by an earlier version, or damaged: the next publication writes what it names.
            return []
    return [HistoryFile(**{name: row[name] for name in HistoryFile._fields if name in row}) for row in rows]
