"""PostgreSQL as a source, read through ADBC: one snapshot, read only, in batches.

A transaction of its own (REPEATABLE READ, READ ONLY) shows every table as it was when the first one was read. The locks
on a table end with its reading, so that nobody who changes the schema waits for a run. Passwords stay in the driver:
what it says about a connection is shown without them, and its errors are not chained.
"""

import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.errors import SourceError
from ghost_pipeline.settings import POSTGRES_ADDRESS
from ghost_pipeline.sources.database import (
    FIRST_DAY,
    LAST_DAY,
    SAMPLE_ROWS,
    DatabaseSource,
    OwnColumn,
    Relation,
    quoted,
)
from ghost_pipeline.sources.mapping import END, START, SourceMapping
from ghost_pipeline.sources.source import Window
from ghost_pipeline.sources.spill import spilled
from ghost_pipeline.tables.raw import Kind, SourceColumn, SourceTable
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

CONNECT_SECONDS = 10
"""How long a connection may take, unless the address or PGCONNECT_TIMEOUT says otherwise."""

_BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SESSION = (
    # Times without a zone are UTC, as text and in comparisons.
    "SET LOCAL TIME ZONE 'UTC'",
    "SET LOCAL DateStyle TO ISO",
    # Whatever PGCLIENTENCODING says: the driver takes every text for UTF-8.
    "SET LOCAL client_encoding TO 'UTF8'",
    # Between two tables a run may compute for minutes.
    "SET LOCAL idle_in_transaction_session_timeout TO 0",
)
_WINDOW = "SELECT set_config('ghost_pipeline.start', $1, true), set_config('ghost_pipeline.end', $2, true)"
_START: Final = "(current_setting('ghost_pipeline.start')::timestamptz)"
_END: Final = "(current_setting('ghost_pipeline.end')::timestamptz)"

_AS_THEY_ARE = frozenset({"text", "varchar", "bpchar", "int2", "int4", "int8", "float8", "bool", "bytea"})
"""Types that arrive as they are. A float4 does not: 5.3 would become 5.300000190734863."""
_TIMES = frozenset({"timestamptz", "timestamp", "date"})
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_EARLIEST, _LATEST = "0001-01-01", "9999-12-31"
"""Times beyond, infinity among them, would come as others: the driver's count of microseconds overflows."""

_TELLING = frozenset({"08", "25", "28", "3D", "3F", "42", "53", "54", "55", "57", "58"})
"""Classes of SQLSTATE whose messages cite no values of rows."""
_LOST = "the connection was lost"
_MESSAGE = re.compile(r"(?:ERROR|FATAL|PANIC):\s*([^\n]*)")


class PostgresSource(DatabaseSource):
    """The canonical tables of a PostgreSQL database, found by its search_path."""

    def __init__(self, location: str, mapping: SourceMapping | None = None) -> None:
        """Connect to `location`, an address as libpq reads it; its environment variables hold as well.

        Raises:
            SourceError: the address is malformed, or the server cannot be reached or refuses; without the password.

        """
        address = _Address(location)
        super().__init__(address.name, mapping or SourceMapping())
        self._address = address
        try:
            self._connection = driver.connect(address.for_libpq)
        except adbc.Error as error:
            raise SourceError(
                f"{self.name}: cannot connect ({address.without_secrets(_connection_fault(error))}). Check address, "
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
            cursor.execute(sql, (".".join(map(quoted, name)),))
            found = cursor.fetchone()
        return None if found is None else (f"table {'.'.join(found)}", ".".join(map(quoted, found)))

    def _query(self, text: str) -> str:
        return text.replace(START, _START).replace(END, _END)

    def _types(self, table: str, sql: str) -> Mapping[str, str]:
        with self._reading(table) as cursor:
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
        """A cursor in the snapshot, whose locks end with the block.

        Raises:
            SourceError: the server reports an error; without values of rows.

        """
        try:
            with self._connection.cursor() as cursor:
                if not self._in_snapshot:
                    for statement in (_BEGIN, *_SESSION):
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
            says = self._address.without_secrets(_fault(error))
            place = self.mapping.place(table, "query") if self.mapping.of(table).query else f"table {table}"
            remedy = (
                "Run again when the server answers" if says == _LOST else "Correct it, or grant its use, and run again"
            )
            raise SourceError(f"{self.name}: {place} cannot be read ({says}). {remedy}") from None

    def _leave(self) -> None:
        """Give up a transaction that has failed; the next reading begins another."""
        self._in_snapshot = False
        try:
            self._connection.rollback()
        except adbc.Error:
            # The connection is gone: the next reading says so.
            return


class _AnswerError(Exception):
    """An answer that ends before its last row; pyarrow hands on what the server said, but not its SQLSTATE."""


def _told_apart(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches; what goes wrong with the answer is no error of the disk on which they are kept."""
    try:
        yield from batches
    except (OSError, pa.ArrowException) as error:
        message = _MESSAGE.search(str(error))
        # Values are cited behind a colon or in quotes.
        raise _AnswerError(re.split(r':|"', message[1])[0].strip() if message else _LOST) from None


class _Address:
    """An address of a server: as the driver needs it, and as people may see it."""

    def __init__(self, location: str) -> None:
        parts = POSTGRES_ADDRESS.fullmatch(location)
        if parts is None:
            raise SourceError(
                "source postgresql://…: the address is malformed. Write postgresql://user:password@host:port/database, "
                "with special characters of user and password percent-encoded: @ is %40, / is %2F, % is %25",
            )
        # Not by parse_qs: to libpq a plus sign is no space.
        pairs = [one.partition("=") for one in (parts["parameters"] or "").split("&")]
        parameters = {name: value for name, _, value in pairs}

        def told(part: str | None, parameter: str, variable: str) -> str:
            return part or unquote(parameters.get(parameter, "")) or os.environ.get(variable, "")

        user = told(parts["user"], "user", "PGUSER")
        host = told(parts["hosts"], "host", "PGHOST")
        database = told(parts["database"], "dbname", "PGDATABASE")
        self.name = f"source postgresql://{f'{user}@' if user else ''}{host or 'local socket'}/{database or user}"
        secrets = [parts["password"], os.environ.get("PGPASSWORD")]
        secrets += [value for name, _, value in pairs if "password" in name]
        self._secrets = sorted({text for one in secrets if one for text in (one, unquote(one))}, key=len, reverse=True)
        added = ["fallback_application_name=ghost_pipeline"]
        if "connect_timeout" not in parameters and "PGCONNECT_TIMEOUT" not in os.environ:
            added.append(f"connect_timeout={CONNECT_SECONDS}")
        joint = "&" if parts["parameters"] else "" if location.endswith("?") else "?"
        self.for_libpq = f"{location}{joint}{'&'.join(added)}"

    def without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _instant(instant: datetime | None, otherwise: str) -> str:
    return otherwise if instant is None else instant.astimezone(UTC).isoformat()


def _connection_fault(error: adbc.Error) -> str:
    line = str(error).removeprefix("IO: ").removeprefix("[libpq] ").removeprefix("Failed to connect: ")
    return line.splitlines()[0].rstrip(".")


def _fault(error: Exception) -> str:
    """What the server said, unless it may cite a row; otherwise the number of the error."""
    if isinstance(error, _AnswerError):
        return str(error)
    state = getattr(error, "sqlstate", None)
    if not state:
        return _LOST
    message = _MESSAGE.search(str(error))
    if state[:2] in _TELLING and message:
        return message[1].rstrip(".")
    return f"SQLSTATE {state}, {'a value cannot be converted' if state[:2] == '22' else 'see the server log'}"
