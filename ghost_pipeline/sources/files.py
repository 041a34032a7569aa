"""A folder or a bucket of Parquet, CSV or NDJSON files as a source (`source_tables.md`, "As files").

`<table>.parquet`, `<table>.csv`, `<table>.ndjson`, or a folder `<table>/` of such files, in hive partitions or not; a
mapping may name other files and columns. CSV and NDJSON are read as text, so that one bad value costs one row and not
the file.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.locations import ObjectAddress
from ghost_pipeline.object_storage import is_of_storage
from ghost_pipeline.sources.bucket_files import BucketFiles, replaced_error, storage_error
from ghost_pipeline.sources.csv_files import read_csv
from ghost_pipeline.sources.data_files import (
    CSV,
    ENDINGS,
    JSON,
    NDJSON,
    PARQUET,
    DataFile,
    Files,
    Listing,
    form_of,
    is_hidden,
)
from ghost_pipeline.sources.folder_files import FolderFiles
from ghost_pipeline.sources.mapping import SourceMapping
from ghost_pipeline.sources.ndjson_files import read_ndjson
from ghost_pipeline.sources.parquet_files import column_names, frames_alike, scan_parquet_files
from ghost_pipeline.sources.partition_values import FILE, named, values_of, with_values
from ghost_pipeline.sources.source import FAULT, LINE_FILE, PART, TableSample, Window, not_read, require_columns
from ghost_pipeline.sources.spill import together
from ghost_pipeline.sources.text_files import TextError, TextFile, TextRows

_TEXTS_KEPT = 16
"""Text files whose rows stay in temporary files once they are read."""


_ReadFiles = Callable[[Sequence[DataFile], str, SourceTable, Mapping[str, SourceColumn]], list[pl.LazyFrame]]


@dataclass(frozen=True)
class _TableFiles:
    """The files of one table, all of one form."""

    files: Sequence[DataFile]
    form: str
    skipped: str = ""
    """What else there is, in words."""


class FileSource:
    """The canonical tables in one folder, or below one address of a bucket."""

    def __init__(self, folder: Path | ObjectAddress, mapping: SourceMapping | None = None) -> None:
        """Open a folder or an address; `mapping` gives the names of its files and columns.

        Raises:
            SourceError: it is no folder, cannot be opened, or a query is mapped.

        """
        self.files: Files = BucketFiles(folder) if isinstance(folder, ObjectAddress) else FolderFiles(folder)
        self.mapping = mapping or SourceMapping()
        self._texts: OrderedDict[str, tuple[str, TextRows]] = OrderedDict()
        self._read: dict[str, dict[str, str]] = {}
        for name, mapped in self.mapping.tables.items():
            if mapped.query is not None:
                raise SourceError(
                    f"{self.mapping.place(name, 'query')}: files answer no queries. Name a file by table, and its "
                    f"columns, or read from a database",
                )
            first: dict[str, str] = {}
            for canonical, own in mapped.columns.items():
                if first.setdefault(own, canonical) != canonical:
                    raise SourceError(
                        f"{self.mapping.place(name, f'columns.{canonical}')}: {own} is {first[own]} already. Of files, "
                        f"map a column once, or read from a database"
                    )

    @property
    def reads_windows(self) -> bool:
        """False: a file is read as a whole."""
        return False

    @property
    def name(self) -> str:
        """The folder or address."""
        return f"source {self.files}"

    @property
    def identity(self) -> str:
        """The folder or address, and the names of its files and columns."""
        return f"{self.files.identity} {self.mapping.tables!r}"

    def tables(self) -> set[str]:
        """Return the canonical tables with a file or a folder of their own, and those that are mapped."""
        return {name for name in SOURCE_TABLES if name in self.mapping.tables or self._candidates(name)}

    def location(self, table: SourceTable) -> str:
        """Return the name of the one file or folder that holds a table.

        Raises:
            SourceError: there is none, or more than one.

        """
        candidates = self._candidates(table.name)
        if not candidates:
            raise SourceError(
                f"{self.name}: table {table.name} is missing. Add {self._own(table.name)}.parquet, .csv or .ndjson, or "
                f"a folder {self._own(table.name)}/ of such files{not_read(self.lookalikes(table))}",
            )
        if len(candidates) > 1:
            raise SourceError(
                f"{self.name}: table {table.name} exists more than once "
                f"({', '.join(name.rpartition('/')[2] for name in candidates)}). Keep one of them",
            )
        return candidates[0]

    def part_versions(self, table: SourceTable) -> Mapping[str, str]:
        """Return the files of a table, by their path below the source, each with its version.

        Raises:
            SourceError: the table is missing, or a file has gone.

        """
        self._read.pop(table.name, None)
        files = self._files(table).files
        try:
            return {file.part: file.version for file in files}
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
        location = self.location(table)
        # Without a listing for each part: a year has 360 of them.
        files = self._files(table).files if parts is None else list(map(self.files.listed, sorted(parts)))
        if not files:
            frame = pl.LazyFrame(schema={column.name: pl.String for column in self._columns(table).values()})
        elif form_of(files[0].part) == PARQUET:
            frame = self._scan_parquet(files, location, table)
        else:
            frame = together(one.rows for one in self._scan_texts(files, location, table))
        return self.mapping.of(table.name).with_characters(frame, table)

    def scan_parts(self, table: SourceTable, parts: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """Return the rows of files, a frame for those of Parquet with the same columns and types, and for each text.

        Raises:
            SourceError: as `scan`.

        """
        location, mapped = self.location(table), self.mapping.of(table.name)
        files = list(map(self.files.listed, parts))
        if form_of(files[0].part) == PARQUET:
            place = (
                pl.col(FILE).cast(pl.Enum([file.address for file in files])).to_physical().cast(pl.UInt32).alias(PART)
            )
            for frame in self._canonical(files, location, table, frames_alike):
                yield mapped.with_characters(frame.with_columns(place).drop(FILE), table)
        else:
            for number, text in enumerate(self._scan_texts(files, location, table)):
                yield mapped.with_characters(text.rows.with_columns(pl.lit(number, pl.UInt32).alias(PART)), table)

    def inspect(self, table: SourceTable) -> TableSample:
        """Return the file of a table and all its rows."""
        rows, location, found = self.scan(table), self.location(table), self._files(table)
        own = self.mapping.of(table.name).columns
        there = set(rows.collect_schema().names())
        columns = {column.name: own.get(column.name, column.name) for column in table.columns if column.name in there}
        notes = [found.skipped]
        if found.form != PARQUET:
            texts = list(self._scan_texts(found.files, location, table))
            several = len(texts) > 1
            detected = Counter(one.detected for one in texts).most_common()
            notes += [
                f"{number:,} file{'' if number == 1 else 's'}: {says}" if several else says for says, number in detected
            ]
            if not_text := sum(one.not_text for one in texts):
                lines = "1 line is" if not_text == 1 else f"{not_text:,} lines are"
                notes.append(
                    f"{lines} not text in this encoding. If the file is Latin-1, write `{table.name}: "
                    f"{{format: {{encoding: latin-1}}}}` into the mapping file (GHOST_SOURCE_MAPPING)"
                )
        return TableSample(location.rpartition("/")[2], columns, rows, notes=[note for note in notes if note])

    def require_unreplaced(self, table: SourceTable) -> None:
        """Require that no file was replaced while it was read; of a folder, each is read whole whatever happens.

        Raises:
            SourceError: one was, so that the rows read may be of two versions.

        """
        read = self._read.pop(table.name, None)
        if not read:
            return
        now = {file.part: file.version for file in self._files(table).files}
        for part, version in sorted(read.items()):
            if now.get(part) != version:
                raise replaced_error(f"{self.files.shown(part)}: table {table.name}")

    def lookalikes(self, table: SourceTable) -> Sequence[str]:
        """Return the files and folders with the table's name in other letters or with another ending."""
        own, read = self._own(table.name).lower(), self._candidates(table.name)
        named = [name for name in self.files.names() if name.lower().partition(".")[0] == own]
        return sorted(name for name in named if not is_hidden(name)) if not read else []

    def remedy(self, missing: Sequence[str]) -> str:
        """Name the files to add."""
        alike = [one for name in missing for one in self.lookalikes(SOURCE_TABLES[name])]
        return f"Add {' and '.join(f'{self._own(name)}.parquet, .csv or .ndjson' for name in missing)}{not_read(alike)}"

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _files(self, table: SourceTable) -> _TableFiles:
        """Return the files of a table as they are now, in the order of their names."""
        location = self.location(table)
        if not self.files.is_folder(location):
            return _TableFiles([self.files.file(location)], form_of(location) or PARQUET)
        return _of_one_form(self.files.below(location), self.files.shown(location), table)

    def _scan_parquet(self, files: Sequence[DataFile], location: str, table: SourceTable) -> pl.LazyFrame:
        """Return the canonical columns of files; columns that only other files of the table have are null."""
        return self._canonical(files, location, table, lambda *given: [scan_parquet_files(*given)])[0]

    def _canonical(
        self, files: Sequence[DataFile], location: str, table: SourceTable, read: _ReadFiles
    ) -> list[pl.LazyFrame]:
        """Return frames of Parquet files with the canonical names of their columns, and `FILE` if it is there."""
        own, shown = self._columns(table), self.files.shown(location)
        if self.files.mixes_versions:
            self._note_read(files, table)
        needed = {name for name, column in own.items() if not column.optional} | set(self._mapped(table).values())
        names = {name: column.name for name, column in own.items()}
        frames = []
        try:
            for frame in read(files, location, table, own):
                missing = needed - set(frame.collect_schema())
                if missing:
                    every = column_names(self._files(table).files, location, table)
                    self._require_columns(shown, every, table)
                whole = frame.with_columns(pl.lit(None).alias(name) for name in missing)
                frames.append(whole.select(pl.col(one).alias(names.get(one, one)) for one in whole.collect_schema()))
        except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
            if is_of_storage(error):
                raise storage_error(f"{shown}: table {table.name}", error) from None
            raise _unreadable(shown, files, table, error) from None
        return frames

    def _note_read(self, files: Sequence[DataFile], table: SourceTable) -> None:
        read = self._read.setdefault(table.name, {})
        for file in files:
            if read.setdefault(file.part, file.version) != file.version:
                raise replaced_error(f"{file}: table {table.name}")

    def _require_columns(self, shown: str, found: Collection[str], table: SourceTable) -> None:
        mapped = self._mapped(table)
        self._require_mapped(table, found)
        there = {canonical for canonical, name in mapped.items() if name in found}
        require_columns(shown, table, there | {name for name in found if name not in mapped})

    def _scan_texts(self, files: Sequence[DataFile], location: str, table: SourceTable) -> Iterator[TextRows]:
        for file in files:
            try:
                yield self._text_rows(file, location, table)
            except (pl.exceptions.PolarsError, pa.ArrowException, OSError, TextError) as error:
                raise _unreadable(str(file), [file], table, error) from None

    def _text_rows(self, file: DataFile, location: str, table: SourceTable) -> TextRows:
        """Return the rows of a text file with canonical names; of few files, each is read once while it is the same."""
        version = file.version
        if (read := self._texts.get(file.part)) and read[0] == version:
            self._texts.move_to_end(file.part)
            return read[1]
        own, given = self._columns(table), self.mapping.of(table.name).format
        told = tuple(name for name in values_of(file, location) if name in own)

        def check(found: Sequence[str], others: int) -> None:
            every = list(dict.fromkeys([*found, *told]))
            self._require_mapped(table, every)
            require_columns(str(file), table, [own[name].name for name in every], others, has_header=is_csv)

        is_csv = form_of(file.part) == CSV
        read_rows = read_csv if is_csv else read_ndjson
        with file.reopenable() as opened:
            found = read_rows(TextFile(str(file), opened), table, own, given, check)
        rows = found.rows
        if file.part != location and FAULT in rows.collect_schema():
            place = pl.lit(named(file, location))
            rows = rows.with_columns(pl.when(pl.col(FAULT).is_not_null()).then(place).alias(LINE_FILE))
        if told:
            rows = rows.with_columns(pl.lit(file.address).alias(FILE))
            rows = with_values(rows, [file], location, table, told, own).drop(FILE)
        names = rows.collect_schema().names()
        rows = rows.rename({name: own[name].name for name in names if name in own})
        self._texts[file.part] = version, replace(found, rows=rows)
        while len(self._texts) > _TEXTS_KEPT:
            self._texts.popitem(last=False)
        return self._texts[file.part][1]

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
                place = self.mapping.place(table.name, f"columns.{canonical}")
                raise SourceError(
                    f"{place}: {self.files.shown(self.location(table))} has no column {own} (it has "
                    f"{', '.join(sorted(found)) or 'none'}). Correct the mapping",
                )

    def _own(self, table: str) -> str:
        return self.mapping.of(table).table or table

    def _candidates(self, table: str) -> list[str]:
        own = self._own(table)
        files = [name for ending in ENDINGS if self.files.is_file(name := f"{own}{ending}")]
        # What Spark, Dask and pandas with partitions write is a folder with the name of a file.
        names = (own, *(f"{own}{form}" for form in (PARQUET, CSV, NDJSON, JSON)))
        every = [*files, *(name for name in names if self.files.is_folder(name))]
        return [name for name in every if form_of(name) != JSON] or every


def _of_one_form(listing: Listing, shown: str, table: SourceTable) -> _TableFiles:
    """Return the files of a folder that hold data, all of one form.

    Raises:
        SourceError: there is none, or they are of several forms.

    """
    forms: dict[str, list[DataFile]] = {}
    for file in listing.files:
        if form := form_of(file.part):
            forms.setdefault(form, []).append(file)
    if len(forms) > 1:
        forms.pop(JSON, None)
    if len(forms) > 1:
        one, other = (files[0].part.rpartition("/")[2] for files in list(forms.values())[:2])
        raise SourceError(
            f"{shown}: table {table.name} has files of several forms, such as {one} and {other}. Keep those of one"
        )
    form, files = next(iter(forms.items()), (PARQUET, []))
    hidden = sum(form_of(name) == form for name in listing.hidden)
    others = len(listing.files) - len(files)
    skipped = [f"{hidden:,} with a name that begins with _ or ."] if hidden else []
    skipped += [f"{others:,} without the ending {form}"] if others else []
    says = f"files skipped: {', '.join(skipped)}" if skipped else ""
    if not files:
        raise SourceError(
            f"{shown}: table {table.name} is a folder without a Parquet, CSV or NDJSON file"
            f"{f' ({says})' if says else ''}. Add one, or remove it"
        )
    return _TableFiles(files, form, says)


def _unreadable(shown: str, files: Sequence[DataFile], table: SourceTable, error: Exception) -> SourceError:
    culprit = "the file is empty" if len(files) == 1 and files[0].size == 0 else without_values(error)
    return SourceError(
        f"{shown}: table {table.name} cannot be read ({culprit}). The file is truncated or not what its name says: "
        f"write it again, beside and renamed, and run again",
    )
