"""The checks that compare: what they look at in a lake, and what they tell a person."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_STREAK_SHARES
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.defs.checks import VOLUME, ComparisonCheck
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.volume import VOLUME_OF_EVENTS
from ghost_pipeline.domain.shared.comparisons import Comparison
from ghost_pipeline.domain.shared.period_figures import row_count
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Hour, Month, hours
from ghost_pipeline_tests.computing import shown_rows
from ghost_pipeline_tests.samples import sample

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
ROWS = period_over_period(USER_GHOST_STATS, row_count)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def events(lake: Lake, days: int, rows: int = 4, until: datetime = NOON, gone: frozenset[int] = frozenset()) -> None:
    """An event table whose hours of some days before `until` have so many rows each, but for some days without."""
    window = list(hours(until - days * DAY, until))
    busy = [hour.start for hour in window if (until - hour.as_of) // DAY not in gone]
    starts = pl.Series([start for start in busy for _ in range(rows)], dtype=pl.Datetime("us", "UTC"))
    lake.write_hours(USER_PROGRESS, window, sample(USER_PROGRESS, starts.len(), 1), starts)


def look(
    lake: Lake, comparisons: ComparisonCheck, contract: Contract, *windows: Hour | Month, **values: object
) -> dg.AssetCheckResult:
    settings = Settings.load(data=lake.root.parent, **values)
    return comparisons.result(lake, settings, contract, windows or [Hour.ending_at(NOON)])


def test_what_was_found_is_plotted(lake: Lake) -> None:
    events(lake, 29)
    assert look(lake, VOLUME_OF_EVENTS, USER_PROGRESS).metadata["rows of 24 hours"].value == 96


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone"), LakeError("out of reach"), pl.exceptions.ComputeError("?")]
)
def test_what_cannot_be_looked_at_warns_and_never_stops_a_step(lake: Lake, error: Exception) -> None:
    def raises(*_: object) -> list[Comparison]:
        raise error

    result = look(lake, ComparisonCheck(VOLUME, (), raises), USER_PROGRESS)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)


def table(result: dg.AssetCheckResult) -> list[tuple[object, ...]]:
    return shown_rows(result.metadata["compared"])


# --- volume ---


def test_a_day_like_those_before_it_passes_and_says_so(lake: Lake) -> None:
    events(lake, 29)
    result = look(lake, VOLUME_OF_EVENTS, USER_PROGRESS)
    assert result.passed
    assert result.description == (
        "2025-03-12-11:00, rows of 24 hours: 96, expected 96 (median of 4 days, a week apart), +0 %"
    )
    basis = "median of 4 days, a week apart"
    assert table(result) == [("2025-03-12-11:00", "rows of 24 hours", basis, "96", "96", "+0 %", "passed")]


@pytest.mark.parametrize("days", [4, 8, 15, 29])
def test_an_empty_day_warns_from_the_fourth_day_on(lake: Lake, days: int) -> None:
    events(lake, days, gone=frozenset({0}))
    result = look(lake, VOLUME_OF_EVENTS, USER_PROGRESS)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "rows of 24 hours: 0, expected 96" in str(result.description)
    assert table(result)[0][-2:] == ("-100 %", "warning")


@pytest.mark.parametrize("days", [0, 1, 3])
def test_a_younger_table_passes_and_says_so(lake: Lake, days: int) -> None:
    events(lake, days, gone=frozenset({0}))
    result = look(lake, VOLUME_OF_EVENTS, USER_PROGRESS)
    assert (result.passed, result.description) == (True, "nothing to compare with yet")


def test_days_before_a_silence_are_no_days_without_rows(lake: Lake) -> None:
    events(lake, 20, until=NOON - 60 * DAY)
    events(lake, 2)
    assert look(lake, VOLUME_OF_EVENTS, USER_PROGRESS).description == "nothing to compare with yet"


def test_limits_are_settings(lake: Lake) -> None:
    events(lake, 29, rows=40)
    events(lake, 1, rows=28)
    assert look(lake, VOLUME_OF_EVENTS, USER_PROGRESS).passed
    assert not look(lake, VOLUME_OF_EVENTS, USER_PROGRESS, volume_fall_percent=25).passed


def test_of_a_range_every_day_is_compared_that_ends_with_it(lake: Lake) -> None:
    events(lake, 34, gone=frozenset({1, 3}))
    result = look(lake, VOLUME_OF_EVENTS, USER_PROGRESS, *hours(NOON - 3 * DAY + HOUR, NOON))
    assert [row[0] for row in table(result)] == [f"2025-03-{day}-11:00" for day in (10, 11, 12)]
    assert result.metadata["warnings"].value == 1
    assert str(result.description).startswith("2025-03-11-11:00, rows of 24 hours: 0, expected 96")


def test_more_warnings_than_are_shown_are_counted(lake: Lake) -> None:
    events(lake, 37, gone=frozenset(range(8)))
    result = look(lake, VOLUME_OF_EVENTS, USER_PROGRESS, *hours(NOON - 7 * DAY + HOUR, NOON))
    assert str(result.description).endswith("; and 2 more")


def test_a_damaged_file_of_older_days_warns_and_blocks_nothing(lake: Lake) -> None:
    events(lake, 29)
    lake.path(USER_PROGRESS, Hour(NOON - 7 * DAY - HOUR)).write_bytes(b"PAR1 and no more")
    result = look(lake, VOLUME_OF_EVENTS, USER_PROGRESS)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "an older partition cannot be read; `ghost-pipeline doctor` names a damaged file"


# --- period over period ---


def users(lake: Lake, before: timedelta, rows: int) -> None:
    lake.write(USER_GHOST_STATS, Hour.ending_at(NOON - before), sample(USER_GHOST_STATS, rows, 1))


def test_figures_of_an_hour_are_compared_with_a_day_and_a_week_before(lake: Lake) -> None:
    users(lake, timedelta(), 40)
    users(lake, DAY, 41)
    users(lake, 7 * DAY, 100)
    result = look(lake, ROWS, USER_GHOST_STATS)
    assert not result.passed
    assert result.description == "2025-03-12-11:00, rows: 40, expected 100 (a week before), -60 %"
    assert [row[2:] for row in table(result)] == [
        ("a day before", "41", "40", "-2 %", "passed"),
        ("a week before", "100", "40", "-60 %", "warning"),
    ]


def test_without_an_hour_to_compare_with_it_passes(lake: Lake) -> None:
    users(lake, timedelta(), 40)
    users(lake, 2 * DAY, 100)
    result = look(lake, ROWS, USER_GHOST_STATS)
    assert (result.passed, result.description) == (True, "nothing to compare with yet")


def test_an_hour_that_was_not_written_is_not_compared(lake: Lake) -> None:
    users(lake, DAY, 100)
    assert look(lake, ROWS, USER_GHOST_STATS).passed


def test_an_hour_that_is_being_removed_is_as_good_as_none(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    users(lake, timedelta(), 40)
    users(lake, 7 * DAY, 100)
    scan = Lake.scan

    def removing(self: Lake, contract: Contract, partitions: list[Hour]) -> pl.LazyFrame:
        found = scan(self, contract, partitions)
        if partitions[0].as_of < NOON:
            self.remove(contract, partitions[0])
        return found

    monkeypatch.setattr(Lake, "scan", removing)
    assert look(lake, ROWS, USER_GHOST_STATS).description == "nothing to compare with yet"


def test_a_month_is_compared_with_the_month_before(lake: Lake) -> None:
    for key, rows in (("2025-01", 300), ("2025-02", 100)):
        lake.write(GHOST_STREAK_SHARES, Month.from_key(key), sample(GHOST_STREAK_SHARES, rows, 1))
    result = look(lake, ROWS, GHOST_STREAK_SHARES, Month.from_key("2025-02"))
    assert result.description == "2025-02, rows: 100, expected 300 (the month before), -67 %"
