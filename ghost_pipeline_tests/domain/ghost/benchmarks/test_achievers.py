"""Who achieved a band, who started where."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from ghost_pipeline.domain.ghost.benchmarks.achievers import (
    achievers,
    block_edge,
    edges_within,
    reaches,
    starting_skill,
    within_half_band,
)
from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, user, users_frame

AS_OF = at("2025-03-01T00:00")
JANUARY = {"created_at": at("2025-01-01T00:00"), "diagnostic_score": 6.0, "final_band_score": 7.5}


def is_achiever(**values: object) -> bool:
    users = users_frame([user("u1", **{**JANUARY, **values})])
    return achievers(users, AS_OF).collect().height == 1


def holds(expression: pl.Expr, score: float | None) -> object:
    return pl.LazyFrame({"score": [score]}, schema={"score": pl.Float64}).select(expression).collect().item()


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({}, True),
        ({"diagnostic_score": None}, False),
        ({"final_band_score": None}, False),
        ({"created_at": AS_OF}, False),
        ({"final_band_at": AS_OF}, False),
        ({"final_band_at": AS_OF - timedelta(microseconds=1)}, True),
        ({"score_known_at": AS_OF}, True),
        ({"score_known_at": AS_OF + timedelta(microseconds=1)}, False),
        ({"final_band_at": AS_OF, "score_known_at": at("2025-01-01T00:00")}, False),
    ],
)
def test_achievers_have_both_scores_and_a_known_result(values: Row, *, counts: bool) -> None:
    assert is_achiever(**values) is counts


@pytest.mark.parametrize(
    ("score", "inside"),
    [(7.0, True), (7.4, True), (7.49, True), (7.5, False), (6.99, False), (None, False)],
)
def test_half_bands_include_their_lower_end_only(score: float | None, *, inside: bool) -> None:
    assert holds(within_half_band("score", Decimal("7.0")), score) is inside


@pytest.mark.parametrize(("score", "reached"), [(7.5, True), (9.0, True), (7.4, False), (None, False)])
def test_at_least_a_band(score: float | None, *, reached: bool) -> None:
    assert holds(reaches("score", Decimal("7.5")), score) is reached


def test_half_bands_at_every_tenth_hold_exactly_five_tenths() -> None:
    scores = pl.LazyFrame({"tenths": range(91), "score": [tenths / 10 for tenths in range(91)]})
    inside = scores.select(
        pl.col("tenths").filter(within_half_band("score", Decimal(lower) / 10)).implode().alias(str(lower))
        for lower in range(86)
    )
    assert list(inside.collect().row(0)) == [list(range(lower, lower + 5)) for lower in range(86)]


def test_of_overlapping_starts_the_highest_is_taken() -> None:
    assert holds(starting_skill([Decimal("5.0"), Decimal("5.3")], "score"), 5.4) == Decimal("5.3")


def test_half_bands_are_unions_of_blocks() -> None:
    bands = [Decimal("7.0"), Decimal("7.3")]
    assert edges_within(bands, Decimal("7.0"), Decimal("7.5")) == (70, 73)
    assert edges_within(bands, Decimal("7.3"), None) == (73, 75, 78)
    assert [holds(block_edge("score", bands), score) for score in (6.9, 7.0, 7.3, 7.6, 9.0, None)] == [
        None,
        70,
        73,
        75,
        78,
        None,
    ]


def test_bands_have_one_decimal() -> None:
    with pytest.raises(ValueError, match=r"band 7\.25 has more than one decimal"):
        edges_within([Decimal("7.25")], Decimal(7), None)
