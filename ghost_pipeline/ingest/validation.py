"""Validate the rows of a source table: each one is read by its contract, or rejected with the reasons.

A value that cannot be read, is outside its range or names a missing record costs its row, never the file (N3.4).
Reasons name the column and the rule, not the value, so that they can be counted; the value is in the row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH, Kind, SourceColumn, SourceTable
from ghost_pipeline.domain.shared.identity import uuid_text
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

REASON = "_reason"
ROW = "_row"
ERASED = "erased"
"""The reason of a row of an erased person: it is neither taken in nor kept as rejected."""
_SEPARATOR = "; "
_EXACT_IN_FLOAT = 2**53
_NOTHING = 1e-12
"""A lower speed, which no one types, would make an endless percentage."""
_TRUE = ("true", "t", "1", "yes", "y")
_FALSE = ("false", "f", "0", "no", "n")
_TIME = (
    r"^\s*(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<minute>\d{2}:\d{2})(?:(?P<second>:\d{2})(?P<fraction>[.,]\d{1,9})?)?"
    r"\s*(?P<zone>Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?)?\s*$"
)


@dataclass(frozen=True)
class _Reading:
    """How a column is read: its value, and its possible faults (reason -> condition)."""

    value: pl.Expr
    faults: Mapping[str, pl.Expr]


def read_rows(raw: pl.LazyFrame, table: SourceTable, max_task_minutes: int | None = None) -> pl.LazyFrame:
    """Read every row of a source table by its contract, without dropping any.

    Args:
        raw: the rows as the source has them: any types, optional columns may be absent, others may be there.
        table: the canonical table they are meant for.
        max_task_minutes: the longest time that a task may take; only a table with minutes needs it.

    Returns:
        One row per row of `raw`, in its order: the columns of the contract as they are stored (null where
        they cannot be read), `_reason` (String, null for a good row, otherwise the reasons joined by "; ") and
        `_row` (Struct, the row as it was read).

    Raises:
        ValueError: the table has minutes and no limit is given.

    """
    schema = raw.collect_schema()
    readings = {column.stored_as: _read(column, schema.get(column.name), max_task_minutes) for column in table.columns}
    reasons = [
        pl.when(condition).then(pl.lit(reason))
        for reading in readings.values()
        for reason, condition in reading.faults.items()
    ]
    return raw.select(
        *(reading.value.alias(name) for name, reading in readings.items()),
        pl.concat_list(reasons).list.drop_nulls().list.join(_SEPARATOR).replace("", None).alias(REASON),
        pl.struct(_as_json(name, dtype).alias(name) for name, dtype in schema.items()).alias(ROW),
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
            row=pl.col(ROW).struct.json_encode(),
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


def reject_repeats(rows: pl.LazyFrame, key: tuple[str, ...], order: tuple[str, ...]) -> pl.LazyFrame:
    """Add a reason to all but one of the good rows that share a key.

    The one that stays has the greatest `order` (null least), then the least other values, then the least text of the
    whole row, so that the choice does not depend on the order of the rows. The order of the result is undefined.
    """
    others = [name for name in rows.collect_schema().names() if name not in {*order, ROW, REASON}]
    marked = rows.with_columns(_repeats=pl.col(REASON).is_null() & (pl.len().over(key) > 1))
    # Sort by every column only the few rows that share a key.
    placed = (
        marked.filter("_repeats")
        .sort(
            [*(pl.col(name) for name in (*order, *others)), pl.col(ROW).struct.json_encode()],
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


def _read(column: SourceColumn, dtype: pl.DataType | None, max_task_minutes: int | None) -> _Reading:
    if dtype is None or dtype == pl.Null:
        return _absent(column)
    text = _text(pl.col(column.name), dtype)
    match column.kind:
        case Kind.ID | Kind.TEXT:
            value = _no_empty(text.str.strip_chars())
            reading = _checked(column, value)
        case Kind.CHARACTER:
            value = text.fill_null("") if column.optional else text
            return _Reading(value, {} if column.optional else _missing(column, value.is_null() | (value == "")))
        case Kind.NGRAM:
            value = text.str.normalize("NFC")
            long = value.str.len_chars() > MAX_NGRAM_LENGTH
            reading = _Reading(
                value,
                {
                    **_missing(column, value.is_null() | (value == "")),
                    f"{column.name} is longer than {MAX_NGRAM_LENGTH} characters": long,
                },
            )
        case Kind.INSTANT:
            reading = _instant(column, dtype, text)
        case Kind.FLAG:
            reading = _flag(column, dtype, text)
        case Kind.NUMBER | Kind.INTEGER | Kind.MINUTES:
            reading = _number(column, dtype, text, max_task_minutes)
    return reading


def _text(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Binary:
        return uuid_text(raw.bin.encode("hex"))
    if dtype.is_float():
        # Many tools hold whole numbers as floats if an id may be missing: 3.0 and 3 are the same id.
        number = raw.fill_nan(None)
        whole = (number == number.floor()) & (number.abs() < _EXACT_IN_FLOAT)
        return (
            pl.when(whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(number.cast(pl.String))
        )
    return raw.cast(pl.String)


def _absent(column: SourceColumn) -> _Reading:
    values: dict[Kind, pl.Expr] = {
        Kind.FLAG: pl.lit(value=False),
        Kind.MINUTES: pl.lit(0, pl.Int64),
        Kind.CHARACTER: pl.lit(""),
        Kind.INSTANT: pl.lit(None, pl.Datetime("us", "UTC")),
        Kind.NUMBER: pl.lit(None, pl.Float64),
        Kind.INTEGER: pl.lit(None, pl.Int32),
    }
    faults = {} if column.optional else _missing(column, pl.lit(value=True))
    return _Reading(values.get(column.kind, pl.lit(None, pl.String)), faults)


def _checked(column: SourceColumn, value: pl.Expr) -> _Reading:
    faults: dict[str, pl.Expr] = {}
    if not column.optional:
        faults |= _missing(column, value.is_null())
    if column.one_of:
        faults[f"{column.name} is not one of {', '.join(column.one_of)}"] = value.is_in(column.one_of).not_()
    for reserved in column.none_of:
        faults[f"{column.name} {reserved} is reserved"] = value == reserved
    return _Reading(value, faults)


def _missing(column: SourceColumn, condition: pl.Expr) -> dict[str, pl.Expr]:
    return {f"{column.name} is missing": condition}


def _instant(column: SourceColumn, dtype: pl.DataType, text: pl.Expr) -> _Reading:
    raw = pl.col(column.name)
    given = raw.is_not_null()
    match dtype:
        case pl.Datetime(time_zone=None):
            value = raw.dt.replace_time_zone("UTC").dt.cast_time_unit("us")
        case pl.Datetime():
            value = raw.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        case pl.Date():
            value = raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.String() | pl.Categorical() | pl.Enum():
            given = _no_empty(text.str.strip_chars()).is_not_null()
            value = _instant_of_text(text)
        case _:
            # A bare number could be seconds, milliseconds or microseconds: reject rather than guess.
            value = pl.lit(None, pl.Datetime("us", "UTC"))
    outside = (value < FIRST_INSTANT) | (value >= LAST_INSTANT)
    faults = {} if column.optional else _missing(column, given.not_())
    # No partition has an hour that far outside, so the row has no hour.
    return _Reading(
        pl.when(outside.not_()).then(value),
        faults
        | {
            f"{column.name} is not a time": given & value.is_null(),
            f"{column.name} is outside {FIRST_INSTANT.year} to {LAST_INSTANT.year - 1}": outside,
        },
    )


def _instant_of_text(text: pl.Expr) -> pl.Expr:
    parts = text.str.extract_groups(_TIME)
    zone = parts.struct.field("zone").str.replace(r"^(?:Z|z|UTC)$", "+00:00")
    zone = zone.str.replace(r"^([+-]\d{2})$", "$1:00").str.replace(r"^([+-]\d{2})(\d{2})$", "$1:$2")
    # polars reads a fraction of exactly 0, 3, 6 or 9 digits.
    fraction = parts.struct.field("fraction").str.slice(1).str.pad_end(9, "0")
    canonical = pl.concat_str(
        parts.struct.field("date"),
        pl.lit("T"),
        parts.struct.field("minute").fill_null("00:00"),
        parts.struct.field("second").fill_null(":00"),
        pl.lit("."),
        fraction.fill_null("000000000"),
        zone.fill_null("+00:00"),
    )
    return canonical.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False).dt.convert_time_zone("UTC")


def _flag(column: SourceColumn, dtype: pl.DataType, text: pl.Expr) -> _Reading:
    if dtype == pl.Boolean:
        return _Reading(pl.col(column.name).fill_null(value=False), {})
    word = _no_empty(text.str.strip_chars().str.to_lowercase()).str.replace(r"^([01])\.0$", "$1")
    value = (
        pl.when(word.is_null() | word.is_in(_FALSE))
        .then(pl.lit(value=False))
        .when(word.is_in(_TRUE))
        .then(pl.lit(value=True))
    )
    return _Reading(value, {f"{column.name} is neither true nor false": value.is_null()})


def _number(column: SourceColumn, dtype: pl.DataType, text: pl.Expr, max_task_minutes: int | None) -> _Reading:
    raw = pl.col(column.name)
    if dtype.is_numeric():
        given, number = raw.is_not_null(), raw.cast(pl.Float64)
    else:
        word = _no_empty(text.str.strip_chars())
        given, number = word.is_not_null(), word.cast(pl.Float64, strict=False)
    finite = number.is_finite()
    faults = {} if column.optional else _missing(column, given.not_())
    faults |= {
        f"{column.name} is not a number": given & number.is_null(),
        f"{column.name} is not finite": finite.not_(),
    }
    if column.low is not None and column.high is not None:
        faults[f"{column.name} is outside {column.low:g} to {column.high:g}"] = finite & (
            (number < column.low) | (number > column.high)
        )
    elif column.low is not None:
        faults[f"{column.name} is below {column.low:g}"] = finite & (number < column.low)
    elif column.high is not None:
        faults[f"{column.name} is above {column.high:g}"] = finite & (number > column.high)
    if column.above is not None:
        faults[f"{column.name} is not above {column.above:g}"] = finite & (number <= column.above + _NOTHING)
    if column.kind is Kind.INTEGER:
        whole = finite & (number == number.floor())
        largest = 2**31 - 1
        faults[f"{column.name} is not a whole number"] = finite & (number != number.floor())
        faults[f"{column.name} is above {largest}"] = finite & (number > largest)
        return _Reading(pl.when(whole).then(number).cast(pl.Int32, strict=False), faults)
    if column.kind is Kind.MINUTES:
        if max_task_minutes is None:
            raise ValueError(f"{column.name} needs max_task_minutes")
        # Half away from zero, in whole milliseconds (G2.3); negative numbers were rejected above.
        faults[f"{column.name} is above {max_task_minutes}"] = finite & (number > max_task_minutes)
        return _Reading((number * MS_PER_MINUTE + 0.5).floor().cast(pl.Int64, strict=False).fill_null(0), faults)
    return _Reading(number, faults)


def _no_empty(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _as_json(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        # JSON has no NaN and no infinity; as text they stay visible.
        return column.cast(pl.String)
    if dtype == pl.Binary:
        return column.bin.encode("hex")
    if "Binary" in str(dtype):
        # polars cannot write nested bytes as JSON, and no canonical column has any.
        return pl.when(column.is_not_null()).then(pl.lit("bytes"))
    return column
