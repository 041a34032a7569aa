"""The check `period_over_period`: compares a table's figures with those of a day, a week or a month before."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.defs.checks import PERIOD_OVER_PERIOD, ComparisonCheck
from ghost_pipeline.domain.shared.comparisons import Comparison
from ghost_pipeline.domain.shared.period_figures import period_drift
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, Hour, Month

Figures = Callable[[pl.LazyFrame], pl.LazyFrame]
"""Reduces the rows of a partition to one row of figures."""


def period_over_period(table: Contract, figures: Figures) -> ComparisonCheck:
    """Return the check of a table's figures."""
    names = tuple(figures(table.empty().lazy()).collect_schema())

    def compare(lake: Lake, settings: Settings, contract: Contract, partition: Hour | Month) -> list[Comparison]:
        now = _figures(lake, contract, partition, figures)
        if now is None:
            return []
        found = []
        for basis, before in _before(partition).items():
            if (then := _figures(lake, contract, before, figures)) is not None:
                found += period_drift(now, then, basis, settings.period_move_percent)
        return found

    description = f"{PERIOD_OVER_PERIOD.description} Compared here: {', '.join(names)}."
    return ComparisonCheck(replace(PERIOD_OVER_PERIOD, description=description), names, compare)


def _before(partition: Hour | Month) -> Mapping[str, Hour | Month]:
    if isinstance(partition, Month):
        return {"the month before": partition.previous()}
    return {"a day before": Hour(partition.start - DAY), "a week before": Hour(partition.start - 7 * DAY)}


def _figures(
    lake: Lake, contract: Contract, partition: Hour | Month, figures: Figures
) -> Mapping[str, float | None] | None:
    """Return the figures of a partition, or None if it is missing or being removed."""
    if not lake.exists(contract, partition):
        return None
    try:
        return figures(lake.scan(contract, [partition])).collect().row(0, named=True)
    except FileNotFoundError:
        return None
