"""The Parquet files behind the published histories: written once, named by what they hold, removed when unused.

A publication names exactly its own files. A file is never changed, so readers of an earlier publication keep reading
theirs; a file goes when the last `KEPT_PUBLICATIONS` publications do not name it, and at once after an erasure.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import duckdb

from ghost_pipeline.contracts.contract import Contract, duckdb_no_rows
from ghost_pipeline.contracts.published import HISTORY_FILES
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.local_files import Files, LocalFiles
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import connect, exact_pattern
from ghost_pipeline.publish.history_spans import Span, hours_of, spans
from ghost_pipeline.publish.partition_contents import PartitionContents
from ghost_pipeline.sql_quoting import sql_identifier, sql_literal

HISTORY = "history"
"""The folder of these files, beside the database."""
DATA_VARIABLE = "ghost_data"
"""The DuckDB variable that tells the views where the data folder is, if not where it was published."""
KEPT_PUBLICATIONS = 24
"""Publications whose readers keep their files: those of a day, if one is made every hour."""
SMALLEST_ROW_GROUP, LARGEST_ROW_GROUP, ROW_GROUPS = 2_048, 30_000, 16
"""Rows of a row group: a sixteenth of the file within these limits. A look-up reads one or two of them in each file. A
month of 30,000 sessions in one group took twice as long as in groups of 2,048; a month of 1,000,000 rows became slower
below 30,000, since the footer grows."""
_HASH_DIGITS = 20
_FORMAT = 1
"""Raise it when the files of the same rows are to be written in another way."""


class HistoryFile(NamedTuple):
    """A row of `history_files`."""

    table: str
    file: str
    rows: int
    publications_ago: int = 0


def fetch_history(files: Files, database: Path) -> None:
    """Make copies on this machine of a bucket's files that a published database names, and remove other copies.

    Raises:
        LakeError: the storage cannot be read, or a copy cannot be written.

    """
    rows = history_files(database)
    there = {path.relative_to(files.folder).as_posix() for path in (files.folder / HISTORY).rglob("*.parquet")}
    # Names are never used again, so a copy that is there is current: no need to ask for its version.
    files.located([one.file for one in rows if not one.publications_ago and one.file not in there])
    for name in sorted(there - {one.file for one in rows}):
        LocalFiles(files.folder).remove(name)


class History:
    """The files of the histories beside a database. The caller holds the publication's lock."""

    def __init__(self, files: Files, connection: duckdb.DuckDBPyConnection) -> None:
        """Look at the files that are there; `connection` writes new ones."""
        self._files, self._connection = files, connection
        self._existing = set(files.names(HISTORY))

    def of_table(self, lake: Lake, contract: Contract, contents: PartitionContents) -> list[HistoryFile]:
        """Write the files of a table that are missing, and return all of them.

        Raises:
            ConcurrentReplaceError: a partition was replaced meanwhile.
            LakeError: a file cannot be written.
            duckdb.Error: a file cannot be written.

        """
        found, layout = [], _layout(contract)
        for span in spans(contents):
            file = HistoryFile(contract.name, _name(contract, span, layout), span.rows)
            if file.file not in self._existing:
                self._write(lake, contract, contents, span, file.file)
                self._existing.add(file.file)
            found.append(file)
        missing = [one.file for one in found if not (self._files.folder / one.file).exists()]
        # Of a bucket's files, those that another machine wrote; the views are bound to what can be read here.
        self._files.located(missing)
        return found

    def kept(self, named: Iterable[HistoryFile], before: Iterable[HistoryFile]) -> list[HistoryFile]:
        """The files of a new publication, and of those before it whose readers keep theirs.

        Args:
            named: the files that the new publication names.
            before: the rows of `history_files` of the publication that it replaces.

        """
        files = {one.file: one for one in named}
        for one in before:
            older = one._replace(publications_ago=one.publications_ago + 1)
            if older.publications_ago <= KEPT_PUBLICATIONS and older.file in self._existing:
                files.setdefault(older.file, older)
        return sorted(files.values(), key=lambda one: (one.publications_ago, one.file))

    def remove_others(self, kept: Iterable[HistoryFile]) -> None:
        """Remove every file but these.

        Raises:
            LakeError: one cannot be removed.

        """
        _remove(self._files, self._existing - {one.file for one in kept})

    def _write(self, lake: Lake, contract: Contract, contents: PartitionContents, span: Span, name: str) -> None:
        hours = hours_of(contents, span)
        inputs = lake.files(contract, [one.partition for one in hours])
        # Before and after: DuckDB opens each file twice, and may meet with two versions.
        contents.require_unreplaced(hours)
        with self._files.replacing([]) as staging:
            group = min(max(span.rows // ROW_GROUPS, SMALLEST_ROW_GROUP), LARGEST_ROW_GROUP)
            order = ", ".join(map(sql_identifier, contract.total_order))
            target = sql_literal(str(staging.add(name)))
            try:
                self._connection.execute(
                    f"COPY (FROM {rows_of(contract, inputs)} ORDER BY {order}) TO {target} (FORMAT parquet, "
                    f"COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {group}, USE_TMP_FILE false)"
                )
            finally:
                contents.require_unreplaced(hours)


def rows_of(contract: Contract, files: Iterable[Path]) -> str:
    """A relation of the rows of lake files; a column that a file of an earlier version lacks is null."""
    names = ", ".join(map(sql_identifier, contract.polars_schema))
    listed = ", ".join(sql_literal(exact_pattern(file)) for file in files)
    if not listed:
        return duckdb_no_rows(contract)
    return (
        f"(SELECT {names} FROM (FROM {duckdb_no_rows(contract)} UNION ALL BY NAME "  # noqa: S608 - our own names
        f"FROM read_parquet([{listed}], hive_partitioning = false, union_by_name = true)))"
    )


def view_of(contract: Contract, files: Iterable[HistoryFile], place: Location) -> str:
    """A relation of the rows of history files, for a view: it finds them in the folder of publication.

    Another folder, for example of a copy, is named by `SET VARIABLE ghost_data = '/path/to/data'`.
    """
    default = str(place.absolute() if isinstance(place, Path) else place)
    root = f"coalesce(getvariable('{DATA_VARIABLE}'), {sql_literal(exact_pattern(default))})"
    listed = ", ".join(f"{root} || {sql_literal(f'/{one.file}')}" for one in files)
    return f"read_parquet([{listed}], hive_partitioning = false)" if listed else duckdb_no_rows(contract)


def find_files_in(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Let the views of a published database read the files in a folder of this machine."""
    connection.execute(f"SET VARIABLE {DATA_VARIABLE} = {sql_literal(exact_pattern(folder.absolute()))}")


def find_files_beside(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Let the views of a database in `folder` read the files beside it; without any, those where it was published."""
    if (folder / HISTORY).is_dir():
        find_files_in(connection, folder)


def history_files(database: Path) -> list[HistoryFile]:
    """The rows of `history_files` of a published database; none if it has no such table, or is no database."""
    with connect(database.parent) as connection:
        try:
            connection.execute(f"ATTACH {sql_literal(str(database))} AS published (READ_ONLY)")
            rows = connection.execute(
                f'SELECT "table", file, rows, publications_ago FROM published.{HISTORY_FILES.name}'  # noqa: S608
            ).fetchall()
        except duckdb.Error:
            # Published by an earlier version, or damaged: the next publication writes what it names.
            return []
    return [HistoryFile(*row) for row in rows]


def remove_unnamed(database: Location) -> None:
    """Remove every file that the present publication does not name, those kept for readers of earlier ones included.

    The caller holds the publication's lock.

    Raises:
        LakeError: the storage cannot be read, or a file cannot be removed.

    """
    files = open_files(database.parent)
    published = next(iter(files.located([database.name])), None)
    named = {one.file for one in history_files(published) if not one.publications_ago} if published else set()
    _remove(files, set(files.names(HISTORY)) - named)
    files.forget_copies(HISTORY)


def _remove(files: Files, names: Iterable[str]) -> None:
    for name in sorted(names):
        files.remove(name)


def _layout(contract: Contract) -> str:
    """How the rows are written: files with other columns or in another order have other names."""
    columns = ", ".join(f"{name} {dtype}" for name, dtype in contract.polars_schema.items())
    return f"{_FORMAT}\n{columns}\n{contract.total_order}"


def _name(contract: Contract, span: Span, layout: str) -> str:
    digits = sha256(f"{layout}\n{span.content_hash}".encode()).hexdigest()[:_HASH_DIGITS]
    return f"{HISTORY}/{contract.name}/{span.key}.{digits}.parquet"
