"""Which files the hourly tables have. Days that have settled are remembered, so a listing costs what is recent.

Writers mark the month of a settled day as unfinished before they replace or remove its files, and give the mark another
version afterwards. The marks are files of the lake, so they reach every machine that reads a bucket; what is remembered
is in the cache of this machine. Each process lists some settled days again: a change by hand is noticed within days.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import date
from uuid import uuid4

import polars as pl

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.file_versions import FileVersion, file_version
from ghost_pipeline.lake.local_files import Files
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import DAY

CHANGES = ".changes"
"""The folder of the marks, `.changes/<table>/<month>`."""
SETTLED_DAYS = 10
"""Days of a table that are always listed: longer than the look-back, and than snapshots of users are kept."""
MARKED_DAYS = SETTLED_DAYS - 1
"""Writers mark changes of days before these. One fewer than are listed: a day is remembered only once its writers mark
it, even if another writer has added a day meanwhile. If more days were added or removed, they mark after the change."""
CHECKED_DAYS = 10
"""Settled days that a process lists again: a year of them in 36 processes."""
HOUR_FILES = pl.Schema(
    {"day": pl.String(), "hour": pl.String(), "size": pl.Int64(), "changed_ns": pl.Int64(), "number": pl.UInt64()}
)
"""The values in the names of a file's folders, `2025-03-12` and `11`, and its version."""
_KEPT = pl.Schema({**HOUR_FILES, "mark": pl.String(), "place": pl.String()})
"""A day that has no file has a row without an hour."""
_CHECKED_UNTIL = pl.Schema({"day": pl.String()})
"""The last settled day that was listed again: the next process goes on after it."""
_LISTING, _CHECKED = "listing", "checked"
_MONTH = len("2025-03")
_UNFINISHED = b"\n"


class HourListing:
    """The files of a lake's hourly tables."""

    def __init__(self, files: Files) -> None:
        """Look below a place; nothing is read yet."""
        self._files = files
        self._memory: dict[str, tuple[FileVersion | None, pl.DataFrame]] = {}
        self._checked: set[str] = set()

    def files(self, table: str, since: str = "") -> pl.DataFrame:
        """The files of a table, in `HOUR_FILES`, ascending.

        Args:
            table: a table with two levels of folders.
            since: skip folders of days whose names sort before this.

        """
        folders = sorted(one for one in self.folders(table) if one >= since)
        settled = _older(folders, folders[-1], SETTLED_DAYS) if folders else []
        if not settled:
            return self._listed(table, folders)
        # Before the files: a writer that comes between the two makes another mark.
        marks, place = self._marks(table), self._files.place(table)
        kept = self._kept(table, marks, place)
        known = kept.filter(pl.col("day").is_in([_day(one) for one in settled]))
        recent = self._listed(table, folders[len(settled) :])
        days = set(known["day"])
        unknown = [one for one in settled if _day(one) not in days]
        listed = self._listed(table, unknown, every=True)
        if not since:
            checked = self._days_to_check(table, known)
            if checked and not self._is_as_known(table, checked, known):
                # The files were copied or changed by hand: nothing that is known is relied upon.
                known, unknown = known.clear(), settled
                listed = self._listed(table, settled, every=True)
            new = _marked(listed, marks, place)
            if new.height or known.height < kept.height:
                # A process that may only read lists again next time.
                with suppress(LakeError):
                    self._cache(table).write({_LISTING: pl.concat([known, new]).sort("day", "hour")})
        found = pl.concat([known.select(HOUR_FILES.names()), listed, recent])
        return found.filter(pl.col("hour").is_not_null()).sort("day", "hour")

    @contextmanager
    def changing(self, table: str, days: Collection[str]) -> Iterator[None]:
        """Mark settled days of a table while their files are replaced or removed.

        Args:
            table: any table; nothing is marked for one without hours.
            days: the days of the files.

        Raises:
            LakeError: they cannot be marked; nothing was changed.

        """
        if not days:
            yield
            return
        there = self.days(table)
        if not there:
            self.forget(table)
        known = {*there, *days}
        months = _months(_older(days, max(known), MARKED_DAYS))
        with ExitStack() as locks:
            if months:
                # One change at a time: the end of a first one would make what is listed during a second one count.
                locks.enter_context(self._lock(table))
                self._mark(table, months, _UNFINISHED)
            try:
                yield
            except BaseException:
                with suppress(LakeError):
                    self._end(table, days, known, months)
                raise
            self._end(table, days, known, months)

    def _end(self, table: str, days: Collection[str], known: Collection[str], months: Sequence[str]) -> None:
        """Mark that a change has ended: of the months that were marked before it, and of those that need it now."""
        moved = self._moved(table, days, known)
        if moved or months:
            with nullcontext() if months else self._lock(table):
                self._mark(table, sorted({*months, *moved}), _token())

    def _lock(self, table: str) -> AbstractContextManager[None]:
        return table_lock(self._files.folder, f"{table}{CHANGES}")

    def _moved(self, table: str, days: Collection[str], known: Collection[str]) -> list[str]:
        """The months to be marked after a change because the newest day is no longer the one before it.

        Days that were recent when the change began may have been remembered during it. Days that are recent again may
        be changed without a mark from now on.
        """
        before, after = max(known), max(self.days(table), default="")
        if after > before:
            return _months(_older(days, after, MARKED_DAYS))
        if after and after < before:
            recent_again = {*_older(known, before, SETTLED_DAYS)} - {*_older(known, after, SETTLED_DAYS)}
            return _months(recent_again)
        return []

    def folders(self, table: str) -> list[str]:
        """The names of a table's folders of days, in no order; others that lie beside them are no part of it."""
        return [one for one in self._files.folders(table) if "=" in one and _is_day(_day(one))]

    def days(self, table: str) -> list[str]:
        """The days for which a table has a folder, in no order."""
        return [_day(one) for one in self.folders(table)]

    def is_known(self, table: str, day: str, hour: str) -> bool:
        """Whether the file of an hour is remembered, and was neither replaced nor removed by a writer since."""
        if table not in self._memory:
            return False
        kept = self._kept(table, self._marks(table), self._files.place(table))
        return not kept.filter(pl.col("day") == day, pl.col("hour") == hour).is_empty()

    def forget(self, table: str) -> None:
        """List all days of a table again next time."""
        with suppress(LakeError):
            self._cache(table).remove(_LISTING)

    def _cache(self, table: str) -> Cache:
        return Cache(self._files.folder, table)

    def _listed(self, table: str, folders: Sequence[str], *, every: bool = False) -> pl.DataFrame:
        """The files in some folders, ascending; with `every`, a row for each folder without a file, too."""
        rows: list[tuple[object, ...]] = [
            (day, hour, *version) for (day, hour), version in self._files.in_folders(table, folders)
        ]
        if every:
            rows += [(day, *[None] * 4) for day in {*map(_day, folders)} - {str(row[0]) for row in rows}]
        return pl.DataFrame(rows, schema=HOUR_FILES, orient="row").sort("day", "hour")

    def _marks(self, table: str) -> dict[str, str | None]:
        """The versions of the marks by month; None for a change that has not ended."""
        found = self._files.versions_in(f"{CHANGES}/{table}")
        return {
            month: "-".join(map(str, version)) if version.size > len(_UNFINISHED) else None
            for month, version in found.items()
        }

    def _mark(self, table: str, months: Sequence[str], content: bytes) -> None:
        names = [f"{CHANGES}/{table}/{month}" for month in months]
        # A mark that a power cut leaves empty counts as a change that has not ended.
        with self._files.replacing(names, flush=False) as staging:
            for name in names:
                staging.put(name, content)

    def _kept(self, table: str, marks: dict[str, str | None], place: str) -> pl.DataFrame:
        """The remembered rows whose months have no other mark since."""
        cache = self._cache(table)
        version = file_version(cache.path(_LISTING))
        if table not in self._memory or self._memory[table][0] != version:
            self._memory[table] = version, cache.read(_LISTING, _KEPT)
        kept = self._memory[table][1]
        now = pl.DataFrame([*marks.items()], {"month": pl.String, "now": pl.String}, orient="row")
        known = kept.with_columns(month=pl.col("day").str.head(_MONTH)).join(
            now.with_columns(is_marked=True), on="month", how="left", maintain_order="left"
        )
        same = pl.when(pl.col("is_marked")).then(pl.col("now") == pl.col("mark")).otherwise(pl.col("mark") == "")
        return known.filter(pl.col("place") == place, same.fill_null(value=False)).select(_KEPT.names())

    def _days_to_check(self, table: str, known: pl.DataFrame) -> list[str]:
        """The settled days that this process lists again, once: those after the ones of the process before."""
        if table in self._checked or known.is_empty():
            return []
        self._checked.add(table)
        cache, days = self._cache(table), known["day"].unique().sort().to_list()
        last = max(cache.read(_CHECKED, _CHECKED_UNTIL)["day"], default="")
        # In a circle: with one run a day, the days after the last one are never at an end.
        some = [*(day for day in days if day > last), *(day for day in days if day <= last)][:CHECKED_DAYS]
        # A process that may only read checks what the next writer checks, too.
        with suppress(LakeError):
            cache.write({_CHECKED: pl.DataFrame({"day": some[-1:]}, _CHECKED_UNTIL)})
        return some

    def _is_as_known(self, table: str, days: list[str], known: pl.DataFrame) -> bool:
        key = next(iter(self.folders(table))).partition("=")[0]
        now = self._listed(table, [f"{key}={day}" for day in days], every=True)
        before = known.filter(pl.col("day").is_in(days)).select(HOUR_FILES.names())
        return now.equals(before.sort("day", "hour"))


def _marked(listed: pl.DataFrame, marks: dict[str, str | None], place: str) -> pl.DataFrame:
    """Rows to be remembered: those of months in which no change is going on."""
    months = listed["day"].str.head(_MONTH)
    mark = pl.Series("mark", [marks.get(month, "") for month in months], pl.String)
    return listed.with_columns(mark, place=pl.lit(place)).filter(pl.col("mark").is_not_null())


def _day(folder: str) -> str:
    """The day in the name of a folder; a day itself stays."""
    return folder.rpartition("=")[2]


def _is_day(text: str) -> bool:
    with suppress(ValueError):
        # Python also reads 20250312, which is no name of a folder.
        return date.fromisoformat(text).isoformat() == text
    return False


def _months(days: Iterable[str]) -> list[str]:
    return sorted({day[:_MONTH] for day in days})


def _older(days: Iterable[str], newest: str, by: int) -> list[str]:
    """The days, or folders of days, that are more than so many days before another one, in their order."""
    first = _days_before(newest, by)
    return [one for one in days if _day(one) < first]


def _days_before(newest: str, days: int) -> str:
    return (date.fromisoformat(_day(newest)) - days * DAY).isoformat()


def _token() -> bytes:
    return uuid4().hex.encode()
