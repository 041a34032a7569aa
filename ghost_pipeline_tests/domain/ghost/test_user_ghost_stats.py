"""The figures of users."""

import random
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline_tests.domain.ghost.ghost_frames import (
    Row,
    at,
    event,
    progress_frame,
    table_bytes,
    user,
    users_frame,
)
from ghost_pipeline_tests.domain.ghost.ghost_worlds import worlds
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference import plain_ghost
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

AS_OF = at("2025-03-12T12:00")


def stats_of(values: Row, *events: Row) -> Row:
    found = user_ghost_stats(users_frame([user("u1", **values)]), progress_frame(events), AS_OF).collect()
    return found.row(0, named=True)


@examples(15, 60)
@given(worlds())
def test_all_figures_equal_the_plain_reference(world: tuple[str, list[Row], list[Row]]) -> None:
    as_of, users, events = at(world[0]), *world[1:]
    present = [row for row in users if row["created_at"] < as_of]
    plain = [plain_ghost.user_stats(row, events, as_of) for row in sorted(present, key=lambda row: row["user_id"])]
    found = user_ghost_stats(users_frame(users), progress_frame(events), as_of).collect()
    assert found.select(list(plain[0]) if plain else []).to_dicts() == plain
    for metric, column in (
        ("tasks_completed", "tasks_completed"),
        ("streak", "current_streak"),
        ("practice_time", "practice_time_ms"),
    ):
        members = plain_ghost.group_by_cohort(plain)
        assert found[f"{metric}_percentile_cohort"].to_list() == [
            None
            if row["cohort_id"] is None
            else plain_ghost.percentile_rank(row[column], [other[column] for other in members[row["cohort_id"]]])
            for row in plain
        ]
        assert found[f"{metric}_percentile_global"].to_list() == [
            plain_ghost.percentile_rank(row[column], [other[column] for other in plain]) for row in plain
        ]


@examples(5, 15)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(
    world: tuple[str, list[Row], list[Row]],
    shuffler: random.Random,
) -> None:
    as_of, users, events = world
    ordered = user_ghost_stats(users_frame(users), progress_frame(events), at(as_of))
    shuffler.shuffle(users)
    shuffler.shuffle(events)
    shuffled = user_ghost_stats(users_frame(users), progress_frame(events), at(as_of))
    assert table_bytes(ordered) == table_bytes(shuffled)


def test_the_snapshot_is_named_after_the_hour_that_ends() -> None:
    found = user_ghost_stats(users_frame([user("u1")]), progress_frame([]), at("2025-03-12T00:00")).collect()
    assert found.select("snapshot_date", "snapshot_hour").row(0) == (date(2025, 3, 11), 23)


def test_tasks_this_week_include_the_lower_end() -> None:
    found = stats_of({}, event("u1", "2025-03-05T11:59"), event("u1", "2025-03-05T12:00"))
    assert found["tasks_this_week"] == 1


def test_a_week_of_practice_has_seven_dates() -> None:
    found = stats_of({}, *(event("u1", f"2025-03-{day:02}T23:00") for day in range(4, 12)))
    assert (found["days_practiced"], found["current_streak"]) == (6, 8)


@pytest.mark.parametrize(("completed_at", "active"), [("2025-02-26T12:00", True), ("2025-02-26T11:59", False)])
def test_the_fourteen_days_of_active_members_include_their_start(completed_at: str, *, active: bool) -> None:
    found = stats_of({"created_at": at("2025-01-01T00:00")}, event("u1", completed_at))
    assert found["is_active_member"] is active


def test_excluded_users_are_never_active_members() -> None:
    assert stats_of({"cohort_excluded": True}, event("u1", "2025-03-12T11:00"))["is_active_member"] is False


def test_a_user_without_activity_has_zeros() -> None:
    found = stats_of({})
    assert (found["tasks_completed"], found["practice_minutes"], found["days_practiced"]) == (0, 0.0, 0)
    assert (found["streak_status"], found["last_activity_at"], found["is_active_member"]) == (
        "broken",
        None,
        False,
    )


def test_minutes_are_the_nearest_float_of_the_milliseconds() -> None:
    found = stats_of({}, event("u1", "2025-03-12T11:00", minutes=201.7))
    assert (found["practice_time_ms"], found["practice_minutes"]) == (12_102_000, 201.7)


@pytest.mark.parametrize(
    ("score", "start"),
    [(4.9, None), (5.0, "5.0"), (5.4, "5.0"), (6.3, "6.0"), (6.9, "6.5"), (7.0, None), (None, None)],
)
def test_the_starting_skill_is_floored_and_null_outside_the_starts(score: float | None, start: str | None) -> None:
    assert stats_of({"diagnostic_score": score})["starting_skill"] == (start and Decimal(start))


def test_the_target_band_is_the_users_own() -> None:
    assert stats_of({"target_band": 8.5})["target_band"] == Decimal("8.5")
    assert stats_of({})["target_band"] is None


def test_without_users_there_is_an_empty_table() -> None:
    found = user_ghost_stats(users_frame([]), progress_frame([event("u1", "2025-03-12T11:00")]), AS_OF).collect()
    assert found.height == 0
    assert found.columns[:4] == ["as_of", "snapshot_date", "snapshot_hour", "user_id"]
