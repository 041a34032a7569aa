"""`GHOST_SOURCE_MAPPING`: which of a source's own tables, columns or queries are the canonical ones.

A YAML file with an entry for each canonical table that has another name in the source, or comes from a query:

    users:
      table: app.people
      columns: {user_id: id, created_at: signed_up}
    user_progress:
      query: SELECT ... WHERE finished >= {start} AND finished < {end}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Kind, SourceTable
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.yaml_file import YamlFileError, printable, read_yaml

START, END = "{start}", "{end}"
"""Placeholders in a query for the ends of the window that is read."""

LONGEST_NAME = 200
"""Characters of a table's name; a file's name has 255 bytes at most."""
Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]


Character = Annotated[str, Field(min_length=1, max_length=1)]
BACKSLASH = "\\"


class TextFormat(BaseModel):
    """How the text file of a table is written; what is not stated is detected."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    delimiter: Character | None = None
    quote: Character = '"'
    escape: Character | None = None
    """What stands before a quote inside of quotes."""
    encoding: Literal["utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp1252"] | None = None
    header: bool = True
    """Whether the first line names the columns; otherwise they are called 1, 2, 3 ..."""
    null_markers: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Texts without quotes that stand for a missing value."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.quote == self.delimiter or {self.quote, self.delimiter} & {"\n", "\r", BACKSLASH}:
            raise ValueError("delimiter and quote are two characters, and none of them is a line end or a backslash")
        if self.escape not in {None, self.quote, BACKSLASH}:
            raise ValueError("escape is a backslash or the quote itself")
        return self


class MappedTable(BaseModel):
    """Where one canonical table comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    table: Annotated[Name, Field(max_length=LONGEST_NAME)] | None = None
    """Its name in the source, `name` or `schema.name`; by default the canonical name."""
    columns: dict[str, Name] = Field(default_factory=dict)
    """Canonical column -> column in the source; one that is not listed has the canonical name."""
    query: Name | None = None
    """A SELECT whose columns have the canonical names."""
    format: TextFormat = Field(default_factory=TextFormat)
    """How its CSV or NDJSON file is written."""
    key_names: dict[str, Character] = Field(default_factory=dict)
    """Name of a key -> the character it stands for, in the columns that hold one."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.query is not None and (self.table is not None or self.columns):
            raise ValueError("has a query, whose columns have the canonical names: drop table and columns, or query")
        if self == MappedTable.model_construct():
            raise ValueError("says nothing: name a table, columns, a format, keys or a query")
        if self.query is not None and any(f"'{mark}'" in self.query for mark in (START, END)):
            raise ValueError(f"{START} and {END} are values, not text: write them without quotes")
        return self

    def with_characters(self, rows: pl.LazyFrame, table: SourceTable) -> pl.LazyFrame:
        """Return rows with the characters of `key_names` in place of the names."""
        if not self.key_names:
            return rows
        there = rows.collect_schema().names()
        columns = [column.name for column in table.columns if column.kind is Kind.CHARACTER and column.name in there]
        return rows.with_columns(pl.col(name).cast(pl.String).replace(self.key_names) for name in columns)


@dataclass(frozen=True)
class SourceMapping:
    """The mapped tables of a source, and the file that maps them."""

    path: Path | None = None
    tables: Mapping[str, MappedTable] = field(default_factory=dict)

    def of(self, table: str) -> MappedTable:
        """Return the entry of a canonical table; an empty one if it has none."""
        return self.tables.get(table, MappedTable.model_construct())

    def place(self, table: str, key: str) -> str:
        """Return the name of an entry of the file in messages."""
        return f"mapping {self.path}: table {table}, {key}"


_FILE = TypeAdapter(dict[str, MappedTable])


def load_mapping(path: Path | None) -> SourceMapping:
    """Read a mapping file; without one nothing is mapped.

    Raises:
        SourceError: the file cannot be read, is not valid YAML, or has an invalid entry; names file, table and key.

    """
    if path is None:
        return SourceMapping()
    try:
        content = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        says = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SourceError(f"mapping {path}: cannot be read ({says}). Correct GHOST_SOURCE_MAPPING") from error
    except YamlFileError as error:
        raise SourceError(f"mapping {path}: is not valid YAML ({error}). Correct it there") from None
    try:
        tables = _FILE.validate_python({} if content is None else content)
    except ValidationError as error:
        faults = "; ".join(_fault(one) for one in error.errors())
    else:
        for name, table in tables.items():
            _check_names(path, name, table)
        return SourceMapping(path, tables)
    # Outside of the handler for the reason in `Settings.load`.
    raise SourceError(f"mapping {path}: {faults}. docs/source.md shows a mapping")


def _check_names(path: Path, name: str, table: MappedTable) -> None:
    if name not in SOURCE_TABLES:
        raise SourceError(
            f"mapping {path}: table {printable(name)}: is not a canonical table; those are {', '.join(SOURCE_TABLES)}"
        )
    canonical = [column.name for column in SOURCE_TABLES[name].columns]
    for column in table.columns:
        if column not in canonical:
            raise SourceError(
                f"mapping {path}: table {name}, columns.{printable(column)}: is not a canonical column; those are "
                f"{', '.join(canonical)}"
            )


def _fault(fault: ErrorDetails) -> str:
    table, *keys = [printable(str(part)) for part in fault["loc"]] or [""]
    place = f"table {table}{', ' if keys else ''}{'.'.join(keys)}: " if table else ""
    return f"{place}{fault['msg'].removeprefix('Value error, ')}"
