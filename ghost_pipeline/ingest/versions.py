"""Ingesting versions: the changes of users, cohorts and keyboards that an hourly run sees (G1.7)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import REJECTED_ROWS, USERS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import (
    INSTANT,
    UPDATED_AT,
    changed_rows,
    preceding,
    unlike_newest,
    with_added,
)
from ghost_pipeline.incremental.activity_history import activity_lock
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.dependents import VERSION_COLUMNS
from ghost_pipeline.ingest.part_ledger import WAITING, PartLedger, forget_ledger, load_ledger, read_as, save_ledger
from ghost_pipeline.ingest.people import known_users, refers_to_users, reject_unknown_users
from ghost_pipeline.ingest.result import NOT_IN_SOURCE, IngestResult, OnRows, silent
from ghost_pipeline.ingest.source_rows import is_in_source, read_table, reading
from ghost_pipeline.ingest.validation import ERASED, REASON, good_rows, reject_repeats, rejected_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.privacy.personal_columns import USER
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones
from ghost_pipeline.sources.source import Source
from ghost_pipeline.windows import FIRST_INSTANT, HOUR, Hour


def ingest_versions(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    hour: Hour,
    erased: Tombstones = NO_TOMBSTONES,
    on_rows: OnRows = silent,
) -> IngestResult:
    """Write the versions that the run of `hour` sees for the first time to the lake.

    Raises:
        SourceError: the table cannot be read; nothing was written.

    """
    if not is_in_source(source, lake, table, contract):
        return NOT_IN_SOURCE
    newest = lake.newest_hour(contract)
    is_newest = newest is None or newest <= hour
    needed = refers_to_users(table) or erased is not NO_TOMBSTONES
    known_ids = known_users(lake) if needed else pl.DataFrame(schema={USER: pl.String})
    with reading(source, table, lake):
        versions, how = source.part_versions(table), read_as(source, table)
        ledger = load_ledger(lake, table.name, how)
        if is_newest and _is_taken_in(lake, contract, ledger, versions, known_ids):
            written = lake.write(contract, hour, lake.scan(contract, [hour]).collect())
            save_ledger(lake, table.name, how, replace(ledger, lake=lake.file_versions_of(contract)))
            rejected = lake.rows(REJECTED_ROWS, Rejects(table.name, None))
            return IngestResult(0, rejected, changed=int(written.changed), files_skipped=len(ledger.versions))
        rows = _read(source, table, known_ids, erased)
        source.require_unreplaced(table)
        on_rows(table.name, rows.height, rows.height)
    (key,) = table.key
    good, before = good_rows(rows.lazy()), lake.scan(contract)
    differing = unlike_newest(good, before, key).collect().lazy()
    added = changed_rows(differing, before, key, hour.as_of, newest=is_newest).collect().lazy()
    partition = with_added(lake.scan(contract, [hour]), added, key).collect()
    rejected_ones = rejected_rows(rows.lazy(), table, pl.lit(None, INSTANT)).collect()
    # The lock is held until what is marked is written: a month that begins to be built in between waits for it.
    with activity_lock(lake):
        _mark_stale(lake, contract, added, key, hour)
        # Also of a source without parts: its rejected rows are not those of the files that the ledger tells of.
        forget_ledger(lake, table.name)
        lake.write(REJECTED_ROWS, Rejects(table.name, None), rejected_ones)
        written = lake.write(contract, hour, partition)
    # The next run may take in what this one leaves, although the source stays as it is.
    others = differing.join(added, on=key, how="anti")
    left = changed_rows(others, lake.scan(contract), key, hour.as_of + HOUR, newest=True).head(1).collect()
    if versions is not None and is_newest and left.is_empty():
        waiting = _waiting(rows, table, known_ids)
        taken_in = PartLedger(dict(versions), waiting=waiting, lake=lake.file_versions_of(contract))
        save_ledger(lake, table.name, how, taken_in)
    is_good = rows[REASON].is_null()
    return IngestResult(
        int(is_good.sum()),
        rejected_ones.height,
        changed=int(written.changed),
        erased=int((rows[REASON] == ERASED).sum()),
        files_read=len(versions or {}),
    )


def _is_taken_in(
    lake: Lake,
    contract: Contract,
    ledger: PartLedger,
    versions: Mapping[str, str] | None,
    known_ids: pl.DataFrame,
) -> bool:
    """Return whether the source, the lake and what the lake knows of users are as they were after the last read."""
    if not ledger.is_known or versions is None or dict(versions) != ledger.versions:
        return False
    if ledger.waiting.height and ledger.waiting.join(known_ids, on=USER, how="semi").height:
        return False
    now = lake.file_versions_of(contract)
    return now.height == ledger.lake.height == now.join(ledger.lake, on=now.columns, how="semi").height


def _read(source: Source, table: SourceTable, known_ids: pl.DataFrame, erased: Tombstones) -> pl.DataFrame:
    newest_first = (UPDATED_AT,) if any(column.name == UPDATED_AT for column in table.columns) else ()
    rows = reject_unknown_users(read_table(source, table), table, known_ids.lazy(), erased)
    return reject_repeats(rows, table, newest_first).collect()


def _waiting(rows: pl.DataFrame, table: SourceTable, known_ids: pl.DataFrame) -> pl.DataFrame:
    """Return the unknown users whose rows were rejected."""
    if not refers_to_users(table):
        return WAITING.to_frame()
    bad = rows.filter(pl.col(REASON).is_not_null(), pl.col(REASON) != ERASED).select(pl.col(USER).drop_nulls().unique())
    unknown = bad.join(known_ids, on=USER, how="anti")
    nowhere = {"part": pl.lit(None, pl.String), "hour": pl.lit(None, INSTANT)}
    return unknown.with_columns(**nowhere).select(WAITING.names())


def _mark_stale(lake: Lake, contract: Contract, added: pl.LazyFrame, key: str, hour: Hour) -> None:
    """Mark snapshots that show a column that an added version changes: from its `valid_from` on.

    A version that begins before all known ones, or that a second look puts in place of the first one, also counts in
    the hours before it: mark from the beginning. For a user that is `created_at`, as for a new user. A new keyboard
    marks nothing: its sessions are most often new, too.
    """
    shown = VERSION_COLUMNS.get(contract.name, ())
    if not shown:
        return
    before = preceding(added, lake.scan(contract), key)
    both = added.join(before, on=key, how="left", suffix="_known")
    is_user = contract is USERS
    created_at = pl.min_horizontal("created_at", "created_at_known") if is_user else pl.lit(FIRST_INSTANT, INSTANT)
    since = (
        pl.when(pl.col("is_first"))
        .then(created_at)
        .when(pl.col("is_first").is_null())
        .then(created_at if is_user else pl.lit(None, INSTANT))
        # An as_of that equals valid_from sees the version, one that equals created_at not the user: an instant earlier.
        .otherwise(pl.col("valid_from") - pl.duration(microseconds=1))
    )
    differs = (
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_known")) for name in columns) for columns, _ in shown
    )
    firsts = both.select(since.filter(one).min().alias(str(number)) for number, one in enumerate(differs)).collect()
    for first, (_, tables) in zip(firsts.row(0), shown, strict=True):
        if isinstance(first, datetime):
            mark_stale(lake, tables, first, hour.as_of)
