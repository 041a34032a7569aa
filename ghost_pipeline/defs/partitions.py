"""Partitions: hours and months in UTC, never local time, so that no hour is missing or doubled."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR_KEY_FORMAT, MONTH_KEY_FORMAT, Hour

RUN_START, RUN_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Tags by which Dagster runs a range of partitions in one run."""
RANGE_END = "ghost_pipeline/until"
"""Tag of a run that is one of several: the last hour of them all."""
SOURCE_FROM = "ghost_pipeline/since"
"""Tag of a run of an hour that reads the source for hours before it, too: the first of them."""


@dataclass(frozen=True)
class Partitions:
    """The two partitionings of all assets."""

    hourly: dg.HourlyPartitionsDefinition
    monthly: dg.MonthlyPartitionsDefinition

    @classmethod
    def from_settings(cls, settings: Settings) -> "Partitions":
        """Hours and months from `GHOST_PARTITIONS_START` on."""
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
    """Stretches of consecutive hours, none longer than `size`: what one run can take."""
    chunk: list[Hour] = []
    for hour in hours:
        if chunk and (len(chunk) == size or hour.start != chunk[-1].as_of):
            yield chunk
            chunk = []
        chunk.append(hour)
    if chunk:
        yield chunk


def range_tags(chunk: Sequence[Hour], until: Hour) -> dict[str, str]:
    """The tags of a run over consecutive hours, one of several runs that end with `until`."""
    return {RUN_START: chunk[0].key, RUN_END: chunk[-1].key, RANGE_END: until.key}
