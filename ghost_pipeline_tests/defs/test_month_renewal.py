"""Months as they are built, built again and published: what stays, what is renewed, what is kept (G9.7)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ghost_pipeline.contracts.kept_months import (
    BENCHMARK_ACHIEVERS,
    BENCHMARK_DIARIES,
    FASTEST_IMPROVER_ACHIEVERS,
    KEPT_MONTHS,
    STREAK_SHARE_ACHIEVERS,
)
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.errors import LakeError
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.conformance.world import World
from ghost_pipeline_tests.running import lake_digest

JANUARY, FEBRUARY, MARCH = "2025-01", "2025-02", "2025-03"
KNOWN = {JANUARY: "2025-01-15T08:00:00Z", FEBRUARY: "2025-02-15T08:00:00Z", MARCH: "2025-03-15T08:00:00Z"}
SMALL = {
    "min_sample": 8,
    "benchmark_days": 2,
    "bands": (Decimal("7.5"),),
    "starting_skills": (Decimal("6.0"),),
    "streak_thresholds": (1,),
}
PEOPLE = 8
FIGURES = (GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no benchmarks."""
    monkeypatch.setattr("ghost_pipeline.pictures.benchmark_curves.benchmark_curves", lambda *_: b"")


def achievers(first: int, count: int, month: str) -> dict[str, Any]:
    """People numbered from `first` on whose result was known in a month, created on the first of September."""
    columns = ["user_id", "diagnostic_score", "final_band_score", "final_band_at", "created_at"]
    rows = [[f"person-{n:02}", 6.0, 7.5, KNOWN[month], "2024-09-01T08:00:00Z"] for n in range(first, first + count)]
    return {"columns": columns, "rows": rows}


def tasks(first: int, count: int, minutes: int, day: int = 1) -> dict[str, Any]:
    """One task of each of some people on a day in September."""
    columns = ["progress_id", "user_id", "task_type", "completed_at", "time_spent_minutes"]
    rows = [
        [f"{day}-{n}-{minutes}", f"person-{n:02}", "reading", f"2024-09-{day:02}T09:00:00Z", minutes]
        for n in range(first, first + count)
    ]
    return {"columns": columns, "rows": rows}


def world_of(folder: Path, **settings: object) -> World:
    """Eight people of January with 10 minutes each."""
    folder.mkdir(exist_ok=True)
    tables = {"users": achievers(0, PEOPLE, JANUARY), "user_progress": tasks(0, PEOPLE, 10)}
    return World(folder, {"area": "ghost", "settings": {**SMALL, **settings}, "tables": tables}, "parquet")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_of(tmp_path / "world")


def enter(world: World, first: int, count: int, month: str, minutes: int = 10) -> None:
    world.change("add", {"users": achievers(first, count, month), "user_progress": tasks(first, count, minutes)})


def shown(world: World, month: str) -> tuple[int, str, int]:
    """Size, origin and median minutes of the second day of a month."""
    rows = world.lake.scan(GHOST_BENCHMARKS, [Month.from_key(month)]).filter(
        population="interval", day_number=2, success_percentile=50
    )
    (row,) = rows.select("sample_size", "renewed", "avg_practice_minutes").collect().rows()
    return row


def take_in(world: World, hour: str) -> None:
    world.run_hour(Hour.from_key(hour))


def months_of(world: World) -> dict[str, pl.DataFrame]:
    return {one.name: world.lake.scan(one).collect() for one in (*FIGURES, *KEPT_MONTHS)}


def test_a_month_that_is_built_twice_has_the_same_bytes(world: World) -> None:
    enter(world, 10, 1, FEBRUARY)
    world.run(JANUARY)
    world.run(FEBRUARY)
    once = lake_digest(world.settings.local)
    world.run(FEBRUARY)
    world.run(JANUARY)
    assert lake_digest(world.settings.local) == once
    assert shown(world, FEBRUARY) == (8, JANUARY, 10)


def test_any_number_of_parts_gives_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for shards in (1, 16):
        world = world_of(tmp_path / str(shards), shards=shards)
        for month, first, count in ((FEBRUARY, 10, 1), (MARCH, 20, 4)):
            enter(world, first, count, month, minutes=first)
        for month in (JANUARY, FEBRUARY, MARCH):
            world.run(month)
        found.append(months_of(world))
        assert [shown(world, one)[1] for one in (FEBRUARY, MARCH)] == [JANUARY, MARCH]
    for name, rows in found[0].items():
        assert rows.equals(found[1][name]), name


def test_a_month_that_is_built_again_is_compared_with_what_it_showed(world: World) -> None:
    world.run(JANUARY)
    take_in(world, "2025-02-01-00:00")
    world.change("add", {"user_progress": tasks(0, 3, 20, day=2)})
    take_in(world, "2025-02-01-01:00")
    world.run(JANUARY)
    assert shown(world, JANUARY) == (8, JANUARY, 10)
    world.change("add", {"user_progress": tasks(3, 3, 20, day=2)})
    take_in(world, "2025-02-01-02:00")
    world.run(JANUARY)
    assert shown(world, JANUARY) == (8, JANUARY, 30)


def test_a_month_that_is_built_after_the_next_one_tells_no_more_beside_it(world: World) -> None:
    enter(world, 10, 4, FEBRUARY)
    enter(world, 20, 1, MARCH)
    world.run(JANUARY)
    world.run(MARCH)
    world.run(FEBRUARY)
    assert [shown(world, month)[:2] for month in (JANUARY, FEBRUARY, MARCH)] == [
        (8, JANUARY),
        (8, JANUARY),
        (13, MARCH),
    ]


def test_the_first_month_has_no_row_that_tells_too_much_beside_the_next_one(world: World) -> None:
    enter(world, 10, 1, FEBRUARY)
    world.run(FEBRUARY)
    world.run(JANUARY)
    assert world.lake.rows(GHOST_BENCHMARKS, Month.from_key(JANUARY)) == 0
    assert shown(world, FEBRUARY) == (9, FEBRUARY, 10)


def test_a_row_with_too_few_people_is_gone_and_comes_back_as_it_was(world: World) -> None:
    world.run(JANUARY)
    world.change("remove", {"users": ["person-00"]})
    world.run(FEBRUARY)
    assert world.lake.rows(GHOST_BENCHMARKS, Month.from_key(FEBRUARY)) == 0
    enter(world, 10, 1, MARCH, minutes=99)
    world.run(MARCH)
    assert shown(world, MARCH) == (8, JANUARY, 10)


def test_an_erased_person_stays_a_nameless_contribution(world: World) -> None:
    enter(world, 10, 2, JANUARY)
    world.run(JANUARY)
    world.change("remove", {"users": ["person-00"]})
    kept = months_of(world)
    assert kept[BENCHMARK_ACHIEVERS.name].height == 10
    for contract in (BENCHMARK_ACHIEVERS, STREAK_SHARE_ACHIEVERS, FASTEST_IMPROVER_ACHIEVERS):
        assert "person-00" not in kept[contract.name]["user_id"], contract.name
        assert kept[contract.name].height >= PEOPLE
    world.run(FEBRUARY)
    assert shown(world, FEBRUARY) == (10, JANUARY, 10)
    world.change("remove", {"users": ["person-01"]})
    enter(world, 20, 4, MARCH, minutes=10)
    world.run(MARCH)
    assert shown(world, MARCH) == (12, MARCH, 10)


def test_rebuilding_everything_shows_what_was_shown(world: World) -> None:
    enter(world, 10, 2, FEBRUARY, minutes=30)
    world.run(JANUARY)
    world.run(FEBRUARY)
    before = months_of(world)
    for contract in FIGURES:
        world.lake.remove_all(contract)
    for month in (FEBRUARY, JANUARY):
        world.run(month)
    after = months_of(world)
    assert all(after[name].equals(rows) for name, rows in before.items())


def test_a_build_that_is_killed_before_its_figures_are_written_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    enter(world, 10, 4, FEBRUARY, minutes=30)
    world.run(JANUARY)
    with monkeypatch.context() as patched:
        patched.setattr("ghost_pipeline.defs.benchmarks._write", killed)
        with pytest.raises(KeyboardInterrupt):
            world.run(FEBRUARY)
    assert world.lake.exists(BENCHMARK_ACHIEVERS, Month.from_key(FEBRUARY))
    assert not world.lake.exists(GHOST_BENCHMARKS, Month.from_key(FEBRUARY))
    world.run(FEBRUARY)
    assert shown(world, FEBRUARY) == (12, FEBRUARY, 10)


def test_a_percentile_that_is_added_is_that_of_the_people_who_are_shown(tmp_path: Path) -> None:
    world = world_of(tmp_path / "world")
    enter(world, 10, 1, FEBRUARY, minutes=500)
    world.run(JANUARY)
    world.settings = world.settings.model_copy(update={"success_percentiles": (1, 50)})
    world.run(FEBRUARY)
    highest = world.lake.scan(GHOST_BENCHMARKS, [Month.from_key(FEBRUARY)]).filter(success_percentile=1)
    assert highest.select("renewed", "avg_practice_minutes").unique().collect().rows() == [(JANUARY, 10)]


def test_diaries_are_kept_once_and_go_when_no_month_names_them(world: World) -> None:
    world.run(JANUARY)
    world.run(FEBRUARY)
    assert world.lake.scan(BENCHMARK_DIARIES).collect()["milliseconds"].to_list() == [[600_000]]
    world.change("add", {"user_progress": tasks(0, PEOPLE, 20, day=2)})
    take_in(world, "2025-03-01-01:00")
    world.run(JANUARY)
    assert world.lake.scan(BENCHMARK_DIARIES).collect().height == 2
    world.run(FEBRUARY)
    world.run(JANUARY)
    assert world.lake.scan(BENCHMARK_DIARIES).collect()["milliseconds"].to_list() == [[600_000, 1_200_000]]


def test_lost_diaries_are_an_error(world: World) -> None:
    enter(world, 10, 1, FEBRUARY)
    world.run(JANUARY)
    world.lake.remove_all(BENCHMARK_DIARIES)
    world.change("add", {"user_progress": tasks(0, 1, 20, day=2)})
    with pytest.raises(LakeError, match=r"benchmark_diaries: lacks 1 diaries that benchmark_achievers names"):
        world.run(FEBRUARY)


def test_nobody_is_kept_who_is_behind_no_row(tmp_path: Path) -> None:
    world = world_of(tmp_path / "world", min_sample=PEOPLE + 1)
    world.run(JANUARY)
    assert {name: rows.height for name, rows in months_of(world).items()} == dict.fromkeys(months_of(world), 0)
