"""How the values of a source column are read by the column's kind, whatever type they have.

A column that already has its stored type is only checked. Texts take the general way; of times, only those that are
not in the usual forms do. Functions over a Series run batch by batch, so they can skip what no value of a batch needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH, NULL_MARKERS, Kind, SourceColumn
from ghost_pipeline.domain.shared.identity import uuid_text
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT

PARSED = "_parsed_"
"""Prefix of the column with a parsed value, before its checks."""
_EXACT_IN_FLOAT: dict[type[pl.DataType], int] = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
"""From this on, floats stand for several whole numbers each."""
_NOTHING = 1e-12
"""A lower speed, which no one types, would make an endless percentage."""
_TRUE = ("true", "t", "1", "yes", "y")
_FALSE = ("false", "f", "0", "no", "n")
_UUID_BYTES = 16
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f]"
_INSTANT = pl.Datetime("us", "UTC")
_TIME = (
    r"^\s*(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<minute>\d{2}:\d{2})(?:(?P<second>:\d{2})(?P<fraction>[.,]\d{1,9})?)?"
    r"\s*(?P<zone>Z|z|UTC|[+-]\d{2}(?::?\d{2})?)?)?\s*$"
)
_USUAL_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])?$"
)
"""Times that need no groups: a regular expression without groups is read ten times faster."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_TIME, _LAST_TIME = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
"""A day within what Python can hold, in every zone."""
_SECOND_ENDS = 19
"""Characters of a usual time without its fraction and zone."""


@dataclass(frozen=True)
class Reading:
    """How a column is read, in two steps: `parsed` first, then what follows from it."""

    parsed: pl.Expr
    """Of the raw column; the others may use it as the column `_parsed_<name>`."""
    value: pl.Expr
    """As it is stored."""
    faults: Mapping[str, pl.Expr]
    """Reason -> condition; a null condition is no fault."""


def reading_of(column: SourceColumn, dtype: pl.DataType | None, max_task_minutes: int | None) -> Reading:
    """Return how a column of this type is read; a type of None means that the column is absent.

    Raises:
        ValueError: the column holds minutes and no limit is given.

    """
    if column.kind is Kind.MINUTES and max_task_minutes is None:
        raise ValueError(f"{column.name} needs max_task_minutes")
    if dtype is None or dtype == pl.Null:
        return _absent(column)
    reading = _reading(column, dtype, max_task_minutes)
    if (spoilt := _spoilt(column, dtype)) is None:
        return reading
    says, is_spoilt = spoilt
    faults = {reason: fault & is_spoilt.not_() for reason, fault in reading.faults.items()}
    return Reading(reading.parsed, reading.value, {**faults, f"{column.name} holds {says}": is_spoilt})


def within_calendar(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column as it can be shown: of times beyond the calendar, infinite ones among them, its first or last.

    Databases write infinity into Parquet as the largest number. Neither polars nor Python can show such a time, and
    polars ends in a panic.
    """
    raw = pl.col(name)
    match dtype:
        case pl.Date():
            days = [(one - _EPOCH).days for one in (_FIRST_TIME, _LAST_TIME)]
            return raw.to_physical().clip(*days).cast(dtype).alias(name)
        case pl.Datetime(time_unit="us" | "ms" as unit):
            step = timedelta(microseconds=1) if unit == "us" else timedelta(milliseconds=1)
            ends = [(one - _EPOCH) // step for one in (_FIRST_TIME, _LAST_TIME)]
            return raw.to_physical().clip(*ends).cast(dtype).alias(name)
        case _:
            return raw


def _spoilt(column: SourceColumn, dtype: pl.DataType) -> tuple[str, pl.Expr] | None:
    """Return what a value of this type may hold that its column's kind cannot be read from, and the condition."""
    raw, is_id = pl.col(column.name), column.kind is Kind.ID
    if dtype == pl.Binary:
        return "bytes, not text", raw.is_not_null() & _text(column, dtype).is_null()
    if is_id and dtype.is_float():
        # Two ids may have become the same float.
        is_inexact = raw.fill_nan(None).abs() >= _EXACT_IN_FLOAT[type(dtype)]
        return "a float too large to be exact", is_inexact.fill_null(value=False)
    if is_id and dtype == pl.Boolean:
        return "true or false", raw.is_not_null()
    return None


def utf8_text(raw: pl.Expr) -> pl.Expr:
    """Return bytes as the text that they hold; null if they are not UTF-8."""
    return raw.map_batches(_decoded, return_dtype=pl.String, is_elementwise=True)


def _id_text(raw: pl.Expr) -> pl.Expr:
    """Return bytes as ids: their text; 16 bytes that hold none, or control characters, are a UUID.

    Each value is read by itself, so that no other row decides what it is. One of 100,000 random UUIDs is a text by
    this rule; Parquet's own type for UUIDs leaves nothing to decide, and such columns come as text.
    """
    texts = utf8_text(raw)
    no_text = texts.is_null() | texts.str.contains(_CONTROL)
    is_uuid = (raw.bin.size() == _UUID_BYTES) & no_text
    return pl.when(is_uuid).then(uuid_text(raw.bin.encode("hex"))).otherwise(texts)


def _reading(  # noqa: PLR0911 - one per kind
    column: SourceColumn, dtype: pl.DataType, max_task_minutes: int | None
) -> Reading:
    parsed = pl.col(PARSED + column.name)
    text = _text(column, dtype)
    match column.kind:
        case Kind.ID | Kind.TEXT:
            read = _ids if column.kind is Kind.ID else _trimmed
            trimmed = text.map_batches(read, return_dtype=pl.String, is_elementwise=True)
            return Reading(trimmed, parsed, _faults_of_text(column, parsed))
        case Kind.CHARACTER:
            if column.optional:
                return Reading(text, parsed.fill_null(""), {})
            return Reading(text, parsed, _missing(column, parsed.is_null() | (parsed == "")))
        case Kind.NGRAM:
            composed = text.map_batches(_composed, return_dtype=pl.String, is_elementwise=True)
            long = parsed.str.len_chars() > MAX_NGRAM_LENGTH
            faults = _missing(column, parsed.is_null() | (parsed == ""))
            return Reading(
                composed, parsed, faults | {f"{column.name} is longer than {MAX_NGRAM_LENGTH} characters": long}
            )
        case Kind.INSTANT:
            return _instant(column, dtype, text)
        case Kind.FLAG:
            return _flag(column, dtype, text)
        case Kind.NUMBER | Kind.INTEGER | Kind.MINUTES:
            return _number(column, dtype, text, max_task_minutes)


def _text(column: SourceColumn, dtype: pl.DataType) -> pl.Expr:
    raw = pl.col(column.name)
    if dtype == pl.String:
        return raw
    if dtype == pl.Binary:
        return _id_text(raw) if column.kind is Kind.ID else utf8_text(raw)
    if dtype.is_float():
        # Many tools hold whole numbers as floats if an id may be missing: 3.0 and 3 are the same id.
        number = (raw.cast(pl.Float64) if dtype == pl.Float16 else raw).fill_nan(None)
        whole = (number == number.floor()) & (number.abs() < _EXACT_IN_FLOAT[type(dtype)])
        return (
            pl.when(whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(number.cast(pl.String))
        )
    return raw.cast(pl.String)


def _absent(column: SourceColumn) -> Reading:
    values: dict[Kind, pl.Expr] = {
        Kind.FLAG: pl.lit(value=False),
        Kind.MINUTES: pl.lit(0, pl.Int64),
        Kind.CHARACTER: pl.lit(""),
        Kind.INSTANT: pl.lit(None, _INSTANT),
        Kind.NUMBER: pl.lit(None, pl.Float64),
        Kind.INTEGER: pl.lit(None, pl.Int32),
    }
    value = values.get(column.kind, pl.lit(None, pl.String))
    return Reading(value, value, {} if column.optional else _missing(column, pl.lit(value=True)))


def _faults_of_text(column: SourceColumn, value: pl.Expr) -> dict[str, pl.Expr]:
    faults: dict[str, pl.Expr] = {}
    if not column.optional:
        faults |= _missing(column, value.is_null())
    if column.one_of:
        faults[f"{column.name} is not one of {', '.join(column.one_of)}"] = value.is_in(column.one_of).not_()
    for reserved in column.none_of:
        faults[f"{column.name} {reserved} is reserved"] = value == reserved
    return faults


def _missing(column: SourceColumn, condition: pl.Expr) -> dict[str, pl.Expr]:
    return {f"{column.name} is missing": condition}


def _instant(column: SourceColumn, dtype: pl.DataType, text: pl.Expr) -> Reading:
    raw, parsed = pl.col(column.name), pl.col(PARSED + column.name)
    given = raw.is_not_null()
    match dtype:
        case pl.Datetime(time_zone=None):
            value = raw.dt.replace_time_zone("UTC").dt.cast_time_unit("us")
        case pl.Datetime():
            value = raw.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        case pl.Date():
            value = raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.String() | pl.Categorical() | pl.Enum() | pl.Binary():
            given = _is_given(text)
            value = text.map_batches(_instants, return_dtype=_INSTANT, is_elementwise=True)
        case _:
            # A bare number could be seconds, milliseconds or microseconds: reject rather than guess.
            value = pl.lit(None, _INSTANT)
            if dtype.is_float():
                given = raw.is_not_nan()
    outside = (parsed < FIRST_INSTANT) | (parsed >= LAST_INSTANT)
    faults = {} if column.optional else _missing(column, given.fill_null(value=False).not_())
    return Reading(
        value,
        # No partition has an hour that far outside, so the row has no hour.
        pl.when(outside.not_()).then(parsed),
        faults
        | {
            f"{column.name} is not a time": parsed.is_null() & given,
            f"{column.name} is outside {FIRST_INSTANT.year} to {LAST_INSTANT.year - 1}": outside,
        },
    )


def _flag(column: SourceColumn, dtype: pl.DataType, text: pl.Expr) -> Reading:
    raw, parsed = pl.col(column.name), pl.col(PARSED + column.name)
    if dtype == pl.Boolean:
        return Reading(raw, parsed.fill_null(value=False), {})
    word = _no_marker(text.str.strip_chars()).str.to_lowercase().str.replace(r"^([01])\.0+$", "$1")
    value = (
        pl.when(word.is_null() | word.is_in(_FALSE))
        .then(pl.lit(value=False))
        .when(word.is_in(_TRUE))
        .then(pl.lit(value=True))
    )
    return Reading(value, parsed, {f"{column.name} is neither true nor false": parsed.is_null()})


def _number(column: SourceColumn, dtype: pl.DataType, text: pl.Expr, max_task_minutes: int | None) -> Reading:
    raw, number = pl.col(column.name), pl.col(PARSED + column.name)
    faults = {} if column.optional else _missing(column, number.is_null())
    if dtype.is_numeric():
        parsed = raw if dtype == pl.Float64 else raw.cast(pl.Float64)
    else:
        parsed = text.map_batches(_numbers, return_dtype=pl.Float64, is_elementwise=True)
        given = _is_given(text)
        faults = {} if column.optional else _missing(column, number.is_null() & given.not_())
        faults[f"{column.name} is not a number"] = number.is_null() & given
    faults[f"{column.name} is not finite"] = number.is_infinite()
    finite = number.is_finite()
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
    value = number
    if column.kind is Kind.INTEGER:
        whole = finite & (number == number.floor())
        largest = 2**31 - 1
        faults[f"{column.name} is not a whole number"] = finite & (number != number.floor())
        faults[f"{column.name} is above {largest}"] = finite & (number > largest)
        value = pl.when(whole).then(number).cast(pl.Int32, strict=False)
    elif column.kind is Kind.MINUTES:
        # Half away from zero, in whole milliseconds (G2.3); negative numbers were rejected above.
        faults[f"{column.name} is above {max_task_minutes}"] = finite & (number > max_task_minutes)
        value = (number * MS_PER_MINUTE + 0.5).floor().cast(pl.Int64, strict=False).fill_null(0)
    # NaN is how floats write a missing value.
    return Reading(parsed.fill_nan(None), value, faults)


def _no_marker(text: pl.Expr) -> pl.Expr:
    return pl.when(text.is_in(("", *NULL_MARKERS)).not_()).then(text)


def _is_given(text: pl.Expr) -> pl.Expr:
    return _no_marker(text.str.strip_chars()).is_not_null()


def _trimmed(texts: pl.Series) -> pl.Series:
    trimmed = texts.str.strip_chars()
    empty = trimmed == ""
    return trimmed.set(empty, None) if empty.any() else trimmed


def _ids(texts: pl.Series) -> pl.Series:
    """Return ids trimmed; a number whose fraction is zero without it: 7.0 and 7 are the same id."""
    trimmed = _trimmed(texts)
    if not trimmed.str.contains(".0", literal=True).any():
        return trimmed
    return trimmed.str.replace(r"^-0+\.0+$", "0").str.replace(r"^(-?[0-9]+)\.0+$", "$1")


def _composed(texts: pl.Series) -> pl.Series:
    # ASCII is composed already, and most batches hold nothing else.
    if (texts.str.len_bytes() == texts.str.len_chars()).all():
        return texts
    return texts.str.normalize("NFC")


def _decoded(values: pl.Series) -> pl.Series:
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series(values.name, [_utf8(value) for value in values], dtype=pl.String)


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _numbers(texts: pl.Series) -> pl.Series:
    return texts.str.strip_chars().cast(pl.Float64, strict=False)


def _instants(texts: pl.Series) -> pl.Series:
    """Return the instants of texts; null if a text is none."""
    name, given = texts.name, texts.is_not_null()
    if not (given & texts.str.contains(_USUAL_TIME).not_()).any():
        instants = _usual_instants(texts)
        if instants.null_count() == texts.null_count():
            return instants
    frame = texts.to_frame("text").with_row_index()
    usual = frame.filter(pl.col("text").str.contains(_USUAL_TIME))
    usual = usual.with_columns(_usual_instants(usual["text"]).alias("at")).filter(pl.col("at").is_not_null())
    others = (
        frame.filter(given).join(usual, on="index", how="anti").select("index", at=_instant_of_text(pl.col("text")))
    )
    read = pl.concat([usual.select("index", "at"), others])
    return frame.select("index").join(read, on="index", how="left", maintain_order="left")["at"].alias(name)


def _usual_instants(texts: pl.Series) -> pl.Series:
    """Return the instants of texts in the usual forms; null if a time is out of the calendar."""
    ends = texts.str.slice(_SECOND_ENDS)
    seconds = texts.str.slice(0, _SECOND_ENDS)
    if texts.str.contains(" ", literal=True).any():
        seconds = seconds.str.replace(" ", "T", literal=True)
    instants = seconds.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    if ends.str.starts_with(".").any():
        digits = 6
        fractions = ends.str.extract(r"^\.([0-9]+)").str.pad_end(digits, "0").str.slice(0, digits)
        instants = instants + fractions.cast(pl.Int64).fill_null(0).cast(pl.Duration("us"))
    zones = ends.str.strip_chars_start(".0123456789")
    # A file has a few zones at most.
    offsets = {zone: _offset(zone) for zone in zones.unique().drop_nulls()}
    if any(offsets.values()):
        instants = instants - zones.replace_strict(offsets, return_dtype=pl.Duration("us"))
    return instants.dt.replace_time_zone("UTC")


def _offset(zone: str) -> timedelta:
    if zone in ("", "Z"):
        return timedelta()
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone.startswith("-") else offset


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
