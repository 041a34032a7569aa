"""A statement of what protects people in a lake, as counts and ages that name no person and no figure of a cohort.

Published beside the database as `privacy.json`, so that anybody who receives the publication can check it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.retention import retention
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.personal_columns import owner_column, personal_columns
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import shown_length

THRESHOLDS = ("release_", "rank_", "share_percent_step", "min_sample", "max_task_minutes")
"""Beginnings of the names of settings that decide what is shown of other people."""
COUNTED = timedelta(days=14)
"""Releases and suppressions are counted over so long before the statement (G9.3)."""
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"
OUT_OF_SCOPE = (
    "Two or more accounts that share what they know.",
    "What a single order statistic shows without a name: the 75th and 90th percentiles, the edges of steps of ranks.",
    "What nested populations of one month tell together through whole percentages.",
    "What returns to what it was after more than 14 days of rest.",
    "People who may read the lake or the source: both hold exact figures and the ids of people.",
    "Pseudonyms: the ids of people are those of the source, in what is published, too.",
)
"""Of G9.6, and what no rule about figures can protect from."""


def privacy_statement(lake: Lake, settings: Settings) -> dict[str, Any]:
    """Say by which rules, with which thresholds and with what effect figures of others are shown.

    It follows from the lake and the settings alone: ages are counted back from the newest hour of the ledger of
    releases.

    Returns:
        as_of (of that hour; None without one), thresholds, releases, months, personal_tables, out_of_scope; everything
        can be written as JSON.

    Raises:
        LakeError: the lake cannot be read.

    """
    newest = lake.newest_hour(COHORT_GHOST_RELEASE)
    return {
        "as_of": f"{newest.as_of:{_INSTANT}}" if newest else None,
        "rules": "docs/rules.md, G9; docs/privacy.md explains them",
        "profile": settings.release_profile,
        "thresholds": list(_thresholds(settings)),
        "releases": _releases(lake, newest.as_of) if newest else None,
        "months": [one for contract in CONTRACTS.values() if (one := _newest_month(lake, contract))],
        "personal_tables": list(_personal_tables(settings)),
        "out_of_scope": list(OUT_OF_SCOPE),
    }


def _thresholds(settings: Settings) -> Iterator[dict[str, object]]:
    values = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        if name.startswith(THRESHOLDS):
            yield {"setting": f"GHOST_{name.upper()}", "value": values[name], "meaning": field.description}


def _releases(lake: Lake, as_of: datetime) -> dict[str, object]:
    """Count what the ledger of releases says: now, and over the hours before."""
    hours = lake.hours_between(COHORT_GHOST_RELEASE, as_of - COUNTED, as_of)
    columns = ("as_of", "released", "released_as_of", "suppressed_reason")
    rows = lake.scan(COHORT_GHOST_RELEASE, hours).select(columns).collect()
    now = rows.filter(pl.col("as_of") == as_of)
    age = (pl.lit(as_of) - pl.col("released_as_of")).dt.total_hours()
    ages = now.filter("released").select(age).to_series()
    return {
        "cohorts": now.height,
        "cohorts_shown": ages.len(),
        "cohorts_suppressed_by_reason": _by_reason(now),
        "age_in_hours": {
            "median": ages.quantile(0.5, "lower"),
            "p95": ages.quantile(0.95, "higher"),
            "oldest": ages.max(),
        },
        "counted_hours": rows["as_of"].n_unique(),
        "new_releases": rows.filter(pl.col("released_as_of") == pl.col("as_of")).height,
        "cohort_hours": rows.height,
        "cohort_hours_suppressed_by_reason": _by_reason(rows),
    }


def _by_reason(rows: pl.DataFrame) -> dict[str, int]:
    suppressed = rows.remove(pl.col("released").fill_null(value=False))
    counts = suppressed.group_by(pl.col("suppressed_reason").cast(pl.String).fill_null("unknown")).len()
    return dict(counts.sort("suppressed_reason").iter_rows())


def _newest_month(lake: Lake, contract: Contract) -> dict[str, object] | None:
    """The newest month of a published table, with its rows and those that are renewed."""
    if contract.partitioning is not Partitioning.MONTH or not contract.published:
        return None
    months = lake.months(contract)
    if not months:
        return None
    newest = months[-1]
    found = {"table": contract.name, "month": newest.key, "rows": lake.rows(contract, newest)}
    if "renewed" in contract.polars_schema:
        renewed = lake.scan(contract, [newest]).filter(pl.col("renewed") == pl.col("month"))
        found["rows_renewed"] = int(renewed.select(pl.len()).collect().item())
    return found


def _personal_tables(settings: Settings) -> Iterator[dict[str, object]]:
    for contract in CONTRACTS.values():
        columns = sorted(personal_columns(contract))
        if columns:
            yield {
                "table": contract.name,
                "personal_columns": columns,
                "one_person_each_row": owner_column(contract) is not None,
                "published": contract.published,
                "kept": shown_length(retention(contract, settings.retention)),
            }
