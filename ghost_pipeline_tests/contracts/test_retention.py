"""How long tables are kept, and what may not be set."""

from datetime import UTC, datetime, timedelta

import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.retention import gone_until, require_removable, retention
from ghost_pipeline.errors import SettingsError
from ghost_pipeline.settings import Settings

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)


def test_a_setting_takes_the_place_of_the_contract() -> None:
    chosen = Settings.load(retention="user_ghost_stats=36h,cohort_ghost_data=90d").retention
    assert retention(USER_GHOST_STATS, {}) == timedelta(hours=168)
    assert retention(USER_GHOST_STATS, chosen) == timedelta(hours=36)
    assert retention(USER_GHOST_STATS, {"user_ghost_stats": None}) is None
    assert retention(COHORT_GHOST_DATA, {}) is None
    assert retention(COHORT_GHOST_DATA, chosen) == timedelta(days=90)


def test_what_is_gone_is_counted_from_the_newest_partition() -> None:
    assert gone_until(USER_GHOST_STATS, {}, NOON) == NOON - timedelta(days=7)
    assert gone_until(COHORT_GHOST_DATA, {}, NOON) is None


@pytest.mark.parametrize(
    "text",
    [
        "user_ghost_stats=1h,ghost_messages=1h,ngram_speed_summaries=1h,ngram_speed_summary_history=400d",
        "rejected_rows=90d,cohort_ghost_data=1h",
        "ghost_benchmarks=62d,user_activity_days=62d,user_activity_checkpoints=62d",
        "users=forever,session_keystrokes=forever",
        "session_keystrokes=1d",
    ],
)
def test_what_can_be_had_again_may_be_removed(text: str) -> None:
    require_removable(Settings.load(retention=text).retention)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("user_stats=7d", "user_stats is not a table"),
        ("table_info=7d", "table_info is not a table"),
        ("users=90d", "users is kept forever, because the source no longer has earlier versions"),
        ("user_progress=400d", "user_progress is kept forever, because hours of events have no gap"),
        ("session_ngram_summary=400d", "session_ngram_summary is kept forever, because hours of events have no gap"),
        ("cohort_ghost_release=30d", "cohort_ghost_release is kept forever, because figures that peers have seen"),
        ("cohort_release_contributions=30d", "cohort_release_contributions is kept forever, because the next release"),
        ("stale_hours=30d", "stale_hours is kept forever, because a rebuild removes the entry"),
        ("ghost_benchmarks=61d", r"ghost_benchmarks is kept for at least 62d, .* \(got 61d\)"),
        ("session_keystrokes=23h", r"session_keystrokes is kept for at least 1d, .* \(got 23h\)"),
        ("user_activity_days=36h", r"user_activity_days is kept for at least 62d, .* \(got 36h\)"),
    ],
)
def test_what_later_partitions_need_may_not(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"^GHOST_RETENTION: {says}"):
        require_removable(Settings.load(retention=text).retention)
