"""CSV files: strict about quotes and the number of fields, and a bad line costs itself, not the file.

Blocks without a quote are split by polars, those with one by the standard library. Engines that read CSV as a whole
are faster on quoted text, but stop at mixed line ends, count records instead of lines, or let a quote that is not
closed take the rest of the file.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from ghost_pipeline.contracts.source import SourceColumn, SourceTable
from ghost_pipeline.sources.csv_layout import BACKSLASH, Layout, layout_of, name_of
from ghost_pipeline.sources.mapping import TextFormat
from ghost_pipeline.sources.source import FAULT, LINE
from ghost_pipeline.sources.text_files import (
    NOT_TEXT,
    Block,
    Check,
    TextFile,
    TextRows,
    blocks_of,
    encoding_of,
    is_text,
    rows_of,
)

TOO_FEW = "the line has too few fields"
TOO_MANY = "the line has too many fields"
NOT_CSV = "the line has a quote or a carriage return out of place"
_LONGEST_FIELD = csv.field_size_limit()


@dataclass
class _Seen:
    """What was found while a file was read."""

    faults: Counter[str] = field(default_factory=Counter)
    has_backslash: bool = False
    markers: set[str] = field(default_factory=set)
    """Null markers that stood for a missing value."""


@dataclass(frozen=True)
class _Record:
    """One row between two lines of a block; None instead of the fields if it cannot be read."""

    first: int
    after: int
    fields: list[str] | None


def read_csv(
    file: TextFile, table: SourceTable, columns: Mapping[str, SourceColumn], given: TextFormat, check: Check
) -> TextRows:
    """Read the wanted columns of a CSV file as text.

    Args:
        file: the file.
        table: the canonical table, for messages.
        columns: the wanted columns by their names in the file.
        given: what the mapping says of the file's format; the rest is detected.
        check: refuses a file without the required columns.

    Raises:
        SourceError: the first line does not name the required columns.
        TextError: the file is empty or cannot be unpacked. No message holds any of its content.

    """
    encoding = encoding_of(file, given.encoding)
    layout = layout_of(file, table, columns, given, encoding, check)
    tried = [given.escape] if given.escape else [layout.quote, BACKSLASH]
    read: list[tuple[int, str, pl.LazyFrame, _Seen]] = []
    for escape in tried:
        seen = _Seen()
        rows = rows_of(layout.wanted, _batches(file, encoding, replace(layout, escape=escape), seen))
        read.append((seen.faults[NOT_CSV], escape, rows, seen))
        # Only a file with faulty quotes and with backslashes can be one that escapes quotes by backslashes.
        if not seen.faults[NOT_CSV] or not seen.has_backslash:
            break
    _, escape, rows, seen = min(read, key=lambda one: one[0])
    how = f", quotes escaped by {'a backslash' if escape == BACKSLASH else 'a second quote'}"
    missing = f", read as missing: {', '.join(sorted(seen.markers))}" if seen.markers else ""
    detected = (
        f"{name_of(layout.delimiter)} between fields, {name_of(layout.quote)}{how if seen.has_backslash else ''}, "
        f"{encoding.upper()}, {'the first line is the header' if given.header else 'no header'}{missing}"
    )
    return TextRows(rows if seen.faults else rows.drop(LINE, FAULT), detected, seen.faults[NOT_TEXT])


def _batches(file: TextFile, encoding: str, layout: Layout, seen: _Seen) -> Iterator[Mapping[str, pl.Series]]:
    line, rest = 1, ""
    blocks = blocks_of(file, encoding)
    block = next(blocks, None)
    while block is not None:
        following = next(blocks, None)
        text = rest + block.text
        rest = ""
        skipped = max(layout.header_ends - line + 1, 0)
        if skipped:
            parts = text.split("\n", skipped)
            text = parts[skipped] if len(parts) > skipped else ""
            line += skipped
        seen.has_backslash = seen.has_backslash or f"{BACKSLASH}{layout.quote}" in text
        if text:
            if block.is_valid and layout.quote not in text and "\r" not in text.replace("\r\n", ""):
                rows = _plain(text, line, layout, seen)
            else:
                rows, rest = _quoted(text, line, layout, block, seen, is_last=following is None)
            seen.faults.update(rows[FAULT].drop_nulls().to_list())
            line += text.count("\n") - rest.count("\n")
            yield rows
        block = following


def _plain(text: str, line: int, layout: Layout, seen: _Seen) -> dict[str, pl.Series]:
    """Split lines without any quote."""
    lines = pl.Series(LINE, [text.removesuffix("\n")]).str.split("\n").explode()
    if "\r" in text:
        lines = lines.str.strip_suffix("\r")
    frame = pl.select(lines.alias("text"), pl.int_range(line, line + len(lines), eager=True).alias(LINE))
    frame = frame.with_columns(fields=pl.col("text").str.split(layout.delimiter))
    frame = frame.with_columns(count=pl.col("fields").list.len())
    frame = frame.remove((pl.col("count") == 1) & (pl.col("text").str.strip_chars() == ""))
    width = len(layout.names)
    fault = (
        pl.when(pl.col("count") < width)
        .then(pl.lit(TOO_FEW, pl.String))
        .when(pl.col("count") > width)
        .then(pl.lit(TOO_MANY, pl.String))
    )
    is_good = pl.col("count") == width
    seen.markers |= _markers(text, frame.filter(is_good), layout)
    fields = [
        pl.when(is_good)
        .then(_unmarked(pl.col("fields").list.get(position, null_on_oob=True), name, layout))
        .alias(name)
        for name, position in layout.wanted.items()
    ]
    return frame.select(*fields, pl.when(is_good.not_()).then(LINE).alias(LINE), fault.alias(FAULT)).to_dict()


def _markers(text: str, frame: pl.DataFrame, layout: Layout) -> set[str]:
    """Return the null markers among the wanted fields."""
    possible = [marker for marker in layout.markers if marker in text]
    if not possible:
        return set()
    fields = [
        frame.select(pl.col("fields").list.get(position, null_on_oob=True).str.strip_chars()).to_series()
        for name, position in layout.wanted.items()
        if name not in layout.verbatim
    ]
    return {one for field in fields for one in field.filter(field.is_in(possible)).unique()}


def _unmarked(value: pl.Expr, name: str, layout: Layout) -> pl.Expr:
    if name in layout.verbatim or not layout.markers:
        return value
    return pl.when(value.str.strip_chars().is_in(layout.markers).not_()).then(value)


def _quoted(
    text: str, line: int, layout: Layout, block: Block, seen: _Seen, *, is_last: bool
) -> tuple[dict[str, pl.Series], str]:
    """Take lines with quotes apart; also return the text of a row that the next block ends."""
    lines = [f"{one}\n" for one in text.split("\n")]
    if lines[-1] == "\n":
        lines.pop()
    rows: list[list[str | None]] = []
    numbers: list[int | None] = []
    faults: list[str | None] = []
    read = 0
    records = _escaped_records if layout.escape == BACKSLASH else _records
    for record in records(lines, layout, is_last=is_last):
        read = record.after
        fault = _fault(record, lines, layout, block)
        if fault is None and record.fields is not None:
            if len(record.fields) == 1 and not record.fields[0].strip() and '""' not in lines[record.first]:
                continue
            rows.append(_values(record, lines, layout, seen))
        elif fault == "":
            continue
        else:
            rows.append([None] * len(layout.wanted))
        numbers.append(line + record.first if fault else None)
        faults.append(fault)
    columns = zip(*rows, strict=True) if rows else [()] * len(layout.wanted)
    found = {name: pl.Series(name, values, pl.String) for name, values in zip(layout.wanted, columns, strict=True)}
    marks = {LINE: pl.Series(LINE, numbers, pl.Int64), FAULT: pl.Series(FAULT, faults, pl.String)}
    return found | marks, "".join(lines[read:])


def _fault(record: _Record, lines: list[str], layout: Layout, block: Block) -> str | None:
    """Return what is wrong with a record; empty if it is a blank line, None if it is good."""
    fields, width = record.fields, len(layout.names)
    if fields is None or _has_space_before_a_quote(record, lines, layout):
        return NOT_CSV
    if not block.is_valid and not all(map(is_text, fields)):
        return NOT_TEXT
    if len(fields) == width:
        return None
    if not fields or (len(fields) == 1 and not fields[0].strip()):
        return ""
    return TOO_FEW if len(fields) < width else TOO_MANY


def _has_space_before_a_quote(record: _Record, lines: list[str], layout: Layout) -> bool:
    """Whether a field looks quoted and is not, as in `7, "a"`: its quotes would become part of an id."""
    return any(
        field.startswith(" ")
        and field.lstrip(" ").startswith(layout.quote)
        and not _is_quoted("".join(lines[record.first : record.after]), position, layout)
        for position, field in enumerate(record.fields or ())
    )


def _values(record: _Record, lines: list[str], layout: Layout, seen: _Seen) -> list[str | None]:
    fields = record.fields or []
    values: list[str | None] = []
    for name, position in layout.wanted.items():
        value = fields[position]
        is_marker = value.strip() in layout.markers and name not in layout.verbatim
        if is_marker and not _is_quoted("".join(lines[record.first : record.after]), position, layout):
            values.append(None)
            seen.markers.add(value.strip())
        else:
            values.append(value)
    return values


def _is_quoted(text: str, position: int, layout: Layout) -> bool:
    if layout.quote not in text:
        return False
    field, at = _field_pattern(layout), 0
    for _ in range(position):
        if (found := field.match(text, at)) is None:
            return False
        at = found.end()
    return text.startswith(layout.quote, at)


def _records(lines: list[str], layout: Layout, *, is_last: bool) -> Iterator[_Record]:
    """Yield the rows of lines whose quotes are escaped by a second quote."""
    start = 0
    while start < len(lines):
        reader = csv.reader(
            (lines[number] for number in range(start, len(lines))),
            delimiter=layout.delimiter,
            quotechar=layout.quote,
            strict=True,
        )
        first = start
        try:
            for fields in reader:
                after = start + reader.line_num
                yield _Record(first, after, fields)
                first = after
        except csv.Error as error:
            if not is_last and "unexpected end of data" in str(error):
                return
        else:
            return
        # The line alone: a quote that is not closed must not take the good rows that follow.
        yield _Record(first, first + 1, None)
        start = first + 1


def _escaped_records(lines: list[str], layout: Layout, *, is_last: bool) -> Iterator[_Record]:
    """Yield the rows of lines whose quotes are escaped by a backslash, as Spark writes them."""
    field, text = _field_pattern(layout), "".join(lines)
    first = at = 0
    while first < len(lines):
        fields: list[str] = []
        start, end = at, ""
        while end != "\n" and (found := field.match(text, at)):
            quoted, plain, end = found.groups()
            fields.append(plain if quoted is None else _unescaped(quoted, layout.quote))
            at = found.end()
            end = "\n" if end != layout.delimiter else end
        if end == "\n":
            after = first + text.count("\n", start, at)
            yield _Record(first, after, fields)
        elif not is_last and len(text) - at < _LONGEST_FIELD and _is_open(text, at, layout):
            return
        else:
            yield _Record(first, first + 1, None)
            at = start + len(lines[first])
            after = first + 1
        first = after


def _field_pattern(layout: Layout) -> re.Pattern[str]:
    """Return the pattern of a field and what ends it: groups of its quoted text, its plain text, and the end."""
    quote, delimiter = re.escape(layout.quote), re.escape(layout.delimiter)
    pair = rf"(?:\\.|{quote}{quote})" if layout.escape == BACKSLASH else f"{quote}{quote}"
    but = rf"[^{quote}\\]" if layout.escape == BACKSLASH else f"[^{quote}]"
    return re.compile(
        rf"(?:{quote}({but}*(?:{pair}{but}*)*){quote}|((?!{quote})[^{delimiter}\r\n]*))({delimiter}|\r?\n)", re.DOTALL
    )


def _is_open(text: str, at: int, layout: Layout) -> bool:
    """Whether a quoted field begins here and is not closed."""
    if not text.startswith(layout.quote, at):
        return False
    quote = re.escape(layout.quote)
    return re.compile(rf"{quote}(?:[^{quote}\\]|\\.|{quote}{quote})*\Z", re.DOTALL).match(text, at) is not None


def _unescaped(text: str, quote: str) -> str:
    return re.sub(rf"\\([\\{re.escape(quote)}])", r"\1", text.replace(quote * 2, quote))
