"""SQL over the published database and the lake, for people and for tests."""

from pathlib import Path

import duckdb
import polars as pl

from ghost_pipeline.errors import PublishError
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.tables import CONTRACTS
from ghost_pipeline.tables.contract import duckdb_type


def query(sql: str, database: Path, lake: Lake) -> pl.DataFrame:
    """Run one statement over the published tables and a view `lake.<table>` for every table of the lake.

    The published database is attached read-only, so a query never keeps a run from publishing.

    Raises:
        PublishError: there is neither database nor lake, or the statement is wrong.

    """
    if not database.exists() and not lake.root.exists():
        raise PublishError(
            f"{database}: nothing has been published yet. Run `ghost-pipeline demo`, or set GHOST_SOURCE and run "
            f"`ghost-pipeline materialize --as-of ...`",
        )
    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            # A catalog of its own, so that `lake.<table>` names a view whatever the default catalog is.
            connection.execute("ATTACH ':memory:' AS lake")
            for statement in _lake_views(lake):
                connection.execute(statement)
            if database.exists():
                connection.execute(f"ATTACH {_literal(database)} AS published (READ_ONLY)")
                connection.execute("USE published")
            frame: pl.DataFrame = connection.sql(sql).pl()
            return frame
    except duckdb.Error as error:
        raise PublishError(f"query: {' '.join(str(error).split())}") from error


def _lake_views(lake: Lake) -> list[str]:
    statements = []
    for contract in CONTRACTS.values():
        if lake.files(contract):
            pattern = _literal(lake.root / contract.name / "**" / "*.parquet")
            body = f"SELECT * FROM read_parquet({pattern}, hive_partitioning = false)"  # noqa: S608 - our own names
        else:
            columns = (
                f'CAST(NULL AS {duckdb_type(dtype)}) AS "{name}"' for name, dtype in contract.polars_schema.items()
            )
            body = f"SELECT {', '.join(columns)} WHERE false"
        statements.append(f"CREATE VIEW lake.{contract.name} AS {body}")
    return statements


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
