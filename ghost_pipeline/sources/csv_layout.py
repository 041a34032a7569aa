"""How a CSV file is written: what the mapping states, and what its first lines show of the rest."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ghost_pipeline.contracts.source import NULL_MARKERS, Kind, SourceColumn, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.mapping import BACKSLASH, TextFormat
from ghost_pipeline.sources.text_files import Check, TextError, TextFile, blocks_of

__all__ = ["BACKSLASH", "Layout", "layout_of", "name_of"]

DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", '"': "double quote", "'": "single quote"}
_SEPARATOR = re.compile(r"""["']?sep=(.)["']?\s*""", re.IGNORECASE)
"""The first line that spreadsheets write and read to name the delimiter."""


@dataclass(frozen=True)
class Layout:
    """How the lines of one file are taken apart."""

    delimiter: str
    quote: str
    escape: str
    """What stands before a quote inside of quotes: the quote itself, or a backslash."""
    names: tuple[str, ...]
    wanted: Mapping[str, int]
    """The wanted columns, each with its position."""
    verbatim: frozenset[str]
    """Those in which a null marker is text."""
    markers: tuple[str, ...]
    header_ends: int
    """The number of the header's last line; 0 if there is none."""


@dataclass(frozen=True)
class _Names:
    """What the first record gives if its fields are separated by a delimiter."""

    delimiter: str
    names: Sequence[str]
    lines: int
    """Lines of the record: a name in quotes may hold line ends."""


def layout_of(
    file: TextFile,
    table: SourceTable,
    columns: Mapping[str, SourceColumn],
    given: TextFormat,
    encoding: str,
    check: Check,
) -> Layout:
    """Return the layout of a file.

    Args:
        file: the file.
        table: the canonical table, for messages.
        columns: the wanted columns by their names in the file.
        given: what the mapping says of the file's format; the rest is detected.
        encoding: of the file.
        check: refuses a file without the required columns.

    Raises:
        SourceError: the first line does not name the required columns.
        TextError: the file is empty.

    """
    lines, before = _first_lines(file, encoding)
    stated = given.delimiter
    if separator := _SEPARATOR.fullmatch(lines[0]):
        stated = stated or separator[1]
        lines, before = _without_blank(lines[1:], before + 1)
    # Of the delimiters the one that shows the most known names, without a header the most fields; else the first one.
    found = [_names(lines, delimiter, given) for delimiter in ([stated] if stated else DELIMITERS)]
    first = max(found, key=lambda one: (len(columns.keys() & set(one.names)), 0 if given.header else len(one.names)))
    known = [name for name in first.names if name in columns]
    twice = [name for name, count in Counter(known).items() if count > 1]
    if twice:
        raise SourceError(f"{file}: table {table.name} has the column {twice[0]} more than once. Keep one of them")
    missing = [name for name, column in columns.items() if not column.optional and name not in known]
    if missing and "\r" in lines[0].rstrip("\r"):
        raise SourceError(
            f"{file}: table {table.name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}: its "
            f"lines end with carriage returns alone, so it seems to be one line. Write it with line feeds",
        )
    # Not the names that were found: without a header they are a person's data.
    check(known, len(first.names) - len(known))
    return Layout(
        first.delimiter,
        given.quote,
        given.escape or given.quote,
        tuple(first.names),
        {name: list(first.names).index(name) for name in known},
        frozenset(name for name, column in columns.items() if column.kind is Kind.NGRAM),
        NULL_MARKERS if given.null_markers is None else given.null_markers,
        before + first.lines,
    )


def name_of(character: str) -> str:
    """Return a character of a layout in words."""
    return _NAMES.get(character, repr(character))


def _first_lines(file: TextFile, encoding: str) -> tuple[list[str], int]:
    """Return the first lines from the first one with text on, and how many blank ones precede them."""
    before = 0
    for block in blocks_of(file, encoding):
        if block.text.strip():
            return _without_blank(block.text.split("\n"), before)
        before += block.text.count("\n")
    raise TextError("the file is empty")


def _without_blank(lines: list[str], before: int) -> tuple[list[str], int]:
    blank = next((number for number, line in enumerate(lines) if line.strip()), None)
    if blank is None:
        raise TextError("the file is empty")
    return lines[blank:], before + blank


def _names(lines: list[str], delimiter: str, given: TextFormat) -> _Names:
    whole = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, quotechar=given.quote, strict=True)
    try:
        names, read = next(whole), whole.line_num
    except csv.Error:
        # A quote out of place: it must not take the rows that follow.
        names, read = lines[0].split(delimiter), 1
    if not given.header:
        return _Names(delimiter, [str(position) for position in range(1, len(names) + 1)], 0)
    return _Names(delimiter, [name.strip() for name in names], read)
