"""What the hourly files of a table hold, as content hashes; only files that have changed are read.

The hash of a file is remembered with the version of the file, and combined by month: a month none of whose files has
another version costs one comparison. Equal files give equal hashes, whatever was remembered.
"""

import os
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from itertools import groupby
from typing import NamedTuple

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.concurrent_replace import ConcurrentReplaceError
from ghost_pipeline.lake.file_versions import FileVersion
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import hour_of
from ghost_pipeline.windows import Hour

_MONTHS_SCHEMA = pl.Schema(
    {"month": pl.String(), "versions": pl.String(), "content_hash": pl.String(), "rows": pl.Int64()}
)
_HOURS_SCHEMA = pl.Schema(
    {
        "day": pl.String(),
        "hour": pl.String(),
        "size": pl.Int64(),
        "changed_ns": pl.Int64(),
        "number": pl.UInt64(),
        "content_hash": pl.String(),
        "rows": pl.Int64(),
    }
)
_FOLDER, _MONTHS = "contents", "contents/months"
_MONTH = len("2025-03")

_Values = tuple[str, ...]


class HourContent(NamedTuple):
    """What the file of an hour holds."""

    day: str
    hour: str
    content_hash: str
    rows: int

    @property
    def partition(self) -> Hour:
        """The hour."""
        return hour_of(self.day, self.hour)


class MonthContent(NamedTuple):
    """What the files of a month hold."""

    month: str
    content_hash: str
    rows: int


class PartitionContents:
    """The contents of an hourly table at one moment."""

    def __init__(self, lake: Lake, contract: Contract) -> None:
        """List the table and read the files that are new or have changed.

        Raises:
            ConcurrentReplaceError: a file was replaced or removed meanwhile.
            LakeError: a file is damaged; names it.

        """
        self._lake, self._contract = lake, contract
        self._cache = Cache(lake.root, contract.name)
        self._days = lake.listed_days(contract)
        self._months = {month: list(days) for month, days in groupby(self._days, key=lambda day: day[:_MONTH])}
        self._hours: dict[str, list[HourContent]] = {}
        self._frames: dict[str, pl.DataFrame] = {}
        remembered = {row[0]: row[1:] for row in self._cache.read(_MONTHS, _MONTHS_SCHEMA).iter_rows()}
        rows = [(month, *self._month(month, remembered.get(month))) for month in self._months]
        self.months = [MonthContent(month, content_hash, count) for month, _, content_hash, count in rows]
        """The months of the table, ascending."""
        if rows != [(month, *row) for month, row in remembered.items()]:
            # After the hours: a month whose hours are older than it says would be read again.
            self._frames[_MONTHS] = pl.DataFrame(rows, schema=_MONTHS_SCHEMA, orient="row")

    @property
    def first(self) -> Hour | None:
        """The first hour; None if the table has none."""
        return next((hour_of(day, listed[:2]) for day, listed in self._days.items()), None)

    @property
    def newest(self) -> Hour | None:
        """The newest hour; None if the table has none."""
        return next((hour_of(day, listed.splitlines()[-1][:2]) for day, listed in reversed(self._days.items())), None)

    @property
    def number(self) -> int:
        """The number of hours."""
        return sum(listed.count("\n") + 1 for listed in self._days.values())

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(month.rows for month in self.months)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the names and contents of the table's files, as hexadecimal digits."""
        return combined_hash((month.month, month.content_hash) for month in self.months)

    def hours(self, month: str) -> list[HourContent]:
        """The hours of a month, ascending."""
        if month not in self._hours:
            self._hours[month] = self._read_hours(month)
        return self._hours[month]

    def require_unreplaced(self, hours: Iterable[HourContent]) -> None:
        """Require that the files of some hours of a month have still the versions that were listed.

        Raises:
            ConcurrentReplaceError: one was replaced or removed.

        """
        wanted = list(hours)
        paths = self._lake.files(self._contract, [one.partition for one in wanted])
        if len(paths) != len(wanted):
            raise ConcurrentReplaceError(self._contract.name)
        versions = dict(self._versions(wanted[0].day[:_MONTH])) if wanted else {}
        for one, path in zip(wanted, paths, strict=True):
            if not _is_version(os.stat(path), versions[one.day, one.hour]):  # noqa: PTH116 - speed
                raise ConcurrentReplaceError(self._contract.name)

    def remember(self) -> None:
        """Store what was read, for the next publication.

        Raises:
            LakeError: it cannot be written.

        """
        if self._frames:
            self._cache.write(dict(sorted(self._frames.items(), key=lambda one: one[0] == _MONTHS)))
            for name in {*self._cache.names(_FOLDER)} - {_MONTHS, *(f"{_FOLDER}/{month}" for month in self._months)}:
                self._cache.remove(name)
            self._frames = {}

    def _month(self, month: str, remembered: tuple[str, str, int] | None) -> tuple[str, str, int]:
        versions = sha256("".join(f"{day}\n{self._days[day]}\n" for day in self._months[month]).encode()).hexdigest()
        if remembered and remembered[0] == versions:
            return remembered
        hours = self.hours(month)
        return versions, hours_hash(hours), sum(one.rows for one in hours)

    def _read_hours(self, month: str) -> list[HourContent]:
        name, versions = f"{_FOLDER}/{month}", self._versions(month)
        remembered = {
            (day, hour, *version): (content_hash, rows)
            for day, hour, *version, content_hash, rows in self._cache.read(name, _HOURS_SCHEMA).iter_rows()
        }
        changed = [(values, version) for values, version in versions if (*values, *version) not in remembered]
        if changed:
            remembered |= self._read(changed)
        found = [(*values, *version, *remembered[*values, *version]) for values, version in versions]
        if changed or len(found) != len(remembered):
            self._frames[name] = pl.DataFrame(found, schema=_HOURS_SCHEMA, orient="row")
        return [HourContent(day, hour, content_hash, rows) for day, hour, *_, content_hash, rows in found]

    def _versions(self, month: str) -> list[tuple[_Values, FileVersion]]:
        """The files of a month as they were listed."""
        lines = ((day, line.split(" ")) for day in self._months[month] for line in self._days[day].splitlines())
        return [((day, hour), FileVersion(*map(int, version))) for day, (hour, *version) in lines]

    def _read(self, changed: list[tuple[_Values, FileVersion]]) -> dict[tuple[object, ...], tuple[str, int]]:
        paths = self._lake.files(self._contract, [hour_of(*values) for values, _ in changed])
        if len(paths) != len(changed):
            raise ConcurrentReplaceError(self._contract.name)
        found: dict[tuple[object, ...], tuple[str, int]] = {}
        for (values, version), path in zip(changed, paths, strict=True):
            with path.open("rb") as file:
                if not _is_version(os.fstat(file.fileno()), version):
                    raise ConcurrentReplaceError(self._contract.name)
                content = file.read()
            try:
                rows = pq.read_metadata(BytesIO(content)).num_rows
            except pa.ArrowException as error:
                raise LakeError(
                    f"{self._contract.name}: {path} is damaged. Delete it and run again: what is missing is read from "
                    f"the source or recomputed"
                ) from error
            found[*values, *version] = sha256(content).hexdigest(), rows
        return found


def hours_hash(hours: Iterable[HourContent]) -> str:
    """SHA-256 over the names and contents of the files of some hours, as hexadecimal digits."""
    return combined_hash((f"{one.day} {one.hour}", one.content_hash) for one in hours)


def combined_hash(parts: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over names and hashes, as hexadecimal digits."""
    return sha256("".join(f"{name} {content_hash}\n" for name, content_hash in parts).encode()).hexdigest()


def _is_version(found: os.stat_result, version: FileVersion) -> bool:
    # The number is the inode of a file of this machine; an object has none, and its copy has one of its own.
    return (found.st_size, found.st_mtime_ns) == version[:2] and version.number in {0, found.st_ino}
