"""The page `docs/postgres_tables.md`: the DDL that is executed, and where it differs from the specification's."""

from collections.abc import Iterator

from ghost_pipeline.contracts.specified import GHOST_TABLE_INFO, SPECIFIED_TABLES, SpecifiedTable
from ghost_pipeline_tests.docs.tables_page import GENERATED

_INTRODUCTION = """\
With `GHOST_PUBLISH_POSTGRES=postgresql://user:password@host:port/database`, every run that has replaced
`ghost.duckdb` also replaces three tables in that database: the specification's, under its names and with its columns,
so that its API queries work. In Dagster it is the last asset of both jobs, `published_postgres`; without the setting
there is none.

The rows are those that `GhostReader` answers from: nothing of a cohort that is not released is in them.

All three tables change in one transaction. Rows are sent beside them, and only what differs is deleted, updated and
inserted: readers wait for nothing and see the state before or the state after, and grants, views, triggers and
columns of the application's own stay. `ghost_table_info` beside them says of which hour each table is. To read
several tables of one state, read them in one transaction: `BEGIN ISOLATION LEVEL REPEATABLE READ`.

The tables lie in the first schema of the search_path that is there, as a rule `public`. Another one is named in the
address: `?options=-csearch_path%3Dghost`. Passwords and certificates may stand where libpq looks for them, in
`~/.pgpass` or `PGPASSWORD`; the password is shown nowhere. The server is PostgreSQL 13 or newer, the database's
encoding UTF8."""

_READING = """\
## Asking

Both queries of the specification's `get_ghost_data` work as they are:

```sql
SELECT * FROM ghost_benchmarks
WHERE target_band = 7.5 AND starting_skill = %s AND day_number = %s AND success_percentile = 25;

SELECT * FROM cohort_ghost_data
WHERE cohort_id = %s AND snapshot_date = CURRENT_DATE;
```

- `starting_skill` is rounded down to half a band (5.9 asks for 5.5; G5.1), not to the nearest.
- `CURRENT_DATE` is that of the session's time zone, `snapshot_date` that of UTC: `ALTER ROLE app SET timezone TO
  'UTC'`. The first hour of a day is published after its end, so from midnight until shortly after 01:00 UTC the query
  finds nothing. A cohort has one row at most, so `WHERE cohort_id = %s` alone finds the newest at any time.
- `snapshot_date` and `snapshot_hour` are those of the newest hour, from whose end the figures are shown; `updated_at`
  is the as_of of the figures. They differ where too few members have changed for new ones (G9.3).
- `cohort_id` is text: a parameter of the type uuid has to be cast, `WHERE cohort_id = %s::text`.
- The heat map and the slowest n-grams are in the order of `decaying_average_ms DESC, ngram_text COLLATE "C"`."""

_RIGHTS = """\
## Rights

The user of the address needs the right to make temporary tables, which everybody has unless it was revoked, and
either to make the tables once or to write those that somebody has made with the statements above:

```sql
GRANT TEMPORARY ON DATABASE app TO ghost_writer;
GRANT USAGE, CREATE ON SCHEMA public TO ghost_writer;          -- to make them; or, where they are there:
GRANT SELECT, INSERT, UPDATE, DELETE
    ON ghost_benchmarks, cohort_ghost_data, ngram_speed_summaries, ghost_table_info TO ghost_writer;
GRANT SELECT ON ghost_benchmarks, cohort_ghost_data, ngram_speed_summaries TO app;   -- whoever reads
```

`ghost-pipeline doctor` connects, and says what is missing and as of when each table is.

## Tables that are there already

What counts is that the columns are there; types may differ as far as PostgreSQL converts the rows to them. So the
specification's own statements will do where every id of a cohort is a UUID and every figure fits. A table is refused,
and nothing is changed, where

- it is a view, lacks a column, or has one of its own that needs a value and has no default;
- it holds rows that no publication has written: they would be deleted. Empty it, or name another schema.

Rows that somebody else writes into a table that is published are gone with the next publication: the specification's
own jobs that seed benchmarks and update cohorts are replaced by this, and are to be turned off. With foreign keys of
its own to `users`, a person who was deleted there and not erased here stops the publication; erase here first.

## When it fails

The run fails with one line, in Dagster at the step `published_postgres`, and everything in PostgreSQL is as it was.
`ghost.duckdb` is the new one all the same, and the next run repairs: it compares everything. That is so for a lost
connection, a constraint of the application, a full disk, or a lock that somebody keeps for 600 s.

Publications follow one another by an advisory lock, and each reads `ghost.duckdb` when it has the lock: the last one
to write is the newest. A data folder whose newest hour is older than the one that is there is refused, for two
folders that publish to one schema would undo each other.

## Who is gone

A row that is not in `ghost.duckdb` any more is deleted by the next publication; so a person who was erased is gone
from `ngram_speed_summaries` then. In the server's files a deleted row is there until VACUUM has been over the table,
in the write-ahead log until that is recycled, and in backups as long as they are kept: `VACUUM ngram_speed_summaries`
after an erasure does the first.

An id that holds a NUL, which no text of PostgreSQL can, is left out with its row; the check `coverage` of the asset
counts them and warns."""


def postgres_tables_page() -> str:
    """The tables in PostgreSQL: what they hold, their DDL, the differences, how to read and to grant."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield "# The specification's tables in PostgreSQL"
    yield ""
    yield GENERATED.replace("the contracts; change those", "`contracts/specified.py`; change that")
    yield ""
    yield _INTRODUCTION
    yield ""
    yield "## What is made"
    yield ""
    yield "Every table and column has its comment as well, for `\\d+` of psql."
    for table in (*SPECIFIED_TABLES.values(), GHOST_TABLE_INFO):
        yield from _table(table)
    yield ""
    yield "## Where that differs from the specification"
    yield ""
    yield "Names, columns, defaults, nullability and indexes are the specification's. These are not, because its DDL"
    yield "cannot hold every row:"
    yield ""
    yield "| table | | specification | here | why |"
    yield "|---|---|---|---|---|"
    for table in SPECIFIED_TABLES.values():
        for what, specified, executed, why in table.differences:
            here = f"`{executed}`" if executed else "none"
            yield f"| {table.name} | {what} | `{specified}` | {here} | {why} |"
    yield ""
    yield _READING
    yield ""
    yield _RIGHTS
    yield ""


def _table(table: SpecifiedTable) -> Iterator[str]:
    yield ""
    yield f"### {table.name}"
    yield ""
    yield table.says
    yield ""
    yield "```sql"
    yield from (f"{statement};" for statement in table.ddl() if not statement.startswith("COMMENT"))
    yield "```"
    where = [f"- `{one.name}`: {one.says}." for one in table.columns if one.says]
    if where:
        yield ""
        yield from where
