"""The hashed sessions of a lake, cached by day, and their totals by pair, cached as of the last computed hour.

An hour reads the days whose files were replaced since then, and adds and takes away their sessions. Day frames carry
the versions of the files that they were read from, and the totals a hash of all versions that they include: whatever
does not fit is computed from the day frames, or from the lake.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby

import polars as pl

from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, SESSION_NGRAM_SPEED
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import (
    HASHED_SESSION_SCHEMA,
    PAIR,
    PAIR_TOTAL_SCHEMA,
    hashed_sessions,
    pair_totals,
    sum_of_totals,
)
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.stable_hash import row_hashes
from ghost_pipeline.windows import Hour

READ_BYTES = 8 << 20
"""Files of `session_ngram_speed` that are read together: some 1,000,000 measurements.

Small days share a reading: one at a time, 100 days with 50,000 measurements each take a third longer."""

_SEEN, _TOTALS, _SESSIONS = "seen", "totals", "sessions"
_VERSION = FILE_VERSION_SCHEMA.names()
_SESSION_SCHEMA = pl.Schema({**FILE_VERSION_SCHEMA, **HASHED_SESSION_SCHEMA})
_TOTALS_SCHEMA = pl.Schema({**PAIR_TOTAL_SCHEMA, "seen": pl.UInt64()})
_TOTALS_TOGETHER = 32
"""Totals that are held before they are summed up."""

Keep = Callable[[Mapping[str, pl.DataFrame]], None]
_Day = tuple[datetime, pl.DataFrame]
"""The start of a day, and rows of its hours."""


def session_versions(lake: Lake, as_of: datetime) -> pl.DataFrame:
    """Return the `Lake.file_versions` that hashed sessions follow from, of the hours before `as_of`.

    Raises:
        LakeError: hours are missing; names them.

    """
    return lake.file_versions((PRACTICE_SESSIONS, SESSION_NGRAM_SPEED), as_of)


class HashedSessions:
    """The sessions of a lake that started before `as_of`."""

    def __init__(
        self,
        lake: Lake,
        cache: Cache,
        as_of: datetime,
        keep: Keep,
        versions: pl.DataFrame,
        before: "HashedSessions | None" = None,
    ) -> None:
        """Bring the totals up to date.

        Args:
            lake: the lake.
            cache: the frames of an earlier run.
            as_of: the end of an hour.
            keep: writes frames to the cache, in the order of the calls.
            versions: the `session_versions` of the lake until `as_of` or later.
            before: the sessions of an earlier hour, if they are at hand: the totals follow from these then.

        """
        self._lake, self._cache, self._as_of, self._keep = lake, cache, as_of, keep
        self.versions = versions.filter(pl.col("hour") < as_of)
        """The versions of the files that they follow from."""
        self._came, self._gone = HASHED_SESSION_SCHEMA.to_frame(), HASHED_SESSION_SCHEMA.to_frame()
        self._are_cached = False
        self.totals = self._up_to_date(before)
        """The `pair_totals` of all sessions, sorted."""

    def of_pairs(self, pairs: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
        """The hashed sessions of some pairs.

        Args:
            pairs: `user_id` and `keyboard_id`.
            known: hashed sessions of these pairs at some earlier time, which save reading every day.

        """
        session = HASHED_SESSION_SCHEMA.names()
        stayed = known.join(self._gone, on=session, how="anti").join(self._came, on="session_id", how="anti")
        found = pl.concat([stayed.select(session), self._came.join(pairs, on=PAIR, how="semi")])
        total = PAIR_TOTAL_SCHEMA.names()
        right = pair_totals(found).join(self.totals, on=total, how="semi")
        others = pairs.join(right, on=PAIR, how="anti").join(self.totals, on=PAIR, how="semi")
        whole = found.join(right, on=PAIR, how="semi")
        if others.height:
            whole = pl.concat([whole, *(rows.join(others, on=PAIR, how="semi") for rows in self.by_days())])
        return whole

    def by_days(self) -> Iterator[pl.DataFrame]:
        """Read the hashed sessions, some days at a time; days without a session may give an empty frame."""
        for days in self._together(self.versions):
            yield _sessions(self._rows(days, [self._cache.read(_name(day), _SESSION_SCHEMA) for day, _ in days]))

    def keep_totals(self) -> None:
        """Cache the totals. Without this a later hour reads the hours since they were last cached."""
        if not self._are_cached:
            hashed = self.totals.with_columns(seen=pl.lit(_hash_of(self.versions), pl.UInt64))
            self._keep({_TOTALS: hashed, _SEEN: self.versions})
            self._are_cached = True

    def _up_to_date(self, before: "HashedSessions | None") -> pl.DataFrame:
        if before is not None:
            totals = self._with_changes(before.totals, before.versions)
            return self._from_all_days() if totals is None else totals
        seen = self._cache.read(_SEEN, FILE_VERSION_SCHEMA)
        kept = self._cache.read(_TOTALS, _TOTALS_SCHEMA)
        is_known = kept.height > 0 and (kept["seen"] == _hash_of(seen)).all()
        known = kept.select(PAIR_TOTAL_SCHEMA.names())
        if is_known and seen.equals(self.versions):
            self._are_cached = True
            return known
        totals = self._with_changes(known, seen) if is_known else None
        return self._from_all_days() if totals is None else totals

    def _with_changes(self, before: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame | None:
        """The totals from earlier ones; None if so much has changed, or is unknown, that all days have to be read."""
        gone = seen.join(self.versions, on=_VERSION, how="anti")
        came = self.versions.join(seen, on=_VERSION, how="anti")
        if gone.height + came.height > seen.height:
            return None
        went, arrived = [self._gone], [self._came]
        for day, hours in self._days(pl.concat([gone, came]).select("hour").unique()):
            known = self._cache.read(_name(day), _SESSION_SCHEMA)
            replaced = known.join(gone, on=_VERSION, how="semi")
            if replaced["hour"].n_unique() < gone.join(hours, on="hour", how="semi").height:
                return None
            went.append(_sessions(replaced))
            versions = self.versions.join(hours, on="hour", how="semi")
            every = self.versions.filter(pl.col("hour").dt.truncate("1d") == day)
            arrived.append(_sessions(self._rows([(day, every)], [known]).join(versions, on=_VERSION, how="semi")))
        self._gone, self._came = pl.concat(went), pl.concat(arrived)
        if self._gone.is_empty() and self._came.is_empty():
            return before
        return sum_of_totals([before, pair_totals(self._came)], [pair_totals(self._gone)])

    def _from_all_days(self) -> pl.DataFrame:
        # An earlier release kept the sessions of a month together: no run reads those frames any more.
        for name in self._cache.names(_SESSIONS):
            if not _is_day(name):
                self._cache.remove(name)
        totals: list[pl.DataFrame] = []
        for rows in self.by_days():
            totals.append(pair_totals(rows))
            if len(totals) == _TOTALS_TOGETHER:
                totals = [sum_of_totals(totals)]
        return sum_of_totals(totals)

    def _rows(self, days: Sequence[_Day], known: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """The rows of some days; reads the hours whose files were replaced, and caches their days then.

        Args:
            days: the days, with the versions of all their hours.
            known: what is cached of each.

        """
        versions = pl.concat([of_day for _, of_day in days])
        rows = pl.concat(known).join(versions, on=_VERSION, how="semi")
        unread = versions.join(rows, on=_VERSION, how="anti")
        if unread.height:
            rows = pl.concat([rows, *self._hashed(unread)])
            read, by_day = _by_day(unread), _by_day(rows)
            later = (cached.filter(pl.col("hour") >= self._as_of) for cached in known)
            self._keep(
                {
                    _name(day): pl.concat([by_day[day], of_later])
                    for (day, _), of_later in zip(days, later, strict=True)
                    if day in read
                }
            )
        return rows

    def _hashed(self, versions: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Read the sessions of some hours. An hour without sessions gets a row, too, which shows that it was read."""
        for part in self._lake.in_parts(SESSION_NGRAM_SPEED, map(Hour.containing, versions["hour"]), READ_BYTES):
            found = hashed_sessions(
                *(self._lake.scan(table, part) for table in (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED))
            )
            found = found.with_columns(hour=pl.col("start_time").dt.truncate("1h"))
            of_part = versions.filter(pl.col("hour").is_in([hour.start for hour in part]))
            yield of_part.join(found, on="hour", how="left").select(_SESSION_SCHEMA.names())

    def _together(self, hours: pl.DataFrame) -> Iterator[list[_Day]]:
        """The days of some hours in lists of days that are small together; a large day is alone."""
        parts = self._lake.in_parts(SESSION_NGRAM_SPEED, map(Hour.containing, hours["hour"]), READ_BYTES)
        part_of = {hour.start: number for number, part in enumerate(parts) for hour in part}
        # The part of a day is that of its last hour: its first one may still have had room in the part before.
        for _, days in groupby(self._days(hours), lambda day: part_of[day[1]["hour"][-1]]):
            yield list(days)

    @staticmethod
    def _days(hours: pl.DataFrame) -> Iterator[_Day]:
        """The days of some hours, ascending, each with its rows."""
        yield from _by_day(hours.sort("hour")).items()


def _by_day(rows: pl.DataFrame) -> dict[datetime, pl.DataFrame]:
    """The rows of each day, in the order in which the days come."""
    days = rows.with_columns(day=pl.col("hour").dt.truncate("1d"))
    parts = days.partition_by("day", maintain_order=True, include_key=False, as_dict=True)
    return {day: of_day for (day,), of_day in parts.items()}


def _sessions(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("session_id").is_not_null()).select(HASHED_SESSION_SCHEMA.names())


def _hash_of(versions: pl.DataFrame) -> int:
    schema = {"hash": pl.UInt64, "hours": pl.Int64}
    (found,) = row_hashes(pl.DataFrame([(row_hashes(versions).sum(), versions.height)], schema, orient="row"))
    return int(found)


def _name(day: datetime) -> str:
    return f"{_SESSIONS}/{day:%Y-%m-%d}"


def _is_day(name: str) -> bool:
    try:
        date.fromisoformat(name.removeprefix(f"{_SESSIONS}/"))
    except ValueError:
        return False
    return True
