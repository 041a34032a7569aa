"""The report of a compute function on one partition, which becomes Dagster's metadata and check results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import dagster as dg
import polars as pl

from ghost_pipeline.defs.metadata import preview


class Cost(NamedTuple):
    """What computing a partition took."""

    seconds: float
    """Since the partition before; an event table reads all hours of a run for its last one."""
    peak_memory_mb: int
    """The most that the process of the run has used so far, whichever table needed it."""


@dataclass(frozen=True)
class TableResult:
    """What computing one partition of a table gave."""

    rows: int
    """Rows of the partition."""
    findings: Mapping[str, int] = field(default_factory=dict)
    """Things that a person should look at, with their number; any above 0 makes the check `coverage` warn."""
    metadata: Mapping[str, float | str | dg.MetadataValue] = field(default_factory=dict)
    """Further counts, texts and pictures; nothing that names a person."""
    warnings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The warnings of each of the table's own checks; a check without any passes."""
    sample: pl.DataFrame | None = None
    """Rows to preview; personal columns are left out."""
    cost: Cost | None = None
    """What the partition took."""

    def asset_metadata(self) -> dict[str, float | str | dg.MetadataValue]:
        """Return what Dagster shows of the partition; it plots plain numbers over partitions."""
        return {
            "dagster/partition_row_count": self.rows,
            **({} if self.cost is None else self.cost._asdict()),
            **self.metadata,
            **self.findings,
            **({} if self.sample is None else {"preview": preview(self.sample)}),
        }


def count(frame: pl.LazyFrame) -> int:
    """Return the number of rows."""
    return int(frame.select(pl.len()).collect().item())
