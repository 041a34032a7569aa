"""The Parquet files behind the published histories: written once, named by what they hold, removed when unused.

A publication names exactly its own files. A file is never changed, so readers of an earlier publication keep reading
theirs; a file goes when the last `KEPT_PUBLICATIONS` publications do not name it, a month's file already when two newer
ones have replaced it, and all at once after an erasure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import duckdb

from ghost_pipeline.contracts.contract import Contract, duckdb_no_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.local_files import Files, LocalFiles
from ghost_pipeline.lake.locking import table_lock_if_free
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.connection import exact_pattern
from ghost_pipeline.publish.history_damage import is_whole
from ghost_pipeline.publish.history_files import HistoryFile, history_files
from ghost_pipeline.publish.history_spans import Span, hours_of, spans
from ghost_pipeline.publish.partition_contents import PartitionContents
from ghost_pipeline.sql_quoting import sql_identifier, sql_literal

HISTORY = "history"
"""The folder of these files, beside the database."""
DATA_VARIABLE = "ghost_data"
"""The DuckDB variable that tells the views where the data folder is, if not where it was published."""
KEPT_PUBLICATIONS = 24
"""Publications whose readers keep their files: those of a day, if one is made every hour."""
KEPT_MONTHS = 2
"""Earlier files of a month that are kept for readers: late rows may replace a month's file every hour."""
SMALLEST_ROW_GROUP, LARGEST_ROW_GROUP, ROW_GROUPS = 2_048, 30_000, 16
"""Rows of a row group: a sixteenth of the file within these limits. A look-up reads one or two of them in each file. A
month of 30,000 sessions in one group took twice as long as in groups of 2,048; a month of 1,000,000 rows became slower
below 30,000, since the footer grows."""
_HASH_DIGITS = 20
_FORMAT = 1
"""Raise it when the files of the same rows are to be written in another way."""


def fetch_history(files: Files, database: Path, published: str) -> None:
    """Make copies on this machine of a bucket's files that a published database names, and remove other copies.

    Not while this machine publishes: a publication has written files that the present one does not name.

    Args:
        files: the bucket.
        database: a copy of the published database.
        published: the name of that in the bucket.

    Raises:
        LakeError: the storage cannot be read, or a copy cannot be written.

    """
    copies = LocalFiles(files.folder)
    named = [one for one in history_files(database) if not one.publications_ago]
    there = copies.file_versions([one.file for one in named])
    # Names are never used again, so a copy of that size is current: no need to ask for its version.
    files.located([one.file for one in named if one.file not in there])
    files.fresh([one.file for one in named if one.file in there and one.bytes not in {0, there[one.file].size}])

    def unnamed() -> set[str]:
        return set(copies.names(HISTORY)) - {one.file for one in history_files(database)}

    if unnamed():
        with table_lock_if_free(files.folder, published) as is_held:
            # Looked at again: the lock may be free because a publication has just ended here.
            _remove(copies, unnamed() if is_held else ())


class History:
    """The files of the histories beside a database. The caller holds the publication's lock."""

    def __init__(self, files: Files, connection: duckdb.DuckDBPyConnection, before: Sequence[HistoryFile] = ()) -> None:
        """Look at the files that are there.

        Args:
            files: where they are.
            connection: writes new ones.
            before: the rows of `history_files` of the publication that is replaced.

        """
        self._files, self._connection, self._before = files, connection, before
        self._sizes = {name: version.size for name, version in files.file_versions(files.names(HISTORY)).items()}
        self._recorded = {one.file: one.bytes for one in before if one.bytes}

    def of_table(self, lake: Lake, contract: Contract, contents: PartitionContents) -> list[HistoryFile]:
        """Write the files of a table that are missing or damaged, and return all of them.

        Raises:
            ConcurrentReplaceError: a partition was replaced meanwhile.
            LakeError: a file cannot be written.
            duckdb.Error: a file cannot be written.

        """
        layout = _layout(contract)
        divided = [(span, _name(contract, span, layout)) for span in spans(contents)]
        # Of a bucket's files, those that another machine wrote; the views are bound to what can be read here.
        self._files.located(
            [name for _, name in divided if name in self._sizes and not (self._files.folder / name).exists()]
        )
        found = []
        for span, name in divided:
            if not self._is_whole(contract, HistoryFile(contract.name, name, span.rows)):
                self._write(lake, contract, contents, span, name)
                self._sizes[name] = self._recorded[name] = (self._files.folder / name).stat().st_size
            found.append(HistoryFile(contract.name, name, span.rows, bytes=self._sizes[name]))
        return found

    def kept(self, named: Iterable[HistoryFile]) -> list[HistoryFile]:
        """The files of a new publication, which it names, and of those before it whose readers keep theirs."""
        files = {one.file: one for one in named}
        months: Counter[str] = Counter()
        for one in sorted(self._before, key=lambda one: one.publications_ago):
            size = self._sizes.get(one.file)
            if one.file not in files and (month := _month(one.file)):
                months[month] += 1
            if size and one.publications_ago < KEPT_PUBLICATIONS and months[_month(one.file)] <= KEPT_MONTHS:
                older = one._replace(publications_ago=one.publications_ago + 1, bytes=one.bytes or size)
                files.setdefault(older.file, older)
        return sorted(files.values(), key=lambda one: (one.publications_ago, one.file))

    def remove_others(self, kept: Iterable[HistoryFile]) -> None:
        """Remove every file but these.

        Raises:
            LakeError: one cannot be removed.

        """
        _remove(self._files, set(self._sizes) - {one.file for one in kept})

    def _is_whole(self, contract: Contract, file: HistoryFile) -> bool:
        size = self._sizes.get(file.file)
        if size is None or self._recorded.get(file.file, size) != size:
            return False
        file = file._replace(bytes=size)
        # A bucket's file may be whole although its copy is not.
        return is_whole(self._files.folder / file.file, contract, file) or any(
            is_whole(path, contract, file) for path in self._files.fresh([file.file])
        )

    def _write(self, lake: Lake, contract: Contract, contents: PartitionContents, span: Span, name: str) -> None:
        hours = hours_of(contents, span)
        inputs = lake.files(contract, [one.partition for one in hours])
        # Before and after: DuckDB opens each file twice, and may meet with two versions.
        contents.require_unreplaced(hours)
        with self._files.replacing([]) as staging:
            group = min(max(span.rows // ROW_GROUPS, SMALLEST_ROW_GROUP), LARGEST_ROW_GROUP)
            order = ", ".join(map(sql_identifier, contract.total_order))
            target = sql_literal(str(staging.add(name)))
            try:
                self._connection.execute(
                    f"COPY (FROM {rows_of(contract, inputs)} ORDER BY {order}) TO {target} (FORMAT parquet, "
                    f"COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {group}, USE_TMP_FILE false)"
                )
            finally:
                contents.require_unreplaced(hours)


def rows_of(contract: Contract, files: Iterable[Path], *, as_written: bool = False) -> str:
    """A relation of the rows of lake files; a column that a file of an earlier version lacks is null.

    Args:
        contract: the table.
        files: its files.
        as_written: whether all of them are known to have the columns of the contract.

    """
    names = ", ".join(map(sql_identifier, contract.polars_schema))
    listed = ", ".join(sql_literal(exact_pattern(file)) for file in files)
    if not listed:
        return duckdb_no_rows(contract)
    if as_written:
        return f"(SELECT {names} FROM read_parquet([{listed}], hive_partitioning = false))"  # noqa: S608 - our own names
    return (
        f"(SELECT {names} FROM (FROM {duckdb_no_rows(contract)} UNION ALL BY NAME "  # noqa: S608 - our own names
        f"FROM read_parquet([{listed}], hive_partitioning = false, union_by_name = true)))"
    )


def view_of(contract: Contract, files: Iterable[HistoryFile], place: Location) -> str:
    """A relation of the rows of history files, for a view: it finds them in the folder of publication.

    Another folder, for example of a copy, is named by `SET VARIABLE ghost_data = '/path/to/data'`.
    """
    default = str(place.absolute() if isinstance(place, Path) else place)
    root = f"coalesce(getvariable('{DATA_VARIABLE}'), {sql_literal(exact_pattern(default))})"
    listed = ", ".join(f"{root} || {sql_literal(f'/{one.file}')}" for one in files)
    return f"read_parquet([{listed}], hive_partitioning = false)" if listed else duckdb_no_rows(contract)


def find_files_in(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Let the views of a published database read the files in a folder of this machine."""
    connection.execute(f"SET VARIABLE {DATA_VARIABLE} = {sql_literal(exact_pattern(folder.absolute()))}")


def find_files_beside(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Let the views of a database in `folder` read the files beside it; without any, those where it was published."""
    if (folder / HISTORY).is_dir():
        find_files_in(connection, folder)


def remove_unnamed(place: Location, published: Path | None) -> None:
    """Remove every file that the present publication does not name, those kept for readers of earlier ones included.

    The caller holds the publication's lock.

    Args:
        place: where the database is published.
        published: the database, or a copy of it; None if nothing has been published.

    Raises:
        LakeError: the storage cannot be read, or a file cannot be removed.

    """
    files = open_files(place)
    named = {one.file for one in history_files(published) if not one.publications_ago} if published else set()
    _remove(files, set(files.names(HISTORY)) - named)
    files.forget_copies(HISTORY)


def _remove(files: Files, names: Iterable[str]) -> None:
    for name in sorted(names):
        files.remove(name)


def _layout(contract: Contract) -> str:
    """How the rows are written: files with other columns or in another order have other names."""
    columns = ", ".join(f"{name} {dtype}" for name, dtype in contract.polars_schema.items())
    return f"{_FORMAT}\n{columns}\n{contract.total_order}"


def _month(file: str) -> str:
    """The table and month of a file of a whole month; "" for a day or an hour."""
    span = file.rsplit(".", 2)[0]
    return span if len(span.rpartition("/")[2]) == len("2025-03") else ""


def _name(contract: Contract, span: Span, layout: str) -> str:
    digits = sha256(f"{layout}\n{span.content_hash}".encode()).hexdigest()[:_HASH_DIGITS]
    return f"{HISTORY}/{contract.name}/{span.key}.{digits}.parquet"
