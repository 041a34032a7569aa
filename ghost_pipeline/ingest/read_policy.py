"""How far back a run reads a source again, and what it may remove from the lake.

Every hourly run reads the look-back window again and, if the lake lags behind, everything since its last hour. The
first run reads everything.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.retention import Chosen, gone_until
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour

ALL_PERCENT = 100
BYTES_OF_ROW = 512
"""What a row takes while its part is checked, sorted and written."""


@dataclass(frozen=True)
class ReadPolicy:
    """How far back a run reads, how much it may remove, and which rows it takes."""

    lookback: timedelta
    """Counted back from the end of the hour."""
    keeps: timedelta | None
    """How long the source keeps events. Older hours of the lake are never replaced by what the source has now."""
    max_removed_percent: int
    """The largest share of an hour's rows that a run may remove."""
    min_removed_rows: int
    """Fewer rows of an hour may always be removed."""
    max_task_minutes: int
    """The longest time that a task may take."""
    memory_mb: int
    """How much memory the rows that are read together may take."""
    retention: Chosen = field(default_factory=dict)
    """How long tables are kept, if not as their contracts say."""

    @property
    def rows_together(self) -> int:
        """How many rows may be taken in together."""
        return self.memory_mb * 2**20 // BYTES_OF_ROW

    @classmethod
    def of(cls, settings: Settings) -> "ReadPolicy":
        """Return the policy that is set."""
        keeps = timedelta(hours=settings.source_keeps) if settings.source_keeps else None
        allowed = ALL_PERCENT if settings.accept_deletions else settings.max_removed_percent
        return cls(
            timedelta(hours=settings.lookback_hours),
            keeps,
            allowed,
            settings.min_removed_rows,
            settings.max_task_minutes,
            settings.read_memory_mb,
            settings.retention,
        )

    def expired_until(self, lake: Lake, contract: Contract) -> datetime | None:
        """Return the instant before which the hours of an event table are removed, and not read again; None: none are.

        It is counted from the newest hour in the lake, so the first run reads all that the source has.
        """
        newest = lake.newest_hour(contract)
        return None if newest is None else gone_until(contract, self.retention, newest.as_of)

    def replaces_from(self, lake: Lake, contract: Contract, hour: Hour) -> datetime:
        """Return the instant from which the run of an hour replaces rows of the lake.

        It is counted from the newest hour that was read, so that running an old hour again restores nothing.
        """
        if self.keeps is None:
            return datetime.min.replace(tzinfo=UTC)
        return max(hour, lake.newest_hour(contract) or hour).as_of - self.keeps


def source_from(lake: Lake, contract: Contract, hour: Hour, policy: ReadPolicy) -> datetime | None:
    """Return the instant from which the run of `hour` reads a table; None: from the beginning."""
    complete = lake.complete_until(contract)
    if complete is None:
        return None
    return min(max(hour.as_of - policy.lookback, policy.replaces_from(lake, contract, hour)), complete)


def range_end(lake: Lake, contract: Contract, hour: Hour) -> Hour:
    """Return the last hour that the run of `hour` reads: its own, or the one before the lake's first if that is later.

    A late event may need an hour before the first one. The hours between have to be read, not taken for empty.
    """
    first = lake.first_hour(contract)
    return max(hour, Hour(first.start - HOUR)) if first else hour
