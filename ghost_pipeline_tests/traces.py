"""Where ids stand in a data folder: in names and bytes of every file, and in every text of what is compressed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import polars as pl

from ghost_pipeline.lake.cache import CACHE


def traces(folder: Path, ids: Iterable[str]) -> set[str]:
    """The files below a folder that hold any of the ids, or are named by one."""
    wanted = list(ids)
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if any(one in str(file.relative_to(folder)) for one in wanted)
        or (file.is_file() and any(_holds(text, wanted) for text in _texts(file)))
    }


def _holds(text: bytes, wanted: list[str]) -> bool:
    return any(one.encode() in text for one in wanted)


def _texts(file: Path) -> Iterator[bytes]:
    # As it is first: SQLite's files with their free pages and logs are not compressed.
    yield file.read_bytes()
    if file.suffix == ".parquet":
        yield from _of_frame(pl.read_parquet(file))
    elif file.suffix == ".arrow" and CACHE in file.parts:
        yield from _of_frame(pl.read_ipc(file.read_bytes()[32:]))
    elif file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            for (name,) in tables:
                yield from _of_frame(connection.sql(f'FROM "{name}"').pl())


def _of_frame(frame: pl.DataFrame) -> Iterator[bytes]:
    for column in frame.select(pl.selectors.string()).iter_columns():
        yield "\n".join(column.unique().drop_nulls()).encode()
