"""The export of messages as the step writes it, over the demo world."""

import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.defs import messages
from ghost_pipeline.defs.benchmarks import BENCHMARK_ASSETS
from ghost_pipeline.defs.ghost import GHOST_ASSETS
from ghost_pipeline.defs.messages import materialize_ghost_messages
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.release import RELEASE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.errors import ContractError
from ghost_pipeline.incremental.stale_ledger import mark_stale, stale_hours
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.computing import compute_one, shown_rows
from ghost_pipeline_tests.running import DEMO_WORLD

HOUR = Hour.from_key("2025-03-12-11:00")
FEBRUARY = Month.from_key("2025-02")


@pytest.fixture(scope="module")
def demo_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of the demo world at the end of the hour, with the benchmarks of February."""
    settings = Settings.load(source=str(DEMO_WORLD), data=tmp_path_factory.mktemp("data"))
    resources = RunContext.of(settings)
    taken_in = [asset for asset in RAW_ASSETS if asset.contract.name in {"users", "cohorts", "user_progress"}]
    for asset in (*taken_in, *GHOST_ASSETS, *RELEASE_ASSETS):
        compute_one(asset.compute, resources, HOUR)
    for asset in BENCHMARK_ASSETS:
        compute_one(asset.compute, resources, FEBRUARY)
    return settings.local / "lake"


@pytest.fixture
def resources(demo_world: Path, tmp_path: Path) -> RunContext:
    """A copy of what the export reads."""
    settings = Settings.load(data=tmp_path)
    shutil.copytree(demo_world, settings.local / "lake", ignore=shutil.ignore_patterns("user_progress"))
    return RunContext.of(settings)


def rows(resources: RunContext, **where: str) -> pl.DataFrame:
    found = resources.lake.scan(GHOST_MESSAGES, [HOUR]).collect()
    return found.filter(**where) if where else found


def file(resources: RunContext) -> bytes:
    return resources.lake.path(GHOST_MESSAGES, HOUR).read_bytes()


def test_messages_that_are_kept_longer_than_figures_stay_as_they_were(resources: RunContext) -> None:
    lake = resources.lake
    compute_one(materialize_ghost_messages, resources, HOUR)
    before = file(resources)
    lake.write(USER_GHOST_STATS, HOUR.next(), USER_GHOST_STATS.empty())
    lake.remove(USER_GHOST_STATS, HOUR)
    mark_stale(lake, [GHOST_MESSAGES], HOUR.start, HOUR.as_of)
    assert "not_written" in compute_one(materialize_ghost_messages, resources, HOUR).metadata
    assert file(resources) == before
    assert stale_hours(lake).height == 0


def test_the_messages_of_the_user_of_the_example(resources: RunContext) -> None:
    compute_one(materialize_ghost_messages, resources, HOUR)
    assert rows(resources, user_id="me", context="weekly_report")["text"].to_list() == [
        "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8.",
        "Your cohort is averaging 12 tasks. You're at 8. Catch up?",
        "Top 10% of your cohort completed 22 tasks. You're at 8.",
    ]


def test_every_user_who_is_there_has_a_place_in_the_order(resources: RunContext) -> None:
    outcome = compute_one(materialize_ghost_messages, resources, HOUR)
    written = rows(resources)
    assert outcome.rows == written.height > 0
    assert written["user_id"].is_sorted()
    assert GHOST_MESSAGES.faults(written) == []
    users = resources.lake.scan(USER_GHOST_STATS, [HOUR]).collect()
    assert set(written["user_id"]) <= set(users["user_id"])


def test_shares_are_those_of_the_messages_that_state_a_position(resources: RunContext) -> None:
    outcome = compute_one(materialize_ghost_messages, resources, HOUR)
    stated = rows(resources)["position"].drop_nulls().to_list()
    assert {name: found for name, found in outcome.metadata.items() if name.endswith("_percent")} == {
        f"{position}_percent": round(100 * stated.count(position) / len(stated), 1)
        for position in ("behind", "close", "ahead")
    }


def test_some_users_at_a_time_give_the_rows_of_all_at_once(
    resources: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_one(materialize_ghost_messages, resources, HOUR)
    once = rows(resources)
    monkeypatch.setattr(messages, "USERS_AT_ONCE", 7)
    compute_one(materialize_ghost_messages, resources, HOUR)
    assert rows(resources).equals(once)


def test_a_second_run_gives_the_same_bytes(resources: RunContext) -> None:
    compute_one(materialize_ghost_messages, resources, HOUR)
    once = file(resources)
    compute_one(materialize_ghost_messages, resources, HOUR)
    assert file(resources) == once


def test_switched_off_nothing_is_written_and_it_says_so(resources: RunContext) -> None:
    settings = resources.settings.model_copy(update={"export_messages": False})
    outcome = compute_one(materialize_ghost_messages, RunContext.of(settings, resources.lake), HOUR)
    assert not resources.lake.exists(GHOST_MESSAGES, HOUR)
    assert outcome == TableResult(
        rows=0, metadata={"export": "switched off by GHOST_EXPORT_MESSAGES; nothing was written"}
    )


def test_releases_of_later_hours_do_not_reach_an_older_one(resources: RunContext) -> None:
    ledger = resources.lake.scan(COHORT_GHOST_RELEASE, [HOUR]).collect()
    resources.lake.remove(COHORT_GHOST_RELEASE, HOUR)
    later = HOUR.next()
    resources.lake.write(
        COHORT_GHOST_RELEASE,
        later,
        ledger.with_columns(pl.lit(later.hour, pl.Int32).alias("snapshot_hour"), pl.lit(later.as_of).alias("as_of")),
    )
    compute_one(materialize_ghost_messages, resources, HOUR)
    assert rows(resources, type="cohort_comparison").height == 0


def test_an_hour_without_an_entry_shows_what_the_ledger_said_before(resources: RunContext) -> None:
    compute_one(materialize_ghost_messages, resources, HOUR)
    as_it_was = rows(resources, type="cohort_comparison")
    earlier = Hour(HOUR.start - timedelta(hours=3))
    ledger = resources.lake.scan(COHORT_GHOST_RELEASE, [HOUR]).collect()
    resources.lake.remove(COHORT_GHOST_RELEASE, HOUR)
    clock = {"snapshot_hour": pl.lit(earlier.hour, pl.Int32), "as_of": pl.lit(earlier.as_of)}
    released = pl.when("released").then(pl.lit(earlier.as_of))
    resources.lake.write(COHORT_GHOST_RELEASE, earlier, ledger.with_columns(**clock, released_as_of=released))
    compute_one(materialize_ghost_messages, resources, HOUR)
    shown = rows(resources, type="cohort_comparison")
    assert shown["text"].to_list() == as_it_was["text"].to_list() != []
    assert set(shown["figure_as_of"]) == {earlier.as_of}


def test_without_a_month_there_are_messages_about_the_cohort_alone(resources: RunContext) -> None:
    resources.lake.remove(GHOST_BENCHMARKS, FEBRUARY)
    compute_one(materialize_ghost_messages, resources, HOUR)
    assert rows(resources, user_id="me", context="daily_dashboard")["type"].to_list() == ["cohort_comparison"]


def test_a_month_in_which_no_cell_had_enough_achievers_serves_with_nothing(resources: RunContext) -> None:
    lake, january = resources.lake, Month.from_key("2025-01")
    february = lake.scan(GHOST_BENCHMARKS, [FEBRUARY]).collect()
    clock = dict.fromkeys(("as_of", "created_at", "updated_at"), pl.lit(january.as_of))
    lake.write(GHOST_BENCHMARKS, january, february.with_columns(month=pl.lit(january.key), **clock))
    lake.write(GHOST_BENCHMARKS, FEBRUARY, GHOST_BENCHMARKS.empty())
    compute_one(materialize_ghost_messages, resources, HOUR)
    assert rows(resources, type="success_benchmark").height == 0


def test_metadata_count_what_is_shown_and_name_nobody(resources: RunContext) -> None:
    outcome = compute_one(materialize_ghost_messages, resources, HOUR)
    assert ("daily_dashboard", "success_benchmark") in [row[:2] for row in shown_rows(outcome.metadata["shown"])]
    assert outcome.sample is None


def test_what_breaks_the_contract_leaves_the_partition_as_it_was(
    resources: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_one(materialize_ghost_messages, resources, HOUR)
    once = file(resources)
    monkeypatch.setattr(messages, "coded_messages", lambda _: rows(resources).with_columns(figure=pl.lit(0.0)))
    with pytest.raises(ContractError, match="ghost_messages, partition 2025-03-12-11:00: column figure"):
        compute_one(materialize_ghost_messages, resources, HOUR)
    assert file(resources) == once
