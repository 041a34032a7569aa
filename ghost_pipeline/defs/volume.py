"""The check `volume`: compares the newest day of an event table with earlier days."""

from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.defs.checks import VOLUME, ComparisonCheck
from ghost_pipeline.domain.shared.comparisons import Comparison
from ghost_pipeline.domain.shared.volume import FARTHEST, ROWS, days_to_compare, volume
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, Hour, Month, hours


def _compare(lake: Lake, settings: Settings, contract: Contract, hour: Hour | Month) -> list[Comparison]:
    # An hour without events has a file; a day with a missing file cannot be compared.
    there = set(lake.written(contract, hours(hour.as_of - (FARTHEST + 1) * DAY, hour.as_of)))

    def day(before: int) -> list[Hour]:
        return _day(hour.as_of - before * DAY)

    compared = days_to_compare({before for before in range(1, FARTHEST + 1) if there.issuperset(day(before))})
    if not compared or not there.issuperset(day(0)):
        return []
    counts = pl.collect_all([lake.scan(contract, day(before)).select(pl.len()) for before in (0, *compared)])
    found, *before = (int(count.item()) for count in counts)
    fall, rise = settings.volume_fall_percent, settings.volume_rise_percent
    return [volume(found, dict(zip(compared, before, strict=True)), fall=fall, rise=rise)]


def _day(end: datetime) -> list[Hour]:
    return list(hours(end - DAY, end))


VOLUME_OF_EVENTS = ComparisonCheck(VOLUME, (ROWS,), _compare)
