"""Which states are incidents, and of which people learn first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.monitoring.incidents import Incident, Kind, incidents, published_or_late
from ghost_pipeline.monitoring.status import STATUS_SCHEMA, FailedCheck, FinishedRun, Releases, Status
from ghost_pipeline.windows import HOUR

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)


def table(name: str, newest: str, as_of: datetime, now: datetime) -> tuple[object, ...]:
    limit = CONTRACTS[name].max_age
    return name, newest, as_of, (now - as_of) // HOUR, limit // HOUR, now - as_of > limit, 1


def healthy(now: datetime = NOON) -> Status:
    rows = [
        table(COHORT_GHOST_DATA.name, "2025-03-12-11:00", NOON, now),
        table(USER_PROGRESS.name, "2025-03-12-11:00", NOON, now),
        table(GHOST_BENCHMARKS.name, "2025-02", datetime(2025, 3, 1, tzinfo=UTC), now),
    ]
    return Status(
        tables=pl.DataFrame(rows, schema=STATUS_SCHEMA, orient="row"),
        rejected_rows=12,
        stale_hours=0,
        stale_months=0,
        runs=(),
        failed_checks=(),
        releases=Releases(NOON, released=9, suppressed=1, with_release=10, too_old=1, newest=NOON),
        publication=None,
        differences=(),
    )


def run(job: str, partition: str, *, succeeded: bool, hours_ago: int = 0) -> FinishedRun:
    error = "" if succeeded else "source s3://bucket: cannot be reached"
    return FinishedRun(f"run-{hours_ago}", job, partition, NOON - timedelta(hours=hours_ago), succeeded, error)


def found(status: Status, now: datetime = NOON, before: int | None = None) -> list[Incident]:
    return incidents(status, now, before, rejected_limit=100)


def test_a_healthy_pipeline_has_none() -> None:
    assert found(healthy()) == []


def test_a_late_table_names_its_age_why_and_the_command_that_fills_the_gap() -> None:
    now = NOON + timedelta(hours=5, minutes=10)
    failed = run("hourly", "2025-03-12-12:00", succeeded=False)
    (late, _) = published_or_late(replace(healthy(now), runs=(failed,)), now)
    assert late == Incident(
        Kind.TABLE_LATE,
        "cohort_ghost_data",
        "cohort_ghost_data is late: its newest partition 2025-03-12-11:00 is 5 h old, and may be 2 h",
        NOON + timedelta(hours=2),
        "source s3://bucket: cannot be reached",
        "ghost-pipeline backfill --from 2025-03-12T12:00Z --to 2025-03-12T17:00Z",
    )


def test_a_month_is_missing_two_days_after_its_end_if_its_hours_have_been_read() -> None:
    now = datetime(2025, 4, 3, 0, 30, tzinfo=UTC)
    read = replace(
        healthy(now),
        tables=pl.DataFrame(
            [
                table(USER_PROGRESS.name, "2025-04-02-23:00", datetime(2025, 4, 3, tzinfo=UTC), now),
                table(GHOST_BENCHMARKS.name, "2025-02", datetime(2025, 3, 1, tzinfo=UTC), now),
            ],
            schema=STATUS_SCHEMA,
            orient="row",
        ),
    )
    (missing,) = found(read, now)
    assert (missing.kind, missing.key, missing.since) == (
        Kind.MONTH_MISSING,
        "2025-03",
        datetime(2025, 4, 3, tzinfo=UTC),
    )
    assert missing.command == "ghost-pipeline materialize --as-of 2025-04-03T00:00Z"
    assert found(read, now - timedelta(hours=1)) == []


def test_a_month_whose_hours_are_missing_is_told_by_the_late_hours_alone() -> None:
    now = datetime(2025, 4, 3, 12, tzinfo=UTC)
    assert {one.kind for one in found(healthy(now), now)} == {Kind.TABLE_LATE}


def test_failures_in_a_row_are_one_incident_from_the_first_on() -> None:
    hourly = [run("hourly", f"2025-03-12-{11 - hour:02}:00", succeeded=hour == 3, hours_ago=hour) for hour in range(5)]
    (failed,) = found(replace(healthy(), runs=tuple(hourly)))
    assert (failed.key, failed.since) == ("hourly", NOON - timedelta(hours=2))
    assert failed.what == "the run of hourly of 2025-03-12-11:00 failed, and 2 before it (run-0)"
    assert (failed.error, failed.command) == (
        "source s3://bucket: cannot be reached",
        "ghost-pipeline materialize --as-of 2025-03-12T12:00Z",
    )


@pytest.mark.parametrize("job", ["hourly", "monthly"])
def test_a_job_that_succeeded_since_has_no_incident(job: str) -> None:
    runs = (run(job, "2025-02", succeeded=True), run(job, "2025-01", succeeded=False, hours_ago=1))
    assert found(replace(healthy(), runs=runs)) == []


def test_a_failed_run_is_over_once_another_job_has_built_its_partition() -> None:
    by_hand = run("__ASSET_JOB", "2025-03-12-11:00", succeeded=False, hours_ago=1)
    assert found(replace(healthy(), runs=(run("hourly", "2025-03-12-11:00", succeeded=True), by_hand))) == []
    assert len(found(replace(healthy(), runs=(run("hourly", "2025-03-12-10:00", succeeded=True), by_hand)))) == 1


def test_the_command_for_a_month_builds_that_month() -> None:
    (failed,) = found(replace(healthy(), runs=(run("monthly", "2025-02", succeeded=False),)))
    assert failed.command == "ghost-pipeline backfill --from 2025-03-01T00:00Z --to 2025-03-01T01:00Z"


def test_a_failed_check_tells_what_it_found() -> None:
    check = FailedCheck("user_progress", "volume", "2025-03-12-11:00", NOON, "1,055 rows, expected 2,431.5")
    (failed,) = found(replace(healthy(), failed_checks=(check,)))
    assert (failed.key, failed.error) == ("user_progress.volume", "1,055 rows, expected 2,431.5")


@pytest.mark.parametrize(("before", "told"), [(None, False), (12, False), (-87, False), (-88, True)])
def test_rejected_rows_jump_by_at_least_the_limit(before: int | None, told: bool) -> None:  # noqa: FBT001 - a figure
    assert bool(found(healthy(), before=before)) is told


@pytest.mark.parametrize(("too_old", "told"), [(5, False), (6, True)])
def test_releases_are_too_old_if_most_of_those_there_are(too_old: int, told: bool) -> None:  # noqa: FBT001 - a figure
    ledger = Releases(NOON, released=4, suppressed=6, with_release=10, too_old=too_old, newest=NOON - HOUR)
    assert bool(found(replace(healthy(), releases=ledger))) is told


def test_a_publication_that_is_not_whole_fails_the_exit_code() -> None:
    (broken,) = published_or_late(replace(healthy(), differences=("ghost.duckdb: is damaged",)), NOON)
    assert (broken.kind, broken.error, broken.command) == (
        Kind.UNREADABLE,
        "ghost.duckdb: is damaged",
        "ghost-pipeline publish",
    )


def test_runs_checks_and_rejections_do_not_fail_the_exit_code() -> None:
    check = FailedCheck("user_progress", "volume", "", NOON, "")
    failed = replace(healthy(), runs=(run("hourly", "", succeeded=False),), failed_checks=(check,))
    assert published_or_late(failed, NOON) == []
