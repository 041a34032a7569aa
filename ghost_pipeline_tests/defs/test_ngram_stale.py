"""What makes built hours of n-gram summaries stale, and rows that a source has lost."""

from dataclasses import replace
from pathlib import Path

import pytest

from ghost_pipeline.contracts.raw import SESSION_NGRAM_SPEED
from ghost_pipeline.errors import SourceError
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline_tests.defs.typists import Typist

HOURS = ("2025-03-12-09:00", "2025-03-12-10:00", "2025-03-12-11:00")
TABLES = {"ngram_speed_summaries", "ngram_speed_summary_history"}


@pytest.fixture
def typist(tmp_path: Path) -> Typist:
    """A typist of whom three hours have been built: five sessions in the first one, each measured twice."""
    typist = Typist(tmp_path)
    typist.tables["keyboards"][0]["updated_at"] = "2025-03-01T00:00:00Z"
    for number in range(5):
        typist.session(f"s{number}", f"2025-03-12T09:{number:02}:00Z", "")
        typist.measured(f"s{number}", "ab", 200.0 + number)
        typist.measured(f"s{number}", "cd", 300.0 + number)
    for hour in HOURS:
        typist.run(hour)
    assert stale_hours(typist.lake).is_empty()
    return typist


def stale(typist: Typist) -> dict[str, list[int]]:
    found = stale_hours(typist.lake)
    return {table: [row["hour"].hour for row in found.to_dicts() if row["table"] == table] for table in found["table"]}


def test_another_measurement_of_an_older_session(typist: Typist) -> None:
    typist.tables["session_ngram_speed"][0]["ms_per_keystroke"] = 250.0
    typist.run("2025-03-12-12:00")
    assert stale(typist) == {table: [9, 10, 11] for table in TABLES}


def test_a_late_session(typist: Typist) -> None:
    typist.session("late", "2025-03-12T10:30:00Z", "")
    typist.measured("late", "ab", 210.0)
    typist.run("2025-03-12-12:00")
    assert stale(typist) == {table: [10, 11] for table in TABLES}


def test_a_target_that_has_counted_for_some_hours(typist: Typist) -> None:
    typist.tables["keyboards"][0] |= {"updated_at": "2025-03-12T10:20:00Z", "target_ms_per_keystroke": 250}
    typist.run("2025-03-12-12:00")
    assert stale(typist) == {table: [10, 11] for table in TABLES}


def test_another_name_of_a_keyboard_is_shown_nowhere(typist: Typist) -> None:
    typist.tables["keyboards"][0] |= {"updated_at": "2025-03-12T10:20:00Z", "keyboard_name": "Home"}
    typist.run("2025-03-12-12:00")
    assert stale(typist) == {}


def test_a_replica_without_rows_of_its_sessions_stops_the_run(typist: Typist) -> None:
    settings = typist.resources.settings.model_copy(update={"min_removed_rows": 4})
    typist.resources = replace(typist.resources, settings=settings)
    typist.tables["session_ngram_speed"] = typist.tables["session_ngram_speed"][:6]
    with pytest.raises(SourceError, match=r"session_ngram_speed, partition 2025-03-12-09:00: 4 of 10 rows"):
        typist.run("2025-03-12-12:00")
    assert typist.lake.scan(SESSION_NGRAM_SPEED).collect().height == 10


def test_a_session_that_is_gone_takes_its_rows_with_it(typist: Typist) -> None:
    del typist.tables["practice_sessions"][0]
    del typist.tables["session_ngram_speed"][:2]
    for row in typist.tables["session_ngram_speed"][:4]:
        row["ngram_text"] = "ef"
    typist.run("2025-03-12-12:00")
    assert typist.lake.scan(SESSION_NGRAM_SPEED).collect().height == 8
