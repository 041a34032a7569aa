"""Partitions and the names of their files: `<table>/<key>=<value>/.../shard-0.parquet`."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TypeVar

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.local_files import SHARD_FILE
from ghost_pipeline.windows import Day, Hour, Month

NO_HOUR = "unknown"
"""The date and hour, in the name of a file, of rejected rows that do not tell theirs."""


@dataclass(frozen=True, order=True)
class Rejects:
    """A partition of `rejected_rows`: a source table and, if its rows tell it, the hour of the events."""

    source_table: str
    hour: Hour | None

    @property
    def key(self) -> str:
        """A readable name."""
        return f"{self.source_table}|{self.hour.key if self.hour else NO_HOUR}"


Partition = Hour | Day | Month | Rejects
SomePartition = TypeVar("SomePartition", bound=Partition)


def file_name(contract: Contract, partition: Partition) -> str:
    """The name of a partition's file, relative to the lake.

    Raises:
        LakeError: the table has no partitions of this kind.

    """
    values: tuple[str, ...]
    match contract.partitioning, partition:
        case (Partitioning.MONTH, Month()) | (
            Partitioning.EVENT_DAY | Partitioning.STALE_DAY | Partitioning.ERASED_DAY,
            Day(),
        ):
            values = (partition.key,)
        case Partitioning.REJECTED, Rejects(table, None):
            values = (table, NO_HOUR, NO_HOUR)
        case Partitioning.REJECTED, Rejects(table, Hour() as hour):
            values = (table, hour.date.isoformat(), f"{hour.hour:02d}")
        case (
            Partitioning.EVENT_HOUR | Partitioning.VERSION_HOUR | Partitioning.SNAPSHOT_HOUR | Partitioning.CHANGE_HOUR,
            Hour(),
        ):
            values = (partition.date.isoformat(), f"{partition.hour:02d}")
        case _:
            keys = contract.partitioning.keys
            raise LakeError(f"{partition.key}: not a partition of a table that is partitioned by {keys}")
    return file_name_of(contract, values)


def file_name_of(contract: Contract, values: tuple[str, ...]) -> str:
    """The name of the file of the partition with these values of the table's partition keys."""
    folders = (f"{key}={value}" for key, value in zip(contract.partitioning.keys, values, strict=True))
    return "/".join((contract.name, *folders, SHARD_FILE))


def partition_of(partitioning: Partitioning, file: Path) -> Partition:
    """The partition that a file holds, according to its folders.

    Raises:
        LakeError: the folders are not those of such a table.

    """
    values = [part.partition("=")[2] for part in file.parts[-1 - len(partitioning.keys) : -1]]
    match partitioning, values:
        case Partitioning.MONTH, [month]:
            return Month.from_key(month)
        case _, [day]:
            return day_of(day)
        case _, [day, hour]:
            return hour_of(day, hour)
        case _, [table, day, hour]:
            return rejects_of(table, day, hour)
        case _:
            raise LakeError(f"{file}: not a file of a table that is partitioned by {partitioning.keys}. Remove it")


def hour_of(day: str, hour: str) -> Hour:
    """The hour of the folders' values `2025-03-12` and `11`."""
    return Hour(datetime.combine(date.fromisoformat(day), time(int(hour)), UTC))


def day_of(day: str) -> Day:
    """The day of the folder's value `2025-03-12`."""
    return Day(datetime.combine(date.fromisoformat(day), time(), UTC))


def rejects_of(table: str, day: str, hour: str) -> Rejects:
    """The partition of `rejected_rows` with these values in its folders."""
    return Rejects(table, None if day == NO_HOUR else hour_of(day, hour))
