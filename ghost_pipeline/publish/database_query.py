"""SQL over the published database and the lake, for people and for tests."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
from duckdb import StatementType

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import duckdb_type
from ghost_pipeline.errors import PublishError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import connect, exact_pattern
from ghost_pipeline.publish.database_file import PublishedFile
from ghost_pipeline.publish.duckdb_reading import may_be_torn
from ghost_pipeline.sql_quoting import sql_literal

_READING = {StatementType.SELECT, StatementType.MULTI}
"""Kinds of statement that write nothing. A PIVOT is a MULTI; an EXPLAIN ANALYZE would run whatever it explains."""
QUERIES_TRIED, FIRST_PAUSE = 6, 0.01
"""Together 0.6 s: to remove a year of hours for the first time takes about as long."""
_NOT_SHOWN = re.compile(r"\b(INTERVAL|BLOB|BIT)\b")


def query(sql: str, database: Location, lake: Lake) -> pl.DataFrame:
    """Run one statement over the published tables and a view `lake.<table>` for every table of the lake.

    The published database is attached read-only, so a query never keeps a run from publishing; and only a statement
    that reads is run, so that a `COPY ... TO` does not write over the file either.

    Raises:
        PublishError: there is neither database nor lake, or the statement is wrong, writes, or gives what polars has
            no type for.

    """
    published = PublishedFile(database).fetched()
    if published is None and lake.is_empty:
        raise PublishError(
            f"{database}: nothing has been published yet. Run `ghost-pipeline demo`, or set GHOST_SOURCE and run "
            f"`ghost-pipeline materialize --as-of ...`",
        )
    attempt = 1
    while True:
        try:
            return _answer(sql, published, lake)
        except (duckdb.Error, FileNotFoundError) as error:
            # A run may have removed or replaced a partition after its files were listed.
            if attempt == QUERIES_TRIED or not (isinstance(error, FileNotFoundError) or may_be_torn(error)):
                raise PublishError(f"query: {' '.join(str(error).split())}") from error
        time.sleep(FIRST_PAUSE * 2**attempt)
        attempt += 1


def _answer(sql: str, published: Path | None, lake: Lake) -> pl.DataFrame:
    with connect(lake.root) as connection:
        # A catalog of its own, so that `lake.<table>` names a view whatever the default catalog is.
        connection.execute("ATTACH ':memory:' AS lake")
        for statement in _lake_views(lake, sql):
            connection.execute(statement)
        if published is not None:
            connection.execute(f"ATTACH {sql_literal(str(published))} AS published (READ_ONLY)")
            connection.execute("USE published")
        _require_reading(sql, connection)
        relation = connection.sql(sql)
        _require_shown(relation)
        frame: pl.DataFrame = relation.pl()
        return frame


def _require_reading(sql: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse everything but one statement that gives rows and writes nothing."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READING:
        raise PublishError("query: not one statement that reads. Write one SELECT, FROM, SHOW, DESCRIBE or SUMMARIZE")


def _require_shown(relation: duckdb.DuckDBPyRelation) -> None:
    """Refuse columns for which polars, or JSON, has no type: a difference of two times is one."""
    for name, dtype in zip(relation.columns, relation.types, strict=True):
        if _NOT_SHOWN.search(str(dtype)):
            raise PublishError(f"query: column {name} is of type {dtype}. Cast it, for example to VARCHAR")


def _lake_views(lake: Lake, sql: str) -> Iterator[str]:
    """A view for every table of the lake; those that a statement does not name have no rows, and are not looked at."""
    # These two take the names of tables as texts, which may be put together.
    composes = re.search(r"\bquery(_table)?\s*\(", sql, re.IGNORECASE)
    for contract in CONTRACTS.values():
        named = composes or contract.name in sql.lower()
        if named and (files := lake.files(contract)):
            paths = ", ".join(sql_literal(exact_pattern(path)) for path in files)
            body = f"SELECT * FROM read_parquet([{paths}], hive_partitioning = false)"  # noqa: S608 - our own names
        else:
            columns = (
                f'CAST(NULL AS {duckdb_type(dtype)}) AS "{name}"' for name, dtype in contract.polars_schema.items()
            )
            body = f"SELECT {', '.join(columns)} WHERE false"
        yield f"CREATE VIEW lake.{contract.name} AS {body}"
