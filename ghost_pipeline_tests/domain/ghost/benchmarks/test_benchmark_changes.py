"""How achievers differ between two states of the benchmarks, against counting from scratch."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.kept_months import BENCHMARK_DIARIES
from ghost_pipeline.domain.ghost.benchmarks.achiever_practice import (
    Practice,
    achiever_practice,
    diaries_of,
    kept_practice,
)
from ghost_pipeline.domain.ghost.benchmarks.benchmark_changes import (
    Differences,
    benchmark_differences,
    changed_people,
    practice_of,
)
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import POPULATIONS, benchmark_cells, benchmark_counts
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.domain.ghost.ghost_worlds import worlds
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.plain_renewal import benchmark_numbers, may_be_renewed

BANDS = (Decimal("7.0"), Decimal("7.5"))
STARTS = (Decimal("5.0"), Decimal("6.0"))
DAYS = 9
CELLS = benchmark_cells(BANDS, STARTS, POPULATIONS)
LIMIT = 90
World = tuple[str, list[Row], list[Row]]
MONTH_END = "2025-03-01T00:00"


def practice(as_of: str, users: list[Row], events: list[Row]) -> Practice:
    return achiever_practice(
        users_frame(users), progress_frame(events), at(as_of), bands=BANDS, starts=STARTS, days=DAYS
    )


def kept(practice: Practice) -> Practice:
    """The same as it comes back from what is kept."""
    diaries = diaries_of(practice, practice.people["diary"])
    assert BENCHMARK_DIARIES.faults(diaries) == []
    return kept_practice(practice.people, diaries)


def differences(before: Practice, after: Practice) -> Differences:
    left, joined = changed_people(before.people, after.people)
    every_cell = range(len(CELLS))
    return benchmark_differences(
        practice_of(before, left), practice_of(after, joined), CELLS, every_cell, bands=BANDS, starts=STARTS, days=DAYS
    )


@st.composite
def two_states(draw: st.DrawFn) -> tuple[World, World]:
    """A world, and the same at a later time with late events, other scores, new people and without some."""
    as_of, users, events = draw(worlds(achievers=True, max_users=8))
    later, new_users, new_events = draw(worlds(achievers=True, max_users=8))
    stays = [one for one in users if draw(st.booleans()) or draw(st.booleans())]
    known = {one["user_id"] for one in stays}
    scores = st.sampled_from([6.9, 7.0, 7.5, 8.1])
    stays = [{**one, "final_band_score": draw(scores)} if draw(st.integers(0, 3)) == 0 else one for one in stays]
    joined = [{**one, "created_at": at(as_of)} for one in new_users if one["user_id"] not in known]
    return (as_of, users, events), (max(as_of, later), [*stays, *joined], [*events, *new_events])


@examples(20, 150)
@given(two_states(), st.integers(1, 4))
def test_rows_are_renewed_as_from_scratch(states: tuple[World, World], min_changed: int) -> None:
    before, after = states
    allowed = differences(kept(practice(*before)), practice(*after)).allow_renewal(CELLS, min_changed, LIMIT)
    for number, cell in enumerate(CELLS):
        for day in range(1, DAYS + 1):
            was, now = (
                benchmark_numbers(
                    users,
                    events,
                    at(as_of),
                    population=cell.population,
                    band=cell.target_band,
                    start=cell.starting_skill,
                    day=day,
                )
                for as_of, users, events in (before, after)
            )
            expected = may_be_renewed(was, now, min_changed, has_means=cell.population == "interval")
            assert allowed[number, day - 1] == expected


@examples(10, 60)
@given(two_states(), st.integers(2, 4))
def test_differences_of_parts_of_the_people_add_up(states: tuple[World, World], parts: int) -> None:
    whole = differences(practice(*states[0]), practice(*states[1]))
    added = Differences.none(len(CELLS), DAYS)
    for part in range(parts):
        of_part = [
            practice(as_of, [one for one in users if int(one["user_id"][1:]) % parts == part], events)
            for as_of, users, events in states
        ]
        added = added.plus(differences(*of_part))
    assert (added.changed == whole.changed).all()
    assert (added.total == whole.total).all()
    assert (added.largest == whole.largest).all()


@examples(10, 60)
@given(worlds(achievers=True, max_users=8))
def test_what_is_kept_counts_the_same(world: World) -> None:
    now = practice(*world)
    counts = [benchmark_counts(one, bands=BANDS, starts=STARTS, days=DAYS).rechunk() for one in (now, kept(now))]
    assert counts[0].equals(counts[1])


def test_equal_diaries_are_kept_once() -> None:
    users = [
        user(name, diagnostic_score=6.0, final_band_score=7.5, created_at=at("2025-01-01T00:00")) for name in "abc"
    ]
    events = [event(name, "2025-01-02T08:00", minutes=10) for name in "ab"]
    found = practice(MONTH_END, users, events)
    assert diaries_of(found, found.people["diary"])["days"].to_list() in ([[2], []], [[], [2]])
    assert found.people["diary"].n_unique() == 2


def test_a_score_that_moves_within_a_population_changes_nothing_there() -> None:
    scores = {"diagnostic_score": 6.0, "created_at": at("2025-01-01T00:00")}
    states = [practice(MONTH_END, [user("a", final_band_score=score, **scores)], []) for score in (7.0, 7.5)]
    changed = differences(*states).changed[:, 0, 0].tolist()
    found = {(cell.population, cell.target_band): number for cell, number in zip(CELLS, changed, strict=True) if number}
    assert found == {("at_least", BANDS[1]): 1, ("interval", BANDS[0]): 1, ("interval", BANDS[1]): 1}


@pytest.mark.parametrize("day", [8, 9])
def test_a_day_that_ends_is_a_day_that_is_entered(day: int) -> None:
    users = [user("a", diagnostic_score=6.0, final_band_score=7.5, created_at=at("2025-02-21T00:00"))]
    changed = differences(practice(MONTH_END, users, []), practice("2025-03-02T00:00", users, [])).changed
    assert changed[:, day - 1].any() == (day == 9)
    assert pl.Series(changed[:, day - 1].ravel()).unique().sort().to_list() == ([0, 1] if day == 9 else [0])
