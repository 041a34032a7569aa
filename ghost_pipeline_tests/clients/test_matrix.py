"""Every client reads the folder of every table with one plain line, and gives the documented types."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.publish.database_builder import STORAGE_VERSION
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.built_once import built_once
from ghost_pipeline_tests.clients.environments import required_python
from ghost_pipeline_tests.clients.matrix import CLIENTS, DUCKDB, KINDS, SPARK, Client, Read, read_here
from ghost_pipeline_tests.samples import TABLES, partition_of, sample

HERE = Path(__file__).parent
ROWS = 20
OLDEST_FOR_FILES, OLDEST_FOR_DATABASE, PYSPARK = (
    HERE / f"{name}.lock" for name in ("duckdb-0.10", "duckdb-1.4", "pyspark")
)
IN_PROCESS = [client for client in CLIENTS if client is not SPARK]


@pytest.fixture(scope="session")
def every_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with rows of every contract, those of `rejected_rows` also without an hour."""

    def build(folder: Path) -> None:
        lake = Lake(folder / "lake")
        for number, contract in enumerate(CONTRACTS.values()):
            lake.write(contract, partition_of(contract), sample(contract, ROWS, number))
            if contract.partitioning is Partitioning.REJECTED:
                lake.write(contract, Rejects("users", None), sample(contract, ROWS, number + 1))

    return built_once(tmp_path_factory, "every_table", build) / "lake"


def written(lake: Path, contract: Contract) -> pl.DataFrame:
    """The rows of a table, file by file: as no client reads them."""
    files = sorted((lake / contract.name).rglob("*.parquet"))
    return pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)


def require_as_written(client: Client, contract: Contract, read: Read, lake: Path) -> None:
    expected = written(lake, contract)
    types = {name: client.type_of(expected.schema[name], expected[name].has_nulls()) for name in expected.columns}
    assert read.types == types
    got = read.rows.select(expected.columns).cast(pl.Schema(expected.schema))
    assert_frame_equal(got, expected, check_row_order=False)


def types_without_folders(found: dict[str, str]) -> dict[str, str]:
    return {name: dtype for name, dtype in found.items() if not name.startswith("partition_")}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("client", IN_PROCESS, ids=lambda client: client.name)
def test_a_table_is_read_as_it_was_written(client: Client, table: str, every_table: Path) -> None:
    require_as_written(client, CONTRACTS[table], read_here(client, every_table / table), every_table)


def test_no_contract_has_a_type_that_the_table_of_types_lacks() -> None:
    known = {type(dtype) for dtype in KINDS.values()}
    assert {type(dtype) for contract in CONTRACTS.values() for dtype in contract.polars_schema.values()} == known


def test_decimals_of_pandas_become_floats_as_the_page_says(every_table: Path) -> None:
    frame = pd.read_parquet(every_table / "ghost_benchmarks")
    floats = frame.astype({"target_band": float})["target_band"]
    assert (str(frame["target_band"].dtype), str(floats.dtype)) == ("object", "float64")
    assert floats.to_list() == [float(one) for one in frame["target_band"]]


def test_duckdb_reads_files_with_and_without_a_column_by_name(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": [2], "b": ["x"]}).write_parquet(tmp_path / "2.parquet")
    with duckdb.connect() as connection:
        told = f"FROM read_parquet('{tmp_path}/**/*.parquet', union_by_name = true) ORDER BY a"
        assert connection.execute(told).fetchall() == [(1, None), (2, "x")]


def peer(python: Path, script: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [python, HERE / script, *arguments], check=False, capture_output=True, text=True, cwd=arguments[-1]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.long
@pytest.mark.parametrize("lock", [OLDEST_FOR_FILES, OLDEST_FOR_DATABASE], ids=lambda lock: lock.stem)
def test_old_duckdb_reads_every_table(lock: Path, every_table: Path, tmp_path: Path) -> None:
    python = required_python(lock, "duckdb")
    types = json.loads(peer(python, "duckdb_peer.py", "lake", DUCKDB.line, every_table, tmp_path))
    require_all(DUCKDB, types, lambda table: pl.read_parquet(tmp_path / f"{table}.parquet"), every_table)


@pytest.mark.long
def test_spark_reads_every_table(every_table: Path, tmp_path: Path) -> None:
    python = required_python(PYSPARK, "pyspark")
    types = json.loads(peer(python, "spark_peer.py", SPARK.line, every_table, tmp_path))
    require_all(SPARK, types, lambda table: pl.read_parquet(tmp_path / table / "*.parquet"), every_table)


def require_all(
    client: Client, types: dict[str, dict[str, str]], rows: Callable[[str], pl.DataFrame], lake: Path
) -> None:
    assert sorted(types) == TABLES
    for table in TABLES:
        read = Read(types_without_folders(types[table]), rows(table))
        require_as_written(client, CONTRACTS[table], read, lake)


@pytest.mark.long
def test_the_oldest_client_opens_the_published_database(demo_and_typist: Settings) -> None:
    python = required_python(OLDEST_FOR_DATABASE, "duckdb")
    file = demo_and_typist.local / "ghost.duckdb"
    done = subprocess.run(
        [python, HERE / "duckdb_peer.py", "database", file], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with duckdb.connect(str(file), read_only=True) as connection:
        expected = dict(connection.execute('SELECT "table", rows FROM table_info').fetchall())
    counted = json.loads(done.stdout)
    assert {name: counted[name] for name in expected} == expected
    assert len(expected) > 10


def test_the_oldest_client_is_the_one_whose_format_is_written() -> None:
    assert f"duckdb=={STORAGE_VERSION.removeprefix('v')} " in OLDEST_FOR_DATABASE.read_text(encoding="utf-8")
