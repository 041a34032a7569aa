"""Computing one partition of a table in this process, and reading what Dagster would show of it."""

import dagster as dg

from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import Compute
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.windows import Hour, Month


def compute_one(compute: Compute, run: RunContext, partition: Hour | Month) -> TableResult:
    """Return the result of a compute function for one partition."""
    (result,) = compute(run, [partition])
    return result


def shown_rows(value: object) -> list[tuple[object, ...]]:
    """Return the rows of a table in Dagster's metadata."""
    assert isinstance(value, dg.TableMetadataValue)
    return [tuple(record.data.values()) for record in value.records]
