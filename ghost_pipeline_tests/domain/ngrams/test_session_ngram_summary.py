"""What one session says about each n-gram."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.domain.ngrams.session_ngram_summary import (
    SESSION_NGRAM_SUMMARY_SCHEMA,
    session_ngram_summary,
)
from ghost_pipeline_tests.reference.plain_ngrams import (
    MIDNIGHT,
    Session,
    practice_sessions,
    session_ngram_errors,
    session_ngram_speed,
)


def summary(sessions: Sequence[Session], errors: Mapping[str, Iterable[str]] | None = None) -> pl.DataFrame:
    return session_ngram_summary(
        practice_sessions(sessions), session_ngram_speed(sessions), session_ngram_errors(errors or {})
    ).collect()


def test_mean_instances_and_errors() -> None:
    sessions = [Session("s", MIDNIGHT, {("th", 2): [90, 110], ("e", 1): [50]})]
    assert summary(sessions, {"s": ["th", "th", "x"]}).rows() == [
        ("s", "u1", "k1", "e", 1, 50.0, 1, 0, MIDNIGHT),
        ("s", "u1", "k1", "th", 2, 100.0, 4, 2, MIDNIGHT),
        ("s", "u1", "k1", "x", 1, None, 1, 1, MIDNIGHT),
    ]


def test_the_mean_of_equal_values_is_that_value() -> None:
    frame = summary([Session("s", MIDNIGHT, {("th", 2): [0.1] * 7})])
    assert frame["avg_ms_per_keystroke"].to_list() == [0.1]


def test_ngrams_of_unknown_sessions_are_left_out() -> None:
    assert summary([Session("s", MIDNIGHT, {})], {"other": ["th"]}).is_empty()


def test_columns_and_their_types() -> None:
    assert summary([]).schema == SESSION_NGRAM_SUMMARY_SCHEMA


values = st.lists(st.floats(0.5, 5000, allow_nan=False), min_size=1, max_size=9)


@settings(deadline=None, max_examples=40)
@given(st.lists(values, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_it_is_the_mean_whatever_the_order_of_rows(groups: list[list[float]], random: Random) -> None:
    sessions = [Session(f"s{n}", MIDNIGHT, {("th", 2): group}) for n, group in enumerate(groups)]
    shuffled = [
        Session(s.session_id, s.start, {("th", 2): random.sample(group, len(group))})
        for s, group in zip(sessions, groups, strict=True)
    ]
    frame = summary(sessions)
    assert frame.equals(summary(random.sample(shuffled, len(shuffled))))
    assert frame["avg_ms_per_keystroke"].to_list() == pytest.approx([sum(g) / len(g) for g in groups], rel=1e-12)
