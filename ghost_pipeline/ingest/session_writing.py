"""Writing rows of practice sessions, a group of hours after the other, and what is known of their files."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.ingest.deletion_guard import identity_columns, require_rows_stay
from ghost_pipeline.ingest.event_hours import Part, keeping_old_rows, write_events
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.ingest.rejects import HeldRejects, write_rejects
from ghost_pipeline.ingest.result import IngestResult
from ghost_pipeline.ingest.session_groups import WITHOUT_HOUR, SessionGroups
from ghost_pipeline.ingest.session_ledger import SessionLedger, forget_session_ledger, save_session_ledger
from ghost_pipeline.ingest.source_rows import PLACED_AT
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour


def keep_ledger(lake: Lake, table: SourceTable, contract: Contract, ledger: SessionLedger | None) -> None:
    """Record what was read as taken in, now that the lake has its rows."""
    if ledger is None:
        forget_session_ledger(lake, contract.name, table.name)
    else:
        ledger = replace(ledger, lake=lake.file_versions_of(contract))
        save_session_ledger(lake, contract.name, table.name, ledger)


@dataclass(frozen=True)
class KnownRows:
    """What is known once the rows of a window are in the lake."""

    ledger: SessionLedger | None
    """None: the source's parts are not known."""
    unplaced: pl.DataFrame
    """Rejected rows without an hour, of parts that were not read; in the shape of `rejected_rows`."""
    files_read: int
    files_skipped: int


@dataclass
class SessionWriting:
    """One run's writing of one table whose rows belong to practice sessions."""

    lake: Lake
    table: SourceTable
    contract: Contract
    hour: Hour
    policy: ReadPolicy
    start: datetime | None
    """The start of the rows that were read; None: the beginning."""
    groups: SessionGroups
    known: KnownRows
    rejected: HeldRejects = field(default_factory=HeldRejects)
    rejected_ids: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Of the rejected rows of the group that is being written, and of those without an hour."""
    group: int = WITHOUT_HOUR
    """The group that is being written."""
    good: int = 0
    erased: int = 0

    def write(self, *, whole: bool) -> IngestResult:
        """Write the rows, the rejected ones and what is known now.

        Args:
            whole: whether all rows of the table were read; otherwise earlier rejected rows without an hour stay.

        Raises:
            SourceError: too many rows are gone; nothing was written.

        """
        lake, table, contract, hour, known = self.lake, self.table, self.contract, self.hour, self.known
        there = lake.hours_between(contract, self.start, hour.as_of)
        hours = {*there, *chain.from_iterable(self.groups.hours)}
        changed = write_events(lake, contract, hour, hours, self._parts(there, hours), self.policy, self._require_rows)
        write_rejects(lake, table, self.start, hour, self.rejected.frames(), whole=whole)
        keep_ledger(lake, table, contract, known.ledger)
        return IngestResult(
            self.good,
            self.rejected.rows,
            changed=changed,
            erased=self.erased,
            files_read=known.files_read,
            files_skipped=known.files_skipped,
        )

    def _parts(self, there: list[Hour], hours: set[Hour]) -> Iterator[Part]:
        identity = identity_columns(self.contract)
        floor = self.policy.replaces_from(self.lake, self.contract, self.hour)
        old = {one for one in self.lake.written(self.contract, sorted(hours)) if one.start < floor}
        newer = [
            self.groups.of_group(number).good.filter(pl.col(PLACED_AT) >= floor).select(identity)
            for number, some in enumerate(self.groups.hours)
            if old and some and some[-1].start >= floor
        ]
        without_hour = self.groups.of_group(WITHOUT_HOUR)
        self.erased = without_hour.erased
        self.rejected.add(pl.concat([without_hour.rejected, self.known.unplaced]))
        waiting = list(there)
        for number, some in enumerate(self.groups.hours):
            is_last = number == len(self.groups.hours) - 1
            # Hours of the lake that have no row any more are written with the next ones.
            also = [one for one in waiting if is_last or one <= some[-1]]
            waiting = waiting[len(also) :]
            found = self.groups.of_group(number)
            self.group, self.good, self.erased = number, self.good + found.good.height, self.erased + found.erased
            self.rejected.add(found.rejected)
            self.rejected_ids = pl.concat([without_hour.rejected_ids, found.rejected_ids])
            good = found.good.sort(PLACED_AT, *self.table.key)
            together = sorted({*some, *also})
            of_old = [one for one in together if one in old]
            moved = pl.concat([good.clear().select(identity), *newer])
            yield together, keeping_old_rows(self.lake, self.contract, of_old, floor, good, moved)

    def _require_rows(self, existing: list[Hour], rows: pl.DataFrame) -> None:
        def still_there(missing: pl.DataFrame) -> pl.DataFrame:
            return self.groups.elsewhere(missing, self.group)

        require_rows_stay(self.lake, self.contract, existing, rows, self.rejected_ids, self.policy, still_there)
