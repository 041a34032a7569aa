"""SQL over what was published and over the lake: every table is there, and nothing can be written."""

import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.activity import USER_ACTIVITY_DAYS
from ghost_pipeline.errors import PublishError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish import database_query
from ghost_pipeline.publish.connection import confine, connect
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.publish.private_copies import private_copies
from ghost_pipeline.windows import DAY, Day
from ghost_pipeline_tests.samples import HOUR, partition_of, sample

STATS = CONTRACTS["user_ghost_stats"]
USERS = CONTRACTS["users"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with rows of every second table, published."""
    folder = tmp_path_factory.mktemp("data")
    lake = Lake(folder / "lake")
    for contract in list(CONTRACTS.values())[::2]:
        lake.write(contract, partition_of(contract), sample(contract, 7, 1))
    publish(lake, folder / "ghost.duckdb")
    return folder


def ask(sql: str, data: Path) -> list[tuple[object, ...]]:
    return query(sql, data / "ghost.duckdb", Lake(data / "lake")).rows()


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_every_table_of_the_lake_is_there_also_without_rows(contract: Contract, data: Path) -> None:
    rows = Lake(data / "lake").scan(contract).collect().height
    assert ask(f"SELECT count(*) FROM lake.{contract.name}", data) == [(rows,)]  # noqa: S608 - our own names


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_a_table_of_the_lake_has_the_columns_and_types_of_its_contract(contract: Contract, data: Path) -> None:
    found = query(f"FROM lake.{contract.name}", data / "ghost.duckdb", Lake(data / "lake"))
    assert found.schema == contract.polars_schema


def test_a_file_that_is_removed_while_it_is_looked_for_is_looked_for_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [FileNotFoundError("removed while it was to be read")] * 2
    files = Lake.files

    def gone(lake: Lake, contract: Contract) -> list[Path]:
        if left:
            raise left.pop()
        return files(lake, contract)

    monkeypatch.setattr(Lake, "files", gone)
    assert ask("SELECT count(*) FROM lake.users", data) == [(7,)]
    assert left == []


def test_a_question_is_asked_again_if_its_copy_is_removed_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, database = Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb"
    lake.write(STATS, HOUR, sample(STATS, 3, 0))
    publish(lake, database)
    (copy,) = private_copies(tmp_path)
    removed = iter([copy.path])
    answer = database_query._answer  # noqa: SLF001 - the step before which the copy is removed

    def removed_before(*arguments: Any) -> pl.DataFrame:  # noqa: ANN401 - handed on
        for path in removed:
            path.unlink()
            break
        return answer(*arguments)

    monkeypatch.setattr(database_query, "_answer", removed_before)
    assert query("SELECT count(*) FROM user_ghost_stats", database, lake).rows() == [(3,)]
    assert list(removed) == []
    assert [one.path for one in private_copies(tmp_path)] == [copy.path]


def test_a_question_is_answered_from_the_lake_if_the_database_is_removed_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, database = Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb"
    lake.write(STATS, HOUR, sample(STATS, 3, 0))
    publish(lake, database)
    answer = database_query._answer  # noqa: SLF001 - the step before which the file is removed

    def removed_before(*arguments: Any) -> pl.DataFrame:  # noqa: ANN401 - handed on
        database.unlink(missing_ok=True)
        return answer(*arguments)

    monkeypatch.setattr(database_query, "_answer", removed_before)
    assert query("SELECT count(*) FROM lake.user_ghost_stats", database, lake).rows() == [(3,)]


def test_published_tables_need_no_prefix(data: Path) -> None:
    published = [contract for contract in CONTRACTS.values() if contract.published]
    assert ask("SELECT count(*) FROM table_info", data) == [(len(published),)]


def test_published_tables_and_the_lake_can_be_joined(data: Path) -> None:
    sql = "SELECT count(*) FROM user_ghost_stats JOIN lake.user_ghost_stats USING (user_id)"
    assert ask(sql, data) == ask("SELECT count(*) FROM lake.user_ghost_stats", data)


def test_the_lake_can_be_asked_before_anything_is_published(tmp_path: Path) -> None:
    Lake(tmp_path / "lake").write(USERS, HOUR, sample(USERS, 3, 1))
    assert ask("SELECT count(*) FROM lake.users", tmp_path) == [(3,)]


def test_a_statement_that_names_no_table_of_the_lake_does_not_look_at_its_files(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.write(USERS, HOUR, sample(USERS, 3, 1))
    lake.path(USERS, HOUR).write_bytes(b"damaged")
    assert ask("SELECT 1", tmp_path) == [(1,)]
    with pytest.raises(PublishError, match=r"^query: .*lake/users/"):
        ask("FROM lake.users", tmp_path)


@pytest.mark.parametrize(
    "table", ["LAKE.Users", '"lake"."users"', "query_table('lake.us' || 'ers')", "query ('FROM lake.us' || 'ers')"]
)
def test_a_table_of_the_lake_is_found_however_it_is_written(table: str, tmp_path: Path) -> None:
    Lake(tmp_path / "lake").write(USERS, HOUR, sample(USERS, 3, 1))
    assert ask(f"SELECT count(*) FROM {table}", tmp_path) == [(3,)]  # noqa: S608 - our own names


def test_asking_before_the_first_run_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"ghost\.duckdb: nothing has been published yet\. Run `ghost-pipeline"):
        ask("SELECT 1", tmp_path)


def test_partitions_may_be_removed_while_they_are_read(tmp_path: Path) -> None:
    lake, first = Lake(tmp_path / "lake"), datetime(2025, 1, 1, tzinfo=UTC)
    days = [Day(first + number * DAY) for number in range(400)]
    for day in days:
        lake.write(USER_ACTIVITY_DAYS, day, USER_ACTIVITY_DAYS.empty())
    removing = threading.Thread(target=lambda: [lake.remove(USER_ACTIVITY_DAYS, day) for day in days[:-1]])
    removing.start()
    while removing.is_alive():
        assert ask("SELECT count(*) FROM lake.user_activity_days", tmp_path) == [(0,)]
    removing.join()
    assert len(lake.days(USER_ACTIVITY_DAYS)) == 1


def test_times_are_utc(data: Path) -> None:
    (row,) = query("SELECT TIMESTAMPTZ '2025-03-12 12:00:00+05:30' AS t", data / "ghost.duckdb", Lake(data)).rows()
    assert isinstance(row[0], datetime)
    assert row[0].isoformat() == "2025-03-12T06:30:00+00:00"


def test_a_sum_is_exact(data: Path) -> None:
    sql = "SELECT sum(v::BIGINT) FROM (VALUES (9007199254740993), (1)) t(v)"
    assert ask(sql, data) == [(Decimal(9007199254740994),)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT nothing_like_it FROM table_info",
        "FROM nothing_like_it",
        "FROM lake.nothing_like_it",
        "SELECT 1/",
        "SELECT 'a'::INT",
    ],
)
def test_a_wrong_statement_is_one_line(sql: str, data: Path) -> None:
    with pytest.raises(PublishError) as raised:
        ask(sql, data)
    assert str(raised.value).startswith("query: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "DELETE FROM table_info",
        "INSERT INTO table_info VALUES ('x', NULL, 0, 'x')",
        "CREATE TABLE other (i INT)",
        "CREATE TEMP TABLE other (i INT)",
        "DROP TABLE table_info",
        "COPY (SELECT 1) TO '{data}/ghost.duckdb'",
        "COPY (SELECT 1) TO '{data}/lake/users/new.parquet'",
        "EXPORT DATABASE '{data}/export'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/ghost.duckdb'",
        "ATTACH '{data}/other.duckdb' AS other",
        "DETACH published",
        "USE memory",
        "SET memory_limit = '1GB'",
        "INSTALL httpfs",
        "PREPARE one AS SELECT 1",
    ],
)
def test_only_one_statement_that_reads_is_run(sql: str, data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    with pytest.raises(PublishError, match=r"^query: "):
        ask(sql.format(data=data), data)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


REACHING = [
    "FROM read_csv('/etc/passwd')",
    "FROM '/etc/passwd'",
    "FROM read_text('/proc/self/environ')",
    "FROM read_blob('{data}/outside.txt')",
    "FROM read_text('{data}/lake/../outside.txt')",
    "FROM read_json_auto('{data}/publication.json')",
    "FROM read_parquet('{data}/outside.parquet')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM glob('/etc/*')",
    "FROM parquet_metadata('{data}/outside.parquet')",
    "FROM query('FROM read_text(''/etc/passwd'')')",
    "FROM query_table('/etc/passwd')",
    "SELECT (SELECT content FROM read_text('/etc/hostname')) FROM table_info",
    "WITH one AS (FROM read_csv('/etc/passwd')) FROM one",
    "DESCRIBE FROM read_csv('/etc/passwd')",
    "SUMMARIZE FROM read_csv('/etc/passwd')",
    "FROM read_parquet('s3://bucket/object.parquet')",
    "FROM read_csv('https://127.0.0.1:1/file.csv')",
    "FROM sqlite_scan('{data}/outside.db', 'users')",
    "SELECT getenv('HOME')",
    # Variables of this process.
    "FROM connection",
    "FROM tables",
    "FROM sql",
]


@pytest.mark.parametrize("sql", REACHING)
def test_a_statement_reaches_nothing_but_the_lake_and_what_is_published(sql: str, data: Path) -> None:
    (data / "outside.txt").write_text("outside")
    pl.DataFrame({"outside": [1]}).write_parquet(data / "outside.parquet")
    with pytest.raises(PublishError, match=r"^query: ") as raised:
        ask(sql.format(data=data), data)
    assert "root:" not in str(raised.value)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{data}/lake/new.parquet'",
        "ATTACH '{data}/lake/new.duckdb' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{data}/lake/own.duckdb_extension'",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
        "CALL enable_logging()",
        "CREATE SECRET (TYPE s3)",
    ],
)
def test_what_is_no_reading_statement_would_not_get_out_either(sql: str, tmp_path: Path) -> None:
    with connect() as connection:
        confine(connection, [tmp_path / "lake"])
        with pytest.raises(duckdb.Error):
            connection.execute(sql.format(data=tmp_path / "elsewhere"))


def test_a_folder_named_relatively_is_reached(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    assert ask("SELECT count(*) FROM lake.users", Path(data.name)) == ask("SELECT count(*) FROM lake.users", data)
    assert ask("SELECT count(*) FROM ngram_speed_summary_history", Path(data.name))


def test_a_confined_question_larger_than_its_memory_spills(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        connection.execute("SET memory_limit = '60MB'; SET threads = 1")
        confine(connection, [tmp_path / "lake"])
        sql = "SELECT count(*) FROM (SELECT DISTINCT hash(i) FROM range(3_000_000) t(i))"
        assert connection.execute(sql).fetchall() == [(3_000_000,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SHOW TABLES",
        "DESCRIBE table_info",
        "SUMMARIZE table_info",
        "VALUES (1)",
        "WITH one AS (SELECT 1) FROM one",
        'PIVOT table_info ON "table" USING sum(rows)',
        "FROM table_info -- all of it",
        "SELECT ';' ;",
    ],
)
def test_a_statement_that_reads_gives_rows(sql: str, data: Path) -> None:
    assert ask(sql, data)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ("max(as_of) - min(as_of)", "INTERVAL"),
        ("'a'::BLOB", "BLOB"),
        ("'101'::BIT", "BIT"),
        ("[INTERVAL 1 DAY]", r"INTERVAL\[\]"),
    ],
)
def test_a_column_that_cannot_be_shown_is_named_with_a_remedy(value: str, dtype: str, data: Path) -> None:
    with pytest.raises(PublishError, match=f"query: column apart is of type {dtype}. Cast it, for example to VARCHAR"):
        ask(f"SELECT {value} AS apart FROM table_info", data)  # noqa: S608 - our own values


def test_a_query_does_not_keep_a_run_from_publishing(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for rows in (1, 2):
        lake.write(STATS, HOUR, sample(STATS, rows, 1))
        publish(lake, tmp_path / "ghost.duckdb")
        assert ask("SELECT count(*) FROM user_ghost_stats", tmp_path) == [(rows,)]


def test_folders_may_have_the_signs_of_sql_and_of_patterns(tmp_path: Path) -> None:
    data, alike = tmp_path / "Ada's [1] * data", tmp_path / "Ada's 1 x data"
    Lake(data / "lake").write(USERS, HOUR, sample(USERS, 3, 1))
    Lake(alike / "lake").write(USERS, HOUR, sample(USERS, 5, 1))
    publish(Lake(data / "lake"), data / "ghost.duckdb")
    assert ask("SELECT count(*) FROM lake.users", data) == [(3,)]


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ghost.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(PublishError, match=r"ghost\.duckdb: is not a published database .*`ghost-pipeline publish`"):
        ask("SELECT 1", tmp_path)
