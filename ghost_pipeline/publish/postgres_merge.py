"""Merging rows into a PostgreSQL table that already has most of them: staged in a temporary table, then merged."""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.specified import SpecifiedTable
from ghost_pipeline.domain.ghost.specified_tables import storable

STAGING = "pg_temp"
"""The schema of temporary tables, independent of the search_path."""

_TYPES: Mapping[type[pl.DataType], str] = {
    pl.String: "text",
    pl.Int32: "int4",
    pl.Int64: "int8",
    pl.Float64: "float8",
    pl.Boolean: "bool",
    pl.Date: "date",
    pl.Decimal: "numeric",
}


class SentRows:
    """Frames sent to the server, with counts of their rows."""

    def __init__(self, table: SpecifiedTable, frames: Iterable[pl.DataFrame]) -> None:
        """Take frames with a table's columns; they are consumed by `reader`."""
        self._table, self._frames = table, frames
        self.rows = 0
        self.not_storable = 0
        """Rows left out because PostgreSQL cannot store them."""
        self.failed: Exception | None = None
        """The error that ended the frames early."""

    def reader(self) -> pa.RecordBatchReader:
        """Stream the rows, one frame at a time."""
        schema = pl.DataFrame(schema=self._table.polars_schema).to_arrow().schema
        return pa.RecordBatchReader.from_batches(schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for frame in self._frames:
                kept = frame.filter(storable())
                self.rows += kept.height
                self.not_storable += frame.height - kept.height
                yield from kept.cast(pl.Schema(self._table.polars_schema)).to_arrow().to_batches()
        except Exception as error:
            self.failed = error
            raise


def staged(table: SpecifiedTable) -> str:
    """The name of the temporary table that receives a table's rows."""
    return f"new_{table.name}"


def staging_ddl(table: SpecifiedTable) -> str:
    """The statement that creates the temporary table, with the types in which rows are sent."""
    columns = ", ".join(f"{name} {_sent_as(dtype)}" for name, dtype in table.polars_schema.items())
    return f"CREATE TEMP TABLE {staged(table)} ({columns}) ON COMMIT DROP"


def merge_statements(table: SpecifiedTable, relation: str, types: Mapping[str, str]) -> tuple[str, str, str]:
    """The statements that delete, update and insert the rows that differ from the sent ones; each returns its count.

    Deletes come first, so that a unique value of a deleted row is free for another one. A single MERGE could do all
    three, but deletes missing rows only from PostgreSQL 17 on.

    Args:
        table: the table to merge into.
        relation: its qualified name.
        types: the types of its columns on the server; they may differ if the application created the table.

    """
    new = {name: f"CAST(n.{name} AS {types[name]})" for name in table.names}
    others = [name for name in table.names if name != table.key]
    same = f"t.{table.key} = {new[table.key]}"
    before = ", ".join(f"t.{name}" for name in others)
    after = ", ".join(new[name] for name in others)
    values = ", ".join(f"{name} = {new[name]}" for name in others)
    rows = f"{STAGING}.{staged(table)} n"
    return (
        _counted(f"DELETE FROM {relation} t WHERE NOT EXISTS (SELECT FROM {rows} WHERE {same})"),  # noqa: S608
        _counted(
            f"UPDATE {relation} t SET {values} FROM {rows} "  # noqa: S608
            f"WHERE {same} AND ({before}) IS DISTINCT FROM ({after})"
        ),
        _counted(
            f"INSERT INTO {relation} ({', '.join(table.names)}) SELECT {', '.join(new.values())} FROM {rows} "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT FROM {relation} t WHERE {same})"
        ),
    )


def _counted(statement: str) -> str:
    return f"WITH changed AS ({statement} RETURNING 1) SELECT count(*) FROM changed"  # noqa: S608 - our own names


def _sent_as(dtype: pl.DataType) -> str:
    """The PostgreSQL type in which the driver sends a polars type."""
    if isinstance(dtype, pl.Datetime):
        return "timestamptz" if dtype.time_zone else "timestamp"
    return _TYPES[type(dtype)]
