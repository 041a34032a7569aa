"""N-grams of sessions that come late, and of tables that disappear."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import SESSION_KEYSTROKES, SESSION_NGRAM_ERRORS, SESSION_NGRAM_SPEED
from ghost_pipeline.defs import ngrams
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.errors import SourceError
from ghost_pipeline.lake import listing
from ghost_pipeline.lake.cache import Cache
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


@pytest.mark.parametrize("table", [SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS], ids=lambda table: table.name)
def test_rows_that_are_extracted_do_not_count_as_read(typist: Typist, table: Contract) -> None:
    typist.session("typed", "2025-03-12T10:00:00Z", text="abc")
    typist.session("measured", "2025-03-12T10:00:00Z", text="")
    typist.measured("measured", "th", 100)
    typist.run(NOON)
    typist.lake.remove(table, Hour.from_key("2025-03-12-10:00"))
    found = compute_one(typist.compute(table.name), typist.resources, Hour.from_key(NOON)).metadata
    is_speed = table is SESSION_NGRAM_SPEED
    assert found["rows_read_in_window"] == (1 if is_speed else 0)
    # b, c and bc: the time of the first key is unknown.
    assert found["rows_extracted"] == (3 if is_speed else 0)


def test_cached_sessions_of_a_whole_month_of_an_earlier_release_are_removed(typist: Typist) -> None:
    cache = Cache(typist.lake.root, NGRAM_SPEED_SUMMARIES.name)
    cache.write({"sessions/2025-02": pl.DataFrame({"session_id": ["old"]})})
    typist.session("new", "2025-03-12T10:00:00Z", text="ab")
    typist.run(NOON)
    assert set(cache.names("sessions")) == {"sessions/2025-03-12"}


# --- hours in which nothing has changed are not extracted again ---


@pytest.fixture
def practised(typist: Typist) -> Typist:
    """A typist with a session in each of three hours, whose n-grams were extracted."""
    for number in range(3):
        typist.session(f"s{number}", f"2025-03-12T0{number}:00:00Z", text="abc")
    typist.run(NOON)
    return typist


def hours_extracted(typist: Typist, table: Contract = SESSION_NGRAM_SPEED, key: str = NOON) -> int:
    """Take in what the source has now and extract; the number of hours that were extracted."""
    typist.write()
    for name in ("practice_sessions", "session_keystrokes"):
        compute_one(typist.compute(name), typist.resources, Hour.from_key(key))
    found = compute_one(typist.compute(table.name), typist.resources, Hour.from_key(key)).metadata["hours_extracted"]
    assert isinstance(found, int)
    return found


def test_of_unchanged_hours_nothing_is_extracted(practised: Typist) -> None:
    assert hours_extracted(practised) == 0


def test_a_later_hour_extracts_no_earlier_one(practised: Typist) -> None:
    practised.session("new", "2025-03-12T12:30:00Z", text="abc")
    assert hours_extracted(practised, key=ONE) == 1


def test_an_hour_with_other_keystrokes_is_extracted_alone(practised: Typist) -> None:
    practised.key("s1", 3, "d")
    assert hours_extracted(practised) == 1
    assert practised.lake.scan(SESSION_NGRAM_SPEED).filter(session_id="s1", ngram_text="bcd").collect().height == 1


@pytest.mark.parametrize("delivered", ["session_ngram_speed", "session_ngram_errors"])
@pytest.mark.parametrize("table", [SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS])
def test_rows_of_its_own_in_either_table_have_the_hour_of_a_session_extracted(
    practised: Typist, delivered: str, table: Contract
) -> None:
    settings = practised.resources.settings.model_copy(update={"accept_deletions": True})
    practised.resources = replace(practised.resources, settings=settings)
    practised.tables[delivered] = [{"session_id": "s1", "ngram_text": "th", "ngram_size": 2, "ms_per_keystroke": 100}]
    assert hours_extracted(practised, table) == 1
    practised.tables[delivered] = []
    assert hours_extracted(practised, table) == 1


def test_other_values_of_its_own_rows_have_the_hour_of_a_session_written(practised: Typist) -> None:
    practised.measured("s1", "th", 100)
    assert hours_extracted(practised) == 1
    practised.tables["session_ngram_speed"][0]["ms_per_keystroke"] = 101
    assert hours_extracted(practised) == 1
    assert practised.lake.scan(SESSION_NGRAM_SPEED).filter(session_id="s1").collect()["ms_per_keystroke"].to_list() == [
        101
    ]


def test_another_longest_ngram_has_every_hour_of_the_window_extracted(practised: Typist) -> None:
    settings = practised.resources.settings.model_copy(update={"max_ngram_size": 1})
    practised.resources = replace(practised.resources, settings=settings)
    # From 00:00 to 12:00.
    assert hours_extracted(practised) == 12
    assert practised.lake.scan(SESSION_NGRAM_SPEED).collect()["ngram_size"].to_list() == [1] * 6


def test_another_version_of_the_code_has_every_hour_of_the_window_extracted(
    practised: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngrams, "EXTRACTION", 0)
    assert hours_extracted(practised) == 12


def test_an_hour_that_the_table_lacks_or_that_was_altered_is_extracted(practised: Typist) -> None:
    before = practised.lake.scan(SESSION_NGRAM_SPEED).sort(pl.all()).collect()
    practised.lake.remove(SESSION_NGRAM_SPEED, Hour.from_key("2025-03-12-01:00"))
    practised.lake.write(SESSION_NGRAM_SPEED, Hour.from_key("2025-03-12-02:00"), SESSION_NGRAM_SPEED.empty())
    assert hours_extracted(practised) == 2
    assert practised.lake.scan(SESSION_NGRAM_SPEED).sort(pl.all()).collect().equals(before)


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
