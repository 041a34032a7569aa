"""Personal columns follow from the contracts."""

import dataframely as dy
import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.columns import is_personal, personal
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS, owner_column, personal_columns


def test_personal_columns_are_ids_names_zones_and_typed_keys_of_people() -> None:
    assert {
        "user_id",
        "timezone",
        "progress_id",
        "keyboard_id",
        "keyboard_name",
        "session_id",
        "keystroke_char",
        "expected_char",
        "summary_id",
        "row",
    } == PERSONAL_COLUMNS


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_id_but_a_cohorts_and_a_rows_own_is_personal(name: str) -> None:
    contract = CONTRACTS[name]
    ids = {column for column in contract.polars_schema if column.endswith("_id")} - {"cohort_id"}
    assert ids <= personal_columns(contract)


def test_a_table_that_belongs_to_people_has_personal_columns() -> None:
    assert all(personal_columns(one) for one in CONTRACTS.values() if owner_column(one))


def test_a_column_can_be_marked_as_personal() -> None:
    assert is_personal(personal(dy.String()))
    assert not is_personal(dy.String())
