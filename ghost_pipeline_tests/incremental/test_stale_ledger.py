"""The ledger of stale hours while a run rebuilds many of them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.incremental.stale_ledger import MARKED_TOGETHER, mark_building, mark_stale, stale_hours
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import HOUR, hours

BEGIN = datetime(2025, 3, 12, 20, tzinfo=UTC)
BUILT = MARKED_TOGETHER + 3
WINDOW = list(hours(BEGIN, BEGIN + BUILT * HOUR))
"""Hours of two days."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose hours are all stale."""
    lake = Lake(tmp_path)
    for hour in WINDOW:
        lake.write(USER_GHOST_STATS, hour, USER_GHOST_STATS.empty())
    mark_stale(lake, [USER_GHOST_STATS], BEGIN, BEGIN)
    return lake


def test_every_rebuilt_hour_is_off_the_ledger_after_the_run(lake: Lake) -> None:
    with mark_building(lake, USER_GHOST_STATS, WINDOW) as rebuilt:
        for hour in WINDOW:
            rebuilt.add(hour)
    assert stale_hours(lake).is_empty()


def test_a_killed_run_leaves_only_its_newest_hours_on_the_ledger(lake: Lake) -> None:
    def killed() -> None:
        with mark_building(lake, USER_GHOST_STATS, WINDOW) as rebuilt:
            for hour in WINDOW:
                rebuilt.add(hour)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert stale_hours(lake)["hour"].to_list() == [hour.start for hour in WINDOW[MARKED_TOGETHER:]]


def test_an_hour_whose_inputs_change_before_it_is_taken_off_stays_stale(lake: Lake) -> None:
    changed = WINDOW[2]
    with mark_building(lake, USER_GHOST_STATS, WINDOW) as rebuilt:
        for hour in WINDOW[:5]:
            rebuilt.add(hour)
        mark_stale(lake, [USER_GHOST_STATS], changed.start, BEGIN, changed_until=changed.as_of + HOUR)
        for hour in WINDOW[5:]:
            rebuilt.add(hour)
    assert stale_hours(lake)["hour"].to_list() == [changed.start]
