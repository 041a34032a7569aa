"""The decaying average and the summaries that hold it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ngrams.ngram_extraction import speed_ngrams
from ghost_pipeline.domain.ngrams.ngram_speed_summaries import NGRAM_SPEED_SUMMARY_SCHEMA
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.default_summaries import ngram_speed_summaries
from ghost_pipeline_tests.reference.ngram_speed_summary_history import ngram_speed_summary_history
from ghost_pipeline_tests.reference.plain_ngrams import (
    HOUR,
    MIDNIGHT,
    Session,
    aalto,
    keyboards,
    plain_summaries,
    practice_sessions,
    session_ngram_speed,
)

DAY = timedelta(days=1)
AS_OF = MIDNIGHT + 40 * DAY
TH = ("th", 2)


def summaries(
    sessions: Sequence[Session],
    targets: Mapping[str, float | None] | None = None,
    as_of: datetime = AS_OF,
    *,
    target_valid_from: datetime | None = None,
    **limits: Any,  # noqa: ANN401 - whatever the case is about
) -> pl.DataFrame:
    return ngram_speed_summaries(
        practice_sessions(sessions),
        session_ngram_speed(sessions),
        keyboards({"k1": 200.0} if targets is None else targets, target_valid_from),
        as_of,
        **limits,
    ).collect()


def daily(*values: Sequence[float]) -> list[Session]:
    """A session a day, each with these measurements of `th`."""
    return [Session(f"s{day:03}", MIDNIGHT + day * DAY, {TH: group}) for day, group in enumerate(values)]


def the_row(frame: pl.DataFrame) -> dict[str, Any]:
    (row,) = frame.to_dicts()
    return row


def test_the_worked_example_of_the_specification() -> None:
    row = the_row(summaries(daily([100], [200], [], [300])))
    assert row["decaying_average_ms"] == pytest.approx((300 + 0.81 * 200 + 0.729 * 100) / 2.539, rel=1e-12)
    assert (row["sample_count"], row["measurements_used"]) == (3, 3)


def test_days_are_fractional_and_count_from_the_newest_measurement() -> None:
    sessions = [
        Session("a", MIDNIGHT, {TH: [100]}),
        Session("b", MIDNIGHT + DAY / 2, {TH: [200]}),
        Session("c", MIDNIGHT + 9 * DAY, {("xy", 2): [1]}),
    ]
    row = the_row(summaries(sessions).filter(ngram_text="th"))
    weight = 0.9**0.5
    assert row["decaying_average_ms"] == pytest.approx((200 + weight * 100) / (1 + weight), rel=1e-12)


def test_places_left_inside_a_session_take_its_mean() -> None:
    row = the_row(summaries(daily([10, 30, 20], [40]), max_measurements=3))
    assert row["decaying_average_ms"] == pytest.approx((40 + 0.9 * 2 * 20) / (1 + 0.9 * 2), rel=1e-12)
    assert (row["sample_count"], row["measurements_used"]) == (4, 3)


def test_of_sessions_at_the_same_time_the_larger_id_is_newer() -> None:
    sessions = [Session(name, MIDNIGHT, {TH: [value]}) for name, value in (("b", 7.0), ("a", 1.0), ("c", 5.0))]
    assert the_row(summaries(sessions, max_measurements=2))["decaying_average_ms"] == pytest.approx(6)
    assert the_row(summaries(sessions, max_sessions=1))["decaying_average_ms"] == 5


def test_the_average_of_equal_values_is_that_value_and_meets_it_as_target() -> None:
    row = the_row(summaries(daily([0.1, 0.1, 0.1], [0.1], [0.1] * 7), {"k1": 0.1}))
    assert (row["decaying_average_ms"], row["meets_target"]) == (0.1, True)


def test_the_percentage_is_not_clamped() -> None:
    row = the_row(summaries(daily([50])))
    assert (row["target_performance_pct"], row["meets_target"]) == (400, True)


def test_only_the_newest_sessions_of_the_pair_count() -> None:
    frame = summaries([*daily([100], [300]), Session("z", MIDNIGHT + 5 * DAY, {})], max_sessions=2)
    row = the_row(frame)
    assert (row["decaying_average_ms"], row["sample_count"]) == (300, 1)


def test_an_ngram_that_left_the_window_has_no_row() -> None:
    sessions = [*daily([100]), Session("y", MIDNIGHT + 2 * DAY, {}), Session("z", MIDNIGHT + 3 * DAY, {})]
    assert summaries(sessions, max_sessions=2).is_empty()


def test_a_session_at_as_of_does_not_exist_yet() -> None:
    sessions = daily([100], [300])
    assert the_row(summaries(sessions, as_of=MIDNIGHT + DAY))["decaying_average_ms"] == 100


def test_users_and_keyboards_are_kept_apart() -> None:
    sessions = [
        Session("a", MIDNIGHT, {TH: [1]}),
        Session("b", MIDNIGHT, {TH: [2]}, keyboard_id="k2"),
        Session("c", MIDNIGHT, {TH: [3]}, user_id="u2"),
    ]
    key = ["user_id", "keyboard_id", "decaying_average_ms"]
    assert summaries(sessions).select(key).rows() == [("u1", "k1", 1), ("u1", "k2", 2), ("u2", "k1", 3)]


@pytest.mark.parametrize("targets", [{}, {"k1": None}])
def test_without_a_target_the_default_counts(targets: Mapping[str, float | None]) -> None:
    assert the_row(summaries(daily([100]), targets))["target_speed_ms"] == 600
    assert the_row(summaries(daily([100]), targets, default_target_ms=300))["target_speed_ms"] == 300


def test_measurements_of_unknown_sessions_are_ignored() -> None:
    sessions = daily([100], [900])
    frame = ngram_speed_summaries(
        practice_sessions(sessions[:1]), session_ngram_speed(sessions), keyboards({}), AS_OF
    ).collect()
    assert the_row(frame)["decaying_average_ms"] == 100


@pytest.mark.parametrize("sessions", [[], [Session("a", MIDNIGHT, {})], [Session("a", AS_OF, {TH: [1]})]])
def test_nothing_measured_is_no_row_with_the_same_columns(sessions: Sequence[Session]) -> None:
    frame = summaries(sessions)
    assert frame.is_empty()
    assert frame.schema == NGRAM_SPEED_SUMMARY_SCHEMA


def test_columns_and_their_types() -> None:
    assert summaries(daily([100])).schema == NGRAM_SPEED_SUMMARY_SCHEMA


def test_the_id_depends_on_the_key_alone() -> None:
    first, second = summaries(daily([100])), summaries(daily([100], [300]), as_of=AS_OF + HOUR)
    assert first["summary_id"].to_list() == second["summary_id"].to_list()


@pytest.mark.parametrize(
    ("start", "end_of_hour"),
    [
        (timedelta(hours=11), timedelta(hours=12)),
        (timedelta(hours=11, minutes=59), timedelta(hours=12)),
        (timedelta(hours=12), timedelta(hours=13)),
    ],
)
def test_a_row_is_made_and_changed_in_the_hour_of_its_session(start: timedelta, end_of_hour: timedelta) -> None:
    row = the_row(summaries([Session("s", MIDNIGHT + start, {TH: [1]})]))
    assert row["created_at"] == row["last_updated"] == MIDNIGHT + end_of_hour
    assert row["last_measured"] == MIDNIGHT + start


def test_a_row_changes_when_one_of_its_sessions_leaves_the_window() -> None:
    pushing = Session("z", MIDNIGHT + 5 * DAY, {})
    row = the_row(summaries([*daily([1], [2]), pushing], max_sessions=2))
    assert row["last_updated"] == pushing.start + HOUR
    assert row["last_measured"] == MIDNIGHT + DAY
    assert row["created_at"] == MIDNIGHT + HOUR


@pytest.mark.parametrize(
    ("valid_from", "last_updated"),
    [
        (timedelta(hours=7), timedelta(hours=7)),
        (timedelta(hours=7, microseconds=1), timedelta(hours=8)),
        (-DAY, timedelta(hours=1)),
        (None, timedelta(hours=1)),
    ],
)
def test_a_row_changes_with_its_target(valid_from: timedelta | None, last_updated: timedelta) -> None:
    instant = None if valid_from is None else MIDNIGHT + valid_from
    row = the_row(summaries(daily([1]), target_valid_from=instant))
    assert row["last_updated"] == MIDNIGHT + last_updated


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"as_of": datetime(2025, 1, 1)}, "as_of .* no time zone"),  # noqa: DTZ001 - what is refused
        ({"as_of": AS_OF + timedelta(minutes=1)}, "as_of .* not a full hour"),
        ({"decay_factor": 0}, r"decay_factor must be above 0 and at most 1 \(got 0\)"),
        ({"decay_factor": 1.1}, r"decay_factor must be above 0 and at most 1 \(got 1.1\)"),
        ({"max_measurements": 0}, r"max_measurements must be 1 or more \(got 0\)"),
        ({"max_sessions": 0}, r"max_sessions must be 1 or more \(got 0\)"),
        ({"default_target_ms": float("nan")}, r"default_target_ms must be a positive number \(got nan\)"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summaries(daily([1]), **arguments)


def test_as_of_may_be_told_in_another_zone() -> None:
    there = AS_OF.astimezone(timezone(timedelta(hours=5)))
    assert summaries(daily([1]), as_of=there)["as_of"].to_list() == [AS_OF]


measured = st.dictionaries(
    st.sampled_from([("th", 2), ("e", 1), ("\u00e9", 2), ("\u00e9", 1)]),
    st.lists(st.floats(0.5, 5000, allow_nan=False), min_size=1, max_size=5),
    max_size=3,
)


@st.composite
def practice(draw: st.DrawFn) -> list[Session]:
    """Sessions of two users on two keyboards, often at the same time."""
    times = st.integers(0, 12).map(lambda domains: MIDNIGHT + domains * HOUR / 2)
    session = st.tuples(times, measured, st.sampled_from(["u1", "u2"]), st.sampled_from(["k1", "k2"]))
    names = draw(st.permutations([f"s{number:02}" for number in range(16)]))
    return [Session(name, *made) for name, made in zip(names, draw(st.lists(session, max_size=16)), strict=False)]


@examples(25, 100)
@given(practice(), st.integers(0, 14), st.integers(1, 8), st.integers(1, 5), st.sampled_from([0.9, 0.5, 1.0]))
def test_summaries_are_what_the_rules_say_one_by_one(
    sessions: list[Session], hours: int, max_measurements: int, max_sessions: int, decay_factor: float
) -> None:
    as_of = MIDNIGHT + hours * HOUR
    limits: dict[str, Any] = {
        "max_measurements": max_measurements,
        "max_sessions": max_sessions,
        "decay_factor": decay_factor,
    }
    targets = {"k1": 700.0}
    expected = plain_summaries(sessions, targets, as_of, **limits)
    rows = summaries(sessions, targets, as_of, **limits).to_dicts()
    key = ("user_id", "keyboard_id", "ngram_text", "ngram_size")
    assert [tuple(row[name] for name in key) for row in rows] == sorted(expected)
    for row in rows:
        plain = expected[row["user_id"], row["keyboard_id"], row["ngram_text"], row["ngram_size"]]
        for name, value in plain.items():
            exact = not isinstance(value, float)
            assert row[name] == (value if exact else pytest.approx(value, rel=1e-9)), name


@examples(10, 40)
@given(practice(), st.randoms(use_true_random=False), st.integers(1, 8))
def test_the_order_of_rows_does_not_matter(sessions: list[Session], random: Random, max_measurements: int) -> None:
    sessions = [
        Session(s.session_id, s.start, {ngram: list(values) * 3 for ngram, values in s.measured.items()})
        for s in sessions
    ]
    speed, practised = session_ngram_speed(sessions).collect(), practice_sessions(sessions).collect()

    def summarised(seed: int | None) -> pl.DataFrame:
        sessions, measurements = (
            (frame if seed is None else frame.sample(fraction=1, shuffle=True, seed=seed)).lazy()
            for frame in (practised, speed)
        )
        return ngram_speed_summaries(
            sessions, measurements, keyboards({"k1": 300.0}), AS_OF, max_measurements=max_measurements
        ).collect()

    # equals compares floats to the last bit.
    assert summarised(random.randrange(1000)).equals(summarised(None))


@examples(10, 30)
@given(practice())
def test_pairs_do_not_know_of_each_other(sessions: list[Session]) -> None:
    shards = [
        summaries([s for s in sessions if (s.user_id, s.keyboard_id) == (user_id, keyboard_id)])
        for user_id in ("u1", "u2")
        for keyboard_id in ("k1", "k2")
    ]
    assert pl.concat(shards).equals(summaries(sessions))


@examples(5, 15)
@given(practice(), st.integers(1, 4), st.integers(0, 8))
def test_a_row_was_last_updated_in_the_hour_in_which_it_last_changed(
    sessions: list[Session], max_sessions: int, retarget: int
) -> None:
    valid_from = MIDNIGHT + retarget * HOUR

    def state(hour: int) -> pl.DataFrame:
        as_of = MIDNIGHT + hour * HOUR
        is_known = valid_from <= as_of
        targets = {"k1": 250.0, "k2": 111.0} if is_known else {"k1": 300.0, "k2": 222.0}
        return summaries(
            sessions,
            targets,
            as_of,
            target_valid_from=valid_from if is_known else None,
            max_sessions=max_sessions,
        )

    before = state(0)
    for hour in range(1, 9):
        now = state(hour)
        as_of = MIDNIGHT + hour * HOUR
        changed = ngram_speed_summary_history(now.lazy(), before.lazy(), as_of).collect()
        assert changed.equals(now.filter(last_updated=as_of))
        before = now


def test_aalto() -> None:
    frame = ngram_speed_summaries(
        aalto("practice_sessions"),
        speed_ngrams(aalto("session_keystrokes")),
        aalto("keyboards").with_columns(target_valid_from=pl.lit(None, pl.Datetime("us", "UTC"))),
        datetime(2016, 9, 1, tzinfo=UTC),
    ).collect()
    assert (frame.height, frame["meets_target"].sum()) == (74_168, 38_609)
    p5 = {row["ngram_text"]: row for row in frame.filter(user_id="p5").iter_rows(named=True)}
    assert len(p5) == 772
    assert p5["e"]["decaying_average_ms"] == pytest.approx(138.9007553937, abs=1e-10)
    assert (p5["e"]["sample_count"], p5["e"]["measurements_used"]) == (46, 20)
    assert p5["th"]["decaying_average_ms"] == pytest.approx(144.1966304485, abs=1e-10)
    assert p5["the"]["decaying_average_ms"] == pytest.approx(115.4433208434, abs=1e-10)
    assert (p5["th"]["sample_count"], p5["the"]["sample_count"]) == (10, 6)
