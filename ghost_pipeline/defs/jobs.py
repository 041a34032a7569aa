"""Jobs: the assets that run together. Selections follow from partitioning, so a new table is in the right job at once.

When they run is in `schedules`; the job that prunes Dagster's records is in `run_records`.
"""

from collections.abc import Sequence

import dagster as dg

from ghost_pipeline.defs.retention import RETENTION
from ghost_pipeline.defs.table_asset import TableAsset

HOURLY = "hourly"
MONTHLY = "monthly"
WHOLE = {"dagster/retry_strategy": "ALL_STEPS"}
"""A run that crashed restarts from its first step: all that it reads of the source is of one snapshot."""


def hourly_tables(tables: Sequence[TableAsset]) -> list[str]:
    """Return the tables that the hourly job materializes."""
    return [table.contract.name for table in tables if not table.monthly]


def build_jobs(tables: Sequence[TableAsset], publications: Sequence[str]) -> dg.Definitions:
    """Return the hourly and the monthly job, each ending with the assets that publish."""
    monthly = [table.contract.name for table in tables if table.monthly]
    return dg.Definitions(
        jobs=[
            dg.define_asset_job(
                HOURLY,
                selection=[*hourly_tables(tables), RETENTION, *publications],
                tags=WHOLE,
                description="One hour: reads the source, computes every hourly table, removes expired partitions, "
                "publishes.",
            ),
            dg.define_asset_job(
                MONTHLY,
                selection=[*monthly, *publications],
                tags=WHOLE,
                description="One month: computes the benchmarks from the hours read so far, publishes.",
            ),
        ]
    )
