"""The checks of the assets: what each says, whether it blocks, and how its result is told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.domain.shared.comparisons import Comparison
from ghost_pipeline.errors import GhostError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month

SENTENCES_SHOWN = 5
HOURS_APART = 24
"""Of the hours of a run, how far those lie apart that are compared: what one shows, those beside it show too."""
_HEAD = ("| partition | figure | compared with | expected | found | change |", "|---|---|---|---|---|---|")


@dataclass(frozen=True)
class Check:
    """A check of a table."""

    name: str
    says: str
    """What it looks at."""
    blocking: bool = False
    """Whether a partition that fails it is not written and stops what follows; any other one warns."""


STRUCTURE = Check(
    "structure",
    "Columns, types, keys, nulls and ranges are those of the contract. A partition that fails is not written: the last "
    "good one stays, and nothing downstream runs.",
    blocking=True,
)
COVERAGE = Check("coverage", "Warns where rows were rejected or something in the source does not fit together.")
VOLUME = Check(
    "volume",
    "Warns where the 24 hours that end with the partition have fewer rows than the same hours of the same weekday "
    "(median of two to four weeks; of a younger table the days before), by more than GHOST_VOLUME_FALL_PERCENT, or "
    "more, by more than GHOST_VOLUME_RISE_PERCENT. A table younger than three days passes.",
)
PERIOD_OVER_PERIOD = Check(
    "period_over_period",
    "Warns where a figure of the partition has moved by more than GHOST_PERIOD_MOVE_PERCENT from the one a day or a "
    "week before, of a monthly table from the month before. Where there is none, it passes.",
)


@dataclass(frozen=True)
class ComparisonCheck:
    """A check that compares figures of a partition with those before; it warns and never blocks."""

    check: Check
    figures: tuple[str, ...]
    """What is compared."""
    look: Callable[[Lake, Settings, Contract, Hour | Month], list[Comparison]]
    """What is found; nothing where there is nothing to compare with."""

    def result(
        self, lake: Lake, settings: Settings, contract: Contract, partitions: Sequence[Hour | Month]
    ) -> dg.AssetCheckResult:
        """Look at the partitions of a run, ascending: of hours at the last one and every 24th before it."""
        looked_at = partitions[::-1][::HOURS_APART][::-1]
        try:
            return self._told({one.key: self.look(lake, settings, contract, one) for one in looked_at})
        # It never blocks: what it looks at may be damaged, out of reach, or removed by the run of a newer hour.
        except (pl.exceptions.PolarsError, OSError, GhostError):
            return dg.AssetCheckResult(
                check_name=self.check.name,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description="an older partition cannot be read; `ghost-pipeline doctor` names a damaged file",
            )

    def _told(self, found: Mapping[str, Sequence[Comparison]]) -> dg.AssetCheckResult:
        every = [(key, one) for key, comparisons in found.items() for one in comparisons]
        moved = [(key, one) for key, one in every if one.moved]
        # Of what passes, the one that moved most.
        told = moved or sorted(every, key=lambda one: -abs(one[1].percent))[:1]
        sentences = [f"{key}, {_sentence(one)}" for key, one in told]
        if len(sentences) > SENTENCES_SHOWN:
            sentences[SENTENCES_SHOWN:] = [f"and {len(sentences) - SENTENCES_SHOWN} more"]
        metadata: dict[str, dg.MetadataValue | float] = {"warnings": len(moved)}
        if every:
            newest = max(found)
            metadata |= {one.figure: _shown(one.found) for one in found[newest]}
            metadata["compared"] = dg.MetadataValue.md("\n".join([*_HEAD, *(_row(key, one) for key, one in every)]))
        return dg.AssetCheckResult(
            check_name=self.check.name,
            passed=not moved,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(sentences) or "nothing to compare with yet",
            metadata=metadata,
        )


def spec(check: Check, contract: Contract) -> dg.AssetCheckSpec:
    """The check as Dagster lists it."""
    return dg.AssetCheckSpec(check.name, asset=contract.name, blocking=check.blocking, description=check.says)


def _sentence(one: Comparison) -> str:
    found, expected = _number(one.found), _number(one.expected)
    return f"{one.figure}: {found}, expected {expected} ({one.basis}), {round(one.percent):+d} %"


def _row(key: str, one: Comparison) -> str:
    change = f"{round(one.percent):+d} %"
    marked = f"**{change}**" if one.moved else change
    return f"| {key} | {one.figure} | {one.basis} | {_number(one.expected)} | {_number(one.found)} | {marked} |"


def _number(value: float) -> str:
    shown = _shown(value)
    return f"{shown:,.0f}" if shown == int(shown) else f"{shown:,.1f}"


def _shown(value: float) -> float:
    """One decimal: exact averages of consecutive hours would give back what one member did (G9)."""
    return value if isinstance(value, int) else round(value, 1)
