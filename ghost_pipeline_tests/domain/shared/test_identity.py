"""Row ids."""

import uuid
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.shared.identity import NAMESPACE, row_id

PARTS = st.tuples(st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()))


def ids(*rows: tuple[object, ...], schema: Sequence[tuple[str, pl.DataType]], table: str = "t") -> list[str]:
    frame = pl.LazyFrame(list(rows), schema=schema, orient="row")
    return frame.select(row_id(table, *(pl.col(name) for name, _ in schema))).collect()["id"].to_list()


TEXTS = [("a", pl.String()), ("b", pl.String())]


def test_an_id_is_the_uuid5_of_the_key_as_a_json_array() -> None:
    found = ids(("c1", date(2025, 3, 12), 11), schema=[("a", pl.String()), ("b", pl.Date()), ("c", pl.Int32())])
    assert found == [str(uuid.uuid5(NAMESPACE, '["t","c1","2025-03-12","11"]'))]


def test_the_namespace_never_changes() -> None:
    assert str(NAMESPACE) == "814b8f38-c2d6-5dfd-b26a-b26668d21959"


def test_decimals_enter_with_all_their_digits() -> None:
    found = ids((Decimal("7.0"),), schema=[("a", pl.Decimal(2, 1))])
    assert found == [str(uuid.uuid5(NAMESPACE, '["t","7.0"]'))]


def test_the_table_is_part_of_the_id() -> None:
    assert ids(("a", "b"), schema=TEXTS) != ids(("a", "b"), schema=TEXTS, table="u")


def test_a_literal_key_part_goes_with_every_row() -> None:
    frame = pl.LazyFrame({"a": ["x", "y"]})
    assert frame.select(row_id("t", pl.lit("m"), pl.col("a"))).collect()["id"].to_list() == ids(
        ("m", "x"),
        ("m", "y"),
        schema=TEXTS,
    )


@given(PARTS, PARTS)
def test_different_keys_have_different_ids(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    first, second = ids(one, other, schema=TEXTS)
    assert (first == second) == (one == other)
