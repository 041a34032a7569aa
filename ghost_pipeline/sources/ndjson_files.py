"""JSON files, an object on each line or an array of objects: a line that is none costs itself, not the file."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

import polars as pl

from ghost_pipeline.contracts.source import Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.mapping import TextFormat
from ghost_pipeline.sources.source import FAULT, LINE
from ghost_pipeline.sources.text_files import (
    LONGEST_LINE,
    NOT_TEXT,
    Check,
    TextError,
    TextFile,
    TextRows,
    blocks_of,
    encoding_of,
    is_text,
    rows_of,
    start_of,
    texts_of,
)

NOT_JSON = "the line is not valid JSON"
NOT_AN_OBJECT = "the line is not a JSON object"
TOO_DEEP = "the line is nested too deeply"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = " \t\r\n"
_SHORT_EXPONENT = re.compile(r"[eE][+-]?[0-9]{1,2}$")
_REFUSED: dict[type, str] = {bool: "true or false", float: "an infinite number"}
"""What no id is, by the type that the decoder gives it; other numbers are texts or whole."""


class _Reading:
    """The rows of one file, batch by batch, and which of the wanted columns they had."""

    def __init__(
        self, file: TextFile, table: SourceTable, columns: Mapping[str, SourceColumn], given: TextFormat
    ) -> None:
        self.file, self.table, self.columns = file, table, columns
        self.markers = frozenset(given.null_markers or ())
        self.found: set[str] = set()
        self.rows = self.objects = self.faults = self.not_text = 0
        self.others = 0
        """Keys of the first object beside the wanted columns."""
        self.is_of_columns = False
        """Whether the first object holds an object in place of every value."""

    def batch(self, objects: list[object], numbers: list[int]) -> dict[str, pl.Series]:
        """Return the columns of parsed lines; a text in place of an object is the fault of its line."""
        rows: list[dict[str, object]] = []
        faults: list[str | None] = []
        for one in objects:
            if isinstance(one, dict):
                rows.append(one)
                faults.append(None)
            else:
                rows.append({})
                faults.append(one if isinstance(one, _Fault) else NOT_AN_OBJECT)
        if rows and not self.rows:
            self.others = len(rows[0].keys() - self.columns.keys())
            self.is_of_columns = bool(rows[0]) and all(isinstance(value, dict) for value in rows[0].values())
        self.rows += len(rows)
        self.objects += sum(fault is None for fault in faults)
        for name in self.columns:
            if name not in self.found and any(name in row for row in rows):
                self.found.add(name)
            self._refuse_others(name, rows, faults)
        self.faults += sum(fault is not None for fault in faults)
        self.not_text += faults.count(NOT_TEXT)
        columns = {name: pl.Series(name, self._texts(name, rows), pl.String) for name in self.columns}
        lines = [number if fault else None for number, fault in zip(numbers, faults, strict=True)]
        marks = {LINE: pl.Series(LINE, lines, pl.Int64), FAULT: pl.Series(FAULT, faults, pl.String)}
        return columns | marks

    def _refuse_others(self, name: str, rows: list[dict[str, object]], faults: list[str | None]) -> None:
        """Empty the rows whose value of a column is not a single one, or in place of an id no text or finite number."""
        column = self.columns[name]
        refused = (dict, list, bool, float) if column.kind is Kind.ID else (dict, list)
        if {type(row.get(name)) for row in rows}.isdisjoint(refused):
            return
        for at, row in enumerate(rows):
            value = row.get(name)
            if isinstance(value, refused):
                says = _REFUSED.get(type(value), "no single value")
                rows[at], faults[at] = {}, f"{column.name} holds {says}"

    def _texts(self, name: str, rows: list[dict[str, object]]) -> list[str | None]:
        values = [row.get(name) for row in rows]
        texts = [_text(value) if value is not None else None for value in values]
        return [None if text in self.markers else text for text in texts] if self.markers else texts

    def parsed(self, line: str, number: int, *, is_last: bool) -> object:
        """Return the value of a line, or its fault.

        Raises:
            SourceError: the last line ends in the middle: the rest of the file is lost.

        """
        try:
            return _DECODER.decode(line)
        except json.JSONDecodeError as error:
            if is_last and not line.endswith("\n") and error.msg != "Extra data":
                raise self.truncated(f"line {number} is not valid JSON ({error.msg})") from None
            return _Fault(NOT_JSON)
        except RecursionError:
            return _Fault(TOO_DEEP)
        except ValueError:
            return _Fault(NOT_JSON)

    def truncated(self, says: str) -> SourceError:
        """Return the error of a file that ends too early."""
        return SourceError(
            f"{self.file}: table {self.table.name}, {says}. The file is truncated or damaged: write it again, beside "
            f"and renamed, and run again"
        )


class _Fault(str):
    """What is wrong with a line."""

    __slots__ = ()


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)


def _number(text: str) -> str:
    """Return a number as text without an exponent: 7e0 is the id 7, and a float would lose digits of a long one."""
    if "e" not in text and "E" not in text:
        return text
    if not _SHORT_EXPONENT.search(text):
        # Such a number is no id, and its digits could fill the memory.
        return text
    value = Decimal(text)
    return format(value, "f") if value else "0"


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def read_ndjson(
    file: TextFile, table: SourceTable, columns: Mapping[str, SourceColumn], given: TextFormat, check: Check
) -> TextRows:
    """Read the wanted columns of a JSON file as text.

    Args:
        file: the file.
        table: the canonical table, for messages.
        columns: the wanted columns by their names in the file.
        given: what the mapping says of the file's format.
        check: refuses a file without the required columns.

    Raises:
        SourceError: the file ends in the middle, or lacks a required column.
        TextError: the file holds no object at all, or cannot be unpacked. No message holds any of its content.

    """
    encoding = encoding_of(file, given.encoding)
    is_array = start_of(file, encoding).startswith("[")
    reading = _Reading(file, table, columns, given)
    batches = _array(file, encoding, reading) if is_array else _lines(file, encoding, reading)
    rows = rows_of(reading.columns, batches)
    if reading.rows and not reading.objects:
        raise TextError(f"none of its {reading.rows:,} lines is a JSON object")
    if reading.rows == 1 and reading.is_of_columns:
        raise TextError(
            "it is one object of columns, not of rows; pandas writes rows if orient is records and lines is true"
        )
    absent = [name for name in reading.columns if name not in reading.found] if reading.rows else []
    check([name for name in reading.columns if name not in absent], reading.others)
    rows = rows.drop(*absent, *([] if reading.faults else [LINE, FAULT]))
    detected = f"{'an array of objects' if is_array else 'an object per line'}, {encoding.upper()}"
    return TextRows(rows, detected, reading.not_text)


def _lines(file: TextFile, encoding: str, reading: _Reading) -> Iterator[Mapping[str, pl.Series]]:
    number = 1
    blocks = blocks_of(file, encoding)
    block = next(blocks, None)
    while block is not None:
        following = next(blocks, None)
        lines = block.text.split("\n")
        given = [at for at, line in enumerate(lines) if line.strip(_SPACE)]
        numbers = [number + at for at in given]
        objects = _at_once([lines[at] for at in given]) if block.is_valid else None
        if objects is None:
            last = len(lines) - 1 if following is None else None
            objects = [
                reading.parsed(lines[at] if at == last else f"{lines[at]}\n", number + at, is_last=at == last)
                if block.is_valid or is_text(lines[at])
                else _Fault(NOT_TEXT)
                for at in given
            ]
        if objects:
            yield reading.batch(objects, numbers)
        number += block.text.count("\n")
        block = following


def _at_once(lines: list[str]) -> list[object] | None:
    """Return the objects of lines, parsed together; None unless each is one."""
    if not all(line.lstrip(_SPACE).startswith("{") and line.rstrip(_SPACE).endswith("}") for line in lines):
        return None
    try:
        objects: list[object] = _DECODER.decode(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return None
    return objects if len(objects) == len(lines) else None


def _array(file: TextFile, encoding: str, reading: _Reading) -> Iterator[Mapping[str, pl.Series]]:
    """Yield the objects of an array, however they are spread over lines."""
    text, number, is_open, is_closed = "", 1, False, False
    for more in texts_of(file, encoding):
        text += more
        at = _after(text, 0, _SPACE)
        if not is_open and at < len(text):
            is_open, at = True, at + 1
        objects, lines, end = _objects(text, at, number)
        if objects:
            yield reading.batch(objects, lines)
        if is_open and not is_closed and text[end : end + 1] == "]":
            is_closed, end = True, end + 1
        end = _after(text, end, _SPACE)
        number += text.count("\n", 0, end)
        text = text[end:]
        if (is_closed and text) or len(text) > LONGEST_LINE:
            break
    if text or not is_closed:
        raise reading.truncated(f"the array is not valid JSON from line {number} on")


def _objects(text: str, at: int, number: int) -> tuple[list[object], list[int], int]:
    """Return the whole values of an array from a place on, their lines, and the place after them."""
    objects: list[object] = []
    lines: list[int] = []
    counted = 0
    while True:
        at = _after(text, at, _SPACE + ",")
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return objects, lines, at
        number, counted = number + text.count("\n", counted, at), at
        objects.append(value)
        lines.append(number)
        at = end


def _after(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # JavaScript writes half an emoji as an escape that is not a character.
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
