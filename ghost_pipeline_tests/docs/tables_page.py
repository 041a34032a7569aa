"""The pages `docs/tables.md` and `docs/source.md`, written from the contracts so that they cannot lag behind."""

from collections.abc import Iterator

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import duckdb_type
from ghost_pipeline.contracts.published import PUBLISHED_ONLY, TABLE_INFO
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain, Kind, SourceColumn, SourceTable
from ghost_pipeline.settings import MAX_TASK_MINUTES

GENERATED = "<!-- Written by `make docs` from the contracts; change those. -->"

_SOURCE_INTRODUCTION = """\
`GHOST_SOURCE` is a folder or bucket of files, or a database, with the tables below. `?` marks an optional table, or a
column that may be null or absent. A source whose tables or columns have other names needs a
[mapping](#other-names-and-queries).

Ids are text; numbers and UUIDs are read as their text, and a number whose fraction is zero is read without it, in every
format: 7, 7.0, `7.00` and the JSON number 7e0 are one id, 007 is another. A float of 2^53 or more (2^24 if it has 32
bits) may stand for two ids and is rejected, as are `true` and `false`. Bytes that are UTF-8 are text; an id of 16 bytes
that are not UTF-8, or hold control characters, is a UUID. One of 100,000 random UUIDs is taken for a text by that:
export UUIDs as text or, in Parquet, as UUID or as fixed 16 bytes, which are always UUIDs. Times are instants: with a
zone they are converted to UTC, without one they are UTC. As text they are ISO 8601 (`2025-03-12T11:59:00.5+01:00`); a
bare number is not a time, because it could be seconds, milliseconds or microseconds. In numbers and times, NaN and the
texts `\\N`, `NULL`, `null`, `NA`, `NaN`, `nan`, `NaT`, `<NA>`, `None`, `N/A`, `n/a` and `#N/A` are missing values.

Each domain's tables may be absent: `cohorts` and `user_progress`, or `keyboards`, `practice_sessions` and the rows of
sessions. `users` is always required. `ghost-pipeline doctor` reports what it found and shows some rows, without
personal columns, and the first row that would be rejected.

## A folder of files

`GHOST_SOURCE=/path/to/folder`, with one file per table: `<table>.parquet`, `<table>.csv` or `<table>.ndjson`, or a
folder `<table>/` (also called `<table>.parquet/` or `<table>.csv/`) of such files, with or without hive partitions. The
files of a folder have one form: CSV beside Parquet is an error. A partition's value applies to the files below it; a
file that contradicts it is an error. Of a path, messages show such a value only if it is a date (`month=2025-03`), for
others may name a person (`user_id=…`). Columns that are not listed here are not read. Each file that has not changed is
left unread, whatever its form. Names are read as they are: of `users.CSV` or `users.xlsx`, `doctor` says that it is not
read.

Below a table's folder, files are skipped if their name, or the name of a folder above them, begins with `_` or `.`
(except partitions such as `_year=2025`); `doctor` counts them. A symbolic link that leads out of the source folder is
refused, and so is one to a folder that holds the table's; a folder behind any other link is read, once.

CSV and NDJSON may be packed (`.csv.gz`, `.ndjson.zst`). NDJSON is an object per line or one array of objects; `.json`
and `.jsonl` are read the same way if a table has no other file. They are UTF-8 or UTF-16, with or without a byte order
mark. The first line of a CSV file names the columns, or the second one after a line `sep=;`. Fields are separated by
commas, semicolons, tabs or bars, whichever shows the known names; quotes are doubled or, if that leaves fewer faulty
lines, escaped by a backslash. Blank lines are skipped, and a line with another number of fields is rejected with its
line number (and, in a folder, its file), as is an object of JSON with an object or list in place of a value, or with
`true`, `false` or `Infinity` in place of an id. In CSV, the texts for missing values above stand for a missing id or
name as well, unless they are in quotes; in `ngram_text` they are text. `doctor` reports what it detected, and how many
lines are not text in that encoding: Latin-1 is read only where the mapping states it. What the mapping states is not
guessed:

```yaml
users:
  columns: {user_id: "1", created_at: "2"}   # without a header, columns are called 1, 2, 3 ...
  format:
    delimiter: ";"
    quote: "'"                # a character that never comes, such as "\\u0001", if nothing is quoted
    escape: '\\'               # or the quote itself
    encoding: latin-1         # or utf-8, utf-16-le, utf-16-be, cp1252
    header: false
    null_markers: ["-"]       # instead of those above; [] for none
```

Applications that send keys by name can have them translated, from any source; keys with other names are kept as they
are, and counted:

```yaml
session_keystrokes:
  key_names: {Backspace: "\\b", Enter: "\\n", Tab: "\\t", Space: " "}
```

## A bucket

`GHOST_SOURCE=s3://bucket/prefix` has the layout and the rules of a folder, in object storage that speaks S3. `AWS_*`
variables hold credentials and endpoint (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`,
and `AWS_ALLOW_HTTP=true` for one without TLS); the pipeline needs to list and to read. If `GHOST_DATA` is in a bucket
as well, both use these variables.

Objects are listed once per table, 1,000 at a time, and one with the same size and ETag is not fetched. Of Parquet,
polars fetches the row groups and columns that are needed; CSV and NDJSON are copied into a temporary file (`TMPDIR`),
one at a time. If an object is replaced while it is read, the run stops with one line, nothing of it is written, and the
next run reads the new version. An empty object that a console has created to show a folder is not a file.

## A database

`GHOST_SOURCE=postgresql://user:password@host:port/database`, `mysql://...`, `sqlite:///app.db` or
`duckdb:///app.duckdb`. Tables and views are found by their names, and only the columns listed here are read.
[Databases](databases.md) says for each kind how it is opened, which values it gives, and how a run reads a part of the
events.

## Other names and queries

`GHOST_SOURCE_MAPPING=mapping.yaml` gives, for each table with a different name, the table and its columns, or a query:

```yaml
users:
  table: app.people                # name or schema.name; parts that hold a dot in double quotes
  columns:                         # canonical: own; others have the canonical name
    user_id: id
    created_at: signed_up_at
user_progress:
  query: |
    SELECT id AS progress_id, person_id AS user_id, lower(kind) AS task_type,
           to_timestamp(finished_ms / 1000.0) AS completed_at, seconds / 60.0 AS time_spent_minutes
    FROM app.tasks
    WHERE finished_ms >= 1000 * extract(epoch FROM {start})
      AND finished_ms < 1000 * extract(epoch FROM {end})
```

There are two mappings to start from, each with a page that says what such a system cannot fill:
[Moodle](mappings/moodle.md), [Open edX](mappings/openedx.md) and [xAPI](mappings/xapi.md).

The file is plain YAML: each key once, text as keys, no aliases. Anything else is one line with the file and its line.
Names are used as written, including capitals (which only PostgreSQL distinguishes), and quoted. For files,
`table` is the name of a file or folder without its ending; files answer no queries. `{start}` and `{end}` are optional.
They are values: in PostgreSQL and DuckDB `timestamptz`, infinite if everything is read; in SQLite text such as
`2025-03-12 11:00:00`. A query without them is read as a whole, and the database filters its rows."""


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
    yield "`table_info` are in the lake, and `ghost-pipeline query` reads them as `lake.<table>`. Retention counts from"
    yield "the newest partition of the table; [`GHOST_RETENTION`](operations.md#retention) sets it."
    for contract in (*CONTRACTS.values(), *PUBLISHED_ONLY):
        yield from _table(contract)
    yield ""


def _table(contract: Contract) -> Iterator[str]:
    yield ""
    yield f"## {contract.name}"
    yield ""
    yield contract.description
    yield ""
    where = "" if contract is TABLE_INFO else f" Folders: `{'=…/'.join(contract.partitioning.keys)}=…`."
    yield f"One row: {contract.grain}.{where}{_kept(contract)}{' *Published.*' if contract.published else ''}"
    yield ""
    yield "| column | type | null | |"
    yield "|---|---|---|---|"
    for name, column in contract.schema.columns().items():
        shown = f"**{name}**" if name in contract.primary_key else name
        null = "yes" if column.nullable else ""
        yield f"| {shown} | {duckdb_type(column.dtype)} | {null} | {column.description} |"


def _kept(contract: Contract) -> str:
    if contract is TABLE_INFO:
        return ""
    if contract.retention_exempt_reason:
        return f" Not removed by retention: {contract.retention_exempt_reason}."
    length = "permanently" if contract.retention is None else f"for {contract.retention.days} days"
    return f" Kept {length}, unless set."


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
    domain = {None: "both domains", Domain.GHOST: "ghost data", Domain.NGRAMS: "n-gram analytics"}[table.domain]
    yield ""
    yield f"## {table.name}{'' if table.required else '?'}"
    yield ""
    yield f"For {domain}."
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
    if column.kind is Kind.MINUTES:
        rules.append(f"at most {MAX_TASK_MINUTES} (`GHOST_MAX_TASK_MINUTES`)")
    if column.kind is Kind.NGRAM:
        rules.append("1 to 50 characters")
    return "; ".join(rules)
