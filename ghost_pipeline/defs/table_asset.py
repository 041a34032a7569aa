"""From a table's step to its Dagster asset.

A step is a plain function of one partition: it scans, transforms, writes and says what it found. What all
assets share is added here once, from the contract: name, group, kinds, column schema, the loop over the
partitions of a run, the `structure` and `coverage` checks, row counts and a preview.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from logging import Logger
from typing import NamedTuple

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Contract, Partitioning
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.defs.checks import COVERAGE, STRUCTURE, Check, ComparisonCheck, spec
from ghost_pipeline.defs.partitions import RANGE_END, SOURCE_FROM, Partitions
from ghost_pipeline.errors import ContractError, without_values
from ghost_pipeline.ingest.source_reads import last_read, record_read
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import shared_lock, table_lock
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Source
from ghost_pipeline.windows import Hour, Month, hours

OWNER = "team:data-platform"
PREVIEW_ROWS = 5
WARNINGS_SHOWN = 5

HOURS_POOL, MONTHS_POOL = "hours", "months"
"""Pools of the hourly and the monthly tables. `dagster.yaml` lets one run of each go at a time, whoever launched it:
the ledger of releases takes newer hours only, the source has one reader, and memory holds one month."""

MONTH_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-31 * 24, end_offset=-31 * 24)
"""Which month an hourly table takes: never the one that the hour lies in, which is not over. 31 days back is the month
before, or on the first days of March the one before that, which may still serve then (G5.5)."""


HOUR_WRITTEN = "hour_written"
"""The field of a log record that holds an `HourWritten`."""


class HourWritten(NamedTuple):
    """An hour of a table that a run over several hours has written."""

    table: str
    hour: str
    rows: int


@dataclass(frozen=True)
class RunContext:
    """What every step gets: the settings and the lake; the source is opened by those who read it."""

    settings: Settings
    lake: Lake
    until: Hour | None = None
    """Of hours that are run together, and of runs that follow one another, the last hour of them all."""
    allow_gaps: bool = False
    """Whether the publication takes event tables of which hours are missing as they are: an erasure's does."""
    opened: list[Source] = field(default_factory=list, compare=False)
    """The source, once a step has asked for it; a copy of this shares it."""
    readings: dict[str, str | None] = field(default_factory=dict, compare=False)
    """The last reading of each table that is not newer than the source as it was opened."""

    def source(self) -> Source:
        """The source of `GHOST_SOURCE`; all steps of a run share it, and with it a database's snapshot.

        Raises:
            SourceError: none is set, or it cannot be read.

        """
        if not self.opened:
            self.readings.update({name: last_read(self.lake.root, name) for name in SOURCE_TABLES})
            self.opened.append(open_source(self.settings.source, self.settings.source_mapping))
        return self.opened[0]

    @contextmanager
    def exclusive_source_read(self, table: Contract) -> Iterator[None]:
        """Let one run at a time read a table of the source, compare it with the lake and write it.

        The source of the block is not older than what the lake has of the table: where another run has read it
        meanwhile, a database is read in a new snapshot.

        Raises:
            LakeError: another run takes it in for too long.
            SourceError: the source cannot be opened anew.

        """
        with table_lock(self.lake.root, table.name):
            if self.opened and self.readings[table.name] != last_read(self.lake.root, table.name):
                self.close()
            self.source()
            self.readings[table.name] = record_read(self.lake.root, table.name)
            yield

    def close(self) -> None:
        """Close the source, where it was opened."""
        while self.opened:
            self.opened.pop().close()


@dataclass(frozen=True)
class TableResult:
    """What a step did for one partition."""

    rows: int
    """Rows of the partition."""
    findings: Mapping[str, int] = field(default_factory=dict)
    """Things that a person should look at, with their number; any above 0 makes `coverage` warn."""
    metadata: Mapping[str, int | str | dg.MetadataValue] = field(default_factory=dict)
    """Further counts, texts and pictures; nothing that names a person."""
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For each of the step's own checks what it warns of; none is a pass."""
    sample: pl.DataFrame | None = None
    """Rows to preview; personal columns are left out."""


@dataclass(frozen=True)
class TableAsset:
    """A table, what it is computed from, and how one partition of it comes about."""

    contract: Contract
    upstream: tuple[Contract, ...]
    body: Callable[[RunContext, Hour], TableResult] | Callable[[RunContext, Month], TableResult]
    over: Callable[[RunContext, Sequence[Hour]], Iterable[TableResult]] | None = None
    """Where it is cheaper to compute hours together, ascending: an outcome for each; takes the place of `body`."""
    continues_itself: bool = False
    """Whether a partition follows from the one before it."""
    checks: tuple[Check, ...] = ()
    """Further checks of this table whose warnings the outcomes hold; they never block."""
    comparisons: tuple[ComparisonCheck, ...] = ()
    """Further checks that compare what was written with what was before; they never block."""
    counts: str = ""
    """What `coverage` counts in this table; empty where there is nothing that could not fit."""
    kinds: frozenset[str] = frozenset({"polars", "parquet"})

    @classmethod
    def over_hours(
        cls,
        contract: Contract,
        upstream: tuple[Contract, ...],
        over: Callable[[RunContext, Sequence[Hour]], Iterable[TableResult]],
        *,
        comparisons: tuple[ComparisonCheck, ...] = (),
        counts: str = "",
    ) -> "TableAsset":
        """The step of a table whose hours are computed together."""

        def body(resources: RunContext, hour: Hour) -> TableResult:
            (outcome,) = over(resources, [hour])
            return outcome

        return cls(contract, upstream, body, over, comparisons=comparisons, counts=counts)

    @property
    def every_check(self) -> tuple[Check, ...]:
        """All checks of the table: those that every one has, and its own."""
        coverage = replace(COVERAGE, says=f"{COVERAGE.says} Counted here: {self.counts or 'nothing'}.")
        return (STRUCTURE, coverage, *self.checks, *(one.check for one in self.comparisons))

    def asset(self, partitions: Partitions, hours_per_run: int) -> dg.AssetsDefinition:
        """The Dagster asset of this table.

        Args:
            partitions: the hours and the months.
            hours_per_run: hours of a backfill in one run; a process for each would cost 2 to 9 s.

        """
        contract, monthly = self.contract, self.contract.partitioning is Partitioning.MONTH

        @dg.asset(
            name=contract.name,
            description=f"{contract.description}\n\nGrain: {contract.grain}.",
            group_name=contract.layer.value,
            kinds=set(self.kinds),
            owners=[OWNER],
            deps=[
                *(_dependency(upstream, of_hour=not monthly) for upstream in self.upstream),
                *([_on_itself(contract)] if self.continues_itself else []),
            ],
            partitions_def=partitions.monthly if monthly else partitions.hourly,
            pool=MONTHS_POOL if monthly else HOURS_POOL,
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=contract.max_age),
            backfill_policy=dg.BackfillPolicy.multi_run(1 if monthly else hours_per_run),
            metadata={
                "dagster/column_schema": column_schema(contract),
                "dagster/relation_identifier": contract.name,
            },
            check_specs=[spec(check, contract) for check in self.every_check],
        )
        def table(context: dg.AssetExecutionContext, resources: dg.ResourceParam[RunContext]) -> Iterator[object]:
            try:
                keys = sorted(context.partition_keys)
                until = context.run.tags.get(RANGE_END) or (keys[-1] if len(keys) > 1 else None)
                if until and not monthly:
                    resources = replace(resources, until=Hour.from_key(until))
                # Steps give the same partitions however often they run.
                with shared_lock(resources.lake.root):
                    outcomes = retry_on_replace(partial(self._outcomes, context.log, resources, keys))
            except ContractError as error:
                yield dg.AssetCheckResult(
                    check_name=STRUCTURE.name, passed=False, metadata={"fault": dg.MetadataValue.text(str(error))}
                )
                raise
            except pl.exceptions.PolarsError as error:
                # Only now: looking at every footer before every run would cost more than the run.
                resources.lake.require_sound((*self.upstream, contract))
                # Engines cite values, and Dagster keeps what is raised.
                raise type(error)(f"{contract.name}: {without_values(error)}").with_traceback(
                    error.__traceback__
                ) from None
            for key, outcome in outcomes.items():
                context.add_asset_metadata(_metadata(outcome), partition_key=key)
            yield _structure(outcomes)
            yield _coverage(outcomes)
            yield from (_warned(check.name, outcomes) for check in self.checks)
            looked_at = _windows(keys, context.run.tags.get(SOURCE_FROM), monthly=monthly)
            for one in self.comparisons:
                yield one.result(resources.lake, resources.settings, contract, looked_at)
            yield dg.MaterializeResult()

        return table

    def _outcomes(self, log: Logger, resources: RunContext, keys: Sequence[str]) -> dict[str, TableResult]:
        if self.over:
            found = self.over(resources, [Hour.from_key(key) for key in keys])
        else:
            window = Month if self.contract.partitioning is Partitioning.MONTH else Hour
            # The union over the two windows has no common constructor for a type checker.
            found = (self.body(resources, window.from_key(key)) for key in keys)  # type: ignore[arg-type]
        outcomes = {}
        for key, outcome in zip(keys, found, strict=True):
            outcomes[key] = outcome
            if len(keys) > 1:
                written = HourWritten(self.contract.name, key, outcome.rows)
                log.info("%s %s: %d rows", *written, extra={HOUR_WRITTEN: written})
        return outcomes


def _windows(keys: Sequence[str], since: str | None, *, monthly: bool) -> Sequence[Hour | Month]:
    """The partitions that a run has taken in: its own, or all from `since` on."""
    if monthly:
        return [Month.from_key(key) for key in keys]
    return list(hours(Hour.from_key(since or keys[0]).start, Hour.from_key(keys[-1]).as_of))


def _dependency(upstream: Contract, *, of_hour: bool) -> dg.AssetDep:
    mapping = MONTH_BEFORE if of_hour and upstream.partitioning is Partitioning.MONTH else None
    return dg.AssetDep(upstream.name, partition_mapping=mapping)


def _on_itself(contract: Contract) -> dg.AssetDep:
    return dg.AssetDep(contract.name, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1))


def count(frame: pl.LazyFrame) -> int:
    """The number of rows."""
    return int(frame.select(pl.len()).collect().item())


def column_schema(contract: Contract) -> dg.TableSchema:
    """A contract's columns as Dagster shows them."""
    key = set(contract.primary_key)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=key == {name}),
            )
            for name, column in contract.schema.columns().items()
        ],
        constraints=dg.TableConstraints(other=[f"primary key ({', '.join(contract.primary_key)})"] if key else []),
    )


def preview(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A few rows as a Markdown table, without the columns that name a person."""
    return markdown_table(frame.drop(PERSONAL_COLUMNS, strict=False).head(PREVIEW_ROWS))


def markdown_table(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """All rows as a Markdown table; the caller has seen to it that no column names a person."""
    lines = [
        "| " + " | ".join(frame.columns) + " |",
        "|" + "---|" * frame.width,
        *("| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.iter_rows()),
    ]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return repr(value)[1:-1].replace("|", "\\|") if isinstance(value, str) else str(value)


def _structure(outcomes: Mapping[str, TableResult]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=STRUCTURE.name,
        passed=True,
        metadata={"partitions": _names(outcomes), "rows": sum(outcome.rows for outcome in outcomes.values())},
    )


def _coverage(outcomes: Mapping[str, TableResult]) -> dg.AssetCheckResult:
    # The most of each over the partitions: hours of one run look at the same rows again.
    findings: dict[str, int] = {}
    for outcome in outcomes.values():
        for name, number in outcome.findings.items():
            findings[name] = max(number, findings.get(name, 0))
    return dg.AssetCheckResult(
        check_name=COVERAGE.name,
        passed=not any(findings.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"partitions": _names(outcomes), **findings},
    )


def _warned(name: str, outcomes: Mapping[str, TableResult]) -> dg.AssetCheckResult:
    warned = [f"{key}: {text}" for key, outcome in outcomes.items() for text in outcome.warnings.get(name, ())]
    return dg.AssetCheckResult(
        check_name=name,
        passed=not warned,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(warned[:WARNINGS_SHOWN]),
        metadata={"partitions": _names(outcomes), "warnings": len(warned)},
    )


def _metadata(outcome: TableResult) -> dict[str, int | str | dg.MetadataValue]:
    metadata: dict[str, int | str | dg.MetadataValue] = {
        "dagster/partition_row_count": outcome.rows,
        **outcome.metadata,
        **outcome.findings,
    }
    if outcome.sample is not None:
        metadata["preview"] = preview(outcome.sample)
    return metadata


def _names(outcomes: Mapping[str, TableResult]) -> str:
    first, last = min(outcomes), max(outcomes)
    return first if first == last else f"{first} to {last}"
