"""What derives from a contract: schema, database table with comments, Dagster's columns, and what breaks it."""

from datetime import timedelta

import dataframely as dy
import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Layer, Partitioning, duckdb_ddl, duckdb_indexes, duckdb_type
from ghost_pipeline.contracts.published import PUBLISHED_ONLY
from ghost_pipeline.defs.metadata import column_schema
from ghost_pipeline.errors import ContractError
from ghost_pipeline_tests.samples import sample

ALL = [*CONTRACTS.values(), *PUBLISHED_ONLY]
every_contract = pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.name)


class Things(dy.Schema):
    """Things: what a test needs of a table's columns, its "quotes" and Ada's apostrophe."""

    shelf = dy.String(primary_key=True, min_length=1, description="Where it lies")
    number = dy.Int32(primary_key=True, min=0, max=9, description="Which of Ada's")
    weight = dy.Float64(nullable=True, min=0, description="In kilograms")


THINGS = Contract(
    "things", Things, Layer.RAW, Partitioning.EVENT_HOUR, "one thing", indexes=(("number",), ("weight", "shelf"))
)
GOOD = pl.DataFrame({"shelf": ["a", "b"], "number": [1, 1], "weight": [None, 2.5]}, schema=THINGS.polars_schema)


def database(contract: Contract, relation: str = "it") -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for statement in duckdb_ddl(contract, relation):
        connection.execute(statement)
    return connection


@every_contract
def test_a_table_without_rows_fulfils_its_contract(contract: Contract) -> None:
    assert contract.faults(contract.empty()) == []


@every_contract
def test_every_table_and_column_says_what_it_is(contract: Contract) -> None:
    assert contract.description
    assert contract.grain
    assert [name for name, text in contract.column_descriptions.items() if not text.strip()] == []


@every_contract
def test_no_column_has_a_name_of_a_folder(contract: Contract) -> None:
    assert all(key.startswith("partition_") for key in contract.partitioning.keys)
    assert [name for name in contract.polars_schema if name.startswith("partition_")] == []


@every_contract
def test_what_every_hour_holds_of_every_user_is_kept_for_a_week(contract: Contract) -> None:
    of_users = contract.partitioning is Partitioning.SNAPSHOT_HOUR and "user_id" in contract.polars_schema
    replaceable = contract.name != "cohort_release_contributions"
    if contract.name != "session_keystrokes":
        assert contract.retention == (timedelta(days=7) if of_users and replaceable else None)


def test_what_cannot_be_had_again_stays() -> None:
    stays = {contract.name for contract in CONTRACTS.values() if contract.retention_exempt_reason}
    derived = {
        *("user_activity_days", "user_activity_checkpoints", "user_ghost_stats", "cohort_ghost_data"),
        "user_released_ranks",  # shown beside the rows of users, and gone with them
        *("ghost_messages", "ghost_benchmarks", "ghost_streak_shares", "ghost_fastest_improvers"),
        *("ngram_speed_summaries", "ngram_speed_summary_history", "rejected_rows", "session_keystrokes"),
    }
    assert stays == set(CONTRACTS) - derived


@every_contract
def test_the_database_has_the_columns_of_the_contract_in_its_order(contract: Contract) -> None:
    with database(contract) as connection:
        found = connection.execute(
            "SELECT column_name, is_nullable FROM duckdb_columns() WHERE table_name = 'it' ORDER BY column_index"
        ).fetchall()
    columns = contract.schema.columns()
    assert found == [(name, column.nullable) for name, column in columns.items()]


@every_contract
def test_the_database_has_the_descriptions_as_comments(contract: Contract) -> None:
    with database(contract) as connection:
        tables = connection.execute("SELECT comment FROM duckdb_tables()").fetchall()
        columns = connection.execute("SELECT column_name, comment FROM duckdb_columns() WHERE NOT internal").fetchall()
    assert tables == [(contract.description,)]
    assert dict(columns) == contract.column_descriptions


@every_contract
def test_the_database_has_the_primary_key(contract: Contract) -> None:
    with database(contract) as connection:
        keys = connection.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
        ).fetchall()
    assert keys == ([(contract.primary_key,)] if contract.primary_key else [])


@every_contract
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_come_back_from_the_database_as_they_were(contract: Contract, seed: int) -> None:
    rows = sample(contract, 8, seed)
    with database(contract) as connection:
        connection.register("rows", rows)
        connection.execute("INSERT INTO it SELECT * FROM rows")
        assert_frame_equal(connection.sql("FROM it").pl(), rows, check_row_order=False)


@every_contract
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_rows_of_a_contract_fulfil_it(contract: Contract, seed: int) -> None:
    assert contract.faults(sample(contract, 8, seed)) == []


@every_contract
def test_dagster_shows_the_columns_of_the_contract(contract: Contract) -> None:
    shown = column_schema(contract, {})
    columns = contract.schema.columns()
    assert [column.name for column in shown.columns] == list(columns)
    assert [column.type for column in shown.columns] == [str(column.dtype) for column in columns.values()]
    assert [column.description for column in shown.columns] == list(contract.column_descriptions.values())
    assert [column.constraints.nullable for column in shown.columns] == [one.nullable for one in columns.values()]


@every_contract
def test_dagster_shows_the_primary_key(contract: Contract) -> None:
    other = column_schema(contract, {}).constraints
    key = ", ".join(contract.primary_key)
    assert other is not None
    assert other.other == ([f"primary key ({key})"] if key else [])


@every_contract
def test_a_column_that_may_not_be_null_is_named_where_it_is(contract: Contract) -> None:
    required = [name for name, column in contract.schema.columns().items() if not column.nullable]
    rows = sample(contract, 3, 1)
    for name in required:
        faults = contract.faults(rows.with_columns(pl.lit(None, rows.schema[name]).alias(name)))
        assert f"column {name}: nullability broken by 3 rows" in faults


@pytest.mark.parametrize(
    "contract", [contract for contract in ALL if contract.primary_key], ids=lambda contract: contract.name
)
def test_a_key_that_stands_twice_is_named(contract: Contract) -> None:
    rows = sample(contract, 3, 1)
    faults = contract.faults(pl.concat([rows, rows.head(1)]))
    assert f"primary key ({', '.join(contract.primary_key)}) broken by 2 rows" in faults


def test_every_contract_is_listed_by_its_own_name() -> None:
    assert [contract.name for contract in CONTRACTS.values()] == list(CONTRACTS)


def test_good_rows_have_no_fault() -> None:
    assert THINGS.faults(GOOD) == []


@pytest.mark.parametrize(
    ("frame", "faults"),
    [
        (GOOD.drop("weight"), ["columns differ (missing ['weight'], unknown [], or another order)"]),
        (
            GOOD.with_columns(colour=pl.lit("red")),
            ["columns differ (missing [], unknown ['colour'], or another order)"],
        ),
        (
            GOOD.rename({"weight": "mass"}),
            ["columns differ (missing ['weight'], unknown ['mass'], or another order)"],
        ),
        (
            GOOD.select("number", "shelf", "weight"),
            ["columns differ (missing [], unknown [], or another order)"],
        ),
        (GOOD.with_columns(number=pl.lit(None, pl.Int32)), ["column number: nullability broken by 2 rows"]),
        (GOOD.with_columns(number=pl.lit(10, pl.Int32)), ["column number: max broken by 2 rows"]),
        (GOOD.with_columns(number=pl.lit(-1, pl.Int32)), ["column number: min broken by 2 rows"]),
        (GOOD.with_columns(weight=pl.lit(float("nan"))), ["column weight: nan broken by 2 rows"]),
        (GOOD.with_columns(weight=pl.lit(float("inf"))), ["column weight: inf broken by 2 rows"]),
        (GOOD.with_columns(shelf=pl.Series(["", "b"])), ["column shelf: min_length broken by 1 row"]),
        (pl.concat([GOOD, GOOD.head(1)]), ["primary key (shelf, number) broken by 2 rows"]),
    ],
)
def test_a_fault_is_named(frame: pl.DataFrame, faults: list[str]) -> None:
    assert THINGS.faults(frame) == faults


def test_a_column_of_another_type_is_named() -> None:
    (fault,) = THINGS.faults(GOOD.with_columns(pl.col("number").cast(pl.Int64)))
    assert "'number', got: Int64" in fault


def test_several_faults_are_all_named() -> None:
    frame = GOOD.with_columns(shelf=pl.lit(""), number=pl.lit(10, pl.Int32))
    assert THINGS.faults(frame) == [
        "primary key (shelf, number) broken by 2 rows",
        "column shelf: min_length broken by 2 rows",
        "column number: max broken by 2 rows",
    ]


def test_a_broken_contract_is_an_error_with_table_partition_and_every_fault() -> None:
    frame = GOOD.with_columns(shelf=pl.Series(["", "b"]), number=pl.lit(10, pl.Int32))
    with pytest.raises(ContractError) as raised:
        THINGS.require(frame, "2025-03-12-11:00")
    assert str(raised.value).startswith(
        "things, partition 2025-03-12-11:00: column shelf: min_length broken by 1 row; "
        "column number: max broken by 2 rows. "
    )


def test_a_name_with_a_schema_and_a_text_with_quotes_are_written_as_they_are() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA other")
        for statement in (*duckdb_ddl(THINGS, "other.things"), *duckdb_indexes(THINGS, "other.things")):
            connection.execute(statement)
        comment = connection.execute("SELECT comment FROM duckdb_tables()").fetchall()
        indexes = connection.execute("SELECT index_name FROM duckdb_indexes() ORDER BY 1").fetchall()
    assert comment == [(THINGS.description,)]
    assert indexes == [("idx_things_1",), ("idx_things_2",)]


def test_the_database_refuses_a_key_that_stands_twice() -> None:
    with database(THINGS) as connection:
        connection.execute("INSERT INTO it VALUES ('a', 1, NULL)")
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("INSERT INTO it VALUES ('a', 1, 2)")


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (pl.String(), "VARCHAR"),
        (pl.Int32(), "INTEGER"),
        (pl.Int64(), "BIGINT"),
        (pl.Float64(), "DOUBLE"),
        (pl.Boolean(), "BOOLEAN"),
        (pl.Date(), "DATE"),
        (pl.Decimal(12, 2), "DECIMAL(12,2)"),
        (pl.Datetime("us", "UTC"), "TIMESTAMPTZ"),
        (pl.Datetime("us"), "TIMESTAMP"),
    ],
)
def test_a_type_has_one_in_the_database_that_holds_it(dtype: pl.DataType, name: str) -> None:
    assert duckdb_type(dtype) == name


def test_a_type_that_no_contract_has_used_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="no DuckDB type is known for Duration"):
        duckdb_type(pl.Duration("us"))
