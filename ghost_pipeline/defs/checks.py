"""The checks that assets share: their descriptions, whether they block, and how their results are worded.

A result belongs to a partition, so that a run of older hours leaves the result of the newest one as it is. Checks of
what is true now, of the lake as a whole, are not partitioned: each run, whichever its hour, reports the present state.

The figures that a comparison looks at are in `volume` and `period_over_period`, what is late in `freshness`; a check of
one table alone is beside that table's asset.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.shared.comparisons import Comparison
from ghost_pipeline.errors import ContractError, GhostError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month

WARNINGS_SHOWN = 5
HOURS_APART = 24
"""Of the hours of a run, every 24th is compared: its neighbours would show the same."""


@dataclass(frozen=True)
class Check:
    """A check of a table."""

    name: str
    description: str
    blocking: bool = False
    """Whether a partition that fails is not written and stops what follows; any other check only warns."""
    partitioned: bool = True
    """Whether a result is that of one partition; otherwise that of the lake as it is now."""

    def spec(self, asset: str, partitions: dg.PartitionsDefinition[str] | None = None) -> dg.AssetCheckSpec:
        """Return the check of an asset, which has these partitions, as Dagster lists it."""
        return dg.AssetCheckSpec(
            self.name,
            asset=asset,
            blocking=self.blocking,
            description=self.description,
            partitions_def=partitions if self.partitioned else None,
        )


STRUCTURE = Check(
    "structure",
    "Columns, types, keys, nulls and ranges match the table's contract. A partition that fails is not written: the "
    "last good one stays, and nothing downstream runs.",
    blocking=True,
)
COVERAGE = Check("coverage", "Warns if source rows were rejected or reference missing records.")
VOLUME = Check(
    "volume",
    "Warns if the 24 hours that end with the partition have fewer rows than usual by more than "
    "GHOST_VOLUME_FALL_PERCENT, or more rows by more than GHOST_VOLUME_RISE_PERCENT. Usual is the median of the same "
    "hours of the same weekday over two to four weeks; for a younger table, of the days before. A table younger than "
    "three days passes.",
)
PERIOD_OVER_PERIOD = Check(
    "period_over_period",
    "Warns if a figure differs by more than GHOST_PERIOD_MOVE_PERCENT from a day or a week before; for a monthly "
    "table, from the month before. Passes if there is no earlier partition.",
)


def coverage_of(counts: str, *, partitioned: bool) -> Check:
    """Return the `coverage` check of a table, with what it counts there."""
    return replace(COVERAGE, description=f"{COVERAGE.description} Counted here: {counts}.", partitioned=partitioned)


def planned_partitions(run: dg.DagsterRun) -> Sequence[str | None]:
    """Return the partitions under which Dagster expects the results of an unpartitioned check from a run.

    Dagster plans a result for each partition of the run, whether the check has partitions or not, and shows those
    that never came as skipped.
    """
    return [None] if run.partitions_subset is None else [*run.partitions_subset.get_partition_keys()]


def report(
    asset: str, check: Check, results: Mapping[str | None, dg.AssetCheckResult]
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Yield the result of each partition, and the output that stands for the check in Dagster's plan of the run.

    Dagster itself gives a result its partition only in a run of a single one.
    """
    for partition, result in results.items():
        yield evaluation(asset, check, result, partition)
    yield dg.Output(None, output_name=check.spec(asset).get_python_identifier())


def evaluation(
    asset: str, check: Check, result: dg.AssetCheckResult, partition: str | None = None
) -> dg.AssetCheckEvaluation:
    """Return a result as Dagster stores it."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check.name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=check.blocking,
        partition=partition,
    )


def structure_failed(error: ContractError) -> dg.AssetCheckResult:
    """Return the result for a partition that breaks its contract."""
    return dg.AssetCheckResult(passed=False, metadata={"fault": dg.MetadataValue.text(str(error))})


def structure_passed(result: TableResult) -> dg.AssetCheckResult:
    """Return the result for a partition that was written."""
    return dg.AssetCheckResult(passed=True, metadata={"rows": result.rows})


def coverage_result(findings: Mapping[str, int]) -> dg.AssetCheckResult:
    """Return the result for the findings of a partition, or of the lake."""
    return dg.AssetCheckResult(
        passed=not any(findings.values()), severity=dg.AssetCheckSeverity.WARN, metadata={**findings}
    )


def warnings_result(check: Check, result: TableResult) -> dg.AssetCheckResult:
    """Return the result of a table's own check for a partition."""
    warned = result.warnings.get(check.name, ())
    return dg.AssetCheckResult(
        passed=not warned,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(warned[:WARNINGS_SHOWN]),
        metadata={"warnings": len(warned)},
    )


@dataclass(frozen=True)
class ComparisonCheck:
    """A check that compares figures of a partition with earlier ones; it warns and never blocks."""

    check: Check
    figures: tuple[str, ...]
    """The names of the figures."""
    compare: Callable[[Lake, Settings, Contract, Hour | Month], list[Comparison]]
    """Returns the comparisons of a partition; none if there is nothing to compare with."""

    def results(
        self, lake: Lake, settings: Settings, contract: Contract, read: Sequence[Hour | Month], keys: Sequence[str]
    ) -> dict[str | None, dg.AssetCheckResult]:
        """Return the result of each partition of a run.

        Args:
            lake: where the partitions are.
            settings: have the limits.
            contract: the table.
            read: the partitions that the run has read, ascending: its own, or more if it read them for a single one.
            keys: the partitions of the run, ascending.

        """
        if len(keys) == 1:
            return {keys[0]: self.result(lake, settings, contract, read)}
        found: dict[str | None, dg.AssetCheckResult] = {}
        for end in range(len(read), 0, -HOURS_APART):
            stretch = read[max(0, end - HOURS_APART) : end]
            found |= dict.fromkeys((one.key for one in stretch), self.result(lake, settings, contract, stretch[-1:]))
        return {key: found[key] for key in keys}

    def result(
        self, lake: Lake, settings: Settings, contract: Contract, partitions: Sequence[Hour | Month]
    ) -> dg.AssetCheckResult:
        """Compare partitions, ascending: of hours the last one and every 24th before it."""
        compared = partitions[::-1][::HOURS_APART][::-1]
        try:
            return self._result({one.key: self.compare(lake, settings, contract, one) for one in compared})
        # It never blocks: an older file may be damaged, out of reach, or removed by the run of a newer hour.
        except (pl.exceptions.PolarsError, OSError, GhostError):
            return dg.AssetCheckResult(
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description="an older partition cannot be read; `ghost-pipeline doctor` names a damaged file",
            )

    def _result(self, found: Mapping[str, Sequence[Comparison]]) -> dg.AssetCheckResult:
        every = [(key, one) for key, comparisons in found.items() for one in comparisons]
        moved = [(key, one) for key, one in every if one.moved]
        # If all pass, the one that moved most.
        told = moved or sorted(every, key=lambda one: -abs(one[1].percent))[:1]
        sentences = [f"{key}, {_sentence(one)}" for key, one in told]
        if len(sentences) > WARNINGS_SHOWN:
            sentences[WARNINGS_SHOWN:] = [f"and {len(sentences) - WARNINGS_SHOWN} more"]
        metadata: dict[str, dg.MetadataValue | float] = {"warnings": len(moved)}
        if every:
            newest = max(found)
            metadata |= {one.figure: _shown(one.found) for one in found[newest]}
            metadata["compared"] = as_table(pl.DataFrame([_row(key, one) for key, one in every]))
        return dg.AssetCheckResult(
            passed=not moved,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(sentences) or "nothing to compare with yet",
            metadata=metadata,
        )


def _sentence(one: Comparison) -> str:
    found, expected = _number(one.found), _number(one.expected)
    return f"{one.figure}: {found}, expected {expected} ({one.basis}), {_change(one)}"


def _row(key: str, one: Comparison) -> dict[str, str]:
    return {
        "partition": key,
        "figure": one.figure,
        "compared with": one.basis,
        "expected": _number(one.expected),
        "found": _number(one.found),
        "change": _change(one),
        "result": "warning" if one.moved else "passed",
    }


def _change(one: Comparison) -> str:
    return f"{round(one.percent):+d} %"


def _number(value: float) -> str:
    shown = _shown(value)
    return f"{shown:,.0f}" if shown == int(shown) else f"{shown:,.1f}"


def _shown(value: float) -> float:
    """Round to one decimal: exact averages of consecutive hours would reveal what one member did (G9)."""
    return value if isinstance(value, int) else round(value, 1)
