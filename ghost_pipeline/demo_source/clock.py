"""The calendar of the demo source: `as_of`, the days around it and the zones of its people."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ghost_pipeline.demo_source.arrays import Ints

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
INSTANT = pl.Datetime("us", "UTC")
SATURDAY = 5
PAST_DAYS = 181
AHEAD = 6 * HOUR

ZONES = (
    "UTC",
    "Asia/Kolkata",
    "Asia/Manila",
    "Asia/Dhaka",
    "Asia/Karachi",
    "Asia/Ho_Chi_Minh",
    "Asia/Tokyo",
    "Africa/Lagos",
    "Africa/Nairobi",
    "Europe/Berlin",
    "Europe/Istanbul",
    "America/Bogota",
    "America/Sao_Paulo",
    "Australia/Sydney",
)
"""The first is that of users without a timezone."""

KOLKATA = 1
ZONE_SHARES = (0.33, 0.14, 0.08, 0.06, 0.06, 0.07, 0.04, 0.05, 0.03, 0.04, 0.04, 0.03, 0.02, 0.01)


@dataclass(frozen=True)
class Clock:
    """`as_of` and the calendar around it; instants and days count from 1970 in UTC, in us and days."""

    as_of: int
    month_start: int
    """First day of the month of `as_of`."""
    first_day: int
    days: int
    offsets: Ints
    """[zone, day]: local time minus UTC in us."""
    ahead: int = AHEAD
    """How long after `as_of` people still practise, in us."""

    @classmethod
    def around(cls, as_of: datetime, days_ahead: int = 0) -> "Clock":
        """Return the calendar around an aware instant, up to six hours after it or so many days."""
        utc = as_of.astimezone(UTC)
        instant = (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        today = instant // DAY
        first_day, days = today - PAST_DAYS - 2, PAST_DAYS + 5 + days_ahead
        noons = np.arange(first_day, first_day + days, dtype=np.int64) * DAY + DAY // 2
        instants = pl.Series(noons).cast(INSTANT)
        local = [
            instants.dt.convert_time_zone(zone).dt.replace_time_zone(None).cast(pl.Int64).to_numpy() for zone in ZONES
        ]
        return cls(
            as_of=instant,
            month_start=today - utc.day + 1,
            first_day=first_day,
            days=days,
            offsets=np.stack(local).astype(np.int64) - noons,
            ahead=days_ahead * DAY or AHEAD,
        )

    @property
    def today(self) -> int:
        """The UTC day of `as_of`, counted from 1970."""
        return self.as_of // DAY

    @property
    def end(self) -> int:
        """The instant before which everything happens."""
        return self.as_of + self.ahead

    def offset(self, zone: Ints, day: Ints) -> Ints:
        """Return local time minus UTC in us, of zones on days."""
        column = np.clip(day - self.first_day, 0, self.days - 1)
        return self.offsets[zone, column]

    def local_day(self, instant: Ints, zone: Ints) -> Ints:
        """Return the local days of instants."""
        return (instant + self.offset(zone, instant // DAY)) // DAY

    def instant(self, local: Ints, zone: Ints) -> Ints:
        """Return the instants of local times in us."""
        return local - self.offset(zone, local // DAY)


def weekday(day: Ints) -> Ints:
    """0 for Monday; day 0, the first of 1970, was a Thursday."""
    return (day + 3) % 7
