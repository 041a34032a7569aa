"""Build a publication from temporary files, then swap its parts in by renames.

While one process writes a DuckDB file, no other process can read it. So the pipeline never writes to the published
file: it builds a new one from the lake and replaces the old one. Readers that have the old file open keep reading it.
Its parts are in place in this order: new files of histories, the copy for this project's readers, the JSON files, the
database, and `publication.json`, which names them.

Snapshots and months are tables of the file. Histories are views over Parquet files beside it, of which a publication
writes those that hold something new; see `history`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract, Partitioning, duckdb_ddl, duckdb_indexes, duckdb_view
from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.published import HISTORY_FILES, PUBLICATION, TABLE_INFO
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import RECORDED_DICTIONARY
from ghost_pipeline.errors import LakeError, PublishError, without_values
from ghost_pipeline.lake.atomic import clear_leftovers, remove_file, remove_folder, replacing
from ghost_pipeline.lake.concurrent_replace import require_unreplaced, retry_on_replace
from ghost_pipeline.lake.file_versions import file_versions
from ghost_pipeline.lake.gaps import require_gapless
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.local_files import Files, Staging
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import connect
from ghost_pipeline.publish.database_file import published_copy
from ghost_pipeline.publish.history import History, find_files_in, rows_of, view_of
from ghost_pipeline.publish.history_damage import damage
from ghost_pipeline.publish.history_files import HistoryFile, history_files
from ghost_pipeline.publish.json_files import (
    DICTIONARY_FILES,
    FILES_BESIDE,
    STATEMENT_FILE,
    dictionary_texts,
    statement_texts,
)
from ghost_pipeline.publish.partition_contents import PartitionContents
from ghost_pipeline.publish.private_copies import (
    PRIVATE,
    copy_as_it_is,
    keep_in_step,
    private_name,
    remove_private_copies,
)
from ghost_pipeline.publish.publication_record import PUBLICATION_FILE, PartFile, PublicationName, record_text
from ghost_pipeline.publish.shown_ranks import rank_files, users_with_shown_ranks
from ghost_pipeline.sql_quoting import sql_identifier, sql_literal
from ghost_pipeline.windows import HOUR, Month

STORAGE_VERSION = "v1.4.0"
"""Oldest DuckDB version that can open the file: clients upgrade later than pipelines."""

MEMORY_LIMIT = "1GB"
_LACKING = re.compile(r"NOT NULL constraint failed: \w+\.(\w+)$")
"""DuckDB's words for a null in a column that may have none."""


class PublishedTable(NamedTuple):
    """A row of `table_info`, or of PostgreSQL's `ghost_table_info`: a table's freshness and inputs."""

    table: str
    as_of: datetime | None
    rows: int
    inputs_hash: str


def publication_lock(database: Location) -> AbstractContextManager[None]:
    """The lock held while publishing, and while removing partitions that a publication reads."""
    return table_lock(open_files(database.parent).folder, database.name)


def with_gaps(lake: Lake) -> list[str]:
    """Names of the published event tables with missing hours, which `publish` refuses unless it allows gaps."""
    tables = (one for one in CONTRACTS.values() if one.published and one.partitioning is Partitioning.EVENT_HOUR)
    newest = ((one, lake.newest_hour(one)) for one in tables)
    return [one.name for one, hour in newest if hour and lake.complete_until(one) != hour.as_of]


Statement = Callable[[], Mapping[str, object]]
"""Says what protects people, once the tables have been read."""


def publish(
    lake: Lake, database: Location, *, allow_gaps: bool = False, statement: Statement | None = None
) -> list[PublishedTable]:
    """Build the published database from the lake and replace the previous one.

    Snapshot tables contain their newest hour, monthly and event tables all their partitions.

    Args:
        lake: the lake to publish.
        database: the file to replace.
        allow_gaps: publish event tables even if hours are missing: an erasure cannot wait for a run to fill them.
        statement: what `privacy.json` says; without one there is no such file.

    Raises:
        PublishError: the database cannot be built; the previous one stays.
        LakeError: it cannot be written, another run publishes for too long, or other runs replace a table's files
            faster than they are read; the one before stays.

    """
    files = open_files(database.parent)
    with publication_lock(database):
        clear_leftovers(files.folder)
        try:
            with connect(files.folder) as connection:
                connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
                publication = _Publication(lake, database, files, connection, allow_gaps=allow_gaps)
                publication.statement = statement
                parts = [*FILES_BESIDE, database.name, PUBLICATION_FILE]
                with files.replacing(parts) as staging:
                    built = staging.add(database.name)
                    info = publication.build(built)
                    private = publication.stage_others(staging, built)
                    _make_room(files.folder / database.name)
                # Only now: until the swap, readers were given files of the publication before.
                keep_in_step(private, files.folder / database.name)
                remove_private_copies(files.folder, [private])
                if not publication.has_months:
                    # The last month has expired, or was removed.
                    for name in DICTIONARY_FILES:
                        files.remove(name)
                if statement is None:
                    files.remove(STATEMENT_FILE)
                publication.history.remove_others(publication.files)
                return info
        except duckdb.Error as error:
            # Safe to cite in full: an IO error names files, and the reason comes after the name.
            why = str(error).splitlines()[0] if isinstance(error, duckdb.IOException) else without_values(error)
            # Without its cause: DuckDB cites the duplicate key, and Dagster stores causes, too.
            raise PublishError(
                f"{database}: cannot be built ({why}); the previous published database stays. "
                f"Free some space if the disk is full, and run again; if it fails again, run `ghost-pipeline doctor`",
            ) from None


def _make_room(database: Path) -> None:
    """Remove what a client that wrote to the published file and was killed left beside it.

    DuckDB would apply the log to the next file of that name, and its clients would fail. Before the swap, so that no
    client meets the new file with the old log.

    Raises:
        LakeError: it cannot be removed, or a folder is in the place of the file.

    """
    remove_file(database.parent, database.with_name(f"{database.name}.wal"))
    if (spilled := database.with_name(f"{database.name}.tmp")).is_dir():
        remove_folder(database.parent, spilled)
    if database.is_dir():
        raise LakeError(f"{database}: cannot be written (it is a folder). Move it away, then run again")


class _Publication:
    """One publication while it is built."""

    def __init__(
        self, lake: Lake, database: Location, files: Files, connection: duckdb.DuckDBPyConnection, *, allow_gaps: bool
    ) -> None:
        self._lake, self._database, self._connection, self._allow_gaps = lake, database, connection, allow_gaps
        self._files, self._folder = files, files.folder
        previous = published_copy(database)
        self.history = History(files, connection, history_files(previous) if previous else [])
        self.files: list[HistoryFile] = []
        """The files of the histories that stay."""
        self.has_months = False
        self._dictionary: str | None = None
        """The benchmarks of the newest month in their specified form, as JSON; None if there is no month, or if an
        earlier release built it."""
        self._name: PublicationName | None = None
        self.statement: Statement | None = None
        self._beside: dict[str, str] = {}
        """The texts of the JSON files, by their names."""

    def build(self, target: Path) -> list[PublishedTable]:
        """Write the database to `target`."""
        self._connection.execute(
            f"ATTACH {sql_literal(str(target))} AS published (STORAGE_VERSION '{STORAGE_VERSION}')"
        )
        find_files_in(self._connection, self._folder)
        info = [self._fill(contract) for contract in CONTRACTS.values() if contract.published]
        said = retry_on_replace(self.statement) if self.statement else None
        self._beside = {**dictionary_texts(self._dictionary), **statement_texts(said)}
        self._name = PublicationName.of_contents(
            self._contents(info), max((one.as_of for one in info if one.as_of), default=None)
        )
        self.files = self.history.kept(self.files)
        for contract, rows in ((PUBLICATION, [self._name]), (TABLE_INFO, info), (HISTORY_FILES, self.files)):
            for statement in duckdb_ddl(contract, f"published.{contract.name}"):
                self._connection.execute(statement)
            if rows:
                # One statement: a year has hundreds of files, and executing one for each took 0.3 s.
                row_places = f"({', '.join('?' * len(rows[0]))})"
                places = ", ".join([row_places] * len(rows))
                self._connection.execute(
                    f"INSERT INTO published.{contract.name} VALUES {places}",  # noqa: S608 - our own names
                    [value for row in rows for value in row],
                )
        # Explicitly: DuckDB swallows errors of the checkpoint that DETACH makes.
        self._connection.execute("CHECKPOINT published")
        self._connection.execute("DETACH published")
        return info

    def stage_others(self, staging: Staging, built: Path) -> Path:
        """Put the copy for this project's readers in place, stage the other parts, and return the copy."""
        assert self._name is not None  # noqa: S101 - `build` has set it
        with replacing(self._folder) as replacements:
            # Named after its content, which is known once it is there.
            staged = self._folder / PRIVATE / built.name
            sha256 = copy_as_it_is(built, replacements.add(staged))
            size = built.stat().st_size
            private = self._folder / private_name(self._name.id, size, sha256)
            replacements.retarget(staged, private)
        parts = {self._database.name: PartFile(size, sha256)}
        for name, text in self._beside.items():
            staging.put(name, text.encode())
            parts[name] = PartFile.of_text(text)
        staging.put(PUBLICATION_FILE, record_text(self._name, parts).encode())
        return private

    def _contents(self, info: list[PublishedTable]) -> Iterator[str]:
        """What the name of the publication follows from."""
        for one in info:
            columns = CONTRACTS[one.table].polars_schema
            yield f"{one.table} {one.as_of} {one.rows} {one.inputs_hash} {columns}"
        yield from sorted(one.file for one in self.files)
        yield from (f"{name} {text}" for name, text in self._beside.items())

    def _fill(self, contract: Contract) -> PublishedTable:
        by_hour = contract.partitioning not in {Partitioning.SNAPSHOT_HOUR, Partitioning.MONTH}
        return retry_on_replace(lambda: (self._history if by_hour else self._state)(contract))

    def _history(self, contract: Contract) -> PublishedTable:
        """Publish all hours of a table, from files that hold those of an hour, a day or a month."""
        contents = PartitionContents(self._lake, contract)
        if not self._allow_gaps:
            _require_gapless(contract, contents)
        found = self.history.of_table(self._lake, contract, contents)
        contents.remember()
        relation = f"published.{contract.name}"
        try:
            if contract.append_only:
                for statement in duckdb_view(contract, relation, view_of(contract, found, self._database.parent)):
                    self._connection.execute(statement)
            else:
                self._create(contract, [self._folder / one.file for one in found])
        except duckdb.Error as error:
            if told := damage(contract.name, found, self._files):
                raise LakeError(told) from error
            raise
        self.files = [one for one in self.files if one.table != contract.name] + found
        newest = contents.newest
        return PublishedTable(contract.name, newest.as_of if newest else None, contents.rows, contents.content_hash)

    def _state(self, contract: Contract) -> PublishedTable:
        """Publish the newest snapshot, or all months."""
        months: list[Month] = []
        if contract.partitioning is Partitioning.MONTH:
            months = self._lake.months(contract)
            files, as_of = self._lake.files(contract, months), (months[-1].as_of if months else None)
        else:
            newest = self._lake.newest_hour(contract)
            files, as_of = self._lake.files(contract, [newest] if newest else []), (newest.as_of if newest else None)
        ranks = rank_files(self._lake) if contract is USER_GHOST_STATS else []
        before = file_versions([*files, *ranks])
        try:
            if contract is GHOST_BENCHMARKS and months:
                self.has_months = True
                self._dictionary = self._lake.metadata(contract, months[-1]).get(RECORDED_DICTIONARY)
            rows = self._create(contract, files, ranks)
            inputs_hash = self._lake.content_hash([*files, *ranks])
        except duckdb.Error:
            require_unreplaced([*files, *ranks], before, contract.name)
            raise
        # Rows and hash come from the same files: a client that knows a hash skips its rows.
        require_unreplaced([*files, *ranks], before, contract.name)
        return PublishedTable(contract.name, as_of, rows, inputs_hash)

    def _create(self, contract: Contract, files: list[Path], ranks: list[Path] | None = None) -> int:
        """Create a table with the rows of some files and return their number.

        Users are published with the ranks of the files of `ranks`, never with the exact ones of the hour (G9.5).
        """
        source = rows_of(contract, files)
        if contract is USER_GHOST_STATS:
            source = users_with_shown_ranks(source, ranks or [])
        relation = f"published.{contract.name}"
        order = ", ".join(map(sql_identifier, contract.total_order))
        may_be_null: set[str] = set()
        while True:
            self._connection.execute(f"DROP TABLE IF EXISTS {relation}")
            for statement in duckdb_ddl(contract, relation, may_be_null):
                self._connection.execute(statement)
            try:
                ((rows,),) = self._connection.execute(
                    f"INSERT INTO {relation} FROM {source} ORDER BY {order}"
                ).fetchall()
                break
            except duckdb.ConstraintException as error:
                # Months that an earlier release has built lack a column of this one.
                lacking = _LACKING.search(str(error))
                if lacking is None or lacking[1] in may_be_null | set(contract.primary_key):
                    raise
                may_be_null.add(lacking[1])
        for statement in duckdb_indexes(contract, relation):
            self._connection.execute(statement)
        return int(rows)


def _require_gapless(contract: Contract, contents: PartitionContents) -> None:
    """Require that no hour of an event table is missing.

    Raises:
        LakeError: names the missing hours.

    """
    first, newest = contents.first, contents.newest
    if contract.partitioning is not Partitioning.EVENT_HOUR or first is None or newest is None:
        return
    if contents.number != (newest.as_of - first.start) // HOUR:
        # Another run may be filling in hours for late events, or was killed while it did.
        written = [one.partition for month in contents.months for one in contents.hours(month.month)]
        require_gapless(contract, written, newest.as_of)
