"""Which partitions a lake has, and how large their files are. Rows are neither read nor written here."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import clear_leftovers
from ghost_pipeline.lake.concurrent_replace import ConcurrentReplaceError
from ghost_pipeline.lake.gaps import missing_hours
from ghost_pipeline.lake.hour_listing import HourListing
from ghost_pipeline.lake.layout import require_current
from ghost_pipeline.lake.local_files import Files
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.lake.partitions import (
    Partition,
    Rejects,
    SomePartition,
    day_of,
    file_name,
    file_name_of,
    hour_of,
    rejects_of,
)
from ghost_pipeline.locations import Location
from ghost_pipeline.windows import HOUR, Day, Hour, Month

PART_BYTES = 1 << 20
"""Size of a part of `in_parts`: some 100,000 measurements or keystrokes."""
HOURLY_LEVELS = 2
"""Levels of folders of an hourly table: the day and the hour."""


class RemovedByHandError(LakeError, ConcurrentReplaceError):
    """A remembered file is missing. A step of a run lists again and goes on, as if another run had removed it."""


class LakeListing:
    """The partitions of a lake. Base of `Lake`."""

    def __init__(self, location: Location) -> None:
        """Open the lake at a location; nothing is read or created before it is used."""
        self._opened = open_files(location)
        self._has_layout: bool | None = None
        self._hours_listed = HourListing(self._opened)
        clear_leftovers(self.root)

    @property
    def _files(self) -> Files:
        """The files of the lake.

        Raises:
            LakeError: an older or a newer release has written it.

        """
        if self._has_layout is None:
            self.require_current()
        return self._opened

    @property
    def _listing(self) -> HourListing:
        """The files of its hourly tables.

        Raises:
            LakeError: an older or a newer release has written it.

        """
        if self._has_layout is None:
            self.require_current()
        return self._hours_listed

    def require_current(self) -> None:
        """Require that this release can read the lake.

        Raises:
            LakeError: an older or a newer release has written it.

        """
        self._has_layout = require_current(self._opened)

    @property
    def root(self) -> Path:
        """The folder of this machine with the lake's files, or with copies of them if the lake is in a bucket.

        Locks and caches are in it, too.
        """
        return self._opened.folder

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written yet."""
        return not self._files

    def path(self, contract: Contract, partition: Partition) -> Path:
        """The path of a partition's file; for a lake in a bucket, of its copy once it was read or written."""
        return self.root / file_name(contract, partition)

    def exists(self, contract: Contract, partition: Partition) -> bool:
        """Whether a partition has been written, empty or not."""
        return bool(self.written(contract, [partition]))

    def written(self, contract: Contract, partitions: Iterable[SomePartition]) -> list[SomePartition]:
        """The given partitions that have been written, in their order."""
        names = {partition: file_name(contract, partition) for partition in partitions}
        found = self._files.file_versions([*names.values()])
        return [partition for partition, name in names.items() if name in found]

    def hours(self, contract: Contract) -> list[Hour]:
        """The hourly partitions of a table that have been written, ascending."""
        return _hours_of(self._listing.files(contract.name))

    def days(self, contract: Contract) -> list[Day]:
        """The daily partitions of a table that have been written, ascending."""
        return sorted(day_of(day) for (day,) in self._values(contract))

    def months(self, contract: Contract) -> list[Month]:
        """The monthly partitions of a table that have been written, ascending."""
        return sorted(Month.from_key(key) for (key,) in self._values(contract))

    def rejects(self, contract: Contract, source_table: str) -> list[Rejects]:
        """The partitions of `rejected_rows` for a source table."""
        parent = f"{contract.name}/{contract.partitioning.keys[0]}={source_table}"
        found = self._files.partitions(parent, len(contract.partitioning.keys) - 1)
        return [rejects_of(source_table, day, hour) for day, hour in sorted(values for values, _ in found)]

    def list_again(self, contract: Contract) -> None:
        """Rely on nothing that is remembered of a table's files: what was changed by hand is then seen, too."""
        self._listing.forget(contract.name)

    def listed_days(self, contract: Contract) -> dict[str, str]:
        """The partitions of an hourly table by day, ascending, as a text that changes with any of their files.

        A day is one text, since millions of small objects would be most of the work.

        Returns:
            For each day, such as `2025-03-12`, a line for each hour, ascending: `11 SIZE CHANGED_NS NUMBER`.

        """
        lines = pl.concat_str("hour", "size", "changed_ns", "number", separator=" ")
        days = self._listing.files(contract.name).group_by("day", maintain_order=True).agg(lines.str.join("\n"))
        return dict(days.iter_rows())

    def newest(self, contract: Contract) -> Hour | Day | Month | None:
        """The newest partition of a table, whatever its kind."""
        match contract.partitioning:
            case Partitioning.MONTH:
                return max(self.months(contract), default=None)
            case Partitioning.EVENT_DAY:
                return max(self.days(contract), default=None)
            case _:
                return self.newest_hour(contract)

    def newest_hour(self, contract: Contract) -> Hour | None:
        """The newest hourly partition of a table, found without listing the older days."""
        return next(self._hours_by_day(contract, newest_first=True), None)

    def last_hour_until(self, contract: Contract, as_of: datetime) -> Hour | None:
        """The newest hourly partition that ends at or before an instant, found without listing the older days."""
        last = f"{contract.partitioning.keys[0]}={as_of.date().isoformat()}"
        found = self._hours_by_day(contract, newest_first=True, until=last)
        return next((hour for hour in found if hour.as_of <= as_of), None)

    def first_hour(self, contract: Contract) -> Hour | None:
        """The first hourly partition of a table, found without listing the later days."""
        return next(self._hours_by_day(contract), None)

    def hours_since(self, contract: Contract, instant: datetime) -> list[Hour]:
        """The hourly partitions that end after an instant, ascending, found without listing the older days."""
        first = f"{contract.partitioning.keys[0]}={instant.date().isoformat()}"
        return [hour for hour in _hours_of(self._listing.files(contract.name, first)) if hour.as_of > instant]

    def hours_between(self, contract: Contract, start: datetime | None, end: datetime) -> list[Hour]:
        """The hours of [start, end) that have been written; without a start, from the first one."""
        written = self.hours(contract) if start is None else self.hours_since(contract, start)
        return [hour for hour in written if hour.as_of <= end and (start is None or hour.start >= start)]

    def complete_until(self, contract: Contract) -> datetime | None:
        """The end of the hours of an event table before its first gap; None for an empty table."""
        found = self._listing.files(contract.name)
        if found.is_empty():
            return None
        (first, newest), number = (hour_of(*found.row(place)[:2]) for place in (0, -1)), found.height
        if number == (newest.as_of - first.start) // HOUR:
            # For most tables the number of hours already shows that none is missing.
            return newest.as_of
        missing = missing_hours(_hours_of(found), newest.as_of)
        return missing[0].start if missing else newest.as_of

    def in_parts(
        self, contract: Contract, hours: Iterable[Hour], part_bytes: int | None = None
    ) -> Iterator[list[Hour]]:
        """Cut hours, in their order, into parts that are small in memory, judged by their files of one table.

        An hour that is larger than a part (1 MiB if not given) is a part by itself.
        """
        part: list[Hour] = []
        size_of_part = PART_BYTES if part_bytes is None else part_bytes
        room = size_of_part
        ordered = sorted(hours)
        for hour, size in zip(ordered, self._sizes(contract, ordered), strict=True):
            if part and size > room:
                yield part
                part, room = [], size_of_part
            part.append(hour)
            room -= size
        if part:
            yield part

    def is_large(self, contract: Contract, hour: Hour) -> bool:
        """Whether the file of an hour is larger than a part may be."""
        (size,) = self._sizes(contract, [hour])
        return size > PART_BYTES

    def files(self, contract: Contract, partitions: Iterable[Partition] | None = None) -> list[Path]:
        """The files of a table, or of some partitions in their order; a partition never written has none.

        Raises:
            RemovedByHandError: a file that is remembered is missing; all files are listed again next time.

        """
        some = None if partitions is None else [file_name(contract, partition) for partition in partitions]
        names = self._names(contract) if some is None else some
        found = self._files.located(names)
        if len(found) < len(names) and len(contract.partitioning.keys) == HOURLY_LEVELS:
            self._require_listed(contract, set(names) - {one.relative_to(self.root).as_posix() for one in found})
        return found

    def _require_listed(self, contract: Contract, missing: set[str]) -> None:
        """Require that files that are missing are not remembered: without them, rows would be missing silently."""
        for name in sorted(missing):
            _, day, hour, _ = (part.rpartition("=")[2] for part in name.split("/"))
            if self._listing.is_known(contract.name, day, hour):
                self._listing.forget(contract.name)
                raise RemovedByHandError(
                    f"{contract.name}: {self._files}/{name} was removed by hand. Run again: what is missing is read "
                    f"from the source or recomputed"
                )

    def _names(self, contract: Contract) -> list[str]:
        return [file_name_of(contract, values) for values in sorted(self._values(contract))]

    def _sizes(self, contract: Contract, hours: Sequence[Hour]) -> list[int]:
        names = [file_name(contract, hour) for hour in hours]
        versions = self._files.file_versions(names)
        return [versions[name].size if name in versions else 0 for name in names]

    def _values(self, contract: Contract) -> list[tuple[str, ...]]:
        """The values in the names of the folders of a table's partitions, in no order."""
        levels = len(contract.partitioning.keys)
        if levels == HOURLY_LEVELS:
            return self._listing.files(contract.name).select("day", "hour").rows()
        return [values for values, _ in self._files.partitions(contract.name, levels)]

    def _hours_by_day(
        self, contract: Contract, *, newest_first: bool = False, until: str | None = None
    ) -> Iterator[Hour]:
        """The hours of a table, ascending or descending; a day is listed only when its turn comes."""
        for folder in sorted(self._listing.folders(contract.name), reverse=newest_first):
            if until is None or folder <= until:
                day = folder.partition("=")[2]
                found = self._files.partitions(f"{contract.name}/{folder}", 1)
                yield from (hour_of(day, hour) for hour in sorted((one for (one,), _ in found), reverse=newest_first))


def _hours_of(files: pl.DataFrame) -> list[Hour]:
    return [hour_of(day, hour) for day, hour in files.select("day", "hour").iter_rows()]
