"""Who reached the band, of those at or above a benchmark and of those below."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ghost.benchmarks.ghost_outcome_odds import (
    ODDS_DAYS,
    finish_outcome_odds,
    merge_outcome_counts,
    outcome_counts,
)
from ghost_pipeline_tests.domain.ghost.ghost_frames import (
    Row,
    at,
    event,
    progress_frame,
    table_bytes,
    user,
    users_frame,
)
from ghost_pipeline_tests.domain.ghost.ghost_worlds import ZONES
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference import plain_ghost

MONTH_END = at("2025-03-01T00:00")
BANDS = (Decimal("7.0"), Decimal("7.5"))
STARTS = (Decimal("5.0"), Decimal("5.5"))
DAY = timedelta(days=1)

counted = partial(outcome_counts, bands=BANDS, starts=STARTS)
finished = partial(finish_outcome_odds, bands=BANDS, starts=STARTS)


def benchmarks(tasks: int, minutes: int) -> pl.LazyFrame:
    """The same figures for every cell, day and rung."""
    rows = [
        (population, band, start, day, rung, tasks, minutes)
        for population in ("at_least", "interval")
        for band in BANDS
        for start in STARTS
        for day in (6, *ODDS_DAYS)
        for rung in (10, 25, 50)
    ]
    schema = {
        "population": pl.String(),
        "target_band": pl.Decimal(2, 1),
        "starting_skill": pl.Decimal(2, 1),
        "day_number": pl.Int32(),
        "success_percentile": pl.Int32(),
        "avg_tasks_completed": pl.Int32(),
        "avg_practice_minutes": pl.Int32(),
    }
    return pl.LazyFrame(rows, schema=schema, orient="row")


def odds(
    users: Sequence[Row],
    events: Sequence[Row],
    figures: tuple[int, int],
    as_of: datetime = MONTH_END,
    min_sample: int = 1,
) -> pl.DataFrame:
    counts = counted(users_frame(users), progress_frame(events), as_of)
    return finished(counts, benchmarks(*figures), as_of, min_sample=min_sample).collect()


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Learners of the last ten weeks, results at any time, events that lie close together."""
    users, events = [], []
    hours = st.integers(-2, 70 * 24)
    for number in range(draw(st.integers(1, 12))):
        created = MONTH_END - timedelta(hours=draw(hours))
        users.append(
            user(
                f"u{number}",
                created_at=created,
                timezone=draw(st.sampled_from(ZONES)),
                diagnostic_score=draw(st.sampled_from([None, 4.9, 5.0, 5.2, 5.6, 6.0])),
                final_band_score=draw(st.sampled_from([None, 6.5, 7.0, 7.4, 7.5, 9.0])),
                final_band_at=draw(st.sampled_from([None, MONTH_END - timedelta(hours=draw(hours)), MONTH_END])),
                score_known_at=draw(st.sampled_from([None, MONTH_END - timedelta(hours=draw(hours))])),
            )
        )
        events += [
            event(f"u{number}", created + timedelta(hours=age), kind, minutes)
            for age, kind, minutes in draw(
                st.lists(
                    st.tuples(
                        st.integers(-24, 24 * 40),
                        st.sampled_from(["speaking", "grammar", "mock_test"]),
                        st.sampled_from([0, 0.5, 5, 10]),
                    ),
                    max_size=8,
                )
            )
        ]
    return users, events


def plain_odds(users: Sequence[Row], events: Sequence[Row], figures: tuple[int, int]) -> list[tuple[object, ...]]:
    """Sizes of the groups, read from G10.2: key, above, of them reached, below, of them reached, open."""
    found: list[tuple[object, ...]] = []
    for band in BANDS:
        for start in STARTS:
            for day in ODDS_DAYS:
                groups: dict[tuple[str, str], list[bool]] = {}
                for row in users:
                    totals = plain_ghost.day_figures(row, events, MONTH_END, day)
                    starts = row["diagnostic_score"] is not None and plain_ghost.starts_at(row, start)
                    if totals is None or not starts:
                        continue
                    known = plain_ghost.is_achiever(row, MONTH_END)
                    came = row["final_band_at"] or row["score_known_at"]
                    first = plain_ghost.local_date(row, row["created_at"])
                    if known and (came is None or plain_ghost.local_date(row, came) < first + day * DAY):
                        continue
                    reached = known and plain_ghost.in_population(row, "at_least", band)
                    for name, total, figure in zip(
                        ("tasks_completed", "practice_minutes"), totals, (figures[0], figures[1] * 60_000), strict=False
                    ):
                        side = ("above" if total >= figure else "below") if known else "open"
                        groups.setdefault((name, side), []).append(reached)
                for name in ("practice_minutes", "tasks_completed"):
                    above, below = (groups.get((name, side), []) for side in ("above", "below"))
                    sizes = len(above), sum(above), len(below), sum(below), len(groups.get((name, "open"), []))
                    if above and below:
                        found += [(band, start, day, name, rung, *sizes) for rung in (25, 50)]
    return found


@examples(60, 300)
@given(outcomes(), st.tuples(st.integers(0, 4), st.sampled_from([0, 5, 10])))
def test_all_rows_equal_the_plain_reference(world: tuple[list[Row], list[Row]], figures: tuple[int, int]) -> None:
    key = ("target_band", "starting_skill", "day_number", "metric", "rung")
    found = odds(*world, figures)
    sizes = ("above_n", "above_reached", "below_n", "below_reached", "open")
    assert found.select(*key, *sizes).rows() == plain_odds(*world, figures)


@examples(10, 40)
@given(outcomes())
def test_shards_give_the_same_bytes(world: tuple[list[Row], list[Row]]) -> None:
    users, events = world
    progress, figures = progress_frame(events), benchmarks(1, 5)
    whole = counted(users_frame(users), progress, MONTH_END)
    for shards in (2, 7):
        parts = [counted(users_frame(users[shard::shards]), progress, MONTH_END) for shard in range(shards)]
        merged = merge_outcome_counts(parts)
        assert table_bytes(merged) == table_bytes(whole)
        assert table_bytes(finished(merged, figures, MONTH_END, min_sample=1)) == table_bytes(
            finished(whole, figures, MONTH_END, min_sample=1)
        )


def world(above: int, below: int, reached: int) -> tuple[list[Row], list[Row]]:
    """People, `above` of them with a task; of each group the first `reached` have the band."""
    created = {"created_at": at("2025-01-01T00:00"), "diagnostic_score": 5.0, "final_band_at": at("2025-02-20T00:00")}
    users = [
        user(f"{group}{number}", final_band_score=7.0 if number < reached else 6.0, **created)
        for group, size in (("a", above), ("b", below))
        for number in range(size)
    ]
    return users, [event(f"a{number}", "2025-01-02T08:00") for number in range(above)]


@pytest.mark.parametrize(("above", "below", "rows"), [(50, 50, True), (49, 60, False), (60, 49, False)])
def test_a_group_that_is_too_small_has_no_row(above: int, below: int, rows: bool) -> None:  # noqa: FBT001
    assert odds(*world(above, below, 1), (1, 1), min_sample=50).is_empty() != rows


def test_shares_and_their_difference_have_intervals() -> None:
    row = odds(*world(60, 50, 20), (1, 1)).row(0, named=True)
    assert (row["above_share"], row["below_share"]) == (pytest.approx(20 / 60), pytest.approx(0.4))
    assert row["above_low"] < row["above_share"] < row["above_high"]
    assert row["difference_low"] < row["difference"] < row["difference_high"]
