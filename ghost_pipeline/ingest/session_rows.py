"""Ingesting rows of practice sessions: they belong to the hour in which their session started (N1.3).

A run does not open the table if nothing can have changed. Otherwise it reads new and changed files, and of the others
those that have rows in the hours to write or whose sessions have come since.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, REJECTED_ROWS, SOURCE_PRACTICE_SESSIONS
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.ingest.event_hours import write_events
from ghost_pipeline.ingest.part_ledger import UNPLACED, read_as
from ghost_pipeline.ingest.people import known_users, reject_unknown_users, set_aside_erased_people
from ghost_pipeline.ingest.read_policy import ReadPolicy, range_end, source_from
from ghost_pipeline.ingest.result import NOT_IN_SOURCE, IngestResult
from ghost_pipeline.ingest.session_groups import in_groups
from ghost_pipeline.ingest.session_ledger import (
    ABSENT,
    HOURS_OF_PART,
    SessionLedger,
    load_session_ledger,
    save_session_ledger,
)
from ghost_pipeline.ingest.session_writing import KnownRows, SessionWriting
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
    read_rows,
    reject_unknown,
    rejected_rows,
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
    with reading(source, table, lake):
        return _SessionRows(source, lake, table, contract, hour, erased).of_window(start)


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
    expired = policy.expired_until(lake, contract)
    if expired is not None and hour.as_of <= expired:
        # What followed from its rows is kept; these would be removed again by the run of the newest hour.
        return IngestResult(0, 0)
    start, hour = source_from(lake, contract, hour, policy), range_end(lake, contract, hour)
    if start is not None and expired is not None:
        start = max(start, expired)
    with ExitStack() as kept_rows:
        with reading(source, table, lake):
            rows = _SessionRows(source, lake, table, contract, hour, erased, expired)
            if rows.are_taken_in(start):
                return rows.nothing_new(start, policy)
            window = rows.window(start)
            here = Window(window.start, hour.as_of)
            groups = kept_rows.enter_context(in_groups(window.read, rows.placed, table, here, policy.rows_together))
            known = rows.known_now(window)
        whole = start is None or not source.reads_windows
        writing = SessionWriting(lake, table, contract, hour, policy, window.start, groups, known)
        return writing.write(whole=whole)


@dataclass(frozen=True)
class _Window:
    """What is read for a window."""

    start: datetime | None
    read: pl.LazyFrame
    """Read rows, also of other hours."""
    parts: set[str]


@dataclass
class _SessionRows:
    """One run's reading of one table whose rows belong to practice sessions."""

    source: Source
    lake: Lake
    table: SourceTable
    contract: Contract
    hour: Hour
    erased: Tombstones
    expired: datetime | None = None
    """Rows of sessions before it are left out; None: there are none."""

    def __post_init__(self) -> None:
        """Look at the sessions of the lake and the parts of the source; no row of the table is read yet."""
        self.is_absent = is_absent(self.source, self.table)
        # Without rows of its own a table needs no session: reading all of them every hour would cost the history.
        has_parts = not self.is_absent and not self.source.reads_windows
        # Before any row is read: a file that changes meanwhile has another version in the next run.
        self.versions = self.source.part_versions(self.table) if has_parts else None
        self.read_as = read_as(self.source, self.table, sorted(self.erased.hashes))
        self.ledger: SessionLedger | None = None
        if self.versions is not None:
            self.in_lake = self._unexpired(self.lake.file_versions_of(self.contract))
            self.session_files = self.lake.file_versions_of(PRACTICE_SESSIONS)
            ledger = load_session_ledger(self.lake, self.contract.name, self.table.name, self.read_as)
            # A file that has expired is no news.
            self.ledger = ledger and replace(ledger, lake=self._unexpired(ledger.lake))
        self._sessions: pl.DataFrame | None = None
        self._changed_ids: pl.Series | None = None

    @property
    def sessions(self) -> pl.DataFrame:
        """`session_id` and `REASON` of the source's practice sessions, read once."""
        if self._sessions is None:
            window = None if self.versions is not None else Window(self._start, self.hour.as_of)
            read = (
                read_nothing(SOURCE_PRACTICE_SESSIONS)
                if self.is_absent
                else read_table(self.source, SOURCE_PRACTICE_SESSIONS, window)
            )
            users = known_users(self.lake).lazy()
            read = reject_unknown_users(read, SOURCE_PRACTICE_SESSIONS, users, self.erased)
            self._sessions = read.select("session_id", REASON).collect(engine="streaming")
        return self._sessions

    def are_taken_in(self, start: datetime | None) -> bool:
        """Return whether no row of the table can have changed, so that it need not be opened."""
        self._start = start
        if self.ledger is None or self.versions is None or start is None:
            return False
        changed = self.ledger.changed_hours(self.session_files)
        return self.ledger.is_taken_in(self.versions, start, self.in_lake, changed, self._ids_with_news(changed))

    def nothing_new(self, start: datetime | None, policy: ReadPolicy) -> IngestResult:
        """Continue the table without a gap, as after reading rows that have not changed."""

        def require_nothing(existing: list[Hour], rows: pl.DataFrame) -> None:
            pass

        empty = self.contract.empty().with_columns(pl.lit(None, INSTANT).alias(PLACED_AT))
        changed = write_events(self.lake, self.contract, self.hour, [], [([], empty)], policy, require_nothing)
        ledger = self.ledger
        if ledger is not None:
            as_of = max(ledger.as_of, self.hour.as_of)
            kept = replace(ledger, lake=self.lake.file_versions_of(self.contract), sessions=self.session_files)
            save_session_ledger(self.lake, self.contract.name, self.table.name, replace(kept, as_of=as_of))
        rejected = [
            one
            for one in self.lake.rejects(REJECTED_ROWS, self.table.name)
            if one.hour is None or ((start is None or one.hour.start >= start) and one.hour <= self.hour)
        ]
        return IngestResult(
            0,
            sum(self.lake.rows(REJECTED_ROWS, one) for one in rejected),
            changed=changed,
            files_skipped=len(self.versions or {}),
        )

    def window(self, start: datetime | None) -> _Window:
        """Return the rows of [start, end of the hour), and of earlier hours if rows of them are late."""
        self._start = start
        parts = self._parts_to_read(start)
        sessions = self.lake.scan(PRACTICE_SESSIONS, []) if self.is_absent else self.lake.scan_merged(PRACTICE_SESSIONS)
        starts = sessions.select("session_id", pl.col("start_time").alias(PLACED_AT))
        self.starts = starts.collect().lazy()
        good = self.sessions.lazy().filter(pl.col(REASON).is_null()).select("session_id")
        # A good session that the lake lacks starts at the end of the window or later; its rows, good or not, wait for
        # its hour.
        self.awaited = good.join(self.starts, on="session_id", how="anti")
        self.known_ids = pl.concat([good, self.starts.select("session_id")])
        read = self._read(parts)
        if self.table.name == self.contract.name and not self.is_absent:
            late = start_of_late_rows(self.source, self.lake, self.contract, self.placed(read), start, ["session_id"])
            more = parts | self._parts_to_read(late)
            if more != parts:
                parts, read = more, self._read(more)
            start = late
        return _Window(start, read, parts)

    def known_now(self, window: _Window) -> KnownRows:
        """Return what is known once the rows of a window are in the lake."""
        if self.versions is None:
            return KnownRows(None, REJECTED_ROWS.empty(), 0, 0)
        others = set(self.versions) - window.parts
        kept = self.ledger.of_parts(others) if self.ledger is not None else {}
        ledger = self._taken_in(window.parts, kept, window.start)
        for read in (SOURCE_PRACTICE_SESSIONS, self.table):
            self.source.require_unreplaced(read)
        unplaced = kept.get("unplaced", UNPLACED.to_frame())
        of_others = unplaced.select(
            source_table=pl.lit(self.table.name), hour=pl.lit(None, INSTANT), reason="reason", row="row"
        )
        return KnownRows(ledger, of_others, len(window.parts), len(others))

    def of_window(self, start: datetime | None) -> ReadRows:
        """Return the rows of a window in one frame; they may repeat."""
        window = self.window(start)
        found = collect_window(self.placed(window.read), self.table, window.start, self.hour.as_of)
        known = self.known_now(window)
        return replace(
            found,
            rejected=pl.concat([found.rejected, known.unplaced]).sort("hour", "reason", "row"),
            ledger=known.ledger,
            files_read=known.files_read,
            files_skipped=known.files_skipped,
        )

    def _parts_to_read(self, start: datetime | None) -> set[str]:
        versions = self.versions or {}
        if self.ledger is None or start is None:
            return set(versions)
        changed = self.ledger.changed_hours(self.session_files)
        return self.ledger.parts_to_read(versions, start, self.in_lake, changed, self._ids_with_news(changed))

    def _ids_with_news(self, changed: pl.DataFrame) -> pl.Series:
        """Return the sessions that a row waits for, or names in vain, and of which something is new."""
        if self._changed_ids is None:
            absent = self.ledger.absent if self.ledger else ABSENT.to_frame()
            absent = absent.select("session_id", "status").drop_nulls("session_id").unique()
            if absent.is_empty():
                return absent["session_id"]
            hours = self.lake.written(PRACTICE_SESSIONS, map(Hour.containing, changed["hour"]))
            come = self.lake.scan(PRACTICE_SESSIONS, hours).select("session_id").collect()
            same = self._with_status(absent.select("session_id")).join(come, on="session_id", how="anti")
            self._changed_ids = absent.join(same, on=["session_id", "status"], how="anti")["session_id"]
        return self._changed_ids

    def _with_status(self, ids: pl.DataFrame) -> pl.DataFrame:
        """Return ids with what the source says of these sessions: whether one is good, or of an erased person."""
        told = self.sessions.group_by("session_id").agg(
            good=pl.col(REASON).is_null().any(), erased=(pl.col(REASON) == ERASED).any()
        )
        status = pl.when("good").then(pl.lit("good")).when("erased").then(pl.lit(ERASED)).otherwise(pl.lit("unknown"))
        found = ids.join(told, on="session_id", how="left").select("session_id", status=status)
        if self.erased is NO_TOMBSTONES:
            return found
        unknown = found.filter(pl.col("status") == "unknown")["session_id"]
        is_erased = pl.col("session_id").is_in(self.erased.among("session_id", unknown).implode())
        return found.with_columns(status=pl.when(is_erased).then(pl.lit(ERASED)).otherwise("status"))

    def _read(self, parts: set[str]) -> pl.LazyFrame:
        if self.versions is None:
            return read_table(self.source, self.table, Window(self._start, self.hour.as_of))
        if not parts:
            return read_nothing(self.table)
        some = None if parts == set(self.versions) else sorted(parts)
        return read_rows(self.source.scan(self.table, None, some), self.table)

    def placed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Reject rows that name no session, and place the others at its start; those that wait for it are left out."""
        rows = reject_unknown(rows, "session_id", self.known_ids, "practice session")
        if self.erased is not NO_TOMBSTONES:
            # Also of sessions that were never taken in, because their typist was erased before.
            of_erased = self.sessions.filter(pl.col(REASON) == ERASED)["session_id"].drop_nulls().unique()
            is_theirs = pl.col(REASON).is_not_null() & pl.col("session_id").is_in(of_erased.implode())
            rows = set_aside_erased(rows, is_theirs)
            rows = set_aside_erased_people(rows, self.known_ids, ["session_id"], self.erased)
        rows = rows.join(self.awaited, on="session_id", how="anti")
        rows = rows.join(self.starts, on="session_id", how="left", maintain_order="left")
        if self.expired is None:
            return rows
        return rows.filter(pl.col(PLACED_AT).is_null() | (pl.col(PLACED_AT) >= pl.lit(self.expired, INSTANT)))

    def _unexpired(self, files: pl.DataFrame) -> pl.DataFrame:
        return files if self.expired is None else files.filter(pl.col("hour") >= pl.lit(self.expired, INSTANT))

    def _taken_in(self, parts: set[str], kept: dict[str, pl.DataFrame], start: datetime | None) -> SessionLedger:
        hours, absent = [kept.get("hours", HOURS_OF_PART.to_frame())], [kept.get("absent", ABSENT.to_frame())]
        unplaced = [kept.get("unplaced", UNPLACED.to_frame())]
        starts = self.starts.select("session_id", hour=pl.col(PLACED_AT).dt.truncate("1h")).collect()
        for part in sorted(parts):
            rows = read_rows(self.source.scan(self.table, None, [part]), self.table)
            ids = rows.select("session_id").unique().collect(engine="streaming")
            placed = ids.join(starts, on="session_id", how="left")
            here = {"part": pl.lit(part)}
            hours.append(placed.select(pl.col("hour").drop_nulls().unique()).select(**here, hour="hour"))
            without = placed.filter(pl.col("hour").is_null()).select("session_id")
            named = self._with_status(without.drop_nulls())
            absent.append(_without_erased(named).select(**here, session_id="session_id", status="status"))
            if without.height:
                is_unplaced = pl.col("session_id").is_null() | pl.col("session_id").is_in(
                    without["session_id"].drop_nulls().implode()
                )
                bad = self.placed(rows.filter(is_unplaced)).filter(pl.col(REASON).is_not_null())
                text = rejected_rows(bad, self.table, pl.col(PLACED_AT)).collect()
                unplaced.append(text.select(**here, reason="reason", row="row"))
        return SessionLedger(
            self.read_as,
            dict(self.versions or {}),
            start,
            self.hour.as_of,
            self.in_lake,
            self.session_files,
            pl.concat(hours),
            pl.concat(absent),
            pl.concat(unplaced),
        )


def _without_erased(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return sessions with one that has no id in place of those of erased people."""
    is_erased = pl.col("status") == ERASED
    erased = sessions.filter(is_erased)
    if erased.is_empty():
        return sessions
    # A filtered frame still holds the memory of all texts, and would write it to the disk.
    others = pl.DataFrame(sessions.remove(is_erased).rows(), schema=sessions.schema, orient="row")
    return pl.concat([others, pl.DataFrame({"session_id": [None], "status": [ERASED]}, schema=sessions.schema)])
