"""Which months have to be built again, and why: changed inputs, other rules, or a file that records too little.

Changed inputs are in `stale_ledger`. The rules are recorded in each month's own files, so that a month and what is
known about it are replaced together.
"""

from enum import Enum

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, MONTHLY_FIGURES
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import RECORDED_DICTIONARY
from ghost_pipeline.domain.ghost.benchmarks.month_rules import MonthRules
from ghost_pipeline.incremental.stale_ledger import changed_months
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Month

RULES = "ghost_pipeline.month_rules"
"""The entry in the metadata of a month's file: the content hash of the rules that it was computed with."""


class Reason(Enum):
    """Why a month is stale."""

    INPUTS = "inputs changed"
    RULES = "settings or code changed"
    UNRECORDED = "built by an earlier release"


STALE_MONTHS_SCHEMA = pl.Schema(
    {
        "table": pl.String(),
        "month": pl.String(),
        "reason": pl.String(),
        "changed_from": pl.Datetime("us", "UTC"),
        "noticed_at": pl.Datetime("us", "UTC"),
    }
)
"""The columns of `stale_months`; the two instants are those of the ledger, null without an entry there."""


def recorded_rules(settings: Settings) -> dict[str, str]:
    """What a month's file records about the rules that it is computed with."""
    return {RULES: MonthRules.of(settings).content_hash}


def stale_months(lake: Lake, settings: Settings) -> pl.DataFrame:
    """The built months that have to be built again, one row per table: `STALE_MONTHS_SCHEMA`, sorted by table, month.

    A month is stale if its inputs changed, or if it was computed with other settings or by another version of the code;
    the newest one also if it does not record them, or does not record its form for `ghost_benchmarks.json`.
    """
    changes = {(table, Month.containing(start)): rest for table, start, *rest in changed_months(lake).rows()}

    def row(table: Contract, month: Month) -> tuple[object, ...] | None:
        reason = _reason(lake, settings, table, month, changed=(table.name, month) in changes)
        noticed = changes.get((table.name, month), [None, None])
        return (table.name, month.key, reason.value, *noticed) if reason else None

    rows = [row(table, month) for table in MONTHLY_FIGURES for month in lake.months(table)]
    return pl.DataFrame([one for one in rows if one], schema=STALE_MONTHS_SCHEMA, orient="row").sort("table", "month")


def is_built(lake: Lake, month: Month) -> bool:
    """Whether every table of a month exists."""
    return all(lake.exists(table, month) for table in MONTHLY_FIGURES)


def is_current(lake: Lake, settings: Settings, month: Month) -> bool:
    """Whether every table of a month exists, and none is stale."""
    changes = changed_months(lake).select("table", "month").rows()
    changed = {(table, Month.containing(start)) for table, start in changes}
    return is_built(lake, month) and not any(
        _reason(lake, settings, table, month, changed=(table.name, month) in changed) for table in MONTHLY_FIGURES
    )


def _reason(lake: Lake, settings: Settings, table: Contract, month: Month, *, changed: bool) -> Reason | None:
    if changed:
        return Reason.INPUTS
    recorded = retry_on_replace(lambda: lake.metadata(table, month))
    if RULES not in recorded:
        # An earlier release recorded nothing: years of months that are probably right would be stale after the upgrade.
        if _is_newest_complete(lake, month):
            return Reason.UNRECORDED
    elif recorded[RULES] != recorded_rules(settings)[RULES]:
        return Reason.RULES
    if table is GHOST_BENCHMARKS and month == lake.months(table)[-1] and RECORDED_DICTIONARY not in recorded:
        return Reason.UNRECORDED
    return None


def _is_newest_complete(lake: Lake, month: Month) -> bool:
    newest = lake.newest_hour(USER_PROGRESS)
    return newest is not None and month >= Month.newest_complete(newest.as_of)
