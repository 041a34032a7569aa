"""Read one publication, and tell whether a newer one has replaced it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Self

import duckdb
import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.published import TABLE_INFO
from ghost_pipeline.errors import LakeError, PublishError
from ghost_pipeline.lake.concurrent_replace import require_unreplaced, retry_on_replace
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import connect
from ghost_pipeline.publish.database_file import (
    REPAIR,
    FoundDatabase,
    PublishedFile,
    UnusableError,
    publication_of,
)
from ghost_pipeline.publish.history import find_files_beside
from ghost_pipeline.publish.publication_record import PublicationName
from ghost_pipeline.sql_quoting import sql_literal

BATCH_ROWS = 100_000
MEMORY_LIMIT = "128MB"
"""For the pages of the file that a reader keeps in memory; DuckDB alone would take 80 % of the machine."""
THREADS = 2
"""Each takes memory of its own, and many queries run at once."""


class PublishedDatabase:
    """The published tables of one publication.

    What is open is a copy that no client changes, so all answers belong together, and go on if it is removed. Once
    `is_current` is false, ask for the `successor`. Safe to use from threads.
    """

    def __init__(
        self,
        file: PublishedFile,
        found: FoundDatabase,
        connection: duckdb.DuckDBPyConnection,
        name: PublicationName | None,
    ) -> None:
        """Take the connection that `open` has made."""
        self.location, self.name = file.location, name
        """Where it is published, and which publication it is; None if an earlier release wrote it."""
        self._file, self._found, self._connection = file, found, connection
        self._damaged: dict[str, str] = {}

    @classmethod
    def open(cls, location: Location) -> Self:
        """Open the newest publication, without waiting for other clients of the file or blocking anyone.

        Raises:
            NothingPublishedError: nothing has been published.
            PublishError: the file cannot be read, and there is no copy of it.

        """
        file = PublishedFile(location)
        try:
            return retry_on_replace(lambda: cls._open(file, file.required()))
        except LakeError as error:
            raise PublishError(str(error)) from error

    @classmethod
    def _open(cls, file: PublishedFile, found: FoundDatabase) -> Self:
        # Attached to a new in-memory database: a second connection to the same path would get the old file.
        connection = connect(file.folder)
        try:
            connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
            connection.execute(f"SET threads = {THREADS}")
            name = publication_of(found.path)
            connection.execute(f"ATTACH {sql_literal(str(found.path))} AS published (READ_ONLY)")
            require_unreplaced([found.path], [found.version], str(file.location))
        except (duckdb.Error, UnusableError) as error:
            connection.close()
            # A publication that ended meanwhile has removed the copy.
            require_unreplaced([found.path], [found.version], str(file.location))
            reason = str(error).splitlines()[0]
            raise PublishError(f"{file.location}: its copy {found.path} cannot be read ({reason}). {REPAIR}") from error
        except BaseException:
            connection.close()
            raise
        return cls(file, found, connection, name)

    @property
    def is_current(self) -> bool:
        """Whether the published file, and the copy that is open, are still what they were when they were looked at."""
        self._file.start_refresh()
        return self._file.is_as_found(self._found)

    @property
    def fault(self) -> str:
        """What is wrong with the published file, in one line; empty if this is what it holds."""
        return self._found.fault

    def successor(self) -> Self:
        """The newest publication: this one if there is no newer, although its file may be gone or damaged.

        Raises:
            NothingPublishedError: the file and its copies are gone.
            PublishError: there is another file, which cannot be read, and no copy.

        """
        try:
            return retry_on_replace(self._looked_again)
        except LakeError as error:
            raise PublishError(str(error)) from error

    def _looked_again(self) -> Self:
        found = self._file.required()
        if (found.path, found.version) == (self._found.path, self._found.version):
            self._found = found
            return self
        return self._open(self._file, found)

    def rows(self, contract: Contract, **key: str | datetime | Sequence[str]) -> pl.DataFrame:
        """The rows of a published table, or those whose columns equal a given value or one of several.

        Raises:
            PublishError: another version of this project wrote the file; publish again.

        """
        condition = " AND ".join(f'"{name}" {_equals(value)}' for name, value in key.items()) or "true"
        names = self._columns(contract)
        statement = f"SELECT {names} FROM published.{contract.name} WHERE {condition}"  # noqa: S608 - our own names
        return self._answer(contract, statement, list(key.values())).cast(pl.Schema(contract.polars_schema))

    def instants(self, contract: Contract) -> list[datetime]:
        """Every as_of that a published table has rows of, in order.

        Raises:
            PublishError: another version of this project wrote the file; publish again.

        """
        statement = f"SELECT DISTINCT as_of FROM published.{contract.name} ORDER BY as_of"  # noqa: S608 - our own names
        return self._answer(contract, statement, []).to_series().to_list()

    def _answer(self, contract: Contract, statement: str, values: list[object]) -> pl.DataFrame:
        try:
            with self._cursor(contract) as cursor:
                frame: pl.DataFrame = cursor.sql(statement, params=values).pl()
        except duckdb.Error as error:
            raise self._unreadable(contract, error) from error
        return frame

    def batches(self, contract: Contract, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """All rows of a published table in their order, some at a time, so that memory does not grow with the table.

        Raises:
            PublishError: another version of this project wrote the file; publish again.

        """
        names = self._columns(contract)
        try:
            with self._cursor(contract) as cursor:
                reader = cursor.sql(f"SELECT {names} FROM published.{contract.name}").to_arrow_reader(rows)  # noqa: S608
                for batch in reader:
                    yield pl.DataFrame(batch).cast(pl.Schema(contract.polars_schema))
        except duckdb.Error as error:
            raise self._unreadable(contract, error) from error

    def _columns(self, contract: Contract) -> str:
        """The columns of a contract as a query names them; null where a publication of before lacks one."""
        found = self._published_columns.get(contract.name)
        lacking = contract.polars_schema.keys() - found if found else ()
        return ", ".join(f'NULL AS "{name}"' if name in lacking else f'"{name}"' for name in contract.polars_schema)

    @cached_property
    def _published_columns(self) -> dict[str, frozenset[str]]:
        """The columns of every published table; the file behind a reader never changes."""
        with self._connection.cursor() as cursor:
            found = cursor.execute(
                "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'published'"
            ).fetchall()
        columns: dict[str, set[str]] = {}
        for table, column in found:
            columns.setdefault(table, set()).add(column)
        return {table: frozenset(names) for table, names in columns.items()}

    def table_info(self) -> pl.DataFrame:
        """Freshness of each published table: the rows of `table_info`."""
        return self.rows(TABLE_INFO)

    def as_of(self, contract: Contract) -> datetime | None:
        """The as_of of a published table; None if the table is empty."""
        info = self.rows(TABLE_INFO, table=contract.name)
        return info["as_of"].item() if info.height else None

    @contextmanager
    def _cursor(self, contract: Contract) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor per query: a connection runs one query at a time."""
        with self._connection.cursor() as cursor:
            if contract.append_only:
                # A variable belongs to a cursor. The folder may be another than that of the publication: a copy.
                find_files_beside(cursor, self._file.folder)
            yield cursor

    def _unreadable(self, contract: Contract, error: duckdb.Error) -> PublishError:
        reason = str(error).splitlines()[0]
        if not self.is_current:
            # With the files of its histories, if an erasure has removed them.
            return PublishError(
                f"{self.location}, {contract.name}: cannot be read ({reason}). Ask again: a newer publication has "
                f"replaced it"
            )
        if told := self._damage(contract):
            return PublishError(told)
        return PublishError(
            f"{self.location}, {contract.name}: cannot be read ({reason}). Publish again with this version of "
            f"ghost-pipeline"
        )

    def _damage(self, contract: Contract) -> str | None:
        if contract.append_only and contract.name not in self._damaged:
            try:
                told = self._file.damage(contract.name, self._found.path)
            except LakeError as error:
                return str(error)
            if told is None:
                return None
            # Kept: a server may be asked often, and looking for it reads the whole history.
            self._damaged[contract.name] = told
        return self._damaged.get(contract.name)


def _equals(value: str | datetime | Sequence[str]) -> str:
    return "= ?" if isinstance(value, str | datetime) else "IN (SELECT unnest(?::VARCHAR[]))"
