"""Which figures a user is shown, how old they may be, and where there are none."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS
from ghost_pipeline.contracts.messages import DISPLAY_RULES, MESSAGES, PLACEHOLDERS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.domain.ghost.ghost_figures import FigureLimits, ghost_figures, serving_month
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.domain.ghost.ghost_frames import at
from ghost_pipeline_tests.domain.ghost.message_figures import SCHEMA
from ghost_pipeline_tests.reference.months import LIMITS

Row = dict[str, Any]
AS_OF = at("2025-03-12T12:00")
JANUARY, FEBRUARY = Month.from_key("2025-01"), Month.from_key("2025-02")


def table(contract: Contract, defaults: Row, rows: tuple[Row, ...]) -> pl.LazyFrame:
    schema = contract.polars_schema
    filled = [
        {
            name: Decimal(str(value)) if schema[name].is_decimal() and value is not None else value
            for name, value in (dict.fromkeys(schema) | defaults | row).items()
        }
        for row in rows
    ]
    return pl.LazyFrame(filled, schema=schema, orient="row")


def stats(*rows: Row, as_of: datetime = AS_OF) -> pl.LazyFrame:
    hour = Hour.ending_at(as_of)
    defaults = {
        "as_of": as_of,
        "snapshot_date": hour.date,
        "snapshot_hour": hour.hour,
        "user_id": "u",
        "cohort_id": "c",
        "starting_skill": 6.0,
        "target_band": 7.5,
        "day_in_journey": 12,
        "practice_time_ms": 0,
        "current_streak": 3,
        "streak_status": "active",
        "last_activity_at": as_of - timedelta(minutes=1),
    }
    return table(USER_GHOST_STATS, defaults, rows)


def releases(*rows: Row) -> pl.LazyFrame:
    defaults = {"cohort_id": "c", "as_of": AS_OF, "released": True, "released_as_of": AS_OF, "active_member_count": 24}
    return table(COHORT_GHOST_RELEASE, defaults, rows)


def benchmarks(*rows: Row) -> pl.LazyFrame:
    defaults = {
        "population": "interval",
        "target_band": 7.5,
        "starting_skill": 6.0,
        "day_number": 12,
        "success_percentile": 25,
        "avg_tasks_completed": 15,
        "avg_practice_minutes": 200,
        "avg_speaking_tasks": 4,
        "as_of": FEBRUARY.as_of,
    }
    return table(GHOST_BENCHMARKS, defaults, rows)


def shares(*rows: Row) -> pl.LazyFrame:
    defaults = {"target_band": 7.5, "streak_threshold": 5, "percentage": 85, "as_of": FEBRUARY.as_of}
    return table(GHOST_STREAK_SHARES, defaults, rows)


def improvers(*rows: Row) -> pl.LazyFrame:
    defaults = {"starting_skill": 6.0, "minutes_per_day": 25, "as_of": FEBRUARY.as_of}
    return table(GHOST_FASTEST_IMPROVERS, defaults, rows)


def figures(
    users: pl.LazyFrame,
    *,
    release: pl.LazyFrame | None = None,
    benchmark: pl.LazyFrame | None = None,
    share: pl.LazyFrame | None = None,
    improver: pl.LazyFrame | None = None,
    as_of: datetime = AS_OF,
    limits: FigureLimits = LIMITS,
) -> pl.LazyFrame:
    def or_empty(frame: pl.LazyFrame | None, contract: Contract) -> pl.LazyFrame:
        return contract.empty().lazy() if frame is None else frame

    return ghost_figures(
        users,
        or_empty(release, COHORT_GHOST_RELEASE),
        or_empty(benchmark, GHOST_BENCHMARKS),
        or_empty(share, GHOST_STREAK_SHARES),
        or_empty(improver, GHOST_FASTEST_IMPROVERS),
        as_of,
        limits=limits,
    )


def one(users: pl.LazyFrame, **tables: Any) -> Row:  # noqa: ANN401 - whatever `figures` takes
    (row,) = figures(users, **tables).collect().to_dicts()
    return row


def test_the_benchmark_is_that_of_the_top_quarter_of_those_who_reached_the_band_and_not_the_next() -> None:
    other: Row = {"population": "at_least", "success_percentile": 10, "starting_skill": 5.5, "target_band": 8.0}
    wrong = [{name: value, "avg_tasks_completed": 99} for name, value in other.items()]
    found = one(stats({}), benchmark=benchmarks(*wrong, {}))
    assert (found["benchmark_tasks"], found["benchmark_minutes"]) == (15, 200)
    assert (found["benchmark_band"], found["benchmark_day"]) == (Decimal("7.5"), 12)
    assert found["benchmark_as_of"] == FEBRUARY.as_of


def test_the_speaking_benchmark_is_the_median_of_those_who_reached_at_least_the_band() -> None:
    median = {"population": "at_least", "success_percentile": 50, "avg_speaking_tasks": 9}
    wrong = [{**median, "success_percentile": 25}, {**median, "population": "interval"}]
    found = one(stats({}), benchmark=benchmarks(*({**row, "avg_speaking_tasks": 7} for row in wrong), median))
    assert (found["speaking_benchmark"], found["speaking_benchmark_as_of"]) == (9, FEBRUARY.as_of)


def test_who_aims_at_no_band_is_compared_with_the_default() -> None:
    assert one(stats({"target_band": None}), benchmark=benchmarks({}))["benchmark_tasks"] == 15
    limits = replace(LIMITS, target_band=Decimal("8.0"))
    found = one(stats({"target_band": None}), benchmark=benchmarks({}), limits=limits)
    assert (found["benchmark_band"], found["benchmark_tasks"]) == (Decimal("8.0"), None)


def test_past_the_last_day_its_figure_counts() -> None:
    found = one(stats({"day_in_journey": 140}), benchmark=benchmarks({"day_number": 90}))
    assert (found["benchmark_day"], found["benchmark_tasks"], found["day_in_journey"]) == (90, 15, 140)


@pytest.mark.parametrize("user", [{"starting_skill": None}, {"day_in_journey": 0}, {"target_band": 6.0}])
def test_without_a_start_a_day_or_a_band_that_others_had_there_is_no_benchmark(user: Row) -> None:
    found = one(stats(user), benchmark=benchmarks({}, {"day_number": 1}))
    assert found["benchmark_tasks"] is None
    assert found["benchmark_as_of"] is None


def test_a_month_serves_from_24_hours_after_its_end_on() -> None:
    months = benchmarks({"as_of": JANUARY.as_of, "avg_tasks_completed": 10}, {})
    served = {
        hours: one(stats({}), benchmark=months, as_of=FEBRUARY.as_of + timedelta(hours=hours))["benchmark_tasks"]
        for hours in (23, 24)
    }
    assert served == {23: 10, 24: 15}


def test_where_a_month_is_missing_the_one_before_serves() -> None:
    found = one(stats({}), benchmark=benchmarks({"as_of": JANUARY.as_of}))
    assert (found["benchmark_tasks"], found["benchmark_as_of"]) == (15, JANUARY.as_of)


def test_a_month_that_serves_serves_all_so_a_cell_it_lacks_has_no_figure() -> None:
    months = benchmarks({"as_of": JANUARY.as_of}, {"starting_skill": 5.5})
    assert one(stats({}), benchmark=months)["benchmark_tasks"] is None


def test_figures_of_a_month_that_was_not_over_are_not_looked_at() -> None:
    assert one(stats({}), benchmark=benchmarks({}), as_of=at("2025-02-20T00:00"))["benchmark_tasks"] is None


@pytest.mark.parametrize(("hours", "used"), [(0, True), (1, False)])
def test_figures_of_a_month_are_used_up_to_62_days_of_age(hours: int, *, used: bool) -> None:
    as_of = FEBRUARY.as_of + timedelta(days=62, hours=hours)
    tables = {"benchmark": benchmarks({}), "share": shares({}), "improver": improvers({})}
    found = one(stats({}), as_of=as_of, **tables)
    for name in ("benchmark_tasks", "streak_percentage", "improvers_minutes_per_day"):
        assert (found[name] is not None) == used


def test_what_is_released_of_the_cohort() -> None:
    row = {
        "avg_tasks_completed": 12.5,
        "avg_tasks_this_week": 8,
        "avg_practice_minutes": 140.25,
        "avg_streak": 2,
        "median_streak": 1,
        "top_10_percent_tasks": 22,
        "top_25_percent_tasks": 18,
        "avg_days_practiced_per_week": 3.5,
        "top_10_percent_days_practiced": 6,
        "released_as_of": AS_OF - timedelta(hours=5),
    }
    found = one(stats({}), release=releases({"cohort_id": "other"}, row))
    assert {name: value for name, value in found.items() if name.startswith("cohort_")} == {
        "cohort_id": "c",
        "cohort_excluded": None,
        "cohort_released": True,
        "cohort_suppressed": False,
        "cohort_size": 24,
        "cohort_avg_tasks_completed": Decimal("12.50"),
        "cohort_avg_tasks_this_week": Decimal("8.00"),
        "cohort_avg_practice_minutes": Decimal("140.25"),
        "cohort_avg_streak": Decimal("2.00"),
        "cohort_median_streak": 1,
        "cohort_top_10_percent_tasks": 22,
        "cohort_top_25_percent_tasks": 18,
        "cohort_avg_days_practiced_per_week": Decimal("3.50"),
        "cohort_top_10_percent_days_practiced": 6,
        "cohort_as_of": AS_OF - timedelta(hours=5),
    }


@pytest.mark.parametrize(("hours", "used"), [(48, True), (49, False)])
def test_a_release_is_used_up_to_48_hours_of_age(hours: int, *, used: bool) -> None:
    row = {"released_as_of": AS_OF - timedelta(hours=hours), "avg_tasks_completed": 12}
    found = one(stats({}), release=releases(row))
    assert (found["cohort_avg_tasks_completed"] is not None) == used
    assert (found["cohort_released"], found["cohort_suppressed"]) == (used, False)
    assert found["cohort_size"] == (24 if used else None)


def test_a_suppressed_cohort_reads_like_a_missing_one_but_for_its_flag() -> None:
    suppressed = {"released": False, "released_as_of": None, "active_member_count": None}
    found = one(stats({}), release=releases(suppressed))
    missing = one(stats({}))
    assert found | {"cohort_suppressed": False} == missing
    assert found["cohort_suppressed"]


def test_a_user_without_a_cohort_has_no_release() -> None:
    found = one(stats({"cohort_id": None}), release=releases({"avg_tasks_completed": 12}))
    assert (found["cohort_released"], found["cohort_suppressed"], found["cohort_size"]) == (False, False, None)


def test_of_the_ledger_the_newest_partition_at_or_before_the_answer_counts() -> None:
    ledger = releases(
        {"as_of": AS_OF - timedelta(hours=1), "avg_tasks_completed": 11},
        {"avg_tasks_completed": 12},
        {"as_of": AS_OF + timedelta(hours=1), "avg_tasks_completed": 13},
    )
    assert one(stats({}), release=ledger)["cohort_avg_tasks_completed"] == 12


def test_a_cohort_without_a_row_in_the_newest_partition_has_none() -> None:
    ledger = releases({"as_of": AS_OF - timedelta(hours=1)}, {"cohort_id": "other"})
    assert not one(stats({}), release=ledger)["cohort_released"]


def test_a_share_is_that_of_the_smallest_threshold_above_the_streak_over_all_starts() -> None:
    rows = [{"streak_threshold": days, "percentage": 90 - days} for days in (3, 5, 7)]
    found = one(stats({"current_streak": 3}), share=shares(*rows, {"starting_skill": 6.0, "percentage": 1}))
    assert (found["streak_threshold"], found["streak_percentage"]) == (5, 85)
    assert (found["streak_band"], found["streak_as_of"]) == (Decimal("7.5"), FEBRUARY.as_of)


def test_a_streak_above_every_threshold_has_no_share() -> None:
    found = one(stats({"current_streak": 30}), share=shares({"streak_threshold": 30}))
    assert (found["streak_threshold"], found["streak_percentage"], found["streak_band"]) == (None, None, None)


def test_a_share_needs_no_diagnostic_score() -> None:
    assert one(stats({"starting_skill": None}), share=shares({}))["streak_percentage"] == 85


def test_the_fastest_improvers_are_those_of_the_same_start() -> None:
    found = one(stats({"practice_time_ms": 216 * 60_000}), improver=improvers({"starting_skill": 5.5}, {}))
    assert (found["improvers_minutes_per_day"], found["improvers_as_of"]) == (Decimal("25.0"), FEBRUARY.as_of)
    assert found["minutes_per_day"] == Decimal("18.0")


@pytest.mark.parametrize(("minutes", "silent"), [(48 * 60 - 1, False), (48 * 60, True), (48 * 60 + 1, True)])
def test_silent_is_who_did_nothing_for_48_hours(minutes: int, *, silent: bool) -> None:
    assert one(stats({"last_activity_at": AS_OF - timedelta(minutes=minutes)}))["silent"] is silent


@pytest.mark.parametrize(("day", "silent"), [(0, False), (3, False), (4, True)])
def test_who_never_did_anything_is_silent_from_the_fourth_day_on(day: int, *, silent: bool) -> None:
    assert one(stats({"last_activity_at": None, "day_in_journey": day}))["silent"] is silent


@pytest.mark.parametrize("status", ["active", "at_risk", "broken"])
def test_a_streak_is_at_risk_the_day_after(status: str) -> None:
    assert one(stats({"streak_status": status}))["streak_at_risk"] is (status == "at_risk")


def test_a_single_user_has_the_figures_of_the_same_row_among_all_in_the_order_they_came_in() -> None:
    users = [
        {"user_id": f"u{number:02}", "starting_skill": start, "day_in_journey": number, "cohort_id": f"c{number % 3}"}
        for number, start in reversed(list(enumerate([None, 5.0, 5.5, 6.0, 6.5] * 6)))
    ]
    tables: Row = {
        "release": releases({"cohort_id": "c0", "avg_tasks_completed": 5}, {"cohort_id": "c1", "released": False}),
        "benchmark": benchmarks(*({"day_number": day, "avg_tasks_completed": day} for day in range(1, 91))),
        "share": shares({}),
        "improver": improvers({}),
    }
    together = figures(stats(*users), **tables).collect()
    assert together["user_id"].to_list() == [user["user_id"] for user in users]
    for number, user in enumerate(users):
        assert_frame_equal(figures(stats(user), **tables).collect(), together[number : number + 1])


def test_serving_is_the_newest_month_that_may() -> None:
    months = [Month.from_key(key) for key in ("2024-12", "2025-01", "2025-02", "2025-03")]
    served = {
        text: serving_month(months, at(text), LIMITS)
        for text in ("2025-03-01T23:00", "2025-03-02T00:00", "2025-03-12T12:00", "2025-06-02T00:00", "2025-06-02T01:00")
    }
    assert [month and month.key for month in served.values()] == ["2025-01", "2025-02", "2025-02", "2025-03", None]


def test_the_limits_are_those_of_the_settings() -> None:
    assert FigureLimits.of(Settings.load()) == FigureLimits(
        release_max_age=timedelta(hours=48),
        month_max_age=timedelta(days=62),
        month_delay=timedelta(hours=24),
        target_band=Decimal("7.5"),
        days=90,
        streak_thresholds=(3, 5, 7, 14, 30),
    )
    changed = Settings.load(release_max_age_hours=1, benchmark_max_age_days=2, benchmark_delay_hours=3)
    limits = FigureLimits.of(changed)
    assert (limits.release_max_age, limits.month_max_age, limits.month_delay) == (
        timedelta(hours=1),
        timedelta(days=2),
        timedelta(hours=3),
    )


def test_every_column_that_the_catalogue_names_is_a_figure() -> None:
    named = {
        name for message in MESSAGES.values() for name in (message.user_value, message.figure, message.figure_as_of)
    }
    named |= {message.below for message in MESSAGES.values() if message.below}
    named |= {filling for filling in PLACEHOLDERS.values() if isinstance(filling, str)}
    named |= {rule.applies for rule in DISPLAY_RULES if rule.applies}
    assert named <= set(SCHEMA.names())
