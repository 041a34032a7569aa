"""Summaries computed where something changed are those of a computation from scratch, whatever came before."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, SESSION_NGRAM_ERRORS, SESSION_NGRAM_SPEED
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import HASHED_SESSION_SCHEMA
from ghost_pipeline.domain.ngrams.session_ngram_summary import session_ngram_summary
from ghost_pipeline.errors import LakeError
from ghost_pipeline.incremental import hashed_sessions, measurement_parts
from ghost_pipeline.lake import parquet
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.file_versions import file_version
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline_tests.defs.practising import Practice
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.ngram_speed_summary_history import ngram_speed_summary_history
from ghost_pipeline_tests.reference.plain_ngrams import HOUR, MIDNIGHT, Session

TH, HE = ("th", 2), ("he", 2)
PAIRS = [("u1", "k1"), ("u2", "k1"), ("u2", "k2"), *((f"u{number}", "k3") for number in range(3, 9))]
"""So many that a change of one is worth looking at pairs one by one."""

measured = st.dictionaries(
    st.sampled_from([TH, HE, ("e", 1)]), st.lists(st.sampled_from([90.0, 110.0, 300.0]), min_size=1, max_size=3)
)
start = st.integers(0, 11).map(lambda domains: MIDNIGHT + domains * HOUR / 2)
practised = st.builds(
    lambda name, at, of, pair: Session(f"s{name:02}", at, of, *pair),
    st.integers(0, 9),
    start,
    measured,
    st.sampled_from(PAIRS[:3]),
)
changes = st.one_of(
    practised.map(lambda one: lambda practice: practice.add(one)),
    st.integers(0, 9).map(lambda name: lambda practice: practice.sessions.pop(f"s{name:02}", None)),
    st.tuples(st.sampled_from(["k1", "k2"]), st.integers(0, 5), st.sampled_from([100.0, 200.0])).map(
        lambda one: lambda practice: practice.targets.__setitem__((one[0], MIDNIGHT + one[1] * HOUR), one[2])
    ),
    st.integers(1, 3).map(lambda most: lambda practice: practice.limits.update(max_sessions=most)),
    st.integers(0, 9).map(lambda name: lambda practice: practice.errors.__setitem__(f"s{name:02}", ["th"])),
)


@pytest.fixture
def practice(tmp_path: Path) -> Practice:
    """Typists with a session each in the first hour, of whom the first has one more in the second."""
    found = Practice(tmp_path)
    found.add(*(Session(f"of-{user}-{keyboard}", MIDNIGHT, {TH: [100]}, user, keyboard) for user, keyboard in PAIRS))
    found.add(Session("s1", MIDNIGHT + HOUR, {TH: [200], HE: [50]}))
    return found


def summarised(practice: Practice, number: int) -> int:
    """Run an hour; how many pairs were summarised anew. The result has to be that from scratch."""
    pairs = practice.run(number).metadata["pairs_summarised"]
    assert practice.summaries(number).equals(practice.from_scratch(number))
    assert isinstance(pairs, int)
    return pairs


# --- the law ---


@examples(6, 30)
@given(st.lists(st.tuples(st.lists(changes, max_size=4), st.integers(0, 5)), min_size=2, max_size=5))
def test_whatever_comes_in_whatever_order_the_tables_follow_from_what_is_there(
    runs: list[tuple[list[Callable[[Practice], Any]], int]],
) -> None:
    with TemporaryDirectory() as folder:
        practice = Practice(Path(folder))
        practice.add(*(Session(f"of-{user}", MIDNIGHT, {TH: [100]}, user, keyboard) for user, keyboard in PAIRS[3:]))
        for changed, number in runs:
            for change in changed:
                change(practice)
            practice.run(number)
            hour, lake, state = practice.hour(number), practice.lake, practice.from_scratch(number)
            assert practice.summaries(number).equals(state)
            before = practice.from_scratch(number - 1)
            history = ngram_speed_summary_history(state.lazy(), before.lazy(), hour.as_of).collect()
            assert lake.scan(NGRAM_SPEED_SUMMARY_HISTORY, [hour]).collect().equals(history)
            inputs = (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS)
            of_sessions = session_ngram_summary(*(lake.scan_until(table, hour.as_of) for table in inputs)).collect()
            found = lake.scan_until(SESSION_NGRAM_SUMMARY, hour.as_of).collect()
            assert found.sort("session_id", "ngram_text").equals(of_sessions.sort("session_id", "ngram_text"))


@examples(3, 30)
@given(st.lists(practised, max_size=12), st.sampled_from([1, 3, 6]), st.integers(1, 5))
def test_however_the_typists_are_cut_into_parts_every_byte_is_the_same(
    sessions: list[Session], part_bytes: int, row_group_rows: int
) -> None:
    found = []
    for size in (part_bytes, 10**6):
        with (
            TemporaryDirectory() as folder,
            patch.object(measurement_parts, "MB", size),
            patch.object(parquet, "ROW_GROUP_ROWS", row_group_rows),
        ):
            practice = Practice(Path(folder))
            practice.add(*sessions)
            practice.run(1)
            kept = {path.name for path in practice.cache.rglob("measurements/*")}
            # An hour later all of it is carried over, in row groups that the rows of a new typist move.
            practice.add(Session("new", MIDNIGHT + 2 * HOUR, {TH: [70]}, "u1", "k0"))
            practice.run(2)
            files = [practice.lake.path(NGRAM_SPEED_SUMMARIES, practice.hour(one)).read_bytes() for one in (1, 2)]
            found.append((files, kept))
            if size == part_bytes:
                shutil.rmtree(practice.cache)
                practice.run(2)
                assert practice.lake.path(NGRAM_SPEED_SUMMARIES, practice.hour(2)).read_bytes() == files[1]
    assert found[0] == found[1]


@pytest.mark.parametrize("read_bytes", [1, 1_500, hashed_sessions.READ_BYTES])
def test_days_that_are_read_together_are_cached_and_changed_each_by_itself(tmp_path: Path, read_bytes: int) -> None:
    practice = Practice(tmp_path, hours=76)
    days = [
        (day, Session(f"{user}-{of}-{day}", MIDNIGHT + 24 * day * HOUR, {TH: [100 + day]}, user, of))
        for day in (0, 1, 3)
        for user, of in PAIRS
    ]
    practice.add(*(session for _, session in days))
    with (
        patch.object(hashed_sessions, "READ_BYTES", read_bytes),
        patch.object(measurement_parts, "READ_BYTES", read_bytes),
    ):
        assert summarised(practice, 74) == len(PAIRS)
        cache = Cache(practice.lake.root, NGRAM_SPEED_SUMMARIES.name)
        schema = pl.Schema({**FILE_VERSION_SCHEMA, **HASHED_SESSION_SCHEMA})
        cached = {name: cache.read(name, schema)["session_id"].drop_nulls().len() for name in cache.names("sessions")}
        assert cached == {
            f"sessions/{MIDNIGHT + 24 * day * HOUR:%Y-%m-%d}": len(PAIRS) * (day != 2) for day in range(4)
        }
        practice.add(Session("late", MIDNIGHT + 25 * HOUR, {TH: [70]}, *PAIRS[1]))
        assert summarised(practice, 74) == 1
        assert summarised(practice, 75) == 0


# --- only those for whom something changed ---


def test_the_first_hour_is_computed_from_scratch(practice: Practice) -> None:
    assert summarised(practice, 1) == len(PAIRS)


def test_an_hour_without_anything_new_computes_nothing(practice: Practice) -> None:
    practice.run(1)
    assert summarised(practice, 2) == 0


def test_running_an_hour_again_computes_nothing_and_changes_no_byte(practice: Practice) -> None:
    practice.run(1)
    path = practice.lake.path(NGRAM_SPEED_SUMMARIES, practice.hour(1))
    before = file_version(path)
    assert summarised(practice, 1) == 0
    assert file_version(path) == before


@pytest.mark.parametrize("hour", [0, 1, 2])
def test_a_session_however_late_is_that_of_its_pair_alone(practice: Practice, hour: int) -> None:
    practice.run(1)
    practice.add(Session("more", MIDNIGHT + hour * HOUR + HOUR / 2, {TH: [70]}))
    assert summarised(practice, 2) == 1


def test_a_session_without_measurements_counts_too_for_it_moves_the_window(practice: Practice) -> None:
    practice.run(1)
    practice.add(Session("more", MIDNIGHT + 2 * HOUR, {}), Session("and more", MIDNIGHT + 2 * HOUR, {}))
    assert summarised(practice, 2) == 1
    assert practice.summaries(2).filter(user_id="u1", keyboard_id="k1").is_empty()


def test_other_measurements_of_a_session_are_those_of_its_pair_alone(practice: Practice) -> None:
    practice.run(1)
    practice.add(replace(practice.sessions["s1"], measured={TH: [200], HE: [51]}))
    assert summarised(practice, 2) == 1


def test_a_session_that_is_gone_changes_its_pair_alone(practice: Practice) -> None:
    practice.run(1)
    del practice.sessions["s1"]
    assert summarised(practice, 2) == 1


def test_the_last_session_of_a_pair_takes_its_rows_and_what_was_kept_with_it(practice: Practice) -> None:
    practice.run(1)
    practice.add(Session("more", MIDNIGHT + 2 * HOUR, {TH: [70]}))
    practice.run(2)
    before = {path.name for path in practice.cache.rglob("measurements/*")}
    assert len(before) == len(PAIRS)
    practice.sessions = {
        name: one for name, one in practice.sessions.items() if (one.user_id, one.keyboard_id) != PAIRS[0]
    }
    assert summarised(practice, 3) == 0
    after = {path.name for path in practice.cache.rglob("measurements/*")}
    assert len(after) == len(PAIRS) - 1
    assert after < before


def test_another_target_changes_the_pairs_of_its_keyboard(practice: Practice) -> None:
    practice.run(1)
    practice.targets["k1", MIDNIGHT + 2 * HOUR] = 150
    assert summarised(practice, 2) == 2


def test_a_target_that_went_and_came_back_is_a_change_too(practice: Practice) -> None:
    practice.targets["k1", MIDNIGHT] = 200
    practice.run(1)
    practice.targets |= {("k1", MIDNIGHT + 2 * HOUR): 150, ("k1", MIDNIGHT + 3 * HOUR): 200}
    assert summarised(practice, 3) == 2


def test_another_setting_changes_everybody(practice: Practice) -> None:
    practice.run(1)
    practice.limits["default_target_ms"] = 500
    assert summarised(practice, 2) == len(PAIRS)


def test_a_wider_window_brings_back_what_had_left_it(practice: Practice) -> None:
    practice.add(Session("s2", MIDNIGHT + 2 * HOUR, {HE: [60]}))
    practice.run(1)
    practice.run(2)
    practice.limits["max_sessions"] = 3
    summarised(practice, 3)
    assert practice.summaries(3).filter(user_id="u1", ngram_text="th")["sample_count"].to_list() == [2]


def test_a_session_that_is_gone_brings_back_one_that_had_left_the_window(practice: Practice) -> None:
    practice.run(1)
    practice.add(Session("s2", MIDNIGHT + 2 * HOUR, {HE: [60]}))
    practice.run(2)
    del practice.sessions["s2"]
    assert summarised(practice, 3) == 1
    assert practice.summaries(3).filter(user_id="u1", ngram_text="th")["sample_count"].to_list() == [2]


def test_an_ngram_is_younger_without_its_first_session_however_long_ago_that_was(practice: Practice) -> None:
    for hour in range(1, 6):
        practice.add(Session(f"s{hour}", MIDNIGHT + hour * HOUR, {HE: [60]}))
        practice.run(hour)
    del practice.sessions["s1"]
    assert summarised(practice, 5) == 1
    assert practice.summaries(5).filter(user_id="u1", ngram_text="he")["created_at"].to_list() == [MIDNIGHT + 3 * HOUR]


def test_an_ngram_that_left_the_window_long_ago_comes_back_as_old_as_it_is(practice: Practice) -> None:
    practice.run(1)
    for hour in (2, 3, 4):
        practice.add(Session(f"s{hour}", MIDNIGHT + hour * HOUR, {HE: [60]}))
        practice.run(hour)
    practice.add(Session("s5", MIDNIGHT + 5 * HOUR, {TH: [60]}))
    assert summarised(practice, 5) == 1
    assert practice.summaries(5).filter(user_id="u1", ngram_text="th")["created_at"].to_list() == [MIDNIGHT + HOUR]


# --- older hours ---


def test_an_older_hour_moves_no_newer_one(practice: Practice) -> None:
    practice.run(3)
    path = practice.lake.path(NGRAM_SPEED_SUMMARIES, practice.hour(3))
    before = file_version(path)
    summarised(practice, 0)
    assert file_version(path) == before
    assert practice.lake.newest_hour(NGRAM_SPEED_SUMMARIES) == practice.hour(3)


def test_the_hour_after_a_backfill_is_not_that_of_the_backfill(practice: Practice) -> None:
    practice.run(3)
    practice.run(0)
    practice.add(Session("s4", MIDNIGHT + 4 * HOUR, {TH: [70]}))
    assert summarised(practice, 4) == 1


def test_without_the_hour_before_the_newest_one_does(practice: Practice) -> None:
    practice.run(1)
    practice.add(Session("s4", MIDNIGHT + 4 * HOUR, {TH: [70]}))
    assert summarised(practice, 5) == 1


# --- what was kept is worth no more than it is ---


def test_without_what_was_kept_everything_is_computed(practice: Practice) -> None:
    practice.run(1)
    shutil.rmtree(practice.cache)
    assert summarised(practice, 2) == len(PAIRS)


@pytest.mark.parametrize("part", ["inputs", "sessions", "measurements"])
@pytest.mark.parametrize("damage", [b"", b"not a frame at all", None])
def test_damaged_files_of_what_was_kept_are_as_good_as_none(
    practice: Practice, part: str, damage: bytes | None
) -> None:
    practice.run(1)
    practice.add(Session("s2", MIDNIGHT + 2 * HOUR, {TH: [70]}))
    practice.run(2)
    files = list(practice.cache.rglob(f"{part}/*"))
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content if damage is None else damage)
    practice.add(Session("s3", MIDNIGHT + 3 * HOUR, {TH: [80]}))
    summarised(practice, 3)


def test_summaries_that_were_altered_are_not_carried_over(practice: Practice) -> None:
    practice.run(1)
    rows = practice.summaries(1)
    practice.lake.write(
        NGRAM_SPEED_SUMMARIES, practice.hour(1), rows.with_columns(sample_count=rows["sample_count"] + 1)
    )
    assert summarised(practice, 2) == len(PAIRS)


def test_summaries_that_are_damaged_are_not_carried_over(practice: Practice) -> None:
    practice.run(1)
    practice.lake.path(NGRAM_SPEED_SUMMARIES, practice.hour(1)).write_bytes(b"PAR1")
    assert summarised(practice, 2) == len(PAIRS)


def test_summaries_that_were_deleted_are_not_carried_over(practice: Practice) -> None:
    practice.run(1)
    practice.lake.remove(NGRAM_SPEED_SUMMARIES, practice.hour(1))
    assert summarised(practice, 2) == len(PAIRS)


def test_a_lake_that_was_copied_computes_nothing_twice(practice: Practice, tmp_path: Path) -> None:
    practice.run(1)
    copied = replace(practice, folder=tmp_path / "copy")
    shutil.copytree(practice.lake.root, copied.lake.root)
    assert summarised(copied, 2) == 0


def test_a_missing_hour_is_an_error_that_names_it(practice: Practice) -> None:
    practice.run(1)
    practice.lake.remove(SESSION_NGRAM_SPEED, practice.hour(1))
    practice.hours = 1
    with pytest.raises(
        LakeError, match=r"session_ngram_speed: 1 of 3 hours before 2025-01-01T03:00Z .*\(2025-01-01-01:00\)"
    ):
        practice.run(2)
