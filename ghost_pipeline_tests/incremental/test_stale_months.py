"""What makes a built month stale: changed events and versions, other rules, a dictionary that is gone."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.cli.due import is_month_due
from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.months import (
    GHOST_BENCHMARKS,
    GHOST_FASTEST_IMPROVERS,
    GHOST_STREAK_SHARES,
    MONTHLY_FIGURES,
)
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.contracts.staleness import STALE_MONTHS
from ghost_pipeline.defs.benchmarks import BENCHMARK_ASSETS
from ghost_pipeline.domain.ghost.benchmarks import month_rules
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import RECORDED_DICTIONARY
from ghost_pipeline.domain.ghost.benchmarks.ghost_benchmarks import finish_benchmarks
from ghost_pipeline.domain.ghost.benchmarks.month_rules import MonthRules
from ghost_pipeline.domain.shared.versions import users_at
from ghost_pipeline.incremental.stale_ledger import drop_expired, mark_stale, stale_hours
from ghost_pipeline.incremental.stale_months import is_current, recorded_rules, stale_months
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import HOUR, Hour, Month
from ghost_pipeline_tests.crashes.scenarios import MONTHLY, SMALL, TAKING_IN
from ghost_pipeline_tests.crashes.world import LEARNERS, World, event, users
from ghost_pipeline_tests.running import lake_digest

FEBRUARY = Month.from_key("2025-02")
FIRST, SECOND = "2025-03-01-00:00", "2025-03-01-01:00"
EVENTS = [event(f"e{n}", n, f"2025-02-28T{20 + n % 4}:00:00Z") for n in range(LEARNERS)]
LATE = event("late", 1, "2025-02-27T08:00:00Z")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """February, built."""
    world = World(tmp_path)
    world.write(users=users(), cohorts=[], user_progress=EVENTS)
    world.run(FIRST, *TAKING_IN)
    build(world)
    return world


def build(world: World, **values: object) -> None:
    world.run_month("2025-02", *MONTHLY, **{**SMALL, **values})


def stale(world: World, **values: object) -> dict[str, str]:
    """The reason of each stale table of February."""
    context = world.resources(**{**SMALL, **values})
    found = stale_months(context.lake, context.settings)
    assert set(found["month"]) <= {"2025-02"}
    assert is_current(context.lake, context.settings, FEBRUARY) == found.is_empty()
    return dict(found.select("table", "reason").iter_rows())


def every(reason: str) -> dict[str, str]:
    return dict.fromkeys(sorted(MONTHLY), reason)


def test_the_monthly_tables_are_those_that_are_computed_from_users_and_events() -> None:
    assert tuple(asset.contract for asset in BENCHMARK_ASSETS) == MONTHLY_FIGURES
    assert {asset.upstream for asset in BENCHMARK_ASSETS} == {(USERS, USER_PROGRESS)}


def test_a_built_month_is_current(world: World) -> None:
    assert stale(world) == {}


def test_a_run_that_finds_nothing_new_leaves_it_current(world: World) -> None:
    world.run(SECOND, *TAKING_IN)
    assert stale(world) == {}


def test_a_month_that_lacks_a_table_is_not_current(world: World) -> None:
    context = world.resources(**SMALL)
    context.lake.remove(GHOST_STREAK_SHARES, FEBRUARY)
    assert not is_current(context.lake, context.settings, FEBRUARY)


@pytest.mark.parametrize(
    "events",
    [[*EVENTS, LATE], EVENTS[1:], [{**EVENTS[0], "time_spent_minutes": 30}, *EVENTS[1:]]],
    ids=["late", "removed", "changed"],
)
def test_events_before_the_end_of_a_month_make_it_stale(world: World, events: list[dict[str, object]]) -> None:
    world.write(user_progress=events)
    world.run(SECOND, *TAKING_IN, accept_deletions=True)
    assert stale(world) == every("inputs changed")


def test_an_event_of_the_month_after_does_not(world: World) -> None:
    world.write(user_progress=[*EVENTS, event("next", 1, "2025-03-01T00:00:00Z")])
    world.run(SECOND, *TAKING_IN)
    assert stale(world) == {}


SHOWN = {
    "final_band_score": 8.0,
    "final_band_at": "2025-02-20T00:00:00Z",
    "diagnostic_score": 6.2,
    "timezone": "Asia/Tokyo",
    "created_at": "2025-01-02T00:00:00Z",
}
NOT_SHOWN = {"target_band": 8.0, "cohort_id": "c2", "cohort_excluded": True}


@pytest.mark.parametrize("column", [*SHOWN, *NOT_SHOWN])
def test_a_version_makes_a_month_stale_if_months_show_what_it_changes(column: str, tmp_path: Path) -> None:
    world, before = World(tmp_path), {"updated_at": "2025-01-01T00:00:00Z"}
    world.write(users=users(u01=before), cohorts=[], user_progress=EVENTS)
    world.run(FIRST, *TAKING_IN)
    build(world)
    change = {"updated_at": "2025-02-10T00:00:00Z", column: {**SHOWN, **NOT_SHOWN}[column]}
    world.write(users=users(u01=change))
    world.run(SECOND, *TAKING_IN)
    assert stale(world) == (every("inputs changed") if column in SHOWN else {})


@pytest.mark.parametrize("since", ["2025-03-01T00:00:00Z", "2025-03-01T00:00:01Z"])
def test_a_version_counts_in_the_month_that_ends_with_it_and_not_before(since: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(users=users(u01={"updated_at": "2025-01-01T00:00:00Z"}), cohorts=[], user_progress=EVENTS)
    world.run(FIRST, *TAKING_IN)
    build(world)
    world.write(users=users(u01={"updated_at": since, "final_band_score": 8.0}))
    world.run(SECOND, *TAKING_IN)
    assert bool(stale(world)) == (since == "2025-03-01T00:00:00Z")


def test_months_read_no_column_that_counts_as_not_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lake_digest(world.data)

    def without(versions: pl.LazyFrame, as_of: object) -> pl.LazyFrame:
        return users_at(versions, as_of).drop(NOT_SHOWN)  # type: ignore[arg-type]

    monkeypatch.setattr("ghost_pipeline.defs.benchmarks.users_at", without)
    build(world)
    assert lake_digest(world.data) == before


def test_a_month_that_is_rebuilt_is_current_and_leaves_the_ledger(world: World) -> None:
    world.write(user_progress=[*EVENTS, LATE])
    world.run(SECOND, *TAKING_IN)
    build(world)
    assert stale(world) == {}
    assert world.resources().lake.scan(STALE_MONTHS).collect().is_empty()


def test_a_month_that_is_rebuilt_has_the_bytes_of_one_from_scratch(world: World, tmp_path: Path) -> None:
    world.write(user_progress=[*EVENTS, LATE])
    world.run(SECOND, *TAKING_IN)
    build(world)
    scratch = World(tmp_path / "scratch")
    scratch.write(users=users(), cohorts=[], user_progress=[*EVENTS, LATE])
    scratch.run(FIRST, *TAKING_IN)
    build(scratch)
    rebuilt, expected = world.state(), scratch.state()
    months = [name for name in expected if name.startswith("lake/ghost_")]
    assert len(months) == len(MONTHLY)
    assert [rebuilt[name] for name in months] == [expected[name] for name in months]


def changes_while_read(world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Build February; between the reading of its events and its writing, something happens once."""
    pending = [change]

    def after_reading(*arguments: object, **values: object) -> pl.LazyFrame:
        if pending:
            pending.pop()()
        return finish_benchmarks(*arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr("ghost_pipeline.defs.benchmark_month.finish_benchmarks", after_reading)
    build(world)


def test_a_month_whose_events_change_while_it_is_built_stays_stale(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(user_progress=[*EVENTS, LATE])
    changes_while_read(world, monkeypatch, lambda: world.run(SECOND, *TAKING_IN))
    assert stale(world) == {GHOST_BENCHMARKS.name: "inputs changed"}
    build(world)
    assert stale(world) == {}


def test_a_month_that_is_built_for_the_first_time_while_its_events_change_is_stale(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.resources().lake.remove(GHOST_BENCHMARKS, FEBRUARY)
    world.write(user_progress=[*EVENTS, LATE])
    changes_while_read(world, monkeypatch, lambda: world.run(SECOND, *TAKING_IN))
    assert stale(world)[GHOST_BENCHMARKS.name] == "inputs changed"


def test_a_month_reads_what_a_writer_writes_that_has_marked_it_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = world.resources().lake
    before = lake.scan(GHOST_STREAK_SHARES, [FEBRUARY]).collect()
    practised = [
        event(f"streak{n}-{day}", n, f"2025-02-{day}T08:00:00Z") for n in range(LEARNERS) for day in (10, 11, 12)
    ]
    world.write(user_progress=[*EVENTS, *practised])
    mark_stale(lake, MONTHLY_FIGURES, FEBRUARY.start, FEBRUARY.as_of)
    monkeypatch.setattr("ghost_pipeline.ingest.event_hours.mark_stale", lambda *_: 0)
    pending = [lambda: world.run(SECOND, *TAKING_IN)]

    @contextmanager
    def until_the_writer_is_done(_: Lake) -> Iterator[None]:
        if pending:
            pending.pop()()
        yield

    monkeypatch.setattr("ghost_pipeline.defs.benchmarks.activity_lock", until_the_writer_is_done)
    build(world)
    assert not lake.scan(GHOST_STREAK_SHARES, [FEBRUARY]).collect().equals(before)
    assert stale(world) == {}


def test_a_build_that_fails_leaves_a_stale_month_stale(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write(user_progress=[*EVENTS, LATE])
    world.run(SECOND, *TAKING_IN)

    def fails() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        changes_while_read(world, monkeypatch, fails)
    assert stale(world) == every("inputs changed")


OTHER_RULES = {
    "bands": (Decimal("7.0"),),
    "starting_skills": (Decimal("6.5"),),
    "benchmark_days": 4,
    "success_percentiles": (20,),
    "min_sample": 2,
    "streak_thresholds": (2,),
    "share_percent_step": 5,
    "release_min_members": 5,
    "release_min_changed": 2,
    "release_max_share_percent": 80,
}


def test_every_rule_is_tried() -> None:
    assert {one.name for one in fields(MonthRules)} == set(OTHER_RULES)


@pytest.mark.parametrize("name", OTHER_RULES)
def test_another_setting_makes_built_months_stale(name: str, world: World) -> None:
    assert stale(world, **{name: OTHER_RULES[name]}) == every("settings or code changed")


def test_the_number_of_shards_does_not(world: World) -> None:
    assert stale(world, shards=7) == {}


def test_a_new_version_of_the_code_makes_built_months_stale(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(month_rules, "MONTHS_VERSION", month_rules.MONTHS_VERSION + 1)
    assert stale(world) == every("settings or code changed")


def forget_rules(lake: Lake) -> None:
    """Rewrite February as an earlier release wrote it."""
    for table in MONTHLY_FIGURES:
        lake.write(table, FEBRUARY, lake.scan(table, [FEBRUARY]).collect())


def test_the_newest_month_of_an_older_lake_that_records_no_rules_is_stale(world: World) -> None:
    forget_rules(world.resources().lake)
    assert stale(world) == every("built by an earlier release")
    build(world)
    assert stale(world) == {}


def test_an_older_month_that_records_no_rules_is_current(world: World) -> None:
    lake = world.resources().lake
    forget_rules(lake)
    lake.write(USER_PROGRESS, Hour.from_key("2025-03-31-22:00"), USER_PROGRESS.empty())
    assert stale(world) == every("built by an earlier release")
    lake.write(USER_PROGRESS, Hour.from_key("2025-03-31-23:00"), USER_PROGRESS.empty())
    # As long as there is no newer one, ghost_benchmarks.json shows this month, whose form nothing records.
    assert stale(world) == {GHOST_BENCHMARKS.name: "built by an earlier release"}
    recorded = {**recorded_rules(world.resources(**SMALL).settings), RECORDED_DICTIONARY: "{}"}
    lake.write(GHOST_BENCHMARKS, Month.from_key("2025-03"), GHOST_BENCHMARKS.empty(), metadata=recorded)
    assert stale(world) == {}


def test_a_stale_month_is_due_once_it_serves_and_a_missing_one_at_once(world: World) -> None:
    context = world.resources(**SMALL)
    serves = FEBRUARY.as_of + timedelta(hours=24)
    assert not is_month_due(context.settings, context.lake, FEBRUARY, serves)
    mark_stale(context.lake, [GHOST_STREAK_SHARES], FEBRUARY.start, FEBRUARY.as_of)
    due = [is_month_due(context.settings, context.lake, FEBRUARY, at) for at in (serves - HOUR, serves)]
    assert due == [False, True]
    context.lake.remove(GHOST_BENCHMARKS, FEBRUARY)
    assert is_month_due(context.settings, context.lake, FEBRUARY, FEBRUARY.as_of)


def test_a_newest_month_that_does_not_record_its_dictionary_is_stale(world: World) -> None:
    context = world.resources(**SMALL)
    rows = context.lake.scan(GHOST_BENCHMARKS, [FEBRUARY]).collect()
    context.lake.write(GHOST_BENCHMARKS, FEBRUARY, rows, metadata=recorded_rules(context.settings))
    assert stale(world) == {GHOST_BENCHMARKS.name: "built by an earlier release"}
    build(world)
    assert stale(world) == {}


def messages_in(lake: Lake, *keys: str) -> None:
    for key in keys:
        lake.write(GHOST_MESSAGES, Hour.from_key(key), GHOST_MESSAGES.empty())


def test_messages_that_showed_other_figures_of_the_month_are_stale(world: World) -> None:
    lake = world.resources().lake
    messages_in(lake, "2025-03-01-22:00", "2025-03-01-23:00", "2025-03-02-00:00")
    build(world, min_sample=2)
    build(world, min_sample=LEARNERS + 1)
    assert [start.hour for start in stale_hours(lake)["hour"]] == [23, 0]


def test_messages_that_showed_an_older_month_are_stale_once_the_month_is_built(world: World) -> None:
    lake = world.resources().lake
    for table in MONTHLY_FIGURES:
        lake.remove(table, FEBRUARY)
    messages_in(lake, "2025-03-01-22:00", "2025-03-01-23:00", "2025-03-02-00:00")
    build(world)
    assert [start.hour for start in stale_hours(lake)["hour"]] == [23, 0]


def test_messages_that_show_a_newer_month_stay_current(world: World) -> None:
    lake = world.resources().lake
    for table in MONTHLY_FIGURES:
        lake.remove(table, FEBRUARY)
        lake.write(table, FEBRUARY.next(), table.empty())
    messages_in(lake, "2025-04-01-22:00", "2025-04-01-23:00")
    build(world)
    assert [start.hour for start in stale_hours(lake)["hour"]] == [22]


def test_messages_stay_current_if_the_month_shows_the_same(world: World) -> None:
    lake = world.resources().lake
    messages_in(lake, "2025-03-02-00:00")
    build(world, streak_thresholds=(3, 5, 7, 14, 30))
    assert stale_hours(lake).is_empty()


def test_an_expired_month_is_no_longer_stale(world: World) -> None:
    lake = world.resources().lake
    mark_stale(lake, MONTHLY_FIGURES, FEBRUARY.start, FEBRUARY.as_of)
    drop_expired(lake, GHOST_FASTEST_IMPROVERS, FEBRUARY.as_of)
    assert set(lake.scan(STALE_MONTHS).collect()["table"]) == {GHOST_BENCHMARKS.name, GHOST_STREAK_SHARES.name}
    drop_expired(lake, GHOST_BENCHMARKS, Hour.from_key("2025-02-28-22:00").as_of)
    assert lake.scan(STALE_MONTHS).collect().height == len(MONTHLY) - 1


FIGURES_BY_VERSION = {
    1: "a6d450594d3400fc600b748f8a0747bf1ba6fb0d8151a6cb697c65e93dbdc9ed",
    2: "f5816155047dc266fd00b5e071baec46bb26168e33ca4c43685a9d3573f49446",
    3: "f5816155047dc266fd00b5e071baec46bb26168e33ca4c43685a9d3573f49446",
}
"""For each version of the code the hash of the demo world's figures of February."""


def test_other_figures_have_another_version(demo_run: Path) -> None:
    lake = Lake(demo_run / "lake")
    tables = [lake.scan(table, [FEBRUARY]).collect().write_csv() for table in MONTHLY_FIGURES]
    dictionary = (demo_run / "ghost_benchmarks.json").read_text(encoding="utf-8")
    found = hashlib.sha256("\n".join([*tables, dictionary]).encode()).hexdigest()
    assert {month_rules.MONTHS_VERSION: found}.items() <= FIGURES_BY_VERSION.items(), (
        "a figure of a month has changed: raise MONTHS_VERSION, so that built months become stale, and add the hash"
    )
