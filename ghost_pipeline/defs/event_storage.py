"""Dagster's SQLite files of run events, kept open while a command runs.

Dagster opens and closes a file for every event; each time it compiles its statements again, and each close writes
SQLite's log into the file and waits for the disk. A backfill of two days spent 40 % of its time so. The files stay as
they are: only how often they are opened differs.

Beside `launcher` this is the only module with private imports of Dagster; a test notices a change upstream.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy import Connection, Engine, create_engine, event

MOST_OPEN = 4
"""Files that are open at a time: the index and those of the newest runs."""
SECONDS_UNTIL_LOCKED = 60


@contextmanager
def open_event_files(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the files of run events open inside the block; does nothing if the records are in another database."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    files = _OpenFiles(storage)
    storage._connect = files.connect  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        del storage._connect  # noqa: SLF001
        files.close()


class _OpenFiles:
    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._storage = storage
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """Open a transaction on the file of a run, or on the index."""
        with self._storage._db_lock:  # noqa: SLF001
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


def _without_waiting_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    """A power cut may lose the newest events; with SQLite's write-ahead log it never damages the file."""
    connection.execute("PRAGMA synchronous = NORMAL")
