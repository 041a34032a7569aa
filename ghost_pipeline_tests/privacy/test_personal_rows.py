"""Which rows are somebody's: by their ids in tables, and in rejected rows as they were read."""

import json
import uuid

import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.ghost import COHORT_RELEASE_CONTRIBUTIONS
from ghost_pipeline.contracts.raw import REJECTED_ROWS
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, owner_column
from ghost_pipeline.privacy.personal_rows import (
    IDS_SCHEMA,
    is_single_member_cohort,
    personal_ids,
    personal_rows,
    pseudonymised,
)
from ghost_pipeline_tests.samples import sample

Ids = set[tuple[str, str, str]]


def found(people: list[str], **tables: list[tuple[str, ...]]) -> Ids:
    """What is theirs, of rows that are given by user, keyboard and id."""
    columns = {
        "users": ["user_id"],
        "user_progress": ["user_id", "progress_id"],
        "keyboards": ["user_id", "keyboard_id"],
        "practice_sessions": ["user_id", "keyboard_id", "session_id"],
    }
    frames = {
        name: pl.LazyFrame(rows, schema=dict.fromkeys(columns[name], pl.String), orient="row")
        for name, rows in tables.items()
    }
    return set(personal_ids(frames, pl.Series("user_id", people)).collect().rows())


def test_a_user_has_an_id_whatever_else_there_is() -> None:
    assert found(["u1"]) == {("u1", "user_id", "u1")}


def test_what_is_theirs_is_named_by_the_tables_that_say_whose_it_is() -> None:
    ids = found(
        ["u1"],
        users=[("u1",), ("u2",)],
        user_progress=[("u1", "p1"), ("u2", "p2")],
        keyboards=[("u1", "k1"), ("u1", "k1"), ("u2", "k2")],
        practice_sessions=[("u1", "k1", "s1"), ("u2", "k2", "s2")],
    )
    assert {(column, one) for _, column, one in ids} == {
        ("user_id", "u1"), ("progress_id", "p1"), ("keyboard_id", "k1"), ("session_id", "s1"),
    }  # fmt: skip


def test_a_keyboard_that_no_table_describes_is_theirs_by_their_sessions() -> None:
    assert ("u1", "keyboard_id", "k9") in found(["u1"], practice_sessions=[("u1", "k9", "s1")])


@pytest.mark.parametrize(
    "tables",
    [
        {"keyboards": [("u1", "k1"), ("u2", "k1")]},
        {"keyboards": [("u1", "k1")], "practice_sessions": [("u2", "k1", "s2")]},
        {"practice_sessions": [("u1", "k1", "s1"), ("u2", "k1", "s2")]},
    ],
)
def test_a_keyboard_that_somebody_else_has_too_is_not_theirs_alone(tables: dict[str, list[tuple[str, ...]]]) -> None:
    assert "keyboard_id" not in {column for _, column, _ in found(["u1"], **tables)}


def test_what_two_have_in_common_goes_with_neither_as_long_as_one_stays() -> None:
    tables: dict[str, list[tuple[str, ...]]] = {"keyboards": [("u1", "k1"), ("u2", "k1")]}
    assert "k1" not in {one for _, _, one in found(["u1"], **tables)}
    assert "k1" in {one for _, _, one in found(["u1", "u2"], **tables)}


def test_every_id_of_people_is_known_by_its_column() -> None:
    assert {name: table.name for name, table in ID_COLUMNS.items()} == {
        "user_id": "users",
        "progress_id": "user_progress",
        "keyboard_id": "keyboards",
        "session_id": "practice_sessions",
    }


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_table_with_an_id_of_people_has_an_owner(name: str) -> None:
    """A new table cannot be forgotten: by the names of its columns it is erased, or it names nobody."""
    contract = CONTRACTS[name]
    ids = {column for column in contract.polars_schema if column.endswith("_id")} - {"cohort_id", "summary_id"}
    assert (owner_column(contract) in ids) if ids else (owner_column(contract) is None)


def ids(**of_column: str) -> pl.DataFrame:
    rows = [("u", column, one) for column, one in of_column.items()]
    return pl.DataFrame(rows, schema=IDS_SCHEMA, orient="row")


def is_theirs(table: str, row: object, known: pl.DataFrame) -> bool:
    rows = pl.DataFrame({"source_table": [table], "row": [row if isinstance(row, str) else json.dumps(row)]})
    condition = personal_rows(REJECTED_ROWS, known)
    assert condition is not None
    return bool(rows.select(condition).item())


PERSON = uuid.UUID("5b1e77aa-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    ("row", "theirs"),
    [
        ({"user_id": "42", "task_type": "podcast"}, True),
        ({"user_id": 42}, True),
        ({"user_id": "42.0"}, True),
        ({"user_id": " 42 "}, True),
        ({"user_id": "142"}, False),
        ({"user_id": None}, False),
        ({"user_id": "7", "time_spent_minutes": 42, "task_type": "42"}, False),
        ("no JSON at all", False),
    ],
)
def test_a_short_id_counts_where_it_is_an_id(row: object, *, theirs: bool) -> None:
    assert is_theirs("user_progress", row, ids(user_id="42")) is theirs


def test_an_id_of_one_column_is_not_that_of_another() -> None:
    assert is_theirs("practice_sessions", {"session_id": "1", "user_id": "9"}, ids(session_id="1"))
    assert not is_theirs("practice_sessions", {"session_id": "9", "user_id": "1"}, ids(session_id="1"))


def test_the_bytes_of_a_uuid_are_its_text() -> None:
    assert is_theirs("users", {"user_id": PERSON.hex}, ids(user_id=str(PERSON)))


@pytest.mark.parametrize("one", [str(PERSON), 'a "quoted" name', "back\\slash-1", "Zoë-Müller", "学習者の一人です。"])
def test_a_long_id_counts_wherever_it_stands(one: str) -> None:
    row = json.dumps({"user_id": "7", "note": f"see {one}, please"}, ensure_ascii=False)
    assert is_theirs("users", row, ids(user_id=one))
    assert not is_theirs("users", row.replace("see", "saw")[:-30] + '"}', ids(user_id=f"{one}!"))


def test_rows_stay_under_names_that_nobody_had() -> None:
    rows = sample(COHORT_RELEASE_CONTRIBUTIONS, 20, 7)
    person = rows["user_id"][3]
    names = pl.Series([f"name-{number:02}" for number in range(rows.height)])
    named = pseudonymised(rows, COHORT_RELEASE_CONTRIBUTIONS, ids(user_id=person), names)
    assert COHORT_RELEASE_CONTRIBUTIONS.faults(named) == []
    assert person not in named["user_id"]
    kept = rows.filter(pl.col("user_id") != person)
    assert named.join(kept, on=kept.columns, how="semi").height == kept.height == rows.height - 1
    assert named.equals(named.sort("cohort_id", "user_id", "snapshot_date", "snapshot_hour"))


def test_a_figure_over_one_member_is_that_members() -> None:
    rows = pl.DataFrame({"cohort_id": ["c1", "c1", "c2"], "active_member_count": [1, 2, 1]})
    assert rows.select(is_single_member_cohort(pl.Series(["c1"])))["cohort_id"].to_list() == [True, False, False]
