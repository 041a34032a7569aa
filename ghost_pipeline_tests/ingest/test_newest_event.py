"""How far a source reaches, and which hours beyond it are still built."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.defs.schedules import due_hours
from ghost_pipeline.ingest.newest_event import first_hour, newest_event
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Hour
from ghost_pipeline_tests.running import run
from ghost_pipeline_tests.samples import one_learner, sample

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
LAST = Hour.ending_at(NOON)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One event at 08:30, and one in the future of the tests."""
    rows = ["p1,u1,reading,2025-03-12T08:30:00Z,10", "p2,u1,reading,2025-06-01T09:00:00Z,10"]
    return one_learner(tmp_path / "source", rows)


def test_the_newest_event_of_the_source_counts_before_the_end_of_the_hour(source: Path, tmp_path: Path) -> None:
    settings = Settings.load(source=str(source), data=tmp_path / "data")
    assert newest_event(Lake(settings.lake), settings, LAST) == datetime(2025, 3, 12, 8, 30, tzinfo=UTC)
    assert newest_event(Lake(settings.lake), settings, Hour.ending_at(NOON - 5 * HOUR)) is None


def test_a_recent_event_of_the_lake_is_enough(tmp_path: Path) -> None:
    settings = Settings.load(source=str(tmp_path / "there is none"), data=tmp_path)
    lake = Lake(settings.lake)
    lake.write(USER_PROGRESS, Hour.ending_at(NOON - DAY), sample(USER_PROGRESS, 2, 1))
    lake.write(USER_PROGRESS, LAST, USER_PROGRESS.empty())
    assert newest_event(lake, settings, LAST) == NOON - DAY
    assert first_hour(lake) == Hour.ending_at(NOON - DAY)
    # An older one is not, and what is wrong with the source is for its runs to say.
    assert newest_event(lake, settings, Hour(NOON + 8 * DAY)) is None


def built(folder: Path, end: datetime) -> Lake:
    lake = Lake(folder / "lake")
    lake.write(COHORT_GHOST_DATA, Hour.ending_at(end), COHORT_GHOST_DATA.empty())
    return lake


def test_no_hour_far_beyond_the_newest_event_is_due(tmp_path: Path) -> None:
    lake, settings = built(tmp_path, NOON - 9 * HOUR), Settings.load(quiet_hours=3)
    due = due_hours(lake, LAST, (), settings, NOON - 9 * HOUR + timedelta(minutes=1))
    assert [hour.start for hour in due] == [NOON - 9 * HOUR + number * HOUR for number in (0, 1, 2, 3)]
    assert due_hours(lake, LAST, (), settings, NOON - 900 * HOUR) == []


def test_an_empty_lake_whose_source_has_gone_silent_has_no_due_hour(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert due_hours(lake, LAST, (), Settings.load(), NOON - HOUR) == [LAST]
    assert due_hours(lake, LAST, (), Settings.load(), NOON - 30 * DAY) == []


def test_no_hour_before_the_first_event_or_the_catch_up_is_due(tmp_path: Path) -> None:
    lake = built(tmp_path, NOON - 100 * HOUR)
    lake.write(USER_PROGRESS, Hour.ending_at(NOON - 5 * HOUR), sample(USER_PROGRESS, 1, 1))
    assert due_hours(lake, LAST, (), Settings.load(), NOON)[0] == Hour.ending_at(NOON - 5 * HOUR)
    assert len(due_hours(lake, LAST, (), Settings.load(catch_up_hours=2), NOON)) == 2


def test_hours_between_an_old_backfill_and_the_newest_hours_were_not_missed(tmp_path: Path) -> None:
    built(tmp_path, NOON - 10 * DAY)
    lake = built(tmp_path, NOON - 2 * HOUR)
    assert due_hours(lake, LAST, (), Settings.load(), NOON) == [Hour.ending_at(NOON - HOUR), LAST]


def test_an_hour_far_beyond_the_newest_event_is_not_built_and_says_so(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run(["materialize", "--as-of", "2025-03-12T12:00Z"], data, source).returncode == 0
    shown = (data / "ghost.duckdb").read_bytes()
    done = run(["materialize", "--as-of", "2025-04-12T12:00Z"], data, source)
    assert done.returncode == 0
    assert "warning: hour 2025-04-12-11:00 is not built" in done.stderr
    assert "such as --as-of 2025-03-12T09:00Z" in done.stderr
    assert (data / "ghost.duckdb").read_bytes() == shown
    beyond = run(["materialize", "--as-of", "2025-04-12T12:00Z"], data, source, GHOST_QUIET_HOURS="1000")
    assert "; hour 2025-04-12-11:00 has no event" in beyond.stderr
    assert Lake(data / "lake").exists(COHORT_GHOST_DATA, Hour.from_key("2025-04-12-11:00"))
