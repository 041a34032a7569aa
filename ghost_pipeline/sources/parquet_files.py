"""Parquet files of one table: only the wanted columns are read, and values in names of folders count as columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.domain.shared.identity import uuid_text
from ghost_pipeline.domain.shared.local_time import is_known_timezone
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.sources.spill import spilled

_FILE = "__file"
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_UUID_BYTES = 16
_BATCH = 65_536
"""Rows that are held at once if polars cannot read a file."""
_MOST_DIGITS = 38
"""Digits of a decimal that polars can hold."""
_FRACTION_OF_ZERO = re.compile(r"-?[0-9]+\.0+")


@dataclass(frozen=True)
class _Footer:
    """What a file says of its columns."""

    names: tuple[str, ...]
    unreadable: Mapping[str, str]
    """Columns whose types nothing here can hold, each with the name of its type."""
    needs_arrow: bool
    """Whether polars would panic: at a zone (+05:30, which pandas writes for fixed offsets, or localtime), or at an
    interval, even if it is not read."""
    uuids: tuple[str, ...] = ()
    """Columns of 16 bytes by their type, UUID or fixed: polars reads them as bytes like any others."""


def column_names(files: Sequence[Path], folder: Path, table: SourceTable) -> list[str]:
    """Return the columns of files and of the names of their folders below `folder`.

    Raises:
        SourceError: a file is truncated or no Parquet file.

    """
    found: dict[str, None] = {}
    for file in files:
        found.update(dict.fromkeys(_footer(file, table).names))
        found.update(dict.fromkeys(_values_of_path(file, folder)))
    return list(found)


def scan_parquet_files(
    files: Sequence[Path], folder: Path, table: SourceTable, wanted: Mapping[str, SourceColumn]
) -> pl.LazyFrame:
    """Return the wanted columns of files, each of which may lack some of them.

    Args:
        files: the files, at least one.
        folder: the table's folder; names below it such as `cohort_id=c1` are values, as text.
        table: the canonical table, for messages.
        wanted: the columns to read, by their names in the files.

    Raises:
        SourceError: a file is truncated or no Parquet file, or a column has a type that cannot be read or contradicts
            the name of its folder.

    """
    alike: dict[tuple[tuple[str, ...], tuple[tuple[str, pl.DataType], ...], tuple[str, ...]], list[Path]] = {}
    frames = []
    for file in files:
        values = _values_of_path(file, folder)
        # An engine would turn the text 007 into 7.
        told = tuple(name for name in values if name in wanted)
        footer = _footer(file, table)
        _require_readable(file, footer, table, wanted)
        uuids = tuple(name for name in footer.uuids if name in wanted and wanted[name].kind is Kind.ID)
        if footer.needs_arrow:
            own = [name for name in footer.names if name in wanted]
            frame = _read_by_arrow(file, own).with_columns(map(_as_uuids, uuids))
            frames.append(_with_values(frame, [file], folder, table, told, wanted))
        else:
            types = tuple((name, dtype) for name, dtype in _schema(file, table).items() if name in wanted)
            alike.setdefault((told, types, uuids), []).append(file)
    for (told, schema, uuids), group in alike.items():
        names = [name for name, _ in schema]
        frame = pl.scan_parquet(group, hive_partitioning=False, glob=False, include_file_paths=_FILE)
        frame = frame.select(*names, _FILE).with_columns(map(_as_uuids, uuids))
        frames.append(_with_values(frame, group, folder, table, told, wanted))
    # Keep a column that only later files have; if types differ, take the wider one.
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def _with_values(
    frame: pl.LazyFrame,
    files: list[Path],
    folder: Path,
    table: SourceTable,
    told: tuple[str, ...],
    wanted: Mapping[str, SourceColumn],
) -> pl.LazyFrame:
    if not told:
        return frame.drop(_FILE)
    values = [_values_of_path(file, folder) for file in files]
    own = [name for name in told if name in frame.collect_schema()]
    for name in own:
        _require_agreement(frame, dict(zip(files, values, strict=True)), table, name, wanted[name].kind)
    rows = [
        {_FILE: str(file), **{name: value[name] for name in told}} for file, value in zip(files, values, strict=True)
    ]
    known = pl.LazyFrame(rows, schema=dict.fromkeys([_FILE, *told], pl.String))
    return frame.drop(own).join(known, on=_FILE, how="left", maintain_order="left").drop(_FILE)


def _require_agreement(
    frame: pl.LazyFrame, values: dict[Path, dict[str, str | None]], table: SourceTable, name: str, kind: Kind
) -> None:
    found = frame.select(_FILE, pl.col(name).cast(pl.String)).unique().collect()
    for file, text in found.sort(pl.all()).iter_rows():
        if not _are_equal(text, values[Path(file)][name], kind):
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
        return float(text) == float(told)
    except ValueError:
        return False


def _id(text: str) -> str:
    """Return an id as it is read: 7.0 is 7, but 007 is another one."""
    trimmed = text.strip()
    if not _FRACTION_OF_ZERO.fullmatch(trimmed):
        return trimmed
    whole = trimmed.partition(".")[0]
    return "0" if whole.startswith("-") and not whole.strip("-0") else whole


def _values_of_path(file: Path, folder: Path) -> dict[str, str | None]:
    parts = file.relative_to(folder).parts[:-1] if file != folder else ()
    told = (part.split("=", 1) for part in parts if "=" in part)
    return {name: None if text == _HIVE_NULL else unquote(text) for name, text in told}


def _footer(file: Path, table: SourceTable) -> _Footer:
    try:
        found = pq.read_metadata(file)
        schema = found.schema.to_arrow_schema()
    except (pa.ArrowException, OSError):
        # Only what polars cannot read either is damaged.
        return _Footer(tuple(_schema(file, table)), {}, needs_arrow=False)
    leaves = [found.schema.column(at) for at in range(len(found.schema))]
    intervals = {
        one.path if one.path in schema.names else one.path.partition(".")[0] for one in leaves if _is_interval(one)
    }
    unreadable = dict.fromkeys(intervals, "interval")
    for field in schema:
        if pa.types.is_decimal(field.type) and field.type.precision > _MOST_DIGITS:
            unreadable[field.name] = f"decimal({field.type.precision}, {field.type.scale})"
    zones = {one.tz for one in schema.types if pa.types.is_timestamp(one) and one.tz}
    uuids = tuple(field.name for field in schema if field.type in (pa.uuid(), pa.binary(_UUID_BYTES)))
    return _Footer(tuple(schema.names), unreadable, bool(intervals) or not all(map(is_known_timezone, zones)), uuids)


def _as_uuids(name: str) -> pl.Expr:
    return uuid_text(pl.col(name).bin.encode("hex"))


def _is_interval(leaf: pq.ColumnSchema) -> bool:
    return bool(leaf.converted_type == "INTERVAL")


def _require_readable(file: Path, footer: _Footer, table: SourceTable, wanted: Mapping[str, SourceColumn]) -> None:
    for name, of_type in sorted(footer.unreadable.items()):
        if name in wanted:
            raise SourceError(
                f"{file}: table {table.name}: the column {name} has the type {of_type}, which cannot be read. Write it "
                f"as text or as a number of at most {_MOST_DIGITS} digits, or leave it out"
            )


def _read_by_arrow(file: Path, names: list[str]) -> pl.LazyFrame:
    """Copy columns to a temporary file with all times in UTC: Parquet stores them so, whatever zone it notes."""
    opened = pq.ParquetFile(file)
    fields = [
        field.with_type(pa.timestamp(field.type.unit, "UTC"))
        if pa.types.is_timestamp(field.type) and field.type.tz
        else field
        for field in (opened.schema_arrow.field(name) for name in names)
    ]
    schema = pa.schema([*fields, (_FILE, pa.large_string())]).remove_metadata()

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in opened.iter_batches(_BATCH, columns=names):
            columns = [batch.column(field.name).cast(field.type) for field in fields]
            yield pa.record_batch([*columns, pa.array([str(file)] * batch.num_rows, pa.large_string())], schema=schema)

    return spilled(schema, batches())


def _schema(file: Path, table: SourceTable) -> dict[str, pl.DataType]:
    try:
        return dict(pl.scan_parquet(file, hive_partitioning=False, glob=False).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{file}: table {table.name} cannot be read ({without_values(error)}). The file is truncated or no "
            f"Parquet file: write it again, beside and renamed, and run again",
        ) from None
