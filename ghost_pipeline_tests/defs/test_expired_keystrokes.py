"""Keystrokes expire; what was extracted from them stays, whatever is built again."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import SESSION_KEYSTROKES, SESSION_NGRAM_ERRORS, SESSION_NGRAM_SPEED
from ghost_pipeline.defs import ngrams
from ghost_pipeline.incremental.retention import remove_expired
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.defs.typists import Typist

NOON, ONE, TWO = "2025-03-12-11:00", "2025-03-12-12:00", "2025-03-12-13:00"
OLD = "2025-03-01-10:00"
EXTRACTED = (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS, SESSION_NGRAM_SUMMARY)
Rows = dict[str, pl.DataFrame]


@pytest.fixture
def typist(tmp_path: Path) -> Typist:
    """A typist with three sessions, who keeps keystrokes for a day."""
    found = Typist(tmp_path)
    found.resources = replace(
        found.resources,
        settings=found.resources.settings.model_copy(update={"retention": {"session_keystrokes": None}}),
    )
    found.session("old", "2025-03-01T10:00:00Z", text="abc")
    found.key("old", 3, "x")
    found.session("older", "2025-02-20T09:00:00Z", text="abcd")
    found.session("new", "2025-03-12T10:00:00Z", text="ab")
    found.run(NOON)
    return found


def expire(typist: Typist) -> None:
    """Keep keystrokes for a day from now on."""
    chosen = Settings.load(retention="session_keystrokes=1d").retention
    typist.resources = replace(
        typist.resources, settings=typist.resources.settings.model_copy(update={"retention": chosen})
    )
    found = {one.table: one.partitions for one in remove_expired(typist.lake, chosen, typist.folder / "ghost.duckdb")}
    assert found["session_keystrokes"] > 0


def rows(typist: Typist) -> Rows:
    return {table.name: typist.lake.scan(table).collect() for table in EXTRACTED}


def sessions(typist: Typist, table: Contract) -> set[str]:
    return set(typist.lake.scan(table).collect()["session_id"])


def test_a_year_can_be_kept_and_ninety_days_are_by_default() -> None:
    assert SESSION_KEYSTROKES.retention is not None
    assert SESSION_KEYSTROKES.retention.days == 90
    assert SESSION_NGRAM_SPEED.retention is None


def test_what_expired_is_gone_and_what_was_extracted_stays(typist: Typist) -> None:
    before = rows(typist)
    assert sessions(typist, SESSION_KEYSTROKES) == {"older", "old", "new"}
    expire(typist)
    typist.run(ONE)
    assert sessions(typist, SESSION_KEYSTROKES) == {"new"}
    assert rows(typist) | before == before
    assert sessions(typist, SESSION_NGRAM_SPEED) == {"older", "old", "new"}
    assert stale_hours(typist.lake).is_empty()


@pytest.mark.parametrize("purged", [False, True])
def test_an_old_hour_that_is_built_again_keeps_it(typist: Typist, *, purged: bool) -> None:
    before = rows(typist)
    expire(typist)
    if purged:
        typist.tables["session_keystrokes"] = [
            row for row in typist.tables["session_keystrokes"] if row["session_id"] == "new"
        ]
    typist.run(OLD)
    typist.run(TWO)
    assert sessions(typist, SESSION_KEYSTROKES) == {"new"}
    after = rows(typist)
    assert all(after[name].equals(before[name]) for name in before)


def test_another_extraction_changes_only_what_still_has_keystrokes(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(typist)
    expire(typist)
    monkeypatch.setattr(ngrams, "EXTRACTION", 10_000)
    typist.run(OLD)
    after = rows(typist)
    assert all(after[name].equals(before[name]) for name in before)


def test_a_longer_retention_afterwards_empties_nothing(typist: Typist) -> None:
    before = rows(typist)
    expire(typist)
    forever = {"session_keystrokes": None}
    typist.resources = replace(
        typist.resources, settings=typist.resources.settings.model_copy(update={"retention": forever})
    )
    typist.tables["session_keystrokes"] = [
        row for row in typist.tables["session_keystrokes"] if row["session_id"] == "new"
    ]
    typist.run(ONE)
    after = rows(typist)
    assert all(after[name].equals(before[name]) for name in before)


def test_rows_of_the_sources_own_take_their_place(typist: Typist) -> None:
    expire(typist)
    typist.measured("old", "zz", 150)
    typist.run(OLD)
    found = typist.lake.scan(SESSION_NGRAM_SPEED).filter(pl.col("session_id") == "old").collect()
    assert found["ngram_text"].to_list() == ["zz"]
    assert sessions(typist, SESSION_NGRAM_SPEED) == {"older", "old", "new"}


def test_a_session_that_the_source_no_longer_has_goes_with_its_rows(typist: Typist) -> None:
    expire(typist)
    typist.tables["practice_sessions"] = [
        row for row in typist.tables["practice_sessions"] if row["session_id"] != "old"
    ]
    typist.run(OLD)
    assert sessions(typist, SESSION_NGRAM_SPEED) == {"older", "new"}


def test_summaries_of_an_hour_are_the_same_without_the_keystrokes(typist: Typist) -> None:
    typist.run(ONE)
    before = typist.lake.scan(NGRAM_SPEED_SUMMARIES, [Hour.from_key(ONE)]).collect()
    expire(typist)
    typist.run(ONE)
    assert typist.lake.scan(NGRAM_SPEED_SUMMARIES, [Hour.from_key(ONE)]).collect().equals(before)
    assert before["sample_count"].sum() > 3
