"""Measurements merged by n-gram and session."""

from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ngrams import ngram_measurements
from ghost_pipeline.domain.ngrams.ngram_measurements import SessionMeans, session_means
from ghost_pipeline_tests.reference.plain_ngrams import SPEED_SCHEMA

Row = tuple[str, str, int, float]

rows = st.lists(
    st.tuples(
        st.sampled_from(["s0", "s1", "s2", "other"]),
        st.sampled_from(["th", "e", "\u00e9"]),
        st.sampled_from([1, 2, 20]),
        st.floats(0.5, 5000, allow_nan=False),
    ),
    max_size=20,
)


def merged(measured: list[Row], place_bits: int = 2) -> SessionMeans:
    speed = [(session, text, size, value * size, value) for session, text, size, value in measured]
    sessions = pl.LazyFrame({"session_id": ["s0", "s1", "s2"], "place": [2, 0, 1]})
    return session_means(
        pl.LazyFrame(speed, schema=SPEED_SCHEMA, orient="row"),
        sessions.cast({"place": pl.UInt64}),
        place_bits,
    )


def entries(means: SessionMeans) -> list[tuple[str, int, int, float, int]]:
    text, size = means.ngram()
    columns = text.to_list(), size.to_list(), means.place().tolist(), means.mean().tolist(), means.count.tolist()
    return list(zip(*columns, strict=True))


def test_entries_of_an_ngram_lie_together_by_place() -> None:
    measured: list[Row] = [("s0", "th", 2, 10), ("s0", "e", 1, 5), ("s1", "th", 2, 20), ("s2", "th", 2, 30)]
    found = entries(merged(measured))
    assert [entry for entry in found if entry[0] == "th"] == [
        ("th", 2, 0, 20, 1),
        ("th", 2, 1, 30, 1),
        ("th", 2, 2, 10, 1),
    ]
    assert sorted(merged(measured).first_of_each(2).tolist()) in ([0, 1], [0, 3])


def test_a_text_in_two_sizes_is_two_ngrams() -> None:
    assert sorted(entries(merged([("s0", "th", 2, 10), ("s0", "th", 1, 5)]))) == [
        ("th", 1, 2, 5, 1),
        ("th", 2, 2, 10, 1),
    ]


def test_the_low_bits_of_places_tell_what_is_below_a_limit() -> None:
    means = merged([("s0", "th", 2, 10), ("s1", "th", 2, 20), ("s2", "th", 2, 30)])
    assert means.place_is_below(2, 2).tolist() == [True, True, False]
    assert means.place_is_below(1, 1).tolist() == [True, False, True]


def test_too_many_texts_and_sessions_for_one_integer_are_refused() -> None:
    with pytest.raises(OverflowError, match="fewer users at a time"):
        merged([("s0", "th", 2, 10)], place_bits=60)


@given(rows, st.randoms(use_true_random=False))
def test_an_entry_is_the_mean_of_its_measurements_whatever_their_order(measured: list[Row], random: Random) -> None:
    groups: dict[tuple[str, int, int], list[float]] = {}
    for session, text, size, value in measured:
        if session != "other":
            groups.setdefault((text, size, {"s0": 2, "s1": 0, "s2": 1}[session]), []).append(value)
    found = sorted(entries(merged(measured)))
    assert [entry[:3] for entry in found] == sorted(groups)
    for text, size, place, mean, count in found:
        values = groups[text, size, place]
        assert mean == pytest.approx(sum(values) / len(values), rel=1e-12)
        assert count == len(values)
    assert sorted(entries(merged(random.sample(measured, len(measured))))) == found


@given(rows)
def test_keys_without_room_for_a_row_give_the_same(measured: list[Row]) -> None:
    expected = sorted(entries(merged(measured)))
    with pytest.MonkeyPatch.context() as patch:
        # Room for three texts, a size and a place, none for the row.
        patch.setattr(ngram_measurements, "_KEY_BITS", 2 + 5 + 2)
        assert sorted(entries(merged(measured))) == expected
