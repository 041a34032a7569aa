"""Ingesting rows of practice sessions: they belong to the hour in which their session started (N1.3)."""

from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, SOURCE_PRACTICE_SESSIONS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.ingest.deletion_guard import identity_columns, require_rows_stay
from ghost_pipeline.ingest.event_hours import keeping_old_rows, write_events
from ghost_pipeline.ingest.people import known_users, reject_unknown_users, set_aside_erased_people
from ghost_pipeline.ingest.read_policy import ReadPolicy, range_end, source_from
from ghost_pipeline.ingest.rejects import write_rejects
from ghost_pipeline.ingest.result import NOT_IN_SOURCE, IngestResult
from ghost_pipeline.ingest.source_rows import (
    PLACED_AT,
    ReadRows,
    collect_window,
    is_absent,
    is_in_source,
    read_nothing,
    read_table,
    reading,
    start_of_late_rows,
)
from ghost_pipeline.ingest.validation import (
    ERASED,
    REASON,
    good_rows,
    reject_repeats,
    reject_unknown,
    set_aside_erased,
)
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones
from ghost_pipeline.sources.source import Source, Window
from ghost_pipeline.windows import Hour


def read_session_rows(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    start: datetime | None,
    hour: Hour,
    erased: Tombstones = NO_TOMBSTONES,
) -> ReadRows:
    """Read the rows of practice sessions that started in [start, end of `hour`).

    Rows of an older session that are missing in `contract`, the table that keeps them, are late: then from that
    session on.
    """
    window = Window(start, hour.as_of)
    with reading(source, table, lake):
        # Without rows of its own a table needs no session: reading all of them every hour would cost the history.
        absent = is_absent(source, table)
        read = (
            read_nothing(SOURCE_PRACTICE_SESSIONS) if absent else read_table(source, SOURCE_PRACTICE_SESSIONS, window)
        )
        read = reject_unknown_users(read, SOURCE_PRACTICE_SESSIONS, known_users(lake).lazy(), erased)
        sessions = good_rows(read).select("session_id")
        starts = lake.scan(PRACTICE_SESSIONS, [] if absent else None).select(
            "session_id", pl.col("start_time").alias(PLACED_AT)
        )
        starts = starts.collect().lazy()
        known_ids = pl.concat([sessions, starts.select("session_id")])
        rows = reject_unknown(read_table(source, table, window), "session_id", known_ids, "practice session")
        if erased is not NO_TOMBSTONES:
            # Also of sessions that were never taken in, because their typist was erased before.
            of_erased = read.filter(pl.col(REASON) == ERASED).select(pl.col("session_id").drop_nulls().unique())
            personal_ids = of_erased.collect().to_series().implode()
            rows = set_aside_erased(rows, pl.col(REASON).is_not_null() & pl.col("session_id").is_in(personal_ids))
            rows = set_aside_erased_people(rows, known_ids, ["session_id"], erased)
        if table.key:
            rows = reject_repeats(rows, table, ())
        # A good session that the lake lacks starts at the end of the window or later; its rows, good or not, wait for
        # its hour.
        rows = rows.join(sessions.join(starts, on="session_id", how="anti"), on="session_id", how="anti")
        rows = rows.join(starts, on="session_id", how="left", maintain_order="left")
        if table.name == contract.name and not absent:
            start = start_of_late_rows(source, lake, contract, rows, start, ["session_id"])
        return collect_window(rows, table, start, hour.as_of)


def ingest_session_rows(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    hour: Hour,
    policy: ReadPolicy,
    erased: Tombstones = NO_TOMBSTONES,
) -> IngestResult:
    """Write the rows of practice sessions, up to the end of `hour`, to the lake.

    Raises:
        SourceError: the table cannot be read, or too many of its rows are gone; nothing was written.

    """
    if not is_in_source(source, lake, table, contract):
        return NOT_IN_SOURCE
    start, hour = source_from(lake, contract, hour, policy), range_end(lake, contract, hour)
    found = read_session_rows(source, lake, table, contract, start, hour, erased)
    good = found.good.sort(PLACED_AT, *table.key)
    hours = {*lake.hours_between(contract, found.start, hour.as_of)}
    hours |= set(map(Hour.containing, good[PLACED_AT].dt.truncate("1h").unique()))
    floor = policy.replaces_from(lake, contract, hour)
    newer = good.filter(pl.col(PLACED_AT) >= floor).select(identity_columns(contract))
    old = [one for one in lake.written(contract, sorted(hours)) if one.start < floor]
    rows = keeping_old_rows(lake, contract, old, floor, good, newer)

    def require_rows(existing: list[Hour], rows: pl.DataFrame) -> None:
        require_rows_stay(lake, contract, existing, rows, found.rejected_ids, policy)

    changed = write_events(lake, contract, hour, hours, [(sorted(hours), rows)], policy, require_rows)
    write_rejects(lake, table, found.start, hour, found.rejected, whole=start is None or not source.reads_windows)
    return IngestResult(good.height, found.rejected.height, changed=changed, erased=found.erased)
