"""A SQLite file as a source, read only.

A column of SQLite may hold values of any type, whatever its declaration. Therefore the types of its values are looked
up before a table is read: only numbers or only bytes stay as they are, anything mixed becomes text.
"""

import hashlib
import marshal
import re
import sqlite3
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.locations import MASKED, shown_source
from ghost_pipeline.sources.database import FIRST_DAY, LAST_DAY, DatabaseSource, OwnColumn, Relation
from ghost_pipeline.sources.mapping import END, START, SourceMapping
from ghost_pipeline.sources.source import Window
from ghost_pipeline.sources.spill import spilled
from ghost_pipeline.sql_quoting import sql_identifier

SCHEME = "sqlite:///"
BATCH_ROWS = 50_000
BUSY_SECONDS = 60.0
"""How long to wait for a writer."""
_START, _END = ":window_start", ":window_end"
_FROM_DAY, _TO_DAY = ":window_first_day", ":window_last_day"
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
_DAY = timedelta(days=1)
_UUID_BYTES = 16
_OWN_MESSAGE = re.compile(
    r"no such .+|near \".+\": syntax error|ambiguous column name: .+|wrong number of arguments to function .+|"
    r"unrecognized token: .+|unable to use function \w+ .+|incomplete input|malformed JSON|integer overflow"
)
"""General errors about the statement, or about a value that they do not cite. Functions raise others in any words."""
_MARSHAL_BY_VALUE = 2


class SqliteSource(DatabaseSource):
    """The canonical tables of a SQLite file, whose names ignore case."""

    def __init__(self, location: str, mapping: SourceMapping | None = None) -> None:
        """Open the file of `location`, sqlite:///file or, with an absolute path, sqlite:////file.

        Raises:
            SourceError: there is no such file, or it cannot be opened.

        """
        shown = shown_source(location)
        super().__init__(f"source {shown}", mapping or SourceMapping())
        path = Path(location.removeprefix(SCHEME)).absolute()
        if not path.is_file():
            culprit = "this" if MASKED in shown else path
            raise SourceError(
                f"{self.name}: {culprit} is not a file. Set GHOST_SOURCE to {SCHEME} and a path; an absolute one makes "
                f"it four slashes",
            )
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise SourceError(f"{self.name}: cannot be opened ({error}). Make file and folder readable") from None
        # A text that is not UTF-8 loses its characters; the table stays readable.
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        self._finalizer = weakref.finalize(self, self._connection.close)

    def close(self) -> None:
        """Leave the snapshot and close the file."""
        self._finalizer()

    def _find(self, table: str, name: Sequence[str]) -> tuple[str, str] | None:
        *schema, own = name
        if schema and schema != ["main"]:
            return None
        sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE"
        with self._reading(table):
            found = self._connection.execute(sql, (own,)).fetchone()
        return None if found is None else (f"table {found[0]}", f"main.{sql_identifier(found[0])}")

    def _query(self, text: str) -> str:
        return text.replace(START, _START).replace(END, _END)

    def _types(self, table: str, sql: str) -> Mapping[str, str]:
        with self._reading(table):
            cursor = self._connection.execute(f"SELECT * FROM {sql} AS source LIMIT 0", _parameters(None))  # noqa: S608
            return {column[0]: "" for column in cursor.description}

    def _key(self, name: str) -> str:
        return name.lower()

    def _value(self, column: SourceColumn, own: OwnColumn) -> str:  # noqa: ARG002 - what is there decides, per value
        return own.sql

    def _placed(self, own: OwnColumn) -> str:
        # A local date may lie a day before or after that of UTC.
        day = f"substr({own.sql}, 1, 10)"
        no_date = f"typeof({own.sql}) <> 'text' OR {own.sql} NOT GLOB '{_DATE}'"
        nowhere = f"{no_date} OR {day} NOT BETWEEN {FIRST_DAY} AND {LAST_DAY}"
        return f"({day} BETWEEN {_FROM_DAY} AND {_TO_DAY} OR {nowhere})"

    def _rows(self, table: SourceTable, select: str, window: Window | None) -> pl.LazyFrame:
        parameters = _parameters(window)
        with self._reading(table.name):
            cursor = self._connection.execute(f"SELECT * FROM ({select}) LIMIT 0", parameters)  # noqa: S608 - quoted
            names = [column[0] for column in cursor.description]
            types = ", ".join(f"group_concat(DISTINCT typeof({sql_identifier(name)}))" for name in names)
            found = self._connection.execute(f"SELECT {types} FROM ({select})", parameters).fetchone()  # noqa: S608
            held = [frozenset((one or "").split(",")) - {"", "null"} for one in found]
            schema = pa.schema((name, _column_type(one)) for name, one in zip(names, held, strict=True))
            mixed = [len(one) > 1 for one in held]
            rows = self._connection.execute(select, parameters)
            return spilled(schema, _batches(rows, schema, mixed))

    def _content_hash(self, table: SourceTable, select: str) -> str:
        content = hashlib.blake2b(digest_size=16)
        with self._reading(table.name):
            rows = self._connection.execute(select, _parameters(None))
            while batch := rows.fetchmany(BATCH_ROWS):
                # This version writes equal values alike, whatever else refers to them.
                content.update(marshal.dumps(batch, _MARSHAL_BY_VALUE))
        return content.hexdigest()

    def _size(self, table: SourceTable, relation: Relation) -> str:
        with self._reading(table.name):
            sql = f"SELECT count(*) FROM {relation.sql} AS source"  # noqa: S608 - names are quoted
            return f"{self._connection.execute(sql, _parameters(None)).fetchone()[0]:,} rows"

    @contextmanager
    def _reading(self, table: str) -> Iterator[None]:
        """Hold a transaction: to the end of the source in WAL mode, otherwise only for the block.

        Without WAL no one could write during it.

        Raises:
            SourceError: SQLite reports an error; without values of rows.

        """
        lasting = False
        try:
            lasting = self._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN")
            yield
        except sqlite3.Error as error:
            place = self.mapping.place(table, "query") if self.mapping.of(table).query else f"table {table}"
            raise SourceError(
                f"{self.name}: {place} cannot be read ({_without_values(error)}). Correct it, and run again",
            ) from None
        finally:
            if self._connection.in_transaction and not lasting:
                self._connection.execute("ROLLBACK")


def _without_values(error: sqlite3.Error) -> str:
    says = str(error).rstrip(".")
    # Of any other number the message is fixed.
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR or _OWN_MESSAGE.fullmatch(says):
        return says
    return "SQLite reports an error that may cite a row: run the statement in its shell"


def _batches(rows: sqlite3.Cursor, schema: pa.Schema, mixed: Sequence[bool]) -> Iterator[pa.RecordBatch]:
    while batch := rows.fetchmany(BATCH_ROWS):
        columns = [
            pa.array(map(_bytes if type_ == pa.binary() else _text, values) if to_text else values, type_)
            for type_, to_text, values in zip(schema.types, mixed, zip(*batch, strict=True), strict=True)
        ]
        yield pa.record_batch(columns, schema=schema)


def _column_type(held: frozenset[str]) -> pa.DataType:
    if not held:
        return pa.null()
    # Bytes that are no text stay bytes, so that validation rejects them instead of taking their digits for a text.
    (only,) = held if len(held) == 1 else ("blob",) if "blob" in held else ("text",)
    return {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}[only]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    # 3 and 3.0 are the same id.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


def _bytes(value: object) -> bytes | None:
    """Return a value of a column that holds bytes among others: a UUID of 16 bytes as its text."""
    if not isinstance(value, bytes):
        text = _text(value)
        return None if text is None else text.encode()
    if len(value) != _UUID_BYTES:
        return value
    try:
        is_text = value.decode().isprintable()
    except UnicodeDecodeError:
        is_text = False
    return value if is_text else str(uuid.UUID(bytes=value)).encode()


def _parameters(window: Window | None) -> dict[str, str]:
    """Return the window as text in the form of SQLite's own functions, widened to full seconds and days."""
    start = (window and window.start) or datetime.min.replace(tzinfo=UTC) + _DAY
    end = window.end if window else datetime.max.replace(tzinfo=UTC) - _DAY
    return {
        "window_start": _shown(start),
        "window_end": _shown(end + timedelta(microseconds=999_999)),
        "window_first_day": (start.astimezone(UTC) - _DAY).date().isoformat(),
        "window_last_day": (end.astimezone(UTC) + _DAY).date().isoformat(),
    }


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds")
