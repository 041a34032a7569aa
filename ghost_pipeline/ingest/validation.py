"""Validate the rows of a source table: each one is read by its contract, or rejected with the reasons.

A value that cannot be read, is outside its range or names a missing record costs its row, never the file (N3.4).
Reasons name the column and the rule, not the value, so that they can be counted; the value is in the row.
"""

import polars as pl

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.values import PARSED, reading_of, utf8_text, within_calendar
from ghost_pipeline.sources.source import FAULT, LINE, LINE_FILE, PART

REASON = "_reason"
ROW = "_row"
ERASED = "erased"
"""The reason of a row of an erased person: it is neither taken in nor kept as rejected."""
_SEPARATOR = "; "
_VALUE = "_value_"
_SAME_IF_STORED = {Kind.ID, Kind.TEXT, Kind.NGRAM, Kind.INSTANT, Kind.NUMBER, Kind.INTEGER}
"""Kinds whose stored value is null exactly if the raw one is null or was not read."""


def read_rows(raw: pl.LazyFrame, table: SourceTable, max_task_minutes: int | None = None) -> pl.LazyFrame:
    """Read every row of a source table by its contract, without dropping any.

    A frame that already has the types of the contract costs little more than decoding it: conditions are cheap, and
    texts are built for rows with a fault only.

    Args:
        raw: the rows as the source has them: any types, optional columns may be absent, others may be there.
        table: the canonical table they are meant for.
        max_task_minutes: the longest time that a task may take; only a table with minutes needs it.

    Returns:
        One row per row of `raw`, in its order: the columns of the contract as they are stored (null where
        they cannot be read), `_reason` (String, null for a good row, otherwise the reasons joined by "; ") and
        `_row` (Struct, the canonical columns as they were read; a value that is stored as it was is null there:
        `source_rows` puts both together). `PART` stays if it is there.

    Raises:
        SourceError: a canonical column has a type that holds no single value.
        ValueError: the table has minutes and no limit is given.

    """
    schema = raw.collect_schema()
    found = {column: schema[column.name] for column in table.columns if column.name in schema}
    for column, dtype in found.items():
        if dtype.is_nested() or dtype == pl.Object:
            raise SourceError(
                f"table {table.name}: the column {column.name} has the type {type(dtype).__name__}, which holds no "
                f"single value. Write it as text, or map another column"
            )
        if (dtype == pl.Duration and column.kind is not Kind.INSTANT) or isinstance(dtype, pl.BaseExtension):
            raise SourceError(
                f"table {table.name}: the column {column.name} has the type {type(dtype).__name__}, which cannot be "
                f"read. Write it as text or as a number, or map another column"
            )
    readings = {column: reading_of(column, found.get(column), max_task_minutes) for column in table.columns}
    faults = {reason: fault for reading in readings.values() for reason, fault in reading.faults.items()}
    reasons = pl.struct(condition.alias(reason) for reason, condition in faults.items())
    reason = reasons.map_batches(_joined, return_dtype=pl.String, is_elementwise=True)
    # A line of a text file that holds no row is named by its number: its content has no columns.
    lines = [name for name in (LINE, LINE_FILE) if name in schema]
    part = [PART] if PART in schema else []
    shown = raw.with_columns(within_calendar(column.name, dtype) for column, dtype in found.items())
    parsed = shown.select(
        *([*lines, FAULT] if lines else []),
        *part,
        *(column.name for column in found),
        *(reading.parsed.alias(PARSED + column.name) for column, reading in readings.items()),
    )
    read = parsed.with_columns(reading.value.alias(_VALUE + column.stored_as) for column, reading in readings.items())
    return read.select(
        *(pl.col(_VALUE + column.stored_as).alias(column.stored_as) for column in table.columns),
        (pl.coalesce(FAULT, reason) if lines else reason).alias(REASON),
        pl.struct(*lines, *(_unlike_stored(column, dtype) for column, dtype in found.items())).alias(ROW),
        *part,
    )


def good_rows(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows without a reason, with the columns of their contract only."""
    return rows.filter(pl.col(REASON).is_null()).drop(REASON, ROW)


def rejected_rows(rows: pl.LazyFrame, table: SourceTable, hour: pl.Expr) -> pl.LazyFrame:
    """Return the rows with a reason, except those of erased people, in the shape of `rejected_rows`.

    Args:
        rows: read rows, with `_reason` and `_row`.
        table: the canonical table they were read for.
        hour: the instant that places a row, null if it is not known.

    """
    return (
        rows.filter(pl.col(REASON) != ERASED)
        .select(
            source_table=pl.lit(table.name),
            hour=hour.dt.truncate("1h"),
            reason=REASON,
            row=rows_as_json(rows, table),
        )
        .sort("hour", "reason", "row")
    )


def reject_unknown(rows: pl.LazyFrame, column: str, known: pl.LazyFrame, what: str) -> pl.LazyFrame:
    """Add a reason to rows whose `column` names nothing in `known` (one column of the same name)."""
    ids = known.select(pl.col(column)).unique().with_columns(_known=pl.lit(value=True))
    unknown = pl.col(column).is_not_null() & pl.col("_known").is_null()
    return (
        rows.join(ids, on=column, how="left", maintain_order="left")
        .with_columns(_with_reason(unknown, f"{column} names no {what}"))
        .drop("_known")
    )


def set_aside_erased(rows: pl.LazyFrame, erased: pl.Expr) -> pl.LazyFrame:
    """Give rows of erased people that reason, in place of any other; a null `erased` means they are not."""
    return rows.with_columns(pl.when(erased).then(pl.lit(ERASED)).otherwise(REASON).alias(REASON))


def reject_repeats(
    rows: pl.LazyFrame, table: SourceTable, order: tuple[str, ...], row_text: pl.Expr | None = None
) -> pl.LazyFrame:
    """Add a reason to all but one of the good rows that share the table's key.

    The one that stays has the greatest `order` (null least), then the least other values, then the least text of the
    whole row, so that the choice does not depend on the order of the rows. The order of the result is undefined.

    Args:
        rows: read rows.
        table: their table.
        order: columns whose greatest values stay.
        row_text: the text of the whole row, if `_row` is no longer what `read_rows` gave.

    """
    key = table.key
    text = rows_as_json(rows, table) if row_text is None else row_text
    others = [name for name in rows.collect_schema().names() if name not in {*order, ROW, REASON}]
    marked = rows.with_columns(_repeats=pl.col(REASON).is_null() & (pl.len().over(key) > 1))
    # Sort by every column only the few rows that share a key.
    placed = (
        marked.filter("_repeats")
        .sort(
            [*(pl.col(name) for name in (*order, *others)), text],
            descending=[True] * len(order) + [False] * (len(others) + 1),
            nulls_last=True,
        )
        .with_columns(_place=pl.int_range(pl.len()).over(key))
        .with_columns(_with_reason(pl.col("_place") > 0, f"{', '.join(key)} stands more than once"))
        .drop("_place")
    )
    return pl.concat([marked.remove("_repeats"), placed]).drop("_repeats")


def merge_repeated_events(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Keep one row of each `progress_id`: the earliest, then that with the smallest minutes (G2.3).

    Args:
        rows: good rows of `user_progress` as they are stored.

    """
    return rows.sort("progress_id", "completed_at", "time_spent_ms", "task_type", "user_id").unique(
        "progress_id", keep="first", maintain_order=True
    )


def _with_reason(condition: pl.Expr, reason: str) -> pl.Expr:
    joined = pl.concat_str(REASON, pl.lit(reason), separator=_SEPARATOR, ignore_nulls=True)
    return pl.when(condition).then(joined).otherwise(REASON).alias(REASON)


def rows_as_json(rows: pl.LazyFrame, table: SourceTable) -> pl.Expr:
    """Return the canonical columns as they were read, as a JSON object; of a line that holds no row, its place."""
    line, file = line_of(rows), line_file_of(rows)
    of_line = pl.concat_str(pl.lit('{"line":'), line, pl.lit("}"))
    of_file = pl.struct(file.alias("file"), line.alias("line")).struct.json_encode()
    return (
        pl.when(file.is_not_null())
        .then(of_file)
        .when(line.is_not_null())
        .then(of_line)
        .otherwise(source_rows(rows, table).struct.json_encode())
    )


def line_of(rows: pl.LazyFrame) -> pl.Expr:
    """Return the number of a line that holds no row, from read rows; null for a row."""
    return _of_row(rows, LINE, pl.Int64())


def line_file_of(rows: pl.LazyFrame) -> pl.Expr:
    """Return the file of a line that holds no row, from read rows; null for a row, and if the table has one file."""
    return _of_row(rows, LINE_FILE, pl.String())


def _of_row(rows: pl.LazyFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    row = rows.collect_schema()[ROW]
    is_there = isinstance(row, pl.Struct) and any(field.name == name for field in row.fields)
    return pl.col(ROW).struct.field(name) if is_there else pl.lit(None, dtype)


def source_rows(rows: pl.LazyFrame, table: SourceTable) -> pl.Expr:
    """Return the struct of the canonical columns as they were read, from read rows.

    Values that JSON cannot hold become text: NaN and infinity, and bytes (hexadecimal digits if they are no text).
    """
    row = rows.collect_schema()[ROW]
    types = pl.DataFrame(schema={ROW: row}).unnest(ROW).schema
    columns = {column.name: column for column in table.columns}
    return pl.struct(_as_json(columns[name], dtype) for name, dtype in types.items() if name in columns)


def _joined(faults: pl.Series) -> pl.Series:
    """Return the names of the fields that are true, joined; null if none is."""
    conditions = faults.struct.unnest()
    is_bad = conditions.select(pl.any_horizontal(pl.all()).fill_null(value=False)).to_series()
    if not is_bad.any():
        return pl.Series(faults.name, [None], pl.String).new_from_index(0, len(faults))
    named = [pl.when(pl.col(name)).then(pl.lit(name)) for name in conditions.columns]
    bad = conditions.filter(is_bad).select(pl.concat_str(named, separator=_SEPARATOR, ignore_nulls=True)).to_series()
    reasons = pl.Series(faults.name, [None], pl.String).new_from_index(0, len(faults))
    return reasons.scatter(is_bad.arg_true(), bad)


def _is_kept_once(column: SourceColumn, dtype: pl.DataType) -> bool:
    """Whether a raw value of this type can be told from the stored one."""
    return column.kind in _SAME_IF_STORED and dtype == _stored_type(column)


def _stored_type(column: SourceColumn) -> pl.DataType:
    match column.kind:
        case Kind.INSTANT:
            return pl.Datetime("us", "UTC")
        case Kind.NUMBER:
            return pl.Float64()
        case Kind.INTEGER:
            return pl.Int32()
        case _:
            return pl.String()


def _unlike_stored(column: SourceColumn, dtype: pl.DataType) -> pl.Expr:
    raw = pl.col(column.name)
    if not _is_kept_once(column, dtype):
        return raw
    return pl.when(raw.ne_missing(pl.col(_VALUE + column.stored_as))).then(raw).alias(column.name)


def _as_json(column: SourceColumn, dtype: pl.DataType) -> pl.Expr:
    raw = pl.col(ROW).struct.field(column.name)
    if _is_kept_once(column, dtype):
        raw = pl.coalesce(raw, pl.col(column.stored_as))
    if dtype.is_float():
        # JSON has no NaN and no infinity; as text they stay visible.
        raw = raw.cast(pl.String)
    elif dtype == pl.Binary:
        # An id as it is stored: erasure searches for it.
        stored = [pl.col(column.stored_as)] if column.kind is Kind.ID else []
        raw = pl.coalesce(*stored, utf8_text(raw), raw.bin.encode("hex"))
    elif "Binary" in str(dtype):
        # polars cannot write nested bytes as JSON, and no canonical column has any.
        raw = pl.when(raw.is_not_null()).then(pl.lit("bytes"))
    return raw.alias(column.name)
