"""Jobs: what runs together. Selections are by partitioning, so a new asset joins the right job by itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.defs.operations import RETENTION
from ghost_pipeline.defs.table_asset import TableAsset

if TYPE_CHECKING:
    # What `define_asset_job` returns has no public name.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

HOURLY = "hourly"
MONTHLY = "monthly"
WHOLE = {"dagster/retry_strategy": "ALL_STEPS"}
"""A run that crashed is run again from its first step: what it reads of the source is of one snapshot."""


def hourly_tables(steps: tuple[TableAsset, ...]) -> list[str]:
    """The tables that the hourly job materializes."""
    return [step.contract.name for step in steps if step.contract.partitioning is not Partitioning.MONTH]


def build_jobs(steps: tuple[TableAsset, ...], publications: Sequence[str]) -> dict[str, "UnresolvedAssetJobDefinition"]:
    """The hourly and the monthly job, each ending with the assets that publish."""
    monthly = [step.contract.name for step in steps if step.contract.partitioning is Partitioning.MONTH]
    return {
        HOURLY: dg.define_asset_job(
            HOURLY,
            selection=[*hourly_tables(steps), RETENTION, *publications],
            tags=WHOLE,
            description="One hour: takes in the source, computes every hourly table, removes what is no longer kept, "
            "publishes.",
        ),
        MONTHLY: dg.define_asset_job(
            MONTHLY,
            selection=[*monthly, *publications],
            tags=WHOLE,
            description="One month: computes the benchmarks from what the hours have taken in, publishes.",
        ),
    }
