"""Half-open UTC windows: the hours and months in which everything is partitioned.

One clock (G1.1): `as_of` is the end of an hourly partition. No figure depends on the current time: each run is
started for a named window.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ghost_pipeline.errors import UnknownTimeError

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LONGEST_GAP = timedelta(days=31)
"""A longer stretch without an event counts as silence, a shorter one as lost hours."""
HOUR_KEY_FORMAT = "%Y-%m-%d-%H:%M"
MONTH_KEY_FORMAT = "%Y-%m"

FIRST_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(2200, 1, 1, tzinfo=UTC)
"""Exclusive. An instant outside these limits is a typing error or in a wrong unit."""

_LENGTH = re.compile(r"(\w+)\s*=\s*(?:([1-9]\d{0,5})([hd])|forever)")
_UNITS = {"h": HOUR, "d": DAY}


@dataclass(frozen=True, order=True)
class Hour:
    """The hour [start, start + 1 h) in UTC (G1.2)."""

    start: datetime

    def __post_init__(self) -> None:
        """Refuse a start that is not a full UTC hour."""
        if self.start.tzinfo != UTC or self.start != _floor(self.start):
            raise UnknownTimeError(f"hour {self.start.isoformat()}: not a full UTC hour")

    @classmethod
    def containing(cls, instant: datetime) -> "Hour":
        """The hour that contains `instant` (aware)."""
        return cls(_floor(instant.astimezone(UTC)))

    @classmethod
    def ending_at(cls, as_of: datetime) -> "Hour":
        """The hour whose end is `as_of`; `as_of` has to be a full hour."""
        return cls(as_of.astimezone(UTC) - HOUR)

    @classmethod
    def from_key(cls, key: str) -> "Hour":
        """The hour of a partition key such as `2025-03-12-11:00`."""
        return cls(_parse(key, HOUR_KEY_FORMAT, "an hour such as 2025-03-12-11:00"))

    @property
    def as_of(self) -> datetime:
        """The exclusive end, which is the clock of the partition (G1.1)."""
        return self.start + HOUR

    @property
    def key(self) -> str:
        """The Dagster partition key, `2025-03-12-11:00`."""
        return self.start.strftime(HOUR_KEY_FORMAT)

    @property
    def date(self) -> date:
        """`snapshot_date` of G1.2."""
        return self.start.date()

    @property
    def hour(self) -> int:
        """`snapshot_hour` of G1.2, 0 to 23."""
        return self.start.hour

    def next(self) -> "Hour":
        """The hour that begins where this one ends."""
        return Hour(self.as_of)


@dataclass(frozen=True, order=True)
class Day:
    """The UTC day [start, start + 24 h)."""

    start: datetime

    def __post_init__(self) -> None:
        """Refuse a start that is not midnight UTC."""
        if self.start.tzinfo != UTC or self.start != _floor(self.start).replace(hour=0):
            raise UnknownTimeError(f"day {self.start.isoformat()}: not midnight UTC")

    @classmethod
    def containing(cls, instant: datetime) -> "Day":
        """The UTC day that contains `instant` (aware)."""
        return cls(_floor(instant.astimezone(UTC)).replace(hour=0))

    @property
    def as_of(self) -> datetime:
        """The exclusive end."""
        return self.start + DAY

    @property
    def key(self) -> str:
        """The date, `2025-03-12`."""
        return self.start.date().isoformat()


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month in UTC (G5.5)."""

    start: datetime

    def __post_init__(self) -> None:
        """Refuse a start that is not midnight UTC on a first of a month."""
        if self.start.tzinfo != UTC or self.start != _floor(self.start).replace(day=1, hour=0):
            raise UnknownTimeError(f"month {self.start.isoformat()}: not the first instant of a UTC month")

    @classmethod
    def containing(cls, instant: datetime) -> "Month":
        """The month that contains `instant` (aware)."""
        return cls(_floor(instant.astimezone(UTC)).replace(day=1, hour=0))

    @classmethod
    def from_key(cls, key: str) -> "Month":
        """The month of a partition key such as `2025-02`."""
        return cls(_parse(key, MONTH_KEY_FORMAT, "a month such as 2025-02"))

    @classmethod
    def newest_complete(cls, as_of: datetime) -> "Month":
        """The newest month that has ended at `as_of`."""
        return cls.containing(cls.containing(as_of).start - HOUR)

    @property
    def as_of(self) -> datetime:
        """The exclusive end, which is the clock of the partition (G5.5)."""
        return (self.start + timedelta(days=31)).replace(day=1)

    @property
    def key(self) -> str:
        """The Dagster partition key, `2025-02`."""
        return self.start.strftime(MONTH_KEY_FORMAT)

    def next(self) -> "Month":
        """The month that begins where this one ends."""
        return Month(self.as_of)

    def previous(self) -> "Month":
        """The month that ends where this one begins."""
        return Month.containing(self.start - HOUR)


def parse_as_of(text: str) -> datetime:
    """The instant that a person typed: ISO 8601, UTC if it names no zone, on a full hour.

    Raises:
        UnknownTimeError: the text is not a time, not a full hour, or not between 1970 and 2200.

    """
    try:
        instant = datetime.fromisoformat(text)
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnknownTimeError(f"as of {text!r}: not a time; write it like 2025-03-12T12:00Z") from error
    if not FIRST_INSTANT < instant < LAST_INSTANT:
        raise UnknownTimeError(
            f"as of {text!r}: outside {FIRST_INSTANT.year} to {LAST_INSTANT.year - 1}; write it like 2025-03-12T12:00Z",
        )
    if instant != _floor(instant):
        raise UnknownTimeError(
            f"as of {text!r}: not a full hour; partitions end at full hours, the last one before it is "
            f"{_floor(instant):%Y-%m-%dT%H:%MZ}",
        )
    return instant


def hours(start: datetime, end: datetime) -> Iterator[Hour]:
    """The hours of [start, end) in order; both ends are full hours."""
    hour = Hour(start.astimezone(UTC))
    while hour.as_of <= end:
        yield hour
        hour = hour.next()


def without_silence(busy: Iterable[Hour], start: datetime, end: datetime) -> Iterator[Hour]:
    """The hours of [start, end) without silences: stretches of more than 31 days without a busy hour.

    Otherwise a single event dated decades off would create ~100,000 empty files.
    """
    before = start
    for hour in [*sorted(one for one in set(busy) if start <= one.start < end), None]:
        until = hour.start if hour else end
        if until - before <= LONGEST_GAP:
            yield from hours(before, until)
        elif hour is None:
            yield Hour(end - HOUR)
        if hour:
            yield hour
            before = hour.as_of


def _floor(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _parse(key: str, key_format: str, example: str) -> datetime:
    try:
        return datetime.strptime(key, key_format).replace(tzinfo=UTC)
    except ValueError as error:
        raise UnknownTimeError(f"partition {key!r}: not {example}") from error


def parse_lengths(value: object) -> object:
    """A text such as `user_ghost_stats=168h,rejected_rows=90d,ghost_messages=forever` as a mapping."""
    if not isinstance(value, str):
        return value
    found: dict[str, timedelta | None] = {}
    for part in value.split(","):
        parts = _LENGTH.fullmatch(part.strip())
        if parts is None:
            raise ValueError(
                f"{part.strip()!r} is not a table and how long, such as user_ghost_stats=168h, =7d, =forever"
            )
        table, number, unit = parts.groups()
        if table in found:
            raise ValueError(f"{table} is named twice")
        found[table] = None if unit is None else int(number) * _UNITS[unit]
    return found


def shown_length(kept: timedelta | None) -> str:
    """A duration as settings write it: `36h`, `90d`, `forever`."""
    if kept is None:
        return "forever"
    hours = kept // _UNITS["h"]
    return f"{hours}h" if hours % 24 else f"{hours // 24}d"
