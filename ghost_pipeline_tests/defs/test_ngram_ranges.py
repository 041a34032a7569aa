"""A run of many hours keeps from hour to hour what a run of one hour reads: the rows are the same."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.defs import ngram_summaries
from ghost_pipeline.defs.ngram_summaries import (
    materialize_ngram_speed_summaries,
    materialize_ngram_speed_summary_history,
)
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.defs.practising import Practice
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.ngram_speed_summary_history import ngram_speed_summary_history
from ghost_pipeline_tests.reference.plain_ngrams import HOUR, MIDNIGHT, Session

TYPISTS = ("u1", "u2", "u3", "u4", "u5", "u6")
LAST = 5

practised = st.builds(
    lambda name, half_hours, of, user: Session(f"s{name:02}", MIDNIGHT + half_hours * HOUR / 2, of, user, "k1"),
    st.integers(0, 19),
    st.integers(0, 2 * LAST + 1),
    st.dictionaries(st.sampled_from([("th", 2), ("he", 2)]), st.lists(st.sampled_from([90.0, 300.0]), min_size=1)),
    st.sampled_from(TYPISTS),
)
targets = st.dictionaries(st.integers(0, LAST).map(lambda hours: MIDNIGHT + hours * HOUR), st.sampled_from([100.0]))


def _run(
    folder: str | Path, sessions: list[Session], typing_targets: dict[object, float]
) -> tuple[Practice, list[Hour]]:
    practice = Practice(Path(folder))
    practice.add(*(Session(f"of-{user}", MIDNIGHT, {("th", 2): [100]}, user, "k1") for user in TYPISTS), *sessions)
    practice.targets.update({("k1", at): target for at, target in typing_targets.items()})  # type: ignore[misc]
    practice.write()
    return practice, [practice.hour(number) for number in range(LAST + 1)]


def _context(practice: Practice) -> RunContext:
    return RunContext.of(Settings.load(data=practice.folder, **practice.limits), practice.lake)


@pytest.mark.parametrize("kept_rows", [0, 5, ngram_summaries.KEPT_ROWS])
@examples(3, 30)
@given(st.lists(practised, max_size=10), targets)
def test_the_summaries_of_a_run_of_many_hours_are_those_from_scratch(
    kept_rows: int, sessions: list[Session], typing_targets: dict[object, float]
) -> None:
    with TemporaryDirectory() as folder, patch.object(ngram_summaries, "KEPT_ROWS", kept_rows):
        practice, hours = _run(folder, sessions, typing_targets)
        list(materialize_ngram_speed_summaries(_context(practice), hours))
        for number in range(LAST + 1):
            assert practice.summaries(number).equals(practice.from_scratch(number))


@examples(3, 30)
@given(st.lists(practised, max_size=10), targets, st.sets(st.integers(0, LAST), max_size=3))
def test_the_history_of_a_run_of_many_hours_needs_no_summaries(
    sessions: list[Session], typing_targets: dict[object, float], summarised: set[int]
) -> None:
    with TemporaryDirectory() as folder:
        practice, hours = _run(folder, sessions, typing_targets)
        # Some hours have their summaries, as those that retention has not removed have: a later one is the state then.
        for number in sorted(summarised):
            list(materialize_ngram_speed_summaries(_context(practice), [hours[number]]))
        list(materialize_ngram_speed_summary_history(_context(practice), hours))
        for number, hour in enumerate(hours):
            state, before = (practice.from_scratch(one) for one in (number, number - 1))
            changes = ngram_speed_summary_history(state.lazy(), before.lazy(), hour.as_of).collect()
            assert practice.lake.scan(NGRAM_SPEED_SUMMARY_HISTORY, [hour]).collect().equals(changes)


def test_a_run_that_is_killed_between_two_hours_is_continued(tmp_path: Path) -> None:
    sessions = [Session(f"s{number}", MIDNIGHT + number * HOUR, {("th", 2): [90 + number]}) for number in range(LAST)]
    practice, hours = _run(tmp_path, sessions, {})
    with closing(
        cast("Generator[TableResult, None, None]", materialize_ngram_speed_summaries(_context(practice), hours))
    ) as results:
        for _ in range(3):
            next(results)
    list(materialize_ngram_speed_summaries(_context(practice), hours[3:]))
    assert len(practice.lake.hours(NGRAM_SPEED_SUMMARIES)) == len(hours)
    for number in range(LAST + 1):
        assert practice.summaries(number).equals(practice.from_scratch(number))
