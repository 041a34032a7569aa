"""The checks that assets share: their descriptions, whether they block, and how their results are worded.

The figures that a comparison looks at are in `volume` and `period_over_period`; a check of one table alone is beside
that table's asset.
"""

from collections.abc import Callable, Mapping, Sequence
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

    def spec(self, asset: str) -> dg.AssetCheckSpec:
        """Return the check of an asset as Dagster lists it."""
        return dg.AssetCheckSpec(self.name, asset=asset, blocking=self.blocking, description=self.description)


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


def coverage_of(counts: str) -> Check:
    """Return the `coverage` check of a table, with what it counts there."""
    return replace(COVERAGE, description=f"{COVERAGE.description} Counted here: {counts}.")


def structure_failed(error: ContractError) -> dg.AssetCheckResult:
    """Return the result for a partition that breaks its contract."""
    return dg.AssetCheckResult(
        check_name=STRUCTURE.name, passed=False, metadata={"fault": dg.MetadataValue.text(str(error))}
    )


def structure_passed(results: Mapping[str, TableResult]) -> dg.AssetCheckResult:
    """Return the result for partitions that were written."""
    return dg.AssetCheckResult(
        check_name=STRUCTURE.name,
        passed=True,
        metadata={"partitions": _names(results), "rows": sum(result.rows for result in results.values())},
    )


def coverage_result(results: Mapping[str, TableResult]) -> dg.AssetCheckResult:
    """Return the result for the findings of a run: of each, the most in any partition."""
    # Not their sum: hours of one run look at the same rows again.
    findings: dict[str, int] = {}
    for result in results.values():
        for name, number in result.findings.items():
            findings[name] = max(number, findings.get(name, 0))
    return dg.AssetCheckResult(
        check_name=COVERAGE.name,
        passed=not any(findings.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"partitions": _names(results), **findings},
    )


def warnings_result(check: Check, results: Mapping[str, TableResult]) -> dg.AssetCheckResult:
    """Return the result of a table's own check for a run."""
    warned = [f"{key}: {text}" for key, result in results.items() for text in result.warnings.get(check.name, ())]
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=not warned,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(warned[:WARNINGS_SHOWN]),
        metadata={"partitions": _names(results), "warnings": len(warned)},
    )


@dataclass(frozen=True)
class ComparisonCheck:
    """A check that compares figures of a partition with earlier ones; it warns and never blocks."""

    check: Check
    figures: tuple[str, ...]
    """The names of the figures."""
    compare: Callable[[Lake, Settings, Contract, Hour | Month], list[Comparison]]
    """Returns the comparisons of a partition; none if there is nothing to compare with."""

    def result(
        self, lake: Lake, settings: Settings, contract: Contract, partitions: Sequence[Hour | Month]
    ) -> dg.AssetCheckResult:
        """Compare the partitions of a run, ascending: of hours the last one and every 24th before it."""
        compared = partitions[::-1][::HOURS_APART][::-1]
        try:
            return self._result({one.key: self.compare(lake, settings, contract, one) for one in compared})
        # It never blocks: an older file may be damaged, out of reach, or removed by the run of a newer hour.
        except (pl.exceptions.PolarsError, OSError, GhostError):
            return dg.AssetCheckResult(
                check_name=self.check.name,
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
            check_name=self.check.name,
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


def _names(results: Mapping[str, TableResult]) -> str:
    first, last = min(results), max(results)
    return first if first == last else f"{first} to {last}"
