"""N-grams of sessions that come late, and of tables that disappear."""

from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import SESSION_KEYSTROKES, SESSION_NGRAM_SPEED
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.errors import SourceError
from ghost_pipeline.lake import listing
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.defs.typists import Typist

NOON, ONE = "2025-03-12-11:00", "2025-03-12-12:00"


@pytest.fixture
def typist(tmp_path: Path) -> Typist:
    return Typist(tmp_path)


def samples(typist: Typist, key: str) -> dict[str, int]:
    """Run an hour; the samples of each n-gram in its summaries."""
    typist.run(key)
    summaries = typist.lake.scan(NGRAM_SPEED_SUMMARIES, [Hour.from_key(key)])
    return dict(summaries.select("ngram_text", "sample_count").collect().iter_rows())


def test_a_late_session_with_rows_of_its_own_is_summarised_at_once(typist: Typist) -> None:
    typist.session("new", "2025-03-12T10:00:00Z", text="")
    typist.measured("new", "th", 100)
    assert samples(typist, NOON) == {"th": 1}
    typist.session("late", "2025-03-01T10:00:00Z", text="")
    typist.measured("late", "th", 200)
    typist.measured("late", "he", 200)
    assert samples(typist, ONE) == {"th": 2, "he": 1}


def test_a_late_session_with_keystrokes_is_summarised_at_once(typist: Typist) -> None:
    typist.session("old", "2025-02-20T10:00:00Z", text="")
    typist.typed("old", "ab")
    typist.session("new", "2025-03-12T10:00:00Z", text="")
    typist.typed("new", "abc")
    assert samples(typist, NOON) == {"b": 2, "c": 1, "bc": 1}
    typist.session("late", "2025-03-01T10:00:00Z", text="")
    typist.typed("late", "abc")
    assert samples(typist, ONE) == {"b": 3, "c": 2, "bc": 2}


def test_a_session_before_every_other_is_summarised_at_once(typist: Typist) -> None:
    typist.session("new", "2025-03-12T10:00:00Z", text="")
    typist.typed("new", "ab")
    assert samples(typist, NOON) == {"b": 1}
    typist.session("late", "2025-02-01T10:00:00Z", text="")
    typist.typed("late", "ab")
    assert samples(typist, ONE) == {"b": 2}


def test_keystrokes_that_come_after_their_session_are_summarised_at_once(typist: Typist) -> None:
    typist.session("first", "2025-03-01T09:00:00Z", text="")
    typist.session("old", "2025-03-01T10:00:00Z", text="")
    typist.typed("first", "ab")
    assert samples(typist, NOON) == {"b": 1}
    typist.typed("old", "ab")
    assert samples(typist, ONE) == {"b": 2}


def test_a_session_with_rows_of_its_own_has_none_extracted(typist: Typist) -> None:
    typist.session("both", "2025-03-12T10:00:00Z", text="")
    typist.typed("both", "abc")
    typist.measured("both", "th", 100)
    assert samples(typist, NOON) == {"th": 1}


def test_measurements_that_are_gone_from_the_source_are_an_error(typist: Typist) -> None:
    typist.session("new", "2025-03-12T10:00:00Z", text="")
    typist.measured("new", "th", 100)
    typist.run(NOON)
    del typist.tables["session_ngram_speed"]
    with pytest.raises(SourceError, match="table session_ngram_speed is missing, and the lake has rows of it"):
        typist.run(ONE)
    assert typist.resources.lake.scan(SESSION_NGRAM_SPEED).select(pl.len()).collect().item() == 1


def test_rows_that_the_source_now_spoils_leave_the_lake_and_are_not_missed(typist: Typist) -> None:
    typist.session("measured", "2025-03-12T10:00:00Z", text="")
    typist.measured("measured", "th", 100)
    typist.session("typed", "2025-03-12T10:00:00Z", text="abc")
    typist.run(NOON)
    typist.tables["session_ngram_speed"][0]["ms_per_keystroke"] = -1
    typist.tables["session_keystrokes"][2]["text_index"] = -1
    typist.run(ONE)
    assert [table for table, _, _ in typist.rejected()] == ["session_keystrokes", "session_ngram_speed"]
    assert typist.lake.scan(SESSION_KEYSTROKES).collect()["keystroke_char"].to_list() == ["a", "b"]
    assert typist.lake.scan(SESSION_NGRAM_SPEED).collect()["session_id"].unique().to_list() == ["typed"]


@pytest.mark.parametrize("part_bytes", [0, 3000])
def test_however_the_hours_are_cut_into_parts_the_rows_are_the_same(
    tmp_path: Path, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, size in (("whole", listing.PART_BYTES), ("in parts", part_bytes)):
        monkeypatch.setattr(listing, "PART_BYTES", size)
        (tmp_path / name).mkdir()
        typist = Typist(tmp_path / name)
        for number in range(9):
            session = f"s{(number * 5) % 9}"
            typist.session(session, f"2025-03-12T0{number // 3 * 2}:0{number % 3}:00Z", text="")
            typist.measured(session, "th", 100) if number % 2 else typist.typed(session, "abc")
        typist.run(NOON)
        tables = (SESSION_NGRAM_SPEED, SESSION_NGRAM_SUMMARY)
        found.append([typist.lake.scan(table).sort(pl.all()).collect() for table in tables])
    assert all(whole.equals(in_parts) for whole, in_parts in zip(*found, strict=True))
    assert found[0][0].height > 9


def test_what_a_session_says_is_kept_in_its_hour_and_follows_its_rows(typist: Typist) -> None:
    typist.session("s1", "2025-03-12T10:00:00Z", text="")
    typist.measured("s1", "th", 100)
    typist.run(NOON)
    typist.measured("s1", "th", 200)
    typist.run(ONE)
    rows = typist.lake.scan(SESSION_NGRAM_SUMMARY, [Hour.from_key("2025-03-12-10:00")]).collect()
    assert rows.select("ngram_text", "avg_ms_per_keystroke", "instance_count").rows() == [("th", 150, 2)]


def test_a_session_is_summarised_again_only_when_something_of_its_hour_has_changed(typist: Typist) -> None:
    for number in range(3):
        typist.session(f"s{number}", f"2025-03-12T0{number}:00:00Z")
    typist.run(NOON)
    asset = next(one for one in NGRAM_ASSETS if one.contract is SESSION_NGRAM_SUMMARY)
    hour = Hour.from_key(NOON)
    assert compute_one(asset.compute, typist.resources, hour).metadata["rows_computed"] == 0
    typist.lake.remove(SESSION_NGRAM_SUMMARY, Hour.from_key("2025-03-12-01:00"))
    assert compute_one(asset.compute, typist.resources, hour).metadata["rows_computed"] == 1
    assert typist.lake.rows(SESSION_NGRAM_SUMMARY, Hour.from_key("2025-03-12-01:00")) == 1
