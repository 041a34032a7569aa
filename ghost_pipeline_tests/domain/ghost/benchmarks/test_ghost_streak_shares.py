"""Shares of achievers who reached a streak."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given

from ghost_pipeline.domain.ghost.benchmarks.ghost_streak_shares import streak_counts, streak_people
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
    DEFAULT_BANDS,
    DEFAULT_STARTS,
    finish_streak_shares,
    ghost_streak_shares,
    next_streak_threshold,
)

MONTH_END = at("2025-03-01T00:00")
BANDS = (Decimal("7.0"), Decimal("8.0"))
STARTS = (Decimal("5.0"), Decimal("5.2"))


def achiever(user_id: str, **values: object) -> Row:
    created = {"created_at": at("2025-01-01T00:00")}
    return user(user_id, **{"diagnostic_score": 6.0, "final_band_score": 7.5, **created, **values})


def streak(user_id: str, days: int) -> list[Row]:
    return [event(user_id, f"2025-02-{day:02}T08:00") for day in range(1, days + 1)]


def shares(users: Sequence[Row], events: Sequence[Row], min_sample: int = 1) -> pl.DataFrame:
    return ghost_streak_shares(
        users_frame(users),
        progress_frame(events),
        MONTH_END,
        min_sample=min_sample,
    ).collect()


@examples(10, 30)
@given(worlds(achievers=True, max_users=10))
def test_all_rows_equal_the_plain_reference(world: tuple[str, list[Row], list[Row]]) -> None:
    as_of, users, events = at(world[0]), *world[1:]
    expected = []
    for band in BANDS:
        for start in (None, *STARTS):
            longest = [
                plain_ghost.user_stats(row, events, as_of)["longest_streak"]
                for row in users
                if plain_ghost.is_achiever(row, as_of)
                and plain_ghost.in_population(row, "at_least", band)
                and (start is None or plain_ghost.starts_at(row, start))
            ]
            expected += [
                (band, start, days, n // 5 * 5, (200 * sum(run >= days for run in longest) + n) // (2 * n))
                for days in (1, 2, 3)
                if (n := len(longest)) >= 2
            ]
    found = ghost_streak_shares(
        users_frame(users),
        progress_frame(events),
        as_of,
        bands=BANDS,
        starts=STARTS,
        thresholds=(1, 2, 3),
        min_sample=2,
    ).collect()
    key = ("target_band", "starting_skill", "streak_threshold")
    assert found.select(*key, "sample_size", "percentage").rows() == expected


@examples(4, 10)
@given(worlds(achievers=True, max_users=12))
def test_shards_give_the_same_bytes(world: tuple[str, list[Row], list[Row]]) -> None:
    as_of, users, events = at(world[0]), *world[1:]
    progress = progress_frame(events)
    whole = table_bytes(ghost_streak_shares(users_frame(users), progress, as_of, min_sample=1))
    for shards in (3, 16):
        parts = [
            streak_people(users_frame(users[shard::shards]), progress, as_of, bands=DEFAULT_BANDS)
            for shard in range(shards)
        ]
        counts = streak_counts(pl.concat(parts), bands=DEFAULT_BANDS, starts=DEFAULT_STARTS)
        assert table_bytes(finish_streak_shares(counts, as_of, min_sample=1)) == whole


def test_shares_are_whole_percentages() -> None:
    found = shares([achiever("a"), achiever("b"), achiever("c")], [*streak("a", 5), *streak("b", 3)])
    of_all = found.filter(pl.col("starting_skill").is_null(), target_band=Decimal("7.0"))
    assert of_all.select("streak_threshold", "percentage").rows() == [
        (3, 67),
        (5, 33),
        (7, 0),
        (14, 0),
        (30, 0),
    ]


def test_any_diagnostic_counts_where_no_start_is_named() -> None:
    scores = [*[6.0] * 5, *[4.0] * 5, *[8.0] * 5]
    found = shares([achiever(f"u{number:02}", diagnostic_score=score) for number, score in enumerate(scores)], [])
    sizes = found.filter(target_band=Decimal("7.5"), streak_threshold=3)
    assert sizes.select("starting_skill", "sample_size").rows() == [(None, 15), (Decimal("6.0"), 5)]


def test_fewer_than_the_sample_is_no_row() -> None:
    assert shares([achiever("a"), achiever("b")], streak("a", 3), min_sample=3).height == 0


@pytest.mark.parametrize(("current", "threshold"), [(0, 3), (3, 5), (4, 5), (29, 30), (30, None), (99, None)])
def test_the_next_threshold_is_the_smallest_above(current: int, threshold: int | None) -> None:
    frame = pl.LazyFrame({"current_streak": [current]}, schema={"current_streak": pl.Int32})
    assert frame.select(next_streak_threshold()).collect().item() == threshold


def test_a_date_that_never_existed_does_not_break_the_longest_streak() -> None:
    users = [achiever("u1", timezone="Pacific/Apia", created_at=at("2011-12-01T00:00"))]
    # 28 and 29 December before the clocks of Apia went on to the 31st, then the 31st.
    events = [event("u1", time) for time in ("2011-12-29T05:00", "2011-12-30T05:00", "2011-12-30T20:00")]
    found = shares(users, events).filter(pl.col("target_band") == 7, pl.col("streak_threshold") == 3)
    assert found["percentage"].to_list()[:1] == [100]
