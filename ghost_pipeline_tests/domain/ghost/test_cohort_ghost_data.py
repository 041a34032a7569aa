"""The snapshot of cohorts."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import given

from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, progress_frame, user, users_frame
from ghost_pipeline_tests.domain.ghost.ghost_worlds import worlds
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference import plain_ghost
from ghost_pipeline_tests.reference.user_ghost_stats import user_ghost_stats

AS_OF = at("2025-03-12T12:00")


def snapshot(users: Sequence[Row], events: Sequence[Row], as_of: str = "2025-03-12T12:00") -> dict[str, Row]:
    stats = user_ghost_stats(users_frame(users), progress_frame(events), at(as_of))
    return {row["cohort_id"]: row for row in cohort_ghost_data(stats, at(as_of)).collect().to_dicts()}


def tasks(**of_users: int) -> list[Row]:
    return [event(user_id, "2025-03-12T08:00") for user_id, count in of_users.items() for _ in range(count)]


def streak(user_id: str, days: int) -> list[Row]:
    return [event(user_id, f"2025-03-{12 - age:02}T08:00") for age in range(days)]


@examples(8, 25)
@given(worlds(max_users=12))
def test_the_snapshot_equals_the_plain_reference(world: tuple[str, list[Row], list[Row]]) -> None:
    as_of, users, events = world
    stats = [plain_ghost.user_stats(row, events, at(as_of)) for row in users if row["created_at"] < at(as_of)]
    expected = {}
    for cohort, members in plain_ghost.group_by_cohort(stats).items():
        active = [row for row in members if row["is_active_member"]]
        if not active:
            continue
        columns = {column: [row[column] for row in active] for column in active[0]}

        def mean(column: str, unit: int = 1, columns: dict[str, list[int]] = columns) -> Decimal:
            exact = Fraction(sum(columns[column]), len(columns[column]) * unit)
            return Decimal(plain_ghost.round_half_away(exact * 100)).scaleb(-2)

        expected[cohort] = {
            "member_count": len(members),
            "active_member_count": len(active),
            "avg_tasks_completed": mean("tasks_completed"),
            "avg_tasks_this_week": mean("tasks_this_week"),
            "avg_practice_minutes": mean("practice_time_ms", 60_000),
            "avg_streak": mean("current_streak"),
            "median_streak": plain_ghost.percentile(columns["current_streak"], 50),
            "top_10_percent_tasks": plain_ghost.percentile(columns["tasks_completed"], 90),
            "top_25_percent_tasks": plain_ghost.percentile(columns["tasks_completed"], 75),
            "avg_days_practiced_per_week": mean("days_practiced"),
            "top_10_percent_days_practiced": plain_ghost.percentile(columns["days_practiced"], 90),
        }
    names = ["member_count", "active_member_count", *(metric.name for metric in COHORT_METRICS)]
    found = snapshot(users, events, as_of)
    assert {cohort: {name: row[name] for name in names} for cohort, row in found.items()} == expected


def test_columns_and_types_follow_the_registry() -> None:
    stats = user_ghost_stats(users_frame([]), progress_frame([]), AS_OF)
    schema = cohort_ghost_data(stats, AS_OF).collect_schema()
    assert list(schema) == [
        "id",
        "cohort_id",
        "snapshot_date",
        "snapshot_hour",
        "as_of",
        "member_count",
        "active_member_count",
        *(metric.name for metric in COHORT_METRICS),
        "updated_at",
    ]
    assert all(schema[metric.name] == metric.dtype for metric in COHORT_METRICS)


def test_the_median_of_an_even_number_rounds_up() -> None:
    users = [user("a"), user("b")]
    assert snapshot(users, [*streak("a", 2), *streak("b", 3)])["c1"]["median_streak"] == 3


def test_percentiles_interpolate() -> None:
    found = snapshot([user("a"), user("b")], tasks(a=10, b=20))["c1"]
    assert (found["top_10_percent_tasks"], found["top_25_percent_tasks"]) == (19, 18)


def test_a_mean_streak_of_125_days_fits() -> None:
    created = at("2024-01-01T00:00")
    days = pl.date_range(at("2024-11-08T00:00").date(), AS_OF.date(), eager=True)
    found = snapshot([user("a", created_at=created)], [event("a", f"{day}T08:00") for day in days])
    assert found["c1"]["avg_streak"] == Decimal("125.00")


def test_without_an_active_member_there_is_no_row() -> None:
    users = [
        user("silent", created_at=at("2025-01-01T00:00")),
        user("out", cohort_id="c2", cohort_excluded=True),
    ]
    assert snapshot(users, [event("silent", "2025-02-01T08:00"), event("out", "2025-03-12T08:00")]) == {}


def test_all_members_count_but_only_active_ones_are_averaged() -> None:
    users = [user("a"), user("b"), user("silent"), user("out", cohort_excluded=True)]
    found = snapshot(users, tasks(a=1, b=2, out=90))["c1"]
    assert (found["member_count"], found["active_member_count"]) == (4, 2)
    assert found["avg_tasks_completed"] == Decimal("1.50")


def test_global_is_over_all_users_also_those_without_a_cohort() -> None:
    found = snapshot([user("a"), user("b", cohort_id="c2"), user("c", cohort_id=None)], tasks(a=1, b=2, c=6))
    assert list(found) == ["c1", "c2", "global"]
    assert (found["global"]["member_count"], found["global"]["avg_tasks_completed"]) == (3, Decimal("3.00"))


def test_a_cohort_named_global_has_no_row_of_its_own() -> None:
    found = snapshot([user("a", cohort_id="global"), user("b")], tasks(a=1, b=3))
    assert list(found) == ["c1", "global"]
    assert found["global"]["member_count"] == 2
