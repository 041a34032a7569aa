"""The clients of the lake: the line with which each reads a table's folder, and the type it gives each column."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.dataset as ds  # type: ignore[import-untyped]

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import duckdb_type

INSTANT = pl.Datetime("us", "UTC")
KINDS: dict[str, pl.DataType] = {
    "text": pl.String(),
    "32-bit number": pl.Int32(),
    "64-bit number": pl.Int64(),
    "floating point": pl.Float64(),
    "true or false": pl.Boolean(),
    "date": pl.Date(),
    "instant": INSTANT,
    "decimal": pl.Decimal(9, 2),
    "list of 32-bit numbers": pl.List(pl.Int32()),
    "list of 64-bit numbers": pl.List(pl.Int64()),
}
"""The types of columns that contracts have, decimals with any digits."""


@dataclass(frozen=True)
class Client:
    """A program that reads Parquet."""

    name: str
    line: str
    """What it is told; `{folder}` is the folder of a table."""
    type_of: Callable[[pl.DataType, bool], str]
    """Its name of a type of a contract, for a column with a missing value or without."""
    tested: str
    """The versions that tests read with."""

    def told(self, folder: Path | str) -> str:
        """The line for a folder."""
        return self.line.replace("{folder}", str(folder))


def _duckdb(dtype: pl.DataType, _has_null: bool) -> str:  # noqa: FBT001 - one signature for all clients
    return duckdb_type(dtype).replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")


def _polars(dtype: pl.DataType, _has_null: bool) -> str:  # noqa: FBT001
    return str(dtype)


def _pandas(dtype: pl.DataType, has_null: bool) -> str:  # noqa: FBT001
    match dtype:
        case pl.Int32() | pl.Int64():
            return "float64" if has_null else str(dtype).lower()
        case pl.Boolean():
            return "object" if has_null else "bool"
        case _:
            others = {pl.String: "str", pl.Float64: "float64", pl.Datetime: "datetime64[us, UTC]"}
            return others.get(type(dtype), "object")


def _pyarrow(dtype: pl.DataType, _has_null: bool) -> str:  # noqa: FBT001
    if isinstance(dtype, pl.List):
        # Parquet calls what is in a list an element, Arrow an item.
        return f"large_list<element: {str(dtype.inner).lower()}>"
    return str(pl.Series([], dtype=dtype).to_arrow().type)


def _spark(dtype: pl.DataType, _has_null: bool) -> str:  # noqa: FBT001
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.DataType):
        return f"array<{_spark(dtype.inner, _has_null)}>"
    names = {
        pl.String: "string",
        pl.Int32: "int",
        pl.Int64: "bigint",
        pl.Float64: "double",
        pl.Boolean: "boolean",
        pl.Date: "date",
        pl.Datetime: "timestamp",
    }
    return names[type(dtype)]


DUCKDB = Client("DuckDB", "FROM '{folder}/**/*.parquet'", _duckdb, "2.0, 1.4.0, 0.10.3")
POLARS = Client("polars", 'pl.read_parquet("{folder}")', _polars, pl.__version__)
PANDAS = Client("pandas", 'pd.read_parquet("{folder}")', _pandas, pd.__version__)
PYARROW = Client("pyarrow", 'ds.dataset("{folder}", partitioning="hive").to_table()', _pyarrow, pa.__version__)
SPARK = Client("PySpark", 'spark.read.parquet("{folder}")', _spark, "4.3")
CLIENTS = (DUCKDB, POLARS, PANDAS, PYARROW, SPARK)
NAMES: Mapping[str, Any] = {"pl": pl, "pd": pd, "ds": ds}
"""As the lines name what they use."""


@dataclass(frozen=True)
class Read:
    """What a client has read of a table, without the columns that it took from the names of folders."""

    types: dict[str, str]
    rows: pl.DataFrame


def read_here(client: Client, folder: Path) -> Read:
    """Read a table's folder in this process."""
    line = client.told(folder)
    if client is DUCKDB:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            relation = connection.sql(line)
            types = dict(zip(relation.columns, map(str, relation.types), strict=True))
            return _read(types, relation.to_arrow_table())
    found = eval(line, dict(NAMES))  # noqa: S307 - the lines above
    if client is POLARS:
        return _read({name: str(dtype) for name, dtype in found.schema.items()}, found.to_arrow())
    if client is PANDAS:
        plain = found.drop(columns=[name for name in found if name.startswith("partition_")])
        return _read({name: str(dtype) for name, dtype in plain.dtypes.items()}, pa.Table.from_pandas(plain))
    return _read({field.name: str(field.type) for field in found.schema}, found)


def _read(types: dict[str, str], rows: pa.Table) -> Read:
    names = [name for name in types if not name.startswith("partition_")]
    frame = pl.DataFrame(pl.from_arrow(rows.select(names)))
    return Read({name: types[name] for name in names}, frame)


def matrix_table() -> Iterator[str]:
    """The lines of the table: what each client is told, and what it makes of each type."""
    yield f"| | {' | '.join(client.name for client in CLIENTS)} |"
    yield "|---|" + "---|" * len(CLIENTS)
    yield f"| tested | {' | '.join(client.tested for client in CLIENTS)} |"
    tables = f"{len(CONTRACTS)} of {len(CONTRACTS)}"
    yield f"| tables read | {' | '.join(tables for _ in CLIENTS)} |"
    for kind, dtype in KINDS.items():
        cells = []
        for client in CLIENTS:
            name, missing = (client.type_of(dtype, has_null) for has_null in (False, True))
            cells.append(f"`{name}`" if name == missing else f"`{name}`, with missing values `{missing}`")
        yield f"| {kind} | {' | '.join(cells)} |"


def lines_table() -> Iterator[str]:
    """The lines of the table: how each client reads the folder of `cohort_ghost_data`."""
    yield "| client | one line |"
    yield "|---|---|"
    for client in CLIENTS:
        yield f"| {client.name} | `{client.told('data/lake/cohort_ghost_data')}` |"
