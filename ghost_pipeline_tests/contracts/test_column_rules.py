"""The rules of columns as data, and the fingerprint that tells contracts apart."""

from dataclasses import replace

import dataframely as dy
import pytest

from ghost_pipeline.contracts.column_rules import column_rules, fingerprint
from ghost_pipeline.contracts.columns import schema_of
from ghost_pipeline.contracts.months import GHOST_FASTEST_IMPROVERS as TABLE


def test_only_limits_that_are_set_are_rules() -> None:
    assert column_rules(dy.Int32(min=1)) == {"min": 1}
    assert column_rules(dy.String(min_length=2, regex="^a")) == {"min_length": 2, "regex": "^a"}
    assert column_rules(dy.Bool()) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"more": dy.Bool()},
        {"sample_size": dy.Int32(min=2)},
        {"sample_size": dy.Int64(min=1)},
        {"sample_size": dy.Int32(min=1, nullable=True)},
    ],
)
def test_a_contract_with_another_column_or_rule_has_another_fingerprint(changed: dict[str, dy.Column]) -> None:
    schema = schema_of("Changed", "", {**TABLE.schema.columns(), **changed})
    assert fingerprint(replace(TABLE, schema=schema)) != fingerprint(TABLE)


def test_a_description_changes_no_fingerprint() -> None:
    schema = schema_of("Changed", "", {**TABLE.schema.columns(), "sample_size": dy.Int32(min=0, description="Other")})
    assert fingerprint(replace(TABLE, schema=schema)) == fingerprint(TABLE)
