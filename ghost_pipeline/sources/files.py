"""A folder of Parquet, CSV or NDJSON files as a source (`source_tables.md`, "As files").

`<table>.parquet`, `<table>.csv`, `<table>.ndjson`, or a folder `<table>/` of Parquet files, in hive
partitions or not. CSV and NDJSON are read as text, so that one bad value costs one row and not the file.
"""

import json
from pathlib import Path

import polars as pl

from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.source import require_columns
from ghost_pipeline.tables.raw import SOURCE_TABLES, SourceTable

SUFFIXES = (".parquet", ".csv", ".ndjson")


class FileSource:
    """The canonical tables in one folder."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises:
            SourceError: it is not a folder.

        """
        if not folder.is_dir():
            raise SourceError(f"source {folder}: not a folder. Set GHOST_SOURCE to a folder of canonical tables")
        self.folder = folder

    @property
    def name(self) -> str:
        """The folder."""
        return f"source {self.folder}"

    def tables(self) -> set[str]:
        """The canonical tables that the folder has a file or a folder for."""
        return {name for name in SOURCE_TABLES if self._candidates(name)}

    def location(self, table: SourceTable) -> Path:
        """The one file or folder that holds a table.

        Raises:
            SourceError: there is none, or more than one.

        """
        candidates = self._candidates(table.name)
        if not candidates:
            raise SourceError(
                f"{self.name}: table {table.name} is missing. Add {table.name}.parquet, .csv or .ndjson, or a "
                f"folder {table.name}/ of Parquet files",
            )
        if len(candidates) > 1:
            raise SourceError(
                f"{self.name}: table {table.name} is there more than once "
                f"({', '.join(path.name for path in candidates)}). Keep one of them",
            )
        return candidates[0]

    def scan(self, table: SourceTable) -> pl.LazyFrame:
        """The rows of a table as they are in its files.

        Raises:
            SourceError: the table or a required column is missing, or a file is truncated or unreadable.

        """
        path = self.location(table)
        try:
            frame = _read(path, table)
            columns = frame.collect_schema().names()
        except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
            raise SourceError(
                f"{path}: table {table.name} cannot be read ({_culprit(path, error)}). The file is truncated or "
                f"not what its name says: write it again, beside and renamed, and run again",
            ) from error
        require_columns(str(path), table, columns)
        return frame

    def _candidates(self, table: str) -> list[Path]:
        files = [path for suffix in SUFFIXES if (path := self.folder / f"{table}{suffix}").is_file()]
        folder = self.folder / table
        return [*files, folder] if folder.is_dir() else files


def _read(path: Path, table: SourceTable) -> pl.LazyFrame:
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise SourceError(f"{path}: table {table.name} is a folder without a Parquet file. Add one, or remove it")
        for file in files:
            _check_parquet(file, table)
        return pl.scan_parquet(
            files, hive_partitioning=True, missing_columns="insert", extra_columns="ignore", glob=False
        )
    if path.suffix == ".parquet":
        _check_parquet(path, table)
        return pl.scan_parquet(path, hive_partitioning=False, glob=False)
    if path.suffix == ".csv":
        # Read here and now: a row with too many fields must fail as this file's fault, not in a later step.
        return pl.read_csv(path, infer_schema=False, encoding="utf8").lazy()
    return _read_ndjson(path, table)


def _check_parquet(file: Path, table: SourceTable) -> None:
    try:
        pl.read_parquet_schema(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{file}: table {table.name} cannot be read ({_first_line(error)}). The file is truncated or no "
            f"Parquet file: write it again, beside and renamed, and run again",
        ) from error


def _read_ndjson(path: Path, table: SourceTable) -> pl.LazyFrame:
    columns: dict[str, None] = {}
    rows: list[dict[str, object]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise SourceError(
                    f"{path}: table {table.name}, line {number} is no JSON ({error.msg}). The file is truncated "
                    f"or damaged: write it again, beside and renamed, and run again",
                ) from error
            if not isinstance(row, dict):
                raise SourceError(f"{path}: table {table.name}, line {number} is no JSON object. Write one per line")
            columns.update(dict.fromkeys(row))
            rows.append(row)
    schema = dict.fromkeys(columns, pl.String) or dict.fromkeys((c.name for c in table.columns), pl.String)
    return pl.DataFrame({name: [_text(row.get(name)) for row in rows] for name in schema}, schema=schema).lazy()


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _culprit(path: Path, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
