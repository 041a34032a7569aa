"""How n-grams develop."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ghost_pipeline.domain.ngrams.ngram_trends import (
    BIGGEST_CHANGES_SCHEMA,
    MISSING_TARGET_SCHEMA,
    NGRAM_TREND_SCHEMA,
    biggest_changes,
    missing_target_counts,
    ngram_trend,
)
from ghost_pipeline.domain.ngrams.session_ngram_summary import session_ngram_summary
from ghost_pipeline_tests.reference.default_summaries import ngram_speed_summaries
from ghost_pipeline_tests.reference.ngram_speed_summary_history import ngram_speed_summary_history
from ghost_pipeline_tests.reference.plain_ngrams import (
    HOUR,
    MIDNIGHT,
    Session,
    keyboards,
    practice_sessions,
    session_ngram_errors,
    session_ngram_speed,
)

DAY = timedelta(days=1)


def history(*days: Mapping[str, float], max_measurements: int = 1) -> pl.LazyFrame:
    """The history of a session a day, each with one measurement of each of these n-grams."""
    sessions = [
        Session(f"s{number}", MIDNIGHT + number * DAY, {(text, len(text)): [value] for text, value in day.items()})
        for number, day in enumerate(days)
    ]

    def state(as_of: datetime) -> pl.LazyFrame:
        tables = practice_sessions(sessions), session_ngram_speed(sessions), keyboards({"k1": 200})
        return ngram_speed_summaries(*tables, as_of, max_measurements=max_measurements)

    return pl.concat(
        ngram_speed_summary_history(state(session.start + HOUR), state(session.start), session.start + HOUR)
        for session in sessions
    )


def test_an_ngram_has_a_row_for_each_hour_in_which_it_changed() -> None:
    frame = ngram_trend(history({"th": 300}, {"he": 1}, {"th": 200}), "u1", "k1", "th").collect()
    assert frame.select("as_of", "decaying_average_ms").rows() == [
        (MIDNIGHT + HOUR, 300),
        (MIDNIGHT + 2 * DAY + HOUR, 200),
    ]
    assert frame.schema == NGRAM_TREND_SCHEMA


def test_the_trend_of_an_unknown_ngram_is_empty() -> None:
    assert ngram_trend(history({"th": 300}), "u1", "k1", "zz").collect().is_empty()


def test_a_trend_refuses_a_text_that_no_ngram_has() -> None:
    with pytest.raises(ValueError, match="ngram_text"):
        ngram_trend(history({"th": 1}), "u1", "k1", "")


def changes(frame: pl.LazyFrame, **options: Any) -> list[tuple[str, float]]:  # noqa: ANN401 - whatever the case is about
    return biggest_changes(frame, "u1", "k1", **options).select("ngram_text", "delta").collect().rows()


def test_the_best_improvement_comes_first_and_ties_by_text() -> None:
    frame = history({"c": 100, "a": 300, "d": 200, "b": 300}, {"a": 250, "b": 250, "c": 130, "d": 190})
    assert changes(frame) == [("a", 50), ("b", 50), ("d", 10), ("c", -30)]


def test_a_change_is_against_what_the_ngram_last_was() -> None:
    frame = history({"a": 300}, {"b": 100}, {"a": 200, "b": 150})
    rows = biggest_changes(frame, "u1", "k1").collect().rows()
    days = [MIDNIGHT + HOUR + number * DAY for number in range(3)]
    assert rows == [
        ("a", 1, 300, 200, 100, days[0], days[2]),
        ("b", 1, 100, 150, -50, days[1], days[2]),
    ]


def test_what_is_new_or_only_measured_again_did_not_change() -> None:
    assert changes(history({"a": 300}, {"a": 300, "b": 100})) == []


def test_the_biggest_of_each_kind() -> None:
    frame = history(dict.fromkeys("abcdef", 100), {"a": 90, "b": 80, "c": 70, "d": 110, "e": 120, "f": 130})
    assert changes(frame, n=1) == [("c", 30), ("f", -30)]
    assert changes(frame, n=2) == [("c", 30), ("b", 20), ("e", -20), ("f", -30)]
    assert changes(frame, n=0) == []


@pytest.mark.parametrize("days", [[], [{"a": 1}]])
def test_fewer_than_two_states_show_no_change(days: Sequence[Mapping[str, float]]) -> None:
    frame = history({"zz": 1}, *days).filter(pl.col("ngram_text") != "zz")
    found = biggest_changes(frame, "u1", "k1").collect()
    assert found.is_empty()
    assert found.schema == BIGGEST_CHANGES_SCHEMA


def test_changes_refuse_a_broken_number() -> None:
    with pytest.raises(ValueError, match=r"n must be a whole number \(got 0.5\)"):
        biggest_changes(history({"a": 1}), "u1", "k1", 0.5)  # type: ignore[arg-type]


SESSIONS = [
    Session("old", MIDNIGHT, {("aa", 2): [300, 100], ("bb", 2): [280], ("cc", 2): [200]}),
    Session("mid", MIDNIGHT + DAY, {("aa", 2): [150]}),
    Session("new", MIDNIGHT + 2 * DAY, {}),
    Session("not mine", MIDNIGHT + DAY, {("aa", 2): [900]}, user_id="u2"),
]


def missing(**options: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - whatever the case is about
    practised = practice_sessions(SESSIONS)
    summary = session_ngram_summary(practised, session_ngram_speed(SESSIONS), session_ngram_errors({"new": ["zz"]}))
    arguments: dict[str, Any] = {"user_id": "u1", "keyboard_id": "k1", "target_speed_ms": 200.0} | options
    frame = missing_target_counts(summary, practised, **arguments).collect()
    assert frame.schema == MISSING_TARGET_SCHEMA
    return frame.select("session_id", "missing").rows()


def test_each_session_counts_the_means_that_miss_the_target_oldest_first() -> None:
    assert missing() == [("old", 1), ("mid", 0), ("new", 0)]
    assert missing(target_speed_ms=140) == [("old", 3), ("mid", 1), ("new", 0)]


def test_only_the_newest_sessions_are_counted() -> None:
    assert missing(n_sessions=2) == [("mid", 0), ("new", 0)]
    assert missing(n_sessions=1, as_of=MIDNIGHT + DAY) == [("old", 1)]
    assert missing(n_sessions=0) == []


def test_an_unknown_user_misses_nothing() -> None:
    assert missing(user_id="nobody") == []


@pytest.mark.parametrize("options", [{"n_sessions": 1.0}, {"target_speed_ms": -1}])
def test_counts_refuse_broken_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(options)):
        missing(**options)
