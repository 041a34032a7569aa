"""Ingesting events: rows that carry their own time."""

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SOURCE_USER_PROGRESS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.ingest.event_hours import write_events
from ghost_pipeline.ingest.people import reject_unknown_users
from ghost_pipeline.ingest.read_policy import ReadPolicy, range_end, source_from
from ghost_pipeline.ingest.rejects import write_rejects
from ghost_pipeline.ingest.result import NOT_IN_SOURCE, IngestResult
from ghost_pipeline.ingest.source_rows import (
    PLACED_AT,
    collect_window,
    is_in_source,
    read_table,
    reading,
    start_of_late_rows,
)
from ghost_pipeline.ingest.validation import REASON, good_rows, merge_repeated_events, reject_repeats
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones
from ghost_pipeline.sources.source import Source, Window
from ghost_pipeline.windows import Hour


def ingest_events(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    hour: Hour,
    policy: ReadPolicy,
    erased: Tombstones = NO_TOMBSTONES,
) -> IngestResult:
    """Write the events of a table, up to the end of `hour`, to the lake.

    Raises:
        SourceError: the table cannot be read, or too many of its rows are gone; nothing was written.

    """
    if not is_in_source(source, lake, table, contract):
        return NOT_IN_SOURCE
    start, hour = source_from(lake, contract, hour, policy), range_end(lake, contract, hour)
    placed = pl.col(str(table.time)).alias(PLACED_AT)
    with reading(source, table, lake):
        read = read_table(source, table, Window(start, hour.as_of), policy.max_task_minutes)
        rows = reject_unknown_users(read, table, lake, erased).with_columns(placed)
        # Before the window is cut out: the choice between two rows must not depend on how far a run reads back.
        rows, merged = _without_repeats(rows, table, hour)
        start = start_of_late_rows(source, lake, contract, rows, start, [*table.key, str(table.time)])
        found = collect_window(rows, table, start, hour.as_of)
    good = found.good.sort(str(table.time), *table.key)
    changed = write_events(lake, contract, hour, start, good, found.rejected_ids, policy)
    write_rejects(lake, table, start, hour, found.rejected)
    return IngestResult(good.height, found.rejected.height, merged, changed, found.erased)


def _without_repeats(rows: pl.LazyFrame, table: SourceTable, hour: Hour) -> tuple[pl.LazyFrame, int]:
    """Return one row of each key and how many were merged: repeated tasks are merged, other repeats rejected."""
    if table is not SOURCE_USER_PROGRESS:
        return reject_repeats(rows, table, ()), 0
    in_time = pl.col(PLACED_AT) < pl.lit(hour.as_of, pl.Datetime("us", "UTC"))
    good = good_rows(rows).filter(in_time).collect()
    merged = merge_repeated_events(good.lazy()).collect()
    bad = rows.filter(pl.col(REASON).is_not_null())
    return pl.concat([merged.lazy(), bad], how="diagonal_relaxed"), good.height - merged.height
