"""MySQL and MariaDB as a source: one snapshot, read only, rows streamed in batches.

A consistent snapshot shows every InnoDB table as it was when the first one was read. The lock on a table's definition
ends once it is read, so that no schema change waits for a run. Times are read as their text, so that `0000-00-00` costs
at most its row.
"""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pymysql  # type: ignore[import-untyped]
from pymysql.constants import FIELD_TYPE, FLAG  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
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
from ghost_pipeline.sources.mysql_address import LOST, MySqlAddress
from ghost_pipeline.sources.source import Window
from ghost_pipeline.sources.spill import spilled
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

BATCH_ROWS = 50_000
SESSION: Final = (
    # TIMESTAMP is converted to the session's zone; FROM_UNIXTIME and UNIX_TIMESTAMP use it, too.
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # A run may compute for minutes between two statements, and take in a batch slowly.
    "SET SESSION wait_timeout = 86400",
    "SET SESSION net_write_timeout = 3600",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
"""The first statements of every connection."""

_INTEGERS = frozenset(
    {FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.YEAR}
)
_FLOATS = frozenset({FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE})
_TEXTS = frozenset(
    {FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.ENUM, FIELD_TYPE.SET, FIELD_TYPE.JSON}
    | {FIELD_TYPE.TINY_BLOB, FIELD_TYPE.BLOB, FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB}
)
_TIMES = {FIELD_TYPE.DATE: "date", FIELD_TYPE.NEWDATE: "date"} | {
    FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.TIMESTAMP: "timestamp",
}
_BYTES = 63
"""The number of the character set `binary`."""
_EARLIEST, _LATEST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_DAY = timedelta(days=1)


class MySqlSource(DatabaseSource):
    """The canonical tables of a database of MySQL or MariaDB, whose column names ignore case."""

    text_type = "char"

    def __init__(self, location: str, mapping: SourceMapping | None = None) -> None:
        """Connect to `location`, mysql://user:password@host:port/database.

        Raises:
            SourceError: the address is malformed, or the server cannot be reached or refuses; without the password.

        """
        try:
            self._address = MySqlAddress(location)
        except ValueError as error:
            raise SourceError(f"source mysql://…: the address is malformed. {error}") from None
        super().__init__(f"source {self._address.name}", mapping or SourceMapping())
        self._connection: Any = None
        self._finalizer: weakref.finalize[..., MySqlSource] | None = None
        self._connected()

    def close(self) -> None:
        """Leave the snapshot and disconnect."""
        self._connection = None
        if self._finalizer is not None:
            self._finalizer()

    def _quoted(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def _find(self, table: str, name: Sequence[str]) -> tuple[str, str] | None:
        *schema, own = name
        # A name of the same case comes first, if the server tells them apart.
        sql = """
            SELECT table_schema, table_name FROM information_schema.tables
            WHERE table_schema = coalesce(%s, database()) AND table_name = %s ORDER BY table_name = BINARY %s DESC
        """
        with self._reading(table) as cursor:
            cursor.execute(sql, (schema[0] if schema else None, own, own))
            found = cursor.fetchone()
            cursor.fetchall()
        if found is None:
            return None
        shown = found if schema else found[1:]
        return f"table {'.'.join(shown)}", ".".join(map(self._quoted, found))

    def _query(self, text: str) -> str:
        return text.replace(START, WINDOW_START).replace(END, WINDOW_END)

    def _types(self, table: str, sql: str) -> Mapping[str, str]:
        with self._reading(table) as cursor:
            cursor.execute(_filled(f"SELECT * FROM {sql} AS source LIMIT 0", None))  # noqa: S608 - names are quoted
            cursor.fetchall()
            return {field.name: _type_name(field) for field in _fields(cursor)}

    def _key(self, name: str) -> str:
        return name.lower()

    def _value(self, column: SourceColumn, own: OwnColumn) -> str:
        if own.type == "time" and column.kind is Kind.MINUTES:
            return f"TIME_TO_SEC({own.sql}) / 60e0"
        if own.type == "time" and "ms" in column.name.split("_"):
            return f"TIME_TO_SEC({own.sql}) * 1000e0"
        if own.type == "bit":
            return f"{own.sql} + 0"
        if own.type in {"integer", "float", "text", "bytes"}:
            return own.sql
        text = f"CAST({own.sql} AS char)"
        if own.type in _TIMES.values() and column.optional:
            # A zero date stands for a missing one where NULL is not allowed.
            return f"CASE WHEN left({text}, 10) <> '0000-00-00' THEN {text} END"
        return text

    def _placed(self, own: OwnColumn) -> str:
        if own.type in _TIMES.values():
            first, last = _literal(FIRST_INSTANT), _literal(LAST_INSTANT)
            start, end = WINDOW_START, WINDOW_END
            if self._is_local(own):
                # A local time may be a day before or after that of UTC.
                first, last = _literal(FIRST_INSTANT + _DAY), _literal(LAST_INSTANT - _DAY)
                start, end = f"{start} - INTERVAL 1 DAY", f"{end} + INTERVAL 1 DAY"
            nowhere = f"{own.sql} IS NULL OR {own.sql} < {first} OR {own.sql} >= {last}"
            return f"({own.sql} >= {start} AND {own.sql} < {end} OR {nowhere})"
        if own.type == "text":
            day = f"left({own.sql}, 10)"
            first, last = f"date({WINDOW_START} - INTERVAL 1 DAY)", f"date({WINDOW_END} + INTERVAL 1 DAY)"
            between = f"{day} BETWEEN CAST({first} AS char) AND CAST({last} AS char)"
            no_date = f"{own.sql} IS NULL OR {own.sql} NOT REGEXP '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}'"
            nowhere = f"{no_date} OR {day} NOT BETWEEN {FIRST_DAY} AND {LAST_DAY}"
            return f"({between} OR {nowhere})"
        return "true"

    def _rows(self, table: SourceTable, select: str, window: Window | None) -> pl.LazyFrame:
        with self._reading(table.name) as cursor:
            cursor.execute(_filled(select, window))
            schema = pa.schema((field.name, _arrow_type(field)) for field in _fields(cursor))
            rows = spilled(schema, _batches(cursor, schema))
        relation = self._required(table)
        local = [name for name, own in relation.columns.items() if self._is_local(own)]
        instants = [one.name for one in table.columns if one.kind is Kind.INSTANT and one.name in local]
        return rows.with_columns(_in_utc(name, self._address.zone) for name in instants)

    def _is_local(self, own: OwnColumn) -> bool:
        """Whether a column's times are those of the zone of the address, in a table or a query's result."""
        return own.type in {"datetime", "date"} and self._address.zone != "UTC"

    def _content_hash(self, table: SourceTable, select: str) -> str:
        names = ", ".join(f"quote({self._quoted(name)})" for name in self._required(table).columns)
        row = f"CAST(conv(left(md5(concat_ws(',', {names})), 15), 16, 10) AS unsigned)"
        with self._reading(table.name) as cursor:
            cursor.execute(_filled(f"SELECT count(*), sum({row}) FROM ({select}) AS source", None))  # noqa: S608
            ((rows, content),) = cursor.fetchall()
        return f"{self._address.zone}-{rows}-{content}"

    def _size(self, table: SourceTable, relation: Relation) -> str:
        with self._reading(table.name) as cursor:
            cursor.execute(_filled(f"SELECT count(*) FROM {relation.sql} AS source", None))  # noqa: S608 - quoted
            ((rows,),) = cursor.fetchall()
        return f"{rows:,} rows"

    def _connected(self) -> Any:  # noqa: ANN401 - the driver has no types
        if self._connection is None:
            try:
                self._connection = pymysql.connect(**self._address.for_driver)
            except (pymysql.err.Error, RuntimeError, UnicodeError) as error:
                raise SourceError(
                    f"{self.name}: cannot connect ({self._address.fault(error)}). Check address, user and password in "
                    f"GHOST_SOURCE, and that the server runs",
                ) from None
            self._finalizer = weakref.finalize(self, _closed, self._connection)
            try:
                with self._connection.cursor() as cursor:
                    for statement in SESSION:
                        cursor.execute(statement)
            except pymysql.err.Error as error:
                self.close()
                raise SourceError(
                    f"{self.name}: the server refuses a read-only transaction with a consistent snapshot "
                    f"({self._address.fault(error)}). Read from MySQL or MariaDB itself, or from a copy of it",
                ) from None
        return self._connection

    @contextmanager
    def _reading(self, table: str) -> Iterator[Any]:
        """Yield a cursor in the snapshot, whose locks end with the block.

        Raises:
            SourceError: the server reports an error; without values of rows.

        """
        rows = None
        try:
            connection = self._connected()
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT reading")
            rows = connection.cursor(_Rows)
            yield rows
            rows.close()
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK TO SAVEPOINT reading")
        except SourceError:
            self._leave(rows)
            raise
        except (pymysql.err.Error, UnicodeError) as error:
            self._leave(rows)
            says = self._address.fault(error, rows.statement if rows else "")
            place = self.mapping.place(table, "query") if self.mapping.of(table).query else f"table {table}"
            remedy = (
                "Run again when the server answers" if says == LOST else "Correct it, or grant its use, and run again"
            )
            raise SourceError(f"{self.name}: {place} cannot be read ({says}). {remedy}") from None

    def _leave(self, rows: Any) -> None:  # noqa: ANN401 - the driver has no types
        """Give up a connection that may have rows to send; the next reading begins another."""
        if rows is not None and rows._result is not None:  # noqa: SLF001 - it would wait for the rows when it is deleted
            rows._result.unbuffered_active = False  # noqa: SLF001
        self.close()


class _Rows(pymysql.cursors.SSCursor):  # type: ignore[misc]
    """A cursor that streams rows, and knows its statement even if that fails."""

    statement = ""

    def execute(self, query: str, args: object = None) -> Any:  # noqa: ANN401 - the driver has no types
        self.statement = query
        return super().execute(query, args)


def _closed(connection: Any) -> None:  # noqa: ANN401 - the driver has no types
    # Rows that were not fetched are not waited for.
    with suppress(pymysql.err.Error, OSError):
        connection._force_close()  # noqa: SLF001 - `close` fails if the server is gone


def _fields(cursor: Any) -> Sequence[Any]:  # noqa: ANN401 - the driver has no types
    # The public description leaves out what tells bytes from text.
    return cursor._result.fields  # type: ignore[no-any-return]  # noqa: SLF001


def _type_name(field: Any) -> str:  # noqa: ANN401 - the driver has no types
    if field.type_code in _TEXTS:
        return "bytes" if field.charsetnr == _BYTES and field.type_code != FIELD_TYPE.JSON else "text"
    if field.type_code in _INTEGERS:
        return "integer"
    named = {FIELD_TYPE.TIME: "time", FIELD_TYPE.BIT: "bit", **_TIMES}
    return "float" if field.type_code in _FLOATS else named.get(field.type_code, "other")


def _arrow_type(field: Any) -> pa.DataType:  # noqa: ANN401 - the driver has no types
    if field.type_code in _INTEGERS:
        return pa.uint64() if field.flags & FLAG.UNSIGNED else pa.int64()
    return {"float": pa.float64(), "bytes": pa.large_binary()}.get(_type_name(field), pa.large_string())


def _batches(cursor: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:  # noqa: ANN401 - the driver has no types
    while batch := cursor.fetchmany(BATCH_ROWS):
        columns = [
            pa.array(values, type_) for type_, values in zip(schema.types, zip(*batch, strict=True), strict=True)
        ]
        yield pa.record_batch(columns, schema=schema)


def _in_utc(name: str, zone: str) -> pl.Expr:
    """Return local times as instants; what is no time stays, and so does one that the zone leaves out."""
    text = pl.col(name).cast(pl.String)
    local = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    local = pl.coalesce(local, text.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False))

    def placed(times: pl.Expr) -> pl.Expr:
        return times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")

    # Of an hour that comes twice, the first one; in one that is skipped, as if the clock had not been changed.
    instant = pl.coalesce(placed(local), placed(local + pl.duration(hours=1)))
    return pl.coalesce(instant.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"), text).alias(name)


def _filled(sql: str, window: Window | None) -> str:
    """Return a statement with the ends of its window as literals, which are our own text."""
    start, end = (window.start, window.end) if window else (None, None)
    return with_window(sql, _literal(start or _EARLIEST), _literal(end or _LATEST))


def _literal(instant: datetime) -> str:
    return f"TIMESTAMP'{instant.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}'"
