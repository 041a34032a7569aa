"""The source of a case as files: NDJSON, CSV or Parquet, with the columns that the case gives and no others."""

import csv
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain, Kind, SourceTable

Row = dict[str, Any]
FORMATS = ("ndjson", "csv", "parquet")
DEMO_WORLD = Path(__file__).parent.parent / "data" / "demo_world"
OWNED_BY_USERS = ("users", "user_progress", "keyboards", "practice_sessions")
OWNED_BY_SESSIONS = ("session_keystrokes", "session_ngram_speed", "session_ngram_errors")


class SourceFiles:
    """The tables of one source, which a case changes step by step."""

    def __init__(self, folder: Path, file_format: str, domain: Domain, tables: Row) -> None:
        """Write the tables into `folder`, in one of `FORMATS`.

        Args:
            folder: an empty folder.
            file_format: how every table is written.
            domain: the tables that it requires are there even if they have no row.
            tables: as the case has them; `dataset` stands for the rows of the demo world.

        """
        self.folder, self.file_format = folder, file_format
        required = (one for one in SOURCE_TABLES.values() if one.required and one.domain in {None, domain})
        self.rows: dict[str, list[Row]] = {table.name: [] for table in required}
        given = dict(tables)
        if given.pop("dataset", None):
            self.rows |= {path.stem: pl.read_parquet(path).to_dicts() for path in DEMO_WORLD.glob("*.parquet")}
        self.add(given)
        self._write(self.rows)

    def add(self, tables: Row) -> None:
        """Append rows; one that has the id of another stays a row of its own."""
        for name, table in tables.items():
            self.rows.setdefault(name, []).extend(_rows(table))
        self._write(tables)

    def upsert(self, tables: Row) -> None:
        """Give rows new values by their id; a version without a date of its own loses the date of the one before."""
        for name, table in tables.items():
            (key,) = SOURCE_TABLES[name].key
            for values in _rows(table):
                found = [row for row in self.rows[name] if row[key] == values[key]]
                if not found:
                    found = [{}]
                    self.rows[name].extend(found)
                for row in found:
                    if SOURCE_TABLES[name].versioned:
                        row.pop("updated_at", None)
                    row.update(values)
        self._write(tables)

    def remove(self, tables: dict[str, Sequence[str]]) -> None:
        """Take rows away by their id; with a user go the user's rows, with a session the session's."""
        for name, ids in tables.items():
            if name == "users":
                sessions = [row["session_id"] for row in self._of("practice_sessions", "user_id", ids)]
                self._drop(OWNED_BY_SESSIONS, "session_id", sessions)
                self._drop(OWNED_BY_USERS, "user_id", ids)
            else:
                self._drop((name,), SOURCE_TABLES[name].key[0], ids)
        self._write(self.rows)

    def session_start(self, session_id: str) -> datetime:
        """The start of a practice session."""
        (row,) = self._of("practice_sessions", "session_id", [session_id])
        return instant(row["start_time"])

    def _of(self, name: str, column: str, ids: Sequence[str]) -> list[Row]:
        return [row for row in self.rows.get(name, ()) if row[column] in ids]

    def _drop(self, names: Iterable[str], column: str, ids: Sequence[str]) -> None:
        for name in names:
            if name in self.rows:
                self.rows[name] = [row for row in self.rows[name] if row[column] not in ids]

    def _write(self, names: Iterable[str]) -> None:
        for name in names:
            write = {"ndjson": _write_ndjson, "csv": _write_csv, "parquet": _write_parquet}[self.file_format]
            write(self.folder / f"{name}.{self.file_format}", SOURCE_TABLES[name], self.rows[name])


def instant(value: str | datetime) -> datetime:
    """An instant of a case; UTC if it names no zone."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _rows(table: Row) -> list[Row]:
    return [dict(zip(table["columns"], values, strict=True)) for values in table["rows"]]


def _columns(table: SourceTable, rows: list[Row]) -> list[str]:
    """The columns that some row gives; those that a table without rows needs to be read at all."""
    given = dict.fromkeys(name for row in rows for name in row)
    return list(given) or [column.name for column in table.columns if not column.optional]


def _write_ndjson(path: Path, _table: SourceTable, rows: list[Row]) -> None:
    lines = (json.dumps(row, default=_as_text, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_csv(path: Path, table: SourceTable, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _columns(table, rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _as_text(value) for name, value in row.items()} for row in rows)


def _write_parquet(path: Path, table: SourceTable, rows: list[Row]) -> None:
    kinds = {column.name: column.kind for column in table.columns}
    series = [_series(name, kinds[name], [row.get(name) for row in rows]) for name in _columns(table, rows)]
    pl.DataFrame(series).write_parquet(path)


def _series(name: str, kind: Kind, values: list[Any]) -> pl.Series:
    """The values in the type that an application's table would have."""
    if kind is Kind.INSTANT:
        times = [None if value is None else instant(value) for value in values]
        return pl.Series(name, times, pl.Datetime("us", "UTC"))
    if kind in {Kind.NUMBER, Kind.MINUTES}:
        return pl.Series(name, values, pl.Float64, strict=False)
    types: dict[Kind, Any] = {Kind.INTEGER: pl.Int64, Kind.FLAG: pl.Boolean}
    return pl.Series(name, values, types.get(kind, pl.String))


def _as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
