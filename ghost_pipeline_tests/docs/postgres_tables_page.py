"""The page `docs/postgres_tables.md`: the DDL that is executed, and where it differs from the specification's."""

from collections.abc import Iterator

from ghost_pipeline.contracts.specified import OWN_TABLES, SPECIFIED_TABLES, SpecifiedTable
from ghost_pipeline_tests.docs.tables_page import GENERATED

_INTRODUCTION = """\
With `GHOST_PUBLISH_POSTGRES=postgresql://user:password@host:port/database`, every run that has replaced
`ghost.duckdb` also replaces three tables in that database: the specification's, under its names and with its columns,
so that its API queries work. In Dagster this is the last asset of both jobs, `published_postgres`; without the setting
the asset does not exist.

The rows are those that `GhostReader` answers from, so they contain nothing of a cohort that is not released.

All three tables change in one transaction. New rows are first sent to temporary tables, and only what differs is
deleted, updated and inserted: readers wait for nothing and see the old or the new state, and the application's own
grants, views, triggers and columns stay. `ghost_table_info` states the hour of each table, `ghost_publication` the
publication that all of them hold: its `id` is that of the table `publication` in `ghost.duckdb` and of
`publication.json` if they are the same. To read several tables in one state, read them in one transaction: `BEGIN
ISOLATION LEVEL REPEATABLE READ`.

The tables are in the first existing schema of the search_path, usually `public`. The address can name another one:
`?options=-csearch_path%3Dghost`. Passwords and certificates may be where libpq looks for them, in `~/.pgpass` or
`PGPASSWORD`; the password is shown nowhere. The server must be PostgreSQL 13 or newer, the database's encoding UTF8."""

_READING = """\
## Asking

Both queries of the specification's `get_ghost_data` work as they are:

```sql
SELECT * FROM ghost_benchmarks
WHERE target_band = 7.5 AND starting_skill = %s AND day_number = %s AND success_percentile = 25;

SELECT * FROM cohort_ghost_data
WHERE cohort_id = %s AND snapshot_date = CURRENT_DATE;
```

- Round `starting_skill` down to half a band (5.9 asks for 5.5; [G5.1](rules.md#g5-1)), not to the nearest.
- `CURRENT_DATE` is in the session's time zone, `snapshot_date` in UTC: `ALTER ROLE app SET timezone TO 'UTC'`. The
  first hour of a day is published after its end, so from midnight until shortly after 01:00 UTC the query finds
  nothing. A cohort has at most one row, so `WHERE cohort_id = %s` alone finds the newest at any time.
- `snapshot_date` and `snapshot_hour` are those of the newest hour, from whose end the figures are shown; `updated_at`
  is the `as_of` of the figures. They differ if too few members have changed for new figures ([G9.3](rules.md#g9-3)).
- `cohort_id` is text: cast a parameter of the type uuid, `WHERE cohort_id = %s::text`.
- The heat map and the slowest n-grams are in the order of `decaying_average_ms DESC, ngram_text COLLATE "C"`."""

_RIGHTS = """\
## Rights

The user of the address needs the right to create temporary tables, which everyone has unless it was revoked, and
either to create the tables once or to write tables that were created with the statements above:

```sql
GRANT TEMPORARY ON DATABASE app TO ghost_writer;
GRANT USAGE, CREATE ON SCHEMA public TO ghost_writer;          -- to create them; or, if they exist:
GRANT SELECT, INSERT, UPDATE, DELETE
    ON ghost_benchmarks, cohort_ghost_data, ngram_speed_summaries, ghost_table_info, ghost_publication TO ghost_writer;
GRANT SELECT ON ghost_benchmarks, cohort_ghost_data, ngram_speed_summaries TO app;   -- for readers
```

`ghost-pipeline doctor` connects, and reports missing rights, the `as_of` of each table, and tables that hold another
publication than `ghost.duckdb`.

## Existing tables

An existing table is accepted if it has the columns; types may differ as far as PostgreSQL converts the rows to them.
The specification's own statements therefore work if every id of a cohort is a UUID and every figure fits. A table is
refused, and nothing changes, if

- it is a view, lacks a column, or has a column of its own that needs a value and has no default;
- it has rows that no publication has written, because they would be deleted. Empty it, or name another schema.

The next publication removes rows that another program writes into a published table. Turn off the specification's own
jobs that seed benchmarks and update cohorts: publications replace them. With foreign keys to `users`, a person who was
deleted there but not erased here stops the publication; erase here first.

## Failures

The run fails with one line, in Dagster at the step `published_postgres`, and nothing in PostgreSQL changes.
`ghost.duckdb` is nevertheless the new one, and `ghost-pipeline status` says that they differ. The next run repairs, and
so does `ghost-pipeline publish`, because it compares everything. This covers a lost
connection, a constraint of the application, a full disk, and a lock that is held for 600 s.

An advisory lock makes publications follow one another, and each reads `ghost.duckdb` when it has the lock: the last
one to write is the newest. A data folder whose newest hour is older than the published one is refused, because two
folders that publish to one schema would undo each other.

## Erased people

The next publication deletes rows that are no longer in `ghost.duckdb`, so an erased person is then gone from
`ngram_speed_summaries`. A deleted row remains in the server's files until VACUUM has processed the table, in the
write-ahead log until that is recycled, and in backups as long as they are kept: run `VACUUM ngram_speed_summaries`
after an erasure for the first of these.

An id with a NUL character, which PostgreSQL's text cannot hold, is left out with its row; the check `coverage` of the
asset counts such rows and warns."""


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
    yield "## Statements"
    yield ""
    yield "Every table and column also gets a comment, which `\\d+` of psql shows."
    for table in (*SPECIFIED_TABLES.values(), *OWN_TABLES):
        yield from _table(table)
    yield ""
    yield "## Differences from the specification"
    yield ""
    yield "Names, columns, defaults, nullability and indexes are the specification's. These differ, because its DDL"
    yield "cannot hold every row:"
    yield ""
    yield "| table | part | specification | here | reason |"
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
    yield table.description
    yield ""
    yield "```sql"
    yield from (f"{statement};" for statement in table.ddl() if not statement.startswith("COMMENT"))
    yield "```"
    where = [f"- `{one.name}`: {one.description}." for one in table.columns if one.description]
    if where:
        yield ""
        yield from where
