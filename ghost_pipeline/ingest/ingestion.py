"""Taking a source's tables into the lake: what is read again, what is written, what is set aside.

Every hourly run reads the look-back window again and, where the lake lags behind, everything since its last hour; the
very first run reads all. A good row that is older and that the lake has not is late: the run then reads from its hour
on. The hours of an event table have no gap from its first event on: an hour without events is an empty file, and a
missing file is a missing hour, but for silences of more than a month.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    RAW_CONTRACTS,
    REJECTED_ROWS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    SOURCE_PRACTICE_SESSIONS,
    SOURCE_TABLES,
    SOURCE_USER_PROGRESS,
    USER_PROGRESS,
    USERS,
    SourceTable,
)
from ghost_pipeline.domain.shared.versions import changed_rows, with_added
from ghost_pipeline.errors import SourceError, without_values
from ghost_pipeline.incremental.activity_history import activity_lock, forget_activity
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.validation import (
    ERASED,
    REASON,
    good_rows,
    merge_repeated_events,
    read_rows,
    reject_repeats,
    reject_unknown,
    rejected_rows,
    set_aside_erased,
)
from ghost_pipeline.lake.lake import Lake, Rejects
from ghost_pipeline.lake.local_files import SHARD_FILE
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.privacy.personal_columns import ID_COLUMNS, USER
from ghost_pipeline.privacy.tombstones import NO_TOMBSTONES, Tombstones
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.source import Source, Window, domains
from ghost_pipeline.windows import HOUR, LONGEST_GAP, Hour, hours, without_silence

_START = "_start"
_ALL = 100
_DERIVED = {
    PRACTICE_SESSIONS.name: (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
    SESSION_KEYSTROKES.name: (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
}
"""What is computed hour by hour from a table, and anew where late rows reach."""
GHOST_SNAPSHOTS = (USER_GHOST_STATS, COHORT_GHOST_DATA, GHOST_MESSAGES)
NGRAM_SNAPSHOTS = (NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY)
SNAPSHOTS = {
    USER_PROGRESS.name: GHOST_SNAPSHOTS,
    PRACTICE_SESSIONS.name: NGRAM_SNAPSHOTS,
    SESSION_KEYSTROKES.name: NGRAM_SNAPSHOTS,
    SESSION_NGRAM_SPEED.name: NGRAM_SNAPSHOTS,
}
"""What shows everything before the end of its hour: stale from the first change on (G1.8)."""
_SHOWN = {
    USERS.name: (
        ("cohort_id", "cohort_excluded", "timezone", "created_at", "diagnostic_score", "target_band"),
        GHOST_SNAPSHOTS,
    ),
    KEYBOARDS.name: (("target_ms_per_keystroke",), NGRAM_SNAPSHOTS),
}
"""What is shown of a version, and where."""


@dataclass(frozen=True)
class IngestResult:
    """What a run took in from one source table."""

    rows: int
    """Good rows read in the window."""
    rejected: int
    """Rows read in the window, or without a readable time, that were set aside."""
    repeated: int = 0
    """Good rows that repeat an event and were merged (G2.3)."""
    changed: int = 0
    """Partitions whose content changed."""
    erased: int = 0
    """Rows read in the window, or without a readable time, of people who were erased."""


NOTHING = IngestResult(rows=0, rejected=0)
"""The source has not this table: its domain is absent, or it is optional."""


@dataclass(frozen=True)
class ReadPolicy:
    """How far back a run reads again, and what it may take away."""

    lookback: timedelta
    """Before the end of the hour."""
    keeps: timedelta | None
    """For how long the source keeps events; what is older is never replaced by what it has now."""
    max_removed_percent: int
    """Of the rows of an hour, how many may be gone."""

    @classmethod
    def of(cls, settings: Settings) -> "ReadPolicy":
        """As it is set."""
        keeps = timedelta(hours=settings.source_keeps) if settings.source_keeps else None
        allowed = _ALL if settings.accept_deletions else settings.max_removed_percent
        return cls(timedelta(hours=settings.lookback_hours), keeps, allowed)

    def replaces_from(self, lake: Lake, contract: Contract, hour: Hour) -> datetime:
        """The instant from which on the run of an hour replaces what the lake has.

        It is counted from the newest hour that has been read: to run an old one again brings back nothing.
        """
        if self.keeps is None:
            return datetime.min.replace(tzinfo=UTC)
        return max(hour, lake.newest_hour(contract) or hour).as_of - self.keeps


@dataclass(frozen=True)
class ReadRows:
    """Rows of a source table that were read for a window."""

    good: pl.DataFrame
    """Columns of the contract, and the instant that places a row as `_start` where the table has one."""
    rejected: pl.DataFrame
    """In the shape of `rejected_rows`."""
    sessions: pl.DataFrame
    """`session_id` of every row read, good or not, where the table has one."""
    start: datetime | None
    """From when on the rows were read; None: from the beginning."""
    erased: int
    """Rows of people who were erased; they are in neither."""


def ingest_versions(
    source: Source, lake: Lake, table: SourceTable, contract: Contract, hour: Hour, erased: Tombstones = NO_TOMBSTONES
) -> IngestResult:
    """Record the changes of a table of users, cohorts or keyboards that the run of `hour` sees (G1.7)."""
    if not _is_there(source, lake, table, contract):
        return NOTHING
    key = table.key[0]
    with reading(source, table, lake):
        rows = _reject_strangers(_read(source, table), table, lake, erased)
        rows = reject_repeats(rows, table.key, ("updated_at",) if _has_update(table) else ())
        good, rejected, gone = pl.collect_all(
            [good_rows(rows), rejected_rows(rows, table, pl.lit(None, pl.Datetime("us", "UTC"))), _erased(rows)]
        )
    newest = lake.newest_hour(contract)
    is_newest = newest is None or newest <= hour
    added = changed_rows(good.lazy(), lake.scan(contract), key, hour.as_of, newest=is_newest).collect().lazy()
    partition = with_added(lake.scan(contract, [hour]), added, key).collect()
    _mark_stale_versions(lake, contract, added, hour)
    lake.write(REJECTED_ROWS, Rejects(table.name, None), rejected)
    written = lake.write(contract, hour, partition)
    return IngestResult(good.height, rejected.height, changed=int(written.changed), erased=gone.height)


def ingest_events(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    hour: Hour,
    again: ReadPolicy,
    erased: Tombstones = NO_TOMBSTONES,
) -> IngestResult:
    """Take in the events of a table that carries its own time, up to the end of `hour`."""
    if not _is_there(source, lake, table, contract):
        return NOTHING
    start, hour = read_from(lake, contract, hour, again), read_to(lake, contract, hour)
    placed = pl.col(str(table.time)).alias(_START)
    with reading(source, table, lake):
        read = _read(source, table, Window(start, hour.as_of))
        rows = _reject_strangers(read, table, lake, erased).with_columns(placed)
        # Before the window is cut out: which of two rows is the event does not depend on how far a run looks back.
        rows, merged = _without_repeats(rows, table, hour.as_of)
        start = _reaching_back(source, lake, contract, rows, start, [*table.key, str(table.time)])
        found = _collect(rows, table, start, hour.as_of)
    good = found.good.sort(str(table.time), *table.key)
    changed = write_events(lake, contract, hour, start, good, again)
    write_rejects(lake, table, start, hour, found.rejected)
    return IngestResult(good.height, found.rejected.height, merged, changed, found.erased)


def read_session_rows(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    start: datetime | None,
    hour: Hour,
    erased: Tombstones = NO_TOMBSTONES,
) -> ReadRows:
    """Read the rows of a table whose rows belong to practice sessions that started in [start, end of `hour`).

    Rows of an older session that `contract`, which keeps the table, has not are late: then from that session on.
    """
    window = Window(start, hour.as_of)
    with reading(source, table, lake):
        read = _read(source, SOURCE_PRACTICE_SESSIONS, window)
        read = _reject_strangers(read, SOURCE_PRACTICE_SESSIONS, lake, erased)
        sessions = good_rows(read).select("session_id")
        starts = lake.scan(PRACTICE_SESSIONS).select("session_id", pl.col("start_time").alias(_START)).collect().lazy()
        known = pl.concat([sessions, starts.select("session_id")])
        rows = reject_unknown(_read(source, table, window), "session_id", known, "practice session")
        if erased is not NO_TOMBSTONES:
            # Also of sessions that were never taken in, because their typist was erased before.
            theirs = read.filter(pl.col(REASON) == ERASED).select(pl.col("session_id").drop_nulls().unique()).collect()
            rows = set_aside_erased(
                rows, pl.col(REASON).is_not_null() & pl.col("session_id").is_in(theirs.to_series().implode())
            )
            rows = _set_aside_erased(rows, known, ["session_id"], erased)
        if table.key:
            rows = reject_repeats(rows, table.key, ())
        # A good session that the lake has not taken in starts at the end of the window or later, and its rows, good or
        # not, wait for its hour.
        rows = rows.join(sessions.join(starts, on="session_id", how="anti"), on="session_id", how="anti")
        rows = rows.join(starts, on="session_id", how="left", maintain_order="left")
        if table.name == contract.name:
            start = _reaching_back(source, lake, contract, rows, start, ["session_id"])
        return _collect(rows, table, start, hour.as_of)


def ingest_session_rows(
    source: Source,
    lake: Lake,
    table: SourceTable,
    contract: Contract,
    hour: Hour,
    again: ReadPolicy,
    erased: Tombstones = NO_TOMBSTONES,
) -> IngestResult:
    """Take in the rows of a table that belong to practice sessions, up to the end of `hour`."""
    if not _is_there(source, lake, table, contract):
        return NOTHING
    start, hour = read_from(lake, contract, hour, again), read_to(lake, contract, hour)
    found = read_session_rows(source, lake, table, contract, start, hour, erased)
    good = found.good.sort(_START, *table.key)
    changed = write_events(lake, contract, hour, found.start, good, again)
    write_rejects(lake, table, found.start, hour, found.rejected, whole=start is None or not source.reads_windows)
    return IngestResult(good.height, found.rejected.height, changed=changed, erased=found.erased)


def read_from(lake: Lake, contract: Contract, hour: Hour, again: ReadPolicy) -> datetime | None:
    """From when on the run of `hour` reads a table again; None: from the beginning."""
    complete = lake.complete_until(contract)
    if complete is None:
        return None
    return min(max(hour.as_of - again.lookback, again.replaces_from(lake, contract, hour)), complete)


def read_to(lake: Lake, contract: Contract, hour: Hour) -> Hour:
    """The last hour that the run of `hour` reads: its own, or all up to the lake's first where that comes later.

    A late event may need an hour before the first one; those between have to be read, not taken for empty.
    """
    there = lake.hours(contract)
    return max(hour, Hour(there[0].start - HOUR)) if there else hour


def write_events(
    lake: Lake, contract: Contract, hour: Hour, start: datetime | None, rows: pl.DataFrame, again: ReadPolicy
) -> int:
    """Write the hours of [start, end of `hour`) and whatever keeps the table without a gap.

    Args:
        lake: where to.
        contract: the table.
        hour: the last hour that was read.
        start: from when on the rows were read; None: from the beginning.
        rows: the rows in their final order with `_start`, the instant that places them.
        again: how far back every run reads, from where on what is computed anew; and what may be removed.

    Returns:
        How many partitions changed.

    Raises:
        SourceError: too many rows of an hour would be removed; nothing was written.

    """
    there = lake.hours(contract)
    floor = again.replaces_from(lake, contract, hour)
    if start is not None and start < floor:
        rows = _added_to(lake, contract, [one for one in there if start <= one.start <= hour.start], floor, rows)
    placed = rows[_START].dt.truncate("1h")
    first_row = placed.min()
    firsts = there[:1] + ([Hour.containing(first_row)] if isinstance(first_row, datetime) else [])
    first = min(firsts, default=hour).start
    begin = max(start or first, first)
    # An hour that is there counts as busy, empty or not: whoever reads takes what lies between two of them for missing.
    known = {one for one in there if begin <= one.start < hour.as_of}
    window = known | set(without_silence({*map(Hour.containing, placed.unique()), *known}, begin, hour.as_of))
    earlier = [one for one in there if one.start < begin]
    if earlier and window and min(window).start - earlier[-1].as_of <= LONGEST_GAP:
        # A late row may make two shorter stretches of a silence.
        window |= set(hours(earlier[-1].as_of, min(window).start))

    with ExitStack() as locks:

        def before(changed: list[Hour]) -> None:
            require_rows_stay(lake, contract, [one for one in changed if one in there], rows, again.max_removed_percent)
            if begin < hour.as_of - again.lookback:
                # First, so that a kill between the two leaves the late rows still to be taken in. Held until they are:
                # another run would else fill the gap with what follows from the rows before.
                for derived in _DERIVED.get(contract.name, ()):
                    locks.enter_context(table_lock(lake.root, derived.name))
                    lake.invalidate(derived, Hour.containing(begin))
            mark_stale(lake, SNAPSHOTS.get(contract.name, ()), min(changed).start, hour.as_of)
            if contract is USER_PROGRESS:
                forget_activity(lake, changed)

        if contract is USER_PROGRESS:
            locks.enter_context(activity_lock(lake))
        return lake.write_hours(contract, window, rows.drop(_START), placed, before)


def _added_to(lake: Lake, contract: Contract, there: list[Hour], floor: datetime, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in which the hours before `floor` keep what the lake has, and only gain what it has not."""
    identity = _identity(contract)
    kept = [
        lake.scan(contract, [one]).with_columns(pl.lit(one.start, pl.Datetime("us", "UTC")).alias(_START))
        for one in there
        if one.start < floor
    ]
    if not kept:
        return rows
    old = pl.concat(kept).collect()
    is_old = pl.col(_START) < floor
    # What has moved to a later hour is there, and no longer here.
    old = old.join(rows.remove(is_old), on=identity, how="anti") if SOURCE_TABLES[contract.name].key else old
    added = rows.filter(is_old).join(old, on=identity, how="anti")
    order = [str(SOURCE_TABLES[contract.name].time or _START), *SOURCE_TABLES[contract.name].key]
    return pl.concat([old, added.select(old.columns), rows.remove(is_old).select(old.columns)]).sort(order)


def require_rows_stay(
    lake: Lake, contract: Contract, changed: list[Hour], rows: pl.DataFrame, max_removed_percent: int
) -> None:
    """Refuse to take away more of an hour than is likely to have been deleted.

    Raises:
        SourceError: names the first such hour, and what to do.

    """
    identity = _identity(contract)
    for one in changed:
        kept = lake.scan(contract, [one])
        if SOURCE_TABLES[contract.name].of_session:
            # The rows of a session that is gone go with it.
            kept = kept.join(lake.scan(PRACTICE_SESSIONS, [one]), on="session_id", how="semi")
        before = kept.select(identity).collect()
        gone = before.join(rows, on=identity, how="anti").height
        if gone * _ALL > max_removed_percent * before.height:
            raise SourceError(
                f"{contract.name}, partition {one.key}: {gone} of {before.height} rows are no longer in the source, "
                f"more than GHOST_MAX_REMOVED_PERCENT ({max_removed_percent}). Nothing was written. If they were "
                f"deleted on purpose, run again with --accept-deletions; if the source drops what is old, set "
                f"GHOST_SOURCE_KEEPS to the hours that it keeps; if it is a replica, wait until it has caught up",
            )


def _identity(contract: Contract) -> list[str]:
    """What tells rows of a table apart; where they may repeat, whose they are."""
    return list(SOURCE_TABLES[contract.name].key) or ["session_id"]


def write_rejects(
    lake: Lake, table: SourceTable, start: datetime | None, hour: Hour, rejected: pl.DataFrame, *, whole: bool = True
) -> None:
    """Replace the rejected rows of the hours of [start, end of `hour`), and those that tell no hour.

    Rows that name a session which is not there tell none and lie in no window: unless the `whole` table was read, those
    of before stay where none was found.
    """
    by_hour = rejected.partition_by("hour", maintain_order=True, as_dict=True)
    found = {Hour.containing(key[0]) if isinstance(key[0], datetime) else None: part for key, part in by_hour.items()}
    for one, part in found.items():
        partition = Rejects(table.name, one)
        before = [] if one or whole else [lake.scan(REJECTED_ROWS, [partition]).collect()]
        lake.write(REJECTED_ROWS, partition, pl.concat([*before, part]).unique(maintain_order=True) if before else part)
    for old in lake.rejects(REJECTED_ROWS, table.name):
        in_window = old.hour is not None and (start is None or old.hour.start >= start) and old.hour <= hour
        was_read = in_window or (old.hour is None and whole)
        if was_read and old.hour not in found:
            lake.remove(REJECTED_ROWS, old)


@contextmanager
def reading(source: Source, table: SourceTable, lake: Lake) -> Iterator[None]:
    """Turn what an engine says about a damaged file into one line that names source and table.

    Raises:
        SourceError: the rows cannot be read.
        LakeError: it is a file of the lake that is damaged.

    """
    try:
        yield
    except FileNotFoundError as error:
        # One of the lake has been removed by another run; the step then looks again.
        if SHARD_FILE in str(error):
            raise
        raise SourceError(
            f"{source.name}: table {table.name} has lost a file while it was read. Let exports put files in place by a "
            f"rename, and run again",
        ) from None
    except pl.exceptions.PolarsError as error:
        lake.require_sound(RAW_CONTRACTS.values())
        # Nor as its cause: Dagster keeps that, too.
        raise SourceError(
            f"{source.name}: table {table.name} cannot be read ({without_values(error)}). A file of it is damaged, or "
            f"its files differ in their column types: write them again, and run again",
        ) from None


def _read(source: Source, table: SourceTable, window: Window | None = None) -> pl.LazyFrame:
    """The read rows of a table, at least those of the window; of one that the source has not, none."""
    if _absent(source, table):
        return read_rows(pl.LazyFrame(schema={column.name: pl.String for column in table.columns}), table)
    return read_rows(source.scan(table, window), table)


def _absent(source: Source, table: SourceTable) -> bool:
    if table.domain is not None and table.domain not in domains(source):
        return True
    return not table.required and table.name not in source.tables()


def _is_there(source: Source, lake: Lake, table: SourceTable, contract: Contract) -> bool:
    """Whether the source has the table; one that was there and is gone is a failed export, not an empty table."""
    if not _absent(source, table):
        return True
    require_no_rows(source, table, lake.scan(contract))
    return False


def require_no_rows(source: Source, table: SourceTable, kept: pl.LazyFrame) -> None:
    """Refuse to take a table that the source no longer has for one without rows.

    Raises:
        SourceError: the lake keeps rows of it.

    """
    if _absent(source, table) and kept.head(1).collect().height:
        raise SourceError(
            f"{source.name}: table {table.name} is missing, and the lake has rows of it. Bring it back; if it is "
            f"gone for good, write it without rows",
        )


def _without_repeats(rows: pl.LazyFrame, table: SourceTable, as_of: datetime) -> tuple[pl.LazyFrame, int]:
    """One row of each key: of events that repeat, the merged one; of anything else the others are rejected."""
    if table is not SOURCE_USER_PROGRESS:
        return reject_repeats(rows, table.key, ()), 0
    good = good_rows(rows).filter(pl.col(_START) < pl.lit(as_of, pl.Datetime("us", "UTC"))).collect()
    merged = merge_repeated_events(good.lazy()).collect()
    bad = rows.filter(pl.col(REASON).is_not_null())
    return pl.concat([merged.lazy(), bad], how="diagonal_relaxed"), good.height - merged.height


def _reaching_back(
    source: Source, lake: Lake, contract: Contract, rows: pl.LazyFrame, start: datetime | None, identity: list[str]
) -> datetime | None:
    """`start`, or the hour of the earliest good row before it that the lake has not: it enters at once (G1.8).

    So does one that the lake has there and that has moved. Where the source left out what is older, neither is known.
    """
    if start is None or source.reads_windows:
        return start
    before = pl.col(_START) < pl.lit(start, pl.Datetime("us", "UTC"))
    older = [hour for hour in lake.hours(contract) if hour.start < start]
    taken_in = lake.scan(contract, older).select(identity).unique()
    late = good_rows(rows).filter(before).select(*identity, pl.col(_START).alias("_late"))
    found = [late.join(taken_in, on=identity, how="anti").select(pl.col("_late").min())]
    if time := SOURCE_TABLES[contract.name].time:
        key = list(SOURCE_TABLES[contract.name].key)
        moved = taken_in.join(good_rows(rows).select(*key, _now=pl.col(_START)), on=key, how="inner")
        found.append(moved.filter(pl.col("_now") != pl.col(time)).select(pl.col(time).min()))
    instants = [frame.item() for frame in pl.collect_all(found)]
    earliest = min((one for one in instants if isinstance(one, datetime)), default=start)
    return min(Hour.containing(earliest).start, start)


def _collect(rows: pl.LazyFrame, table: SourceTable, start: datetime | None, as_of: datetime) -> ReadRows:
    placed = pl.col(_START)
    in_window = placed < pl.lit(as_of, pl.Datetime("us", "UTC"))
    if start is not None:
        in_window &= placed >= pl.lit(start, pl.Datetime("us", "UTC"))
    here = in_window | placed.is_null()
    good, rejected, sessions, gone = pl.collect_all(
        [
            good_rows(rows.filter(in_window)),
            rejected_rows(rows.filter(here, pl.col(REASON).is_not_null()), table, placed),
            rows.filter(in_window).select(pl.col("session_id").unique())
            if table.of_session
            else pl.LazyFrame(schema={"session_id": pl.String}),
            _erased(rows.filter(here)),
        ]
    )
    return ReadRows(good, rejected, sessions, start, gone.height)


def _erased(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col(REASON) == ERASED).select(REASON)


def _reject_strangers(rows: pl.LazyFrame, table: SourceTable, lake: Lake, erased: Tombstones) -> pl.LazyFrame:
    """Reject rows of users whom the lake does not know, but for those of people who were erased."""
    known = lake.scan(USERS).select("user_id")
    if any(column.references == "users" for column in table.columns):
        rows = reject_unknown(rows, "user_id", known, "user")
    return _set_aside_erased(
        rows, known, [column.name for column in table.columns if column.name in ID_COLUMNS], erased
    )


def _set_aside_erased(rows: pl.LazyFrame, known: pl.LazyFrame, columns: list[str], erased: Tombstones) -> pl.LazyFrame:
    """Set aside rows of people who were erased: of somebody not `known`, with an id in `columns` that has a tombstone.

    Whoever was erased is nobody that the lake knows: the few ids of others are read first, and looked at one by one.
    """
    if erased is NO_TOMBSTONES or not columns:
        return rows
    (owner,) = known.collect_schema().names()
    strangers = rows.select(columns).join(known, on=owner, how="anti").unique().collect()
    found = {name: erased.among(name, strangers[name]).implode() for name in columns}
    theirs = pl.any_horizontal(pl.col(name).is_in(ids) for name, ids in found.items())
    # What somebody else has taken over from them, a keyboard, is somebody else's. A user's own row is nobody else's.
    return set_aside_erased(rows, theirs if columns == [USER] else pl.col(REASON).is_not_null() & theirs)


def _mark_stale_versions(lake: Lake, contract: Contract, added: pl.LazyFrame, hour: Hour) -> None:
    """Mark what shows something that added versions change: from their valid_from on.

    A user who was not known before is shown from created_at on. A keyboard that was not is most often new, and so are
    its sessions.
    """
    key = SOURCE_TABLES[contract.name].key[0]
    shown, tables = _SHOWN.get(contract.name, ((), ()))
    if not shown:
        return
    known = lake.scan(contract).join(added, on=key, how="semi").sort("valid_from", "seen_at").group_by(key).last()
    both = added.join(known, on=key, how="left", suffix="_known")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_known")) for name in shown)
    is_new = pl.col("valid_from_known").is_null()
    first_shown = pl.col("created_at") if contract is USERS else pl.lit(None, pl.Datetime("us", "UTC"))
    # An as_of that equals valid_from sees the version, one that equals created_at not the user: an instant earlier.
    since = pl.when(is_new).then(first_shown).otherwise(pl.col("valid_from") - pl.duration(microseconds=1))
    first = both.filter(differs).select(since.min()).collect().item()
    if isinstance(first, datetime):
        mark_stale(lake, tables, first, hour.as_of)


def _has_update(table: SourceTable) -> bool:
    return any(column.name == "updated_at" for column in table.columns)
