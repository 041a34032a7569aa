"""Parquet files of one table: only the wanted columns are read, and values in names of folders count as columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.domain.shared.identity import uuid_text
from ghost_pipeline.domain.shared.local_time import is_known_timezone
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.sources.data_files import DataFile
from ghost_pipeline.sources.partition_values import FILE, values_of, with_values
from ghost_pipeline.sources.spill import spilled

_UUID_BYTES = 16
_BATCH = 65_536
"""Rows that are held at once if polars cannot read a file."""
_MOST_DIGITS = 38
"""Digits of a decimal that polars can hold."""


@dataclass(frozen=True)
class _Footer:
    """What a file says of its columns."""

    names: tuple[str, ...]
    unreadable: Mapping[str, str]
    """Columns whose types nothing here can hold, each with the name of its type."""
    needs_arrow: bool
    """Whether polars would panic: at a zone (+05:30, which pandas writes for fixed offsets, or localtime), or at an
    interval, even if it is not read."""
    schema: Mapping[str, pl.DataType]
    """The columns as polars reads them; empty if it would panic."""
    uuids: tuple[str, ...] = ()
    """Columns of 16 bytes by their type, UUID or fixed: polars reads them as bytes like any others."""


def column_names(files: Sequence[DataFile], location: str, table: SourceTable) -> list[str]:
    """Return the columns of files and of the names of their folders below `location`.

    Raises:
        SourceError: a file is truncated or no Parquet file.

    """
    found: dict[str, None] = {}
    for file in files:
        found.update(dict.fromkeys(_footer(file, table).names))
        found.update(dict.fromkeys(values_of(file, location)))
    return list(found)


def scan_parquet_files(
    files: Sequence[DataFile], location: str, table: SourceTable, wanted: Mapping[str, SourceColumn]
) -> pl.LazyFrame:
    """Return the rows of all `frames_alike`: a column that only some files have is kept, and the wider type."""
    frames = [frame.drop(FILE) for frame in frames_alike(files, location, table, wanted)]
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def frames_alike(
    files: Sequence[DataFile], location: str, table: SourceTable, wanted: Mapping[str, SourceColumn]
) -> list[pl.LazyFrame]:
    """Return the wanted columns of files, and `FILE`: a frame for the files with the same columns and types.

    Args:
        files: the files, at least one.
        location: the table's folder; names below it such as `cohort_id=c1` are values, as text.
        table: the canonical table, for messages.
        wanted: the columns to read, by their names in the files.

    Raises:
        SourceError: a file is truncated or no Parquet file, or a column has a type that cannot be read or contradicts
            the name of its folder.

    """
    alike: dict[tuple[tuple[str, ...], tuple[tuple[str, pl.DataType], ...], tuple[str, ...]], list[DataFile]] = {}
    frames = []
    for file in files:
        values = values_of(file, location)
        # An engine would turn the text 007 into 7.
        told = tuple(name for name in values if name in wanted)
        footer = _footer(file, table)
        _require_readable(file, footer, table, wanted)
        uuids = tuple(name for name in footer.uuids if name in wanted and wanted[name].kind is Kind.ID)
        if footer.needs_arrow:
            own = [name for name in footer.names if name in wanted]
            frame = _read_by_arrow(file, own).with_columns(map(_as_uuids, uuids))
            frames.append(with_values(frame, [file], location, table, told, wanted))
        else:
            types = tuple((name, dtype) for name, dtype in footer.schema.items() if name in wanted)
            alike.setdefault((told, types, uuids), []).append(file)
    for (told, schema, uuids), group in alike.items():
        names = [name for name, _ in schema]
        frame = _scan([one.address for one in group], include_file_paths=FILE)
        frame = frame.select(*names, FILE).with_columns(map(_as_uuids, uuids))
        frames.append(with_values(frame, group, location, table, told, wanted))
    return frames


def _footer(file: DataFile, table: SourceTable) -> _Footer:
    end = file.footer()
    try:
        found = pq.read_metadata(end)
        schema = found.schema.to_arrow_schema()
    except (pa.ArrowException, OSError):
        # Only what polars cannot read either is damaged.
        read = _schema(file, end, table)
        return _Footer(tuple(read), {}, needs_arrow=False, schema=read)
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
    needs_arrow = bool(intervals) or not all(map(is_known_timezone, zones))
    read = {} if needs_arrow else _schema(file, end, table)
    return _Footer(tuple(schema.names), unreadable, needs_arrow, read, uuids)


def _as_uuids(name: str) -> pl.Expr:
    return uuid_text(pl.col(name).bin.encode("hex"))


def _is_interval(leaf: pq.ColumnSchema) -> bool:
    return bool(leaf.converted_type == "INTERVAL")


def _require_readable(file: DataFile, footer: _Footer, table: SourceTable, wanted: Mapping[str, SourceColumn]) -> None:
    for name, of_type in sorted(footer.unreadable.items()):
        if name in wanted:
            raise SourceError(
                f"{file}: table {table.name}: the column {name} has the type {of_type}, which cannot be read. Write it "
                f"as text or as a number of at most {_MOST_DIGITS} digits, or leave it out"
            )


def _read_by_arrow(file: DataFile, names: list[str]) -> pl.LazyFrame:
    """Copy columns to a temporary file with all times in UTC: Parquet stores them so, whatever zone it notes."""
    with file.reopenable() as openings, openings() as content, pq.ParquetFile(content) as opened:
        fields = [
            field.with_type(pa.timestamp(field.type.unit, "UTC"))
            if pa.types.is_timestamp(field.type) and field.type.tz
            else field
            for field in (opened.schema_arrow.field(name) for name in names)
        ]
        schema = pa.schema([*fields, (FILE, pa.large_string())]).remove_metadata()

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in opened.iter_batches(_BATCH, columns=names):
                columns = [batch.column(field.name).cast(field.type) for field in fields]
                path = pa.array([file.address] * batch.num_rows, pa.large_string())
                yield pa.record_batch([*columns, path], schema=schema)

        return spilled(schema, batches())


def _schema(file: DataFile, end: Path | BytesIO, table: SourceTable) -> dict[str, pl.DataType]:
    try:
        if isinstance(end, BytesIO):
            end.seek(0)
        return dict(_scan(end).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{file}: table {table.name} cannot be read ({without_values(error)}). The file is truncated or no "
            f"Parquet file: write it again, beside and renamed, and run again",
        ) from None


def _scan(files: list[str] | Path | BytesIO, include_file_paths: str | None = None) -> pl.LazyFrame:
    # No provider of credentials: polars would look for packages of clouds, and the variables `AWS_*` say it all.
    return pl.scan_parquet(
        files, hive_partitioning=False, glob=False, include_file_paths=include_file_paths, credential_provider=None
    )
