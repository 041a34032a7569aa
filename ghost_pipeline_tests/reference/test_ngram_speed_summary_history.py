"""What the history of an hour holds."""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_speed_summaries import NGRAM_SPEED_SUMMARY_SCHEMA
from ghost_pipeline_tests.reference.default_summaries import ngram_speed_summaries
from ghost_pipeline_tests.reference.ngram_speed_summary_history import ngram_speed_summary_history
from ghost_pipeline_tests.reference.plain_ngrams import (
    HOUR,
    MIDNIGHT,
    Session,
    keyboards,
    practice_sessions,
    session_ngram_speed,
)

TH, HE, AA = ("th", 2), ("he", 2), ("aa", 2)
EVENING = MIDNIGHT + timedelta(hours=20)


def state(sessions: Sequence[Session], target: float = 200, *, hours: int = 0, max_sessions: int = 100) -> pl.LazyFrame:
    return ngram_speed_summaries(
        practice_sessions(sessions),
        session_ngram_speed(sessions),
        keyboards({"k1": target}),
        EVENING + hours * HOUR,
        max_sessions=max_sessions,
    )


def changed(now: pl.LazyFrame, before: pl.LazyFrame) -> list[str]:
    return ngram_speed_summary_history(now, before, EVENING).collect()["ngram_text"].to_list()


MORNING = Session("a", MIDNIGHT, {TH: [100], AA: [150]})
LATER = Session("b", EVENING - HOUR, {TH: [200], HE: [120]})


def test_the_first_summaries_are_all_new() -> None:
    assert changed(state([MORNING]), state([])) == ["aa", "th"]


def test_what_is_new_or_differs_is_in_and_nothing_else() -> None:
    assert changed(state([MORNING, LATER]), state([MORNING, LATER], hours=-1)) == ["he", "th"]


def test_an_hour_without_a_change_has_no_rows() -> None:
    assert changed(state([MORNING], hours=1), state([MORNING])) == []


def test_another_target_changes_every_summary_of_the_keyboard() -> None:
    assert changed(state([MORNING], 300), state([MORNING])) == ["aa", "th"]


def test_an_ngram_that_left_the_window_has_no_row() -> None:
    sessions = [MORNING, LATER]
    assert changed(state(sessions, max_sessions=1), state(sessions, hours=-1, max_sessions=1)) == ["he", "th"]


def test_rows_carry_the_hour_and_the_columns_of_the_summaries() -> None:
    frame = ngram_speed_summary_history(state([MORNING]), state([]), EVENING).collect()
    assert frame.schema == NGRAM_SPEED_SUMMARY_SCHEMA
    assert frame["as_of"].unique().to_list() == [EVENING]
