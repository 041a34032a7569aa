"""Hours that come and go, through Dagster: what a run removes, and what a range does not write."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.defs.partitions import RUN_END, RUN_START
from ghost_pipeline.defs.schedules import due_hours
from ghost_pipeline.errors import SettingsError
from ghost_pipeline.incremental.stale_ledger import mark_stale, stale_hours_of
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, hours
from ghost_pipeline_tests.computing import shown_rows
from ghost_pipeline_tests.defs.test_dagster_runs import SOURCE, execute, write
from ghost_pipeline_tests.running import lake_digest, run

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
OF_USERS = (USER_GHOST_STATS, GHOST_MESSAGES, NGRAM_SPEED_SUMMARIES)
FOR_EVER = (COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARY_HISTORY, USER_PROGRESS)
TWO_HOURS = ",".join(f"{table.name}=2h" for table in OF_USERS)

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "data" / "lake")


@pytest.fixture
def run_hour(tmp_path: Path) -> Run:
    source = write(tmp_path / "source", SOURCE)

    def of(*numbers: int, data: str = "data") -> dg.ExecuteInProcessResult:
        keys = [f"2025-03-12-{number:02}:00" for number in numbers]
        which = {"tags": {RUN_START: keys[0], RUN_END: keys[-1]}} if keys[1:] else {"partition_key": keys[0]}
        with dg.DagsterInstance.ephemeral() as instance:
            return execute(tmp_path / data, source, instance, **which)

    return of


def there(lake: Lake, table: Contract) -> list[int]:
    return [hour.hour for hour in lake.hours(table) if hour.date.day == 12]


def told(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (materialization,) = result.asset_materializations_for_node("retention")
    return {name: value.value for name, value in materialization.metadata.items()}


def built(lake: Lake, *numbers: int) -> None:
    """Hours that earlier runs have built, without rows."""
    for table in (*OF_USERS, COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARY_HISTORY):
        for number in numbers:
            lake.write(table, Hour.from_key(f"2025-03-12-{number:02}:00"), table.empty())


def test_the_run_of_the_newest_hour_removes_and_an_old_one_stays_until_then(
    run_hour: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHOST_RETENTION", TWO_HOURS)
    # Otherwise Dagster has no hours before the first event.
    monkeypatch.setenv("GHOST_PARTITIONS_START", "2025-03-01")
    built(lake, 7, 8)
    result = run_hour(9)
    assert told(result)["partitions_removed"] == 3
    assert ("user_ghost_stats", "2h", "2025-03-12 08:00:00+00:00", 1) in shown_rows(told(result)["tables"])
    assert [there(lake, table) for table in OF_USERS] == [[8, 9]] * 3
    assert told(run_hour(5)) == {"skipped": "hour 2025-03-12-09:00 is newer; its run removes expired partitions"}
    assert [there(lake, table) for table in OF_USERS] == [[5, 8, 9]] * 3
    assert told(run_hour(9))["partitions_removed"] == 3
    assert [there(lake, table) for table in OF_USERS] == [[8, 9]] * 3
    assert [there(lake, table) for table in (COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARY_HISTORY)] == [[5, 7, 8, 9]] * 2


@pytest.mark.long
def test_what_follows_from_hours_that_a_range_does_not_write_is_that_of_single_runs(
    run_hour: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (8, 9, 10, 11):
        run_hour(number, data="single")
    monkeypatch.setenv("GHOST_RETENTION", TWO_HOURS)
    result = run_hour(8, 9, 10, 11)
    assert [there(lake, table) for table in OF_USERS] == [[10, 11]] * 3
    single = lake_digest(lake.root.parent.parent / "single")
    ranged = lake_digest(lake.root.parent)
    kept = ("cohort_ghost_data", "ngram_speed_summary_history")
    both = [{name: text for name, text in found.items() if name.startswith(kept)} for found in (single, ranged)]
    assert both[0] == both[1]
    newest = [name for name in single if (name.startswith("ngram_speed_summaries") and "=10" in name) or "=11" in name]
    assert {name: ranged[name] for name in newest} == {name: single[name] for name in newest}
    rows = lake.scan(NGRAM_SPEED_SUMMARY_HISTORY).collect()
    assert sorted(set(rows["as_of"])) == [NOON - 2 * HOUR, NOON - HOUR, NOON]
    first = result.asset_materializations_for_node("ngram_speed_summaries")[0]
    assert first.metadata["not_written"].value == "older than the table's retention (GHOST_RETENTION)"


def test_an_older_range_of_a_lake_writes_no_rows_of_users(
    run_hour: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHOST_RETENTION", TWO_HOURS)
    built(lake, 11)
    run_hour(7, 8)
    assert [there(lake, table) for table in OF_USERS] == [[11]] * 3
    assert [there(lake, table) for table in (COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARY_HISTORY)] == [[7, 8, 11]] * 2


def test_hours_that_were_removed_are_neither_due_nor_stale(
    run_hour: Run, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHOST_RETENTION", TWO_HOURS)
    built(lake, 7, 8, 9)
    mark_stale(lake, [*OF_USERS, COHORT_GHOST_DATA], NOON - 5 * HOUR, NOON)
    run_hour(10)
    assert [stale_hours_of(lake, table) for table in OF_USERS] == [{Hour(NOON - 3 * HOUR)}] * 3
    assert stale_hours_of(lake, COHORT_GHOST_DATA) == set(hours(NOON - 5 * HOUR, NOON - 2 * HOUR))
    assert list(due_hours(lake, Hour.from_key("2025-03-12-10:00"), (), Settings.load(), None)) == []


def test_hours_that_would_not_be_kept_are_not_due(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for hour in (NOON - 60 * HOUR, NOON - HOUR):
        lake.write(COHORT_GHOST_DATA, Hour(hour), COHORT_GHOST_DATA.empty())
    assert len(list(due_hours(lake, Hour(NOON), (), Settings.load(), None))) == 59
    chosen = {"cohort_ghost_data": 4 * HOUR}
    due = [hour.start for hour in due_hours(lake, Hour(NOON), (), Settings.load(retention=chosen), None)]
    assert due == [NOON - 3 * HOUR, NOON - 2 * HOUR, NOON]


def test_a_retention_that_cannot_be_stops_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "source", SOURCE)
    monkeypatch.setenv("GHOST_RETENTION", "users=90d")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(SettingsError, match="users is kept forever"):
        execute(tmp_path / "data", source, instance, partition_key="2025-03-12-11:00")


def test_the_command_removes_messages_with_the_figures_that_they_show(tmp_path: Path, lake: Lake) -> None:
    source, data = write(tmp_path / "source", SOURCE), tmp_path / "data"
    built(lake, 8)
    one_hour = TWO_HOURS.replace("2h", "1h")
    done = run(["materialize", "--as-of", "2025-03-12T10:00Z"], data, source, GHOST_RETENTION=one_hour)
    assert done.returncode == 0, done.stderr
    assert [there(lake, table) for table in OF_USERS] == [[9]] * 3
