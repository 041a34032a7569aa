"""What counts, journey days and streaks."""

from datetime import date, timedelta

import polars as pl
import pytest

from ghost_pipeline.domain.ghost.activity import (
    active_days,
    counted_events,
    present_users,
    streak_runs,
)
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.reference.user_ghost_stats import TOTAL_COLUMNS, activity_totals, streaks

AS_OF = at("2025-03-12T12:00")


def streak_of(*days: str, as_of: str = "2025-03-12T12:00") -> Row:
    users = users_frame([user("u1", created_at=at("2024-01-01T00:00"))])
    progress = progress_frame([event("u1", f"{day}T08:00") for day in days])
    present = present_users(users, at(as_of))
    practiced = active_days(counted_events(present, progress, at(as_of)))
    return streaks(streak_runs(practiced, present), present).collect().row(0, named=True)


def test_users_created_at_as_of_or_later_do_not_exist_yet() -> None:
    users = users_frame([user("now", created_at=AS_OF), user("before", created_at=AS_OF - timedelta(seconds=1))])
    assert present_users(users, AS_OF).collect()["user_id"].to_list() == ["before"]


@pytest.mark.parametrize(
    ("created_at", "as_of", "day"),
    [
        ("2025-03-01T23:59", "2025-03-02T00:00", 1),
        ("2025-03-01T23:59", "2025-03-02T01:00", 2),
        ("2025-03-01T00:00", "2025-03-13T00:00", 12),
        ("2024-02-28T00:00", "2024-03-01T12:00", 3),
    ],
)
def test_the_day_in_the_journey_counts_dates(created_at: str, as_of: str, day: int) -> None:
    users = users_frame([user("u1", created_at=at(created_at))])
    assert present_users(users, at(as_of)).collect()["day_in_journey"].item() == day


def test_events_at_as_of_of_nobody_and_before_the_created_date_do_not_count() -> None:
    users = users_frame([user("u1", created_at=at("2025-03-01T10:00"))])
    progress = progress_frame(
        [
            event("u1", "2025-02-28T23:59"),
            event("u1", "2025-03-01T09:00"),
            event("u1", "2025-03-12T11:59"),
            event("u1", "2025-03-12T12:00"),
            event("nobody", "2025-03-05T09:00"),
        ],
    )
    found = counted_events(present_users(users, AS_OF), progress, AS_OF).sort("completed_at").collect()
    assert found.select("local_date", "journey_day").rows() == [
        (date(2025, 3, 1), 1),
        (date(2025, 3, 12), 12),
    ]


def test_events_before_the_created_date_do_not_count() -> None:
    users = users_frame([user("u1", created_at=at("2025-03-01T10:00"), timezone="Asia/Kolkata")])
    progress = progress_frame([event("u1", "2025-02-28T18:29"), event("u1", "2025-02-28T18:30")])
    found = counted_events(present_users(users, AS_OF), progress, AS_OF).collect()
    assert found["progress_id"].to_list() == ["p00001"]


def test_a_mock_test_is_no_task_no_time_and_no_practice_day() -> None:
    users = users_frame([user("u1")])
    progress = progress_frame([event("u1", "2025-03-12T08:00", "mock_test", 60)])
    events = counted_events(present_users(users, AS_OF), progress, AS_OF)
    row = activity_totals(events, AS_OF).collect().row(0, named=True)
    assert (row["mock_tests"], row["tasks_completed"], row["practice_time_ms"]) == (1, 0, 0)
    assert row["last_activity_at"] is None
    assert active_days(events).collect().height == 0


def test_totals_of_days_add_up_to_those_of_the_user() -> None:
    events = counted_events(
        present_users(users_frame([user("u1")]), AS_OF),
        progress_frame([event("u1", f"2025-03-{day:02}T08:00", minutes=day) for day in (1, 1, 7, 12)]),
        AS_OF,
    )
    by_day = activity_totals(events, AS_OF, by=("user_number", "local_date")).collect()
    assert by_day.height == 3
    merged = by_day.group_by("user_number").agg(pl.col(TOTAL_COLUMNS).sum(), pl.col("last_activity_at").max())
    assert merged.rows() == activity_totals(events, AS_OF).collect().rows()


def test_vocabulary_and_grammar_are_tasks_without_a_column() -> None:
    users = users_frame([user("u1")])
    progress = progress_frame([event("u1", "2025-03-12T08:00", kind) for kind in ("vocabulary", "grammar", "writing")])
    row = (
        activity_totals(counted_events(present_users(users, AS_OF), progress, AS_OF), AS_OF)
        .collect()
        .row(0, named=True)
    )
    assert (row["tasks_completed"], row["writing_tasks"], row["reading_tasks"]) == (3, 1, 0)


@pytest.mark.parametrize(
    ("last_days", "status", "current"),
    [
        (["2025-03-11", "2025-03-12"], "active", 2),
        (["2025-03-10", "2025-03-11"], "at_risk", 2),
        (["2025-03-09", "2025-03-10"], "broken", 0),
        ([], "broken", 0),
    ],
)
def test_streak_status(last_days: list[str], status: str, current: int) -> None:
    found = streak_of(*last_days)
    assert (found["streak_status"], found["current_streak"]) == (status, current)


def test_the_longest_streak_outlives_the_current_one() -> None:
    found = streak_of("2025-03-01", "2025-03-02", "2025-03-03", "2025-03-12")
    assert (found["longest_streak"], found["current_streak"]) == (3, 1)


@pytest.mark.parametrize(
    ("days", "as_of"),
    [
        (["2024-02-28", "2024-02-29", "2024-03-01"], "2024-03-01T12:00"),
        (["2024-12-30", "2024-12-31", "2025-01-01"], "2025-01-01T12:00"),
        (["2025-01-30", "2025-01-31", "2025-02-01"], "2025-02-02T00:00"),
    ],
)
def test_streaks_run_over_the_ends_of_months_and_years(days: list[str], as_of: str) -> None:
    assert streak_of(*days, as_of=as_of)["current_streak"] == 3


def test_runs_of_two_users_do_not_join() -> None:
    days = pl.LazyFrame({"user_number": [0, 1], "local_date": [date(2025, 3, 1), date(2025, 3, 2)]})
    present = pl.LazyFrame({"user_number": [0, 1], "timezone": [None, None]})
    assert streak_runs(days, present).collect().rows() == [
        (0, date(2025, 3, 1), date(2025, 3, 1), 1),
        (1, date(2025, 3, 2), date(2025, 3, 2), 1),
    ]
