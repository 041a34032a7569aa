"""A DuckDB file as a source, read only.

The file is attached to a database in memory while a table is read, and let go again: DuckDB lets no other process write
to a file that is open. A query reaches nothing but this file, and no extension is loaded or downloaded.
"""

import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.locations import MASKED, shown_source
from ghost_pipeline.sources.database import (
    FIRST_DAY,
    LAST_DAY,
    WINDOW_END,
    WINDOW_START,
    DatabaseSource,
    OwnColumn,
    Relation,
    with_window,
)
from ghost_pipeline.sources.mapping import END, START, SourceMapping
from ghost_pipeline.sources.source import Window
from ghost_pipeline.sources.spill import spilled
from ghost_pipeline.sql_quoting import sql_identifier, sql_literal
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

SCHEME = "duckdb:///"
BATCH_ROWS = 50_000
MEMORY = "1GB"
"""Memory of the engine; a query that sorts or joins more spills to `TMPDIR`."""
_CATALOG = "ghost_source"
_INSTANT, _TIME = "TIMESTAMP WITH TIME ZONE", "TIMESTAMP"
_TIMES = frozenset({_INSTANT, _TIME, "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"})
_AS_THEY_ARE = frozenset(
    {"VARCHAR", "BLOB", "BOOLEAN", "DOUBLE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
    | {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
"""Types that arrive unchanged. A FLOAT does not: 5.3 would become 5.300000190734863."""
_EARLIEST, _LATEST = "TIMESTAMP '0001-01-01'", "TIMESTAMP '9999-12-31'"
"""Later or earlier times, infinity among them, are no times of Python and of polars."""
_ABOUT_THE_STATEMENT = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
"""Errors that are found before a row is read, and therefore cite none."""
_OWN_MESSAGE = re.compile(
    r"Conversion Error: (?:Could not (?:convert string|cast value|decode string)|Type \w+ with value|"
    r"Unimplemented type|invalid [a-z]+ field format|extract specifier|Epoch seconds out of range)|"
    r"Out of Range Error: (?:Overflow in \w+|Cannot create a string)|Not implemented Error: Unknown TimeZone|"
    r"Invalid Input Error: (?:Could not parse string|Malformed JSON|Map keys must be unique|More than one row returned)"
)
"""Beginnings of DuckDB's own messages, up to the value that they may cite, with or without quotes."""
_OF_THE_MACHINE = re.compile(r"(?:IO|Out of Memory|INTERNAL|FATAL|INTERRUPT) Error: ")
_KIND = re.compile(r"(?:[A-Z]\w+ )(?:[a-z]\w+ |[A-Z]\w+ )*?Error(?=: )")
_SECURED: Final = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET TimeZone = 'UTC'",
    f"SET memory_limit = '{MEMORY}'",
)


class DuckDbSource(DatabaseSource):
    """The canonical tables of a DuckDB file, whose names ignore case."""

    def __init__(self, location: str, mapping: SourceMapping | None = None) -> None:
        """Take the file of `location`, duckdb:///file or, with an absolute path, duckdb:////file.

        Raises:
            SourceError: there is no such file, or a mapped query is not one SELECT.

        """
        shown = shown_source(location)
        super().__init__(f"source {shown}", mapping or SourceMapping())
        self._path = Path(location.removeprefix(SCHEME)).absolute()
        if not self._path.is_file():
            culprit = "this" if MASKED in shown else self._path
            raise SourceError(
                f"{self.name}: {culprit} is not a file. Set GHOST_SOURCE to {SCHEME} and a path; an absolute one makes "
                f"it four slashes",
            )
        self._connection = duckdb.connect()
        # DuckDB takes a question mark for the start of parameters, and puts the name of its log before it.
        before, mark, parameters = str(self._path).partition("?")
        paths = ", ".join(map(sql_literal, (str(self._path), f"{before}.wal{mark}{parameters}")))
        # DuckDB makes the folder when it spills, and removes it when it is closed.
        folder = Path(tempfile.gettempdir(), f"ghost-duckdb-{uuid4().hex}")
        for statement in (
            *_SECURED,
            f"SET temp_directory = {sql_literal(str(folder))}",
            f"SET allowed_paths = [{paths}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            self._connection.execute(statement)
        self._finalizer = weakref.finalize(self, self._connection.close)

    def close(self) -> None:
        """Close the database in memory."""
        self._finalizer()

    def _find(self, table: str, name: Sequence[str]) -> tuple[str, str] | None:
        *schema, own = name
        sql = """
            SELECT schema_name, table_name FROM (
                SELECT database_name, schema_name, table_name FROM duckdb_tables()
                UNION ALL SELECT database_name, schema_name, view_name FROM duckdb_views()
            )
            WHERE database_name = $catalog AND lower(schema_name) = lower($schema) AND lower(table_name) = lower($own)
        """
        values = {"catalog": _CATALOG, "schema": schema[0] if schema else "main", "own": own}
        with self._reading(table):
            found = self._connection.execute(sql, values).fetchone()
        if found is None:
            return None
        shown = found if schema else found[1:]
        return f"table {'.'.join(shown)}", ".".join(map(sql_identifier, (_CATALOG, *found)))

    def _query(self, text: str) -> str:
        return text.replace(START, WINDOW_START).replace(END, WINDOW_END)

    def _types(self, table: str, sql: str) -> Mapping[str, str]:
        with self._reading(table):
            if self.mapping.of(table).query:
                self._require_one_select(table, sql)
            # Not executed: the statement is only bound.
            relation = self._connection.sql(_filled(f"SELECT * FROM {sql} AS source", None))  # noqa: S608 - quoted
            return {name: str(type_) for name, type_ in zip(relation.columns, relation.types, strict=True)}

    def _require_one_select(self, table: str, sql: str) -> None:
        # A parenthesis of the query's own could otherwise end it, and another statement follow.
        statements = self._connection.extract_statements(_filled(sql.removeprefix("(").removesuffix(")"), None))
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            raise SourceError(f"{self.mapping.place(table, 'query')}: is not one SELECT. Write a single one")

    def _key(self, name: str) -> str:
        return name.lower()

    def _value(self, column: SourceColumn, own: OwnColumn) -> str:
        if own.type == "INTERVAL" and column.kind is Kind.MINUTES:
            return f"EXTRACT(EPOCH FROM {own.sql})::DOUBLE / 60"
        if own.type == "INTERVAL" and "ms" in column.name.split("_"):
            return f"EXTRACT(EPOCH FROM {own.sql})::DOUBLE * 1000"
        if own.type in _TIMES and column.kind is Kind.INSTANT:
            instant = f"{own.sql} AT TIME ZONE 'UTC'" if own.type == _INSTANT else f"{own.sql}::TIMESTAMP"
            return (
                f"CASE WHEN {instant} > {_LATEST} THEN {_LATEST} WHEN {instant} < {_EARLIEST} THEN {_EARLIEST} "
                f"ELSE {instant} END"
            )
        return own.sql if own.type in _AS_THEY_ARE else f"{own.sql}::VARCHAR"

    def _placed(self, own: OwnColumn) -> str:
        if own.type in _TIMES:
            # In the column's own type, so that whole row groups are left out.
            kind = f"::TIMESTAMPTZ::{_INSTANT if own.type == _INSTANT else _TIME}"
            start, end = f"{WINDOW_START}{kind}", f"{WINDOW_END}{kind}"
            first, last = (f"'{one.isoformat()}'{kind}" for one in (FIRST_INSTANT, LAST_INSTANT))
            nowhere = f"{own.sql} IS NULL OR {own.sql} < {first} OR {own.sql} >= {last}"
            return f"({own.sql} >= {start} AND {own.sql} < {end} OR {nowhere})"
        if own.type == "VARCHAR":
            day = f"left({own.sql}, 10)"
            # A local date may lie a day before or after that of UTC.
            first = f"({WINDOW_START} - INTERVAL 1 DAY)::DATE::VARCHAR"
            last = f"({WINDOW_END} + INTERVAL 1 DAY)::DATE::VARCHAR"
            no_date = rf"{own.sql} IS NULL OR NOT regexp_matches({own.sql}, '^\d{{4}}-\d\d-\d\d')"
            nowhere = f"{no_date} OR {day} NOT BETWEEN {FIRST_DAY} AND {LAST_DAY}"
            return f"({day} BETWEEN {first} AND {last} OR {nowhere})"
        return "true"

    def _rows(self, table: SourceTable, select: str, window: Window | None) -> pl.LazyFrame:
        with self._reading(table.name):
            reader = self._connection.sql(_filled(select, window)).to_arrow_reader(BATCH_ROWS)
            return spilled(reader.schema, _told_apart(reader))

    def _content_hash(self, table: SourceTable, select: str) -> str:
        sql = f"SELECT count(*), sum(hash(source)) FROM ({_filled(select, None)}) AS source"  # noqa: S608 - quoted
        with self._reading(table.name):
            found = self._connection.execute(sql).fetchone()
        return "-".join(map(str, found or ()))

    def _size(self, table: SourceTable, relation: Relation) -> str:
        sql = _filled(f"SELECT count(*) FROM {relation.sql} AS source", None)  # noqa: S608 - names are quoted
        with self._reading(table.name):
            found = self._connection.execute(sql).fetchone()
        return f"{found[0] if found else 0:,} rows"

    @contextmanager
    def _reading(self, table: str) -> Iterator[None]:
        """Attach the file for the block.

        Raises:
            SourceError: another process writes to the file, or DuckDB reports an error; without values of rows.

        """
        try:
            self._connection.execute(f"ATTACH {sql_literal(str(self._path))} AS {_CATALOG} (READ_ONLY)")
        except duckdb.Error as error:
            raise SourceError(f"{self.name}: {_refusal(error)}") from None
        try:
            self._connection.execute(f"USE {_CATALOG}")
            yield
        except (duckdb.Error, _AnswerError) as error:
            place = self.mapping.place(table, "query") if self.mapping.of(table).query else f"table {table}"
            raise SourceError(
                f"{self.name}: {place} cannot be read ({_fault(error)}). Correct it, and run again"
            ) from None
        finally:
            self._connection.execute("USE memory")
            self._connection.execute(f"DETACH {_CATALOG}")


class _AnswerError(Exception):
    """An answer that ends before its last row."""


def _told_apart(batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches; a fault of the answer must not look like one of the disk on which they are kept."""
    try:
        yield from batches
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise _AnswerError(_without_values(error)) from None


def _refusal(error: duckdb.Error) -> str:
    """Return the reason for a file that cannot be opened, with the remedy."""
    says = str(error)
    if "Could not set lock" in says:
        return "another process has the file open for writing. Run again when it has finished, or read a copy"
    if "newer version of DuckDB" in says:
        return f"a newer DuckDB wrote the file; this one is {duckdb.__version__}. Upgrade duckdb here, or export it"
    if "not a valid DuckDB database file" in says:
        return "is not a DuckDB file. Correct GHOST_SOURCE"
    return f"cannot be opened ({without_values(error)}). Make the file readable, or restore it"


def _fault(error: Exception) -> str:
    if isinstance(error, _ABOUT_THE_STATEMENT):
        return str(error).splitlines()[0].rstrip(".!")
    return str(error) if isinstance(error, _AnswerError) else _without_values(error)


def _without_values(error: Exception) -> str:
    """Return what DuckDB says itself: a function may raise a message that cites a row in any words."""
    message = str(error)
    if _OF_THE_MACHINE.match(message):
        return without_values(error)
    if said := _OWN_MESSAGE.match(message):
        return f"{said[0]} …"
    kind = _KIND.match(message)
    return f"{kind[0] if kind else 'an error'} that may cite a row: run the query in DuckDB"


def _filled(sql: str, window: Window | None) -> str:
    """Return a statement with the ends of its window as literals, which are our own text."""
    start, end = (window.start, window.end) if window else (None, None)
    return with_window(sql, _literal(start, "-infinity"), _literal(end, "infinity"))


def _literal(instant: datetime | None, otherwise: str) -> str:
    text = otherwise if instant is None else instant.astimezone(UTC).isoformat()
    return f"TIMESTAMPTZ '{text}'"
