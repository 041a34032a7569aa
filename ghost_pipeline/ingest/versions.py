"""Ingesting versions: the changes of users, cohorts and keyboards that an hourly run sees (G1.7)."""

from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import REJECTED_ROWS, USERS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import INSTANT, UPDATED_AT, changed_rows, preceding, with_added
from ghost_pipeline.incremental.activity_history import activity_lock
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.dependents import VERSION_COLUMNS
from ghost_pipeline.ingest.people import known_users, reject_unknown_users
from ghost_pipeline.ingest.result import NOT_IN_SOURCE, IngestResult
from ghost_pipeline.ingest.source_rows import erased_rows, is_in_source, read_table, reading
from ghost_pipeline.ingest.validation import good_rows, reject_repeats, rejected_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones
from ghost_pipeline.sources.source import Source
from ghost_pipeline.windows import FIRST_INSTANT, Hour


def ingest_versions(
    source: Source, lake: Lake, table: SourceTable, contract: Contract, hour: Hour, erased: Tombstones = NO_TOMBSTONES
) -> IngestResult:
    """Write the versions that the run of `hour` sees for the first time to the lake.

    Raises:
        SourceError: the table cannot be read; nothing was written.

    """
    if not is_in_source(source, lake, table, contract):
        return NOT_IN_SOURCE
    (key,) = table.key
    newest_first = (UPDATED_AT,) if any(column.name == UPDATED_AT for column in table.columns) else ()
    with reading(source, table, lake):
        rows = reject_unknown_users(read_table(source, table), table, known_users(lake).lazy(), erased)
        rows = reject_repeats(rows, table, newest_first)
        good, rejected, gone = pl.collect_all(
            [good_rows(rows), rejected_rows(rows, table, pl.lit(None, INSTANT)), erased_rows(rows)]
        )
    newest = lake.newest_hour(contract)
    is_newest = newest is None or newest <= hour
    added = changed_rows(good.lazy(), lake.scan(contract), key, hour.as_of, newest=is_newest).collect().lazy()
    partition = with_added(lake.scan(contract, [hour]), added, key).collect()
    # The lock is held until what is marked is written: a month that begins to be built in between waits for it.
    with activity_lock(lake):
        _mark_stale(lake, contract, added, key, hour)
        lake.write(REJECTED_ROWS, Rejects(table.name, None), rejected)
        written = lake.write(contract, hour, partition)
    return IngestResult(good.height, rejected.height, changed=int(written.changed), erased=gone.height)


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
