"""From a table's compute function to its Dagster asset.

What all assets share is added here once, from the contract: name, group, kinds, the partitions of a run, the checks
`structure`, `coverage` and `freshness`, row counts, what a partition took, a preview and pictures. What the catalogue
says of a table is added in `catalogue`. Which rows a table has is in its own module.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from logging import Logger
from typing import Any, NamedTuple

import dagster as dg
import duckdb
import polars as pl

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.defs.checks import (
    COVERAGE,
    STRUCTURE,
    Check,
    ComparisonCheck,
    coverage_of,
    coverage_result,
    evaluation,
    planned_partitions,
    report,
    structure_failed,
    structure_passed,
    warnings_result,
)
from ghost_pipeline.defs.external_assets import source_key
from ghost_pipeline.defs.freshness import FRESHNESS, freshness
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.defs.partitions import RANGE_END, SOURCE_FROM, Partitions
from ghost_pipeline.defs.resources import RunContext, RunSource
from ghost_pipeline.defs.table_result import Cost, TableResult
from ghost_pipeline.errors import ContractError, EngineError, without_values
from ghost_pipeline.ingest.result import OnRows
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.file_versions import FileVersion, file_version
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import shared_lock
from ghost_pipeline.pictures.tables import PICTURES, counted
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month, hours

HOURS_POOL, MONTHS_POOL = "hours", "months"
"""Pools of the hourly and the monthly tables. `dagster.yaml` allows one run in each, by hand or by schedule: the
ledger of releases takes newer hours only, the source has one reader, and memory holds one month."""

MONTH_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-31 * 24, end_offset=-31 * 24)
"""The month that an hourly table reads: never its own, which is not over. 31 days back is the month before, or on the
first days of March the one before that, which may still serve then (G5.5)."""

FILE_PER_PARTITION = frozenset(
    {
        *(Partitioning.EVENT_HOUR, Partitioning.VERSION_HOUR, Partitioning.SNAPSHOT_HOUR, Partitioning.CHANGE_HOUR),
        Partitioning.MONTH,
    }
)
"""Tables whose partitions in Dagster are those of the lake; of the others, an hour has parts or is one."""

HOURS_WRITTEN = "hours_written"
"""The field of a log record that holds an `HoursWritten`."""


class HoursWritten(NamedTuple):
    """What a run over several hours has written of a table so far."""

    table: str
    hours: int
    last: str
    rows: int


ROWS_READ = "rows_read"
"""The field of a log record that holds a `RowsRead`."""
SECONDS_BETWEEN = 2.0
"""Dagster stores every record, so that not every part that is read becomes one."""


class RowsRead(NamedTuple):
    """How much of a table of the source has been read."""

    table: str
    rows: int
    total: int | None
    """None if it is not known."""


Compute = Callable[[RunContext, Sequence[Any]], Iterator[TableResult]]
"""Writes the partitions of a run, ascending, and yields a result for each, in their order.

The partitions are hours of an hourly table and months of a monthly one.
"""


def written_beside(contract: Contract) -> Compute:
    """Return the computation of a table that the asset of another one has written: the number of its rows."""

    def count(run: RunContext, partitions: Sequence[Any]) -> Iterator[TableResult]:
        for partition in partitions:
            yield TableResult(rows=run.lake.rows(contract, partition))

    return count


@dataclass(frozen=True)
class TableAsset:
    """A table, the tables it is computed from, and the function that computes it."""

    contract: Contract
    upstream: tuple[Contract, ...]
    compute: Compute
    continues_itself: bool = False
    """Whether a partition follows from the one before it."""
    checks: tuple[Check, ...] = ()
    """Further checks of this table; its results hold their warnings, and they never block."""
    comparisons: tuple[ComparisonCheck, ...] = ()
    """Further checks that compare what was written with earlier partitions; they never block."""
    counts: str = ""
    """What `coverage` counts in this table; without such a text it has no `coverage`, and its results no findings."""
    counted_now: Callable[[RunContext], Mapping[str, int]] | None = None
    """Counts it in the lake as it is now, so that `coverage` is the same whichever hour a run builds; without it,
    `coverage` reports the findings of each partition."""
    kinds: frozenset[str] = frozenset({"polars", "parquet"})

    @property
    def every_check(self) -> tuple[Check, ...]:
        """All checks of the table: the shared ones and its own."""
        coverage = (coverage_of(self.counts, partitioned=self.counted_now is None),) if self.counts else ()
        fresh = (FRESHNESS,) if self.contract.has_age else ()
        return (STRUCTURE, *coverage, *self.checks, *(one.check for one in self.comparisons), *fresh)

    @property
    def monthly(self) -> bool:
        """Whether the partitions are months; otherwise they are hours."""
        return self.contract.partitioning is Partitioning.MONTH

    def asset(self, partitions: Partitions, hours_per_run: int) -> dg.AssetsDefinition:
        """Return the Dagster asset of this table.

        Args:
            partitions: the hours and the months.
            hours_per_run: hours of a backfill in one run; a process for each would cost 2 to 9 s.

        """
        contract = self.contract
        own_partitions = partitions.monthly if self.monthly else partitions.hourly

        @dg.asset(
            name=contract.name,
            description=f"{contract.description}\n\nGrain: {contract.grain}.",
            group_name=contract.layer.value,
            kinds=set(self.kinds),
            deps=[
                *([source_key(contract.name)] if contract.name in SOURCE_TABLES else []),
                *map(self._dependency, self.upstream),
                *([_on_itself(contract)] if self.continues_itself else []),
            ],
            partitions_def=own_partitions,
            pool=MONTHS_POOL if self.monthly else HOURS_POOL,
            backfill_policy=dg.BackfillPolicy.multi_run(1 if self.monthly else hours_per_run),
            check_specs=[check.spec(contract.name, own_partitions) for check in self.every_check],
        )
        def table(
            context: dg.AssetExecutionContext,
            settings: dg.ResourceParam[Settings],
            lake: dg.ResourceParam[Lake],
            source: dg.ResourceParam[RunSource],
        ) -> Iterator[object]:
            keys, tags = sorted(context.partition_keys), context.run.tags
            range_end = None if self.monthly else _range_end(keys, tags.get(RANGE_END))
            run = RunContext(settings, lake, source, range_end, _rows_to_log(context.log))
            results: dict[str, TableResult] = {}
            try:
                # Computing a partition again gives the same bytes, so a replaced input needs only another try.
                with shared_lock(lake.root):
                    retry_on_replace(partial(self._compute, context.log, run, keys, results))
            except ContractError as error:
                failed = {key: structure_failed(error) for key in keys if key not in results}
                # Without the output: what follows in the plan of the run does not run.
                yield from (evaluation(contract.name, STRUCTURE, one, key) for key, one in failed.items())
                raise
            except (pl.exceptions.PolarsError, duckdb.Error) as error:
                # Only now: reading every footer before every run would cost more than the run.
                lake.require_sound((*self.upstream, contract))
                lake.require_fitting((*self.upstream, contract))
                # Engines cite values, and Dagster stores what is raised.
                raise EngineError(
                    f"{contract.name}, partition {keys[0]}: {type(error).__name__}: {without_values(error)}. No file "
                    f"is damaged: this is a defect of the step that computes it, or of an edit of the contracts "
                    f"(docs/upgrading.md)"
                ).with_traceback(error.__traceback__) from None
            files = self._files(lake, keys)
            now = retry_on_replace(partial(self.counted_now, run)) if self.counted_now else {}
            # Of the newest partition alone: a picture is a query and a kilobyte, and no one leafs through a backfill.
            pictures = {keys[-1]: self._pictures(lake, keys[-1], now)}
            for key, result in results.items():
                size = {"bytes": files[key].size} if key in files else {}
                # First, so that no one has to scroll to them.
                shown = {**pictures.get(key, {}), **result.asset_metadata(), **size}
                context.add_asset_metadata(shown, partition_key=key)
            read = self._read_partitions(keys, tags.get(SOURCE_FROM))
            for check, found in self._checked(run, results, read, planned_partitions(context.run), now):
                yield from report(contract.name, check, found)
            yield dg.MaterializeResult(data_version=self._data_version(lake, files))

        return table

    def _checked(
        self,
        run: RunContext,
        results: Mapping[str, TableResult],
        read: Sequence[Hour | Month],
        planned: Sequence[str | None],
        now: Mapping[str, int],
    ) -> Iterator[tuple[Check, Mapping[str | None, dg.AssetCheckResult]]]:
        """Yield each check with its results, by partition."""
        shared = {check.name: check for check in self.every_check}
        yield STRUCTURE, {key: structure_passed(result) for key, result in results.items()}
        if self.counted_now:
            yield shared[COVERAGE.name], dict.fromkeys(planned, coverage_result(now))
        elif self.counts:
            yield shared[COVERAGE.name], {key: coverage_result(one.findings) for key, one in results.items()}
        for check in self.checks:
            yield check, {key: warnings_result(check, result) for key, result in results.items()}
        for one in self.comparisons:
            yield one.check, one.results(run.lake, run.settings, self.contract, read, [*results])
        if self.contract.has_age:
            yield FRESHNESS, dict.fromkeys(planned, freshness(run.lake, self.contract, wall_clock()))

    def _compute(self, log: Logger, run: RunContext, keys: Sequence[str], results: dict[str, TableResult]) -> None:
        """Compute the partitions of a run, and add the result of each to `results`."""
        results.clear()
        logged = begun = time.monotonic()
        for key, result in zip(keys, self.compute(run, self._partitions(keys)), strict=True):
            if result.findings and not self.counts:
                raise ValueError(
                    f"{self.contract.name}: returns findings, and no check would report them. Say in `counts` of its "
                    f"TableAsset what they count, or return none"
                )
            results[key] = replace(result, cost=Cost(round(time.monotonic() - begun, 3), _peak_memory_mb()))
            begun = time.monotonic()
            is_last = len(results) == len(keys)
            if len(keys) > 1 and (is_last or time.monotonic() - logged >= SECONDS_BETWEEN):
                logged = time.monotonic()
                rows = sum(one.rows for one in results.values())
                written = HoursWritten(self.contract.name, len(results), key, rows)
                log.info("%s: %d hours up to %s, %d rows", *written, extra={HOURS_WRITTEN: written})

    def _pictures(self, lake: Lake, key: str, now: Mapping[str, int]) -> dict[str, dg.TableMetadataValue]:
        """Return the pictures of a partition, and of what `coverage` counts, if it counts anything."""
        drawn = {"counted": counted(now)} if any(now.values()) else {}
        shown, (partition,) = PICTURES.get(self.contract.name, ()), self._partitions([key])
        # An hour that has expired has no file, or the run of a newer one may be removing it.
        with suppress(FileNotFoundError):
            if shown and lake.exists(self.contract, partition):
                rows = lake.scan(self.contract, [partition])
                frames = pl.collect_all([one.count(rows) for one in shown])
                drawn |= {one.name: one.draw(frame) for one, frame in zip(shown, frames, strict=True)}
        return {name: as_table(picture) for name, picture in drawn.items()}

    def _files(self, lake: Lake, keys: Sequence[str]) -> dict[str, FileVersion]:
        """Return the versions of the files of a run's partitions, by partition; asking takes 10 µs and no request."""
        if self.contract.partitioning not in FILE_PER_PARTITION:
            return {}
        found = {key: file_version(lake.path(self.contract, *self._partitions([key]))) for key in keys}
        return {key: version for key, version in found.items() if version}

    def _data_version(self, lake: Lake, keys: Iterable[str]) -> dg.DataVersion | None:
        """Return a hash of the contents of a run's files; other machines and copies of the lake have the same."""
        paths = [lake.path(self.contract, *self._partitions([key])) for key in keys]
        if not paths:
            return None
        # The run of a newer hour may be removing one that expires.
        with suppress(FileNotFoundError):
            return dg.DataVersion(lake.content_hash(paths)[:16])
        return None

    def _partitions(self, keys: Sequence[str]) -> Sequence[Hour | Month]:
        return [Month.from_key(key) if self.monthly else Hour.from_key(key) for key in keys]

    def _read_partitions(self, keys: Sequence[str], source_from: str | None) -> Sequence[Hour | Month]:
        """Return the partitions that the run has read: its own, or all hours from `source_from` on."""
        if self.monthly:
            return self._partitions(keys)
        return list(hours(Hour.from_key(source_from or keys[0]).start, Hour.from_key(keys[-1]).as_of))

    def _dependency(self, upstream: Contract) -> dg.AssetDep:
        of_month = upstream.partitioning is Partitioning.MONTH and not self.monthly
        return dg.AssetDep(upstream.name, partition_mapping=MONTH_BEFORE if of_month else None)


def _rows_to_log(log: Logger) -> OnRows:
    """Return a function that logs how many rows have been read, every few seconds."""
    logged = time.monotonic()

    def on_rows(table: str, rows: int, total: int | None) -> None:
        nonlocal logged
        if time.monotonic() - logged >= SECONDS_BETWEEN:
            logged = time.monotonic()
            read = RowsRead(table, rows, total)
            log.info("%s: %d of %s rows read", table, rows, total or "unknown", extra={ROWS_READ: read})

    return on_rows


def _peak_memory_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak >> (20 if sys.platform == "darwin" else 10)


def _range_end(keys: Sequence[str], tagged: str | None) -> Hour | None:
    """Return the last hour of the range that a run belongs to, or None for a run of a single hour."""
    key = tagged or (keys[-1] if len(keys) > 1 else None)
    return Hour.from_key(key) if key else None


def _on_itself(contract: Contract) -> dg.AssetDep:
    return dg.AssetDep(contract.name, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1))
