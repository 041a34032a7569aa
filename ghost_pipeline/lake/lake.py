"""The lake: one folder per table, hive-style partitions, one Parquet file per partition and shard.

Parquet is the truth. A partition is replaced as a whole, by a rename or by one PUT, so a reader never waits and never
sees half a partition; runs at once keep out of each other's way by `locking`. Files hold every column of the contract,
so a single file is readable without its path.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TypeVar, cast

import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import clear_leftovers
from ghost_pipeline.lake.local_files import SHARD_FILE
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.windows import HOUR, Day, Hour, Month, hours, without_silence

ZSTD_LEVEL = 1
"""As small as level 3 (7.0 MB for 200,000 summaries), in two thirds of its time."""
ROW_GROUP_ROWS = 100_000
"""Row groups are written and read side by side: in two of them, 200,000 summaries take half the time."""
REWRITTEN_TOGETHER = 256
"""Partitions that `Lake.rewrite` flushes to disk at once."""
_HOUR = "_hour"
_FILE = "_file"
NO_HOUR = "unknown"
"""Stands for the hour of a rejected row that does not tell it."""

PART_BYTES = 1 << 20
"""The files of a part of `Lake.in_parts`: some 100,000 measurements or keystrokes."""

FILE_VERSION_SCHEMA = pl.Schema({"hour": pl.Datetime("us", "UTC"), "file_version": pl.UInt64()})
"""The columns of `Lake.file_versions`."""


@dataclass(frozen=True, order=True)
class Rejects:
    """A partition of `rejected_rows`: a source table and the hour of the events, where rows tell it."""

    source_table: str
    hour: Hour | None

    @property
    def key(self) -> str:
        """A readable name."""
        return f"{self.source_table}|{self.hour.key if self.hour else NO_HOUR}"


Partition = Hour | Day | Month | Rejects
SomePartition = TypeVar("SomePartition", bound=Partition)


@dataclass(frozen=True)
class Written:
    """What became of one partition."""

    rows: int
    changed: bool
    """False where the same bytes were there already; the file is then left alone."""


class Lake:
    """The lake below one folder, or below an address in a bucket."""

    def __init__(self, location: Location) -> None:
        """Open the lake at a location; nothing is created before the first write."""
        self._files = open_files(location)
        clear_leftovers(self.root)

    @property
    def root(self) -> Path:
        """The folder of this machine with the lake's files, or with copies of them if the lake is in a bucket.

        Locks and caches are in it, too.
        """
        return self._files.folder

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written yet."""
        return not self._files

    def path(self, contract: Contract, partition: Partition) -> Path:
        """The file of a partition; of a lake in a bucket, where its copy lies when it has been read or written."""
        return self.root / _name(contract, partition)

    def write(
        self, contract: Contract, partition: Partition, frame: pl.DataFrame, *, new: pl.DataFrame | None = None
    ) -> Written:
        """Replace a partition by `frame`.

        Args:
            contract: the table; `frame` has to fulfil it.
            partition: which partition of it.
            frame: the rows in their final order; the same rows in the same order give the same bytes.
            new: those of them that have to be looked at, where the others stand in a partition already.

        Raises:
            ContractError: the frame breaks the contract; the partition is as it was.
            LakeError: the file cannot be written; the partition is as it was.

        """
        contract.require(frame if new is None else new, partition.key)
        return self._replace(contract, partition, _content(contract, frame), frame.height)

    def write_parts(self, contract: Contract, partition: Partition, parts: Iterable[pl.DataFrame]) -> Written:
        """Replace a partition by frames that follow one another and are never in memory together.

        Args:
            contract: the table; each frame has to fulfil it. That no key stands in two of them is up to the caller.
            partition: which partition of it.
            parts: the rows in their final order; the same parts give the same bytes.

        Raises:
            ContractError: a frame breaks the contract; the partition is as it was.
            LakeError: the file cannot be written; the partition is as it was.

        """
        rows, buffer = 0, BytesIO()
        with pq.ParquetWriter(
            buffer, contract.empty().to_arrow().schema, compression="zstd", compression_level=ZSTD_LEVEL
        ) as writer:
            for part in parts:
                contract.require(part, partition.key)
                # Where chunks end is left to chance, and pages of the file would end there too.
                writer.write_table(part.rechunk().to_arrow())
                rows += part.height
        return self._replace(contract, partition, buffer.getvalue(), rows)

    def write_hours(
        self,
        contract: Contract,
        window: Iterable[Hour],
        frame: pl.DataFrame,
        hour: pl.Series,
        before: Callable[[list[Hour]], None] | None = None,
    ) -> int:
        """Replace many hourly partitions, in the order of time; the contract is checked once.

        Args:
            contract: the table; `frame` has to fulfil it.
            window: the hours to write; one without a row becomes an empty partition.
            frame: the rows in their final order.
            hour: the start of the hour of each row.
            before: told the hours whose content will change, when all is staged and nothing is replaced yet: what
                follows from them can be forgotten first, so that a kill in between leaves nothing that is wrong.

        Returns:
            How many partitions changed.

        Raises:
            ContractError: the frame breaks the contract; no partition was written.
            LakeError: a file cannot be written; the hours before it are new, it and the others as before.

        """
        ordered = sorted(window)
        if not ordered:
            return 0
        contract.require(frame, f"{ordered[0].key} to {ordered[-1].key}")
        by_hour = {
            cast("datetime", key[0]): part
            for key, part in frame.with_columns(hour.alias(_HOUR))
            .partition_by(_HOUR, maintain_order=True, include_key=False, as_dict=True)
            .items()
        }
        empty = contract.empty()
        names = {one: _name(contract, one) for one in ordered}
        with self._files.replacing([*names.values()]) as staging:
            changed = [
                one
                for one, name in names.items()
                if staging.put(name, _content(contract, by_hour.get(one.start, empty)))
            ]
            if changed and before:
                before(changed)
        return len(changed)

    def remove(self, contract: Contract, partition: Partition) -> bool:
        """Remove a partition; returns whether it was there.

        Raises:
            LakeError: it cannot be removed.

        """
        return self._files.remove(_name(contract, partition))

    def invalidate(self, contract: Contract, hour: Hour) -> None:
        """Remove an hour of a derived table, so that the next run finds a gap and computes from there on.

        Where that would leave no gap, because the table begins there or later or the hour borders on a silence, the
        whole table goes, at once.

        Raises:
            LakeError: it cannot be removed.

        """
        there = self.hours(contract)
        if not there or hour > there[-1]:
            return
        if hour in _missing([one for one in there if one != hour], there[-1].as_of):
            self.remove(contract, hour)
        else:
            self._files.remove_folder(contract.name)

    def forget_copies(self, contracts: Iterable[Contract]) -> None:
        """Of a lake in a bucket, remove the copies on this machine of what is no longer there, or not as it was.

        Raises:
            LakeError: one cannot be removed.

        """
        for contract in contracts:
            self._files.forget_copies(contract.name)

    def exists(self, contract: Contract, partition: Partition) -> bool:
        """Whether a partition has been written, empty or not."""
        return bool(self.written(contract, [partition]))

    def written(self, contract: Contract, partitions: Iterable[SomePartition]) -> list[SomePartition]:
        """Those of some partitions that have been written, in their order."""
        names = {partition: _name(contract, partition) for partition in partitions}
        found = self._files.file_versions([*names.values()])
        return [partition for partition, name in names.items() if name in found]

    def hours(self, contract: Contract) -> list[Hour]:
        """The hourly partitions of a table that have been written, ascending."""
        return sorted(_hour(day, hour) for day, hour in self._values(contract))

    def days(self, contract: Contract) -> list[Day]:
        """The daily partitions of a table that have been written, ascending."""
        return sorted(Day(datetime.combine(date.fromisoformat(day), time(), UTC)) for (day,) in self._values(contract))

    def months(self, contract: Contract) -> list[Month]:
        """The monthly partitions of a table that have been written, ascending."""
        return sorted(Month.from_key(key) for (key,) in self._values(contract))

    def rejects(self, contract: Contract, source_table: str) -> list[Rejects]:
        """The partitions of `rejected_rows` that a source table has."""
        parent = f"{contract.name}/{contract.partitioning.value[0]}={source_table}"
        found = self._files.partitions(parent, len(contract.partitioning.value) - 1)
        values = sorted(values for values, _ in found)
        return [Rejects(source_table, None if day == NO_HOUR else _hour(day, hour)) for day, hour in values]

    def newest_hour(self, contract: Contract) -> Hour | None:
        """The newest hourly partition of a table, found without listing the older days."""
        return next(self._hours_by_day(contract, newest_first=True), None)

    def first_hour(self, contract: Contract) -> Hour | None:
        """The first hourly partition of a table, found without listing the later days."""
        return next(self._hours_by_day(contract), None)

    def hours_since(self, contract: Contract, instant: datetime) -> list[Hour]:
        """The hourly partitions that end after an instant, ascending, found without looking into older days."""
        first = f"{contract.partitioning.value[0]}={instant.date().isoformat()}"
        found = (_hour(day, hour) for day, hour in self._values(contract, first))
        return sorted(hour for hour in found if hour.as_of > instant)

    def hours_between(self, contract: Contract, start: datetime | None, end: datetime) -> list[Hour]:
        """The hours of [start, end) that have been written; from the first one where there is no start."""
        there = self.hours(contract) if start is None else self.hours_since(contract, start)
        return [hour for hour in there if hour.as_of <= end and (start is None or hour.start >= start)]

    def scan_hours(self, contract: Contract, start: datetime, end: datetime) -> pl.LazyFrame:
        """The rows of the hours of [start, end) of an event table, found without listing its other hours.

        Raises:
            LakeError: hours are missing between the table's first one and `end`; names them.

        """
        window = list(hours(start, end))
        written = self.written(contract, window)
        if len(written) != len(window):
            # Whether it is silence that has no hours may be told by those after the window.
            there = self.hours(contract)
            _require_gapless(contract, there, max(end, *(hour.as_of for hour in there[-1:]), end), window)
        return self.scan(contract, written)

    def file_version(self, contract: Contract, partition: Partition) -> str | None:
        """What tells a partition's file from one that replaces it; None where there is none. See `file_versions`."""
        name = _name(contract, partition)
        version = self._files.file_versions([name]).get(name)
        return "-".join(map(str, version)) if version else None

    def in_parts(self, contract: Contract, hours: Iterable[Hour]) -> Iterator[list[Hour]]:
        """Cut hours, in their order, into parts that are small in memory: by the size of their files of one table.

        A large hour is a part by itself.
        """
        part: list[Hour] = []
        room = PART_BYTES
        ordered = sorted(hours)
        for hour, size in zip(ordered, self._sizes(contract, ordered), strict=True):
            if part and size > room:
                yield part
                part, room = [], PART_BYTES
            part.append(hour)
            room -= size
        if part:
            yield part

    def is_large(self, contract: Contract, hour: Hour) -> bool:
        """Whether the file of an hour is larger than a part may be."""
        (size,) = self._sizes(contract, [hour])
        return size > PART_BYTES

    def rows(self, contract: Contract, partition: Partition) -> int:
        """The number of rows of a partition, 0 where it was never written."""
        return int(self.scan(contract, [partition]).select(pl.len()).collect().item())

    def files(self, contract: Contract, partitions: Iterable[Partition] | None = None) -> list[Path]:
        """The files of a table, or of some partitions in their order; one that was never written has none."""
        if partitions is None:
            keys = contract.partitioning.value
            return self._files.located([_named(contract.name, keys, one) for one in sorted(self._values(contract))])
        return self._files.located([_name(contract, partition) for partition in partitions])

    def scan(self, contract: Contract, partitions: Iterable[Partition] | None = None) -> pl.LazyFrame:
        """The rows of a table, all of it or some partitions; one that was never written has no rows."""
        paths = self.files(contract, partitions)
        if not paths:
            return contract.empty().lazy()
        # With the schema, or polars would open the first file twice: once for its footer, and once more for its rows,
        # which may be those of another file by then.
        return pl.scan_parquet(paths, schema=contract.polars_schema, hive_partitioning=False, glob=False)

    def partitions_where(self, contract: Contract, condition: pl.Expr) -> dict[Partition, int]:
        """The partitions of a table with rows that fulfil a condition, each with their number; ascending.

        Of the others no more is read than the columns that the condition names.
        """
        files = self.files(contract)
        if not files:
            return {}
        scanned = pl.scan_parquet(files, hive_partitioning=False, glob=False, include_file_paths=_FILE)
        found = scanned.filter(condition).group_by(_FILE).len().sort(_FILE).collect()
        return {_partition(contract.partitioning, Path(file)): rows for file, rows in found.iter_rows()}

    def rewrite(
        self, contract: Contract, partitions: Iterable[Partition], change: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> None:
        """Replace partitions by what `change` makes of their rows, some hundred of them together.

        Args:
            contract: the table; whatever `change` leaves has to fulfil it still.
            partitions: those that are there.
            change: takes and gives the rows of a partition, in their order.

        Raises:
            LakeError: a file cannot be written; each partition is as it was or changed.

        """
        ordered = list(partitions)
        for first in range(0, len(ordered), REWRITTEN_TOGETHER):
            some = ordered[first : first + REWRITTEN_TOGETHER]
            names, files = [_name(contract, one) for one in some], self.files(contract, some)
            with self._files.replacing(names) as staging:
                for name, file in zip(names, files, strict=True):
                    rows = pl.scan_parquet(file, hive_partitioning=False, glob=False).collect()
                    staging.put(name, _content(contract, change(rows)))

    def scan_until(self, contract: Contract, as_of: datetime) -> pl.LazyFrame:
        """Every row of an hourly event table that happened before `as_of`, for a plan that uses it once.

        Raises:
            LakeError: hours are missing between the first one and `as_of`; names them.

        """
        there = self.hours(contract)
        written = [hour for hour in there if hour.as_of <= as_of]
        if written and len(written) != (as_of - there[0].start) // HOUR:
            _require_gapless_until(contract, there, as_of)
        return self.scan(contract, written)

    def file_versions(self, contracts: Iterable[Contract], as_of: datetime) -> pl.DataFrame:
        """What tells whether the files of an hour are those of an earlier look: of 2,400 hours in 20 ms a table.

        A file is never changed, only replaced: then its version is another. A lake that was copied has other
        versions, too.

        Args:
            contracts: hourly event tables.
            as_of: only hours that had ended then.

        Returns:
            One row per hour that any of the tables has, ascending: `hour` Datetime, its start, and `file_version`
            UInt64.

        Raises:
            LakeError: a table has a gap before `as_of`; names the hours.

        """
        versions = pl.LazyFrame(schema=FILE_VERSION_SCHEMA)
        for contract in contracts:
            every = self._stats(contract)
            written = every.filter(pl.col("hour") < as_of)
            first = written["hour"].min()
            if isinstance(first, datetime) and written.height != (as_of - first) // HOUR:
                # Hour by hour only now: of most tables, the number of their hours says that none is missing.
                _require_gapless_until(contract, [Hour.containing(one) for one in every["hour"].sort()], as_of)
            versions = versions.join(written.lazy(), on="hour", how="full", coalesce=True).select(
                "hour", file_version=pl.struct(pl.all()).hash()
            )
        return versions.sort("hour").collect()

    def file_versions_of(self, contract: Contract) -> pl.DataFrame:
        """The `file_versions` of one hourly table, whether hours are missing or not; in no order."""
        return self._stats(contract).select("hour", file_version=pl.struct(pl.all()).hash())

    def complete_until(self, contract: Contract) -> datetime | None:
        """The end of the hours of an event table that are there without a gap; None for an empty table."""
        written = self.hours(contract)
        if not written:
            return None
        missing = _missing(written, written[-1].as_of)
        return missing[0].start if missing else written[-1].as_of

    def damaged(self, contract: Contract) -> list[str]:
        """The files of a table that are no Parquet files, by their footers; of a bucket, those read here."""
        keys = contract.partitioning.value
        names = [_named(contract.name, keys, values) for values in sorted(self._values(contract))]
        suspects = [path.relative_to(self.root).as_posix() for path in self._files.at_hand(names) if not _sound(path)]
        return [f"{self._files}/{name}" for name in suspects if not all(map(_sound, self._files.fresh([name])))]

    def require_sound(self, contracts: Iterable[Contract], error: Exception | None = None) -> None:
        """Make sure that no file of some tables is damaged.

        Raises:
            LakeError: names the first one, and what to do.

        """
        for contract in contracts:
            for file in self.damaged(contract)[:1]:
                raise LakeError(
                    f"{contract.name}: {file} is damaged. Delete it and run again: what is missing is read from the "
                    f"source or computed anew",
                ) from error

    def content_hash(self, paths: Iterable[Path]) -> str:
        """SHA-256 over the names and contents of lake files."""
        digest = hashlib.sha256()
        for path in paths:
            digest.update(str(path.relative_to(self.root)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _replace(self, contract: Contract, partition: Partition, content: bytes, rows: int) -> Written:
        name = _name(contract, partition)
        with self._files.replacing([name]) as staging:
            return Written(rows, changed=staging.put(name, content))

    def _sizes(self, contract: Contract, hours: Sequence[Hour]) -> list[int]:
        names = [_name(contract, hour) for hour in hours]
        versions = self._files.file_versions(names)
        return [versions[name].size if name in versions else 0 for name in names]

    def _stats(self, contract: Contract) -> pl.DataFrame:
        """The files of an hourly table: `hour`, and what tells one file from another."""
        rows = [
            (day + hour, *version)
            for (day, hour), version in self._files.partitions(contract.name, len(contract.partitioning.value))
        ]
        schema = {"hour": pl.String, "size": pl.Int64, "changed": pl.Int64, "number": pl.UInt64}
        start = (pl.col("hour") + "00").str.to_datetime("%Y-%m-%d%H%M", time_unit="us", time_zone="UTC")
        return pl.DataFrame(rows, schema=schema, orient="row").with_columns(start)

    def _values(self, contract: Contract, since: str = "") -> Iterator[tuple[str, ...]]:
        for values, _ in self._files.partitions(contract.name, len(contract.partitioning.value), since):
            yield values

    def _hours_by_day(self, contract: Contract, *, newest_first: bool = False) -> Iterator[Hour]:
        """The hours of a table in the order of time, or the other way round; a day is looked into when it is due."""
        for folder in sorted(self._files.folders(contract.name), reverse=newest_first):
            _, equals, day = folder.partition("=")
            if equals:
                found = self._files.partitions(f"{contract.name}/{folder}", 1)
                yield from (_hour(day, hour) for hour in sorted((one for (one,), _ in found), reverse=newest_first))


def _name(contract: Contract, partition: Partition) -> str:
    """The name of a partition's file."""
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
            Partitioning.EVENT_HOUR | Partitioning.SEEN_HOUR | Partitioning.SNAPSHOT_HOUR | Partitioning.CHANGE_HOUR,
            Hour(),
        ):
            values = (partition.date.isoformat(), f"{partition.hour:02d}")
        case _:
            keys = contract.partitioning.value
            raise LakeError(f"{partition.key}: not a partition of a table that is kept by {keys}")
    return _named(contract.name, contract.partitioning.value, values)


def _named(table: str, keys: tuple[str, ...], values: tuple[str, ...]) -> str:
    folders = (f"{key}={value}" for key, value in zip(keys, values, strict=True))
    return "/".join((table, *folders, SHARD_FILE))


def _partition(partitioning: Partitioning, file: Path) -> Partition:
    """The partition that a file holds, by its folders."""
    values = [part.partition("=")[2] for part in file.parts[-1 - len(partitioning.value) : -1]]
    match partitioning, values:
        case Partitioning.MONTH, [month]:
            return Month.from_key(month)
        case _, [day]:
            return Day(datetime.combine(date.fromisoformat(day), time(), UTC))
        case _, [day, hour]:
            return _hour(day, hour)
        case _, [table, day, hour]:
            return Rejects(table, None if day == NO_HOUR else _hour(day, hour))
        case _:
            raise LakeError(f"{file}: not a file of a table that is kept by {partitioning.value}. Remove it")


def _hour(day: str, hour: str) -> Hour:
    return Hour(datetime.combine(date.fromisoformat(day), time(int(hour)), UTC))


def _content(contract: Contract, frame: pl.DataFrame) -> bytes:
    return _parquet(frame) if frame.height else _empty_parquet(contract)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.rechunk().write_parquet(
        buffer, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP_ROWS, statistics=True
    )
    return buffer.getvalue()


@cache
def _empty_parquet(contract: Contract) -> bytes:
    return _parquet(contract.empty())


def _sound(path: Path) -> bool:
    try:
        pl.read_parquet_schema(path)
    except FileNotFoundError:
        # Removed meanwhile: that is no damage.
        return True
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def _require_gapless_until(contract: Contract, there: list[Hour], as_of: datetime) -> None:
    """Make sure that no hour before `as_of` is missing: that some are silence may be told by those after it."""
    _require_gapless(contract, there, max(as_of, there[-1].as_of), hours(there[0].start, as_of))


def _require_gapless(
    contract: Contract, written: list[Hour], as_of: datetime, window: Iterable[Hour] | None = None
) -> None:
    """Make sure that no hour up to `as_of` is missing; where a window is given, none of its hours."""
    missing = _missing(written, as_of)
    if missing and window is not None:
        asked = sorted(window)
        missing, as_of = sorted(set(missing) & set(asked)), asked[-1].as_of
    if missing:
        shown = ", ".join(hour.key for hour in missing[:3]) + (" ..." if len(missing) > 3 else "")  # noqa: PLR2004
        raise LakeError(
            f"{contract.name}: {len(missing)} of {(as_of - written[0].start) // HOUR} hours before "
            f"{as_of:%Y-%m-%dT%H:%MZ} are not in the lake ({shown}). Materialize {contract.name} for the hour "
            f"that ends then, or for a later one: it fills them in",
        )


def _missing(written: list[Hour], as_of: datetime) -> list[Hour]:
    if not written or len(written) == (as_of - written[0].start) // HOUR:
        return []
    there = set(written)
    return [hour for hour in without_silence(written, written[0].start, as_of) if hour not in there]
