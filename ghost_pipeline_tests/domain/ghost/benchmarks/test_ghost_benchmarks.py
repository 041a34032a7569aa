"""Success benchmarks: cells, day figures, quantiles, and counts that merge."""

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import benchmark_cells, merge_benchmark_counts
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import benchmark_dictionary
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
from ghost_pipeline_tests.reference.months import (
    benchmark_counts,
    benchmark_day,
    benchmark_means,
    benchmark_target_band,
    finish_benchmarks,
    ghost_benchmarks,
)
from ghost_pipeline_tests.reference.plain_renewal import benchmark_numbers, levels_pass

MONTH_END = at("2025-03-01T00:00")
BANDS = (Decimal("7.0"), Decimal("7.3"), Decimal("8.0"))
STARTS = (Decimal("5.0"), Decimal("5.2"), Decimal("6.0"))


def achiever(user_id: str, **values: object) -> Row:
    """An achiever of 7.5 from 6.0 whose journey began on 1 January."""
    return user(
        user_id,
        **{
            "diagnostic_score": 6.0,
            "final_band_score": 7.5,
            "final_band_at": at("2025-02-15T00:00"),
            "created_at": at("2025-01-01T00:00"),
            **values,
        },
    )


def table(users: Sequence[Row], events: Sequence[Row], min_sample: int = 1) -> pl.DataFrame:
    return ghost_benchmarks(users_frame(users), progress_frame(events), MONTH_END, min_sample=min_sample).collect()


def figures(users: Sequence[Row], events: Sequence[Row], day: int) -> Row:
    found = table(users, events).filter(
        population="interval",
        target_band=Decimal("7.5"),
        starting_skill=Decimal("6.0"),
        day_number=day,
        success_percentile=50,
    )
    return found.row(0, named=True)


@examples(15, 60)
@given(worlds(achievers=True, max_users=10), st.sampled_from([1, 2]))
def test_all_rows_equal_the_plain_reference(world: tuple[str, list[Row], list[Row]], min_sample: int) -> None:
    as_of, users, events = at(world[0]), *world[1:]
    expected = plain_ghost.benchmarks(
        users,
        events,
        as_of,
        bands=BANDS,
        starts=STARTS,
        days=9,
        percentiles=(10, 25, 50),
        min_sample=min_sample,
    )
    found = ghost_benchmarks(
        users_frame(users),
        progress_frame(events),
        as_of,
        bands=BANDS,
        starts=STARTS,
        days=9,
        percentiles=(25, 50, 10),
        min_sample=min_sample,
    ).collect()
    assert found.drop("id", "month", "renewed", "as_of", "created_at", "updated_at").rows() == expected


@examples(4, 15)
@given(worlds(achievers=True, max_users=12), st.randoms(use_true_random=False))
def test_shards_and_shuffled_rows_give_the_same_bytes(
    world: tuple[str, list[Row], list[Row]],
    shuffler: random.Random,
) -> None:
    as_of, users, events = at(world[0]), *world[1:]
    progress = progress_frame(events)
    at_once = benchmark_counts(users_frame(users), progress, as_of, days=9)
    whole = table_bytes(finish_benchmarks(at_once, as_of, min_sample=1))
    shuffler.shuffle(users)
    for shards in (1, 3, 16):
        parts = [
            benchmark_counts(users_frame(users[shard::shards]), progress.reverse(), as_of, days=9)
            for shard in range(shards)
        ]
        merged = merge_benchmark_counts(parts)
        assert table_bytes(merged) == table_bytes(at_once)
        assert table_bytes(finish_benchmarks(merged, as_of, min_sample=1)) == whole
        assert table_bytes(finish_benchmarks(pl.concat(parts), as_of, min_sample=1)) == whole


@pytest.mark.parametrize(("achievers", "rows"), [(49, 0), (50, 2 * 59 * 3)])
def test_fewer_than_the_sample_is_no_row(achievers: int, rows: int) -> None:
    found = table([achiever(f"u{number}") for number in range(achievers)], [], min_sample=50)
    assert found.filter(target_band=Decimal("7.5")).height == rows


def test_success_percentile_p_is_the_100_minus_pth_percentile() -> None:
    users = [achiever(f"u{number:02}") for number in range(1, 51)]
    events = [event(f"u{number:02}", "2025-01-01T08:00") for number in range(1, 51) for _ in range(number)]
    day_1 = table(users, events, min_sample=50).filter(population="interval", day_number=1)
    assert day_1["avg_tasks_completed"].to_list() == [45, 38, 26]


def test_figures_are_cumulative_and_carried_forward() -> None:
    events = [event("u1", "2025-01-01T08:00", "speaking", 20), event("u1", "2025-01-03T08:00", "grammar", 15)]
    by_day = [figures([achiever("u1")], events, day) for day in (1, 2, 3, 40)]
    assert [row["avg_tasks_completed"] for row in by_day] == [1, 1, 2, 2]
    assert [row["avg_practice_minutes"] for row in by_day] == [20, 20, 35, 35]
    assert [row["avg_speaking_tasks"] for row in by_day] == [1, 1, 1, 1]


def test_the_streak_of_a_day_survives_one_silent_day() -> None:
    events = [event("u1", f"2025-01-0{day}T08:00") for day in (1, 2, 5)]
    assert [figures([achiever("u1")], events, day)["avg_streak"] for day in range(1, 8)] == [
        1,
        2,
        2,
        0,
        1,
        1,
        0,
    ]


def test_mock_tests_are_beside_the_tasks() -> None:
    found = figures([achiever("u1")], [event("u1", "2025-01-01T08:00", "mock_test", 180)], 1)
    assert (found["avg_mock_tests"], found["avg_tasks_completed"], found["avg_practice_minutes"]) == (1, 0, 0)
    assert found["avg_streak"] == 0


def test_a_day_that_has_not_ended_does_not_count() -> None:
    late = achiever("u1", created_at=MONTH_END - timedelta(days=2), final_band_at=None)
    assert table([late], [])["day_number"].unique().to_list() == [1, 2]


def test_the_day_ends_where_the_user_is() -> None:
    created = at("2025-02-27T12:00")
    users = [
        achiever("east", created_at=created, final_band_at=None, timezone="Pacific/Kiritimati"),
        achiever("west", created_at=created, final_band_at=None, timezone="America/New_York"),
    ]
    sample = table(users, []).filter(population="interval", success_percentile=50)["sample_size"]
    # In Kiritimati 1 March is the second day (28 February the first), in New York 28 February is.
    assert sample.to_list() == [2]


def test_the_at_least_population_has_no_upper_end() -> None:
    cells = benchmark_cells([Decimal("7.0"), Decimal("7.5")], [Decimal("5.0")], ["at_least", "interval"])
    assert [(cell.population, cell.target_band, cell.final_tenths) for cell in cells] == [
        ("at_least", Decimal("7.0"), (70, 75, 80)),
        ("at_least", Decimal("7.5"), (75, 80)),
        ("interval", Decimal("7.0"), (70,)),
        ("interval", Decimal("7.5"), (75,)),
    ]


def test_an_unknown_population_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown population 'roughly'; choose of interval, at_least"):
        benchmark_cells([Decimal(7)], [Decimal(5)], ["roughly"])


def test_rows_name_their_month_and_instant() -> None:
    found = figures([achiever("u1")], [], 1)
    assert found["month"] == "2025-02"
    assert found["as_of"] == found["created_at"] == found["updated_at"] == MONTH_END


def test_without_achievers_there_is_an_empty_table() -> None:
    found = table([user("u1")], [event("u1", "2025-01-01T08:00")])
    assert found.height == 0
    assert found.columns[5:15] == [
        "success_percentile",
        *(metric.column_name for metric in BENCHMARK_METRICS),
        "sample_size",
    ]


@pytest.mark.parametrize(("day", "benchmark"), [(0, None), (1, 1), (90, 90), (400, 90)])
def test_the_look_up_day(day: int, benchmark: int | None) -> None:
    frame = pl.LazyFrame({"day_in_journey": [day]}, schema={"day_in_journey": pl.Int32})
    assert frame.select(benchmark_day()).collect().item() == benchmark


@pytest.mark.parametrize(("own", "band"), [(None, "7.5"), (Decimal("8.0"), "8.0")])
def test_the_look_up_band_is_the_users_own_or_7_5(own: Decimal | None, band: str) -> None:
    frame = pl.LazyFrame({"target_band": [own]}, schema={"target_band": pl.Decimal(2, 1)})
    assert frame.select(benchmark_target_band()).collect().item() == Decimal(band)


def test_the_dictionary_holds_means_and_only_cells_that_exist() -> None:
    users = [achiever("u1"), achiever("u2"), achiever("u3")]
    events = [event("u1", "2025-01-01T08:00", "writing", 10), event("u2", "2025-01-02T08:00", "mock_test")]
    counts = benchmark_counts(users_frame(users), progress_frame(events), MONTH_END, days=2)
    # 100: two may hold everything.
    assert benchmark_dictionary(benchmark_means(counts, min_sample=3, max_share_percent=100)) == {
        "band_7.5_achievers": {
            "starting_skill_6.0": {
                "day_1": {
                    "tasks_completed": 0.33,
                    "practice_minutes": 3.33,
                    "speaking_tasks": 0,
                    "writing_tasks": 0.33,
                    "reading_tasks": 0,
                    "listening_tasks": 0,
                    "mock_tests": 0,
                    "streak_avg": 0.33,
                },
                "day_2": {
                    "tasks_completed": 0.33,
                    "practice_minutes": 3.33,
                    "speaking_tasks": 0,
                    "writing_tasks": 0.33,
                    "reading_tasks": 0,
                    "listening_tasks": 0,
                    "mock_tests": 0.33,
                    "streak_avg": 0.33,
                },
            },
        },
    }
    assert benchmark_dictionary(benchmark_means(counts, min_sample=4)) == {}


@examples(15, 60)
@given(worlds(achievers=True, max_users=12), st.sampled_from([1, 3]), st.randoms(use_true_random=False))
def test_a_mean_is_withheld_where_two_people_hold_nearly_all(
    world: tuple[str, list[Row], list[Row]], shards: int, shuffler: random.Random
) -> None:
    as_of, users, events = at(world[0]), *world[1:]
    shuffler.shuffle(users)
    parts = [
        benchmark_counts(users_frame(users[part::shards]), progress_frame(events), as_of, bands=BANDS, starts=STARTS)
        for part in range(shards)
    ]
    means = benchmark_means(pl.concat(parts), bands=BANDS, starts=STARTS, min_sample=1).collect()
    for band, start, day in means.select("target_band", "starting_skill", "day_number").unique().iter_rows():
        people = benchmark_numbers(users, events, as_of, population="interval", band=band, start=start, day=day)
        found = means.filter(target_band=band, starting_skill=start, day_number=day)["mean"]
        assert [one is not None for one in found] == [
            levels_pass(numbers) for numbers in zip(*people.values(), strict=True)
        ]


def test_a_day_that_never_was_breaks_no_streak() -> None:
    users = [achiever("u1", timezone="Pacific/Apia", created_at=at("2011-12-28T20:00"))]
    # The clocks of Apia went from the end of 29 December to the 31st, at 10:00 UTC of the 30th.
    times = ("2011-12-29T05:00", "2011-12-30T05:00", "2011-12-30T20:00", "2011-12-31T20:00")
    events = [event("u1", time) for time in times]
    assert [figures(users, events, day)["avg_streak"] for day in range(1, 7)] == [1, 2, 2, 3, 4, 4]
