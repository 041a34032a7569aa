"""Replay of keys and backspaces."""

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ngrams.keystroke_replay import REPLAY_SCHEMA, replay
from ghost_pipeline_tests.reference.plain_ngrams import Key, keystrokes, plain_replay


def keys_of(chars: str) -> list[Key]:
    return [Key(char, char, index, index) for index, char in enumerate(chars)]


def replayed(chars: str, column: str) -> list[object]:
    return replay(keystrokes({"s": keys_of(chars)}).collect())[column].to_list()


@pytest.mark.parametrize(
    ("chars", "depths"),
    [
        ("abc", [1, 2, 3]),
        ("a\bb", [1, 0, 1]),
        ("\b\bab", [0, 0, 1, 2]),
        ("a\b\b\bb", [1, 0, 0, 0, 1]),
    ],
)
def test_a_backspace_takes_one_character_and_nothing_from_an_empty_text(chars: str, depths: list[int]) -> None:
    assert replayed(chars, "depth") == depths


def test_the_net_keys_are_those_that_no_backspace_reached() -> None:
    assert replayed("ab\bcd\b", "is_net") == [True, False, False, True, False, False]


def test_a_key_after_a_correction_stands_on_what_was_left() -> None:
    # "abc", all but the a taken away, then "d": it stands on the a.
    assert replayed("abc\b\bd", "below") == [None, 0, 1, None, None, 0]


def test_the_key_below_is_found_past_longer_texts_that_came_and_went() -> None:
    assert replayed("abc\bde\b\bf", "below") == [None, 0, 1, None, 1, 4, None, None, 1]


def test_sessions_do_not_touch_each_other() -> None:
    sessions = {"a": keys_of("xy"), "b": keys_of("\b\b\bz"), "c": keys_of("w\b")}
    frame = replay(keystrokes(sessions).collect())
    assert frame["depth"].to_list() == [1, 2, 0, 0, 0, 1, 1, 0]
    assert frame["is_net"].to_list() == [True, True, False, False, False, True, False, False]
    assert frame["below"].to_list() == [None, 0, None, None, None, None, None, None]


def test_characters_are_composed() -> None:
    frame = replay(keystrokes({"s": [Key("e\u0301", "\u00e9", 0, 0)]}).collect())
    assert frame.select("keystroke_char", "expected_char").row(0) == ("\u00e9", "\u00e9")


def test_no_keys_are_no_rows_with_the_same_columns() -> None:
    assert replay(keystrokes({}).collect()).schema == REPLAY_SCHEMA


def test_the_order_of_rows_does_not_matter() -> None:
    frame = keystrokes({"b": keys_of("ab\bc"), "a": keys_of("\bx")}).collect()
    assert replay(frame).equals(replay(frame.reverse()))


@given(st.lists(st.text("ab\b", max_size=30), max_size=4))
def test_replay_is_a_stack_of_characters(texts: Sequence[str]) -> None:
    sessions = {f"s{number}": keys_of(text) for number, text in enumerate(texts)}
    frame = replay(keystrokes(sessions).collect()).with_row_index("row")
    first = {session: int(row) for session, row in frame.group_by("session_id").agg(pl.min("row")).iter_rows()}
    expected = [
        (depth, is_net, None if below is None else below + first[session_id])
        for session_id, keys in sessions.items()
        for depth, is_net, below in plain_replay(keys)
    ]
    assert frame.select("depth", "is_net", "below").rows() == expected
