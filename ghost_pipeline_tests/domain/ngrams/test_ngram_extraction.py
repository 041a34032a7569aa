"""Speed and error n-grams out of keystrokes."""

from collections.abc import Sequence
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ngrams.ngram_extraction import (
    ERROR_NGRAM_SCHEMA,
    SPEED_NGRAM_SCHEMA,
    error_ngrams,
    speed_ngrams,
)
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.reference.ngram_extraction import iterate_ngrams
from ghost_pipeline_tests.reference.plain_ngrams import (
    Key,
    aalto,
    keystrokes,
    plain_error_ngrams,
    plain_speed_ngrams,
    typed,
)


def speed(keys: Sequence[Key]) -> list[tuple[str, float]]:
    frame = speed_ngrams(keystrokes({"s": keys})).collect()
    return sorted(frame.select("ngram_text", "ngram_time_ms").rows())


def errors(keys: Sequence[Key]) -> list[tuple[str, bool]]:
    frame = error_ngrams(keystrokes({"s": keys})).collect()
    return sorted(frame.select("ngram_text", "was_corrected").rows())


def test_the_first_character_of_a_text_starts_no_speed_ngram() -> None:
    assert speed(typed("abc")) == [("b", 100), ("bc", 200), ("c", 100)]


def test_the_time_per_key_is_the_time_of_the_ngram_by_its_size() -> None:
    frame = speed_ngrams(keystrokes({"s": typed("abc")})).filter(ngram_text="bc").collect()
    assert frame.row(0) == ("s", "bc", 2, 200.0, 100.0, 2)


def test_a_separator_is_in_no_ngram_but_times_the_next_one() -> None:
    assert speed(typed("a bc")) == [("b", 100), ("bc", 200), ("c", 100)]


@pytest.mark.parametrize("separator", [" ", "\t", "\n", "\r", "\0"])
def test_each_separator_breaks(separator: str) -> None:
    assert speed(typed(f"ab{separator}c")) == [("b", 100), ("c", 100)]


def test_a_wrong_key_may_time_an_ngram_but_is_in_none() -> None:
    assert speed([Key("x", "a", 0, 0), Key("b", "b", 1, 70)]) == [("b", 70)]


def test_a_correction_costs_time_where_it_was_made() -> None:
    keys = [
        Key("a", "a", 0, 0),
        Key("x", "b", 1, 100),
        Key("\b", "b", 1, 200),
        Key("b", "b", 1, 300),
        Key("c", "c", 2, 400),
    ]
    assert speed(keys) == [("b", 300), ("bc", 400), ("c", 100)]


def test_a_missing_text_index_breaks_and_times_nothing() -> None:
    keys = [Key("a", "a", 0, 0), Key("b", "b", 1, 100), Key("d", "d", 3, 200), Key("e", "e", 4, 300)]
    assert speed(keys) == [("b", 100), ("e", 100)]


@pytest.mark.parametrize("ms", [100, 50])
def test_equal_or_backwards_times_lose_that_row_and_no_other(ms: float) -> None:
    keys = [Key("a", "a", 0, 0), Key("b", "b", 1, 100), Key("c", "c", 2, ms), Key("d", "d", 3, 300)]
    assert [text for text, _ in speed(keys)] == ["b", "bc", "bcd", "cd", "d"]


def test_keys_past_the_end_belong_to_nothing() -> None:
    keys = [*typed("ab"), Key("x", "", 2, 300), Key("y", None, 3, 400)]
    assert speed(keys) == [("b", 100)]
    assert errors(keys) == []


def test_case_matters() -> None:
    keys = [Key("a", "a", 0, 0), Key("B", "b", 1, 100)]
    assert speed(keys) == []
    assert errors(keys) == [("ab", False), ("b", False)]


def test_an_ngram_is_composed_where_its_characters_meet() -> None:
    # A combining accent as a key of its own: "xe" and the accent are two characters, but three keys.
    frame = speed_ngrams(keystrokes({"s": typed("xe\u0301")})).collect()
    assert ("\u00e9", 2) in frame.select("ngram_text", "ngram_size").rows()


def test_an_ngram_of_more_than_fifty_characters_is_left_out() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
    keys = [Key(family, family, index, index) for index in range(9)]
    assert speed_ngrams(keystrokes({"s": keys})).collect()["ngram_size"].max() == 50 // len(family)


def test_an_expected_text_of_several_letters_counts_by_its_letters() -> None:
    keys = [Key("x" * 30, "x" * 30, index, index) for index in range(3)]
    assert speed_ngrams(keystrokes({"s": keys})).collect()["ngram_size"].to_list() == [1, 1]


def test_no_ngram_is_larger_than_twenty() -> None:
    frame = speed_ngrams(keystrokes({"s": typed("x" * 30)})).collect()
    assert frame["ngram_size"].max() == 20
    assert frame.height == sum(30 - size for size in range(1, 21))


def test_sizes_can_be_limited() -> None:
    assert speed_ngrams(keystrokes({"s": typed("abcd")}), 2).collect()["ngram_size"].max() == 2


@pytest.mark.parametrize("max_size", [0, 21, True])
def test_a_size_that_no_ngram_has_is_refused(max_size: int) -> None:
    with pytest.raises(ValueError, match=r"max_size must be a whole number from 1 to 20"):
        speed_ngrams(keystrokes({}), max_size)
    with pytest.raises(ValueError, match="max_size"):
        error_ngrams(keystrokes({}), max_size)


def test_a_wrong_key_makes_a_row_for_each_size_from_the_first_character_on() -> None:
    keys = [*typed("ab"), Key("x", "c", 2, 200)]
    assert errors(keys) == [("abc", False), ("bc", False), ("c", False)]


def test_a_corrected_error_keeps_what_stood_before_it_then() -> None:
    keys = [
        Key("a", "a", 0, 0),
        Key("b", "b", 1, 100),
        Key("x", "c", 2, 200),
        Key("\b", "c", 2, 300),
        Key("\b", "b", 1, 400),
        Key("y", "b", 1, 500),
    ]
    assert errors(keys) == [("ab", False), ("abc", True), ("b", False), ("bc", True), ("c", True)]


def test_a_wrong_key_on_a_separator_makes_no_error() -> None:
    assert errors([Key("a", "a", 0, 0), Key("x", " ", 1, 100)]) == []


def test_an_error_ngram_stops_at_separators_wrong_keys_and_gaps() -> None:
    after_separator = [*typed("a "), Key("x", "b", 2, 200)]
    after_wrong = [Key("x", "a", 0, 0), Key("x", "b", 1, 100)]
    after_gap = [Key("a", "a", 0, 0), Key("x", "c", 2, 100)]
    assert errors(after_separator) == [("b", False)]
    assert errors(after_wrong) == [("a", False), ("b", False)]
    assert errors(after_gap) == [("c", False)]


def test_an_error_says_what_was_typed_instead() -> None:
    frame = error_ngrams(keystrokes({"s": [Key("x", "c", 0, 0)]})).collect()
    assert frame.row(0) == ("s", "c", 1, False, 0, "c", "x")


def test_no_keys_are_no_rows_with_the_same_columns() -> None:
    assert speed_ngrams(keystrokes({})).collect().schema == SPEED_NGRAM_SCHEMA
    assert error_ngrams(keystrokes({})).collect().schema == ERROR_NGRAM_SCHEMA


@pytest.mark.parametrize(
    ("keys_at_a_time", "parts"), [(1, [["a"], ["b"], ["c"]]), (4, [["a", "b"], ["c"]]), (99, [["a", "b", "c"]])]
)
def test_parts_are_whole_sessions(keys_at_a_time: int, parts: list[list[str]]) -> None:
    keys = keystrokes({"c": typed("abc"), "b": typed("abc"), "a": typed("abc")}).collect()
    speeds = [speed for speed, _ in iterate_ngrams(keys, keys_at_a_time=keys_at_a_time)]
    assert [speed["session_id"].unique(maintain_order=True).to_list() for speed in speeds] == parts


def test_no_keys_are_no_parts() -> None:
    assert list(iterate_ngrams(keystrokes({}).collect())) == []


@pytest.mark.parametrize("arguments", [{"max_size": 0}, {"keys_at_a_time": 0}])
def test_parts_refuse_what_makes_no_sense(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be .* \(got 0\)"):
        next(iterate_ngrams(keystrokes({"s": typed("a")}).collect(), **arguments))


def test_a_single_ngram_has_the_bits_that_it_has_among_others() -> None:
    # 237.5 ms over 3 keys: exact division and multiplication by a third differ in the last bit.
    keys = [
        Key(char, char, index, at) for index, (char, at) in enumerate(zip("abcd", (0, 100, 200, 237.5), strict=True))
    ]
    alone = speed_ngrams(keystrokes({"s": keys})).filter(ngram_size=3).collect()
    among = speed_ngrams(keystrokes({f"s{number}": keys for number in range(3)})).filter(ngram_size=3).collect()
    assert set(alone["ms_per_keystroke"]) == set(among["ms_per_keystroke"])


@st.composite
def typed_sessions(draw: st.DrawFn) -> list[Key]:
    """Someone types a text: mostly right, with all that can go wrong."""
    text = draw(st.lists(st.sampled_from(["a", "b", "\u00e9", "e\u0301", "\u0301", " "]), max_size=12))
    action = st.sampled_from(["right"] * 6 + ["backspace"] * 2 + ["wrong", "space", "skip", "again"])
    elapsed = st.sampled_from([100, 100, 37.5, 0, -60])
    keys: list[Key] = []
    index, ms = 0, 0.0
    for what, pause in draw(st.lists(st.tuples(action, elapsed), max_size=30)):
        ms += pause
        expected = text[index] if index < len(text) else draw(st.sampled_from(["", None]))
        char = {"backspace": "\b", "wrong": "z", "space": " "}.get(what, expected or "q")
        if what == "backspace":
            index = max(index - 1, 0)
        keys.append(Key(char, expected, index, ms))
        if what != "backspace":
            index += {"skip": 2, "again": 0}.get(what, 1)
    return keys


@examples(25, 100)
@given(st.lists(typed_sessions(), max_size=3), st.integers(1, 20))
def test_extraction_is_what_the_rules_say_key_by_key(sessions: list[list[Key]], max_size: int) -> None:
    named = {f"s{number}": keys for number, keys in enumerate(sessions)}
    keys = keystrokes(named)
    columns = ["session_id", "ngram_text", "ngram_size", "ngram_time_ms", "key_index"]
    speed_rows = speed_ngrams(keys, max_size).select(columns).collect().rows()
    assert sorted(speed_rows) == sorted(
        (name, *row) for name, typing in named.items() for row in plain_speed_ngrams(typing, max_size)
    )
    columns = ["session_id", "ngram_text", "ngram_size", "was_corrected", "key_index"]
    error_rows = error_ngrams(keys, max_size).select(columns).collect().rows()
    assert sorted(error_rows) == sorted(
        (name, *row) for name, typing in named.items() for row in plain_error_ngrams(typing, max_size)
    )


@examples(10, 30)
@given(st.lists(typed_sessions(), max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(sessions: list[list[Key]], random: Random) -> None:
    keys = keystrokes({f"s{number}": typing for number, typing in enumerate(sessions)})
    shuffled = keys.collect().sample(fraction=1, shuffle=True, seed=random.randrange(1000)).lazy()
    assert speed_ngrams(keys).collect().equals(speed_ngrams(shuffled).collect())
    assert error_ngrams(keys).collect().equals(error_ngrams(shuffled).collect())


@examples(10, 30)
@given(st.lists(typed_sessions(), max_size=4), st.integers(1, 40))
def test_parts_together_are_the_whole(sessions: list[list[Key]], keys_at_a_time: int) -> None:
    keys = keystrokes({f"s{number}": typing for number, typing in enumerate(sessions)})
    parts = list(iterate_ngrams(keys.collect(), keys_at_a_time=keys_at_a_time))
    order = ["ngram_size", "session_id", "key_index"]
    for whole, found in (
        (speed_ngrams(keys).collect(), [speed for speed, _ in parts]),
        (error_ngrams(keys).collect(), [error for _, error in parts]),
    ):
        assert pl.concat([whole.clear(), *found]).sort(order).equals(whole)


def test_aalto_speed_rows() -> None:
    frame = speed_ngrams(aalto("session_keystrokes")).collect()
    by_size = dict(frame.group_by("ngram_size").agg(pl.len()).iter_rows())
    time = dict(frame.group_by("ngram_size").agg(pl.sum("ngram_time_ms")).iter_rows())
    assert (frame.height, frame["ngram_time_ms"].sum()) == (133_453, 126_427_140)
    assert [by_size[size] for size in (1, 2, 3, 4, 5, 10, 16)] == [
        41_560,
        31_385,
        22_088,
        14_822,
        9_491,
        592,
        2,
    ]
    assert 17 not in by_size
    assert [time[size] for size in (1, 2, 3)] == [13_491_514, 19_664_525, 21_182_798]


def test_aalto_error_rows() -> None:
    frame = error_ngrams(aalto("session_keystrokes")).collect()
    counts = {
        size: (rows, corrected)
        for size, rows, corrected in frame.group_by("ngram_size")
        .agg(pl.len(), pl.sum("was_corrected").alias("corrected"))
        .iter_rows()
    }
    assert (frame.height, frame["was_corrected"].sum()) == (17_039, 7_002)
    assert (counts[1], counts[2]) == ((11_619, 3_079), (1_943, 1_322))
