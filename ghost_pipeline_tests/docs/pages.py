"""The pages of `docs/` that are written from code; `make docs` writes them and a test compares."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.demo_source.generated import generate_source
from ghost_pipeline.demo_source.landmarks import DEMO_AS_OF
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.bad_input import (
    BAD_FILES,
    BAD_FOLDERS,
    BAD_INPUTS,
    BAD_LINES,
    OPTIONAL_VALUES,
    SPELLINGS,
    OptionalValue,
)
from ghost_pipeline_tests.docs.data_quality import data_quality_page
from ghost_pipeline_tests.docs.messages import messages_page
from ghost_pipeline_tests.docs.opening_messages import opening_messages_page
from ghost_pipeline_tests.docs.postgres_tables_page import postgres_tables_page
from ghost_pipeline_tests.docs.reading_page import reading_page
from ghost_pipeline_tests.docs.tables_page import GENERATED, source_page, tables_page
from ghost_pipeline_tests.serving.worlds import materialize

DOCS = Path(__file__).parent.parent.parent / "docs"


_ELSEWHERE = (
    ("a DuckDB file that another process has open for writing", "another process has the file open for writing"),
    ("a bucket that is not there", "cannot be read (the bucket does not exist). Create it, or correct GHOST_SOURCE"),
    ("a bucket that the credentials may not read", "cannot be read (access is denied). Let these credentials list"),
    ("a bucket that cannot be reached", "cannot be read (<host> cannot be reached). Look at AWS_ENDPOINT_URL"),
    ("an object that is replaced while it is read", "was replaced while it was read. Nothing was written. Run again"),
    ("an object that is removed while it is read", "was removed while the source was read"),
)
"""Faults of databases and buckets, which their own tests cause, and what is said."""


def bad_input_page() -> str:
    """The page: what happens to each kind of bad input."""
    return "\n".join(_bad_input_page())


def _bad_input_page() -> Iterator[str]:
    yield "# Bad input"
    yield ""
    yield GENERATED.replace("the contracts; change those", "the list that the tests run")
    yield ""
    yield "## Bad rows"
    yield ""
    yield "A bad row goes to `rejected_rows` with its table, the reason and the row itself as JSON; the good rows of"
    yield "the same file are processed."
    yield ""
    yield "| input | table | reason |"
    yield "|---|---|---|"
    for bad in BAD_INPUTS:
        yield f"| {bad.kind} | `{bad.table}` | {bad.reason} |"
    yield "| an id that occurs twice | every table with an id except `user_progress` | … stands more than once |"
    yield "| the same `progress_id` twice | `user_progress` | none: one event (the earliest, then fewest minutes) |"
    yield "| an unknown time zone | `users` | none: read as UTC, counted in `user_ghost_stats` |"
    yield "| a cohort that `cohorts` lacks | `users` | none: it has its row, counted in `cohort_ghost_data` |"
    yield "| a date that the user's zone skipped, as 2011-12-30 in Apia | `user_progress` | none: breaks no streak |"
    yield "| é as e and U+0301 | `session_ngram_speed` and others | none: composed, as in filters (Unicode NFC) |"
    yield "| an event before its user's journey | `user_progress` | none: not counted, a finding |"
    yield "| a session on an unknown keyboard | `practice_sessions` | none: summarised with the default target |"
    yield "| a pause of an hour or more within a session | `session_keystrokes` | none: measured, a finding |"
    yield "| a key sent by its name, such as Backspace | `session_keystrokes` | none: measured, a finding; map it |"
    yield "| a key that deletes a word | `session_keystrokes` | none: measured as one character, a finding |"
    yield ""
    yield from _spellings()
    yield "## Bad lines"
    yield ""
    yield 'A line of a CSV or NDJSON file that holds no row goes to `rejected_rows` with its number, as `{"line":17}`;'
    yield "its content stays in the file alone. Lines before and after it are read. Blank lines are skipped."
    yield ""
    yield "| line | file | reason |"
    yield "|---|---|---|"
    for line in BAD_LINES:
        yield f"| {line.kind} | .{line.form} | {line.reason} |"
    yield ""
    yield from _bad_files()


def _spellings() -> Iterator[str]:
    yield "## Spellings of one value"
    yield ""
    yield "An id is the same whatever file it stands in. In an optional column, what is missing here is null."
    yield ""
    yield "| id | file | read as |"
    yield "|---|---|---|"
    for one in SPELLINGS:
        result = f"`{one.id}`" if one.id else f"rejected: {one.reason}"
        yield f"| {one.kind} | .{one.file.partition('.')[2]} | {result} |"
    yield ""
    yield "## Missing values"
    yield ""
    yield "What stands for a missing value in an optional column of `users`, and what only looks like it."
    yield ""
    yield "| written | file | column | read as |"
    yield "|---|---|---|---|"
    for value in OPTIONAL_VALUES:
        yield f"| {value.kind} | .{value.file.partition('.')[2]} | `{value.column}` | {_shown(value)} |"
    yield "| `0000-00-00` | MySQL | `final_band_at` | null |"
    yield "| `0000-00-00` | MySQL | `created_at`, required | rejected: created_at is not a time |"
    yield ""


def _shown(value: OptionalValue) -> str:
    if value.reason:
        return f"rejected: {value.reason}"
    shown = f"{value.value:%Y-%m-%dT%H:%MZ}" if isinstance(value.value, datetime) else value.value
    return "null" if shown is None else f"`{shown}`"


def _bad_files() -> Iterator[str]:
    yield "## Bad files"
    yield ""
    yield "The run stops with exit code 1 and one line on stderr that names file, table and remedy; what was"
    yield "published stays."
    yield ""
    yield "| input | message |"
    yield "|---|---|"
    for file in BAD_FILES:
        yield f"| {file.kind} | `{file.file}: {file.says} …` |"
    for folder in BAD_FOLDERS:
        yield f"| {folder.kind} | `{'mapping <file>: ' if folder.mapping else ''}{folder.says} …` |"
    yield "| a required table is missing | `source <folder>: table users is missing, which the ghost domain needs …` |"
    yield "| two files for one table | `source <folder>: table users exists more than once (users.parquet, …) …` |"
    yield "| a policy of PostgreSQL that would hide rows | `… query would be affected by row-level security policy …` |"
    for kind, says in _ELSEWHERE:
        yield f"| {kind} | `… {says} …` |"
    yield "| an address in another form | shown as `…`, with the form to use, so that no password is shown |"
    yield ""
    yield "Files below names that begin with `_` or `.` are no data: they are skipped, and `doctor` counts them."
    yield "A folder called `users.parquet` is the table `users`."
    yield ""


PAGES = {
    "tables.md": tables_page,
    "source.md": source_page,
    "postgres_tables.md": postgres_tables_page,
    "bad_input.md": bad_input_page,
    "messages.md": messages_page,
    "data_quality.md": data_quality_page,
    "reading.md": reading_page,
}


def publish_demo(data: Path) -> Settings:
    """Materialize and publish the ghost domain of the demo."""
    generate_source(data / "source", as_of=DEMO_AS_OF)
    settings = Settings.load(source=str(data / "source"), data=data)
    materialize(settings, DEMO_AS_OF, domains={Domain.GHOST})
    return settings


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        page_of_demo = opening_messages_page(publish_demo(Path(folder)))
    (DOCS / "opening_messages.md").write_text(page_of_demo, encoding="utf-8")
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
