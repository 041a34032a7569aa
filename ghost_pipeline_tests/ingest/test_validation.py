"""Every row of a source is read by its contract or set aside with every reason; nothing gets lost or is guessed."""

import json
import random
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.raw import SOURCE_TABLES, SOURCE_USER_PROGRESS, SOURCE_USERS
from ghost_pipeline.contracts.source import NULL_MARKERS, Kind, SourceColumn, SourceTable
from ghost_pipeline.domain.ngrams.ngram_extraction import SEPARATORS
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import (
    REASON,
    ROW,
    good_rows,
    merge_repeated_events,
    read_rows,
    reject_repeats,
    reject_unknown,
    rejected_rows,
)
from ghost_pipeline.settings import MAX_TASK_MINUTES
from ghost_pipeline_tests.docs.bad_input import GOOD, Row
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.samples import HOUR

NO_HOUR = pl.lit(None, pl.Datetime("us", "UTC"))
TYPES = "speaking, writing, reading, listening, vocabulary, grammar, mock_test"


def frame(table: str, *changes: Row, schema: dict[str, Any] | None = None) -> pl.DataFrame:
    """Good rows of a table with these changes, every value as it is."""
    rows = [{**GOOD[table], **change} for change in changes]
    names = dict.fromkeys(name for row in rows for name in row)
    overrides = schema or {}
    return pl.DataFrame(
        [
            pl.Series(name, [row.get(name) for row in rows], dtype=overrides.get(name), strict=name in overrides)
            for name in names
        ]
    )


def read(table: str, *changes: Row) -> pl.DataFrame:
    return read_rows(frame(table, *changes).lazy(), SOURCE_TABLES[table], MAX_TASK_MINUTES).collect()


def reason(table: str, change: Row) -> str | None:
    found: str | None = read(table, change)[REASON].item()
    return found


def value(table: str, name: str, given_value: object) -> object:
    return read(table, {name: given_value})[name].item()


def of_series(table: str, column: pl.Series) -> pl.DataFrame:
    rows = pl.concat([frame(table, {})] * len(column)).with_columns(column)
    return read_rows(rows.lazy(), SOURCE_TABLES[table], MAX_TASK_MINUTES).collect()


# --- what is wrong with a row ---

FAULTS = (
    ("users", {"user_id": None}, "user_id is missing"),
    ("users", {"user_id": "   "}, "user_id is missing"),
    ("users", {"created_at": None}, "created_at is missing"),
    ("users", {"created_at": ""}, "created_at is missing"),
    ("users", {"created_at": "soon"}, "created_at is not a time"),
    ("users", {"updated_at": "soon"}, "updated_at is not a time"),
    ("users", {"updated_at": "1969-12-31T23:59:59Z"}, "updated_at is outside 1970 to 2199"),
    ("users", {"created_at": "2200-01-01"}, "created_at is outside 1970 to 2199"),
    ("users", {"created_at": "0001-01-01"}, "created_at is outside 1970 to 2199"),
    ("users", {"created_at": "9999-12-31"}, "created_at is outside 1970 to 2199"),
    ("users", {"final_band_at": "2025-13-01"}, "final_band_at is not a time"),
    ("users", {"cohort_id": "global"}, "cohort_id global is reserved"),
    ("users", {"cohort_id": " global "}, "cohort_id global is reserved"),
    ("users", {"diagnostic_score": 9.5}, "diagnostic_score is outside 0 to 9"),
    ("users", {"diagnostic_score": -0.1}, "diagnostic_score is outside 0 to 9"),
    ("users", {"final_band_score": 9.0000001}, "final_band_score is outside 0 to 9"),
    ("users", {"target_band": "ten"}, "target_band is not a number"),
    ("users", {"target_band": "7,5"}, "target_band is not a number"),
    ("users", {"diagnostic_score": float("inf")}, "diagnostic_score is not finite"),
    ("users", {"cohort_excluded": "perhaps"}, "cohort_excluded is neither true nor false"),
    ("users", {"cohort_excluded": 2}, "cohort_excluded is neither true nor false"),
    ("cohorts", {"cohort_id": None}, "cohort_id is missing"),
    ("cohorts", {"cohort_id": "global"}, "cohort_id global is reserved"),
    ("cohorts", {"created_at": "never"}, "created_at is not a time"),
    ("user_progress", {"progress_id": None}, "progress_id is missing"),
    ("user_progress", {"progress_id": ""}, "progress_id is missing"),
    ("user_progress", {"user_id": None}, "user_id is missing"),
    ("user_progress", {"task_type": None}, "task_type is missing"),
    ("user_progress", {"task_type": "podcast"}, f"task_type is not one of {TYPES}"),
    ("user_progress", {"task_type": "Reading"}, f"task_type is not one of {TYPES}"),
    ("user_progress", {"completed_at": None}, "completed_at is missing"),
    ("user_progress", {"completed_at": "yesterday"}, "completed_at is not a time"),
    ("user_progress", {"completed_at": 1741773600}, "completed_at is not a time"),
    ("user_progress", {"completed_at": 1741773600.5}, "completed_at is not a time"),
    ("user_progress", {"completed_at": True}, "completed_at is not a time"),
    ("user_progress", {"time_spent_minutes": -0.001}, "time_spent_minutes is below 0"),
    ("user_progress", {"time_spent_minutes": "-5"}, "time_spent_minutes is below 0"),
    ("user_progress", {"time_spent_minutes": "five"}, "time_spent_minutes is not a number"),
    ("user_progress", {"time_spent_minutes": "inf"}, "time_spent_minutes is not finite"),
    ("user_progress", {"time_spent_minutes": 1440.001}, "time_spent_minutes is above 1440"),
    ("user_progress", {"time_spent_minutes": 1e300}, "time_spent_minutes is above 1440"),
    ("keyboards", {"keyboard_id": None}, "keyboard_id is missing"),
    ("keyboards", {"user_id": None}, "user_id is missing"),
    ("keyboards", {"target_ms_per_keystroke": 20}, "target_ms_per_keystroke is outside 50 to 5000"),
    ("keyboards", {"target_ms_per_keystroke": 49.999}, "target_ms_per_keystroke is outside 50 to 5000"),
    ("keyboards", {"target_ms_per_keystroke": 5001}, "target_ms_per_keystroke is outside 50 to 5000"),
    ("practice_sessions", {"session_id": None}, "session_id is missing"),
    ("practice_sessions", {"user_id": ""}, "user_id is missing"),
    ("practice_sessions", {"keyboard_id": None}, "keyboard_id is missing"),
    ("practice_sessions", {"start_time": None}, "start_time is missing"),
    ("practice_sessions", {"start_time": "now"}, "start_time is not a time"),
    ("practice_sessions", {"end_time": None}, "end_time is missing"),
    ("session_keystrokes", {"session_id": None}, "session_id is missing"),
    ("session_keystrokes", {"key_index": None}, "key_index is missing"),
    ("session_keystrokes", {"key_index": -1}, "key_index is below 0"),
    ("session_keystrokes", {"key_index": 1.5}, "key_index is not a whole number"),
    ("session_keystrokes", {"key_index": 2**31}, "key_index is above 2147483647"),
    ("session_keystrokes", {"key_index": "first"}, "key_index is not a number"),
    ("session_keystrokes", {"keystroke_time": None}, "keystroke_time is missing"),
    ("session_keystrokes", {"keystroke_char": None}, "keystroke_char is missing"),
    ("session_keystrokes", {"keystroke_char": ""}, "keystroke_char is missing"),
    ("session_keystrokes", {"text_index": None}, "text_index is missing"),
    ("session_keystrokes", {"text_index": -1}, "text_index is below 0"),
    ("session_ngram_speed", {"session_id": None}, "session_id is missing"),
    ("session_ngram_speed", {"ngram_text": None}, "ngram_text is missing"),
    ("session_ngram_speed", {"ngram_text": ""}, "ngram_text is missing"),
    ("session_ngram_speed", {"ngram_text": "a" * 51}, "ngram_text is longer than 50 characters"),
    ("session_ngram_speed", {"ngram_size": None}, "ngram_size is missing"),
    ("session_ngram_speed", {"ngram_size": 0}, "ngram_size is outside 1 to 20"),
    ("session_ngram_speed", {"ngram_size": 21}, "ngram_size is outside 1 to 20"),
    ("session_ngram_speed", {"ngram_size": -(2**40)}, "ngram_size is outside 1 to 20"),
    ("session_ngram_speed", {"ngram_size": 2.5}, "ngram_size is not a whole number"),
    ("session_ngram_speed", {"ms_per_keystroke": None}, "ms_per_keystroke is missing"),
    ("session_ngram_speed", {"ms_per_keystroke": 0}, "ms_per_keystroke is not above 0"),
    ("session_ngram_speed", {"ms_per_keystroke": -100.0}, "ms_per_keystroke is not above 0"),
    ("session_ngram_speed", {"ms_per_keystroke": 5e-324}, "ms_per_keystroke is not above 0"),
    ("session_ngram_speed", {"ms_per_keystroke": 1e308}, "ms_per_keystroke is above 1e+15"),
    ("session_ngram_speed", {"ms_per_keystroke": float("nan")}, "ms_per_keystroke is missing"),
    ("session_ngram_speed", {"ms_per_keystroke": float("inf")}, "ms_per_keystroke is not finite"),
    ("session_ngram_speed", {"ms_per_keystroke": "-inf"}, "ms_per_keystroke is not finite"),
    ("session_ngram_speed", {"ngram_time_ms": float("inf")}, "ngram_time_ms is not finite"),
    ("session_ngram_errors", {"session_id": ""}, "session_id is missing"),
    ("session_ngram_errors", {"ngram_text": None}, "ngram_text is missing"),
    ("session_ngram_errors", {"ngram_size": None}, "ngram_size is missing"),
    ("session_ngram_errors", {"ngram_text": "é" * 51}, "ngram_text is longer than 50 characters"),
    ("session_ngram_errors", {"ngram_size": 21}, "ngram_size is outside 1 to 20"),
)


@pytest.mark.parametrize(("table", "change", "expected"), FAULTS)
def test_a_fault_is_named_by_column_and_rule(table: str, change: Row, expected: str) -> None:
    assert reason(table, change) == expected


@pytest.mark.parametrize("table", SOURCE_TABLES)
def test_every_required_column_is_tried_without_a_value(table: str) -> None:
    tried = {next(iter(change)) for name, change, expected in FAULTS if name == table and expected.endswith("missing")}
    assert tried == {column.name for column in SOURCE_TABLES[table].columns if not column.optional}


@pytest.mark.parametrize("table", GOOD)
def test_a_good_row_has_no_reason(table: str) -> None:
    assert reason(table, {}) is None


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("users", {"diagnostic_score": 0}),
        ("users", {"final_band_score": 9.0}),
        ("users", {"target_band": "7.5"}),
        ("users", {"cohort_id": "Global"}),
        ("users", {"timezone": "Mars/Phobos"}),
        ("users", {"created_at": "1970-01-01"}),
        ("users", {"created_at": "2199-12-31T23:59:59.999999Z"}),
        ("keyboards", {"target_ms_per_keystroke": 50}),
        ("keyboards", {"target_ms_per_keystroke": 5000}),
        ("user_progress", {"time_spent_minutes": 1440}),
        ("session_ngram_speed", {"ngram_size": 1}),
        ("session_ngram_speed", {"ngram_size": 20.0}),
        ("session_ngram_speed", {"ngram_text": "👍🏽" * 25}),
        *(("session_ngram_speed", {"ngram_text": f"a{separator}b"}) for separator in SEPARATORS),
        *(("session_ngram_errors", {"ngram_text": separator}) for separator in SEPARATORS),
        ("session_ngram_speed", {"ms_per_keystroke": 1e-9}),
        ("session_keystrokes", {"key_index": 2**31 - 1}),
        ("session_keystrokes", {"keystroke_char": "\x00"}),
    ],
)
def test_the_ends_of_a_range_are_good(table: str, change: Row) -> None:
    assert reason(table, change) is None


def test_every_fault_of_a_row_is_named_in_the_order_of_the_columns() -> None:
    change = {"task_type": "podcast", "progress_id": None, "time_spent_minutes": -5, "completed_at": "never"}
    assert reason("user_progress", change) == (
        f"progress_id is missing; task_type is not one of {TYPES}; completed_at is not a time; "
        "time_spent_minutes is below 0"
    )


def test_good_rows_of_the_same_table_go_on() -> None:
    rows = read(
        "user_progress", {"progress_id": "a"}, {"progress_id": "b", "task_type": "podcast"}, {"progress_id": "c"}
    )
    assert good_rows(rows.lazy()).collect()["progress_id"].to_list() == ["a", "c"]


@pytest.mark.parametrize("table", SOURCE_TABLES)
def test_a_required_column_that_holds_nothing_rejects_every_row(table: str) -> None:
    required = [column.name for column in SOURCE_TABLES[table].columns if not column.optional]
    rows = frame(table, {}, {}).with_columns(pl.lit(None).alias(name) for name in required)
    found = read_rows(rows.lazy(), SOURCE_TABLES[table], MAX_TASK_MINUTES).collect()[REASON].to_list()
    assert found == ["; ".join(f"{name} is missing" for name in required)] * 2


@pytest.mark.parametrize("table", SOURCE_TABLES)
def test_a_table_without_rows_gives_none_in_the_columns_of_its_contract(table: str) -> None:
    source = SOURCE_TABLES[table]
    empty = pl.LazyFrame(schema={column.name: pl.String for column in source.columns})
    found = good_rows(read_rows(empty, source, MAX_TASK_MINUTES)).collect()
    contract = CONTRACTS[table].polars_schema
    assert dict(found.schema) == {column.stored_as: contract[column.stored_as] for column in source.columns}


# --- how values are read ---


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-03-12T10:30:00Z", "2025-03-12T10:30:00"),
        ("2025-03-12T10:30Z", "2025-03-12T10:30:00"),
        ("2025-03-12 10:30:00", "2025-03-12T10:30:00"),
        ("2025-03-12t10:30:00z", "2025-03-12T10:30:00"),
        ("  2025-03-12T10:30:00Z ", "2025-03-12T10:30:00"),
        ("2025-03-12T10:30:00 UTC", "2025-03-12T10:30:00"),
        ("2025-03-12T10:30:00.5", "2025-03-12T10:30:00.500000"),
        ("2025-03-12T10:30:00,25", "2025-03-12T10:30:00.250000"),
        ("2025-03-12T10:30:00.123456Z", "2025-03-12T10:30:00.123456"),
        ("2025-03-12T10:30:00.123456789Z", "2025-03-12T10:30:00.123456"),
        ("2025-03-12T10:30:00+05:30", "2025-03-12T05:00:00"),
        ("2025-03-12T10:30:00-0800", "2025-03-12T18:30:00"),
        ("2025-03-12T10:30:00+01", "2025-03-12T09:30:00"),
        ("2025-03-12 00:30+01:00", "2025-03-11T23:30:00"),
        ("2025-03-12", "2025-03-12T00:00:00"),
        ("2024-02-29", "2024-02-29T00:00:00"),
    ],
)
def test_a_text_is_an_instant_in_utc(text: str, instant: str) -> None:
    expected = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    assert value("user_progress", "completed_at", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-29",
        "2025-3-12",
        "12.03.2025",
        "03/12/2025",
        "2025-03-12T25:00Z",
        "2025-03-12T24:00Z",
        "2025-03-12T10:60Z",
        "2025-03-12T10",
        "2025-03-12T10:30:00.1234567890Z",
        "2025-03-12T10:30.5Z",
        "2025-03-12-05",
        "2025-03-12+05:30",
        "2025-03-12T10:30:00+99:99",
        "2025-03-12T10:30:00 Europe/Paris",
        "2025-03-12T10:30:00Z tomorrow",
        "1741773600",
        "10:30",
    ],
)
def test_what_is_no_instant_is_not_guessed(text: str) -> None:
    assert reason("user_progress", {"completed_at": text}) == "completed_at is not a time"


def test_one_column_may_hold_times_in_many_forms() -> None:
    texts = ["2025-03-12T10:00:00Z", "2025-03-12 10:00", "2025-03-12T15:30:00.000+05:30", "2025-03-12T10:00:00.0,"]
    found = read("user_progress", *({"completed_at": text} for text in texts))
    assert found["completed_at"].to_list() == [HOUR.start - timedelta(hours=1)] * 3 + [None]


def test_a_time_far_outside_places_its_row_in_no_hour() -> None:
    rows = read("user_progress", {"completed_at": "1900-01-01"}, {"completed_at": "2300-01-01T05:00Z"}).lazy()
    found = rejected_rows(rows, SOURCE_USER_PROGRESS, pl.col("completed_at")).collect()
    assert found["hour"].to_list() == [None, None]


@pytest.mark.parametrize("end", [-1, 1])
@pytest.mark.parametrize(
    "dtype",
    [pl.Date(), *(pl.Datetime(unit, zone) for unit in ("ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo"))],
    ids=str,
)
def test_an_infinite_time_is_one_far_outside(dtype: pl.DataType, end: int) -> None:
    largest = 2**31 - 1 if dtype == pl.Date else 2**63 - 1
    series = pl.Series("completed_at", [end * largest], dtype=pl.Int64).cast(dtype)
    rows = read_rows(
        frame("user_progress", {}).with_columns(series).lazy(), SOURCE_TABLES["user_progress"], MAX_TASK_MINUTES
    )
    assert rows.collect()[REASON].item() == "completed_at is outside 1970 to 2199"
    assert "completed_at" in rejected_rows(rows, SOURCE_USER_PROGRESS, NO_HOUR).collect()["row"].item()


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("5", 300_000),
        (" 5.5 ", 330_000),
        ("1e1", 600_000),
        (0, 0),
        (-0.0, 0),
        (None, 0),
        ("", 0),
        (Decimal("0.25"), 15_000),
    ],
)
def test_minutes_are_kept_as_whole_milliseconds(given_value: object, expected: int) -> None:
    rows = read("user_progress", {"time_spent_minutes": given_value})
    assert (rows["time_spent_ms"].item(), rows[REASON].item()) == (expected, None)


@examples(12, 40)
@given(st.decimals(0, 1000, places=5))
def test_minutes_are_rounded_half_away_from_zero(minutes: Decimal) -> None:
    exact = (minutes * 60_000).quantize(Decimal(1), ROUND_HALF_UP)
    assert read("user_progress", {"time_spent_minutes": str(minutes)})["time_spent_ms"].item() == int(exact)


def test_minutes_are_not_read_without_a_limit() -> None:
    with pytest.raises(ValueError, match="time_spent_minutes needs max_task_minutes"):
        read_rows(frame("user_progress", {}).lazy(), SOURCE_USER_PROGRESS)


@examples(12, 40)
@given(st.decimals(0, 3000, places=3), st.integers(1, 3000))
def test_minutes_are_rejected_exactly_if_a_task_may_not_take_them(minutes: Decimal, limit: int) -> None:
    raw = frame("user_progress", {"time_spent_minutes": str(minutes)}).lazy()
    (found,) = read_rows(raw, SOURCE_USER_PROGRESS, limit).collect()[REASON]
    assert found == (f"time_spent_minutes is above {limit}" if minutes > limit else None)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("true", True),
        ("FALSE", False),
        (" Yes", True),
        ("n", False),
        ("1", True),
        ("0.0", False),
        (1, True),
        (0, False),
        (1.0, True),
        (True, True),
        (None, False),
        ("", False),
    ],
)
def test_a_flag_is_read_in_many_forms_and_false_where_missing(given_value: object, expected: bool) -> None:  # noqa: FBT001
    rows = read("users", {"cohort_excluded": given_value})
    assert (rows["cohort_excluded"].item(), rows[REASON].item()) == (expected, None)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series([7]), "7"),
        (pl.Series([7], dtype=pl.UInt8), "7"),
        (pl.Series([2**63 - 1]), str(2**63 - 1)),
        (pl.Series([7.0]), "7"),
        (pl.Series([7.5]), "7.5"),
        (pl.Series([Decimal(12)]), "12"),
        (pl.Series(["  u 7 "]), "u 7"),
        (pl.Series(["007"]), "007"),
        (pl.Series(["u7"], dtype=pl.Categorical), "u7"),
        (pl.Series(["u7"], dtype=pl.Enum(["u7"])), "u7"),
        (pl.Series([bytes(range(16))]), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ],
    ids=lambda one: str(one.dtype) if isinstance(one, pl.Series) else one,
)
def test_an_id_is_text_whatever_it_was(series: pl.Series, expected: str) -> None:
    assert of_series("user_progress", series.alias("user_id"))["user_id"].item() == expected


@pytest.mark.parametrize(
    ("series", "says"),
    [
        (pl.Series([2.0**53]), "a float too large to be exact"),
        (pl.Series([-1e20]), "a float too large to be exact"),
        (pl.Series([float("inf")]), "a float too large to be exact"),
        (pl.Series([2.0**24], dtype=pl.Float32), "a float too large to be exact"),
        (pl.Series([2.0**11], dtype=pl.Float16), "a float too large to be exact"),
        (pl.Series([True]), "true or false"),
        (pl.Series([False]), "true or false"),
    ],
    ids=str,
)
def test_what_may_stand_for_two_ids_is_none(series: pl.Series, says: str) -> None:
    assert of_series("user_progress", series.alias("user_id"))[REASON].item() == f"user_id holds {says}"


def test_an_id_that_is_no_number_is_missing() -> None:
    assert of_series("user_progress", pl.Series("user_id", [float("nan")]))[REASON].item() == "user_id is missing"


def test_text_around_ids_and_types_is_white_space_but_keys_are_kept_as_they_are() -> None:
    assert value("user_progress", "task_type", " reading\n") == "reading"
    assert value("session_keystrokes", "keystroke_char", " ") == " "
    assert value("session_keystrokes", "keystroke_char", "\b") == "\b"
    assert value("session_keystrokes", "expected_char", "\t") == "\t"


def test_past_the_end_of_the_text_nothing_is_expected() -> None:
    assert value("session_keystrokes", "expected_char", None) == ""


def test_ngrams_are_composed_characters() -> None:
    assert value("session_ngram_speed", "ngram_text", "e\u0301") == "\u00e9"


def test_the_length_of_an_ngram_is_that_of_its_composed_characters() -> None:
    assert reason("session_ngram_speed", {"ngram_text": "e\u0301" * 50}) is None


def test_an_optional_text_that_is_empty_is_missing() -> None:
    rows = read("users", {"timezone": "  ", "cohort_id": ""})
    assert rows.select("timezone", "cohort_id", REASON).row(0) == (None, None, None)


@pytest.mark.parametrize(
    "column",
    [column for column in SOURCE_USERS.columns if column.kind is Kind.NUMBER],
    ids=lambda column: column.name,
)
def test_a_number_that_is_empty_is_missing(column: SourceColumn) -> None:
    assert value("users", column.name, "") is None


# --- missing values ---


@pytest.mark.parametrize("marker", NULL_MARKERS)
@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("users", "diagnostic_score"),
        ("users", "final_band_at"),
        ("users", "updated_at"),
        ("keyboards", "target_ms_per_keystroke"),
        ("session_ngram_speed", "ngram_time_ms"),
    ],
)
def test_a_marker_in_an_optional_number_or_time_is_a_missing_value(marker: str, table: str, name: str) -> None:
    rows = read(table, {name: f" {marker} "})
    assert (rows[name].item(), rows[REASON].item()) == (None, None)


@pytest.mark.parametrize("marker", NULL_MARKERS)
@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("users", "created_at"),
        ("practice_sessions", "end_time"),
        ("session_ngram_speed", "ms_per_keystroke"),
        ("session_keystrokes", "key_index"),
    ],
)
def test_a_marker_in_a_required_number_or_time_is_a_missing_value(marker: str, table: str, name: str) -> None:
    assert reason(table, {name: marker}) == f"{name} is missing"


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("users", "diagnostic_score"),
        ("users", "final_band_at"),
        ("keyboards", "target_ms_per_keystroke"),
    ],
)
def test_nan_in_an_optional_column_is_a_missing_value(table: str, name: str) -> None:
    rows = read(table, {name: float("nan")})
    assert (rows[name].item(), rows[REASON].item()) == (None, None)


def test_minutes_that_are_nan_are_missing_minutes() -> None:
    rows = read("user_progress", {"time_spent_minutes": float("nan")})
    assert (rows["time_spent_ms"].item(), rows[REASON].item()) == (0, None)


# --- bytes ---


@pytest.mark.parametrize(
    ("table", "name", "given_value", "expected"),
    [
        ("users", "user_id", b"u00", "u00"),
        ("users", "timezone", b"Pacific/Auckland", "Pacific/Auckland"),
        ("users", "diagnostic_score", b"5.5", 5.5),
        ("users", "cohort_excluded", b"true", True),
        ("users", "created_at", b"2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
        ("session_keystrokes", "keystroke_char", b"\xc3\xa9", "é"),
        ("session_keystrokes", "key_index", b"12", 12),
        ("session_ngram_speed", "ngram_text", b"th", "th"),
    ],
)
def test_bytes_that_hold_text_are_read_as_it(table: str, name: str, given_value: bytes, expected: object) -> None:
    assert value(table, name, given_value) == expected


@pytest.mark.parametrize("table", SOURCE_TABLES)
def test_bytes_that_hold_no_text_cost_their_row(table: str) -> None:
    for column in SOURCE_TABLES[table].columns:
        found = str(reason(table, {column.name: b"\xff"}))
        assert found == f"{column.name} holds bytes, not text"


UUIDS = [uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e"), uuid.UUID(int=0)]


def test_an_id_of_16_bytes_that_are_no_text_is_a_uuid() -> None:
    found = of_series("user_progress", pl.Series("user_id", [one.bytes for one in UUIDS]))["user_id"]
    assert found.to_list() == [str(one) for one in UUIDS]


def test_an_id_of_16_bytes_that_are_text_is_that_text() -> None:
    found = of_series("user_progress", pl.Series("user_id", [b"user-00000000001", b"user-00000000002"]))["user_id"]
    assert found.to_list() == ["user-00000000001", "user-00000000002"]


@examples(20, 200)
@given(values=st.lists(st.none() | st.sampled_from(["é" * 8, "user-00000000001", "u1"]).map(str.encode) | st.binary()))
def test_an_id_in_bytes_does_not_depend_on_the_other_ids_of_its_column(values: list[bytes | None]) -> None:
    values = [*values, UUIDS[0].bytes, b"\xff"]
    together = of_series("user_progress", pl.Series("user_id", values, dtype=pl.Binary))
    alone = [of_series("user_progress", pl.Series("user_id", [one], dtype=pl.Binary)) for one in values]
    wanted = ["user_id", REASON]
    assert together.select(wanted).rows() == pl.concat(alone).select(wanted).rows()


# --- numbers as ids ---


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series(["7.0"]), "7"),
        (pl.Series(["7.000"]), "7"),
        (pl.Series(["-7.0"]), "-7"),
        (pl.Series([" 7.0 "]), "7"),
        (pl.Series([-0.0]), "0"),
        (pl.Series([2.0**53 - 1]), "9007199254740991"),
        (pl.Series([1.5], dtype=pl.Float16), "1.5"),
        (pl.Series(["-0.0"]), "0"),
        (pl.Series([Decimal("7.00")]), "7"),
        (pl.Series([Decimal("7.50")]), "7.50"),
        (pl.Series([b"7.0"]), "7"),
        (pl.Series(["12345678901234567890123.0"]), "12345678901234567890123"),
        (pl.Series(["007"]), "007"),
        (pl.Series(["1.0.0"]), "1.0.0"),
        (pl.Series(["v7.0"]), "v7.0"),
        (pl.Series(["7.05"]), "7.05"),
        (pl.Series(["7."]), "7."),
    ],
    ids=str,
)
def test_an_id_that_is_a_whole_number_has_one_spelling(series: pl.Series, expected: str) -> None:
    assert of_series("user_progress", series.alias("user_id"))["user_id"].item() == expected


# --- times, the fast way and the general one ---

PIECES = st.tuples(
    st.sampled_from(["2025-03-12", "2024-02-29", "2025-02-29", "0000-01-01", "9999-12-31", "2025-3-12", "٢٠٢٥-03-12"]),
    st.sampled_from(["T", " ", "t", "", "  "]),
    st.sampled_from(["10:30:00", "23:59:59", "24:00:00", "10:60:00", "10:30:60", "10:30", "1:2:3", ""]),
    st.sampled_from(["", ".5", ".123456", ".123456789", ".0000000001", ",25", "."]),
    st.sampled_from(["", "Z", "z", "+00:00", " UTC", "+05:30", "-0800", "+01", "X"]),
)
TIME_TEXTS = st.one_of(st.none(), st.just(""), PIECES.map("".join))


@examples(40, 150)
@given(st.lists(TIME_TEXTS, min_size=1, max_size=8))
def test_a_time_does_not_depend_on_the_other_times_of_its_column(texts: list[str | None]) -> None:
    together = of_series("user_progress", pl.Series("completed_at", texts, pl.String))["completed_at"].to_list()
    assert together == [value("user_progress", "completed_at", text) for text in texts]


@examples(40, 150)
@given(PIECES.map("".join))
def test_the_usual_forms_of_a_time_are_read_like_all_others(text: str) -> None:
    # White space before a time leads past the fast way.
    assert value("user_progress", "completed_at", text) == value("user_progress", "completed_at", f" {text}")


# --- laws ---

WORDS = st.sampled_from(
    ["", " ", "u1", "global", "reading", "podcast", "1", "-1", "7.5", "99", "nan", "inf", "true", "x" * 60]
)
TIMES = st.sampled_from(
    ["2025-03-12T10:00Z", "2025-03-12", "1900-01-01", "2300-01-01", "9999-12-31T23:59:59Z", "never"]
)
OLD, NEW = datetime.fromisoformat("1700-01-01"), datetime.fromisoformat("2250-01-01")
VALUES: tuple[tuple[Any, st.SearchStrategy[Any]], ...] = (
    (pl.String, st.one_of(WORDS, TIMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=60))),
    (pl.Int64, st.sampled_from([0, 1, 2, 20, 21, 600, -1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])),
    (pl.Float64, st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 2.0, 7.5, 600.0, 2.0**53, 1e30]))),
    (pl.Boolean, st.booleans()),
    (pl.Date, st.dates(date(1, 1, 1), date(9999, 12, 31))),
    (pl.Datetime("us"), st.datetimes()),
    (pl.Datetime("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    (pl.Datetime("ns", "Asia/Kolkata"), st.datetimes(OLD, NEW, timezones=st.just(UTC))),
    (pl.Decimal(20, 3), st.decimals(-(10**15), 10**15, places=3)),
    (pl.Binary, st.binary(max_size=20)),
    (pl.Null, st.none()),
)


@st.composite
def raw_tables(draw: st.DrawFn) -> tuple[SourceTable, pl.DataFrame]:
    """A table's columns with values of any types, sometimes with a column missing and one too many."""
    table = SOURCE_TABLES[draw(st.sampled_from(sorted(SOURCE_TABLES)))]
    height = draw(st.integers(1, 6))
    columns = []
    for column in table.columns:
        if column.optional and draw(st.booleans()):
            continue
        good = GOOD[table.name].get(column.name)
        if isinstance(good, str) and draw(st.booleans()):
            dtype, values = pl.String, st.one_of(st.just(good), WORDS, TIMES)
        else:
            dtype, values = draw(st.sampled_from(VALUES))
        found = draw(st.lists(st.none() | values, min_size=height, max_size=height))
        columns.append(pl.Series(column.name, found, dtype=dtype))
    if draw(st.booleans()):
        columns.append(pl.Series("further", [[number] for number in range(height)]))
    return table, pl.DataFrame(columns)


def taken_in(table: SourceTable, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = read_rows(raw.lazy(), table, MAX_TASK_MINUTES)
    if table.key:
        rows = reject_repeats(rows, table, ())
    good, rejected = pl.collect_all([good_rows(rows), rejected_rows(rows, table, NO_HOUR)])
    return good.sort(pl.all()), rejected


@examples(15, 50)
@given(raw_tables())
def test_every_row_is_either_good_or_rejected(raw: tuple[SourceTable, pl.DataFrame]) -> None:
    table, rows = raw
    good, rejected = taken_in(table, rows)
    assert good.height + rejected.height == rows.height


@examples(15, 50)
@given(raw_tables())
def test_whatever_the_source_holds_good_rows_fulfil_the_contract(raw: tuple[SourceTable, pl.DataFrame]) -> None:
    table, rows = raw
    contract = CONTRACTS[table.name]
    good, _ = taken_in(table, rows)
    added = [
        pl.lit(HOUR.as_of if contract.polars_schema[name] == pl.Datetime("us", "UTC") else None)
        .cast(contract.polars_schema[name])
        .alias(name)
        for name in contract.polars_schema.keys() - {column.stored_as for column in table.columns}
    ]
    assert contract.faults(good.with_columns(added).select(list(contract.polars_schema))) == []


@examples(15, 50)
@given(raw_tables())
def test_rejected_rows_fulfil_their_contract_and_are_json(raw: tuple[SourceTable, pl.DataFrame]) -> None:
    table, rows = raw
    _, rejected = taken_in(table, rows)
    assert CONTRACTS["rejected_rows"].faults(rejected) == []
    assert [list(json.loads(text)) for text in rejected["row"]] == [
        [name for name in rows.columns if name != "further"]
    ] * rejected.height


@examples(12, 40)
@given(raw_tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(raw: tuple[SourceTable, pl.DataFrame], chance: random.Random) -> None:
    table, rows = raw
    order = chance.sample(range(rows.height), rows.height)
    for one, other in zip(taken_in(table, rows), taken_in(table, rows[order]), strict=True):
        assert one.equals(other)


@pytest.mark.parametrize("table", SOURCE_TABLES)
def test_reasons_name_columns_and_rules_and_no_values(table: str) -> None:
    found = str(reason(table, {column.name: "§" * 60 for column in SOURCE_TABLES[table].columns}))
    assert "§" not in found


# --- the row as it was read ---


def rejected_row(row: Row) -> Row:
    rows = read("user_progress", {**row, "task_type": "podcast"}).lazy()
    found: Row = json.loads(rejected_rows(rows, SOURCE_USER_PROGRESS, NO_HOUR).collect()["row"].item())
    return found


def test_a_rejected_row_holds_every_value_as_it_was() -> None:
    row = {"progress_id": ' p"1\n', "user_id": 17, "completed_at": "12 March é", "time_spent_minutes": "-5"}
    assert rejected_row(row) == {**row, "task_type": "podcast"}


def test_a_rejected_row_holds_no_column_that_the_contract_does_not_name() -> None:
    assert "password_hash" not in rejected_row({"password_hash": "secret"})


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (None, None),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        (float("inf"), "inf"),
        (True, True),
        (2**60, 2**60),
        (Decimal("1.50"), "1.50"),
        (date(2025, 3, 12), "2025-03-12"),
        (datetime(2025, 3, 12, 10, tzinfo=UTC), "2025-03-12T10:00:00"),
        (timedelta(minutes=1), "PT60S"),
        (b"\xff\x00", "ff00"),
        (b"12", "12"),
    ],
    ids=repr,
)
def test_a_value_of_any_type_is_shown(given_value: object, expected: object) -> None:
    found = rejected_row({"completed_at": given_value})["completed_at"]
    assert found == expected or (isinstance(expected, str) and str(found).startswith(expected))


def test_an_id_in_bytes_is_shown_as_it_is_stored() -> None:
    assert rejected_row({"user_id": b"u1"})["user_id"] == "u1"


@pytest.mark.parametrize("given_value", [[1, 2], {"a": "b"}], ids=repr)
def test_a_column_of_lists_is_an_error_that_names_it(given_value: object) -> None:
    with pytest.raises(SourceError, match="table user_progress: the column user_id has the type"):
        read("user_progress", {"user_id": given_value})


def test_a_rejected_row_lies_in_the_hour_of_its_event() -> None:
    rows = read("user_progress", {"task_type": "podcast", "completed_at": "2025-03-12T11:59:59.999999Z"}).lazy()
    found = rejected_rows(rows, SOURCE_USER_PROGRESS, pl.col("completed_at")).collect()
    assert found.select("source_table", "hour").row(0) == ("user_progress", HOUR.start)


# --- ids that name nothing ---


def unknown(*user_ids: str | None, known: tuple[str, ...] = ("u1",)) -> list[str | None]:
    rows = read("user_progress", *({"user_id": user_id} for user_id in user_ids)).lazy()
    users = pl.LazyFrame({"user_id": list(known)}, schema={"user_id": pl.String})
    return reject_unknown(rows, "user_id", users, "user").collect()[REASON].to_list()


def test_an_id_that_names_nothing_is_a_reason() -> None:
    assert unknown("u1", "nobody") == [None, "user_id names no user"]


def test_an_id_that_is_missing_is_one_reason_only() -> None:
    assert unknown(None) == ["user_id is missing"]


def test_an_id_that_is_known_twice_gives_its_row_once() -> None:
    assert unknown("u1", known=("u1", "u1")) == [None]


def test_where_nobody_is_known_everybody_is_unknown() -> None:
    assert unknown("u1", known=()) == ["user_id names no user"]


def test_an_unknown_id_joins_the_other_reasons() -> None:
    rows = read("user_progress", {"user_id": "nobody", "task_type": None}).lazy()
    users = pl.LazyFrame(schema={"user_id": pl.String})
    found = reject_unknown(rows, "user_id", users, "user").collect()[REASON].item()
    assert found == "task_type is missing; user_id names no user"


# --- repeats ---


def repeats(*changes: Row, order: tuple[str, ...] = ("updated_at",)) -> dict[str, list[Row]]:
    rows = reject_repeats(read("users", *changes).lazy(), SOURCE_USERS, order).collect()
    split = rows.partition_by(REASON, as_dict=True)
    named = {(key[0] or "good"): part.drop(ROW, REASON).rows(named=True) for key, part in split.items()}
    return {str(name): [row for row in found if row] for name, found in named.items()}


TWICE = "user_id stands more than once"


def test_of_repeats_the_one_changed_last_stays() -> None:
    found = repeats(
        {"updated_at": "2025-03-01", "target_band": 6},
        {"updated_at": "2025-03-03", "target_band": 7},
        {"updated_at": None, "target_band": 8},
        {"updated_at": "2025-03-02", "target_band": 9},
    )
    assert [row["target_band"] for row in found["good"]] == [7]
    assert sorted(row["target_band"] for row in found[TWICE]) == [6, 8, 9]


def test_of_repeats_that_changed_together_the_least_stays() -> None:
    found = repeats({"target_band": 8}, {"target_band": 6}, {"target_band": None})
    assert [row["target_band"] for row in found["good"]] == [6]


def test_a_bad_row_does_not_cost_a_good_one_of_the_same_id() -> None:
    found = repeats({"updated_at": "2025-03-03", "target_band": 99}, {"updated_at": "2025-03-01"})
    assert sorted(found) == ["good", "target_band is outside 0 to 9"]


def test_bad_rows_of_the_same_id_keep_their_own_reasons() -> None:
    found = repeats({"target_band": 99}, {"target_band": 99})
    assert {name: len(rows) for name, rows in found.items()} == {"target_band is outside 0 to 9": 2}


def test_rows_with_different_ids_do_not_repeat_each_other() -> None:
    assert {name: len(rows) for name, rows in repeats({"user_id": "a"}, {"user_id": "b"}).items()} == {"good": 2}


def test_an_id_of_several_columns_repeats_only_as_a_whole() -> None:
    keys = [
        {"session_id": "s1", "key_index": 0},
        {"session_id": "s1", "key_index": 1},
        {"session_id": "s2", "key_index": 0},
    ]
    rows = reject_repeats(
        read("session_keystrokes", *keys, keys[0]).lazy(), SOURCE_TABLES["session_keystrokes"], ()
    ).collect()
    assert rows[REASON].drop_nulls().to_list() == ["session_id, key_index stands more than once"]


def test_of_rows_that_read_the_same_the_same_one_is_rejected_in_any_order() -> None:
    rows = [{"created_at": "2025-03-01"}, {"created_at": "2025-03-01T00:00:00Z"}, {"created_at": "2025-03-01 00:00"}]
    rejected = []
    for order in (rows, rows[::-1]):
        found = reject_repeats(read("users", *order).lazy(), SOURCE_USERS, ())
        rejected.append(rejected_rows(found, SOURCE_USERS, NO_HOUR).collect())
    assert rejected[0].equals(rejected[1])


# --- the same event twice ---

EVENTS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from("uv"),
        st.sampled_from(["reading", "writing"]),
        st.integers(0, 3).map(lambda number: HOUR.start + timedelta(minutes=number)),
        st.integers(0, 3),
    ),
    max_size=12,
)


@examples(15, 50)
@given(EVENTS)
def test_of_an_event_told_twice_the_earliest_counts_then_that_with_the_fewest_minutes(
    events: list[tuple[str, str, str, datetime, int]],
) -> None:
    schema = CONTRACTS["user_progress"].polars_schema
    rows = pl.LazyFrame(events, schema=schema, orient="row")
    expected = {
        name: min(
            (event for event in events if event[0] == name), key=lambda event: (event[3], event[4], event[2], event[1])
        )
        for name in {event[0] for event in events}
    }
    found = merge_repeated_events(rows).collect()
    assert found.rows() == [expected[name] for name in sorted(expected)]
    assert dict(found.schema) == schema
