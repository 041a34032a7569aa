"""Partitions: hours and months in UTC, never local time, so that no hour is missing or doubled.

Here are their definitions and the tags of runs over several of them; which partitions are due is in `schedules`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from ghost_pipeline.errors import GhostError
from ghost_pipeline.ingest.newest_event import first_hour
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR_KEY_FORMAT, MONTH_KEY_FORMAT, Hour

WITHOUT_EVENTS = datetime(2024, 1, 1, tzinfo=UTC)
"""The first hour of the partitions if no event is known; the first run reads all events of the source."""
RUN_START, RUN_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Dagster's tags of a run over a range of partitions: the first and the last one."""
RANGE_END = "ghost_pipeline/until"
"""Tag of a run that is one of several over a range: the last hour of the range."""
SOURCE_FROM = "ghost_pipeline/since"
"""Tag of a run of an hour that also reads the source for earlier hours: the first of them."""


@dataclass(frozen=True)
class Partitions:
    """The two partitionings of all assets."""

    hourly: dg.HourlyPartitionsDefinition
    monthly: dg.MonthlyPartitionsDefinition

    @classmethod
    def from_settings(cls, settings: Settings) -> "Partitions":
        """Return hours and months from `partitions_start` on."""
        start = partitions_start(settings)
        return cls(
            hourly=dg.HourlyPartitionsDefinition(
                start_date=start.strftime(HOUR_KEY_FORMAT), timezone="UTC", fmt=HOUR_KEY_FORMAT
            ),
            monthly=dg.MonthlyPartitionsDefinition(
                start_date=start.strftime(MONTH_KEY_FORMAT), timezone="UTC", fmt=MONTH_KEY_FORMAT
            ),
        )


def partitions_start(settings: Settings) -> datetime:
    """Return the first hour of the partitions: `GHOST_PARTITIONS_START`, or the first event of a lake in a folder.

    Each process asks once, when it loads the definitions. A lake that cannot be read has no first event: what is wrong
    with it is the business of its runs, and Dagster shows them.
    """
    if settings.partitions_start:
        return settings.partitions_start
    if not isinstance(settings.data, Path):
        return WITHOUT_EVENTS
    try:
        first = first_hour(Lake(settings.lake))
    except (OSError, GhostError):
        return WITHOUT_EVENTS
    return first.start if first else WITHOUT_EVENTS


def chunks(hours: Iterable[Hour], size: int) -> Iterator[list[Hour]]:
    """Yield stretches of consecutive hours, none longer than `size`, for one run each."""
    chunk: list[Hour] = []
    for hour in hours:
        if chunk and (len(chunk) == size or hour.start != chunk[-1].as_of):
            yield chunk
            chunk = []
        chunk.append(hour)
    if chunk:
        yield chunk


def range_tags(chunk: Sequence[Hour], range_end: Hour) -> dict[str, str]:
    """Return the tags of a run over consecutive hours, one of several runs over a range that ends with `range_end`."""
    return {RUN_START: chunk[0].key, RUN_END: chunk[-1].key, RANGE_END: range_end.key}
