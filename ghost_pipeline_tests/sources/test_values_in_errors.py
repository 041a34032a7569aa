"""What an engine says of a query that fails on a row: never with a value of that row, whichever step reads it."""

import traceback
from contextlib import closing
from pathlib import Path

import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Source
from ghost_pipeline_tests.sources.mariadb import MariaDb
from ghost_pipeline_tests.sources.servers import Database, fill_duckdb, fill_sqlite

PERSON = ("ada", "4915123")
PEOPLE = (
    "CREATE TABLE people (mail varchar(99), phone bigint)",
    "INSERT INTO people VALUES ('ada@example.org', 491512345678901), ('adb', 1)",
)
COHORTS = SOURCE_TABLES["cohorts"]


def failing(address: str, expression: str, folder: Path) -> Source:
    mapping = folder / "own.yaml"
    query = f"SELECT {expression} AS cohort_id FROM people"  # noqa: S608 - our own text
    mapping.write_text(f"cohorts:\n  query: |\n    {query}\n", encoding="utf-8")
    return open_source(address, mapping)


def assert_no_value_is_told(source: Source) -> None:
    with closing(source):
        for read in (source.scan, source.part_versions, source.inspect):
            with pytest.raises(SourceError) as raised:
                read(COHORTS)
            # With everything that Dagster would record of it.
            told = "".join(traceback.format_exception(raised.value))
            assert "table cohorts, query cannot be read (" in told
            assert [text for text in PERSON if text in told] == []


@pytest.mark.parametrize(
    "expression",
    [
        "json_extract('{}', mail)",
        "json_set('{}', mail, 1)",
        "json(mail)",
        "json_group_object(mail, x'00')",
        "sum(9223372036854775807)",
        "abs(-9223372036854775807 - 1)",
        "(mail LIKE 'a' ESCAPE mail)",
        "zeroblob(phone)",
    ],
)
def test_sqlite_tells_no_value(expression: str, tmp_path: Path) -> None:
    assert_no_value_is_told(failing(f"sqlite:///{fill_sqlite(tmp_path / 'app.db', PEOPLE)}", expression, tmp_path))


@pytest.mark.parametrize(
    "expression",
    [
        "mail::INT",
        "mail::DATE",
        "mail::UUID",
        "phone::SMALLINT",
        "phone::DECIMAL(4, 2)",
        "phone * 100000000",
        "error(mail)",
        "regexp_matches('a', mail || '(')",
        "strptime(mail, '%Y')",
        "strftime(TIMESTAMP '2025-01-01', mail || '%')",
        "json(mail)",
        "make_date(phone, 1, 1)",
        "from_hex(mail)",
        "timezone(mail, TIMESTAMPTZ '2025-01-01')",
    ],
)
def test_duckdb_tells_no_value(expression: str, tmp_path: Path) -> None:
    file = tmp_path / "app.duckdb"
    fill_duckdb(file, *PEOPLE)
    assert_no_value_is_told(failing(f"duckdb:///{file}", expression, tmp_path))


@pytest.mark.parametrize(
    "expression",
    [
        "mail::int",
        "mail::regclass::text",
        "mail::regconfig::text",
        "mail::xml::text",
        "phone::smallint",
        "phone * 1000000",
        "current_setting(mail)",
        "pg_read_file(mail)",
        "query_to_xml(mail, true, true, '')::text",
        "nextval(mail)::text",
        "now() AT TIME ZONE mail",
        "('a' ~ (mail || '('))",
        "told(mail)",
        "executed(mail)",
    ],
)
def test_postgresql_tells_no_value(expression: str, database: Database, tmp_path: Path) -> None:
    database.execute(
        *PEOPLE,
        "CREATE FUNCTION told(t text) RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%', t USING ERRCODE = '42P01'; END $$",
        "CREATE FUNCTION executed(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE t; RETURN t; END $$",
    )
    assert_no_value_is_told(failing(database.address, expression, tmp_path))


@pytest.mark.parametrize(
    "expression",
    [
        "phone * 100000000",
        "told(mail)",
        "st_geomfromtext(mail)",
        "extractvalue(mail, mail)",
        "updatexml('<a/>', mail, 'x')",
        "exp(phone)",
        "(SELECT mail FROM people)",
        *(f"told_as_{number}(mail)" for number in (1054, 1064, 1142, 1146, 1205, 1305, 1969)),
        "told_as_missing(mail)",
        "told_as_denied(mail)",
        "told_as_no_function(left(mail, 3))",
    ],
)
def test_mariadb_tells_no_value(expression: str, mariadb: MariaDb, tmp_path: Path) -> None:
    mariadb.execute(
        *PEOPLE,
        "CREATE FUNCTION told(t text) RETURNS text BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = t; RETURN t; END",
        *(_function(f"told_as_{number}", number, "t") for number in (1054, 1064, 1142, 1146, 1205, 1305, 1969)),
        _function("told_as_missing", 1146, """concat("Table '", t, "' doesn't exist")"""),
        _function("told_as_no_function", 1305, """concat("FUNCTION ", t, " does not exist")"""),
        _function("told_as_denied", 1142, """concat("SELECT command denied to user '", t, "'@'h' for table `t`")"""),
        f"GRANT EXECUTE ON {mariadb.name}.* TO reader@localhost",
    )
    assert_no_value_is_told(failing(mariadb.address, expression, tmp_path))


def _function(name: str, number: int, message: str) -> str:
    """A function that raises an error with a number of the server's own."""
    told = f"SET @told = {message}; SIGNAL SQLSTATE '42S02' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = @told"
    return f"CREATE FUNCTION {name}(t text) RETURNS text BEGIN {told}; RETURN t; END"
