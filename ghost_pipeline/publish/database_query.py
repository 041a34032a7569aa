"""SQL queries over the published database and the lake."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
from duckdb import StatementType

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.errors import NothingPublishedError, PublishError
from ghost_pipeline.lake.concurrent_replace import require_unreplaced, retry_on_replace
from ghost_pipeline.lake.file_versions import file_versions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.recorded_columns import RecordedColumns
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import confine, connect
from ghost_pipeline.publish.database_file import PublishedFile
from ghost_pipeline.publish.history import HISTORY, find_files_beside, rows_of
from ghost_pipeline.sql_quoting import sql_literal

_log = logging.getLogger("ghost_pipeline.publish")
_READING = {StatementType.SELECT, StatementType.MULTI}
"""Kinds of statement that write nothing. A PIVOT is a MULTI. EXPLAIN is not listed: EXPLAIN ANALYZE runs writes."""
_WRONG = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
"""Errors of the statement."""
_UNSUPPORTED = re.compile(r"\b(INTERVAL|BLOB|BIT)\b")


def query(sql: str, database: Location, lake: Lake) -> pl.DataFrame:
    """Run one statement over the published tables and a view `lake.<table>` for every table of the lake.

    A private copy of the published database is attached read-only, so a query neither waits for another client nor
    blocks a publication. Only reading statements run: a `COPY ... TO` could overwrite the file. They reach the lake and
    what is published, and no other file, address or extension: who may ask need not be who may read this machine.

    Raises:
        PublishError: neither database nor lake exists; the database is damaged and there is no copy of it; or the
            statement is invalid, writes, or returns a type that polars lacks.
        LakeError: another release has written the lake; runs replace the published database or files of the tables
            faster than they are read; or a file is missing.

    """
    lake.require_current()
    published_file = PublishedFile(database)

    def read() -> pl.DataFrame:
        published = _published(published_file, lake)
        tables = _files(lake, sql)
        by_name = {**({database.name: [published]} if published else {}), **tables}
        files = [file for found in by_name.values() for file in found]
        before = file_versions(files)
        try:
            return _answer(sql, published, published_file.folder, tables, lake)
        except duckdb.Error as error:
            require_unreplaced(files, before, f"query of {', '.join(name for name, found in by_name.items() if found)}")
            # Reads the whole history: not for a statement that is wrong.
            if published and not isinstance(error, _WRONG):
                histories = (one.name for one in CONTRACTS.values() if one.append_only and one.name in sql.lower())
                for told in filter(None, (published_file.damage(one, published) for one in histories)):
                    raise PublishError(told) from error
            raise PublishError(f"query: {' '.join(str(error).split())}") from error

    return retry_on_replace(read)


def _published(file: PublishedFile, lake: Lake) -> Path | None:
    """The copy to query; None without a publication, if there is a lake to query instead."""
    try:
        found = file.required() if lake.is_empty else file.found()
    except NothingPublishedError as error:
        raise PublishError(str(error)) from error
    if found and found.fault:
        _log.warning("%s", found.fault)
    return found.path if found else None


def _answer(sql: str, published: Path | None, beside: Path, tables: dict[str, list[Path]], lake: Lake) -> pl.DataFrame:
    with connect(lake.root) as connection:
        # Its own catalog, so that `lake.<table>` names a view in any default catalog.
        connection.execute("ATTACH ':memory:' AS lake")
        for statement in _lake_views(lake, tables):
            connection.execute(statement)
        if published is not None:
            connection.execute(f"ATTACH {sql_literal(str(published))} AS published (READ_ONLY)")
            connection.execute("USE published")
            find_files_beside(connection, beside)
        _require_reading(sql, connection)
        confine(connection, [lake.root, beside.absolute() / HISTORY])
        relation = connection.sql(sql)
        _require_supported(relation)
        frame: pl.DataFrame = relation.pl()
        return frame


def _require_reading(sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Reject everything except one statement that returns rows and writes nothing."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READING:
        raise PublishError("query: not a single reading statement. Write one SELECT, FROM, SHOW, DESCRIBE or SUMMARIZE")


def _require_supported(relation: duckdb.DuckDBPyRelation) -> None:
    """Reject columns of types that polars or JSON lacks, such as the difference of two times."""
    for name, dtype in zip(relation.columns, relation.types, strict=True):
        if _UNSUPPORTED.search(str(dtype)):
            raise PublishError(f"query: column {name} is of type {dtype}. Cast it, for example to VARCHAR")


def _files(lake: Lake, sql: str) -> dict[str, list[Path]]:
    """The files of the lake's tables, by table; tables that the statement does not name are not listed."""
    # These functions take table names as texts, which an expression may compose.
    composes = re.search(r"\bquery(_table)?\s*\(", sql, re.IGNORECASE)
    return {
        name: lake.files(contract) if composes or name in sql.lower() else [] for name, contract in CONTRACTS.items()
    }


def _lake_views(lake: Lake, tables: dict[str, list[Path]]) -> Iterator[str]:
    """A view for every table of the lake; a column that a file of an earlier release lacks is null."""
    recorded = lake.columns() or {}
    for name, files in tables.items():
        # Matching columns by file opens every footer one by one: 0.2 ms of CPU time each.
        # Before its first run, a release may know other columns than those that are recorded.
        as_written = recorded.get(name) == RecordedColumns.of(CONTRACTS[name])
        yield f"CREATE VIEW lake.{name} AS FROM {rows_of(CONTRACTS[name], files, as_written=as_written)}"
