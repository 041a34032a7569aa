"""What is removed, by the clock of each table, and what would speak of it still."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import REJECTED_ROWS, USER_PROGRESS
from ghost_pipeline.contracts.staleness import STALE_HOURS
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import PAIR_INPUT_SCHEMA
from ghost_pipeline.errors import LakeError
from ghost_pipeline.incremental.retention import newest_snapshot, remove_expired
from ghost_pipeline.incremental.stale_ledger import mark_building, mark_stale, stale_hours
from ghost_pipeline.incremental.summary_cache import NgramCache
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Day, Hour, Month, hours

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def build(lake: Lake, table: Contract, window: Iterable[Hour]) -> None:
    for hour in window:
        lake.write(table, hour, table.empty())


def removed(lake: Lake, retention: str = "") -> dict[str, int]:
    chosen = Settings.load(retention=retention or {}).retention
    found = remove_expired(lake, chosen, lake.root.parent / "ghost.duckdb")
    return {one.table: one.partitions for one in found}


def test_the_newest_week_of_hours_stays(lake: Lake) -> None:
    for table in (USER_GHOST_STATS, COHORT_GHOST_DATA):
        build(lake, table, hours(NOON - 170 * HOUR, NOON))
    assert removed(lake) == {"user_ghost_stats": 2}
    assert lake.hours(USER_GHOST_STATS) == list(hours(NOON - 168 * HOUR, NOON))
    assert len(lake.hours(COHORT_GHOST_DATA)) == 170
    assert removed(lake) == {"user_ghost_stats": 0}


def test_a_gap_does_not_make_older_hours_stay(lake: Lake) -> None:
    build(lake, GHOST_MESSAGES, [Hour(NOON - 20 * HOUR), Hour(NOON - 3 * HOUR), Hour(NOON - HOUR)])
    assert removed(lake, "ghost_messages=3h") == {"ghost_messages": 1}
    assert removed(lake, "ghost_messages=2h") == {"ghost_messages": 1}
    assert lake.hours(GHOST_MESSAGES) == [Hour(NOON - HOUR)]


def test_every_table_has_its_own_clock(lake: Lake) -> None:
    build(lake, USER_GHOST_STATS, [Hour(NOON - HOUR)])
    build(lake, NGRAM_SPEED_SUMMARIES, [Hour(NOON - 400 * HOUR)])
    assert removed(lake) == {"user_ghost_stats": 0, "ngram_speed_summaries": 0}
    assert newest_snapshot(lake) == Hour(NOON - HOUR)


def test_nothing_is_removed_from_an_empty_lake(lake: Lake) -> None:
    assert (removed(lake), newest_snapshot(lake)) == ({}, None)


def test_for_ever_is_for_ever(lake: Lake) -> None:
    build(lake, USER_GHOST_STATS, [Hour(NOON - 4000 * HOUR), Hour(NOON)])
    assert removed(lake, "user_ghost_stats=forever") == {}
    assert len(lake.hours(USER_GHOST_STATS)) == 2


def test_days_and_months(lake: Lake) -> None:
    for number in range(70):
        lake.write(USER_ACTIVITY_DAYS, Day(datetime(2025, 1, 1, tzinfo=UTC) + number * DAY), USER_ACTIVITY_DAYS.empty())
    for table in (USER_ACTIVITY_CHECKPOINTS, GHOST_BENCHMARKS):
        for key in ("2024-12", "2025-01", "2025-02"):
            lake.write(table, Month.from_key(key), table.empty())
    chosen = "user_activity_days=62d,user_activity_checkpoints=62d,ghost_benchmarks=63d"
    assert removed(lake, chosen) == {"user_activity_days": 8, "user_activity_checkpoints": 0, "ghost_benchmarks": 0}
    lake.write(GHOST_BENCHMARKS, Month.from_key("2025-03"), GHOST_BENCHMARKS.empty())
    assert removed(lake, "ghost_benchmarks=63d") == {"ghost_benchmarks": 1}
    assert [month.key for month in lake.months(GHOST_BENCHMARKS)] == ["2025-01", "2025-02", "2025-03"]


def test_rejected_rows_go_by_the_hours_of_their_table(lake: Lake) -> None:
    rows = pl.DataFrame(
        {"source_table": "user_progress", "hour": None, "reason": "task_type is missing", "row": "{}"},
        schema=REJECTED_ROWS.polars_schema,
    )
    old, new, unknown = (Rejects("user_progress", hour) for hour in (Hour(NOON - 60 * DAY), Hour(NOON - 9 * DAY), None))
    for partition in (old, new, unknown):
        lake.write(REJECTED_ROWS, partition, rows)
    assert removed(lake, "rejected_rows=10d") == {}
    build(lake, USER_PROGRESS, [Hour(NOON - HOUR)])
    assert removed(lake, "rejected_rows=10d") == {"rejected_rows": 1}
    assert set(lake.rejects(REJECTED_ROWS, "user_progress")) == {new, unknown}


def test_what_is_removed_is_no_longer_stale(lake: Lake) -> None:
    for table in (USER_GHOST_STATS, COHORT_GHOST_DATA):
        build(lake, table, hours(NOON - 30 * HOUR, NOON))
    mark_stale(lake, [USER_GHOST_STATS, COHORT_GHOST_DATA], NOON - 28 * HOUR, NOON)
    with mark_building(lake, USER_GHOST_STATS, [Hour(NOON - 27 * HOUR)]):
        pass
    removed(lake, "user_ghost_stats=24h")
    left = stale_hours(lake).group_by("table").agg(pl.col("hour").min(), rows=pl.len()).sort("table").rows()
    assert left == [("cohort_ghost_data", NOON - 28 * HOUR, 28), ("user_ghost_stats", NOON - 24 * HOUR, 24)]
    assert lake.scan(STALE_HOURS).filter(pl.col("table") == "user_ghost_stats").collect().height == 24


def test_after_a_kill_between_partitions_and_ledger_the_next_run_takes_them_off(lake: Lake) -> None:
    build(lake, USER_GHOST_STATS, hours(NOON - 30 * HOUR, NOON))
    mark_stale(lake, [USER_GHOST_STATS], NOON - 30 * HOUR, NOON)
    for hour in hours(NOON - 30 * HOUR, NOON - 24 * HOUR):
        lake.remove(USER_GHOST_STATS, hour)
    assert removed(lake, "user_ghost_stats=24h") == {"user_ghost_stats": 0}
    assert stale_hours(lake)["hour"].min() == NOON - 24 * HOUR


def test_what_summaries_follow_from_goes_with_them(lake: Lake) -> None:
    build(lake, NGRAM_SPEED_SUMMARIES, hours(NOON - 4 * HOUR, NOON))
    for hour in hours(NOON - 4 * HOUR, NOON):
        with NgramCache(lake, hour, FILE_VERSION_SCHEMA.to_frame()) as cache:
            cache.keep_inputs(PAIR_INPUT_SCHEMA.to_frame())
    kept = Cache(lake.root, NGRAM_SPEED_SUMMARIES.name)
    assert len(kept.names("inputs")) == 4
    assert removed(lake, "ngram_speed_summaries=3h") == {"ngram_speed_summaries": 1}
    assert sorted(kept.names("inputs")) == [f"inputs/2025-03-12T{hour:02}" for hour in (9, 10, 11)]


def test_no_empty_folder_of_an_hour_is_left(lake: Lake) -> None:
    build(lake, USER_GHOST_STATS, hours(NOON - 30 * HOUR, NOON))
    removed(lake, "user_ghost_stats=2h")
    folders = [path.name for path in (lake.root / "user_ghost_stats").glob("*/*")]
    assert sorted(folders) == ["partition_hour=10", "partition_hour=11"]


def test_what_cannot_be_removed_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    build(lake, USER_GHOST_STATS, hours(NOON - 30 * HOUR, NOON))

    def read_only(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(LakeError, match=r"user_ghost_stats/partition_date=2025-03-11/.* cannot be removed \(Perm"):
        removed(lake, "user_ghost_stats=24h")


def test_a_run_of_an_hour_ends_where_its_newest_partition_does(lake: Lake) -> None:
    build(lake, USER_GHOST_STATS, [Hour(NOON), Hour(NOON - 168 * HOUR), Hour(NOON - 167 * HOUR)])
    assert removed(lake) == {"user_ghost_stats": 1}
    assert lake.hours(USER_GHOST_STATS)[0].as_of == Hour(NOON).as_of - timedelta(hours=167)
