"""Rows read by key from a temporary file, against the rows that were put there."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.errors import PublishError
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.keyed_rows import BLOCK_ROWS, KeyedRows
from ghost_pipeline.serving.learners import response_row, response_rows
from ghost_pipeline.serving.responses import RESPONSE_COLUMNS, extended_ghost_data, ghost_data_fields
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.serving.worlds import AS_OF

PUBLIC = st.characters(exclude_categories=["Cs"])
ODD_IDS = ['"', "\\", '\n{"0":', "a,", "\u00fc", "u\u0308", "🎯", "\x00", "\x7f"]
IDS = st.text(PUBLIC, min_size=1, max_size=6) | st.sampled_from(ODD_IDS)
TENTHS = st.integers(0, 90).map(lambda tenths: Decimal(tenths) / 10)
HUNDREDTHS = st.integers(0, 999_999_999).map(lambda hundredths: Decimal(hundredths) / 100)
VALUES: dict[type[pl.DataType], st.SearchStrategy[object]] = {
    pl.String: st.text(PUBLIC, max_size=12),
    pl.Int64: st.integers(0, 2**63 - 1),
    pl.Int32: st.integers(-(2**31), 2**31 - 1),
    pl.Float64: st.floats(0, 1e12) | st.integers(0, 10**9).map(float),
    pl.Boolean: st.booleans(),
    pl.Datetime: st.integers(0, 7 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
}
NEVER_NULL = {"tasks_completed", "tasks_this_week", "practice_minutes", "current_streak", "day_in_journey"}


@st.composite
def rows(draw: st.DrawFn, schema: pl.Schema) -> pl.DataFrame:
    """Rows of some users in the order of user_id."""
    ids = sorted(draw(st.sets(IDS, min_size=1, max_size=BLOCK_ROWS + 8)))
    columns: dict[str, list[object]] = {"user_id": list(ids)}
    for name, dtype in schema.items():
        if name == "user_id":
            continue
        decimals = TENTHS if name == "benchmark_band" else HUNDREDTHS
        values = decimals if isinstance(dtype, pl.Decimal) else VALUES[type(dtype)]
        always = name in NEVER_NULL or name == "benchmark_band" or dtype == pl.Boolean
        drawn = draw(st.lists(values if always else st.none() | values, min_size=1, max_size=3))
        columns[name] = [drawn[number % len(drawn)] for number in range(len(ids))]
    return pl.DataFrame(columns, schema=schema)


@pytest.fixture(scope="module")
def schema(reader: GhostReader) -> pl.Schema:
    """The types of `RESPONSE_COLUMNS`."""
    inputs = reader.inputs()
    return response_rows(inputs, inputs.user("me")).collect_schema()


@examples(10, 200)
@given(st.data())
def test_every_user_gets_the_answer_of_the_row_that_was_put_there(schema: pl.Schema, data: st.DataObject) -> None:
    users = data.draw(rows(schema))
    cut = data.draw(st.integers(0, users.height))
    keyed = KeyedRows()
    for part in (users[:cut], users[cut:]):
        keyed.append(part)
    for row in users.iter_rows(named=True):
        found = keyed.row(row["user_id"])
        assert found is not None
        assert to_json(ghost_data_fields(found)) == to_json(ghost_data_fields(row))
        assert extended_ghost_data(found, AS_OF) == extended_ghost_data(row, AS_OF)
        assert list(found) == list(RESPONSE_COLUMNS)
    unknown = data.draw(IDS)
    assert (keyed.row(unknown) is None) == (unknown not in users["user_id"])


def test_the_users_of_a_publication_are_all_there(reader: GhostReader) -> None:
    keyed = KeyedRows.build(reader.publication())
    inputs = reader.inputs()
    assert keyed is not None
    ids = inputs.users(None)["user_id"]
    assert ids.len() > BLOCK_ROWS
    for user_id in ids:
        expected = to_json(ghost_data_fields(response_row(inputs, user_id))) if user_id in {"me", "x1"} else None
        found = keyed.row(user_id)
        assert found is not None
        assert found["user_id"] == user_id
        assert expected is None or to_json(ghost_data_fields(found)) == expected


def test_rows_out_of_order_are_refused(reader: GhostReader) -> None:
    inputs = reader.inputs()
    users = response_rows(inputs, inputs.users(None)).collect().sort("user_id")
    keyed = KeyedRows()
    with pytest.raises(PublishError, match=f"{USER_GHOST_STATS.name}: not in the order"):
        keyed.append(users.reverse())
    keyed.append(users[2:])
    with pytest.raises(PublishError, match="not in the order"):
        keyed.append(users[:2])


def test_no_file_with_a_name_is_left_at_any_time(
    reader: GhostReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    keyed = KeyedRows.build(reader.publication())
    assert keyed is not None
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_stopped_leaves_nothing(reader: GhostReader) -> None:
    assert KeyedRows.build(reader.publication(), lambda: True) is None
