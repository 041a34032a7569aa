"""PostgreSQL as a source, read through ADBC: one snapshot, read only, in batches.

A REPEATABLE READ, READ ONLY transaction shows every table as it was when the first one was read. The lock on a table
ends once it is read, so that no schema change waits for a run. Passwords stay in the driver: its messages about a
connection are shown without them, and its errors are not chained.
"""

import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.postgres import LOST, MESSAGE, SESSION, PostgresAddress
from ghost_pipeline.sources.database import (
    FIRST_DAY,
    LAST_DAY,
    SAMPLE_ROWS,
    DatabaseSource,
    OwnColumn,
    Relation,
)
from ghost_pipeline.sources.mapping import END, START, SourceMapping
from ghost_pipeline.sources.source import Window
from ghost_pipeline.sources.spill import spilled
from ghost_pipeline.sql_quoting import sql_identifier
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

_BEGIN: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    # The server then refuses a table whose rows a policy would hide, instead of hiding them.
    "SET LOCAL row_security TO off",
)
_WINDOW = "SELECT set_config('ghost_pipeline.start', $1, true), set_config('ghost_pipeline.end', $2, true)"
_START: Final = "(current_setting('ghost_pipeline.start')::timestamptz)"
_END: Final = "(current_setting('ghost_pipeline.end')::timestamptz)"

_AS_THEY_ARE = frozenset({"text", "varchar", "bpchar", "int2", "int4", "int8", "float8", "bool", "bytea"})
"""Types that arrive unchanged. A float4 does not: 5.3 would become 5.300000190734863."""
_TIMES = frozenset({"timestamptz", "timestamp", "date"})
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_OWN_MESSAGE = re.compile(
    r"invalid input syntax for type [a-z ]+|invalid input value for enum [\w.]+|division by zero|[a-z/ ]+ out of range|"
    r"(?:canceling statement|terminating connection) due to [a-z ]+|cannot execute [A-Z ]+ in a read-only transaction"
)
"""Beginnings of the server's own messages, up to the value that they may cite."""
_ABOUT_NAMES = re.compile(
    r'permission denied for [a-z ]+ [\w.]+|query would be affected by row-level security policy for [a-z ]+ "[^"]+"|'
    r'(?:relation|column) "(?P<name>[^"]+)" does not exist'
)
"""Messages about a statement that may come when its rows are read; a cast to regclass cites a row in the last one."""
_HIDES_ROWS = "affected by row-level security"
_EARLIEST, _LATEST = "0001-01-01", "9999-12-31"
"""Later or earlier times, infinity among them, would arrive as others: the driver's microseconds overflow."""


class PostgresSource(DatabaseSource):
    """The canonical tables of a PostgreSQL database, found by its search_path."""

    def __init__(self, location: str, mapping: SourceMapping | None = None) -> None:
        """Connect to `location`, an address as libpq reads it; libpq's environment variables apply too.

        Raises:
            SourceError: the address is malformed, or the server cannot be reached or refuses; without the password.

        """
        try:
            address = PostgresAddress(location)
        except ValueError as error:
            raise SourceError(f"source postgresql://…: the address is malformed. {error}") from None
        super().__init__(f"source {address.name}", mapping or SourceMapping())
        self._address = address
        try:
            self._connection = driver.connect(address.for_libpq)
        except adbc.Error as error:
            raise SourceError(
                f"{self.name}: cannot connect ({address.connection_fault(error)}). Check address, "
                f"user and password in GHOST_SOURCE, and that the server runs",
            ) from None
        self._in_snapshot = False
        self._finalizer = weakref.finalize(self, self._connection.close)

    def close(self) -> None:
        """Leave the snapshot and disconnect."""
        self._finalizer()

    def _find(self, table: str, name: Sequence[str]) -> tuple[str, str] | None:
        # A table, partitioned or foreign, a view or a materialized view.
        sql = """
            SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
        """
        with self._reading(table) as cursor:
            cursor.execute(sql, (".".join(map(sql_identifier, name)),))
            found = cursor.fetchone()
        return None if found is None else (f"table {'.'.join(found)}", ".".join(map(sql_identifier, found)))

    def _query(self, text: str) -> str:
        return text.replace(START, _START).replace(END, _END)

    def _types(self, table: str, sql: str) -> Mapping[str, str]:
        with self._reading(table) as cursor:
            # To the end of the block, which reads no row: each table that a policy hides is then named as it is read.
            cursor.execute("SET LOCAL row_security TO on")
            schema = cursor.adbc_execute_schema(f"SELECT * FROM {sql} AS source")  # noqa: S608 - names are quoted
        return {one.name: (one.metadata or {}).get(b"POSTGRESQL:type", b"").decode() for one in schema}

    def _value(self, column: SourceColumn, own: OwnColumn) -> str:
        if own.type == "interval" and column.kind is Kind.MINUTES:
            return f"EXTRACT(EPOCH FROM {own.sql})::float8 / 60"
        if own.type == "interval" and "ms" in column.name.split("_"):
            return f"EXTRACT(EPOCH FROM {own.sql})::float8 * 1000"
        if own.type in _TIMES and column.kind is Kind.INSTANT:
            return (
                f"CASE WHEN {own.sql} > '{_LATEST}' THEN '{_LATEST}' WHEN {own.sql} < '{_EARLIEST}' THEN '{_EARLIEST}' "
                f"ELSE {own.sql} END"
            )
        return own.sql if own.type in _AS_THEY_ARE else f"{own.sql}::text"

    def _placed(self, own: OwnColumn) -> str:
        if own.type in _TIMES:
            first, last = FIRST_INSTANT.isoformat(), LAST_INSTANT.isoformat()
            nowhere = f"{own.sql} IS NULL OR {own.sql} < '{first}' OR {own.sql} >= '{last}'"
            return f"({own.sql} >= {_START} AND {own.sql} < {_END} OR {nowhere})"
        if own.type in _TEXTS:
            day = f'(left({own.sql}, 10) COLLATE "C")'
            # A local date may lie a day before or after that of UTC.
            first, last = f"({_START} - interval '1 day')::date::text", f"({_END} + interval '1 day')::date::text"
            no_date = rf"{own.sql} IS NULL OR {own.sql} !~ '^\d{{4}}-\d\d-\d\d'"
            nowhere = f"{no_date} OR {day} NOT BETWEEN {FIRST_DAY} AND {LAST_DAY}"
            return f"({day} BETWEEN {first} AND {last} OR {nowhere})"
        return "true"

    def _rows(self, table: SourceTable, select: str, window: Window | None) -> pl.LazyFrame:
        start, end = (window.start, window.end) if window else (None, None)
        with self._reading(table.name) as cursor:
            cursor.execute(_WINDOW, (_instant(start, "-infinity"), _instant(end, "infinity")))
            cursor.fetchall()
            cursor.execute(select)
            with cursor.fetch_record_batch() as batches:
                return spilled(batches.schema, _told_apart(batches))

    def _content_hash(self, table: SourceTable, select: str) -> str:
        # The order of rows does not matter, and 64 bits of each are added up without an overflow.
        sql = f"SELECT count(*), sum(hashtextextended(source::text, 0))::text FROM ({select}) AS source"  # noqa: S608
        with self._reading(table.name) as cursor:
            cursor.execute(_WINDOW, (_instant(None, "-infinity"), _instant(None, "infinity")))
            cursor.fetchall()
            cursor.execute(sql)
            rows, content = cursor.fetchone()
        return f"{rows}-{content}"

    def _size(self, table: SourceTable, relation: Relation) -> str:
        sql = "SELECT reltuples::int8 FROM pg_catalog.pg_class WHERE oid = to_regclass($1) AND relkind <> 'v'"
        with self._reading(table.name) as cursor:
            cursor.execute(sql, (relation.sql,))
            estimate = cursor.fetchone()
        if estimate is None or estimate[0] < SAMPLE_ROWS:
            return f"{SAMPLE_ROWS:,} rows and more"
        return f"about {estimate[0]:,} rows"

    @contextmanager
    def _reading(self, table: str) -> Iterator[driver.Cursor]:
        """Yield a cursor in the snapshot, whose locks end with the block.

        Raises:
            SourceError: the server reports an error; without values of rows.

        """
        try:
            with self._connection.cursor() as cursor:
                if not self._in_snapshot:
                    for statement in (*_BEGIN, *SESSION):
                        cursor.execute(statement)
                    self._in_snapshot = True
                cursor.execute("SAVEPOINT reading")
            with self._connection.cursor() as cursor:
                yield cursor
            with self._connection.cursor() as cursor:
                cursor.execute("ROLLBACK TO SAVEPOINT reading")
        except SourceError:
            self._leave()
            raise
        except (adbc.Error, _AnswerError) as error:
            self._leave()
            says = self._says(table, error) if isinstance(error, adbc.Error) else str(error)
            place = self.mapping.place(table, "query") if self.mapping.of(table).query else f"table {table}"
            raise SourceError(f"{self.name}: {place} cannot be read ({says}). {self._remedy_of(table, says)}") from None

    def _says(self, table: str, error: adbc.Error) -> str:
        """Return the server's message; only its number if a function or a cast may have cited a row in it."""
        says, relation = self._address.fault(error), self._relations.get(table)
        # Before the columns of a table are known, no row of it is read.
        if relation is None or says == LOST or says.startswith("SQLSTATE "):
            return says
        about = _ABOUT_NAMES.fullmatch(says)
        if about and (about["name"] or "") in relation.sql.replace('"', ""):
            return says
        return says if _OWN_MESSAGE.fullmatch(says) else f"SQLSTATE {error.sqlstate}, see the server log"

    def _remedy_of(self, table: str, says: str) -> str:
        if says == LOST:
            return "Run again when the server answers"
        if _HIDES_ROWS in says:
            return (
                "A policy would hide rows from this role: let it read all of them (ALTER ROLE ... BYPASSRLS), or map "
                "the table to a view whose owner may, created without security_invoker"
            )
        if says.startswith("permission denied for table") and (columns := self._forbidden(table)):
            return f"GRANT SELECT on its column{'s' if len(columns) > 1 else ''} {', '.join(columns)}, and run again"
        return "Correct it, or grant its use, and run again"

    def _forbidden(self, table: str) -> list[str]:
        """Return the columns of a table that are to be read and that the role may not read, if it may read others."""
        relation = self._relations.get(table)
        if relation is None or self.mapping.of(table).query:
            return []
        sql = """
            SELECT attname, has_column_privilege(attrelid, attnum, 'SELECT') FROM pg_catalog.pg_attribute
            WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
        """
        with self._reading(table) as cursor:
            cursor.execute(sql, (relation.sql,))
            allowed = dict(cursor.fetchall())
        wanted = [one.name for one in relation.columns.values()]
        return [name for name in wanted if not allowed.get(name, True)] if any(allowed.values()) else []

    def _leave(self) -> None:
        """Give up a failed transaction; the next reading begins another."""
        self._in_snapshot = False
        try:
            self._connection.rollback()
        except adbc.Error:
            # The connection is gone: the next reading says so.
            return


class _AnswerError(Exception):
    """An answer that ends before its last row; pyarrow passes on the server's message, but not its SQLSTATE."""


def _told_apart(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches; a fault of the answer must not look like one of the disk on which they are kept."""
    try:
        yield from batches
    except (OSError, pa.ArrowException) as error:
        message = MESSAGE.search(str(error))
        raise _AnswerError(_without_values(message[1]) if message else LOST) from None


def _without_values(message: str) -> str:
    """Return a message of the server's own; a function may raise one that cites a row in any words."""
    says = re.split(r':|"', message)[0].strip()
    return says if _OWN_MESSAGE.fullmatch(says) else "the server reports an error, see its log"


def _instant(instant: datetime | None, otherwise: str) -> str:
    return otherwise if instant is None else instant.astimezone(UTC).isoformat()
