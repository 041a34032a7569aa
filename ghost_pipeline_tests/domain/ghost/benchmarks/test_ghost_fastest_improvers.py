"""Minutes a day of the fastest improvers."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ghost.benchmarks.ghost_fastest_improvers import user_minutes_per_day
from ghost_pipeline_tests.domain.ghost.ghost_frames import (
    Row,
    at,
    event,
    progress_frame,
    table_bytes,
    user,
    users_frame,
)
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference import plain_ghost
from ghost_pipeline_tests.reference.months import finish_fastest_improvers, ghost_fastest_improvers, improvers

MONTH_END = at("2025-03-01T00:00")
CREATED = at("2025-01-01T00:00")


def improver(user_id: str, days: float = 30, **values: object) -> Row:
    return user(
        user_id,
        **{
            "created_at": CREATED,
            "diagnostic_score": 6.0,
            "final_band_score": 7.5,
            "final_band_at": CREATED + timedelta(days=days),
            **values,
        },
    )


def table(users: Sequence[Row], events: Sequence[Row], min_sample: int = 1) -> pl.DataFrame:
    return ghost_fastest_improvers(
        users_frame(users),
        progress_frame(events),
        MONTH_END,
        min_sample=min_sample,
    ).collect()


def minutes_per_day(users: Sequence[Row], events: Sequence[Row]) -> Decimal | None:
    found: Decimal = table(users, events)["minutes_per_day"].item()
    return found


SCORES = st.sampled_from([(6.0, 7.0), (6.1, 7.1), (6.3, 7.3), (6.0, 9.0), (6.4, 7.0)])
DURATIONS = st.one_of(st.integers(1, 10).map(lambda days: days * 86_400_000_000), st.integers(1, 10**12))
ACTIVITY = st.lists(st.tuples(st.integers(0, 10**12), st.sampled_from([0.5, 1, 7.5, 25])), max_size=3)


@examples(20, 60)
@given(st.lists(st.tuples(SCORES, DURATIONS, ACTIVITY), min_size=1, max_size=9), st.integers(1, 3))
def test_the_figure_equals_the_plain_reference(
    people: list[tuple[tuple[float, float], int, list[tuple[int, float]]]],
    shards: int,
) -> None:
    users = [
        improver(
            f"u{number}",
            diagnostic_score=before,
            final_band_score=after,
            final_band_at=CREATED + timedelta(microseconds=duration),
        )
        for number, ((before, after), duration, _) in enumerate(people)
    ]
    events = [
        event(f"u{number}", CREATED + timedelta(microseconds=offset), minutes=minutes)
        for number, (_, _, activity) in enumerate(people)
        for offset, minutes in activity
    ]
    expected = plain_ghost.minutes_per_day(users, events, MONTH_END)
    found = table(users, events)
    assert found.select("starting_skill", "sample_size", "minutes_per_day").rows() == [
        (Decimal("6.0"), len(users) // 5 * 5, expected),
    ]
    parts = [improvers(users_frame(users[shard::shards]), progress_frame(events), MONTH_END) for shard in range(shards)]
    merged = finish_fastest_improvers(pl.concat(parts), MONTH_END, min_sample=1)
    assert table_bytes(merged) == table_bytes(found)


def test_the_fastest_quarter_is_rounded_up() -> None:
    users = [improver(f"u{number}", days=10 + number) for number in range(5)]
    events = [event("u0", "2025-01-02T08:00", minutes=100), event("u1", "2025-01-02T08:00", minutes=110)]
    assert minutes_per_day(users, events) == Decimal("10.0")


def test_ties_go_to_the_smaller_user_id() -> None:
    users = [improver(user_id, days=10) for user_id in ("d", "b", "c", "a")]
    events = [event("a", "2025-01-02T08:00", minutes=10), event("d", "2025-01-02T08:00", minutes=100)]
    assert minutes_per_day(users, events) == Decimal("1.0")


def test_equal_gains_tie_although_binary_floats_differ() -> None:
    gains = [(6.0, 7.0), (6.1, 7.1), (6.4, 7.4), (6.3, 7.3)]
    users = [
        improver(user_id, days=10, diagnostic_score=before, final_band_score=after)
        for user_id, (before, after) in zip("abcd", gains, strict=True)
    ]
    assert minutes_per_day(users, [event("a", "2025-01-02T08:00", minutes=50)]) == Decimal("5.0")


def test_a_microsecond_decides() -> None:
    users = [improver("a"), improver("b", final_band_at=CREATED + timedelta(days=30, microseconds=-1))]
    assert minutes_per_day(users, [event("b", "2025-01-02T08:00", minutes=30)]) == Decimal("1.0")


def test_only_minutes_before_the_result_count() -> None:
    events = [
        event("a", "2025-01-10T23:59", minutes=10),
        event("a", "2025-01-11T00:00", minutes=10),
        event("a", "2025-01-02T08:00", "mock_test", 60),
    ]
    assert minutes_per_day([improver("a", days=10)], events) == Decimal("1.0")


def test_exact_halves_round_away_from_zero() -> None:
    events = [event("a", "2025-01-02T08:00", minutes=0.5)]
    assert minutes_per_day([improver("a", days=10)], events) == Decimal("0.1")


def test_exact_halves_of_a_sum_of_thirds_round_away_from_zero() -> None:
    users = [improver(f"u{number}", days=days) for number, days in enumerate([3, 3, *[30] * 6])]
    events = [event("u0", "2025-01-02T08:00", minutes=0.1), event("u1", "2025-01-02T08:00", minutes=0.2)]
    assert minutes_per_day(users, events) == Decimal("0.1")


@pytest.mark.parametrize(
    "values",
    [
        {"final_band_at": None},
        {"final_band_at": CREATED},
        {"final_band_at": MONTH_END},
        {"final_band_score": 6.9},
        {"diagnostic_score": 4.9},
    ],
)
def test_who_is_no_improver(values: Row) -> None:
    assert table([improver("a", **values)], []).height == 0


def test_fewer_than_the_sample_is_no_row() -> None:
    assert table([improver("a"), improver("b")], [], min_sample=3).height == 0


@pytest.mark.parametrize(
    ("minutes", "day", "own"), [(216, 12, "18.0"), (140, 12, "11.7"), (1, 20, "0.1"), (5, 0, None)]
)
def test_the_users_own_side(minutes: int, day: int, own: str | None) -> None:
    frame = pl.LazyFrame({"practice_time_ms": [minutes * 60_000], "day_in_journey": [day]})
    assert frame.select(user_minutes_per_day()).collect().item() == (own and Decimal(own))
