"""Hours, months and what a person may type for one."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.errors import UnknownTimeError
from ghost_pipeline.windows import FIRST_INSTANT, LAST_INSTANT, Hour, Month, hours, parse_as_of, without_silence
from ghost_pipeline_tests.examples import examples

INDIA = timezone(timedelta(hours=5, minutes=30))
INSTANTS = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=st.sampled_from([UTC, INDIA]))  # noqa: DTZ001
HOURS = INSTANTS.map(Hour.containing)
MONTHS = INSTANTS.map(Month.containing)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_hour_from_11_is_as_of_12() -> None:
    hour = Hour.from_key("2025-03-12-11:00")
    assert hour.as_of == utc("2025-03-12T12:00")
    assert (hour.date.isoformat(), hour.hour) == ("2025-03-12", 11)


def test_the_last_hour_of_a_day_is_as_of_the_next_date() -> None:
    hour = Hour.from_key("2024-12-31-23:00")
    assert (hour.date.isoformat(), hour.hour, hour.as_of) == ("2024-12-31", 23, utc("2025-01-01T00:00"))


@given(HOURS)
def test_a_key_names_its_hour(hour: Hour) -> None:
    assert Hour.from_key(hour.key) == hour


@given(HOURS)
def test_an_hour_ends_at_its_as_of(hour: Hour) -> None:
    assert Hour.ending_at(hour.as_of) == hour


@given(INSTANTS)
def test_an_instant_lies_in_its_hour(instant: datetime) -> None:
    hour = Hour.containing(instant)
    assert hour.start <= instant < hour.as_of


def test_an_instant_on_the_hour_lies_in_the_hour_that_it_begins() -> None:
    assert Hour.containing(utc("2025-03-12T12:00")).key == "2025-03-12-12:00"


@given(HOURS)
def test_hours_follow_each_other_without_gap(hour: Hour) -> None:
    assert hour.next().start == hour.as_of


@given(st.lists(HOURS, max_size=5))
def test_keys_sort_like_their_hours(some: list[Hour]) -> None:
    assert [hour.key for hour in sorted(some)] == sorted(hour.key for hour in some)


@pytest.mark.parametrize(
    "start",
    [
        utc("2025-03-12T11:30"),
        utc("2025-03-12T11:00:00.000001"),
        datetime(2025, 3, 12, 11),  # noqa: DTZ001 - the point of the case
        datetime(2025, 3, 12, 11, tzinfo=INDIA),
    ],
)
def test_an_hour_begins_at_a_full_hour_in_utc(start: datetime) -> None:
    with pytest.raises(UnknownTimeError, match="not a full UTC hour"):
        Hour(start)


@pytest.mark.parametrize("key", ["", "2025-03-12", "2025-03-12T11:00", "2025-13-01-00:00", "2025-03-12-24:00", "hour"])
def test_what_is_no_hour_is_refused_by_its_key(key: str) -> None:
    with pytest.raises(UnknownTimeError, match=f"partition '{key}': not an hour such as 2025-03-12-11:00"):
        Hour.from_key(key)


def test_a_key_within_an_hour_is_refused() -> None:
    with pytest.raises(UnknownTimeError, match="not a full UTC hour"):
        Hour.from_key("2025-03-12-11:30")


@pytest.mark.parametrize(
    ("key", "as_of"),
    [("2025-01", "2025-02-01"), ("2025-02", "2025-03-01"), ("2024-02", "2024-03-01"), ("2024-12", "2025-01-01")],
)
def test_a_month_ends_where_the_next_begins(key: str, as_of: str) -> None:
    assert Month.from_key(key).as_of == utc(as_of)


@given(MONTHS)
def test_a_key_names_its_month(month: Month) -> None:
    assert Month.from_key(month.key) == month


@given(INSTANTS)
def test_an_instant_lies_in_its_month(instant: datetime) -> None:
    month = Month.containing(instant)
    assert month.start <= instant < month.as_of


@pytest.mark.parametrize(
    ("as_of", "month"),
    [
        ("2025-03-01T00:00", "2025-02"),
        ("2025-03-01T01:00", "2025-02"),
        ("2025-03-31T23:00", "2025-02"),
        ("2025-04-01T00:00", "2025-03"),
        ("2025-01-01T00:00", "2024-12"),
    ],
)
def test_the_newest_complete_month_has_ended_at_as_of(as_of: str, month: str) -> None:
    assert Month.newest_complete(utc(as_of)).key == month


@given(HOURS)
def test_no_month_between_the_newest_complete_one_and_as_of_has_ended(hour: Hour) -> None:
    month = Month.newest_complete(hour.as_of)
    assert month.as_of <= hour.as_of < Month.containing(month.as_of).as_of


@pytest.mark.parametrize("key", ["", "2025", "2025-13", "2025-02-01", "February"])
def test_what_is_no_month_is_refused_by_its_key(key: str) -> None:
    with pytest.raises(UnknownTimeError, match=f"partition '{key}': not a month such as 2025-02"):
        Month.from_key(key)


@pytest.mark.parametrize(
    "start", [utc("2025-02-02T00:00"), utc("2025-02-01T01:00"), datetime(2025, 2, 1, tzinfo=INDIA)]
)
def test_a_month_begins_at_its_first_instant_in_utc(start: datetime) -> None:
    with pytest.raises(UnknownTimeError, match="not the first instant of a UTC month"):
        Month(start)


@given(HOURS, st.integers(0, 60))
def test_hours_fill_a_range_to_its_exclusive_end(first: Hour, number: int) -> None:
    found = list(hours(first.start, first.start + timedelta(hours=number)))
    assert [hour.start for hour in found] == [first.start + timedelta(hours=one) for one in range(number)]


def test_the_night_in_which_europe_changes_its_clocks_has_24_hours() -> None:
    assert len(list(hours(utc("2025-03-30T00:00"), utc("2025-03-31T00:00")))) == 24


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-12T12:00Z",
        "2025-03-12T12:00",
        "2025-03-12 12:00",
        "2025-03-12T12:00:00.000+00:00",
        "2025-03-12T17:30+05:30",
        "2025-03-12T07:00-05:00",
        "20250312T12",
    ],
)
def test_an_as_of_may_be_typed_in_any_iso_form_and_zone(text: str) -> None:
    assert parse_as_of(text) == utc("2025-03-12T12:00")


def test_a_date_is_its_first_instant() -> None:
    assert parse_as_of("2025-03-12") == utc("2025-03-12T00:00")


@pytest.mark.parametrize("text", ["", "noon", "2025-02-30T12:00Z", "12:00", "1741780800", "0001-01-01T00:00+05:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UnknownTimeError, match=r"not a time; write it like 2025-03-12T12:00Z$"):
        parse_as_of(text)


@pytest.mark.parametrize("text", ["2025-03-12T12:30Z", "2025-03-12T12:59:59Z", "2025-03-12T18:00+05:30"])
def test_a_time_within_an_hour_is_refused_with_the_full_hour_before_it(text: str) -> None:
    with pytest.raises(UnknownTimeError, match="the last one before it is 2025-03-12T12:00Z"):
        parse_as_of(text)


@pytest.mark.parametrize("as_of", [datetime(1, 1, 1, tzinfo=UTC), FIRST_INSTANT, LAST_INSTANT])
def test_an_as_of_outside_of_what_tables_hold_is_refused(as_of: datetime) -> None:
    with pytest.raises(UnknownTimeError, match="outside 1970 to 2199"):
        parse_as_of(as_of.isoformat())


BUSY = st.sets(st.integers(0, 24 * 100), max_size=6)


def plain_without_silence(busy: set[int], end: int) -> list[int]:
    """The same over numbered hours: each stands unless it lies in a stretch of more than 31 days without a busy one."""
    kept = set(busy)
    edges = [-1, *sorted(busy), end]
    for before, after in pairwise(edges):
        if after - before - 1 <= 31 * 24:
            kept |= set(range(before + 1, after))
        elif after == end:
            kept.add(end - 1)
    return sorted(kept)


@examples(15, 50)
@given(BUSY, st.integers(24 * 100 + 1, 24 * 150))
def test_hours_without_silences_have_every_busy_hour_and_no_gap_of_less_than_a_month(busy: set[int], end: int) -> None:
    start = utc("2025-01-01T00:00")
    hour_of = [Hour(start + timedelta(hours=number)) for number in range(end)]
    found = list(without_silence([hour_of[number] for number in busy], start, start + timedelta(hours=end)))
    assert found == [hour_of[number] for number in plain_without_silence(busy, end)]


def test_an_event_of_another_decade_does_not_need_a_file_for_every_hour_since() -> None:
    busy = [Hour.from_key("1970-01-01-00:00"), Hour.from_key("2025-03-12-11:00")]
    assert list(without_silence(busy, busy[0].start, busy[1].as_of)) == busy


def test_the_last_hour_stands_also_after_a_silence() -> None:
    start, end = utc("2025-01-01T00:00"), utc("2025-06-01T00:00")
    assert [hour.key for hour in without_silence([], start, end)] == ["2025-05-31-23:00"]
