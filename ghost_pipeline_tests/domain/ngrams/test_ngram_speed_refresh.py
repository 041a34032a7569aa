"""Hashes of what summaries follow from, and measurements thinned out to those that still count."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ngrams.ngram_speed_refresh import (
    aged,
    hashed_sessions,
    in_sessions,
    measured,
    pair_inputs,
    pair_totals,
    still_counting,
    sum_of_totals,
    usable,
    with_carried,
)
from ghost_pipeline.domain.ngrams.ngram_speed_summaries import SummaryLimits
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.default_summaries import ngram_speed_summaries
from ghost_pipeline_tests.reference.plain_ngrams import (
    HOUR,
    MIDNIGHT,
    Session,
    keyboards,
    practice_sessions,
    session_ngram_speed,
)

AS_OF = MIDNIGHT + 40 * HOUR
TH, HE = ("th", 2), ("he", 2)
LIMITS = SummaryLimits(decay_factor=0.9, max_measurements=20, max_sessions=100, default_target_ms=600.0)
FIRST = Session("a", MIDNIGHT, {TH: [100, 110]})
SECOND = Session("b", MIDNIGHT + HOUR, {TH: [200], HE: [50]})


def hashed(sessions: Sequence[Session]) -> pl.LazyFrame:
    return hashed_sessions(practice_sessions(sessions), session_ngram_speed(sessions)).lazy()


def inputs(
    sessions: Sequence[Session], targets: Mapping[str, float | None] | None = None, limits: SummaryLimits = LIMITS
) -> dict[tuple[str, str], int]:
    found = pair_inputs(pair_totals(hashed(sessions).collect()), keyboards(targets or {}), limits)
    return {(user, keyboard): value for user, keyboard, value in found.iter_rows()}


def kept(sessions: Sequence[Session], max_sessions: int) -> pl.DataFrame:
    """What is kept of some pairs after an hour that has seen these sessions."""
    by_age = aged(hashed(sessions)).collect()
    return still_counting(in_sessions(session_ngram_speed(sessions), by_age), by_age, max_sessions)


def rows_of(frame: pl.DataFrame) -> dict[str, list[str]]:
    return {name: sorted(texts) for name, texts in frame.select("session_id", "ngram_text").iter_rows()}


# --- hashes ---


def test_a_hash_does_not_depend_on_the_order_of_the_rows() -> None:
    speed = session_ngram_speed([FIRST, SECOND]).collect()
    sessions = practice_sessions([FIRST, SECOND])
    found = (hashed_sessions(sessions, rows.lazy()) for rows in (speed, speed.reverse()))
    # A join keeps no order.
    one, other = (rows.sort("session_id") for rows in found)
    assert one.equals(other)


@pytest.mark.parametrize(
    "other",
    [
        {TH: [100, 111]},
        {TH: [100]},
        {TH: [100, 110, 110]},
        {("tn", 2): [100, 110]},
        {("th", 3): [100, 110]},
        {TH: [110], HE: [100]},
        {},
    ],
)
def test_a_hash_tells_what_was_measured(other: Mapping[tuple[str, int], Sequence[float]]) -> None:
    assert inputs([FIRST]) != inputs([replace(FIRST, measured=other)])


def test_values_that_change_places_are_another_hash() -> None:
    assert inputs([replace(FIRST, measured={TH: [1], HE: [2]})]) != inputs(
        [replace(FIRST, measured={TH: [2], HE: [1]})]
    )


@pytest.mark.parametrize(
    "other",
    [[FIRST], [], [FIRST, SECOND, Session("c", AS_OF, {})], [FIRST, replace(SECOND, start=AS_OF)]],
)
def test_the_inputs_of_a_pair_tell_its_sessions(other: list[Session]) -> None:
    assert inputs([FIRST, SECOND]) != inputs(other)


def test_the_inputs_of_a_pair_tell_target_and_settings() -> None:
    found = [inputs([FIRST], targets) for targets in ({}, {"k1": 200.0}, {"k1": 201.0}, {"k1": 600.0})]
    found += [inputs([FIRST], limits={**LIMITS, name: 1}) for name in LIMITS]  # type: ignore[misc]
    assert len({tuple(one.values()) for one in found}) == len(found)


def test_the_inputs_of_a_pair_do_not_tell_those_of_another() -> None:
    others = [replace(SECOND, user_id="u2"), Session("c", MIDNIGHT, {TH: [1]}, keyboard_id="k2")]
    assert inputs([FIRST, *others])["u1", "k1"] == inputs([FIRST])["u1", "k1"]


@examples(15, 60)
@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_totals_follow_from_those_before_and_the_sessions_that_came_and_went(before: set[int], after: set[int]) -> None:
    def totals(names: set[int]) -> pl.DataFrame:
        sessions = [Session(f"s{one}", MIDNIGHT, {TH: [one]}, user_id=f"u{one % 3}") for one in sorted(names)]
        return sum_of_totals([pair_totals(hashed(sessions).collect())])

    assert sum_of_totals([totals(before), totals(after - before)], [totals(before - after)]).equals(totals(after))


# --- what still counts ---


def test_of_a_session_in_the_window_everything_counts() -> None:
    assert rows_of(kept([FIRST, SECOND], 2)) == {"a": ["th", "th"], "b": ["he", "th"]}


def test_outside_the_window_the_first_and_the_last_session_of_an_ngram_count() -> None:
    old = [Session(name, MIDNIGHT + number * HOUR, {TH: [9, 9]}) for number, name in enumerate("abcd")]
    new = Session("z", AS_OF, {HE: [1]})
    assert rows_of(kept([*old, new], 1)) == {"a": ["th"], "b": [], "c": [], "d": ["th"], "z": ["he"]}


def test_what_was_thinned_out_is_of_no_use_once_it_is_back_in_the_window() -> None:
    sessions = [FIRST, SECOND]
    stays = aged(hashed(sessions)).collect()
    assert usable(kept(sessions, 1), stays, 1).height == 2
    assert usable(kept(sessions, 1), stays, 2).is_empty()
    alone = aged(hashed([FIRST])).collect()
    assert usable(kept(sessions, 1), alone, 1).is_empty()
    assert usable(kept(sessions, 2), alone, 2)["session_id"].to_list() == ["a"]


def test_a_session_that_changed_is_read_again_and_costs_others_nothing() -> None:
    now = aged(hashed([FIRST, replace(SECOND, measured={TH: [201]})])).collect()
    assert usable(kept([FIRST, SECOND], 2), now, 2)["session_id"].to_list() == ["a"]


starts = st.integers(0, 12).map(lambda domains: MIDNIGHT + domains * timedelta(minutes=30))
ngrams = st.dictionaries(st.sampled_from([TH, HE]), st.lists(st.integers(1, 9).map(float), min_size=1, max_size=3))
drawn = st.lists(st.tuples(starts, ngrams, st.sampled_from(["u1", "u2"]), st.integers(0, 2)), max_size=14)


@examples(15, 60)
@given(drawn, st.integers(1, 3))
def test_summaries_follow_from_what_still_counts_whenever_it_came(
    drawn: list[tuple[object, dict[tuple[str, int], list[float]], str, int]], max_sessions: int
) -> None:
    came: list[Session] = []
    keeps = kept([], max_sessions)
    for batch in range(3):
        came += [
            Session(f"s{number:02}", start, found, user)  # type: ignore[arg-type]
            for number, (start, found, user, in_batch) in enumerate(drawn)
            if in_batch == batch
        ]
        by_age = aged(hashed(came)).collect()
        stands = usable(keeps, by_age, max_sessions)
        new = by_age.join(stands, on="session_id", how="anti")
        keeps = still_counting(pl.concat([stands, in_sessions(session_ngram_speed(came), new)]), by_age, max_sessions)
        found, expected = (
            ngram_speed_summaries(
                practice_sessions(came), rows, keyboards({}), AS_OF, max_sessions=max_sessions
            ).collect()
            for rows in (measured(keeps).lazy(), session_ngram_speed(came))
        )
        assert found.equals(expected)


# --- together again ---


@examples(10, 30)
@given(st.lists(st.sampled_from(["u1", "u2", "u3"]), max_size=6), st.sets(st.sampled_from(["u1", "u2", "u3"])))
def test_what_is_carried_over_and_what_is_computed_make_the_whole(users: list[str], changed: set[str]) -> None:
    sessions = [Session(f"s{number}", MIDNIGHT, {TH: [1], HE: [2]}, user) for number, user in enumerate(users)]

    def summarised(some: list[Session], later: timedelta = timedelta(0)) -> pl.DataFrame:
        rows = practice_sessions(some), session_ngram_speed(some)
        return ngram_speed_summaries(*rows, keyboards({}), AS_OF + later).collect()

    before = summarised(sessions)
    new = summarised([one for one in sessions if one.user_id in changed], HOUR)
    same = before.select("user_id", "keyboard_id").unique().filter(~pl.col("user_id").is_in(sorted(changed)))
    assert with_carried(new, before, same, AS_OF + HOUR).equals(summarised(sessions, HOUR))
