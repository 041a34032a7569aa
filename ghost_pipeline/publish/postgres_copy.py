"""The copy of the specification's tables in an application's PostgreSQL, replaced in one transaction.

Rows are sent by COPY into temporary tables, and only rows that differ are deleted, updated and inserted: readers keep
seeing the previous rows until the transaction commits, never wait, and keep a table's grants, views and triggers. An
advisory lock admits one publication at a time; each reads what it publishes after it has the lock, so that a later
publication is never an older one.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import polars as pl

from ghost_pipeline.contracts.specified import (
    GHOST_PUBLICATION,
    GHOST_TABLE_INFO,
    OWN_TABLES,
    SPECIFIED_TABLES,
    SpecifiedTable,
)
from ghost_pipeline.errors import PublishError
from ghost_pipeline.postgres import LOST, SESSION, PostgresAddress
from ghost_pipeline.publish.database_builder import PublishedTable
from ghost_pipeline.publish.postgres_merge import STAGING, SentRows, merge_statements, staged, staging_ddl
from ghost_pipeline.publish.publication_record import PublicationName

LOCK_SECONDS = 600
"""How long a publication waits for another one, or for a locked row."""

_BEGIN: Final = (
    # Each statement sees the commits of others; a stricter default of the user would end in retries.
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    *SESSION,
    f"SET LOCAL lock_timeout TO '{LOCK_SECONDS}s'",
    # Limits meant for the application's own statements; transaction_timeout exists from PostgreSQL 17 on.
    """SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'transaction_timeout')""",
)
_SCHEMA = "SELECT quote_ident(current_schema())"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('ghost_pipeline.' || current_schema(), 0))::text"
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '', c.relkind IN ('r', 'p')
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.oid = to_regclass($1)
"""
_READ_ONLY = "SELECT current_setting('transaction_read_only')"
_ENCODING = "SELECT current_setting('server_encoding')"
_MAY_CREATE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
_MAY_STAGE = "SELECT has_database_privilege(current_database(), 'TEMP')"
_MAY_WRITE = """
    SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE NOT has_table_privilege(to_regclass($1), privilege)
"""
_REMEDIES = {
    "08": "Run again when the server answers",
    "57": "Run again when the server answers",
    "42": "Correct that, or grant what docs/postgres_tables.md lists, and run again",
    "53": "Make room on the server and run again",
    "55": f"Another session has held the lock for {LOCK_SECONDS} s: wait for it or end it, then run again",
    "22": "A column is narrower than docs/postgres_tables.md lists: widen it and run again",
}
_OTHER_REMEDY = "Correct that and run again"


@dataclass(frozen=True)
class ReplacedTable:
    """Counts of what a publication changed in a table."""

    table: str
    as_of: datetime | None
    rows: int
    inserted: int
    updated: int
    deleted: int
    not_storable: int
    """Rows left out because PostgreSQL cannot store them."""


@dataclass(frozen=True)
class PublishedState:
    """The tables published in the database, and whether it can be published to now."""

    name: str
    """The address, without the password, and the schema."""
    as_of: dict[str, datetime | None]
    """The as_of of every table that has been published there."""
    publication: PublicationName | None
    """The publication that they hold; None if nothing has been published there, or by an earlier release."""
    faults: tuple[str, ...]
    """The reasons why publishing would fail now."""

    def difference_from(self, publication: PublicationName | None) -> str | None:
        """What to do if the tables hold another publication; None if they hold this one, or nothing yet."""
        if not self.as_of or self.publication == publication:
            return None
        holds = f"publication {self.publication}" if self.publication else "a publication of an earlier release"
        return f"{self.name}: holds {holds}, not {publication}. Run `ghost-pipeline publish`: it updates the tables"


class PostgresTables:
    """The tables within a transaction, which `replacing_tables` begins and ends."""

    def __init__(self, connection: driver.Connection, address: PostgresAddress) -> None:
        """Begin the transaction and find the schema."""
        self._connection, self._address = connection, address
        self._replaced: dict[str, PublishedTable] = {}
        self._publication: PublicationName | None = None
        with self._executing("looking for the schema"):
            for statement in _BEGIN:
                self._execute(statement)
            ((schema,),) = self._execute(_SCHEMA)
        if schema is None:
            raise PublishError(
                f"{address.name}: the search_path names no existing schema. Create it, or name another one in "
                f"GHOST_PUBLISH_POSTGRES: ?options=-csearch_path%3Dschema",
            )
        self.schema = str(schema)

    @property
    def name(self) -> str:
        """The address and schema, for messages."""
        return f"{self._address.name}, schema {self.schema}"

    def lock(self) -> None:
        """Wait until no other publication is running there.

        Raises:
            PublishError: the wait takes too long.

        """
        with self._executing("waiting for another publication"):
            self._execute(_LOCK)

    def recorded(self) -> dict[str, PublishedTable]:
        """The records of every table that has been published there, by table name.

        Raises:
            PublishError: `ghost_table_info` is not ours, or cannot be read.

        """
        return {row[0]: PublishedTable(*row) for row in self._rows(GHOST_TABLE_INFO)}

    def publication(self) -> PublicationName | None:
        """The publication that the tables hold; None if none is named there.

        Raises:
            PublishError: `ghost_publication` is not ours, or cannot be read.

        """
        rows = self._rows(GHOST_PUBLICATION)
        return PublicationName(*rows[0]) if rows else None

    def replace(
        self, table: SpecifiedTable, rows: Iterable[pl.DataFrame], as_of: datetime | None, inputs_hash: str
    ) -> ReplacedTable:
        """Replace the rows of a table with these; a missing table is created.

        Args:
            table: the table to replace.
            rows: frames with its columns, one after the other, so that memory does not grow with the table.
            as_of: the as_of of its figures.
            inputs_hash: the hash of the inputs that they are computed from.

        Raises:
            PublishError: the table is not ours, holds a newer state, or cannot be written; the transaction is
                over, and the previous rows stay.

        """
        recorded = self.recorded()
        self._require_not_newer(table, recorded, as_of)
        with self._executing(f"replacing {table.name}"):
            types = self._types(table, ours=table.name in recorded)
            sent = self._send(table, rows)
            done = self._write(table, types)
        self._replaced[table.name] = PublishedTable(table.name, as_of, sent.rows, inputs_hash)
        return ReplacedTable(table.name, as_of, sent.rows, *done, sent.not_storable)

    def belong_to(self, publication: PublicationName | None) -> None:
        """Name the publication that the tables hold from now on; None if an earlier release wrote it."""
        self._publication = publication

    def record(self) -> None:
        """Record the replaced tables and their publication in our own tables, in the same transaction.

        Raises:
            PublishError: see `replace`.

        """
        known = {**self.recorded(), **self._replaced}
        self._replace_own(GHOST_TABLE_INFO, list(known.values()))
        self._replace_own(GHOST_PUBLICATION, [self._publication] if self._publication else [])
        with self._executing("committing"):
            self._connection.commit()

    def faults(self) -> Iterator[str]:
        """Reasons why a publication would fail, as far as they show without writing.

        Raises:
            PublishError: the server reports an error.

        """
        recorded = self.recorded()
        with self._executing("checking the rights"):
            if self._execute(_READ_ONLY) != [("off",)]:
                yield f"{self.name}: the server or a user setting allows only reading. Name the primary server"
            ((encoding,),) = self._execute(_ENCODING)
            if encoding != "UTF8":
                yield f"{self.name}: the database's encoding is {encoding}, which cannot store every text. Use UTF8"
            if self._execute(_MAY_STAGE) != [(True,)]:
                yield f"{self.name}: no right to create temporary tables. GRANT TEMPORARY ON DATABASE"
            for table in (*SPECIFIED_TABLES.values(), *OWN_TABLES):
                relation, columns = self._relation(table), self._columns(table)
                if columns is None:
                    if self._execute(_MAY_CREATE) != [(True,)]:
                        yield f"{self.name}: no right to create {table.name}. GRANT CREATE ON SCHEMA, or create it"
                    continue
                lacking = [name for (name,) in self._execute(_MAY_WRITE, relation)]
                if lacking:
                    yield f"{self.name}: no right to {', '.join(lacking)} on {table.name}. Grant it"
                    continue
                try:
                    is_ours = table in OWN_TABLES or table.name in recorded
                    self._require(table, columns, may_gain=is_ours)
                    if not is_ours:
                        self._require_empty(table)
                except PublishError as error:
                    yield str(error)

    def _require_not_newer(
        self, table: SpecifiedTable, recorded: Mapping[str, PublishedTable], as_of: datetime | None
    ) -> None:
        there = recorded[table.name].as_of if table.name in recorded else None
        # The benchmarks' month may go back: the newer month may have expired or been removed.
        if table.hourly and there is not None and (as_of is None or as_of < there):
            ours = (
                f"newer than this data folder's {as_of:%Y-%m-%dT%H:%MZ}" if as_of else "and this data folder has none"
            )
            going_back = f"UPDATE {self._relation(GHOST_TABLE_INFO)} SET as_of = NULL"  # noqa: S608 - a person's to run
            raise PublishError(
                f"{self.name}: {table.name} already holds data as of {there:%Y-%m-%dT%H:%MZ}, {ours}. "
                f"If another data folder publishes there, give each its own schema. To go back on purpose, run "
                f"{going_back}",
            )

    def _types(self, table: SpecifiedTable, *, ours: bool) -> dict[str, str]:
        """The types of the table's columns on the server; a missing table is created first."""
        columns = self._columns(table)
        if columns is None:
            for statement in table.ddl(f"{self.schema}."):
                self._execute(statement)
            columns = self._columns(table) or []
        self._require(table, columns, may_gain=ours)
        if not ours:
            self._require_empty(table)
        for statement in table.additions(f"{self.schema}.", {name for name, *_ in columns}):
            self._execute(statement)
        return {name: dtype for name, dtype, _, _ in self._columns(table) or []}

    def _require(
        self, table: SpecifiedTable, columns: list[tuple[str, str, bool, bool]], *, may_gain: bool = False
    ) -> None:
        """Reject a relation that cannot be our table; with `may_gain`, it may lack columns that can be added."""
        present = {column[0] for column in columns}
        missing = [one.name for one in table.columns if one.name not in present and not (may_gain and one.may_be_added)]
        needed = [name for name, _, must, _ in columns if must and name not in table.names]
        faults = [
            *([] if all(column[3] for column in columns) else ["it is not a table"]),
            *([f"it lacks {', '.join(missing)}"] if missing else []),
            *([f"it needs values for {', '.join(needed)}"] if needed else []),
        ]
        if faults:
            raise PublishError(
                f"{self.name}: {table.name} does not match docs/postgres_tables.md ({'; '.join(faults)}); "
                f"nothing was changed. Rename it, or name another schema in GHOST_PUBLISH_POSTGRES: "
                f"?options=-csearch_path%3Dschema",
            )

    def _require_empty(self, table: SpecifiedTable) -> None:
        """Reject rows that no publication has written: they would be deleted."""
        relation = self._relation(table)
        if self._execute(f"SELECT EXISTS (SELECT FROM {relation})") == [(True,)]:  # noqa: S608 - quoted, and our own names
            raise PublishError(
                f"{self.name}: {table.name} contains rows that ghost-pipeline did not write; nothing was changed. If "
                f"they can be deleted, run TRUNCATE {relation}; otherwise name another schema in "
                f"GHOST_PUBLISH_POSTGRES: ?options=-csearch_path%3Dschema",
            )

    def _columns(self, table: SpecifiedTable) -> list[tuple[str, str, bool, bool]] | None:
        """Each column's name, type, whether it needs a value, and whether its relation is a table."""
        return self._execute(_COLUMNS, self._relation(table)) or None

    def _rows(self, table: SpecifiedTable) -> list[tuple[Any, ...]]:
        """All rows of a table of ours; none if there is no such table."""
        with self._executing(f"reading {table.name}"):
            columns = self._columns(table)
            if columns is None:
                return []
            self._require(table, columns)
            return self._execute(f"SELECT {', '.join(table.names)} FROM {self._relation(table)}")  # noqa: S608 - our own names

    def _replace_own(self, table: SpecifiedTable, rows: list[PublishedTable] | list[PublicationName]) -> None:
        frame = pl.DataFrame(rows, schema=table.polars_schema, orient="row")
        with self._executing(f"replacing {table.name}"):
            types = self._types(table, ours=True)
            self._send(table, [frame])
            self._write(table, types)

    def _relation(self, table: SpecifiedTable) -> str:
        return f"{self.schema}.{table.name}"

    def _send(self, table: SpecifiedTable, rows: Iterable[pl.DataFrame]) -> SentRows:
        sent = SentRows(table, rows)
        self._execute(staging_ddl(table))
        with self._connection.cursor() as cursor:
            try:
                cursor.adbc_ingest(staged(table), sent.reader(), mode="append", temporary=True)
            except Exception:
                # The driver would report an error of ours as one of the server.
                if sent.failed:
                    raise sent.failed from None
                raise
        # Without statistics the planner joins a million rows one by one.
        self._execute(f"ANALYZE {STAGING}.{staged(table)}")
        return sent

    def _write(self, table: SpecifiedTable, types: Mapping[str, str]) -> tuple[int, int, int]:
        """Write the rows that differ from the sent ones; returns the numbers inserted, updated and deleted."""
        statements = merge_statements(table, self._relation(table), types)
        deleted, updated, inserted = (int(self._execute(statement)[0][0]) for statement in statements)
        return inserted, updated, deleted

    def _execute(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _executing(self, doing: str) -> Iterator[None]:
        """Turn a server error into one line without passwords or values of rows."""
        try:
            yield
        except adbc.Error as error:
            says = self._address.fault(error)
            remedy = _REMEDIES["08"] if says == LOST else _REMEDIES.get((error.sqlstate or "")[:2], _OTHER_REMEDY)
            raise PublishError(
                f"{self._address.name}: {doing} failed ({says}); the previous rows stay. {remedy}",
            ) from None


@contextmanager
def replacing_tables(location: str) -> Iterator[PostgresTables]:
    """A transaction without other publications beside it; its replaced tables become visible all at once.

    Raises:
        PublishError: the server cannot be reached or refuses, or the block raises; the previous rows stay.

    """
    with _opened(location) as tables:
        tables.lock()
        yield tables
        tables.record()


def published_state(location: str) -> PublishedState:
    """The tables published in a database, and whether it can be published to; changes nothing.

    Raises:
        PublishError: the server cannot be reached or refuses.

    """
    with _opened(location) as tables:
        as_of = {name: one.as_of for name, one in tables.recorded().items()}
        return PublishedState(tables.name, as_of, tables.publication(), tuple(tables.faults()))


@contextmanager
def _opened(location: str) -> Iterator[PostgresTables]:
    address = PostgresAddress(location)
    try:
        connection = driver.connect(address.for_libpq)
    except adbc.Error as error:
        raise PublishError(
            f"{address.name}: cannot connect ({address.connection_fault(error)}); the previous rows stay. Check "
            f"address, user and password in GHOST_PUBLISH_POSTGRES, and that the server runs",
        ) from None
    with closing(connection):
        try:
            yield PostgresTables(connection, address)
        finally:
            # No effect after a commit; if the connection is lost, the server rolls back.
            with suppress(adbc.Error):
                connection.rollback()
