"""Text files, compressed or not, in blocks of whole lines: memory does not grow with a file."""

import codecs
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.sources.source import FAULT, LINE
from ghost_pipeline.sources.spill import spilled

BLOCK = 1 << 22
"""Bytes that are read at once."""
LONGEST_LINE = 1 << 26
"""Bytes of a line at most: a file without line ends must not fill the memory."""
NOT_TEXT = "the line is not valid text in the file's encoding"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


_OTHER_CONTENT = (
    (rb"\x1f\x8b", "gzip"),
    (rb"\x28\xb5\x2f\xfd", "Zstandard"),
    (rb"BZh[1-9]1AY&SY", "bzip2"),
    (rb"\xfd7zXZ\x00", "xz"),
    (rb"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (rb"PAR1[\x00-\x1f]", "Parquet"),
    (rb"SQLite format 3\x00", "SQLite"),
    (rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff", "UTF-32"),
)
"""How files begin that are no text which is read here."""


class TextError(Exception):
    """A text file cannot be read; the message says why, without any of its content."""


Check = Callable[[Sequence[str], int], None]
"""Refuses a file by the wanted columns that it has, and the number of its other columns."""


@dataclass(frozen=True)
class TextFile:
    """A text file; `str` of it is its path or address."""

    name: str
    opened: Callable[[], BinaryIO]
    """Opens it from its beginning, each time."""

    def __str__(self) -> str:
        """The name."""
        return self.name


@dataclass(frozen=True)
class TextRows:
    """The rows of a text file, every value as text."""

    rows: pl.LazyFrame
    """Those of the wanted columns that the file has; if lines are faulty, also `LINE` and `FAULT`."""
    detected: str
    """How the file was read, in words."""
    not_text: int = 0
    """Lines that are not text in the file's encoding."""


@dataclass(frozen=True)
class Block:
    """Whole lines of a file; only the last one may lack its end."""

    text: str
    is_valid: bool
    """Whether all bytes are text; otherwise each byte that is none is a lone surrogate."""


def encoding_of(file: TextFile, stated: str | None) -> str:
    """Return the encoding of a file: the stated one, that of its byte order mark, UTF-16 by its zeros, or UTF-8.

    Raises:
        TextError: the file cannot be unpacked, or its content is no text.

    """
    start = next(_unpacked(file, 64), b"")
    for beginning, what in _OTHER_CONTENT:
        if re.match(beginning, start):
            raise TextError(f"its content is {what}")
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if stated is not None:
        return stated
    pairs = len(start) // 2
    if pairs and not any(start[1 : 2 * pairs : 2]):
        return "utf-16-le"
    if pairs and not any(start[0 : 2 * pairs : 2]):
        return "utf-16-be"
    return "utf-8"


def blocks_of(file: TextFile, encoding: str) -> Iterator[Block]:
    """Yield the lines of a file.

    Raises:
        TextError: the compressed file is damaged, the text is no UTF-16, or a line is too long.

    """
    for data in _pieces(file, encoding):
        try:
            yield Block(data.decode(encoding), is_valid=True)
        except UnicodeDecodeError:
            if encoding.startswith("utf-16"):
                raise TextError("it is not valid UTF-16") from None
            yield Block(data.decode(encoding, "surrogateescape"), is_valid=False)


def start_of(file: TextFile, encoding: str) -> str:
    """Return the first text of a file, without white space before it."""
    return next(_read(file), b"").decode(encoding, "replace").lstrip()


def texts_of(file: TextFile, encoding: str) -> Iterator[str]:
    """Yield the text of a file in pieces that end anywhere.

    Raises:
        TextError: the compressed file is damaged, or the text is not in its encoding.

    """
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for data in _read(file):
            yield decoder.decode(data)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise TextError(f"it is not valid {encoding.upper()}; the mapping file may state another encoding") from None


def is_text(text: str) -> bool:
    """Return whether a text holds no byte that could not be decoded."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def rows_of(columns: Iterable[str], batches: Iterable[Mapping[str, pl.Series]]) -> pl.LazyFrame:
    """Keep batches of rows in a temporary file: the columns as text, `LINE` and `FAULT`."""
    texts = [(name, pa.large_string()) for name in columns]
    schema = pa.schema([*texts, (LINE, pa.int64()), (FAULT, pa.large_string())])

    def record_batches() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrow = pl.DataFrame(batch).to_arrow(compat_level=pl.CompatLevel.oldest())
            yield from arrow.select(schema.names).cast(schema).to_batches()

    return spilled(schema, record_batches())


@contextmanager
def _opened(file: TextFile) -> Iterator[BinaryIO]:
    with file.opened() as packed:
        if file.name.endswith(".gz"):
            with gzip.open(packed, "rb") as unpacked:
                yield cast("BinaryIO", unpacked)
        elif file.name.endswith(".zst"):
            with pa.input_stream(packed, compression="zstd") as unpacked:
                yield unpacked
        else:
            yield packed


def _pieces(file: TextFile, encoding: str) -> Iterator[bytes]:
    """Yield bytes that end with a line."""
    line_end = "\n".encode(encoding)
    rest = b""
    for data in _read(file):
        rest += data
        end = _end_of_lines(rest, line_end)
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > LONGEST_LINE:
            raise TextError(f"a line has more than {LONGEST_LINE >> 20} MiB")
    if rest:
        yield rest


def _read(file: TextFile) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked and without a byte order mark."""
    is_first = True
    for data in _unpacked(file, BLOCK):
        mark = next((mark for mark, _ in _MARKS if is_first and data.startswith(mark)), b"")
        is_first = False
        yield data[len(mark) :]


def _unpacked(file: TextFile, size: int) -> Iterator[bytes]:
    try:
        with _opened(file) as unpacked:
            while data := unpacked.read(size):
                yield data
    except (EOFError, zlib.error, OSError) as error:
        # The caller writes to a disk meanwhile, whose errors are other ones.
        if isinstance(error, OSError) and error.strerror:
            raise TextError(f"the system says: {error.strerror}") from None
        # pyarrow has no type of its own for this.
        says = "it is truncated or no Zstandard file" if type(error) is OSError else type(error).__name__
        raise TextError(f"it cannot be unpacked, {says}") from None


def _end_of_lines(data: bytes, line_end: bytes) -> int:
    end = data.rfind(line_end)
    width = len(line_end)
    # The two bytes of a UTF-16 line end may also be the halves of two characters.
    while end > 0 and end % width:
        end = data.rfind(line_end, 0, end + width - 1)
    return end + width if end >= 0 and end % width == 0 else 0
