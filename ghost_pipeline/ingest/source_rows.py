"""Reading the rows of a source table for a window of time, validated but not yet written.

A good row that is older than the window and missing in the lake is late: the window then starts at its hour. How far
back a window reaches otherwise is in `read_policy`, and how one value is read is in `validation`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.ingest.deletion_guard import identity_columns
from ghost_pipeline.ingest.session_ledger import SessionLedger
from ghost_pipeline.ingest.validation import ERASED, REASON, good_rows, read_rows, rejected_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.local_files import SHARD_FILE
from ghost_pipeline.object_storage import is_of_storage
from ghost_pipeline.sources.bucket_files import storage_error
from ghost_pipeline.sources.source import Source, Window, domains
from ghost_pipeline.windows import Hour

PLACED_AT = "_start"
"""The column with the instant that places a row in its hour."""


@dataclass(frozen=True)
class ReadRows:
    """Rows of a source table that were read for a window."""

    good: pl.DataFrame
    """Columns of the contract and, if the table has one, the instant that places a row as `PLACED_AT`."""
    rejected: pl.DataFrame
    """In the shape of `rejected_rows`."""
    rejected_ids: pl.DataFrame
    """`identity_columns` and `_reason` of the rejected rows."""
    sessions: pl.DataFrame
    """`session_id` of every row read, good or not, if the table has one."""
    start: datetime | None
    """The start of the rows read; None: the beginning."""
    erased: int
    """Rows of erased people; they are in neither frame."""
    ledger: SessionLedger | None = None
    """What is known once these rows are in the lake, if the source's parts are known and the table has a session."""
    files_read: int = 0
    files_skipped: int = 0


@contextmanager
def reading(source: Source, table: SourceTable, lake: Lake) -> Iterator[None]:
    """Turn an engine's error about a file or object into one line that names source and table.

    Raises:
        SourceError: the rows cannot be read.
        LakeError: the damaged file is one of the lake.

    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        # Another run has removed a file of the lake; the step then looks again.
        if isinstance(error, FileNotFoundError) and SHARD_FILE in str(error):
            raise
        if is_of_storage(error):
            raise storage_error(f"{source.name}: table {table.name}", error) from None
        if isinstance(error, FileNotFoundError):
            raise SourceError(
                f"{source.name}: table {table.name} has lost a file while it was read. Let exports put files in place "
                f"by a rename, and run again",
            ) from None
        if isinstance(error, OSError):
            raise
        source.require_unreplaced(table)
        lake.require_sound(RAW_CONTRACTS.values())
        # Nor as its cause: Dagster keeps that, too.
        raise SourceError(
            f"{source.name}: table {table.name} cannot be read ({without_values(error)}). A file of it is damaged, or "
            f"its files differ in their column types: write them again, and run again",
        ) from None


def read_table(
    source: Source, table: SourceTable, window: Window | None = None, max_task_minutes: int | None = None
) -> pl.LazyFrame:
    """Read and validate the rows of a table, at least those of the window; none if the source lacks the table."""
    rows = _no_rows(table) if is_absent(source, table) else source.scan(table, window)
    return read_rows(rows, table, max_task_minutes)


def read_nothing(table: SourceTable) -> pl.LazyFrame:
    """Return what `read_table` gives of a table without rows."""
    return read_rows(_no_rows(table), table)


def _no_rows(table: SourceTable) -> pl.LazyFrame:
    return pl.LazyFrame(schema={column.name: pl.String for column in table.columns})


def is_in_source(source: Source, lake: Lake, table: SourceTable, contract: Contract) -> bool:
    """Return whether the source has the table.

    Raises:
        SourceError: it does not, and the lake has rows of it: a failed export, not an empty table.

    """
    if not is_absent(source, table):
        return True
    require_no_rows(source, table, lake.scan(contract))
    return False


def require_no_rows(source: Source, table: SourceTable, kept: pl.LazyFrame) -> None:
    """Refuse to treat a table that the source no longer has as one without rows.

    Raises:
        SourceError: the lake keeps rows of it.

    """
    if is_absent(source, table) and kept.head(1).collect().height:
        raise SourceError(
            f"{source.name}: table {table.name} is missing, and the lake has rows of it. Bring it back; if it is "
            f"gone for good, write it without rows",
        )


def is_absent(source: Source, table: SourceTable) -> bool:
    """Return whether the source lacks a table, or the domain that it belongs to."""
    if table.domain is not None and table.domain not in domains(source):
        return True
    return not table.required and table.name not in source.tables()


def start_of_late_rows(
    source: Source, lake: Lake, contract: Contract, rows: pl.LazyFrame, start: datetime | None, identity: list[str]
) -> datetime | None:
    """Return `start`, or the hour of the earliest good row before it that the lake lacks: it enters at once (G1.8).

    The same holds for a row that the lake has at another time. A source that leaves out older rows shows neither.
    """
    if start is None or source.reads_windows:
        return start
    before = pl.col(PLACED_AT) < pl.lit(start, pl.Datetime("us", "UTC"))
    time = SOURCE_TABLES[contract.name].time
    late = good_rows(rows).filter(before).select(*identity, pl.col(PLACED_AT).alias("_late"))
    # Of a session's rows one is enough, and the others are never in memory together.
    late = late.unique().collect(engine="streaming").lazy()
    if time is None:
        # Nearly always the lake has them in their hours, and the others are not read.
        places = map(Hour.containing, late.select(pl.col("_late").unique()).collect().to_series())
        late = (
            late.join(lake.scan(contract, lake.written(contract, {*places})), on=identity, how="anti").collect().lazy()
        )
        if late.collect().is_empty():
            return start
    older = [hour for hour in lake.hours(contract) if hour.start < start]
    in_lake = lake.scan(contract, older).select(identity).unique()
    found = [late.join(in_lake, on=identity, how="anti").select(pl.col("_late").min())]
    if time:
        key = list(SOURCE_TABLES[contract.name].key)
        moved = in_lake.join(good_rows(rows).select(*key, _now=pl.col(PLACED_AT)), on=key, how="inner")
        found.append(moved.filter(pl.col("_now") != pl.col(time)).select(pl.col(time).min()))
    instants = [frame.item() for frame in pl.collect_all(found)]
    earliest = min((one for one in instants if isinstance(one, datetime)), default=start)
    return min(Hour.containing(earliest).start, start)


def collect_window(rows: pl.LazyFrame, table: SourceTable, start: datetime | None, as_of: datetime) -> ReadRows:
    """Collect the rows of [start, as_of), good and rejected, and the rejected ones without a readable time."""
    placed = pl.col(PLACED_AT)
    in_window = placed < pl.lit(as_of, pl.Datetime("us", "UTC"))
    if start is not None:
        in_window &= placed >= pl.lit(start, pl.Datetime("us", "UTC"))
    here = in_window | placed.is_null()
    good, rejected, rejected_ids, sessions, erased = pl.collect_all(
        [
            good_rows(rows.filter(in_window)),
            rejected_rows(rows.filter(here, pl.col(REASON).is_not_null()), table, placed),
            rows.filter(here, pl.col(REASON).is_not_null()).select(*identity_columns(table.contract), REASON),
            rows.filter(in_window).select(pl.col("session_id").unique())
            if table.of_session
            else pl.LazyFrame(schema={"session_id": pl.String}),
            erased_rows(rows.filter(here)),
        ]
    )
    return ReadRows(good, rejected, rejected_ids, sessions, start, erased.height)


def erased_rows(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the reasons of rows of erased people, one row for each."""
    return rows.filter(pl.col(REASON) == ERASED).select(REASON)
