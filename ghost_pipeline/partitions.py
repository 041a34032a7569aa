"""Partitions: hours and months in UTC, never local time, so that no hour is missing or doubled."""

from dataclasses import dataclass

import dagster as dg

from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR_KEY_FORMAT, MONTH_KEY_FORMAT


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
