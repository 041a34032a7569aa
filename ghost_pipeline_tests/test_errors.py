"""What may be told of an engine's error: never a value, which may name a person."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from ghost_pipeline.contracts.raw import SOURCE_USERS
from ghost_pipeline.errors import GhostError, SourceError, without_values
from ghost_pipeline.sources.files import FileSource

ID = "usr-7f3a"


def polars_says(value: str = ID) -> Exception:
    with pytest.raises(pl.exceptions.PolarsError) as raised:
        pl.Series("user_id", [value]).cast(pl.Int64)
    return raised.value


def duckdb_says(sql: str) -> Exception:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (user_id VARCHAR PRIMARY KEY)")
        with pytest.raises(duckdb.Error) as raised:
            connection.execute(sql)
    return raised.value


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (polars_says(), "conversion from … to … failed in column … for 1 out of 1 values: …"),
        (
            duckdb_says("INSERT INTO t VALUES ('usr-7f3a'), ('usr-7f3a')"),
            "Constraint Error: PRIMARY KEY or UNIQUE constraint violation: duplicate key …",
        ),
        (
            polars_says("x]usr-7f3a"),
            "conversion from … to … failed in column … for 1 out of 1 values: …",
        ),
        (
            duckdb_says("INSERT INTO t VALUES ('a\"usr-7f3a'), ('a\"usr-7f3a')"),
            "Constraint Error: PRIMARY KEY or UNIQUE constraint violation: duplicate key …",
        ),
        (duckdb_says("SELECT 'O''Brien usr-7f3a'::INTEGER"), "Conversion Error: Could not convert string …"),
        (ValueError("no `a` usr-7f3a` there"), "no …"),
        (duckdb_says("SELECT 'usr-7f3a'::INTEGER"), "Conversion Error: Could not convert string …"),
        (ValueError(f"field `{ID}\nwent on"), "field …"),
        (
            duckdb_says("SELECT 4915123456789::SMALLINT"),
            "Conversion Error: Type INT64 with value …",
        ),
        (
            duckdb_says("SELECT 4915123456789 * 10000000"),
            "Out of Range Error: Overflow in multiplication of INT64 (…",
        ),
        (ValueError("it doesn't end."), "it doesn't end"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(2, "No such file or directory", f"/user_id={ID}"), "No such file or directory"),
        (
            FileNotFoundError(f"No such file or directory (os error 2): /user_id={ID}"),
            "No such file or directory (os error 2)",
        ),
    ],
)
def test_a_value_is_not_told(error: Exception, told: str) -> None:
    assert without_values(error) == told


def test_the_error_of_a_file_has_no_cause_that_cites_it(tmp_path: Path) -> None:
    (tmp_path / "users.ndjson").write_text(f'{{"created_at": "2025-03-01", "user_id": "{ID}', encoding="utf-8")
    with pytest.raises(SourceError) as raised:
        FileSource(tmp_path).scan(SOURCE_USERS).collect()
    error: GhostError = raised.value
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert ID not in str(error)
