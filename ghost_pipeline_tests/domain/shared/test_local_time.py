"""Calendar dates in each row's zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.domain.shared.local_time import (
    is_known_timezone,
    local_date,
    skipped_date,
    today,
    unknown_timezones,
)
from ghost_pipeline_tests.domain.ghost.ghost_frames import INSTANT, at, user, users_frame
from ghost_pipeline_tests.domain.ghost.ghost_worlds import ZONES
from ghost_pipeline_tests.reference import plain_ghost

INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001 - given a zone here
    lambda naive: naive.replace(tzinfo=UTC),
)


def dates(rows: list[tuple[datetime, str | None]]) -> list[date]:
    frame = pl.LazyFrame(rows, schema={"at": INSTANT, "zone": pl.String}, orient="row")
    return frame.select(local_date(pl.col("at"), pl.col("zone"))).collect().to_series().to_list()


@settings(deadline=None)
@given(st.lists(st.tuples(INSTANTS, st.sampled_from(ZONES)), max_size=30))
def test_dates_equal_those_of_zoneinfo_in_every_row(rows: list[tuple[datetime, str | None]]) -> None:
    assert dates(rows) == [plain_ghost.local_date({"timezone": zone}, instant) for instant, zone in rows]


@pytest.mark.parametrize(
    ("instant", "zone", "local"),
    [
        ("2025-03-30T21:59", "Europe/Rome", date(2025, 3, 30)),
        ("2025-03-30T22:00", "Europe/Rome", date(2025, 3, 31)),
        ("2025-03-29T22:59", "Europe/Rome", date(2025, 3, 29)),
        ("2025-03-29T23:00", "Europe/Rome", date(2025, 3, 30)),
        ("2024-12-31T18:30", "Asia/Kolkata", date(2025, 1, 1)),
        ("2024-02-29T12:00", "Pacific/Kiritimati", date(2024, 3, 1)),
        ("2025-01-01T00:00", None, date(2025, 1, 1)),
        ("2025-01-01T00:00", "Mars/Olympus", date(2025, 1, 1)),
        ("2025-01-01T00:00", "", date(2025, 1, 1)),
    ],
)
def test_the_local_date(instant: str, zone: str | None, local: date) -> None:
    assert dates([(at(instant), zone)]) == [local]


def test_many_rows_keep_their_order() -> None:
    rows = [(at("2025-01-01T00:00") + timedelta(hours=hour), ZONES[hour % len(ZONES)]) for hour in range(5000)]
    assert dates(rows) == [plain_ghost.local_date({"timezone": zone}, instant) for instant, zone in rows]


@pytest.mark.parametrize(
    ("as_of", "zone", "local"),
    [
        ("2025-03-12T12:00", None, date(2025, 3, 12)),
        ("2025-03-12T00:00", None, date(2025, 3, 11)),
        ("2025-03-11T23:00", "Europe/Rome", date(2025, 3, 11)),
        ("2025-03-12T00:00", "Europe/Rome", date(2025, 3, 12)),
    ],
)
def test_at_midnight_today_is_the_day_that_just_ended(as_of: str, zone: str | None, local: date) -> None:
    frame = pl.LazyFrame({"zone": [zone]}, schema={"zone": pl.String})
    assert frame.select(today(at(as_of), pl.col("zone"))).collect().item() == local


def test_today_over_no_users_is_empty() -> None:
    frame = pl.LazyFrame(schema={"zone": pl.String})
    assert frame.select(today(at("2025-03-12T00:00"), pl.col("zone"))).collect().height == 0


def test_unknown_zones_are_listed_by_user() -> None:
    users = users_frame(
        [
            user("u4", timezone="Mars/Olympus"),
            user("u1", timezone="europe/rome"),
            user("u2", timezone="Europe/Rome"),
            user("u3"),
            user("u0", timezone="localtime"),
        ],
    )
    assert unknown_timezones(users).collect().rows() == [
        ("u0", "localtime"),
        ("u1", "europe/rome"),
        ("u4", "Mars/Olympus"),
    ]


def test_a_zone_is_known_when_python_and_polars_know_it() -> None:
    assert is_known_timezone("America/New_York")
    assert not is_known_timezone("Factory")
    assert not is_known_timezone("")


@pytest.mark.parametrize(
    ("zone", "skipped"),
    [
        ("Pacific/Apia", date(2011, 12, 30)),
        ("Pacific/Fakaofo", date(2011, 12, 30)),
        ("Pacific/Kwajalein", date(1993, 8, 21)),
        ("Pacific/Kiritimati", date(1994, 12, 31)),
        ("Asia/Manila", None),
        ("Pacific/Norfolk", None),
        ("America/New_York", None),
        ("Mars/Olympus", None),
        (None, None),
    ],
)
def test_the_date_that_a_zone_skipped(zone: str | None, skipped: date | None) -> None:
    frame = pl.LazyFrame({"zone": [zone, "UTC"]}, schema={"zone": pl.String})
    assert frame.select(skipped_date(pl.col("zone"))).collect().to_series().to_list() == [skipped, None]


@pytest.mark.long
def test_every_date_that_any_zone_skipped_is_known() -> None:
    sixth_hours = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=6 * number) for number in range(4 * 366 * 80)]
    found: dict[str, date] = {}
    for name in sorted(available_timezones()):
        zone, before = ZoneInfo(name), sixth_hours[0].toordinal()
        for instant in sixth_hours:
            day = instant.astimezone(zone).toordinal()
            if day > before + 1:
                assert (day, name in found) == (before + 2, False), f"{name} skipped more than one date"
                found[name] = date.fromordinal(day - 1)
            before = day
    zones = pl.LazyFrame({"zone": sorted(available_timezones())})
    known = zones.with_columns(skipped=skipped_date(pl.col("zone"))).drop_nulls().collect()
    assert dict(known.iter_rows()) == found
