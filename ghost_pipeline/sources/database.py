"""A database as a source: from canonical tables to SELECT statements, the same way for every kind of database.

Only canonical columns are read, each in a form that validation can judge: a bad value costs its row. Everything that
differs between kinds of databases is in their adapters.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ghost_pipeline.contracts.raw import SOURCE_PRACTICE_SESSIONS, SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.mapping import SourceMapping
from ghost_pipeline.sources.source import PART, TableSample, Window, require_columns
from ghost_pipeline.sql_quoting import sql_identifier
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

SAMPLE_ROWS = 100_000
"""Rows of a table that `inspect` reads at most."""
FIRST_DAY = f"'{(FIRST_INSTANT + timedelta(days=1)).date()}'"
LAST_DAY = f"'{(LAST_INSTANT - timedelta(days=2)).date()}'"
"""As text: local dates between these are within what counts as a time, whatever their zone."""
WINDOW_START, WINDOW_END = "\0start\0", "\0end\0"
"""Stand in a statement for the ends of its window, where the database binds no parameters. No name holds a NUL."""
_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_NAME = re.compile(rf"{_PART}(?:\.{_PART})?")


def with_window(sql: str, start: str, end: str) -> str:
    """Return a statement with literals for the ends of its window."""
    return sql.replace(WINDOW_START, start).replace(WINDOW_END, end)


@dataclass(frozen=True)
class OwnColumn:
    """A column of the database that gives a canonical one."""

    name: str
    type: str
    """The database's name of the type; empty if it has none."""
    sql: str
    """The column in a statement."""


@dataclass(frozen=True)
class Relation:
    """The table or query that a canonical table is read from."""

    origin: str
    """Its name in messages."""
    sql: str
    """The text after FROM: a quoted name, or a query in parentheses."""
    columns: Mapping[str, OwnColumn]
    """The canonical columns that it has."""
    own: tuple[str, ...]
    """All its columns."""


class DatabaseSource(ABC):
    """The canonical tables of one database.

    A table is read from the database once, and again only for another window. Adapters say which instant it shows: that
    of the first reading where one transaction holds a snapshot, otherwise that of its own.
    """

    text_type = "text"
    """The type of texts in a CAST."""

    def __init__(self, name: str, mapping: SourceMapping) -> None:
        """Take the name that messages use, without a password, and the names of the database's tables."""
        self._name, self.mapping = name, mapping
        self._relations: dict[str, Relation | None] = {}
        self._scanned: dict[str, tuple[Window | None, pl.LazyFrame]] = {}

    @property
    def reads_windows(self) -> bool:
        """True: an hour reads the look-back, not years."""
        return True

    @property
    def name(self) -> str:
        """The address without a password."""
        return self._name

    @property
    def identity(self) -> str:
        """The address without a password, and the names of its tables and columns."""
        return f"{self.name} {self.mapping.tables!r}"

    def tables(self) -> set[str]:
        """Return the canonical tables that exist or are mapped.

        Raises:
            SourceError: the database does not answer, or a mapped table or column does not exist.

        """
        return {name for name in SOURCE_TABLES if self._relation(name) is not None}

    def part_versions(self, table: SourceTable) -> Mapping[str, str] | None:
        """Return a hash of the rows of a table without a time, computed by the database; None for other tables.

        It covers every value that `scan` would read, so it misses no change, not even one that leaves `updated_at` as
        it was. Events need none: a run reads a window of them.

        Raises:
            SourceError: the table or a required column is missing, or the database cannot read it.

        """
        if table.time or table.of_session:
            return None
        select = self._select(table, None)
        read_as = hashlib.blake2b(select.encode(), digest_size=8).hexdigest()
        return {"": f"{read_as}-{self._content_hash(table, select)}"}

    def scan(
        self,
        table: SourceTable,
        window: Window | None = None,
        parts: Collection[str] | None = None,  # noqa: ARG002 - a table is one part
    ) -> pl.LazyFrame:
        """Return the canonical columns of a table, of all rows or of those in `window`.

        Events without a readable time are in every window, as are rows of a session without one and rows that name no
        session. Rows that name a missing session are in none.

        Raises:
            SourceError: the table or a required column is missing, or the database cannot read it.

        """
        found = self._scanned.get(table.name)
        if found is None or found[0] != window:
            rows = self._rows(table, self._select(table, window), window)
            found = (window, self.mapping.of(table.name).with_characters(rows, table))
            self._scanned[table.name] = found
        return found[1]

    def scan_parts(self, table: SourceTable, parts: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """Return the rows of a table, which is one part.

        Raises:
            SourceError: as `scan`.

        """
        del parts
        yield self.scan(table).with_columns(pl.lit(0, pl.UInt32).alias(PART))

    def inspect(self, table: SourceTable) -> TableSample:
        """Return where a table comes from, and its first `SAMPLE_ROWS` rows."""
        relation = self._required(table)
        rows = self._rows(table, f"{self._select(table, None)} LIMIT {SAMPLE_ROWS}", None)
        columns = {canonical: column.name for canonical, column in relation.columns.items()}
        # A table that was read whole needs no count.
        whole = rows.select(pl.len()).collect().item() < SAMPLE_ROWS
        return TableSample(relation.origin, columns, rows, None if whole else self._size(table, relation))

    def lookalikes(self, table: SourceTable) -> Sequence[str]:  # noqa: ARG002 - see below
        """Return nothing: a database's names are not guessed."""
        return []

    def require_unreplaced(self, table: SourceTable) -> None:  # noqa: B027 - no adapter has anything to do
        """Do nothing: a table is read by one query."""

    def remedy(self, missing: Sequence[str]) -> str:
        """Name the tables to add or to map."""
        names = " and ".join(missing)
        return f"Create {names} as tables or views, or say in GHOST_SOURCE_MAPPING where they come from"

    @abstractmethod
    def close(self) -> None:
        """Close the connection; frames that were scanned stay readable."""

    @abstractmethod
    def _find(self, table: str, name: Sequence[str]) -> tuple[str, str] | None:
        """Return the origin and the SQL name of a table or view, given the parts of its name; None if it is missing."""

    @abstractmethod
    def _query(self, text: str) -> str:
        """Return a mapped query with the parameters of its window."""

    @abstractmethod
    def _types(self, table: str, sql: str) -> Mapping[str, str]:
        """Return the columns of `FROM sql`, each with its type."""

    @abstractmethod
    def _value(self, column: SourceColumn, own: OwnColumn) -> str:
        """Return the expression that reads a column."""

    @abstractmethod
    def _placed(self, own: OwnColumn) -> str:
        """Return the condition that a column's time is in the window, or is not a readable time."""

    @abstractmethod
    def _rows(self, table: SourceTable, select: str, window: Window | None) -> pl.LazyFrame:
        """Return the rows of a statement; `window` fills its parameters."""

    @abstractmethod
    def _content_hash(self, table: SourceTable, select: str) -> str:
        """Return a text that differs if the rows of a statement without a window differ."""

    @abstractmethod
    def _size(self, table: SourceTable, relation: Relation) -> str:
        """Return the number of rows, as text."""

    def _quoted(self, name: str) -> str:
        """Return a name as an identifier of a statement."""
        return sql_identifier(name)

    def _key(self, name: str) -> str:
        """Return the form in which names of columns are compared: some databases ignore their case."""
        return name

    def _relation(self, name: str) -> Relation | None:
        if name not in self._relations:
            self._relations[name] = self._resolved(name)
        return self._relations[name]

    def _required(self, table: SourceTable) -> Relation:
        relation = self._relation(table.name)
        if relation is None:
            raise SourceError(f"{self.name}: table {table.name} is missing. {self.remedy([table.name])}")
        require_columns(f"{self.name}, {relation.origin}", table, self._offered(relation))
        return relation

    def _resolved(self, name: str) -> Relation | None:
        mapped = self.mapping.of(name)
        if mapped.query is not None:
            query = mapped.query.strip().rstrip(";")
            # The line break ends a comment on the query's last line.
            origin, sql = f"query of {self.mapping.path}", f"({self._query(query)}\n)"
        else:
            found = self._find(name, self._parts(name, mapped.table) if mapped.table else [name])
            if found is None and name in self.mapping.tables:
                raise SourceError(
                    f"{self.mapping.place(name, 'table')}: {self.name} has no table or view {mapped.table or name}. "
                    f"Correct the mapping, or create it",
                )
            if found is None:
                return None
            origin, sql = found
        types = self._types(name, sql)
        return Relation(origin, sql, self._columns(name, types), tuple(types))

    def _parts(self, table: str, name: str) -> list[str]:
        if not _NAME.fullmatch(name):
            raise SourceError(
                f"{self.mapping.place(table, 'table')}: {name} is not a valid name. Write name or schema.name, and a "
                f"part that holds a dot in double quotes",
            )
        parts = re.findall(_PART, name)
        return [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]

    def _columns(self, table: str, types: Mapping[str, str]) -> dict[str, OwnColumn]:
        mapped = self.mapping.of(table).columns
        there = {self._key(name): name for name in types}
        for canonical, own in mapped.items():
            if self._key(own) not in there:
                raise SourceError(
                    f"{self.mapping.place(table, f'columns.{canonical}')}: the table has no column {own} (it has "
                    f"{', '.join(sorted(types)) or 'none'}). Correct the mapping",
                )
        wanted = {one.name: self._key(mapped.get(one.name, one.name)) for one in SOURCE_TABLES[table].columns}
        return {
            name: OwnColumn(there[key], types[there[key]], self._quoted(there[key]))
            for name, key in wanted.items()
            if key in there
        }

    def _offered(self, relation: Relation) -> list[str]:
        """Return canonical columns and the database's other ones, for a message about missing columns."""
        used = {column.name for column in relation.columns.values()}
        return [*relation.columns, *(name for name in relation.own if name not in used)]

    def _select(self, table: SourceTable, window: Window | None) -> str:
        relation = self._required(table)
        values = ", ".join(
            f"{self._value(column, relation.columns[column.name])} AS {self._quoted(column.name)}"
            for column in table.columns
            if column.name in relation.columns
        )
        select = f"SELECT {values} FROM {relation.sql} AS source"  # noqa: S608 - names are quoted
        if window is None:
            return select
        if table.time:
            return f"{select} WHERE {self._placed(relation.columns[table.time])}"
        return self._of_sessions(select, relation) if table.of_session else select

    def _of_sessions(self, select: str, relation: Relation) -> str:
        """Return a query for rows of sessions in the window and, apart, so that each part uses its index, the others.

        Rows of a missing session cannot be found without reading the whole table.
        """
        sessions = self._required(SOURCE_PRACTICE_SESSIONS)
        own, key, start = relation.columns["session_id"], sessions.columns["session_id"], sessions.columns["start_time"]
        of_row, of_session = (
            one.sql if own.type == key.type else f"CAST({one.sql} AS {self.text_type})" for one in (own, key)
        )
        placed = f"SELECT {of_session} FROM {sessions.sql} AS session WHERE {self._placed(start)}"  # noqa: S608 - quoted
        return f"{select} WHERE {of_row} IN ({placed}) UNION ALL {select} WHERE {own.sql} IS NULL"
