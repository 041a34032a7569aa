"""A folder of Parquet, CSV or NDJSON files as a source (`source_tables.md`, "As files").

`<table>.parquet`, `<table>.csv`, `<table>.ndjson`, or a folder `<table>/` of Parquet files, in hive
partitions or not; a mapping may name other files and columns. CSV and NDJSON are read as text, so that one
bad value costs one row and not the file.
"""

import csv
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import available_timezones

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.sources.mapping import SourceMapping
from ghost_pipeline.sources.source import TableSample, Window, require_columns

SUFFIXES = (".parquet", ".csv", ".ndjson")
_FILE = "__file"
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
        """Return the files of a table, by their path below the folder: size, time of the last change, and inode.

        Raises:
            SourceError: the table is missing, or a file has gone.

        """
        path = self.location(table)
        try:
            return {self._part(file): _version(file) for file in _files(path, table)}
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
        files = _files(path, table)
        wanted = files if parts is None else [file for file in files if self._part(file) in parts]
        try:
            frame = _read(path, wanted, table)
            columns = frame.collect_schema().names()
            if len(wanted) < len(files):
                frame, columns = self._with_columns_of_others(frame, table, columns, files)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(
                f"{path}: table {table.name} cannot be read ({_culprit(path, error)}). The file is truncated or "
                f"not what its name says: write it again, beside and renamed, and run again",
            ) from None
        frame = self._canonical(frame, table, columns)
        require_columns(str(path), table, frame.collect_schema().names())
        return frame

    def inspect(self, table: SourceTable) -> TableSample:
        """Return the file of a table and all its rows."""
        rows = self.scan(table)
        own = self.mapping.of(table.name).columns
        found = set(rows.collect_schema().names())
        columns = {column.name: own.get(column.name, column.name) for column in table.columns if column.name in found}
        return TableSample(self.location(table).name, columns, rows)

    def remedy(self, missing: Sequence[str]) -> str:
        """Name the files to add."""
        return f"Add {' and '.join(f'{self._own(name)}.parquet, .csv or .ndjson' for name in missing)}"

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _part(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _with_columns_of_others(
        self, frame: pl.LazyFrame, table: SourceTable, found: list[str], files: list[Path]
    ) -> tuple[pl.LazyFrame, list[str]]:
        """Add columns that a part lacks and other files have: its rows lack them, the table does not."""
        own = self.mapping.of(table.name).columns
        needed = {*own.values(), *(c.name for c in table.columns if not c.optional and c.name not in own)}
        if needed <= set(found):
            return frame, found
        names = set(_read(self.location(table), files, table).collect_schema().names())
        added = sorted(names & needed - set(found))
        return frame.with_columns(pl.lit(None).alias(name) for name in added), [*found, *added]

    def _canonical(self, frame: pl.LazyFrame, table: SourceTable, found: list[str]) -> pl.LazyFrame:
        """Return the frame with canonical names; a column whose name is mapped to another column is dropped."""
        mapped = self.mapping.of(table.name).columns
        for canonical, own in mapped.items():
            if own not in found:
                raise SourceError(
                    f"{self.mapping.place(table.name, f'columns.{canonical}')}: {self.location(table)} has no column "
                    f"{own} (it has {', '.join(sorted(found)) or 'none'}). Correct the mapping",
                )
        if not mapped:
            return frame
        others = [name for name in found if name not in mapped and name not in mapped.values()]
        return frame.select(*(pl.col(own).alias(canonical) for canonical, own in mapped.items()), *map(pl.col, others))

    def _own(self, table: str) -> str:
        return self.mapping.of(table).table or table

    def _candidates(self, table: str) -> list[Path]:
        own = self._own(table)
        files = [path for suffix in SUFFIXES if (path := self.folder / f"{own}{suffix}").is_file()]
        folder = self.folder / own
        return [*files, folder] if folder.is_dir() else files


def _files(path: Path, table: SourceTable) -> list[Path]:
    """Return the files of a table, in the order of their names."""
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise SourceError(f"{path}: table {table.name} is a folder without a Parquet file. Add one, or remove it")
    return files


def _version(file: Path) -> str:
    found = file.stat()
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def _read(path: Path, files: list[Path], table: SourceTable) -> pl.LazyFrame:
    if path.is_dir():
        return _read_folder(path, files, table)
    if path.suffix == ".parquet":
        return _scan_parquet([path], table)[0].drop(_FILE)
    if path.suffix == ".csv":
        # Read at once: a row with too many fields must fail as this file's fault, not in a later step.
        return pl.read_csv(path, infer_schema=False, encoding="utf8", glob=False).lazy()
    return _read_ndjson(path, table)


def _read_folder(folder: Path, files: list[Path], table: SourceTable) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame()
    # Keep a column that only later files have; if types differ, take the wider one.
    frame = pl.concat(_scan_parquet(files, table), how="diagonal_relaxed")
    return _with_partition_values(frame, folder, files)


def _scan_parquet(files: list[Path], table: SourceTable) -> list[pl.LazyFrame]:
    """Scan files, those with the same columns as one frame, with the column `_FILE`."""
    alike: dict[tuple[tuple[str, pl.DataType], ...], list[Path]] = {}
    frames = []
    for file in files:
        if _zones_unknown_to_polars(file):
            frames.append(_read_in_utc(file).with_columns(pl.lit(str(file)).alias(_FILE)).lazy())
        else:
            alike.setdefault(tuple(_parquet_schema(file, table).items()), []).append(file)
    return [
        *frames,
        *(
            pl.scan_parquet(group, hive_partitioning=False, glob=False, include_file_paths=_FILE)
            for group in alike.values()
        ),
    ]


def _zones_unknown_to_polars(file: Path) -> bool:
    """Whether polars would panic at a zone such as +05:30, which pandas writes for fixed offsets."""
    try:
        types = pq.read_schema(file).types
    except (pa.ArrowException, OSError):
        return False
    return any(pa.types.is_timestamp(one) and one.tz and one.tz not in available_timezones() for one in types)


def _read_in_utc(file: Path) -> pl.DataFrame:
    """Read a file with all its times in UTC: Parquet stores them so, whatever zone it notes."""
    rows = pq.ParquetFile(file).read()
    fields = [
        field.with_type(pa.timestamp(field.type.unit, "UTC"))
        if pa.types.is_timestamp(field.type) and field.type.tz
        else field
        for field in rows.schema
    ]
    return pl.DataFrame(pl.from_arrow(rows.cast(pa.schema(fields))))


def _with_partition_values(frame: pl.LazyFrame, folder: Path, files: list[Path]) -> pl.LazyFrame:
    """Add the values in the names of folders below `folder`, as text: an engine would turn `007` into 7."""
    values = [dict(part.split("=", 1) for part in file.relative_to(folder).parts[:-1] if "=" in part) for file in files]
    names = list(dict.fromkeys(name for value in values for name in value))
    rows = [
        {_FILE: str(file), **{name: _partition_value(value.get(name)) for name in names}}
        for file, value in zip(files, values, strict=True)
    ]
    told = pl.LazyFrame(rows, schema=dict.fromkeys([_FILE, *names], pl.String))
    return frame.drop(names, strict=False).join(told, on=_FILE, how="left", maintain_order="left").drop(_FILE)


def _partition_value(text: str | None) -> str | None:
    return None if text is None or text == _HIVE_NULL else unquote(text)


def _parquet_schema(file: Path, table: SourceTable) -> dict[str, pl.DataType]:
    try:
        return dict(pl.scan_parquet(file, hive_partitioning=False, glob=False).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{file}: table {table.name} cannot be read ({without_values(error)}). The file is truncated or no "
            f"Parquet file: write it again, beside and renamed, and run again",
        ) from None


def _read_ndjson(path: Path, table: SourceTable) -> pl.LazyFrame:
    columns: dict[str, None] = {}
    rows: list[dict[str, object]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if not text.strip():
                continue
            try:
                row = json.loads(text.decode())
            except (ValueError, RecursionError) as error:
                raise SourceError(
                    f"{path}: table {table.name}, line {number} is not valid JSON ({_json_fault(error)}). The file is "
                    f"truncated or damaged: write it again, beside and renamed, and run again",
                ) from error
            if not isinstance(row, dict):
                raise SourceError(f"{path}: table {table.name}, line {number} is not a JSON object. Write one per line")
            columns.update(dict.fromkeys(row))
            rows.append(row)
    schema = dict.fromkeys(columns, pl.String) or dict.fromkeys((c.name for c in table.columns), pl.String)
    return pl.DataFrame({name: [_text(row.get(name)) for row in rows] for name in schema}, schema=schema).lazy()


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # JavaScript writes half an emoji as an escape that is not a character.
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def _json_fault(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "not UTF-8"
        case json.JSONDecodeError():
            return error.msg
        case RecursionError():
            return "nested too deeply"
        case _:
            return "a number is too long"


def _culprit(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if path.suffix == ".csv" and not isinstance(error, OSError):
        # Not the engine's own words: they cite the row, which may name a person.
        return _csv_culprit(path)
    return without_values(error)


def _csv_culprit(path: Path) -> str:
    blank = True
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            blank = blank and not line.strip()
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number} is not UTF-8"
    if blank:
        return "the file is empty"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            width = len(next(rows, []))
            for row in rows:
                if len(row) > width:
                    return f"line {rows.line_num} has {len(row)} fields, the header {width}"
    except csv.Error:
        pass
    return "a quote is not closed"
