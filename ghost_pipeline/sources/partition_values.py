"""Values that the names of folders give to the files below them: `cohort_id=c1`."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import unquote

import polars as pl

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.data_files import DataFile, without_partition_values
from ghost_pipeline.sources.source import FAULT

FILE = "__file"
"""A column with the address of a row's file."""
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_FRACTION_OF_ZERO = re.compile(r"-?[0-9]+\.0+")


def values_of(file: DataFile, location: str) -> dict[str, str | None]:
    """Return the values in the names of the folders between a table's folder and a file, as text.

    Raises:
        SourceError: two folders give a column different values.

    """
    parts = PurePosixPath(file.part).relative_to(location).parts[:-1]
    told: dict[str, str] = {}
    for name, text in (part.split("=", 1) for part in parts if "=" in part):
        if told.setdefault(name, text) != text:
            raise SourceError(f"{file}: two of its folders give the column {name} different values. Remove one of them")
    return {name: None if text == _HIVE_NULL else unquote(text) for name, text in told.items()}


def named(file: DataFile, location: str) -> str:
    """Return the path of a file below its table's folder, for messages and records."""
    return without_partition_values(PurePosixPath(file.part).relative_to(location).as_posix())


def with_values(
    frame: pl.LazyFrame,
    files: Sequence[DataFile],
    location: str,
    table: SourceTable,
    told: tuple[str, ...],
    wanted: Mapping[str, SourceColumn],
) -> pl.LazyFrame:
    """Return rows with the values that the names of folders tell, in place of those in the files.

    Args:
        frame: the rows of files, with the address of each row's file as `FILE`.
        files: the files.
        location: the table's folder.
        table: the canonical table, for messages.
        told: the columns that the names tell.
        wanted: the columns that are read, by their names in the files.

    Raises:
        SourceError: a file contradicts the name of its folder.

    """
    if not told:
        return frame
    values = [values_of(file, location) for file in files]
    there = frame.collect_schema()
    own = [name for name in told if name in there]
    # A line that holds no row contradicts nothing.
    rows_of_files = frame.filter(pl.col(FAULT).is_null()) if FAULT in there else frame
    for name in own:
        told_by = {file.address: (file, value[name]) for file, value in zip(files, values, strict=True)}
        _require_agreement(rows_of_files, told_by, table, name, wanted[name].kind)
    rows = [
        {FILE: file.address, **{name: value[name] for name in told}} for file, value in zip(files, values, strict=True)
    ]
    known = pl.LazyFrame(rows, schema=dict.fromkeys([FILE, *told], pl.String))
    return frame.drop(own).join(known, on=FILE, how="left", maintain_order="left")


def _require_agreement(
    frame: pl.LazyFrame, told: Mapping[str, tuple[DataFile, str | None]], table: SourceTable, name: str, kind: Kind
) -> None:
    found = frame.select(FILE, pl.col(name).cast(pl.String)).unique().collect()
    for address, text in found.sort(pl.all()).iter_rows():
        file, value = told[address]
        if not _are_equal(text, value, kind):
            raise SourceError(
                f"{file}: table {table.name}: the column {name} in the file contradicts the name of its folder. "
                f"Remove one of them"
            )


def _are_equal(text: str | None, told: str | None, kind: Kind) -> bool:
    if text is None or told is None or text == told:
        return text == told
    if kind is Kind.ID:
        return _id(text) == _id(told)
    try:
        return _instant(text) == _instant(told) if kind is Kind.INSTANT else float(text) == float(told)
    except ValueError:
        return False


def _instant(text: str) -> datetime:
    """Return an instant in any spelling: 2025-03-01 is 2025-03-01 00:00:00.000000."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _id(text: str) -> str:
    """Return an id as it is read: 7.0 is 7, but 007 is another one."""
    trimmed = text.strip()
    if not _FRACTION_OF_ZERO.fullmatch(trimmed):
        return trimmed
    whole = trimmed.partition(".")[0]
    return "0" if whole.startswith("-") and not whole.strip("-0") else whole
