"""Frames with an Enum where a contract has text: the same faults are found as in text."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.coded_texts import repeated_keys
from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline_tests.samples import sample

POSITIONS = pl.Enum(["ahead", "close", "behind"])


def messages(rows: int = 5) -> pl.DataFrame:
    position = pl.Series(["ahead", None, "behind", "close", "ahead"]).head(rows)
    return sample(GHOST_MESSAGES, rows, 1).with_columns(position.cast(POSITIONS).alias("position"))


def coded(texts: list[str]) -> pl.DataFrame:
    """Five messages with texts as an Enum."""
    return messages().with_columns(pl.Series("text", texts, dtype=pl.Enum(list(dict.fromkeys(texts)))))


def test_texts_may_be_an_enum() -> None:
    assert GHOST_MESSAGES.faults(coded(["a", "b", "a", "c", "b"])) == []


def test_a_text_that_breaks_a_rule_is_a_fault() -> None:
    assert GHOST_MESSAGES.faults(coded(["a", "", "", "c", ""])) == ["column text: min_length broken by 1 row"]


def test_a_missing_text_is_a_fault() -> None:
    missing = pl.lit(None, pl.Enum(["a"])).alias("text")
    assert GHOST_MESSAGES.faults(messages().with_columns(missing)) == ["column text: nullability broken by 5 rows"]


def test_a_number_beside_coded_texts_is_checked() -> None:
    broken = messages().with_columns(figure=pl.Series([1.0, 2.0, 0.0, 4.0, 0.0]))
    assert GHOST_MESSAGES.faults(broken) == ["column figure: min_exclusive broken by 2 rows"]


def test_an_enum_instead_of_a_number_is_a_fault() -> None:
    (fault,) = GHOST_MESSAGES.faults(messages().with_columns(place=pl.lit("one", pl.Enum(["one"]))))
    assert "place" in fault


def test_a_repeated_key_is_a_fault() -> None:
    twice = pl.concat([messages(), messages().head(1)])
    assert GHOST_MESSAGES.faults(twice) == [
        "primary key (user_id, snapshot_date, snapshot_hour, context, type) broken by 2 rows"
    ]


@pytest.mark.parametrize("coded_key", [True, False])
@given(
    rows=st.lists(st.tuples(st.sampled_from(["b", "a", "ab"]), st.sampled_from(["x", "y"]), st.integers(-2, 2))),
    ordered=st.booleans(),
)
def test_as_many_keys_repeat_as_plain_code_counts(
    *, coded_key: bool, rows: list[tuple[str, str, int]], ordered: bool
) -> None:
    schema = {"one": pl.String, "two": pl.Enum(["x", "y"]) if coded_key else pl.String, "three": pl.Int32}
    frame = pl.DataFrame(sorted(rows) if ordered else rows, schema=schema, orient="row")
    assert repeated_keys(frame, ["one", "two", "three"]) == sum(rows.count(row) > 1 for row in rows)
