"""Partitions: hours and months in UTC, never local time, so that no hour is missing or doubled.

Here are their definitions and the tags of runs over several of them; which partitions are due is in `schedules`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR_KEY_FORMAT, MONTH_KEY_FORMAT, Hour

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
        """Return hours and months from `GHOST_PARTITIONS_START` on."""
        start = settings.partitions_start
        return cls(
            hourly=dg.HourlyPartitionsDefinition(
                start_date=start.strftime(HOUR_KEY_FORMAT), timezone="UTC", fmt=HOUR_KEY_FORMAT
            ),
            monthly=dg.MonthlyPartitionsDefinition(
                start_date=start.strftime(MONTH_KEY_FORMAT), timezone="UTC", fmt=MONTH_KEY_FORMAT
            ),
        )


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
