"""Calendar dates in each row's own time zone (G1.6), and "today" (G1.3).

polars converts a whole column to one zone. Rows with different zones are therefore converted zone by
zone inside an expression, which keeps frames lazy.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import available_timezones

import polars as pl

_UTC_MICROSECONDS = pl.Datetime("us", "UTC")

_FAR_WEST = timedelta(hours=20)
"""A change of a zone's distance from UTC that only a move across the date line makes."""


def is_known_timezone(name: str) -> bool:
    """Whether `name` is an IANA zone that both Python and polars know."""
    return name in _python_timezones() and _polars_accepts(name)


def local_date(instant: pl.Expr, timezone: pl.Expr) -> pl.Expr:
    """Return the local calendar date (Date) of an instant (Datetime us UTC) in the row's zone (String?).

    A null or unknown zone reads as UTC (G1.6). Either side may be a literal.
    """
    return pl.map_batches(
        [instant.cast(_UTC_MICROSECONDS), timezone.cast(pl.String)],
        _local_dates,
        return_dtype=pl.Date,
        is_elementwise=True,
    )


def today(as_of: datetime, timezone: pl.Expr) -> pl.Expr:
    """Return the local date of the last instant before `as_of` (G1.3): at midnight the day that just ended."""
    return local_date(pl.lit(as_of - timedelta(microseconds=1), dtype=_UTC_MICROSECONDS), timezone)


def skipped_date(timezone: pl.Expr) -> pl.Expr:
    """Return the date (Date?) that the row's zone left out, null in nearly every zone.

    A zone that moves from the east of the date line to the west of it skips a date: 2011-12-30 never existed in
    Pacific/Apia.
    """
    return timezone.cast(pl.String).map_batches(_skipped_dates, return_dtype=pl.Date, is_elementwise=True)


def unknown_timezones(users: pl.LazyFrame) -> pl.LazyFrame:
    """Find users whose `timezone` is not an IANA name and therefore reads as UTC (G1.6).

    Returns:
        `user_id`, `timezone` (both String), sorted by user_id.

    """
    return (
        users.filter(pl.col("timezone").is_not_null())
        .filter(~pl.col("timezone").map_batches(_are_known, return_dtype=pl.Boolean, is_elementwise=True))
        .select("user_id", "timezone")
        .sort("user_id", "timezone")
    )


@cache
def _python_timezones() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def _polars_accepts(name: str) -> bool:
    try:
        pl.Series([], dtype=_UTC_MICROSECONDS).dt.convert_time_zone(name)
    except pl.exceptions.PolarsError:
        return False
    return True


@cache
def _skipped_date_of(zone: str) -> date | None:
    if not is_known_timezone(zone):
        return None
    # A zone stays for years on the side to which it moved: 461 instants tell, 2 million hours would be slow.
    sample = _instants(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC), "6mo")
    moved = (_clocks(sample, zone) - sample).diff().gt(_FAR_WEST).arg_true()
    if not len(moved):
        return None
    there = _clocks(_instants(sample[moved[-1] - 1], sample[moved[-1]], "1h"), zone).dt.date()
    first, last = there[0], there[-1]
    return next(iter(set(pl.date_range(first, last, eager=True)) - set(there)), None)


def _skipped_dates(zones: pl.Series) -> pl.Series:
    skipped = {zone: found for zone in zones.unique().drop_nulls() if (found := _skipped_date_of(zone))}
    if not skipped:
        return pl.Series(zones.name, [None], dtype=pl.Date).new_from_index(0, len(zones))
    return zones.replace_strict(skipped, default=None, return_dtype=pl.Date)


def _instants(start: datetime, end: datetime, every: str) -> pl.Series:
    return pl.datetime_range(start, end, every, time_unit="us", time_zone="UTC", eager=True)


def _clocks(instants: pl.Series, zone: str) -> pl.Series:
    """Return what clocks in the zone show, as if it were UTC."""
    return instants.dt.convert_time_zone(zone).dt.replace_time_zone("UTC")


def _are_known(names: pl.Series) -> pl.Series:
    known = [name for name in names.unique().drop_nulls() if is_known_timezone(name)]
    return names.is_in(pl.Series(known, dtype=pl.String).implode())


def _local_dates(columns: Sequence[pl.Series]) -> pl.Series:
    instants, zones = columns
    if len(instants) == 1 and len(zones) != 1:
        instants = instants.new_from_index(0, len(zones))
    elif len(zones) == 1 and len(instants) != 1:
        zones = zones.new_from_index(0, len(instants))
    if zones.null_count() == len(zones):
        return instants.dt.date()
    # Repeats of a zone name are cheap to group only as integers; unknown names share the group of null.
    rows = pl.DataFrame({"instant": instants, "zone": zones}).with_row_index("row")
    dates = [
        part.select("row", date=_dates_in(zone if isinstance(zone, str) else None, part["instant"]))
        for (zone,), part in rows.partition_by("zone", as_dict=True).items()
    ]
    return pl.concat(dates).sort("row").get_column("date")


def _dates_in(zone: str | None, instants: pl.Series) -> pl.Series:
    if zone is None or not is_known_timezone(zone):
        return instants.dt.date()
    return instants.dt.convert_time_zone(zone).dt.date()
