"""A folder of Parquet, CSV or NDJSON files as a source (`source_tables.md`, "As files").

`<table>.parquet`, `<table>.csv`, `<table>.ndjson`, or a folder `<table>/` of Parquet files, in hive
partitions or not; a mapping may name other files and columns. CSV and NDJSON are read as text, so that one
bad value costs one row and not the file.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.sources.csv_files import read_csv
from ghost_pipeline.sources.folder_listing import Listing, files_below, require_inside
from ghost_pipeline.sources.mapping import SourceMapping
from ghost_pipeline.sources.ndjson_files import read_ndjson
from ghost_pipeline.sources.parquet_files import column_names, scan_parquet_files
from ghost_pipeline.sources.source import TableSample, Window, require_columns
from ghost_pipeline.sources.text_files import COMPRESSIONS, TextError, TextRows

PARQUET = ".parquet"
SUFFIXES = (PARQUET, *(f"{form}{packed}" for form in (".csv", ".ndjson") for packed in COMPRESSIONS))
JSON_SUFFIXES = tuple(f"{form}{packed}" for form in (".json", ".jsonl") for packed in COMPRESSIONS)
"""Read as NDJSON if a table has no other file."""


class FileSource:
    """The canonical tables in one folder."""

    def __init__(self, folder: Path, mapping: SourceMapping | None = None) -> None:
        """Open `folder`; `mapping` gives the names of its files and columns.

        Raises:
            SourceError: it is not a folder, or a query is mapped.

        """
        if not folder.is_dir():
            raise SourceError(f"source {folder}: not a folder. Set GHOST_SOURCE to a folder of canonical tables")
        self.folder, self.mapping = folder, mapping or SourceMapping()
        self._read: dict[str, tuple[str, TextRows]] = {}
        for name, mapped in self.mapping.tables.items():
            if mapped.query is not None:
                raise SourceError(
                    f"{self.mapping.place(name, 'query')}: files answer no queries. Name a file by table, and its "
                    f"columns, or read from a database",
                )

    @property
    def reads_windows(self) -> bool:
        """False: a file is read as a whole."""
        return False

    @property
    def name(self) -> str:
        """The folder."""
        return f"source {self.folder}"

    @property
    def identity(self) -> str:
        """The folder, and the names of its files and columns."""
        return f"{self.folder.resolve()} {self.mapping.tables!r}"

    def tables(self) -> set[str]:
        """Return the canonical tables with a file or a folder of their own, and those that are mapped."""
        return {name for name in SOURCE_TABLES if name in self.mapping.tables or self._candidates(name)}

    def location(self, table: SourceTable) -> Path:
        """Return the one file or folder that holds a table.

        Raises:
            SourceError: there is none, or more than one.

        """
        candidates = self._candidates(table.name)
        if not candidates:
            own = self._own(table.name)
            raise SourceError(
                f"{self.name}: table {table.name} is missing. Add {own}.parquet, .csv or .ndjson, or a "
                f"folder {own}/ of Parquet files",
            )
        if len(candidates) > 1:
            raise SourceError(
                f"{self.name}: table {table.name} exists more than once "
                f"({', '.join(path.name for path in candidates)}). Keep one of them",
            )
        return candidates[0]

    def part_versions(self, table: SourceTable) -> Mapping[str, str]:
        """Return the files of a table, by their path below the folder: size, inode, and its times.

        Raises:
            SourceError: the table is missing, or a file has gone.

        """
        path = self.location(table)
        try:
            return {self._part(file): _version(file) for file in self._listing(path, table).files}
        except OSError as error:
            raise SourceError(
                f"{self.name}: table {table.name} has lost a file while it was listed ({without_values(error)}). Let "
                f"exports put files in place by a rename, and run again",
            ) from None

    def scan(
        self,
        table: SourceTable,
        window: Window | None = None,  # noqa: ARG002 - files have all
        parts: Collection[str] | None = None,
    ) -> pl.LazyFrame:
        """Return the rows of a table as they are in its files, or in some of them, whatever the window.

        Raises:
            SourceError: the table or a required column is missing, or a file is truncated or unreadable.

        """
        path = self.location(table)
        # Without a listing for each part: a year has 360 of them.
        wanted = self._listing(path, table).files if parts is None else [self.folder / part for part in sorted(parts)]
        try:
            frame = self._scan_parquet(path, wanted, table) if _is_parquet(path) else self._text_rows(path, table).rows
            if not wanted:
                frame = frame.clear()
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError, TextError) as error:
            raise SourceError(
                f"{path}: table {table.name} cannot be read ({_culprit(path, error)}). The file is truncated or "
                f"not what its name says: write it again, beside and renamed, and run again",
            ) from None
        return self.mapping.of(table.name).with_characters(frame, table)

    def inspect(self, table: SourceTable) -> TableSample:
        """Return the file of a table and all its rows."""
        rows, path = self.scan(table), self.location(table)
        own = self.mapping.of(table.name).columns
        found = set(rows.collect_schema().names())
        columns = {column.name: own.get(column.name, column.name) for column in table.columns if column.name in found}
        notes = [_skipped(self._listing(path, table))] if path.is_dir() else []
        if not _is_parquet(path):
            notes = [self._text_rows(path, table).detected]
        return TableSample(path.name, columns, rows, notes=[note for note in notes if note])

    def remedy(self, missing: Sequence[str]) -> str:
        """Name the files to add."""
        return f"Add {' and '.join(f'{self._own(name)}.parquet, .csv or .ndjson' for name in missing)}"

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _part(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _listing(self, path: Path, table: SourceTable) -> Listing:
        """Return the files of a table, in the order of their names."""
        require_inside(path, self.folder)
        if not path.is_dir():
            return Listing((path,), 0, 0)
        listing = files_below(path, self.folder, PARQUET)
        if not listing.files:
            skipped = f" ({text})" if (text := _skipped(listing)) else ""
            raise SourceError(
                f"{path}: table {table.name} is a folder without a Parquet file{skipped}. Add one, or remove it"
            )
        return listing

    def _scan_parquet(self, path: Path, files: Sequence[Path], table: SourceTable) -> pl.LazyFrame:
        """Return the canonical columns of files; columns that only other files of the table have are null."""
        own = self._columns(table)
        if not files:
            return pl.LazyFrame(schema=dict.fromkeys((column.name for column in own.values()), pl.String))
        frame = scan_parquet_files(files, path, table, own)
        here = frame.collect_schema().names()
        needed = {name for name, column in own.items() if not column.optional} | set(self._mapped(table).values())
        if needed - set(here):
            every = column_names(self._listing(path, table).files, path, table)
            self._require_mapped(table, every)
            known = self._mapped(table).items()
            there = {canonical for canonical, name in known if name in every}
            require_columns(str(path), table, there | {name for name in every if name not in self._mapped(table)})
            frame = frame.with_columns(pl.lit(None).alias(name) for name in needed - set(here))
            here = frame.collect_schema().names()
        return frame.select(pl.col(name).alias(own[name].name) for name in here)

    def _text_rows(self, path: Path, table: SourceTable) -> TextRows:
        """Return the rows of a text file with canonical names; the file is read once for as long as it is the same."""
        version = _version(path)
        if (read := self._read.get(table.name)) and read[0] == version:
            return read[1]
        own, given = self._columns(table), self.mapping.of(table.name).format

        def check(found: Sequence[str], others: int) -> None:
            self._require_mapped(table, found)
            require_columns(str(path), table, [own[name].name for name in found], others)

        found = (read_csv if ".csv" in path.suffixes else read_ndjson)(path, table, own, given, check)
        names = found.rows.collect_schema().names()
        rows = found.rows.rename({name: own[name].name for name in names if name in own})
        self._read[table.name] = version, TextRows(rows, found.detected)
        return self._read[table.name][1]

    def _columns(self, table: SourceTable) -> dict[str, SourceColumn]:
        """Return the columns that are read, by their names in the source; nothing else is."""
        mapped = self._mapped(table)
        # A column whose name is mapped to another column is not its own.
        return {
            mapped.get(column.name, column.name): column
            for column in table.columns
            if column.name in mapped or column.name not in mapped.values()
        }

    def _mapped(self, table: SourceTable) -> Mapping[str, str]:
        return self.mapping.of(table.name).columns

    def _require_mapped(self, table: SourceTable, found: Collection[str]) -> None:
        for canonical, own in self._mapped(table).items():
            if own not in found:
                raise SourceError(
                    f"{self.mapping.place(table.name, f'columns.{canonical}')}: {self.location(table)} has no column "
                    f"{own} (it has {', '.join(sorted(found)) or 'none'}). Correct the mapping",
                )

    def _own(self, table: str) -> str:
        return self.mapping.of(table).table or table

    def _candidates(self, table: str) -> list[Path]:
        own = self._own(table)
        files = [path for suffix in SUFFIXES if (path := self.folder / f"{own}{suffix}").is_file()]
        # What Spark, Dask and pandas with partitions write is a folder with the name of a file.
        folders = [path for name in (own, f"{own}{PARQUET}") if (path := self.folder / name).is_dir()]
        if files or folders:
            return [*files, *folders]
        return [path for suffix in JSON_SUFFIXES if (path := self.folder / f"{own}{suffix}").is_file()]


def _is_parquet(path: Path) -> bool:
    return path.is_dir() or path.suffix == PARQUET


def _skipped(listing: Listing) -> str:
    hidden = [f"{listing.hidden:,} with a name that begins with _ or ."] if listing.hidden else []
    others = [f"{listing.others:,} without the ending {PARQUET}"] if listing.others else []
    return f"files skipped: {', '.join([*hidden, *others])}" if hidden or others else ""


def _version(file: Path) -> str:
    found = file.stat()
    # Tools may set the time of the last change; only the system sets that of the last change of the inode.
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"


def _culprit(path: Path, error: Exception) -> str:
    return "the file is empty" if path.is_file() and path.stat().st_size == 0 else without_values(error)
