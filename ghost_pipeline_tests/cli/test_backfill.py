"""Ranges of hours: through the installed command, killed and resumed, and what the hourly schedule asks for."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.definitions import build_defs
from ghost_pipeline.defs.jobs import HOURLY
from ghost_pipeline.defs.partitions import RUN_END, RUN_START, chunks
from ghost_pipeline.defs.schedules import due_hours
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.domain.shared.versions import users_at
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, hours
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats
from ghost_pipeline_tests.running import COMMAND, DEMO_WORLD, SHARED_DATA, environment, lake_digest, run
from ghost_pipeline_tests.samples import one_learner

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
EPM = SHARED_DATA / "epm"
TABLES = ("cohort_ghost_data", "ghost_messages", "user_ghost_stats")


def backfill(data: Path, source: Path, start: str, end: str, *options: str) -> str:
    done = run(["backfill", "--from", start, "--to", end, *options], data, source)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_range_may_begin_before_the_first_event_and_its_month(tmp_path: Path) -> None:
    source = one_learner(tmp_path / "source", ["p1,u1,reading,2025-03-12T08:30:00Z,10"])
    told = backfill(tmp_path / "data", source, "2025-03-12T06:00Z", "2025-03-12T10:00Z")
    assert "4 of 4 hours to build" in told
    assert "month 2025-02" in told


def check_from_scratch(lake: Lake, window: Iterator[Hour]) -> int:
    """Every hour of the window, row by row; returns how many there were."""
    versions = lake.scan(USERS).collect().lazy()
    events = lake.scan(USER_PROGRESS).collect().lazy()
    checked = list(window)
    for hour in checked:
        expected = user_ghost_stats(users_at(versions, hour.as_of), events, hour.as_of).collect()
        assert_frame_equal(lake.scan(USER_GHOST_STATS, [hour]).collect(), expected)
        cohorts = cohort_ghost_data(expected.lazy(), hour.as_of).collect()
        assert_frame_equal(lake.scan(COHORT_GHOST_DATA, [hour]).collect(), cohorts)
    return len(checked)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty hours of the demo world in chunks of eight."""
    data = tmp_path_factory.mktemp("built")
    command = ["backfill", "--from", "2025-03-11T06:00Z", "--to", "2025-03-12T12:00Z"]
    done = run(command, data, DEMO_WORLD, GHOST_HOURS_PER_RUN="8")
    assert done.returncode == 0, done.stderr
    assert "30 of 30 hours to build" in done.stderr
    assert "hours 2025-03-12-06:00 to 2025-03-12-11:00" in done.stderr
    assert "user_ghost_stats (8 hours)" in done.stderr
    return data


@pytest.mark.long
def test_every_hour_of_a_range_equals_from_scratch(built: Path) -> None:
    assert check_from_scratch(Lake(built / "lake"), hours(NOON - 30 * HOUR, NOON)) == 30


@pytest.mark.long
def test_a_range_that_is_built_is_not_built_again(built: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(built, data)
    before = lake_digest(data)
    assert "0 of 30 hours to build" in backfill(data, DEMO_WORLD, "2025-03-11T06:00Z", "2025-03-12T12:00Z")
    told = backfill(data, DEMO_WORLD, "2025-03-12T06:00Z", "2025-03-12T12:00Z", "--all")
    assert "6 of 6 hours to build" in told
    assert lake_digest(data) == before


@pytest.mark.long
def test_the_hours_that_stale_names_are_built_again_by_the_command_that_it_prints(built: Path, tmp_path: Path) -> None:
    data, source = tmp_path / "data", tmp_path / "source"
    shutil.copytree(built, data)
    shutil.copytree(DEMO_WORLD, source)
    events = pl.read_parquet(source / "user_progress.parquet")
    late = events.tail(1).with_columns(
        progress_id=pl.lit("late-one"), user_id=pl.lit("me"), completed_at=pl.lit(NOON - 3.5 * HOUR)
    )
    pl.concat([events, late.cast(events.schema)]).write_parquet(source / "user_progress.parquet")
    done = run(["materialize", "--as-of", "2025-03-12T13:00Z", "--half", "ghost"], data, source)
    assert done.returncode == 0, done.stderr
    found = run(["stale", "--json"], data)
    stale = {table: [row["hour"] for row in json.loads(found.stdout) if row["table"] == table] for table in TABLES}
    expected = [f"2025-03-12T{hour:02}:00:00Z" for hour in range(8, 12)]
    assert stale == {table: [*expected] for table in TABLES}
    assert found.stderr.strip() == "4 hours and 0 months: ghost-pipeline backfill --stale"
    done = run(["backfill", "--stale"], data, source)
    assert done.returncode == 0, done.stderr
    assert "hours 2025-03-12-08:00 to 2025-03-12-11:00" in done.stderr
    assert json.loads(run(["stale", "--json"], data).stdout) == []
    assert check_from_scratch(Lake(data / "lake"), hours(NOON - 6 * HOUR, NOON + HOUR)) == 7


@pytest.mark.long
def test_a_killed_backfill_goes_on_where_it_was(tmp_path: Path) -> None:
    data, undisturbed = tmp_path / "data", tmp_path / "undisturbed"
    lake = Lake(data / "lake")
    arguments = ["backfill", "--from", "2025-03-12T00:00Z", "--to", "2025-03-12T12:00Z"]
    variables = {"GHOST_HOURS_PER_RUN": "2", "GHOST_RETENTION": "user_ghost_stats=3h"}
    command, environ = [str(COMMAND), *arguments], environment(data, DEMO_WORLD, **variables)
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(lake.hours(COHORT_GHOST_DATA)) < 5 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {hour: lake.file_version(COHORT_GHOST_DATA, hour) for hour in lake.hours(COHORT_GHOST_DATA)}
    assert 5 <= len(done) < 12
    again = run(arguments, data, DEMO_WORLD, **variables)
    assert again.returncode == 0, again.stderr
    assert f"{12 - len(done)} of 12 hours to build" in again.stderr
    assert {hour: lake.file_version(COHORT_GHOST_DATA, hour) for hour in done} == done
    assert run(arguments, undisturbed, DEMO_WORLD, **variables).returncode == 0
    found, expected = lake_digest(data), lake_digest(undisturbed)
    assert {name: text for name, text in found.items() if name.startswith("cohort_ghost_data")} == {
        name: text for name, text in expected.items() if name.startswith("cohort_ghost_data")
    }


def test_of_a_long_range_per_user_rows_are_written_of_the_newest_hours(tmp_path: Path) -> None:
    command = ["backfill", "--from", "2025-03-12T06:00Z", "--to", "2025-03-12T12:00Z"]
    variables = {"GHOST_HOURS_PER_RUN": "4", "GHOST_RETENTION": "user_ghost_stats=3h"}
    done = run(command, tmp_path, DEMO_WORLD, **variables)
    assert done.returncode == 0, done.stderr
    lake = Lake(tmp_path / "lake")
    assert [hour.hour for hour in lake.hours(USER_GHOST_STATS)] == [9, 10, 11]
    assert len(lake.hours(COHORT_GHOST_DATA)) == 6


@pytest.mark.long
@pytest.mark.skipif(not EPM.is_dir(), reason=f"no EPM data in {EPM}; name their parent folder in GHOST_SHARED_DATA")
def test_every_hour_of_a_lab_day_equals_from_scratch(tmp_path: Path) -> None:
    day = datetime(2014, 11, 20, tzinfo=UTC)
    backfill(tmp_path, EPM, "2014-11-20T00:00Z", "2014-11-21T00:00Z")
    assert check_from_scratch(Lake(tmp_path / "lake"), hours(day, day + timedelta(days=1))) == 24


def test_stretches_are_consecutive_and_no_longer_than_asked() -> None:
    wanted = [Hour(NOON + number * HOUR) for number in (0, 1, 2, 5, 6, 9)]
    assert [[hour.hour for hour in chunk] for chunk in chunks(wanted, 2)] == [[12, 13], [14], [17, 18], [21]]
    assert list(chunks([], 2)) == []


def _built(folder: Path, *built: datetime) -> Lake:
    lake = Lake(folder / "lake")
    for end in built:
        lake.write(COHORT_GHOST_DATA, Hour.ending_at(end), COHORT_GHOST_DATA.empty())
    return lake


def test_hours_that_were_missed_are_due_in_their_order(tmp_path: Path) -> None:
    lake = _built(tmp_path, NOON - 4 * HOUR)
    assert [hour.as_of for hour in due_hours(lake, Hour.ending_at(NOON), (), Settings.load(), None)] == [
        NOON - n * HOUR for n in (3, 2, 1, 0)
    ]
    under_way = [Hour.ending_at(NOON - 2 * HOUR), Hour.ending_at(NOON - 3 * HOUR)]
    assert [hour.as_of for hour in due_hours(lake, Hour.ending_at(NOON), under_way, Settings.load(), None)] == [
        NOON - HOUR,
        NOON,
    ]


def test_an_hour_that_one_domain_lacks_is_due_again(tmp_path: Path) -> None:
    lake = _built(tmp_path, NOON - 2 * HOUR, NOON)
    for end in (NOON - 2 * HOUR, NOON - HOUR, NOON):
        lake.write(NGRAM_SPEED_SUMMARIES, Hour.ending_at(end), NGRAM_SPEED_SUMMARIES.empty())
    assert [hour.as_of for hour in due_hours(lake, Hour.ending_at(NOON), (), Settings.load(), None)] == [NOON - HOUR]


def test_in_an_empty_lake_the_hour_just_closed_is_due_alone(tmp_path: Path) -> None:
    assert list(due_hours(Lake(tmp_path), Hour.ending_at(NOON), (), Settings.load(), None)) == [Hour.ending_at(NOON)]


def _requests(settings: Settings, lake: Lake, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    defs = build_defs(settings)
    schedule = defs.get_repository_def().get_schedule_def("hourly_schedule")
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=NOON + timedelta(minutes=5),
        resources={"lake": lake},
        repository_def=defs.get_repository_def(),
    ) as context:
        return list(schedule.evaluate_tick(context).run_requests or [])


def test_the_schedule_asks_for_the_hour_just_closed(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (request,) = _requests(Settings.load(data=tmp_path), _built(tmp_path, NOON - HOUR), instance)
    assert (request.partition_key, request.run_key) == ("2025-03-12-11:00", "2025-03-12-11:00")


def test_after_downtime_the_schedule_asks_for_what_was_missed_in_ranges(tmp_path: Path) -> None:
    lake, settings = _built(tmp_path, NOON - 6 * HOUR), Settings.load(data=tmp_path, hours_per_run=4)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        first, second = _requests(settings, lake, instance)
        assert (first.tags[RUN_START], first.tags[RUN_END]) == (
            "2025-03-12-06:00",
            "2025-03-12-09:00",
        )
        assert (second.tags[RUN_START], second.tags[RUN_END]) == (
            "2025-03-12-10:00",
            "2025-03-12-11:00",
        )
        run_of = instance.create_run_for_job(build_defs(settings).resolve_job_def(HOURLY), tags=dict(first.tags))
        instance.report_run_canceling(run_of)
        instance.report_run_canceled(instance.get_run_by_id(run_of.run_id) or run_of)
        assert len(_requests(settings, lake, instance)) == 2
        waiting = instance.create_run_for_job(build_defs(settings).resolve_job_def(HOURLY), tags=dict(second.tags))
        assert waiting.status is dg.DagsterRunStatus.NOT_STARTED
        (again,) = _requests(settings, lake, instance)
        assert again.tags[RUN_END] == first.tags[RUN_END]


@pytest.mark.long
def test_rows_of_a_range_count_each_hour_once(built: Path) -> None:
    rows = Lake(built / "lake").scan(USER_GHOST_STATS).group_by("as_of").agg(pl.len()).collect()
    assert rows.height == 30
