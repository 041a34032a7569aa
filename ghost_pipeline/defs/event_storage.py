"""Dagster's records of events: SQLite files kept open while a command runs, and partitions reported and forgotten.

Dagster opens and closes a file for every event; each time it compiles its statements again, and each close writes
SQLite's log into the file and waits for the disk. A backfill of two days spent 40 % of its time so. The files stay as
they are: only how often they are opened, and how many events a transaction stores, differs.

Dagster has no way to take back the materialization of a partition that is no longer there, nor to report many at once.

Beside `launcher` this is the only module with private imports of Dagster; a test notices a change upstream.
"""

import logging
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from itertools import groupby

import dagster as dg
from dagster._core.events import ASSET_EVENTS, DagsterEvent, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from sqlalchemy import Connection, Engine, RowMapping, Table, create_engine, event, func, insert, select

MOST_OPEN = 4
"""Files that are open at a time: the index and those of the newest runs."""
SECONDS_UNTIL_LOCKED = 60
BATCH = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's variable: how many events of the partitions of a run it hands to `store_event_batch` at a time."""
STORED_TOGETHER = 500
"""A run of 24 hours has some 650 of them, and as many evaluations of checks again."""
FORGOTTEN_TOGETHER = 500
"""SQLite takes at most 32,766 values in a statement."""


@contextmanager
def open_event_files(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the files of run events open inside the block; does nothing if the records are in another database."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    files, size = _OpenFiles(storage), os.environ.get(BATCH)
    storage._connect = files.connect  # type: ignore[method-assign]  # noqa: SLF001
    storage.store_event = files.store  # type: ignore[method-assign]
    storage.store_event_batch = files.store_together  # type: ignore[method-assign]
    storage.has_table = files.has_table  # type: ignore[method-assign]
    os.environ.setdefault(BATCH, str(STORED_TOGETHER))
    try:
        yield
    finally:
        if size is None:
            del os.environ[BATCH]
        try:
            files.store_evaluations()
        finally:
            del storage._connect, storage.store_event, storage.store_event_batch, storage.has_table  # noqa: SLF001
            files.close()


def report_materializations(
    instance: dg.DagsterInstance, materializations: Sequence[dg.AssetMaterialization], now: datetime
) -> None:
    """Store materializations that no run has made, many in a transaction if the files are open."""
    entries = [
        dg.EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            user_message="",
            level=logging.INFO,
            run_id=RUNLESS_RUN_ID,
            timestamp=now.timestamp(),
            job_name=RUNLESS_JOB_NAME,
            dagster_event=DagsterEvent(
                event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                event_specific_data=StepMaterializationData(one),
                job_name=RUNLESS_JOB_NAME,
            ),
        )
        for one in materializations
    ]
    for begin in range(0, len(entries), STORED_TOGETHER):
        instance.event_log_storage.store_event_batch(entries[begin : begin + STORED_TOGETHER])


def delete_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete runs with their events, results of checks and output.

    What they materialized last of a partition stays materialized, and the newest result of each check stays.
    """
    for run_id in run_ids:
        _delete_run(instance, run_id)
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        # Dagster leaves them: 30 in every hour, half a gigabyte in a year. No index begins with the run, so of many
        # runs together.
        results = AssetCheckExecutionsTable.c
        newest = select(func.max(results.id)).group_by(results.asset_key, results.check_name)
        with storage.index_transaction() as connection:
            connection.execute(
                AssetCheckExecutionsTable.delete().where(results.run_id.in_(run_ids) & results.id.not_in(newest))
            )


def _delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    storage = instance.event_log_storage
    kept: list[tuple[Table, Sequence[RowMapping]]] = []
    if isinstance(storage, SqlEventLogStorage):
        events, tags = SqlEventLogStorageTable.c, AssetEventTagsTable.c
        is_materialization = events.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value
        with storage.index_connection() as connection:
            of_run = is_materialization & (events.run_id == run_id)
            assets = select(events.asset_key).where(of_run)
            newest = select(func.max(events.id)).where(is_materialization & events.asset_key.in_(assets))
            newest = newest.group_by(events.asset_key, events.partition)
            stay = select(events.id).where(of_run & events.id.in_(newest))
            for table, condition in ((SqlEventLogStorageTable, events.id), (AssetEventTagsTable, tags.event_id)):
                rows = connection.execute(select(table).where(condition.in_(stay))).mappings().all()
                kept.append((table, rows))
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)
    for table, rows in kept:
        if rows and isinstance(storage, SqlEventLogStorage):
            with storage.index_transaction() as connection:
                connection.execute(insert(table), [{**row} for row in rows])


def forget_partitions(instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Sequence[str]) -> None:
    """Remove what Dagster knows across runs of partitions that are gone; the events of the runs themselves stay."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    for begin in range(0, len(partitions), FORGOTTEN_TOGETHER):
        some = partitions[begin : begin + FORGOTTEN_TOGETHER]
        of_partitions = (events.asset_key == asset.to_string()) & events.partition.in_(some)
        ids = select(events.id).where(of_partitions).scalar_subquery()
        with storage.index_transaction() as connection:
            connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(ids)))
            connection.execute(SqlEventLogStorageTable.delete().where(of_partitions))
            connection.execute(
                AssetCheckExecutionsTable.delete().where(
                    (checks.asset_key == asset.to_string()) & checks.partition.in_(some)
                )
            )
    # What was summed up of partitions is summed up again at the next look.
    storage.wipe_asset_cached_status(asset)


class _OpenFiles:
    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._storage = storage
        self._store_event, self._has_table = storage.store_event, storage.has_table
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._evaluations: list[dg.EventLogEntry] = []
        """Of checks, and not stored yet: of one run, and no event of it came after them."""

    @contextmanager
    def connect(self, shard: str) -> Iterator[Connection]:
        """Open a transaction on the file of a run, or on the index; who reads sees all evaluations."""
        self.store_evaluations()
        with self._storage._db_lock, self._transaction(shard) as connection:  # noqa: SLF001
            yield connection

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has a table; Dagster asks for each evaluation of a check, and opens the file."""
        if table_name not in self._tables and self._has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store(self, event: dg.EventLogEntry) -> None:
        """Store an event; an evaluation of a check together with those that follow it."""
        if not event.is_dagster_event or event.dagster_event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._store_event(event)
            return
        if self._evaluations and self._evaluations[0].run_id != event.run_id:
            self.store_evaluations()
        self._evaluations.append(event)
        if len(self._evaluations) == STORED_TOGETHER:
            self.store_evaluations()

    def store_evaluations(self) -> None:
        """Do what `SqliteEventLogStorage.store_event` does for evaluations, in one transaction of each file."""
        events, self._evaluations = self._evaluations, []
        if not events:
            return
        storage = self._storage
        with (
            storage._db_lock,  # noqa: SLF001
            self._transaction(events[0].run_id) as of_run,
            self._transaction(INDEX_SHARD_NAME) as index,
        ):
            storage.index_connection = lambda: nullcontext(index)  # type: ignore[method-assign]
            try:
                for event in events:
                    insert = storage.prepare_insert_event(event)
                    of_run.execute(insert)
                    (number,) = index.execute(insert.returning(SqlEventLogStorageTable.c.id)).one()
                    storage.store_asset_check_event(event, number)
            finally:
                del storage.index_connection

    def store_together(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one run; those of assets that follow one another in one transaction of each file."""
        self.store_evaluations()
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
