"""Rows of a day against those of days like it."""

import pytest

from ghost_pipeline.domain.shared.volume import days_to_compare, volume

MONTH = range(1, 29)


def moved(found: int, before: dict[int, int], fall: int = 40, rise: int = 80) -> bool:
    return volume(found, before, fall=fall, rise=rise).moved


def test_a_day_is_compared_with_the_same_weekday() -> None:
    assert days_to_compare(MONTH) == (7, 14, 21, 28)
    assert days_to_compare(range(1, 15)) == (7, 14)
    assert days_to_compare({*MONTH} - {14}) == (7, 21, 28)


def test_a_table_younger_than_two_weeks_is_compared_with_its_days() -> None:
    assert days_to_compare(range(1, 14)) == (1, 2, 3, 4, 5, 6, 7)
    assert days_to_compare([1, 2, 3]) == (1, 2, 3)


@pytest.mark.parametrize("there", [[], [1], [1, 2], [7, 8, 9], [9, 10, 11]])
def test_one_that_is_younger_still_is_not_compared(there: list[int]) -> None:
    assert days_to_compare(there) == ()


def test_what_is_expected_is_the_median_which_one_bad_week_does_not_move() -> None:
    found = volume(1000, {7: 1010, 14: 0, 21: 990, 28: 1000}, fall=40, rise=80)
    assert (found.expected, found.moved) == (995, False)
    assert found.basis == "median of 4 days, a week apart"
    assert volume(5, {1: 1, 2: 2, 3: 9}, fall=40, rise=80).basis == "median of the 3 days before"


@pytest.mark.parametrize("found", [0, 500, 599])
def test_an_empty_and_a_halved_day_are_found(found: int) -> None:
    assert moved(found, dict.fromkeys((7, 14, 21, 28), 1000))


@pytest.mark.parametrize("found", [600, 1000, 1800])
def test_a_day_within_the_limits_is_not(found: int) -> None:
    assert not moved(found, dict.fromkeys((7, 14, 21, 28), 1000))


def test_a_doubled_day_is_found() -> None:
    assert moved(2000, dict.fromkeys((7, 14), 1000))


def test_a_quiet_sunday_is_compared_with_sundays() -> None:
    rows = {day: 300 if day % 7 == 0 else 1000 for day in MONTH}
    assert not moved(310, {day: rows[day] for day in days_to_compare(rows)})


@pytest.mark.parametrize(("expected", "found"), [(9, 0), (20, 7), (36, 18)])
def test_what_chance_may_do_is_no_finding(expected: int, found: int) -> None:
    assert not moved(found, {7: expected, 14: expected})
    assert moved(found * 100, {7: expected * 100, 14: expected * 100})


def test_where_nothing_was_expected_anything_may_come() -> None:
    assert not moved(5000, {7: 0, 14: 0})
    assert volume(5000, {7: 0, 14: 0}, fall=40, rise=80).percent == 0
