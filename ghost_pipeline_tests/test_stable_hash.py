"""Hashes of rows: what they tell apart, and that they are those of their definition."""

from datetime import UTC, datetime
from hashlib import blake2b
from struct import pack

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.stable_hash import row_hashes, text_hash
from ghost_pipeline_tests.examples import examples

MODULUS = 2**64
START, NULL = 0x6A09E667F3BCC908, 0x9E3779B97F4A7C15


def fmix64(number: int) -> int:
    """The finalizer of MurmurHash3 as it is published."""
    number ^= number >> 33
    number = number * 0xFF51AFD7ED558CCD % MODULUS
    number ^= number >> 33
    number = number * 0xC4CEB9FE1A85EC53 % MODULUS
    return number ^ number >> 33


def plain(*values: object) -> int:
    """The hash of a row, value by value."""
    found = START
    for value in values:
        match value:
            case None:
                number = NULL
            case str():
                number = int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), "little")
            case float():
                number = int.from_bytes(pack("<d", value), "little")
            case _:
                number = int(value) % MODULUS  # type: ignore[call-overload]
        found = fmix64(found ^ number)
    return found


rows = st.tuples(
    st.none() | st.text(max_size=4),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.booleans(),
    st.none() | st.integers(0, MODULUS - 1),
)
SCHEMA = {"text": pl.String, "number": pl.Int32, "float": pl.Float64, "truth": pl.Boolean, "hash": pl.UInt64}


@examples(30, 200)
@given(st.lists(rows, max_size=6))
def test_a_hash_is_that_of_its_definition(values: list[tuple[object, ...]]) -> None:
    found = row_hashes(pl.DataFrame(values, SCHEMA, orient="row"))
    assert found.to_list() == [plain(*row) for row in values]


def test_an_instant_is_its_microseconds() -> None:
    frame = pl.DataFrame({"at": [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]}, {"at": pl.Datetime("us", "UTC")})
    assert row_hashes(frame).to_list() == [plain(1_000_000)]


@pytest.mark.parametrize("height", [1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1])
def test_a_row_has_the_same_hash_in_a_frame_of_any_size(height: int) -> None:
    frame = pl.DataFrame({"text": ["a", "b"] * height, "number": range(2 * height)}).head(height)
    assert row_hashes(frame)[-1] == row_hashes(frame.tail(1)).item()


def test_a_text_has_the_hash_of_its_definition() -> None:
    assert row_hashes(pl.DataFrame({"text": ["th"]})).to_list() == [fmix64(START ^ text_hash("th"))]
