"""When the monthly schedule asks for a month: once its last events are in, and again where it is not there."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.definitions import build_defs
from ghost_pipeline.defs.benchmarks import BENCHMARK_ASSETS
from ghost_pipeline.defs.jobs import MONTHLY
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import RECORDED_DICTIONARY
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.incremental.stale_months import recorded_rules
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month

FEBRUARY = Month.from_key("2025-02")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake that has been taken in up to the end of February, with no month but January."""
    lake = Lake(tmp_path / "lake")
    lake.write(USER_PROGRESS, Hour.from_key("2025-02-28-23:00"), USER_PROGRESS.empty())
    build(lake, FEBRUARY.previous())
    return lake


def build(lake: Lake, month: Month) -> None:
    recorded = {**recorded_rules(Settings.load()), RECORDED_DICTIONARY: "{}"}
    for step in BENCHMARK_ASSETS:
        lake.write(step.contract, month, step.contract.empty(), metadata=recorded)


def records(folder: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(folder))


def asked(lake: Lake, day: int, instance: dg.DagsterInstance) -> list[str | None]:
    """The months that are asked for at 00:30 of a day of March."""
    defs = build_defs(Settings.load(data=lake.root.parent)).get_repository_def()
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2025, 3, day, 0, 30, tzinfo=UTC),
        resources={"lake": lake},
        repository_def=defs,
    ) as context:
        requests = defs.get_schedule_def("monthly_schedule").evaluate_tick(context).run_requests or []
    return [request.partition_key for request in requests]


def test_a_month_is_asked_for_on_the_second_and_not_before(lake: Lake, tmp_path: Path) -> None:
    with records(tmp_path) as instance:
        assert asked(lake, 1, instance) == []
        assert asked(lake, 2, instance) == ["2025-02"]
        build(lake, FEBRUARY)
        assert asked(lake, 3, instance) == []


def test_a_month_whose_inputs_have_changed_is_asked_for_again(lake: Lake, tmp_path: Path) -> None:
    build(lake, FEBRUARY)
    mark_stale(lake, [GHOST_BENCHMARKS], FEBRUARY.start, FEBRUARY.as_of)
    with records(tmp_path) as instance:
        assert asked(lake, 3, instance) == ["2025-02"]


def test_a_month_of_which_a_table_is_missing_is_asked_for_again(lake: Lake, tmp_path: Path) -> None:
    lake.write(GHOST_BENCHMARKS, FEBRUARY, GHOST_BENCHMARKS.empty())
    with records(tmp_path) as instance:
        assert asked(lake, 17, instance) == ["2025-02"]


def test_a_month_that_is_being_built_is_not_asked_for_twice(lake: Lake, tmp_path: Path) -> None:
    job = build_defs(Settings.load()).resolve_job_def(MONTHLY)
    with records(tmp_path) as instance:
        instance.create_run_for_job(job, tags={"dagster/partition": "2025-02"}, status=dg.DagsterRunStatus.STARTED)
        assert asked(lake, 3, instance) == []


@pytest.mark.parametrize("taken_in", [None, "2025-02-28-22:00"], ids=["never", "an hour too few"])
def test_nothing_is_asked_for_where_the_month_has_not_been_taken_in(tmp_path: Path, taken_in: str | None) -> None:
    lake = Lake(tmp_path / "lake")
    # Of a source of n-grams alone there are cohorts' hours all the same, without a row.
    lake.write(COHORT_GHOST_DATA, Hour.from_key("2025-02-28-23:00"), COHORT_GHOST_DATA.empty())
    if taken_in:
        lake.write(USER_PROGRESS, Hour.from_key(taken_in), USER_PROGRESS.empty())
    with records(tmp_path) as instance:
        assert asked(lake, 2, instance) == []
