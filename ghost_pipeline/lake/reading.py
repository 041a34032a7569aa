"""Rows of the lake, the versions of the files that hold them, and whether those files are sound."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

import polars as pl

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.gaps import require_gapless, require_gapless_until
from ghost_pipeline.lake.listing import LakeListing
from ghost_pipeline.lake.merged_files import merged_files
from ghost_pipeline.lake.parquet import is_sound
from ghost_pipeline.lake.partitions import Partition, file_name, hour_of, partition_of
from ghost_pipeline.lake.recorded_columns import RecordedColumns, read_columns
from ghost_pipeline.stable_hash import row_hashes
from ghost_pipeline.windows import HOUR, Hour, hours

FILE_VERSION_SCHEMA = pl.Schema({"hour": pl.Datetime("us", "UTC"), "file_version": pl.UInt64()})
"""The columns of `Lake.file_versions`."""
_FILE = "_file"


class LakeReading(LakeListing):
    """Reads partitions. Base of `Lake`."""

    def scan(self, contract: Contract, partitions: Iterable[Partition] | None = None) -> pl.LazyFrame:
        """The rows of a table, all of it or some partitions; a partition never written has no rows."""
        if partitions is None and contract.partitioning is Partitioning.VERSION_HOUR:
            return self.scan_merged(contract)
        return self._scanned(contract, self.files(contract, partitions))

    def scan_merged(self, contract: Contract) -> pl.LazyFrame:
        """All rows of an hourly table of which every run reads all; small files of its older days are read merged."""
        listed = self._listing.files(contract.name)

        def located(hours: Sequence[tuple[str, str]]) -> list[Path]:
            return self.files(contract, [hour_of(*one) for one in hours])

        def read(paths: list[Path]) -> pl.DataFrame:
            return self._scanned(contract, paths).collect()

        parts = list(merged_files(self.root, contract, listed, located, read))
        hours = {one: hour_of(*one) for one in parts if not isinstance(one, Path)}
        there = set(self.files(contract, hours.values()))
        paths = [one if isinstance(one, Path) else self.path(contract, hours[one]) for one in parts]
        return self._scanned(
            contract, [path for path, one in zip(paths, parts, strict=True) if path in there or path is one]
        )

    def _scanned(self, contract: Contract, paths: list[Path]) -> pl.LazyFrame:
        if not paths:
            return contract.empty().lazy()
        return scan_files(contract, paths)

    def scan_hours(self, contract: Contract, start: datetime, end: datetime) -> pl.LazyFrame:
        """The rows of the hours of [start, end) of an event table, found without listing its other hours.

        Raises:
            LakeError: hours are missing between the table's first one and `end`; names them.

        """
        window = list(hours(start, end))
        written = self.written(contract, window)
        if len(written) != len(window):
            # Whether hours without a file are a silence may depend on those after the window.
            every = self.hours(contract)
            require_gapless(contract, every, max(end, *(hour.as_of for hour in every[-1:]), end), window)
        return self.scan(contract, written)

    def scan_until(self, contract: Contract, as_of: datetime) -> pl.LazyFrame:
        """Every row of an hourly event table that happened before `as_of`, for a plan that uses it once.

        Raises:
            LakeError: hours are missing between the first one and `as_of`; names them.

        """
        return self.scan(contract, self.hours_until(contract, as_of))

    def hours_until(self, contract: Contract, as_of: datetime) -> list[Hour]:
        """The hours of an hourly event table before `as_of`, ascending.

        Raises:
            LakeError: hours are missing between the first one and `as_of`; names them.

        """
        every = self.hours(contract)
        written = [hour for hour in every if hour.as_of <= as_of]
        if written and len(written) != (as_of - every[0].start) // HOUR:
            require_gapless_until(contract, every, as_of)
        return written

    def rows(self, contract: Contract, partition: Partition) -> int:
        """The number of rows of a partition; 0 if it was never written."""
        return int(self.scan(contract, [partition]).select(pl.len()).collect().item())

    def metadata(self, contract: Contract, partition: Partition) -> dict[str, str]:
        """What was stored about the rows of a partition when it was written; empty if it was never written."""
        files = self.files(contract, [partition])
        return pl.read_parquet_metadata(files[0]) if files else {}

    def partitions_where(self, contract: Contract, condition: pl.Expr) -> dict[Partition, int]:
        """The partitions of a table that have rows fulfilling a condition, with the number of these rows; ascending.

        Only the columns that the condition names are read.
        """
        files = self.files(contract)
        if not files:
            return {}
        scanned = scan_files(contract, files, include_file_paths=_FILE)
        found = scanned.filter(condition).group_by(_FILE).len().sort(_FILE).collect()
        return {partition_of(contract.partitioning, Path(file)): rows for file, rows in found.iter_rows()}

    def file_version(self, contract: Contract, partition: Partition) -> str | None:
        """The version of a partition's file, which changes whenever it is replaced; None if there is no file."""
        name = file_name(contract, partition)
        version = self._files.file_versions([name]).get(name)
        return "-".join(map(str, version)) if version else None

    def file_versions(
        self, contracts: Iterable[Contract], as_of: datetime, *, since: datetime | None = None
    ) -> pl.DataFrame:
        """A version per hour; changes whenever the hour's file is replaced (20 ms a table for 2,400 hours).

        A copied lake has other versions.

        Args:
            contracts: hourly event tables.
            as_of: only hours that had ended then.
            since: only days from this instant's on, whatever gaps they have.

        Returns:
            One row per hour that any of the tables has, ascending: `hour` Datetime, its start, and `file_version`
            UInt64.

        Raises:
            LakeError: a table has a gap before `as_of`; names the hours.

        """
        versions = FILE_VERSION_SCHEMA.to_frame()
        for contract in contracts:
            every = self._versions(contract, since)
            written = every.filter(pl.col("hour") < as_of)
            first = written["hour"].min()
            if since is None and isinstance(first, datetime) and written.height != (as_of - first) // HOUR:
                # Only now hour by hour: for most tables the number of hours already shows that none is missing.
                require_gapless_until(contract, [Hour.containing(one) for one in every["hour"].sort()], as_of)
            versions = _hashed(versions.join(written, on="hour", how="full", coalesce=True))
        return versions.sort("hour")

    def file_versions_of(self, contract: Contract, *, since: datetime | None = None) -> pl.DataFrame:
        """The `file_versions` of one hourly table, which may have gaps; in no order."""
        return _hashed(self._versions(contract, since))

    def content_hash(self, paths: Iterable[Path]) -> str:
        """SHA-256 over the names and contents of lake files, as hexadecimal digits."""
        digest = hashlib.sha256()
        for path in paths:
            with path.open("rb") as file:
                digest.update(self._content(path, file))
        return digest.hexdigest()

    def content_hash_of_opened(self, path: Path, file: IO[bytes]) -> str:
        """The `content_hash` of one file that is open, whatever has replaced it since."""
        return hashlib.sha256(self._content(path, file)).hexdigest()

    def _content(self, path: Path, file: IO[bytes]) -> bytes:
        return str(path.relative_to(self.root)).encode() + hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]

    def require_sound(self, contracts: Iterable[Contract], error: Exception | None = None) -> None:
        """Require that no file of some tables is damaged.

        Raises:
            LakeError: names the first damaged file, and the remedy.

        """
        for contract in contracts:
            # All days: a file may have been changed or removed by hand.
            self._listing.forget(contract.name)
            for file in self._damaged(contract)[:1]:
                raise LakeError(
                    f"{contract.name}: {file} is damaged. Delete it and run again: what is missing is read from the "
                    f"source or recomputed",
                ) from error

    def require_fitting(self, contracts: Iterable[Contract], error: Exception | None = None) -> None:
        """Require that files have no column of another type than the contract of their table.

        Raises:
            LakeError: names the first column, its file, and the remedy.

        """
        for contract in contracts:
            for path in self._files.at_hand(self._names(contract)):
                types = pl.read_parquet_schema(path)
                for column, dtype in contract.polars_schema.items():
                    if types.get(column, dtype) != dtype:
                        name = path.relative_to(self.root).as_posix()
                        raise LakeError(
                            f"{contract.name}: column {column} is {types[column]} in {self._files}/{name} and {dtype} "
                            f"in this release. A column keeps its type: docs/upgrading.md says what else can be done",
                        ) from error

    def columns(self) -> dict[str, RecordedColumns] | None:
        """The columns of the tables at the last run; None if none are recorded."""
        return read_columns(self._files)

    def columns_of_newest(self, contract: Contract) -> RecordedColumns | None:
        """The columns of the last file of a table by its name; None if there is none."""
        return self._columns_of(self._names(contract)[-1:])

    def columns_of_oldest(self, contract: Contract) -> RecordedColumns | None:
        """The columns of the first file of a table by its name; None if there is none."""
        return self._columns_of(self._names(contract)[:1])

    def _columns_of(self, names: list[str]) -> RecordedColumns | None:
        located = self._files.located(names)
        if not located:
            return None
        types = pl.read_parquet_schema(located[0])
        return RecordedColumns({name: str(dtype) for name, dtype in types.items()})

    def _damaged(self, contract: Contract) -> list[str]:
        """The files of a table that are no Parquet files, by their footers; in a bucket, of those copied here."""
        at_hand = self._files.at_hand(self._names(contract))
        suspects = [path.relative_to(self.root).as_posix() for path in at_hand if not is_sound(path)]
        return [f"{self._files}/{name}" for name in suspects if not all(map(is_sound, self._files.fresh([name])))]

    def _versions(self, contract: Contract, since: datetime | None = None) -> pl.DataFrame:
        """The file versions of an hourly table: `hour`, and a column for each part of `FileVersion`."""
        first = f"{contract.partitioning.keys[0]}={since.date().isoformat()}" if since else ""
        start = (pl.col("day") + pl.col("hour") + "00").str.to_datetime("%Y-%m-%d%H%M", time_unit="us", time_zone="UTC")
        found = self._listing.files(contract.name, first)
        return found.select(start.alias("hour"), "size", pl.col("changed_ns").alias("changed"), "number")


def scan_files(contract: Contract, paths: list[Path], include_file_paths: str | None = None) -> pl.LazyFrame:
    """The rows of files of a table in its columns; what a file of an earlier release lacks is null."""
    # Without the schema polars would open the first file twice, for its footer and again for its rows, and the
    # file may have been replaced in between.
    return pl.scan_parquet(
        paths,
        schema=contract.polars_schema,
        hive_partitioning=False,
        glob=False,
        include_file_paths=include_file_paths,
        missing_columns="insert",
        extra_columns="ignore",
    )


def _hashed(versions: pl.DataFrame) -> pl.DataFrame:
    """Make one number of the parts of each hour's version; caches keep it, so no release of a library may change it."""
    return versions.select("hour", row_hashes(versions.drop("hour")).alias("file_version"))
