"""Heat map, slowest and most mistyped n-grams."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from ghost_pipeline.domain.ngrams.ngram_extraction import error_ngrams, speed_ngrams
from ghost_pipeline.domain.ngrams.ngram_queries import (
    ERROR_COUNT_SCHEMA,
    HEAT_MAP_SCHEMA,
    PERFORMANCE_SCHEMA,
    check_ngram_text,
    error_n,
    heat_map,
    slowest_n,
)
from ghost_pipeline_tests.reference.default_summaries import ngram_speed_summaries
from ghost_pipeline_tests.reference.plain_ngrams import (
    HOUR,
    MIDNIGHT,
    Session,
    aalto,
    keyboards,
    practice_sessions,
    session_ngram_errors,
    session_ngram_speed,
)


def summaries(averages: Mapping[str, float], target: float = 600, times: int = 5) -> pl.LazyFrame:
    """Summaries with these averages, each of so many measurements."""
    sessions = [Session("s", MIDNIGHT, {(text, len(text)): [average] * times for text, average in averages.items()})]
    return ngram_speed_summaries(
        practice_sessions(sessions), session_ngram_speed(sessions), keyboards({"k1": target}), MIDNIGHT + HOUR
    )


EDGES = summaries({"met": 600, "near": 600.1, "edge": 800, "far": 800.1})


def texts(frame: pl.LazyFrame) -> list[str]:
    return frame.collect()["ngram_text"].to_list()


def test_a_heat_map_begins_with_the_worst() -> None:
    assert texts(heat_map(EDGES, "u1", "k1")) == ["far", "edge", "near", "met"]


def test_a_heat_map_may_begin_with_the_best() -> None:
    assert texts(heat_map(EDGES, "u1", "k1", sort_order="best_to_worst")) == ["met", "near", "edge", "far"]


@pytest.mark.parametrize("sort_order", ["worst_to_best", "best_to_worst"])
def test_ties_go_by_text(sort_order: str) -> None:
    assert texts(heat_map(summaries({"b": 1, "a": 1, "B": 1}), "u1", "k1", sort_order=sort_order)) == [
        "B",
        "a",
        "b",
    ]


def test_categories_and_colours() -> None:
    frame = heat_map(EDGES, "u1", "k1").collect()
    assert dict(frame.select("ngram_text", "performance_category").iter_rows()) == {
        "met": "green",
        "near": "amber",
        "edge": "amber",
        "far": "grey",
    }
    assert dict(frame.select("performance_category", "color_code").iter_rows()) == {
        "green": "#90EE90",
        "amber": "#FFD700",
        "grey": "#D3D3D3",
    }


def test_words_per_minute() -> None:
    frame = heat_map(summaries({"th": 150}), "u1", "k1").collect()
    assert frame["decaying_average_wpm"].to_list() == [80]


def test_a_target_for_one_call_recomputes_what_follows_from_it() -> None:
    row = heat_map(summaries({"th": 800}), "u1", "k1", target_speed_ms=800).collect().row(0, named=True)
    assert (row["target_speed_ms"], row["target_performance_pct"]) == (800, 100)
    assert (row["meets_target"], row["performance_category"]) == (True, "green")


def test_what_meets_the_target_can_be_left_out() -> None:
    assert texts(heat_map(EDGES, "u1", "k1", exclude_successful=True)) == ["far", "edge", "near"]
    assert texts(heat_map(EDGES, "u1", "k1", exclude_successful=True, target_speed_ms=700)) == ["far", "edge"]


def test_a_heat_map_of_one_size() -> None:
    assert texts(heat_map(EDGES, "u1", "k1", ngram_size_filter=3)) == ["far", "met"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ngram_size_filter": 0}, r"ngram_size_filter must be a whole number from 1 to 20 \(got 0\)"),
        ({"ngram_size_filter": 21}, r"ngram_size_filter must be .* \(got 21\)"),
        ({"ngram_size_filter": "2"}, r"ngram_size_filter must be .* \(got '2'\)"),
        ({"sort_order": "best"}, r"sort_order must be worst_to_best or best_to_worst \(got 'best'\)"),
        ({"target_speed_ms": 0}, r"target_speed_ms must be a number of milliseconds above 0 \(got 0\)"),
        ({"target_speed_ms": float("inf")}, r"target_speed_ms must be .* \(got inf\)"),
        ({"target_speed_ms": "fast"}, r"target_speed_ms must be .* \(got 'fast'\)"),
        ({"exclude_successful": "no"}, r"exclude_successful must be True or False \(got 'no'\)"),
    ],
)
def test_a_heat_map_refuses_other_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        heat_map(EDGES, "u1", "k1", **options)


@pytest.mark.parametrize(("user_id", "keyboard_id"), [("nobody", "k1"), ("u1", "nothing")])
def test_the_unknown_has_no_rows(user_id: str, keyboard_id: str) -> None:
    shown = heat_map(EDGES, user_id, keyboard_id).collect()
    slowest = slowest_n(EDGES, 3, keyboard_id, user_id).collect()
    assert shown.is_empty()
    assert shown.schema == HEAT_MAP_SCHEMA
    assert slowest.is_empty()
    assert slowest.schema == PERFORMANCE_SCHEMA


def test_the_slowest_come_first_and_the_limit_last() -> None:
    assert texts(slowest_n(EDGES, 2, "k1", "u1")) == ["far", "edge"]
    assert texts(slowest_n(EDGES, 1, "k1", "u1", ngram_sizes=[3, 3])) == ["far"]
    assert texts(slowest_n(EDGES, 1, "k1", "u1", included_keys="met")) == ["met"]
    assert texts(slowest_n(EDGES, 1, "k1", "u1", included_keys="near")) == ["near"]


def test_the_slow_are_slow_several_times() -> None:
    assert texts(slowest_n(summaries({"th": 700}, times=4), 3, "k1", "u1")) == []
    assert texts(slowest_n(summaries({"th": 700}, times=4), 3, "k1", "u1", min_occurrences=4)) == ["th"]


def test_the_slowest_may_be_those_that_miss_the_target() -> None:
    assert texts(slowest_n(EDGES, 9, "k1", "u1", focus_on_speed_target=True)) == ["far", "edge", "near"]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["t", "h"], ["th"]),
        (["T", "h"], []),
        ([], []),
        (["a", "."], []),
        (["e\u0301"], ["\u00e9"]),
        (["x\u0302", "x"], ["x\u0302"]),
        (["x"], []),
        ("e\u0301", ["\u00e9"]),
        ("\u00e9", ["\u00e9"]),
        ("he\u0301t", ["\u00e9", "th"]),
        ("x\u0302", ["x\u0302"]),
        (None, ["\u00e9", "th", "x\u0302"]),
    ],
)
def test_only_ngrams_of_certain_keys(keys: Collection[str] | None, found: list[str]) -> None:
    rows = summaries({"th": 1, "\u00e9": 1, "x\u0302": 1})
    assert sorted(texts(slowest_n(rows, 9, "k1", "u1", included_keys=keys))) == sorted(found)


@pytest.mark.parametrize(("sizes", "count"), [(None, 4), ([], 0), ([3], 2), ({4}, 2)])
def test_no_sizes_given_is_every_size_and_an_empty_list_none(sizes: Collection[int] | None, count: int) -> None:
    assert len(texts(slowest_n(EDGES, 9, "k1", "u1", ngram_sizes=sizes))) == count


@pytest.mark.parametrize("n", [0, -3])
def test_n_of_zero_or_less_is_an_empty_list(n: int) -> None:
    assert texts(slowest_n(EDGES, n, "k1", "u1")) == []
    assert mistyped(n=n) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1.5}, r"n must be a whole number \(got 1.5\)"),
        ({"ngram_sizes": [2, 21]}, r"ngram_sizes must be a whole number from 1 to 20 \(got 21\)"),
        ({"ngram_sizes": [True]}, r"ngram_sizes must be .* \(got True\)"),
        ({"ngram_sizes": 2}, r"ngram_sizes must be a list .* \(got 2\)"),
        ({"included_keys": ["a", ""]}, r"included_keys must hold characters only \(got ''\)"),
        ({"included_keys": 1}, r"included_keys must be a list .* \(got 1\)"),
    ],
)
def test_questions_refuse_other_arguments(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"n": 3, "keyboard_id": "k1", "user_id": "u1"} | options
    with pytest.raises(ValueError, match=message):
        slowest_n(EDGES, **arguments)
    with pytest.raises(ValueError, match=message):
        error_n(session_ngram_errors({}), practice_sessions([]), **arguments)


def test_slowest_refuses_other_options() -> None:
    with pytest.raises(ValueError, match=r"min_occurrences must be a whole number \(got None\)"):
        slowest_n(EDGES, 3, "k1", "u1", min_occurrences=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"focus_on_speed_target must be True or False \(got 1\)"):
        slowest_n(EDGES, 3, "k1", "u1", focus_on_speed_target=1)  # type: ignore[arg-type]


SESSIONS = [
    Session("a", MIDNIGHT, {}),
    Session("b", MIDNIGHT + HOUR, {}),
    Session("c", MIDNIGHT + HOUR, {}),
    Session("d", MIDNIGHT + HOUR, {}, keyboard_id="k2"),
    Session("e", MIDNIGHT + 3 * HOUR, {}),
]
ERRORS = {"a": ["th", "th", "x"], "b": ["th", "qu", "qu"], "c": ["x", "e"], "d": ["zz"] * 9}


def mistyped(**options: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - whatever the case is about
    arguments: dict[str, Any] = {"n": 9, "keyboard_id": "k1", "user_id": "u1"} | options
    frame = error_n(session_ngram_errors(ERRORS), practice_sessions(SESSIONS), **arguments).collect()
    return frame.select("ngram_text", "error_count").rows()


def test_the_most_mistyped_come_first_and_ties_by_text() -> None:
    assert mistyped() == [("th", 3), ("qu", 2), ("x", 2), ("e", 1)]


def test_error_filters_come_before_the_limit() -> None:
    assert mistyped(n=1, ngram_sizes=[1]) == [("x", 2)]
    assert mistyped(n=1, included_keys=["q", "u"]) == [("qu", 2)]
    assert mistyped(ngram_sizes=[]) == []


@pytest.mark.parametrize(
    ("lookback", "found"),
    [(0, []), (1, []), (2, [("e", 1), ("x", 1)]), (3, [("qu", 2), ("e", 1), ("th", 1), ("x", 1)])],
)
def test_only_the_newest_sessions_on_the_keyboard_are_looked_at(lookback: int, found: list[tuple[str, int]]) -> None:
    # e has no errors and still is a session; c is newer than b, which began at the same time.
    assert mistyped(lookback_distance=lookback) == found


def test_errors_as_of_an_hour() -> None:
    assert mistyped(as_of=MIDNIGHT + HOUR) == [("th", 2), ("x", 1)]


def test_no_errors_are_no_rows_with_the_same_columns() -> None:
    frame = error_n(session_ngram_errors({}), practice_sessions([]), 3, "k1", "u1").collect()
    assert frame.schema == ERROR_COUNT_SCHEMA


@pytest.mark.parametrize("text", ["", "x" * 51, None])
def test_a_text_that_no_ngram_has_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ngram_text must be a text of 1 to 50 characters"):
        check_ngram_text(text)


def test_an_ngram_text_is_composed() -> None:
    assert check_ngram_text("e\u0301" * 50) == "\u00e9" * 50


def test_aalto_slowest() -> None:
    rows = ngram_speed_summaries(
        aalto("practice_sessions"),
        speed_ngrams(aalto("session_keystrokes").filter(pl.col("session_id").str.starts_with("p5-"))),
        aalto("keyboards").with_columns(target_valid_from=pl.lit(None, pl.Datetime("us", "UTC"))),
        datetime(2016, 9, 1, tzinfo=UTC),
    )
    found = slowest_n(rows, 3, "kb-p5", "p5").collect()
    assert found["ngram_text"].to_list() == [".", "y", "d"]
    assert found["decaying_average_ms"].to_list() == pytest.approx(
        [331.3300805055, 289.2039439583, 239.2351381182], abs=1e-10
    )


def test_aalto_errors() -> None:
    errors = error_ngrams(aalto("session_keystrokes"))
    found = error_n(errors, aalto("practice_sessions"), 5, "kb-p5", "p5").collect()
    assert found.select("ngram_text", "error_count").rows() == [("t", 3), ("i", 2), ("n", 2), ("ns", 2), ("s", 2)]
