"""Sessions and their keystrokes: what belongs to an hour, what waits for its own, and what is set aside."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    USER_PROGRESS,
)
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.errors import SourceError
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.defs.typists import Row, Typist
from ghost_pipeline_tests.running import lake_digest

NOON, ONE = "2025-03-12-11:00", "2025-03-12-12:00"
UNKNOWN = "session_id names no practice session"


@pytest.fixture
def typist(tmp_path: Path) -> Typist:
    return Typist(tmp_path)


def test_keystrokes_lie_in_the_hour_in_which_their_session_started(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T09:59:59Z")
    typist.run(NOON)
    assert typist.lake.rows(SESSION_KEYSTROKES, Hour.from_key("2025-03-12-09:00")) == 2


def test_a_session_that_starts_at_as_of_waits_for_its_hour(typist: Typist) -> None:
    typist.session("now", "2025-03-12T11:59:59.999999Z")
    typist.session("next", "2025-03-12T12:00:00Z")
    typist.run(NOON)
    assert typist.lake.scan(PRACTICE_SESSIONS).collect()["session_id"].to_list() == ["now"]
    assert typist.sessions_of_keys() == ["now"]
    assert typist.rejected() == []
    typist.run(ONE)
    assert typist.sessions_of_keys() == ["next", "now"]


def test_bad_keystrokes_of_a_session_to_come_wait_with_it(typist: Typist) -> None:
    typist.session("next", "2025-03-12T12:30:00Z")
    typist.key("next", 2, None)
    typist.run(NOON)
    assert typist.rejected() == []
    typist.run(ONE)
    hour = datetime(2025, 3, 12, 12, tzinfo=UTC)
    assert typist.rejected() == [("session_keystrokes", hour, "keystroke_char is missing")]


def test_keystrokes_of_a_session_that_nobody_knows_are_rejected_without_an_hour(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z")
    typist.key("nobody's", 0, "a")
    typist.run(NOON)
    assert typist.sessions_of_keys() == ["s1"]
    assert typist.rejected() == [("session_keystrokes", None, UNKNOWN)]


def test_keystrokes_of_a_rejected_session_are_rejected(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z", user_id="nobody")
    typist.run(NOON)
    assert [(table, reason) for table, _, reason in typist.rejected()] == [
        ("practice_sessions", "user_id names no user"),
        ("session_keystrokes", UNKNOWN),
        ("session_keystrokes", UNKNOWN),
    ]


def test_a_corrected_session_brings_its_keystrokes(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z", user_id="nobody")
    typist.run(NOON)
    typist.tables["practice_sessions"][0]["user_id"] = "u1"
    typist.run(ONE)
    assert typist.sessions_of_keys() == ["s1"]
    assert typist.rejected() == []


def test_a_bad_keystroke_lies_in_the_hour_of_its_session_and_costs_no_other(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z")
    typist.key("s1", 2, None)
    typist.run(NOON)
    hour = datetime(2025, 3, 12, 10, tzinfo=UTC)
    assert typist.rejected() == [("session_keystrokes", hour, "keystroke_char is missing")]
    assert typist.lake.scan(SESSION_KEYSTROKES).collect().height == 2


def test_a_key_index_that_stands_twice_is_one_keystroke(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z")
    typist.key("s1", 1, "c")
    typist.run(NOON)
    assert typist.lake.scan(SESSION_KEYSTROKES).collect()["keystroke_char"].to_list() == ["a", "b"]
    assert [reason for _, _, reason in typist.rejected()] == ["session_id, key_index stands more than once"]


def test_a_good_keyboard_is_not_lost_to_a_stranger_with_its_id(typist: Typist) -> None:
    stranger: Row = {"keyboard_id": "k1", "user_id": "nobody", "updated_at": "2025-03-01"}
    typist.tables["keyboards"].append(stranger)
    typist.run(NOON)
    assert typist.lake.scan(KEYBOARDS).collect()["user_id"].to_list() == ["u1"]
    assert [reason for _, _, reason in typist.rejected()] == ["user_id names no user"]


def test_running_an_hour_again_changes_no_byte(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z")
    typist.session("s2", "2025-03-12T08:00:00Z")
    typist.key("nobody's", 0, "a")
    typist.run(NOON)
    before = lake_digest(typist.resources.settings.local)
    typist.run(NOON)
    assert lake_digest(typist.resources.settings.local) == before


def test_the_order_of_the_source_changes_no_byte(tmp_path: Path) -> None:
    digests = []
    for name, forward in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        typist = Typist(tmp_path / name)
        for number in range(6):
            typist.session(f"s{number}", f"2025-03-12T{6 + number % 3:02}:00:00Z")
        typist.key("s1", 1, "c")
        typist.key("nobody's", 0, "a")
        for rows in typist.tables.values():
            rows.sort(key=str, reverse=not forward)
        typist.run(NOON)
        digests.append(lake_digest(tmp_path / name / "data"))
    assert digests[0] == digests[1]


def test_without_keystrokes_sessions_are_taken_in_all_the_same(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z")
    del typist.tables["session_keystrokes"]
    typist.run(NOON)
    assert typist.lake.scan(PRACTICE_SESSIONS).collect().height == 1
    assert typist.lake.scan(SESSION_NGRAM_SPEED).collect().height == 0


def test_a_domain_that_the_source_has_not_is_no_error_and_leaves_no_row(typist: Typist) -> None:
    typist.run(NOON)
    ghost = next(step for step in TABLE_ASSETS if step.contract is USER_PROGRESS)
    assert compute_one(ghost.compute, typist.resources, Hour.from_key(NOON)).rows == 0
    assert typist.lake.scan(USER_PROGRESS).collect().height == 0


def test_a_domain_that_lacks_a_table_is_an_error_that_names_it(typist: Typist) -> None:
    del typist.tables["practice_sessions"]
    with pytest.raises(SourceError, match="table practice_sessions is missing, which the ngrams domain needs"):
        typist.run(NOON)


def test_an_older_hour_reads_what_lies_between_itself_and_the_first_hour(typist: Typist) -> None:
    typist.session("first", "2025-03-12T11:00:00Z")
    typist.run(NOON)
    typist.session("late", "2025-03-10T11:00:00Z")
    typist.session("between", "2025-03-12T02:00:00Z")
    typist.run("2025-03-10-11:00")
    assert typist.sessions_of_keys() == ["between", "first", "late"]
    assert typist.lake.complete_until(PRACTICE_SESSIONS) == Hour.from_key(NOON).as_of


def test_ngrams_of_a_session_that_comes_late_into_a_silence_are_extracted(typist: Typist) -> None:
    # By default its keystrokes would have expired before they came.
    settings = typist.resources.settings.model_copy(update={"retention": {"session_keystrokes": None}})
    typist.resources = replace(typist.resources, settings=settings)
    typist.session("old", "2024-06-01T10:00:00Z")
    typist.session("new", "2025-03-12T10:00:00Z")
    typist.run(NOON)
    typist.session("late", "2024-10-01T10:00:00Z")
    typist.run(ONE)
    found = typist.lake.scan(SESSION_NGRAM_SPEED).collect()
    assert sorted(found["session_id"].unique()) == ["late", "new", "old"]


def test_ngrams_are_the_same_whether_a_session_came_late_or_not(tmp_path: Path) -> None:
    starts = ["2025-03-12T10:00:00Z", "2025-03-07T10:00:00Z", "2025-03-09T10:00:00Z"]
    found = []
    for name, hours in (("at once", [ONE]), ("one by one", ["2025-03-12-10:00", NOON, ONE])):
        (tmp_path / name).mkdir()
        typist = Typist(tmp_path / name)
        parts = [starts] if len(hours) == 1 else [[start] for start in starts]
        for hour, part in zip(hours, parts, strict=True):
            for start in part:
                typist.session(start, start)
            typist.run(hour)
        tables = (SESSION_KEYSTROKES, SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS)
        found.append([typist.lake.scan(table).sort(pl.all()).collect() for table in tables])
    assert all(one.equals(other) for one, other in zip(*found, strict=True))
