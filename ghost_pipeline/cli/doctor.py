"""The checks of `ghost-pipeline doctor`: settings, source, storage and built tables, each finding with a remedy.

What surrounds them, from Dagster's records to the clock, is checked in `surroundings`.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime

import polars as pl

from ghost_pipeline.cli.findings import Finding, Verdict
from ghost_pipeline.cli.suggestions import unknown_settings
from ghost_pipeline.cli.surroundings import surroundings
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.retention import require_removable
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.errors import GhostError, without_values
from ghost_pipeline.ingest.validation import REASON, ROW, line_file_of, line_of, read_rows, source_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.object_storage import is_of_storage
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, tombstones
from ghost_pipeline.publish.database_file import PublishedFile
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.history_damage import history_faults
from ghost_pipeline.publish.postgres_copy import published_state
from ghost_pipeline.publish.publication_parts import file_differences, published_name
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.bucket_files import storage_error
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import LINE, LINE_FILE, Source, TableSample, domains, not_read

LOW_SPACE = 1 << 30
REASONS_SHOWN = 3
ROWS_SHOWN = 2
LONGEST_VALUE = 40
PROBE = ".doctor"
"""A file that is written, read and removed to test the storage."""


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Check everything that a run needs; only a test file is written, and removed again."""
    unknown = unknown_settings(os.environ)
    for name, meant in unknown.items():
        yield Finding(Verdict.LOOK, "settings", f"{name}: no such setting{meant or '. For another tool?'}")
    try:
        require_removable(settings.retention)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "settings", str(error))
    else:
        if not unknown:
            yield Finding(Verdict.OK, "settings", "all valid; `ghost-pipeline settings` lists them")
    yield from _source(settings)
    yield from _storage(settings)
    yield from _lake(settings)
    yield from _erased(settings)
    yield from _published(settings)
    yield from _postgres(settings)
    yield from surroundings(settings)


def _source(settings: Settings) -> Iterator[Finding]:
    try:
        source = open_source(settings.source, settings.source_mapping)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "source", str(error))
        return
    with closing(source):
        try:
            present, tables = domains(source), source.tables()
        except GhostError as error:
            yield Finding(Verdict.WRONG, "source", str(error))
            return
        names = " and ".join(sorted(domain.value for domain in present))
        yield Finding(Verdict.OK, "source", f"{source.name}: {names} data")
        for name in SOURCE_TABLES:
            if name in tables:
                yield from _source_table(source, SOURCE_TABLES[name], settings.max_task_minutes)
            elif SOURCE_TABLES[name].domain in present:
                alike = source.lookalikes(SOURCE_TABLES[name])
                verdict = Verdict.LOOK if alike else Verdict.OK
                yield Finding(verdict, name, f"missing, but optional{not_read(alike)}")


def _source_table(source: Source, table: SourceTable, max_task_minutes: int) -> Iterator[Finding]:
    """Describe a table, some of its rows, and the first that would be rejected."""
    try:
        sample = source.inspect(table)
        rows = read_rows(sample.rows, table, max_task_minutes)
        lines = line_of(rows).alias(LINE), line_file_of(rows).alias(LINE_FILE)
        shown = rows.select(REASON, *lines, source_rows(rows, table).alias(ROW))
        reasons, first, rejected = pl.collect_all(
            [
                rows.group_by(REASON).len().sort("len", REASON, descending=[True, False]),
                shown.head(ROWS_SHOWN),
                shown.filter(pl.col(REASON).is_not_null()).head(REASONS_SHOWN),
            ]
        )
    except GhostError as error:
        yield Finding(Verdict.WRONG, table.name, str(error))
        return
    except (pl.exceptions.PolarsError, OSError) as error:
        if is_of_storage(error):
            yield Finding(Verdict.WRONG, table.name, str(storage_error(source.name, error)))
            return
        if not isinstance(error, pl.exceptions.PolarsError | FileNotFoundError):
            raise
        yield Finding(Verdict.WRONG, table.name, f"cannot be read ({without_values(error)}). Write it again")
        return
    yield Finding(Verdict.OK, f"{table.name} columns", _columns(sample, table))
    for note in sample.notes:
        yield Finding(Verdict.OK, f"{table.name} files", note)
    yield _counted(table, sample, reasons)
    types = sample.rows.collect_schema()
    for row in first[ROW]:
        yield Finding(Verdict.OK, f"{table.name} row", _shown(row, types, sample))
    for reason, line, file, row in rejected.select(REASON, LINE, LINE_FILE, ROW).iter_rows():
        where = _shown(row, types, sample) if line is None else f"line {line:,}{f' of {file}' if file else ''}"
        yield Finding(Verdict.LOOK, f"{table.name} rejected", f"{reason}: {where}")


def _columns(sample: TableSample, table: SourceTable) -> str:
    found = [name if own == name else f"{name} (from {own})" for name, own in sample.columns.items()]
    absent = [column.name for column in table.columns if column.name not in sample.columns]
    lacking = f"; missing, but optional: {', '.join(absent)}" if absent else ""
    return f"{sample.origin}: {', '.join(found)}{lacking}"


def _counted(table: SourceTable, sample: TableSample, reasons: pl.DataFrame) -> Finding:
    rejected = reasons.drop_nulls()
    read, bad = int(reasons["len"].sum()), int(rejected["len"].sum())
    rows = (
        f"{read:,} row{'' if read == 1 else 's'}"
        if sample.beyond is None
        else f"{sample.beyond}; of the first {read:,}"
    )
    if rejected.is_empty():
        return Finding(Verdict.OK, table.name, f"{rows}, all readable")
    shown = ", ".join(f"{number} x {reason}" for reason, number in rejected.head(REASONS_SHOWN).iter_rows())
    return Finding(
        Verdict.LOOK,
        table.name,
        f"{rows}; {bad:,} would be rejected ({shown}). Correct them in the source, or leave them: the other rows are "
        f"ingested",
    )


def _shown(row: Mapping[str, object], types: Mapping[str, pl.DataType], sample: TableSample) -> str:
    """Show the canonical columns of a row, personal ones by their type alone."""
    return ", ".join(
        f"{name} {types[name]}" if name in PERSONAL_COLUMNS and row[name] is not None else f"{name} {_value(row[name])}"
        for name in sample.columns
    )


def _value(value: object) -> str:
    # Escaped, so that no value moves the cursor.
    text = "null" if value is None else repr(str(value))[1:-1]
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _storage(settings: Settings) -> Iterator[Finding]:
    try:
        files = open_files(settings.place)
        with files.replacing([PROBE]) as staging:
            staging.put(PROBE, PROBE.encode())
        (copy,) = files.fresh([PROBE])
        as_written = copy.read_bytes() == PROBE.encode()
        files.remove(PROBE)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "storage", str(error))
        return
    if not as_written:
        yield Finding(
            Verdict.WRONG, "storage", f"{settings.data}: a test file reads back differently. Check the storage"
        )
        return
    free = shutil.disk_usage(settings.local).free
    verdict = Verdict.OK if free >= LOW_SPACE else Verdict.LOOK
    beside = "" if settings.data == settings.local else f" in {settings.local}"
    yield Finding(verdict, "storage", f"{settings.data} is writable, {free / (1 << 30):.1f} GiB free{beside}")


def _lake(settings: Settings) -> Iterator[Finding]:
    try:
        lake = Lake(settings.lake)
        is_empty = lake.is_empty
    except GhostError as error:
        yield Finding(Verdict.WRONG, "lake", str(error))
        return
    if is_empty:
        yield Finding(
            Verdict.LOOK,
            "lake",
            "empty. Run `ghost-pipeline materialize --as-of ...`, or `ghost-pipeline demo`",
        )
        return
    for contract in CONTRACTS.values():
        try:
            lake.require_sound([contract])
        except GhostError as error:
            yield Finding(Verdict.WRONG, f"lake.{contract.name}", str(error))
            continue
        if contract.partitioning is not Partitioning.EVENT_HOUR:
            continue
        hours = lake.hours(contract)
        complete = lake.complete_until(contract)
        if complete is None:
            continue
        if complete == hours[-1].as_of:
            yield Finding(
                Verdict.OK,
                f"lake.{contract.name}",
                f"{len(hours):,} hours, {hours[0].key} to {hours[-1].key}",
            )
        else:
            yield Finding(
                Verdict.WRONG,
                f"lake.{contract.name}",
                f"the hour {complete:%Y-%m-%d-%H:%M} is missing. Materialize the newest hour again: it fills gaps",
            )


def _erased(settings: Settings) -> Iterator[Finding]:
    """Check that erased people are kept out; nothing if no one was erased."""
    try:
        known = tombstones(Lake(settings.lake), settings)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "erased people", str(error))
        return
    if known is not NO_TOMBSTONES:
        ids = len(known.hashes)
        yield Finding(Verdict.OK, "erased people", f"{ids:,} ids are kept out, and the erasure key matches them")


def _published(settings: Settings) -> Iterator[Finding]:
    try:
        found = PublishedFile(settings.database).found()
        if found is None:
            yield Finding(Verdict.LOOK, "published", f"{settings.database} does not exist yet; every run publishes it")
            return
        tables = PublishedDatabase.open(settings.database).table_info()
        different = list(file_differences(settings))
        faults = history_faults(found.path, open_files(settings.place))
    except GhostError as error:
        yield Finding(Verdict.WRONG, "published", str(error))
        return
    newest = tables["as_of"].max()
    if not isinstance(newest, datetime):
        yield Finding(
            Verdict.LOOK, "published", f"{settings.database}: {tables.height} tables, all empty; every run fills it"
        )
    elif not found.fault:
        yield Finding(
            Verdict.OK,
            "published",
            f"{settings.database}: {tables.height} tables, newest as of {newest:%Y-%m-%dT%H:%MZ}",
        )
    for one in different:
        yield Finding(Verdict.WRONG, "published", one)
    yield from _client_files(settings)
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        yield Finding(Verdict.WRONG, "history", f"{faults[0]}{more}. Run `ghost-pipeline publish`: it writes them")


def _client_files(settings: Settings) -> Iterator[Finding]:
    """Tell of what another client has left beside the published file, or writes at this moment."""
    published = settings.local / settings.database.name
    for left in (published.with_name(f"{published.name}{end}") for end in (".wal", ".tmp")):
        if left.exists():
            yield Finding(
                Verdict.LOOK,
                "published",
                f"{left}: another program opened the file for writing. Our readers are not affected; others are, until "
                f"it ends and `ghost-pipeline publish` has run",
            )


def _postgres(settings: Settings) -> Iterator[Finding]:
    """Check what is published in the application's PostgreSQL, and whether the next run could publish there."""
    if not settings.publish_postgres:
        return
    try:
        there = published_state(settings.publish_postgres)
    except GhostError as error:
        yield Finding(Verdict.WRONG, "published_postgres", str(error))
        return
    for fault in there.faults:
        yield Finding(Verdict.WRONG, "published_postgres", fault)
    if there.faults:
        return
    if not there.as_of:
        yield Finding(
            Verdict.LOOK, "published_postgres", f"{there.name}: nothing has been published yet; every run publishes"
        )
        return
    try:
        different = there.difference_from(published_name(settings.database))
    except GhostError:
        # Told above.
        different = None
    if different:
        yield Finding(Verdict.WRONG, "published_postgres", different)
        return
    tables = ", ".join(f"{table} {_state(as_of)}" for table, as_of in sorted(there.as_of.items()))
    yield Finding(Verdict.OK, "published_postgres", f"{there.name}: can be written; {tables}")


def _state(as_of: datetime | None) -> str:
    return f"as of {as_of:%Y-%m-%dT%H:%MZ}" if as_of else "empty"
