"""Replacing and removing partitions. What of their inputs is stale afterwards is not known here."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.gaps import missing_hours
from ghost_pipeline.lake.layout import write_layout
from ghost_pipeline.lake.listing import HOURLY_LEVELS, LakeListing
from ghost_pipeline.lake.local_files import Staging
from ghost_pipeline.lake.parquet import (
    ROW_GROUP_ROWS,
    own_metadata,
    parquet_bytes,
    parquet_bytes_of_many,
    parquet_bytes_of_parts,
)
from ghost_pipeline.lake.partitions import Partition, file_name
from ghost_pipeline.lake.reading import scan_files
from ghost_pipeline.lake.recorded_columns import write_columns
from ghost_pipeline.windows import Hour

REWRITTEN_TOGETHER = 256
"""Partitions that `rewrite` flushes to disk together."""
_ENCODED_TOGETHER = 64
_HOUR = "_hour"


@dataclass(frozen=True)
class Written:
    """The result of writing one partition."""

    rows: int
    changed: bool
    """False if the same bytes were there already; the file is then left alone."""


@dataclass(frozen=True)
class RowsOfHours:
    """Hours that are written together."""

    hours: Sequence[Hour]
    """Ascending; one without a row becomes an empty partition."""
    rows: pl.DataFrame
    """Their rows in their final order."""
    hour: pl.Series
    """The start of the hour of each row."""


def _by_hour(part: RowsOfHours) -> dict[datetime, pl.DataFrame]:
    if part.hour.is_sorted():
        # Slices instead of copies: 1 s less for 10 M rows.
        runs = part.hour.rle().struct.unnest()
        starts = runs["len"].cum_sum() - runs["len"]
        return {
            hour: part.rows.slice(start, rows)
            for hour, start, rows in zip(runs["value"], starts, runs["len"], strict=True)
        }
    return {
        cast("datetime", key[0]): rows
        for key, rows in part.rows.with_columns(part.hour.alias(_HOUR))
        .partition_by(_HOUR, maintain_order=True, include_key=False, as_dict=True)
        .items()
    }


def _encoded_together(hours: Sequence[Hour], by_hour: Mapping[datetime, pl.DataFrame]) -> Iterator[list[Hour]]:
    """Cut hours into consecutive ones whose files are held together."""
    some: list[Hour] = []
    rows = 0
    for one in hours:
        some.append(one)
        rows += by_hour[one.start].height if one.start in by_hour else 0
        if rows >= ROW_GROUP_ROWS or len(some) == _ENCODED_TOGETHER:
            yield some
            some, rows = [], 0
    if some:
        yield some


class LakeWriting(LakeListing):
    """Replaces and removes partitions. Base of `Lake`."""

    def write(
        self,
        contract: Contract,
        partition: Partition,
        frame: pl.DataFrame,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> Written:
        """Replace a partition by `frame`.

        Args:
            contract: the table; `frame` has to fulfil it.
            partition: which partition of it.
            frame: the rows in their final order; the same rows in the same order give the same bytes.
            metadata: what to store about the rows in the metadata of the file.

        Raises:
            ContractError: the frame breaks the contract; the partition is as it was.
            LakeError: the file cannot be written; the partition is as it was.

        """
        contract.require(frame, partition.key)
        return self._replace(contract, partition, parquet_bytes(contract, frame, metadata), frame.height)

    def write_parts(
        self, contract: Contract, partition: Partition, parts: Iterable[pl.DataFrame], *, validated: bool = False
    ) -> Written:
        """Replace a partition by frames that follow one another and are never in memory together.

        Args:
            contract: the table; each frame has to fulfil it. The caller makes sure that no key is in two of them.
            partition: which partition of it.
            parts: the rows in their final order; the same parts give the same bytes.
            validated: whether the caller has validated new rows, and the others come from a partition of the lake.

        Raises:
            ContractError: a frame breaks the contract; the partition is as it was.
            LakeError: the file cannot be written; the partition is as it was.

        """
        content, rows = parquet_bytes_of_parts(contract, partition.key, parts, validated=validated)
        return self._replace(contract, partition, content, rows)

    def write_hours(
        self,
        contract: Contract,
        window: Iterable[Hour],
        frame: pl.DataFrame,
        hour: pl.Series,
        before: Callable[[list[Hour]], None] | None = None,
    ) -> int:
        """Replace many hourly partitions in ascending order; the contract is checked once.

        Args:
            contract: the table; `frame` has to fulfil it.
            window: the hours to write; one without a row becomes an empty partition.
            frame: the rows in their final order.
            hour: the start of the hour of each row.
            before: called with the hours whose content will change, once all is staged and before any file is
                replaced. It removes what was derived from them, so that a kill in between leaves nothing wrong.

        Returns:
            How many partitions changed.

        Raises:
            ContractError: the frame breaks the contract; no partition was written.
            LakeError: a file cannot be written; the hours before it are new, it and the others as before.

        """
        ordered = sorted(window)
        return self.write_parts_of_hours(contract, ordered, [RowsOfHours(ordered, frame, hour)], before)

    def write_parts_of_hours(
        self,
        contract: Contract,
        window: Iterable[Hour],
        parts: Iterable[RowsOfHours],
        before: Callable[[list[Hour]], None] | None = None,
        check: Callable[[list[Hour], RowsOfHours], None] | None = None,
    ) -> int:
        """Replace many hourly partitions whose rows are never in memory together; see `write_hours`.

        Args:
            contract: the table.
            window: the existing hours that a part may have.
            parts: hours and their rows.
            before: as for `write_hours`.
            check: called with the hours of each part whose content will change; what it raises keeps all partitions.

        """
        changed: list[Hour] = []
        with self._replacing(contract, [file_name(contract, one) for one in window]) as staging:
            for part in parts:
                staged = self._staged(staging, contract, part)
                if staged and check:
                    check(staged, part)
                changed += staged
            if changed and before:
                before(changed)
        return len(changed)

    def _staged(self, staging: "_Noting", contract: Contract, part: RowsOfHours) -> list[Hour]:
        """Stage the hours of a part; returns those whose content will change."""
        if not part.hours:
            return []
        contract.require(part.rows, f"{part.hours[0].key} to {part.hours[-1].key}")
        by_hour = _by_hour(part)
        empty = contract.empty()
        changed: list[Hour] = []
        for hours in _encoded_together(part.hours, by_hour):
            files = parquet_bytes_of_many(contract, [by_hour.get(one.start, empty) for one in hours])
            changed += [
                one for one, file in zip(hours, files, strict=True) if staging.put(file_name(contract, one), file)
            ]
        return changed

    def rewrite(
        self, contract: Contract, partitions: Iterable[Partition], change: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> None:
        """Replace partitions by what `change` makes of their rows, 256 at a time; what their files record stays.

        Args:
            contract: the table; the changed rows still have to fulfil it.
            partitions: written ones.
            change: takes and returns the rows of a partition, in their order.

        Raises:
            LakeError: a file cannot be written; each partition is as it was or changed.

        """
        ordered = list(partitions)
        for first in range(0, len(ordered), REWRITTEN_TOGETHER):
            some = ordered[first : first + REWRITTEN_TOGETHER]
            names, files = [file_name(contract, one) for one in some], self.files(contract, some)
            with self._replacing(contract, names) as staging:
                for name, file in zip(names, files, strict=True):
                    rows = scan_files(contract, [file]).collect()
                    staging.put(name, parquet_bytes(contract, change(rows), own_metadata(file)))

    def remove(self, contract: Contract, partition: Partition) -> bool:
        """Remove a partition; returns whether it was there.

        Raises:
            LakeError: it cannot be removed.

        """
        name = file_name(contract, partition)
        with self._listing.changing(contract.name, _days(contract, [name])):
            return self._files.remove(name)

    def invalidate(self, contract: Contract, hour: Hour) -> None:
        """Remove an hour of a derived table, so that the next run finds a gap and computes from there on.

        If that leaves no gap, because the table begins there or later or the hour borders on a silence, the whole
        table is removed at once.

        Raises:
            LakeError: it cannot be removed.

        """
        written = self.hours(contract)
        if not written or hour > written[-1]:
            return
        if hour in missing_hours([one for one in written if one != hour], written[-1].as_of):
            self.remove(contract, hour)
        else:
            with self._listing.changing(contract.name, self._listing.days(contract.name)):
                self._files.remove_folder(contract.name)

    def record_columns(self, have_changed: set[str]) -> None:
        """Record the columns of today's contracts, and which tables may have files with others.

        Raises:
            LakeError: the file cannot be written.

        """
        write_columns(self._files, have_changed)

    def remove_all(self, contract: Contract) -> None:
        """Remove all partitions of a table that has no hours.

        Raises:
            LakeError: they cannot be removed.

        """
        if self._files.folders(contract.name):
            self._files.remove_folder(contract.name)

    def forget_copies(self, contracts: Iterable[Contract]) -> None:
        """Remove this machine's copies of a bucket's files that were removed or replaced there.

        Raises:
            LakeError: one cannot be removed.

        """
        for contract in contracts:
            self._files.forget_copies(contract.name)

    def _replace(self, contract: Contract, partition: Partition, content: bytes, rows: int) -> Written:
        name = file_name(contract, partition)
        with self._replacing(contract, [name]) as staging:
            return Written(rows, changed=staging.put(name, content))

    @contextmanager
    def _replacing(self, contract: Contract, names: Sequence[str]) -> Iterator["_Noting"]:
        """Replace files at the end of the block, while those of settled days are marked."""
        with ExitStack() as marks, self._files.replacing(names) as staging:
            noting = _Noting(staging)
            yield noting
            if noting.names and not self._has_layout:
                # Before the first file: a lake of files alone is one of an older release.
                write_layout(self._files)
                self._has_layout = True
            # Held until the files are replaced.
            marks.enter_context(self._listing.changing(contract.name, _days(contract, noting.names)))


class _Noting:
    """Stages files and notes their names."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self.names: list[str] = []

    def put(self, name: str, content: bytes) -> bool:
        is_new = self._staging.put(name, content)
        if is_new:
            self.names.append(name)
        return is_new


def _days(contract: Contract, names: Iterable[str]) -> set[str]:
    """The days of some files of an hourly table; none of another table."""
    if len(contract.partitioning.keys) != HOURLY_LEVELS:
        return set()
    return {name.split("/")[1].partition("=")[2] for name in names}
