"""The ranks that people are shown: with the release, in steps of persons, and of the day before."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_RELEASED_RANKS
from ghost_pipeline.domain.ghost.released_ranks import (
    OF_COHORT,
    OF_EVERYONE,
    RankRules,
    cohort_ranks,
    day_before,
    global_ranks,
    released_ranks,
    unranked_releases,
    with_released_ranks,
)
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.domain.ghost.ghost_frames import at
from ghost_pipeline_tests.reference.plain_ghost import shown_rank
from ghost_pipeline_tests.samples import sample

NOON, RULES = at("2025-03-12T12:00"), RankRules.of(Settings.model_construct())
COHORT, EVERYONE = "tasks_completed_percentile_cohort", "tasks_completed_percentile_global"
NO_RANKS = USER_RELEASED_RANKS.empty().lazy()


def stats(tasks: dict[str, int], cohort_id: str | None = "c1") -> pl.LazyFrame:
    """Users with tasks and everything else 0; all are members of one cohort."""
    names = ("current_streak", "practice_time_ms")
    return pl.LazyFrame(
        {"user_id": list(tasks), "tasks_completed": list(tasks.values()), **{name: [0] * len(tasks) for name in names}},
        schema_overrides={"tasks_completed": pl.Int64},
    ).with_columns(cohort_id=pl.lit(cohort_id, dtype=pl.String))


def in_order(count: int) -> dict[str, int]:
    """Users who have done 0, 1, 2 tasks and so on."""
    return {f"u{number:03}": number for number in range(count)}


def ledger(**released_as_of: timedelta | None) -> pl.LazyFrame:
    """The entries of some cohorts at noon: how long ago they were released, None if they are suppressed."""
    ends = [None if age is None else NOON - age for age in released_as_of.values()]
    rows = sample(COHORT_GHOST_RELEASE, len(ends), 1)
    return rows.lazy().with_columns(
        cohort_id=pl.Series([*released_as_of]),
        released=pl.Series([end is not None for end in ends]),
        released_as_of=pl.Series(ends, dtype=rows.schema["released_as_of"]),
    )


def ranks_of(rows: pl.LazyFrame, column: str) -> dict[str, int | None]:
    return dict(rows.select("user_id", column).collect().iter_rows())


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 7))
def test_those_below_count_in_whole_steps(tasks: list[int], step: int) -> None:
    users = {f"u{number}": value for number, value in enumerate(tasks)}
    found = ranks_of(cohort_ranks(stats(users), ledger(c1=HOUR), NOON, RankRules(step, 1)), COHORT)
    assert found == {name: shown_rank(value, tasks, step) for name, value in users.items()}


def test_the_example_is_35() -> None:
    found = ranks_of(cohort_ranks(stats(in_order(28)), ledger(c1=HOUR), NOON, RULES), COHORT)
    assert (found["u009"], found["u010"], found["u014"], found["u015"]) == (17, 35, 35, 53)


@pytest.mark.parametrize(("count", "rank"), [(99, None), (100, 95)])
def test_ranks_among_all_users_need_a_hundred_of_them(count: int, rank: int | None) -> None:
    rows = global_ranks(stats(in_order(count)), NOON, RULES)
    assert ranks_of(rows, EVERYONE)[f"u{count - 1:03}"] == rank
    assert set(rows.collect()["global_as_of"]) == {NOON}


@pytest.mark.parametrize(
    ("as_of", "end"),
    [
        ("2025-03-12T01:00", "2025-03-12T00:00"),
        ("2025-03-12T23:00", "2025-03-12T00:00"),
        ("2025-03-13T00:00", "2025-03-12T00:00"),
        ("2025-03-13T01:00", "2025-03-13T00:00"),
    ],
)
def test_at_midnight_the_day_that_just_ended_is_today(as_of: str, end: str) -> None:
    assert day_before(at(as_of)) == at(end)


def carried(before: pl.LazyFrame, entries: pl.LazyFrame, new: pl.LazyFrame = NO_RANKS) -> dict[str, int | None]:
    of_everyone = NO_RANKS.select(OF_EVERYONE)
    rows = released_ranks(before, entries, new.select(OF_COHORT), of_everyone, NOON)
    assert USER_RELEASED_RANKS.faults(rows.collect()) == []
    return ranks_of(rows, COHORT)


def written(age: timedelta, tasks: dict[str, int], cohort_id: str = "c1") -> pl.LazyFrame:
    """Rows of the table for a release of so long ago."""
    end = NOON - age
    new = cohort_ranks(stats(tasks, cohort_id), ledger(**{cohort_id: age}), end, RULES)
    return released_ranks(NO_RANKS, ledger(**{cohort_id: age}), new, NO_RANKS.select(OF_EVERYONE), end)


def test_ranks_stay_while_their_release_does() -> None:
    before = written(HOUR, in_order(10))
    assert carried(before, ledger(c1=HOUR)) == ranks_of(before, COHORT)
    assert carried(before, ledger(c1=timedelta(0))) == {}
    assert carried(before, ledger(c1=None)) == {}
    assert carried(before, ledger(c2=HOUR)) == {}


def test_a_user_who_moved_has_the_rank_of_the_newer_release() -> None:
    before, now = written(HOUR, in_order(10)), {"u009": 0, **{f"v{number}": 1 for number in range(9)}}
    new = cohort_ranks(stats(now, "c2"), ledger(c2=timedelta(0)), NOON, RULES)
    found = carried(before, ledger(c1=HOUR, c2=timedelta(0)), new)
    assert (found["u009"], found["u008"], found["v0"]) == (0, 50, 0)


def test_a_cohort_that_all_members_have_left_takes_no_rank_of_the_new_one_away() -> None:
    """It has no rank left, so it is ranked again in every hour, unlike the new one."""
    before = written(HOUR, in_order(10), "c2")
    entries = ledger(c1=2 * HOUR, c2=HOUR)
    left = cohort_ranks(stats(dict.fromkeys(in_order(10), 7)), entries, NOON - 2 * HOUR, RULES)
    assert list(unranked_releases(before, entries).collect()["cohort_id"]) == ["c1"]
    assert carried(before, entries, left) == ranks_of(before, COHORT)
    # Both in one hour, as after an upgrade.
    now = pl.concat([left.select(OF_COHORT), before.select(OF_COHORT)])
    assert carried(NO_RANKS, entries, now) == ranks_of(before, COHORT)


def test_releases_without_ranks_are_found() -> None:
    before = written(HOUR, in_order(10))
    entries = ledger(c1=HOUR, c2=HOUR, c3=None, c4=timedelta(0))
    assert sorted(unranked_releases(before, entries).collect()["cohort_id"]) == ["c2", "c4"]
    assert unranked_releases(before, ledger(c1=2 * HOUR)).collect().height == 1


def test_a_user_who_was_no_member_as_of_the_release_has_no_rank_in_the_cohort() -> None:
    before = written(HOUR, in_order(10))
    others = ["streak_percentile", "practice_time_percentile"]
    exact = [f"{name}_{base}" for name in others for base in ("cohort", "global")]
    users = stats({**in_order(10), "new": 5}).with_columns(
        pl.lit(77, pl.Int32).alias(name) for name in [COHORT, EVERYONE, *exact]
    )
    shown = ranks_of(with_released_ranks(users, before), COHORT)
    assert (shown["new"], shown["u009"]) == (None, 50)
    moved = users.with_columns(cohort_id=pl.lit("c2"))
    assert set(ranks_of(with_released_ranks(moved, before), COHORT).values()) == {None}
