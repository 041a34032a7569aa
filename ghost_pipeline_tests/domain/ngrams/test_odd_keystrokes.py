"""Pauses and keys that look wrong are counted; what is measured does not change."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ghost_pipeline.domain.ngrams.odd_keystrokes import odd_keystrokes

NINE_HOURS = timedelta(hours=9)
Key = tuple[str, int]


def counted(*sessions: list[Key], gap: timedelta = timedelta(milliseconds=100)) -> dict[str, int]:
    rows = [
        (f"s{number}", index, datetime(2025, 3, 12, tzinfo=UTC) + index * gap, char, at)
        for number, keys in enumerate(sessions)
        for index, (char, at) in enumerate(keys)
    ]
    schema = pl.Schema(
        {
            "session_id": pl.String(),
            "key_index": pl.Int32(),
            "keystroke_time": pl.Datetime("us", "UTC"),
            "keystroke_char": pl.String(),
            "text_index": pl.Int32(),
        }
    )
    found: dict[str, int] = odd_keystrokes(pl.LazyFrame(rows[::-1], schema, orient="row")).collect().row(0, named=True)
    return {name: count for name, count in found.items() if count}


def test_ordinary_typing_has_nothing_odd() -> None:
    keys = [("a", 0), ("b", 1), ("x", 2), ("\b", 2), ("\b", 1), ("b", 1), ("é", 2), ("👍🏽", 3)]
    assert counted(keys, keys) == {}


def test_no_keys_have_nothing_odd() -> None:
    assert counted() == {}


def test_a_gap_of_hours_within_a_session_is_a_pause() -> None:
    assert counted([("a", 0), ("b", 1)], gap=NINE_HOURS) == {"pauses_of_an_hour": 1}


def test_a_gap_between_sessions_is_no_pause() -> None:
    assert counted([("a", 0)], [("a", 0)], gap=NINE_HOURS) == {}


@pytest.mark.parametrize("name", ["Backspace", "Enter", "ArrowLeft", "F5", "space"])
def test_a_key_with_a_name_is_counted(name: str) -> None:
    assert counted([("a", 0), (name, 1), ("b", 2)]) == {"keys_sent_by_name": 1}


@pytest.mark.parametrize("key", ["\x17", "\x7f"])
def test_a_key_for_deleting_a_word_is_counted(key: str) -> None:
    assert counted([("a", 0), (key, 1)]) == {"keys_that_delete_a_word": 1}


@pytest.mark.parametrize(
    "keys",
    [
        [("a", 0), ("b", 1), ("c", 2), ("\b", 0), ("x", 0)],
        [("a", 0), ("b", 1), ("c", 2), ("\b", 2), ("x", 0)],
        [("a", 0), ("b", 1), ("c", 2), ("\b", 2), ("\b", 0), ("x", 0)],
    ],
)
def test_a_text_that_shrinks_by_more_than_a_character_lost_a_word(keys: list[Key]) -> None:
    assert counted(keys) == {"keys_that_delete_a_word": 1}


def test_a_jump_without_a_backspace_is_no_deletion() -> None:
    assert counted([("a", 0), ("b", 1), ("c", 2), ("x", 0)]) == {}
