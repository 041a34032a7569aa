"""The pages `docs/tables.md` and `docs/source.md`, written from the contracts so that they cannot lag behind."""

from collections.abc import Iterator

from ghost_pipeline.tables import CONTRACTS, Contract
from ghost_pipeline.tables.contract import duckdb_type
from ghost_pipeline.tables.published import TABLE_INFO
from ghost_pipeline.tables.raw import SOURCE_TABLES, Half, Kind, SourceColumn, SourceTable

GENERATED = "<!-- Written by `make docs` from the contracts; change those. -->"

_SOURCE_INTRODUCTION = """\
A source is a folder with a file per table, `<table>.parquet`, `<table>.csv` or `<table>.ndjson`, or a folder
`<table>/` of Parquet files, in hive partitions or not. Columns that are not listed here are ignored. `?` marks a
column that may be null or absent, and a table that may be absent.

Ids are text; numbers and UUIDs are taken as their text. Times are instants: with a zone they are converted to UTC,
without one they are UTC. In CSV and NDJSON they are ISO 8601 (`2025-03-12T11:59:00.5+01:00`); a bare number is no
time, because it could be seconds, milliseconds or microseconds.

Either half may be absent: `cohorts` and `user_progress`, or `keyboards`, `practice_sessions` and the rows of
sessions. `users` is always needed."""


def tables_page() -> str:
    """Every table of the lake and the published database, with its columns."""
    return "\n".join(_tables_page())


def source_page() -> str:
    """Every canonical source table, with its columns and rules."""
    return "\n".join(_source_page())


def _tables_page() -> Iterator[str]:
    yield "# Tables"
    yield ""
    yield GENERATED
    yield ""
    yield "Types are those of DuckDB. **Key** columns identify a row. *Published* tables are in `ghost.duckdb`; all but"
    yield "`table_info` are in the lake, and `ghost-pipeline query` reads them as `lake.<table>`."
    for contract in (*CONTRACTS.values(), TABLE_INFO):
        yield from _table(contract)
    yield ""


def _table(contract: Contract) -> Iterator[str]:
    yield ""
    yield f"## {contract.name}"
    yield ""
    yield contract.description
    yield ""
    where = "" if contract is TABLE_INFO else f" Folders: `{'=…/'.join(contract.partitioning.value)}=…`."
    yield f"One row: {contract.grain}.{where}{' *Published.*' if contract.published else ''}"
    yield ""
    yield "| column | type | null | |"
    yield "|---|---|---|---|"
    for name, column in contract.schema.columns().items():
        shown = f"**{name}**" if name in contract.primary_key else name
        null = "yes" if column.nullable else ""
        yield f"| {shown} | {duckdb_type(column.dtype)} | {null} | {column.description} |"


def _source_page() -> Iterator[str]:
    yield "# The source"
    yield ""
    yield GENERATED
    yield ""
    yield _SOURCE_INTRODUCTION
    for table in SOURCE_TABLES.values():
        yield from _source_table(table)
    yield ""


def _source_table(table: SourceTable) -> Iterator[str]:
    half = {None: "both halves", Half.GHOST: "ghost data", Half.NGRAMS: "n-gram analytics"}[table.half]
    yield ""
    yield f"## {table.name}{'' if table.required else '?'}"
    yield ""
    yield f"For {half}."
    yield ""
    yield "| column | | accepted | |"
    yield "|---|---|---|---|"
    for column in table.columns:
        name = f"{column.name}{'?' if column.optional else ''}"
        yield f"| {name} | {column.kind.value} | {_accepted(column)} | {column.description} |"


def _accepted(column: SourceColumn) -> str:
    rules = []
    if column.one_of:
        rules.append(", ".join(column.one_of))
    rules += [f"not `{reserved}`" for reserved in column.none_of]
    if column.low is not None and column.high is not None:
        rules.append(f"{column.low:g} to {column.high:g}")
    elif column.low is not None:
        rules.append(f"{column.low:g} or more")
    elif column.high is not None:
        rules.append(f"at most {column.high:g}")
    if column.above is not None:
        rules.append(f"above {column.above:g}")
    if column.references:
        rules.append(f"an id in `{column.references}`")
    if column.kind is Kind.NGRAM:
        rules.append("1 to 50 characters, none of them a space, a tab, a line break or NUL")
    return "; ".join(rules)
