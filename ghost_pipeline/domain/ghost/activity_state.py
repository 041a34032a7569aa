"""Running totals of many users, to which events are added at a cost that follows the new events only (G2).

A user's days practised are bits of one number, the newest date in the lowest bit. The run that ends on the last
active day therefore begins at the lowest bit that is set, and one addition gives its length, however long it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.contracts.activity import BEFORE_JOURNEY, COUNT_COLUMNS, RECENT_DAYS
from ghost_pipeline.contracts.raw import MOCK_TEST, MODULE_TYPES, TASK_TYPES
from ghost_pipeline.windows import Month

_Ints = npt.NDArray[np.int64]
_Bits = npt.NDArray[np.uint64]

_EPOCH = date(1970, 1, 1)
_BEFORE = 9
"""Dates before the month that have a bit. Today is the day before the month at the earliest (a zone behind UTC), and
the days practised reach back 6 further: 7. Two more cost nothing."""
_AFTER = 2
"""Days after the month that have a bit: a zone ahead of UTC reaches the next date early, and the dates before one that
the zone skipped move up by one."""
_NEVER = np.iinfo(np.int64).min
_WEEK = np.uint64(2**RECENT_DAYS - 1)
_ONE = np.uint64(1)
_KINDS = (*TASK_TYPES, MOCK_TEST)

SUMS = (*COUNT_COLUMNS, BEFORE_JOURNEY)

ACTIVITY_SCHEMA = pl.Schema(
    {
        "entity": pl.UInt32(),
        "local_date": pl.Date(),
        **dict.fromkeys(SUMS, pl.Int64()),
        "last_activity_at": pl.Datetime("us", "UTC"),
    }
)
"""Columns of the rows that are added to a state: any number for an entity and a date."""

ENTITY_EVENT_SCHEMA = pl.Schema(
    {
        "entity": pl.UInt32(),
        "task_type": pl.Enum(_KINDS),
        "completed_at": pl.Datetime("us", "UTC"),
        "time_spent_ms": pl.Int64(),
        "local_date": pl.Date(),
        "is_early": pl.Boolean(),
    }
)
"""Events of entities in 26 bytes each, where their activity would take 100; an early one precedes the created date."""

CHECKPOINT_COLUMNS = (*SUMS, "last_activity_at", "run_first_day", "last_day", "longest_streak", "recent_days")
"""The columns of `user_activity_checkpoints` from which a state resumes."""


@dataclass
class ActivityState:
    """The activity of entities 0, 1, 2 ... up to some instant of a month; an entity is a user in a calendar."""

    month: Month
    counts: Mapping[str, _Ints]
    """The `SUMS`."""
    last_activity: _Ints
    """Microseconds since 1970 of the newest task; the smallest integer if there is none."""
    days: _Bits
    """The days practised around the month: bit i is `newest` - i."""
    run_first: _Ints
    """First day of the last run before the month, as days since 1970: a run may reach back beyond the bits."""
    run_last: _Ints
    """Last day of that run; the smallest integer if there is none."""
    longest: _Ints
    """Length of the longest run so far."""
    skipped: _Ints | None = None
    """The date that each entity's zone left out, as days since 1970; the smallest integer if there is none.

    All runs and bits are of days that follow one another in the entity's zone: dates since 1970, those before the
    skipped date one higher.
    """

    @classmethod
    def empty(cls, size: int, month: Month, skipped: _Ints | None = None) -> "ActivityState":
        """Return a state of `size` entities without any activity before `month`; `skipped` as in the state."""
        nothing = {name: np.zeros(size, np.int64) for name in SUMS}
        never = np.full(size, _NEVER)
        runs = (np.zeros(size, np.uint64), never.copy(), never.copy(), np.zeros(size, np.int64))
        return cls(month, nothing, never.copy(), *runs, skipped)

    @property
    def oldest(self) -> int:
        """The first date that has a bit, in days since 1970."""
        return _number(self.month.start.date()) - _BEFORE

    @property
    def newest(self) -> int:
        """The last date that has a bit: that of the lowest one."""
        return _number(self.month.as_of.date()) - 1 + _AFTER

    def resume(self, entity: _Ints, checkpoint: pl.DataFrame) -> None:
        """Set entities without activity to their totals at the end of the month before.

        Args:
            entity: their numbers, each once.
            checkpoint: a row for each of them, `CHECKPOINT_COLUMNS`.

        """
        for name in SUMS:
            self.counts[name][entity] = checkpoint[name].to_numpy()
        self.last_activity[entity] = _instants(checkpoint["last_activity_at"])
        self.longest[entity] = checkpoint["longest_streak"].to_numpy()
        run = (days_since_1970(checkpoint[name]) for name in ("run_first_day", "last_day"))
        first, last = (self._days_of(entity, dates) for dates in run)
        self._resume_runs(entity, first, last, checkpoint["recent_days"].to_numpy().astype(np.uint64))

    def add(self, rows: pl.DataFrame) -> None:
        """Add activity of the month, in any order and in any parts (`ACTIVITY_SCHEMA`), none of it twice."""
        entity = rows["entity"].to_numpy()
        for name in SUMS:
            np.add.at(self.counts[name], entity, rows[name].to_numpy())
        np.maximum.at(self.last_activity, entity, _instants(rows["last_activity_at"]))
        # Mock tests make no day a day of practice (G2.2).
        practised = rows["tasks_completed"].to_numpy() > 0
        self._practise(entity[practised], days_since_1970(rows["local_date"])[practised])

    def add_events(self, events: pl.DataFrame) -> None:
        """Add events of the month, in any order and in any parts (`ENTITY_EVENT_SCHEMA`), none of them twice.

        The result is that of `add` for their activity, at a quarter of its cost.
        """
        if events["is_early"].any():
            self.counts[BEFORE_JOURNEY][:] += self._counted(events.filter("is_early")["entity"].to_numpy())
            events = events.remove("is_early")
        entity = events["entity"].to_numpy()
        kind = events["task_type"].to_physical().to_numpy()
        for number, name in enumerate(_KINDS):
            found = self._counted(entity[kind == number])
            if name == MOCK_TEST:
                self.counts["mock_tests"][:] += found
            else:
                self.counts["tasks_completed"][:] += found
            if name in MODULE_TYPES:
                self.counts[f"{name}_tasks"][:] += found
        tasks = events.filter(pl.col("task_type") != MOCK_TEST)
        entity = tasks["entity"].to_numpy()
        np.add.at(self.counts["practice_time_ms"], entity, tasks["time_spent_ms"].to_numpy())
        np.maximum.at(self.last_activity, entity, _instants(tasks["completed_at"]))
        self._practise(entity, days_since_1970(tasks["local_date"]))

    def next_month(self) -> "ActivityState":
        """Return the same activity as the start of the next month."""
        state = ActivityState.empty(len(self.days), self.month.next(), self.skipped)
        first, last, recent = self._last_runs()
        state.counts, state.last_activity, state.longest = self.counts, self.last_activity, self.longest
        state._resume_runs(np.arange(len(self.days)), first, last, recent)  # noqa: SLF001 - of its own kind
        return state

    def checkpoint(self) -> pl.DataFrame:
        """Return the checkpoint of the month: `CHECKPOINT_COLUMNS`, a row for every entity in order."""
        first, last, recent = self._last_runs()
        return pl.DataFrame(
            {
                **self.counts,
                "last_activity_at": _as_instants(self.last_activity),
                "run_first_day": _as_dates(first - self._moved_up(slice(None), first)),
                "last_day": _as_dates(last - self._moved_up(slice(None), last)),
                "longest_streak": self.longest.astype(np.int32),
                "recent_days": recent.astype(np.int32),
            }
        ).select(CHECKPOINT_COLUMNS)

    def figures(self, entity: _Ints, today: pl.Series) -> pl.DataFrame:
        """The figures of some entities on a day each.

        Args:
            entity: their numbers.
            today: the local date of each (Date, G1.3), not before its last activity.

        Returns:
            A row for each: `SUMS` Int64, last_activity_at Datetime?, days_practiced Int32 (G1.4),
            current_streak Int32, longest_streak Int32, streak_status String (G2.4).

        """
        first, last, _ = self._last_runs(entity)
        now = self._days_of(entity, days_since_1970(today))
        # The week is one of dates: a skipped one among them leaves six days (G1.4).
        week = now - self._days_of(entity, days_since_1970(today) - RECENT_DAYS + 1) + 1
        silent = np.where(last == _NEVER, 2, now - last)
        # A user without a bit has not practised for a week; a shift by 64 or more would be undefined.
        place = np.clip(self.newest - now, 0, 63).astype(np.uint64)
        status = np.minimum(np.maximum(silent, 0), 2).astype(np.uint8)
        return pl.DataFrame(
            {
                **{name: values[entity] for name, values in self.counts.items()},
                "last_activity_at": _as_instants(self.last_activity[entity]),
                "days_practiced": np.bitwise_count((self.days[entity] >> place) & _ones(week)).astype(np.int32),
                "current_streak": np.where(silent <= 1, last - first + 1, 0).astype(np.int32),
                "longest_streak": self.longest[entity].astype(np.int32),
                "streak_status": pl.Series(["active", "at_risk", "broken"]).gather(pl.Series(status)),
            }
        )

    def _counted(self, entity: _Ints) -> _Ints:
        """Return how often each entity is there."""
        return np.bincount(entity, minlength=len(self.days))

    def _practise(self, entity: _Ints, dates: _Ints) -> None:
        """Add days of practice: an entity and a date each, as days since 1970."""
        place = (self.newest - self._days_of(entity, dates)).astype(np.uint64)
        np.bitwise_or.at(self.days, entity, _ONE << place)
        # Flags, because sorting a million numbers takes ten times as long.
        practised_now = np.zeros(len(self.days), bool)
        practised_now[entity] = True
        touched = np.flatnonzero(practised_now)
        self.longest[touched] = np.maximum(self.longest[touched], self._longest_of_bits(touched))

    def _days_of(self, entity: _Ints, dates: _Ints) -> _Ints:
        return dates + self._moved_up(entity, dates)

    def _moved_up(self, entity: _Ints | slice, days: _Ints) -> _Ints | int:
        """Return 1 for the days before the one that an entity's zone skipped, 0 for others."""
        if self.skipped is None:
            return 0
        return ((days > _NEVER) & (days <= self.skipped[entity])).astype(np.int64)

    def _resume_runs(self, entity: _Ints, first: _Ints, last: _Ints, recent: _Bits) -> None:
        self.run_first[entity], self.run_last[entity] = first, last
        reaches = last >= self.oldest
        entity, first, last, recent = entity[reaches], first[reaches], last[reaches], recent[reaches]
        lowest = (self.newest - last).astype(np.uint64)
        length = last - np.maximum(first, self.oldest) + 1
        run = (_ONE << length.astype(np.uint64)) - _ONE
        all_bits = (_ONE << np.uint64(self.newest - self.oldest + 1)) - _ONE
        self.days[entity] |= ((run | recent) << lowest) & all_bits

    def _last_runs(self, entity: _Ints | None = None) -> tuple[_Ints, _Ints, _Bits]:
        """Return first and last day of each entity's last run, and the bits of its last dates, newest lowest."""
        chosen = slice(None) if entity is None else entity
        days, first, last = self.days[chosen], self.run_first[chosen], self.run_last[chosen]
        lowest = days & (~days + _ONE)
        run = days & ~(days + lowest)
        found = days > 0
        zeros = np.bitwise_count(lowest - found.astype(np.uint64)).astype(np.int64)
        ends = np.where(found, self.newest - zeros, last)
        begins = ends - np.bitwise_count(run).astype(np.int64) + 1
        goes_on = (begins == self.oldest) & (first < self.oldest) & (last >= self.oldest)
        begins = np.where(found & ~goes_on, begins, first)
        return begins, ends, np.where(found, (days >> zeros.astype(np.uint64)) & _WEEK, np.uint64(0))

    def _longest_of_bits(self, entity: _Ints) -> _Ints:
        """Return the longest run of each entity that has a bit, including the part beyond the bits."""
        days = self.days[entity]
        longest = np.zeros(len(days), np.int64)
        left, rest = np.arange(len(days)), days
        while len(left):
            # Every turn removes the newest day of each run: a run of n days lasts n turns.
            some = rest > 0
            left, rest = left[some], rest[some]
            longest[left] += 1
            rest = rest & (rest >> _ONE)
        # The run at the upper end of the bits may have begun before them.
        width = self.newest - self.oldest + 1
        gaps = ~days & ((_ONE << np.uint64(width)) - _ONE)
        # Exact: the bits are fewer than the 53 of a float.
        upper = width - np.frexp(gaps.astype(np.float64))[1].astype(np.int64)
        first, last = self.run_first[entity], self.run_last[entity]
        goes_on = (first < self.oldest) & (last >= self.oldest)
        return np.where(goes_on, np.maximum(longest, upper + self.oldest - first), longest)


def _number(day: date) -> int:
    return (day - _EPOCH) // timedelta(days=1)


def _ones(count: _Ints) -> _Bits:
    return (_ONE << count.astype(np.uint64)) - _ONE


def days_since_1970(days: pl.Series) -> _Ints:
    """Return dates as numbers, null as the smallest integer."""
    return days.to_physical().cast(pl.Int64).fill_null(_NEVER).to_numpy()


def _instants(instants: pl.Series) -> _Ints:
    return instants.to_physical().fill_null(_NEVER).to_numpy()


def _as_dates(days: _Ints) -> pl.Series:
    return pl.Series(days, dtype=pl.Int64).replace(_NEVER, None).cast(pl.Int32).cast(pl.Date)


def _as_instants(instants: _Ints) -> pl.Series:
    return pl.Series(instants, dtype=pl.Int64).replace(_NEVER, None).cast(pl.Datetime("us", "UTC"))
