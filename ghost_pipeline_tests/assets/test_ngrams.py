"""N-grams of sessions that come late, and of tables that disappear."""

import json
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.assets.step import Resources
from ghost_pipeline.definitions import STEPS
from ghost_pipeline.errors import SourceError
from ghost_pipeline.runs import selection
from ghost_pipeline.settings import Settings
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.tables.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.tables.raw import SESSION_NGRAM_SPEED, Half
from ghost_pipeline.windows import Hour

Row = dict[str, object]
NOON, ONE = "2025-03-12-11:00", "2025-03-12-12:00"


class Source:
    """A typist whose sessions a test changes between runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "source"
        self.folder.mkdir()
        self.tables: dict[str, list[Row]] = {
            "users": [{"user_id": "u1", "created_at": "2025-01-01"}],
            "keyboards": [{"keyboard_id": "k1", "user_id": "u1", "target_ms_per_keystroke": 200}],
            "practice_sessions": [],
        }
        settings = Settings.load(source=str(self.folder), data=folder / "data")
        self.resources = Resources(settings, Lake(settings.lake))

    def session(self, name: str, start: str) -> None:
        row: Row = {"session_id": name, "user_id": "u1", "keyboard_id": "k1", "start_time": start, "end_time": start}
        self.tables["practice_sessions"].append(row)

    def typed(self, session: str, text: str) -> None:
        keys = self.tables.setdefault("session_keystrokes", [])
        for index, char in enumerate(text):
            time = f"2025-03-12T00:00:0{index}Z"
            keys.append(
                {"session_id": session, "key_index": index, "keystroke_time": time, "keystroke_char": char}
                | {"expected_char": char, "text_index": index}
            )

    def measured(self, session: str, text: str, milliseconds: float) -> None:
        row = {"session_id": session, "ngram_text": text, "ngram_size": len(text), "ms_per_keystroke": milliseconds}
        self.tables.setdefault("session_ngram_speed", []).append(row)

    def run(self, hour: str) -> dict[str, int]:
        """Runs the hour; returns the samples of each n-gram in the summaries."""
        for file in self.folder.iterdir():
            file.unlink()
        for name, rows in self.tables.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (self.folder / f"{name}.ndjson").write_text(text, encoding="utf-8")
        wanted = selection({Half.NGRAMS}, monthly=False)
        for step in STEPS:
            if step.contract.name in wanted:
                step.body(self.resources, Hour.from_key(hour))  # type: ignore[arg-type]
        summaries = self.resources.lake.scan(NGRAM_SPEED_SUMMARIES, [Hour.from_key(hour)])
        return dict(summaries.select("ngram_text", "sample_count").collect().iter_rows())


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_a_late_session_with_rows_of_its_own_is_summarised_at_once(source: Source) -> None:
    source.session("new", "2025-03-12T10:00:00Z")
    source.measured("new", "th", 100)
    assert source.run(NOON) == {"th": 1}
    source.session("late", "2025-03-01T10:00:00Z")
    source.measured("late", "th", 200)
    source.measured("late", "he", 200)
    assert source.run(ONE) == {"th": 2, "he": 1}


def test_a_late_session_with_keystrokes_is_summarised_at_once(source: Source) -> None:
    source.session("old", "2025-02-20T10:00:00Z")
    source.typed("old", "ab")
    source.session("new", "2025-03-12T10:00:00Z")
    source.typed("new", "abc")
    assert source.run(NOON) == {"b": 2, "c": 1, "bc": 1}
    source.session("late", "2025-03-01T10:00:00Z")
    source.typed("late", "abc")
    assert source.run(ONE) == {"b": 3, "c": 2, "bc": 2}


def test_a_session_before_every_other_is_summarised_at_once(source: Source) -> None:
    source.session("new", "2025-03-12T10:00:00Z")
    source.typed("new", "ab")
    assert source.run(NOON) == {"b": 1}
    source.session("late", "2025-02-01T10:00:00Z")
    source.typed("late", "ab")
    assert source.run(ONE) == {"b": 2}


def test_keystrokes_that_come_after_their_session_are_summarised_at_once(source: Source) -> None:
    source.session("first", "2025-03-01T09:00:00Z")
    source.session("old", "2025-03-01T10:00:00Z")
    source.typed("first", "ab")
    assert source.run(NOON) == {"b": 1}
    source.typed("old", "ab")
    assert source.run(ONE) == {"b": 2}


def test_a_session_with_rows_of_its_own_has_none_extracted(source: Source) -> None:
    source.session("both", "2025-03-12T10:00:00Z")
    source.typed("both", "abc")
    source.measured("both", "th", 100)
    assert source.run(NOON) == {"th": 1}


def test_measurements_that_are_gone_from_the_source_are_an_error(source: Source) -> None:
    source.session("new", "2025-03-12T10:00:00Z")
    source.measured("new", "th", 100)
    source.run(NOON)
    del source.tables["session_ngram_speed"]
    with pytest.raises(SourceError, match="table session_ngram_speed is missing, and the lake has rows of it"):
        source.run(ONE)
    assert source.resources.lake.scan(SESSION_NGRAM_SPEED).select(pl.len()).collect().item() == 1
