"""Charts as rows of a table: what they say, how long their bars are, and that they stay small."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.pictures.charts import BLOCKS, MOST_BARS, WIDTH, Count, bar, bars, bars_beside, nice_above

MOST_BYTES = 8_000
"""Of a picture as Dagster stores it."""


def test_bars_have_labels_numbers_and_a_scale() -> None:
    picture = bars("reason", "rows", [Count("unknown user", 1200), Count("no time", 3)])
    assert picture.columns == ["reason", "rows", "0 to 2,000"]
    assert picture.rows() == [("unknown user", 1200, "█████████▋"), ("no time", 3, "▏")]


def test_the_bars_that_are_too_many_are_one() -> None:
    picture = bars("reason", "rows", [Count(f"reason {number}", 1) for number in range(MOST_BARS + 8)])
    assert picture.height == MOST_BARS
    assert picture.row(-1)[:2] == ("9 others", 9)


def test_one_bar_is_a_picture() -> None:
    assert bars("reason", "rows", [Count("a", 1)]).rows() == [("a", 1, "█" * WIDTH)]


def test_nothing_is_a_picture_without_rows() -> None:
    assert bars("reason", "rows", []).columns == ["reason", "rows", "0 to 1"]
    assert bars("reason", "rows", []).is_empty()
    assert bars_beside("type", [], [("behind", [])]).columns == ["type", "behind, 0 to 1"]


def test_columns_have_scales_of_their_own() -> None:
    picture = bars_beside("step", ["low", "high"], [("a", [1, 2]), ("b", [0, 40])])
    assert picture.columns == ["step", "a, 0 to 2", "b, 0 to 50"]
    assert picture.rows() == [("low", "███ 1", "0"), ("high", "██████ 2", "████▊ 40")]


def test_columns_may_share_a_scale() -> None:
    picture = bars_beside("step", ["low"], [("a", [50]), ("b", [100])], 100)
    assert picture.rows() == [("low", "███ 50", "██████ 100")]


@pytest.mark.parametrize(
    ("number", "end"), [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (10, 10), (11, 20), (501, 1000), (2000, 2000)]
)
def test_a_scale_ends_with_a_round_number(number: int, end: int) -> None:
    assert nice_above(number) == end


@given(number=st.integers(0, 10**9), width=st.integers(1, 40))
def test_a_bar_is_as_long_as_its_number(number: int, width: int) -> None:
    top = nice_above(number)
    eighths = sum(BLOCKS.index(block) for block in bar(number, top, width))
    assert eighths <= 8 * width
    assert (eighths > 0) == (number > 0)
    assert abs(eighths - 8 * width * number / top) <= 1


@given(counts=st.lists(st.tuples(st.text(max_size=80), st.integers(0, 10**9)), max_size=40))
def test_any_bars_are_few_bytes_of_dagsters_records(counts: list[tuple[str, int]]) -> None:
    picture = bars("reason", "rows", [Count(*one) for one in counts])
    assert picture["rows"].sum() == sum(number for _, number in counts)
    assert len(dg.serialize_value(as_table(picture)).encode()) < MOST_BYTES + 12 * sum(
        len(label) for label, _ in counts
    )
