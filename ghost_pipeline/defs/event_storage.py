"""Dagster's SQLite files of run events, kept open while a command runs.

Dagster opens and closes a file for every event; each time it compiles its statements again, and each close writes
SQLite's log into the file and waits for the disk. A backfill of two days spent 40 % of its time so. The files stay as
they are: only how often they are opened, and how many events a transaction stores, differs.

Beside `launcher` this is the only module with private imports of Dagster; a test notices a change upstream.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import dagster as dg
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from sqlalchemy import Connection, Engine, create_engine, event

MOST_OPEN = 4
"""Files that are open at a time: the index and those of the newest runs."""
SECONDS_UNTIL_LOCKED = 60
BATCH = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's variable: how many events of the partitions of a run it hands to `store_event_batch` at a time."""
STORED_TOGETHER = "500"
"""A run of 24 hours has some 650 of them."""


@contextmanager
def open_event_files(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the files of run events open inside the block; does nothing if the records are in another database."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    files, size = _OpenFiles(storage), os.environ.get(BATCH)
    storage._connect = files.connect  # type: ignore[method-assign]  # noqa: SLF001
    storage.store_event_batch = files.store_together  # type: ignore[method-assign]
    os.environ.setdefault(BATCH, STORED_TOGETHER)
    try:
        yield
    finally:
        if size is None:
            del os.environ[BATCH]
        del storage._connect, storage.store_event_batch  # noqa: SLF001
        files.close()


class _OpenFiles:
    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._storage = storage
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """Open a transaction on the file of a run, or on the index."""
        with self._storage._db_lock, self._transaction(shard) as connection:  # noqa: SLF001
            yield connection

    def store_together(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one run; those of assets that follow one another in one transaction of each file."""
        for of_assets, some in groupby(events, _is_of_asset):
            if of_assets:
                self._store_of_assets(list(some))
            else:
                for event in some:
                    self._storage.store_event(event)

    def _store_of_assets(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Do what `SqliteEventLogStorage.store_event` does, and update an asset's entry by its last event only."""
        storage = self._storage
        with (
            storage._db_lock,  # noqa: SLF001
            self._transaction(events[0].run_id) as of_run,
            self._transaction(INDEX_SHARD_NAME) as index,
        ):
            ids, last = [], {}
            for event in events:
                insert = storage.prepare_insert_event(event)
                of_run.execute(insert)
                (number,) = index.execute(insert.returning(SqlEventLogStorageTable.c.id)).one()
                ids.append(number)
                last[event.get_dagster_event().asset_key, event.dagster_event_type] = event, number
            storage._store_asset_event_tags(index, events, ids)  # noqa: SLF001
            for event, number in last.values():
                storage._store_asset_event(index, event, number)  # noqa: SLF001

    @contextmanager
    def _transaction(self, shard: str) -> Iterator[Connection]:
        engine = self._engine(shard)
        if shard not in self._storage._initialized_dbs:  # noqa: SLF001
            self._storage._initdb(engine)  # noqa: SLF001
            self._storage._initialized_dbs.add(shard)  # noqa: SLF001
        with engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].dispose()

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            while len(self._engines) >= MOST_OPEN:
                self._engines.popitem(last=False)[1].dispose()
            address = self._storage.conn_string_for_shard(shard)
            engine = create_engine(address, connect_args={"timeout": SECONDS_UNTIL_LOCKED})
            event.listen(engine, "connect", _without_waiting_for_the_disk)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        return self._engines[shard]


def _is_of_asset(event: dg.EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS


def _without_waiting_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    """A power cut may lose the newest events; with SQLite's write-ahead log it never damages the file."""
    connection.execute("PRAGMA synchronous = NORMAL")
