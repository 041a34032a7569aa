"""Rows of practice sessions in groups of hours that fit into memory one by one.

Which hours are together follows from the numbers of their rows, which are counted first. All rows of a session are in
one hour, so what is decided within a session, such as repeats, is decided within a group.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.domain.shared.versions import INSTANT
from ghost_pipeline.ingest.deletion_guard import identity_columns
from ghost_pipeline.ingest.event_rows import BATCH_ROWS
from ghost_pipeline.ingest.source_rows import PLACED_AT
from ghost_pipeline.ingest.validation import ERASED, REASON, ROW, reject_repeats, rejected_rows
from ghost_pipeline.sources.source import Window
from ghost_pipeline.sources.spill import Groups
from ghost_pipeline.windows import Hour

WITHOUT_HOUR = -1
"""The group of rejected rows that tell no hour."""
_GROUP = "_group"
_SESSIONS = pl.Schema({"session_id": pl.String(), _GROUP: pl.Int64()})


@dataclass(frozen=True)
class GroupRows:
    """The rows of a group."""

    good: pl.DataFrame
    """Columns of the contract and `PLACED_AT`."""
    rejected: pl.DataFrame
    """In the shape of `rejected_rows`."""
    rejected_ids: pl.DataFrame
    """`identity_columns` and `_reason` of the rejected rows."""
    erased: int


@dataclass(frozen=True)
class SessionGroups:
    """The rows of a window that were read, by groups of hours."""

    table: SourceTable
    hours: list[list[Hour]]
    """The hours with rows of each group, ascending from group to group."""
    _sessions: pl.DataFrame
    """The group of each session; empty if there is one group."""
    _rows: Groups | list[pl.DataFrame]
    """By group, or all of them together."""
    _empty: pl.DataFrame

    def of_group(self, group: int) -> GroupRows:
        """Return the rows of a group, of which repeats are rejected."""
        if isinstance(self._rows, Groups):
            found = pl.concat([self._empty, *self._rows.read(group)])
        else:
            is_placed = pl.col(PLACED_AT).is_not_null()
            found = pl.concat([self._empty, *self._rows])
            found = found.remove(is_placed) if group == WITHOUT_HOUR else found.filter(is_placed)
        rows = reject_repeats(found.lazy(), self.table, ()).collect() if self.table.key else found
        is_good = pl.col(REASON).is_null()
        bad = rows.remove(is_good)
        return GroupRows(
            rows.filter(is_good).drop(REASON, ROW),
            rejected_rows(bad.lazy(), self.table, pl.col(PLACED_AT)).collect(),
            bad.select(*identity_columns(self.table.contract), REASON),
            bad.filter(pl.col(REASON) == ERASED).height,
        )

    def identities(self, group: int) -> pl.DataFrame:
        """Return `identity_columns` of the good rows of a group."""
        return self.of_group(group).good.select(identity_columns(self.table.contract))

    def elsewhere(self, missing: pl.DataFrame, group: int) -> pl.DataFrame:
        """Return, of the identities of some rows, those of good rows in other groups."""
        others = self._sessions.join(missing, on="session_id", how="semi").filter(pl.col(_GROUP) != group)[_GROUP]
        found = [missing.join(self.identities(one), on=missing.columns, how="semi") for one in others.unique().sort()]
        return pl.concat([missing.clear(), *found])


@contextmanager
def in_groups(
    read: pl.LazyFrame,
    place: Callable[[pl.LazyFrame], pl.LazyFrame],
    table: SourceTable,
    window: Window,
    rows_together: int,
) -> Iterator[SessionGroups]:
    """Read the rows of a window, and those without an hour, and keep them until the end of the block.

    Args:
        read: read rows.
        place: adds `PLACED_AT` to some of them, or leaves rows out, whatever the other rows are.
        table: their table.
        window: the hours.
        rows_together: how many rows fit into memory. More are kept in a temporary file, and read once more to count
            them first. An hour with more rows is a group by itself.

    """
    placed, hour = pl.col(PLACED_AT), pl.col(PLACED_AT).dt.truncate("1h").alias("hour")
    is_here = placed < pl.lit(window.end, INSTANT)
    if window.start is not None:
        is_here &= placed >= pl.lit(window.start, INSTANT)

    def here(rows: pl.LazyFrame) -> pl.LazyFrame:
        return place(rows).filter(is_here | placed.is_null())

    def batches() -> Iterator[pl.DataFrame]:
        # Joined batch by batch: in one query, each join holds a part of the rows (1.2 GB of 6 M keystrokes).
        for batch in read.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False):
            yield here(batch.lazy()).collect()

    empty = place(read).collect_schema().to_frame()
    kept: list[pl.DataFrame] = []
    for batch in batches():
        kept.append(batch)
        if sum(one.height for one in kept) > rows_together:
            break
    else:
        every = pl.concat([empty, *kept])[PLACED_AT].drop_nulls().dt.truncate("1h").unique().sort()
        yield SessionGroups(table, [[*map(Hour.containing, every)]], _SESSIONS.to_frame(), kept, empty)
        return
    kept = []
    counts = here(read).group_by("session_id", hour).len().collect(engine="streaming")
    groups = _groups(counts.drop_nulls("hour").group_by("hour").agg(pl.col("len").sum()).sort("hour"), rows_together)
    group_of = pl.DataFrame(
        [(one.start, number) for number, hours in enumerate(groups) for one in hours],
        schema={"hour": INSTANT, _GROUP: pl.Int64},
        orient="row",
    )
    with Groups() as found:
        for batch in batches():
            group = batch.select(hour).join(group_of, on="hour", how="left", maintain_order="left")[_GROUP]
            told = batch.with_columns(group.fill_null(WITHOUT_HOUR))
            for (number,), part in told.partition_by(_GROUP, include_key=False, as_dict=True).items():
                found.add(number, part)
        sessions = counts.join(group_of, on="hour").select(_SESSIONS.names())
        yield SessionGroups(table, groups, sessions, found, empty)


def _groups(counts: pl.DataFrame, rows_together: int) -> list[list[Hour]]:
    """Cut hours, with the numbers of their rows, into consecutive ones that fit into memory together."""
    groups: list[list[Hour]] = [[]]
    room = rows_together
    for start, rows in counts.iter_rows():
        if groups[-1] and rows > room:
            groups.append([])
            room = rows_together
        groups[-1].append(Hour.containing(start))
        room -= rows
    return groups
