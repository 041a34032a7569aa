"""Parquet files of one table: only the wanted columns are read, and values in names of folders count as columns."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.local_time import is_known_timezone
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.sources.spill import spilled

_FILE = "__file"
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_BATCH = 65_536
"""Rows that are held at once if polars cannot read a file."""


def column_names(files: Sequence[Path], folder: Path, table: SourceTable) -> list[str]:
    """Return the columns of files and of the names of their folders below `folder`.

    Raises:
        SourceError: a file is truncated or no Parquet file.

    """
    found: dict[str, None] = {}
    for file in files:
        found.update(dict.fromkeys(_names(file, table)))
        found.update(dict.fromkeys(_values_of_path(file, folder)))
    return list(found)


def scan_parquet_files(
    files: Sequence[Path], folder: Path, table: SourceTable, wanted: Collection[str]
) -> pl.LazyFrame:
    """Return the wanted columns of files, each of which may lack some of them.

    Args:
        files: the files, at least one.
        folder: the table's folder; names below it such as `cohort_id=c1` are values, as text.
        table: the canonical table, for messages.
        wanted: names of columns in the files.

    Raises:
        SourceError: a file is truncated or no Parquet file, or its column contradicts the name of its folder.

    """
    alike: dict[tuple[tuple[str, ...], tuple[tuple[str, pl.DataType], ...]], list[Path]] = {}
    frames = []
    for file in files:
        values = _values_of_path(file, folder)
        # An engine would turn the text 007 into 7.
        told = tuple(name for name in values if name in wanted)
        if _needs_arrow(file):
            own = [name for name in _names(file, table) if name in wanted]
            frames.append(_with_values(_read_by_arrow(file, own), [file], folder, table, told))
        else:
            types = tuple((name, dtype) for name, dtype in _schema(file, table).items() if name in wanted)
            alike.setdefault((told, types), []).append(file)
    for (told, schema), group in alike.items():
        names = [name for name, _ in schema]
        frame = pl.scan_parquet(group, hive_partitioning=False, glob=False, include_file_paths=_FILE)
        frames.append(_with_values(frame.select(*names, _FILE), group, folder, table, told))
    # Keep a column that only later files have; if types differ, take the wider one.
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def _with_values(
    frame: pl.LazyFrame, files: list[Path], folder: Path, table: SourceTable, told: tuple[str, ...]
) -> pl.LazyFrame:
    if not told:
        return frame.drop(_FILE)
    values = [_values_of_path(file, folder) for file in files]
    own = [name for name in told if name in frame.collect_schema()]
    for name in own:
        _require_agreement(frame, dict(zip(files, values, strict=True)), table, name)
    rows = [
        {_FILE: str(file), **{name: value[name] for name in told}} for file, value in zip(files, values, strict=True)
    ]
    known = pl.LazyFrame(rows, schema=dict.fromkeys([_FILE, *told], pl.String))
    return frame.drop(own).join(known, on=_FILE, how="left", maintain_order="left").drop(_FILE)


def _require_agreement(
    frame: pl.LazyFrame, values: dict[Path, dict[str, str | None]], table: SourceTable, name: str
) -> None:
    found = frame.select(_FILE, pl.col(name).cast(pl.String)).unique().collect()
    for file, text in found.sort(pl.all()).iter_rows():
        if not _are_equal(text, values[Path(file)][name]):
            raise SourceError(
                f"{file}: table {table.name}: the column {name} in the file contradicts the name of its folder. "
                f"Remove one of them"
            )


def _are_equal(text: str | None, told: str | None) -> bool:
    if text is None or told is None or text == told:
        return text == told
    try:
        return float(text) == float(told)
    except ValueError:
        return False


def _values_of_path(file: Path, folder: Path) -> dict[str, str | None]:
    parts = file.relative_to(folder).parts[:-1] if file != folder else ()
    told = (part.split("=", 1) for part in parts if "=" in part)
    return {name: None if text == _HIVE_NULL else unquote(text) for name, text in told}


def _needs_arrow(file: Path) -> bool:
    """Whether polars would panic at a zone: +05:30, which pandas writes for fixed offsets, or localtime."""
    try:
        types = pq.read_schema(file).types
    except (pa.ArrowException, OSError):
        return False
    return any(pa.types.is_timestamp(one) and one.tz and not is_known_timezone(one.tz) for one in types)


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


def _names(file: Path, table: SourceTable) -> list[str]:
    return list(pq.read_schema(file).names) if _needs_arrow(file) else list(_schema(file, table))


def _schema(file: Path, table: SourceTable) -> dict[str, pl.DataType]:
    try:
        return dict(pl.scan_parquet(file, hive_partitioning=False, glob=False).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{file}: table {table.name} cannot be read ({without_values(error)}). The file is truncated or no "
            f"Parquet file: write it again, beside and renamed, and run again",
        ) from None
