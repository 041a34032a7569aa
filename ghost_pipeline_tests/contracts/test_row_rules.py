"""The short answer agrees with dataframely's, which names the rows."""

import dataframely as dy
import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.months import GHOST_STREAK_SHARES
from ghost_pipeline.contracts.row_rules import fulfils

RULES_OF_COLUMNS = [one for one in CONTRACTS.values() if one is not GHOST_STREAK_SHARES]


def _without_key(contract: Contract) -> type[dy.Schema]:
    columns = {name: column.with_metadata(column.metadata or {}) for name, column in contract.schema.columns().items()}
    for column in columns.values():
        column.primary_key = False
    return type("WithoutKey", (dy.Schema,), columns)


@pytest.mark.parametrize("contract", RULES_OF_COLUMNS, ids=lambda contract: contract.name)
def test_sampled_rows_fulfil_the_rules_of_their_columns(contract: Contract) -> None:
    assert fulfils(_without_key(contract), contract.schema.sample(20).select(*contract.polars_schema))


@pytest.mark.parametrize("contract", RULES_OF_COLUMNS, ids=lambda contract: contract.name)
def test_one_null_in_one_column_is_found_where_dataframely_finds_it(contract: Contract) -> None:
    schema, rows = _without_key(contract), contract.schema.sample(20).select(*contract.polars_schema)
    for name in rows.columns:
        broken = rows.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(None).otherwise(pl.col(name)).alias(name))
        assert fulfils(schema, broken) == schema.is_valid(broken)


class _Numbers(dy.Schema):
    number = dy.Int64(nullable=True, min=3)


@pytest.mark.parametrize(("number", "holds"), [(3, True), (None, True), (2, False)])
def test_a_rule_is_fulfilled_where_its_value_is_null(number: int | None, *, holds: bool) -> None:
    assert fulfils(_Numbers, pl.DataFrame({"number": [9, number]}, schema={"number": pl.Int64})) is holds


def test_another_type_does_not_fulfil_a_schema() -> None:
    assert not fulfils(_Numbers, pl.DataFrame({"number": [9]}, schema={"number": pl.Int32}))


def test_a_key_or_a_rule_over_several_columns_is_left_to_dataframely() -> None:
    assert not fulfils(CONTRACTS["users"].schema, CONTRACTS["users"].schema.sample(5))
    assert not fulfils(GHOST_STREAK_SHARES.schema, GHOST_STREAK_SHARES.schema.sample(5))
