"""Files of a source, in a folder or in a bucket: what reads tables sees no difference."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

PARQUET, CSV, NDJSON, JSON = ".parquet", ".csv", ".ndjson", ".json"
COMPRESSIONS = ("", ".gz", ".zst")
"""Endings that may follow those of text files."""
_TEXTS = {CSV: CSV, NDJSON: NDJSON, JSON: JSON, ".jsonl": JSON}
ENDINGS = {PARQUET: PARQUET} | {f"{end}{packed}": form for end, form in _TEXTS.items() for packed in COMPRESSIONS}
"""Endings of files with data, each with the file's form. `JSON` is read as `NDJSON` if a table has no other file."""


_CALENDAR = frozenset({"year", "quarter", "month", "week", "day", "hour", "date", "dt", "ds"})
"""Partitions whose values messages show: which file it is matters, and a date of an export is no one's."""


class DataFile(Protocol):
    """A file. `str` of it is its path or address for messages: `shown`."""

    @property
    def address(self) -> str:
        """The path or address for engines; never for messages."""

    @property
    def part(self) -> str:
        """The path below the source, its names separated by slashes."""

    @property
    def version(self) -> str:
        """A text that differs whenever the content may differ.

        Raises:
            OSError: the file has gone.

        """

    @property
    def size(self) -> int:
        """Bytes; 0 if the file has gone."""

    def footer(self) -> Path | BytesIO:
        """Return what tells the schema of a Parquet file: the file, or its end.

        Raises:
            SourceError: the object cannot be fetched, or was replaced since it was listed.

        """

    def reopenable(self) -> AbstractContextManager[Callable[[], BinaryIO]]:
        """Give a function that opens the content from its beginning, as often as needed within the block.

        Raises:
            SourceError: as `footer`.

        """


@dataclass(frozen=True)
class Listing:
    """The files below a folder."""

    files: tuple[DataFile, ...]
    """Those that may be data, in the order of their paths."""
    hidden: tuple[str, ...]
    """The names of those that are skipped: their name, or that of a folder above them, begins with _ or ."""


class Files(Protocol):
    """A place that holds files. `str` of it is its path or address."""

    @property
    def identity(self) -> str:
        """A text that differs for another place."""

    @property
    def mixes_versions(self) -> bool:
        """Whether a Parquet file that is replaced while it is read may give rows of both versions."""

    def shown(self, name: str) -> str:
        """Return the path or address of a name for messages, without values of partitions."""

    def is_file(self, name: str) -> bool:
        """Return whether there is such a file."""

    def is_folder(self, name: str) -> bool:
        """Return whether there is such a folder."""

    def names(self) -> Collection[str]:
        """Return the names of the files and folders in the source, not of those below a folder."""

    def file(self, name: str) -> DataFile:
        """Return a file as it is now.

        Raises:
            SourceError: it may not or cannot be read.

        """

    def listed(self, part: str) -> DataFile:
        """Return a file as it was last listed, or as it is now."""

    def below(self, folder: str) -> Listing:
        """Return the files below a folder as they are now.

        Raises:
            SourceError: one of them may not be read, or the folder cannot be listed.

        """


def is_hidden(name: str) -> bool:
    """Return whether a name says that it holds no data: an unfinished attempt, a staging copy, a log.

    `_year=2025` is a partition, as for Spark.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def without_partition_values(part: str) -> str:
    """Return a path below the source as messages may show it: `user_id=ada` names a person, listed column or not."""
    return "/".join(map(_without_value, part.split("/")))


def _without_value(name: str) -> str:
    column, is_partition, _ = name.partition("=")
    is_shown = not is_partition or column.lower().lstrip("_") in _CALENDAR
    return name if is_shown else f"{column}=…"


def form_of(name: str) -> str | None:
    """Return the form of a file by the ending of its name; None if it holds no data."""
    return next((form for ending, form in ENDINGS.items() if name.endswith(ending)), None)
