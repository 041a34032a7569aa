"""The activity of users up to the end of an hour, from stored sums and the events since (G2).

The state is a checkpoint of the previous month, plus a sum for each day since, plus today's hours of events: reading it
costs a month at most, however long the history. Missing sums are computed and stored on the way. Users are counted in
the given calendar; users whose checkpoint or day was summed up in another calendar are recounted from their events
(G1.6).

A run that replaces past events first removes the sums that follow from them (`forget_activity`).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.contracts.activity import COUNT_COLUMNS, USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.domain.ghost.activity_rollups import activity_days, entity_events, event_activity, of_journeys
from ghost_pipeline.domain.ghost.activity_state import (
    ACTIVITY_SCHEMA,
    CHECKPOINT_COLUMNS,
    ActivityState,
    days_since_1970,
)
from ghost_pipeline.domain.shared.local_time import skipped_date
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.windows import DAY, Day, Hour, Month, hours

WEEK = timedelta(days=7)
_CALENDAR = ("timezone", "created_date")
_CHECKPOINT = ("user_id", *_CALENDAR, *CHECKPOINT_COLUMNS)
_REBUILT_SCHEMA = pl.Schema(
    {**{name: USER_ACTIVITY_CHECKPOINTS.polars_schema[name] for name in _CHECKPOINT}, "checkpoint": pl.String()}
)
_LOCK = "user_activity"


def activity_lock(lake: Lake) -> AbstractContextManager[None]:
    """The lock of runs that sum up events or replace them, so that no sum of replaced events is stored."""
    return table_lock(lake.root, _LOCK)


def forget_activity(lake: Lake, changed: Sequence[Hour]) -> None:
    """Remove the sums that follow from the events of some hours about to be replaced. The caller holds the lock."""
    first = Month.containing(min(changed).start)
    for day in lake.written(USER_ACTIVITY_DAYS, {Day.containing(hour.start) for hour in changed}):
        lake.remove(USER_ACTIVITY_DAYS, day)
    # The newest first: a checkpoint follows from the previous one.
    for month in reversed(lake.months(USER_ACTIVITY_CHECKPOINTS)):
        if month >= first:
            lake.remove(USER_ACTIVITY_CHECKPOINTS, month)


class ActivityHistory:
    """The activity of some users, in the given calendars.

    Missing sums are computed and stored: the caller holds the lock from before it reads the users until the first
    result.
    """

    def __init__(self, lake: Lake, entities: pl.DataFrame) -> None:
        """Take frames of `ENTITY_SCHEMA`; sums are stored in the calendar of a user's first entity."""
        self._lake, self._entities = lake, entities
        self._users = entities.select("entity", "user_id", *_CALENDAR).lazy()
        self._seen = np.zeros(entities.height, bool)
        skipped = entities.select(skipped_date(pl.col("timezone"))).to_series()
        self._skipped = None if skipped.null_count() == len(skipped) else days_since_1970(skipped)
        first = lake.first_hour(USER_PROGRESS)
        self._begin = first.start if first else None

    def states(self, ends: Sequence[datetime]) -> Iterator[tuple[ActivityState, npt.NDArray[np.int64]]]:
        """The activity up to each of some ends of hours, ascending, with the tasks of the 168 hours before it (G1.4).

        The state is the same object each time, continued for the next end.

        Raises:
            LakeError: hours of events are missing; names them.

        """
        state, week = self._at(ends[0])
        yield state, week
        if len(ends) > 1:
            arriving = self._by_hour(ends[0], ends[-1])
            leaving = self._by_hour(ends[0] - WEEK, ends[-1] - WEEK)
            for before, end in pairwise(ends):
                for hour in hours(before, end):
                    if hour.start == state.month.as_of:
                        state = state.next_month()
                    if (rows := arriving.get(hour.start)) is not None:
                        state.add(rows)
                        _add_tasks(week, rows)
                    if (rows := leaving.get(hour.start - WEEK)) is not None:
                        _add_tasks(week, rows, sign=-1)
                yield state, week

    def checkpoint(self, month: Month) -> pl.DataFrame:
        """The rows of `user_activity_checkpoints` for a month, computed if they are missing.

        Raises:
            LakeError: hours of events are missing; names them.

        """
        self._after(month)
        return self._lake.scan(USER_ACTIVITY_CHECKPOINTS, [month]).collect()

    def days(self, day: Day) -> pl.DataFrame:
        """The rows of `user_activity_days` for a day, computed if they are missing.

        Raises:
            LakeError: hours of events are missing; names them.

        """
        self._sum_up([day])
        return self._lake.scan(USER_ACTIVITY_DAYS, [day]).collect()

    def _at(self, end: datetime) -> tuple[ActivityState, npt.NDArray[np.int64]]:
        today = Day.containing(Hour.ending_at(end).start)
        month = Month.containing(today.start)
        week = np.zeros(self._entities.height, np.int64)
        state = self._after(month.previous())
        since = end - WEEK
        first_day = Day.containing(since + DAY - timedelta(microseconds=1))
        summed, again = self._summed_up(min(month.start, first_day.start), today.start)
        # Users whose calendar has changed since are recounted from their events.
        if again.height:
            rows = self._activity(min(month.start, first_day.start), today.start, again.lazy())
            summed = pl.concat([summed, rows.select(summed.columns)])
        state.add(summed.filter(pl.col("hour") >= month.start))
        _add_tasks(week, summed.filter(pl.col("hour") >= first_day.start))
        now = self._activity(today.start, end)
        state.add(now)
        _add_tasks(week, now)
        _add_tasks(week, self._activity(since, first_day.start))
        return state, week

    def _after(self, month: Month) -> ActivityState:
        """The state at the end of a month, ready for the next one; stores the missing checkpoints up to it."""
        if self._begin is None or month.as_of <= self._begin:
            return self._empty(month.next())
        there = [one for one in self._lake.months(USER_ACTIVITY_CHECKPOINTS) if one <= month]
        state = self._empty(Month.containing(self._begin))
        if there:
            state = self._empty(there[-1].next())
            self._resume(state, there[-1])
        while state.month <= month:
            self._add_month(state)
            self._keep(state)
            state = state.next_month()
        return state

    def _empty(self, month: Month) -> ActivityState:
        return ActivityState.empty(self._entities.height, month, self._skipped)

    def _keep(self, state: ActivityState) -> None:
        month, own = state.month, self._is_first & pl.Series(self._seen)
        rows = pl.concat([self._entities, state.checkpoint()], how="horizontal").filter(own).sort("user_id")
        columns = USER_ACTIVITY_CHECKPOINTS.polars_schema
        partition = rows.with_columns(month=pl.lit(month.key), as_of=pl.lit(month.as_of)).select(
            pl.col(name).cast(dtype) for name, dtype in columns.items()
        )
        self._lake.write(USER_ACTIVITY_CHECKPOINTS, month, partition)

    def _resume(self, state: ActivityState, month: Month) -> None:
        kept = self._lake.scan(USER_ACTIVITY_CHECKPOINTS, [month]).select(_CHECKPOINT)
        same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_kept")) for name in _CALENDAR)
        joined = self._users.join(kept, on="user_id", how="inner", suffix="_kept")
        found = joined.select("entity", *CHECKPOINT_COLUMNS, same=same).collect()
        self._seen[found["entity"].to_numpy()] = True
        # Nearly always all of them: skips a copy, which takes 0.1 s for a million rows.
        good = found if found["same"].all() else found.filter("same")
        other = self._entities.filter(pl.col("entity").is_in(found.remove("same")["entity"].implode()))
        state.resume(good["entity"].to_numpy(), good)
        if other.height:
            rebuilt = self._rebuilt(other, month)
            state.resume(rebuilt["entity"].to_numpy(), rebuilt)

    def _rebuilt(self, entities: pl.DataFrame, month: Month) -> pl.DataFrame:
        """The state of some entities at the end of a month, from their events; cached for the next hours."""
        cache, name = Cache(self._lake.root, USER_ACTIVITY_CHECKPOINTS.name), f"rebuilt/{month.key}"
        version = self._lake.file_version(USER_ACTIVITY_CHECKPOINTS, month)
        kept = cache.read(name, _REBUILT_SCHEMA).filter(pl.col("checkpoint") == version)
        calendar = ["user_id", *_CALENDAR]
        missing = entities.join(kept, on=calendar, how="anti", nulls_equal=True)
        if missing.height:
            history = ActivityHistory(self._lake, missing.with_columns(entity=pl.int_range(pl.len(), dtype=pl.UInt32)))
            rows = pl.concat([missing, history.from_events(month).checkpoint()], how="horizontal")
            made = rows.with_columns(checkpoint=pl.lit(version)).select(_REBUILT_SCHEMA.names()).cast(_REBUILT_SCHEMA)
            kept = pl.concat([kept, made])
            cache.write({name: kept})
        return entities.join(kept, on=calendar, how="inner", nulls_equal=True)

    def from_events(self, month: Month) -> ActivityState:
        """The state at the end of a month from events alone, for a few users."""
        state = self._empty(Month.containing(self._begin or month.start))
        self._add_month(state)
        while state.month < month:
            state = state.next_month()
            self._add_month(state)
        return state

    def _summed_up(self, start: datetime, end: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The days of [start, end) as activity, and the entities whose days were summed up in another time zone."""
        days = [Day(hour.start) for hour in hours(start, end) if hour.hour == 0]
        days = [day for day in days if self._begin and day.as_of > self._begin]
        self._sum_up(days)
        rows = self._lake.scan(USER_ACTIVITY_DAYS, days).join(self._users, on="user_id", suffix="_own")
        found = rows.with_columns(
            hour=pl.col("event_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            _same=pl.col("timezone").eq_missing(pl.col("timezone_own")),
        ).collect()
        self._seen[found["entity"].to_numpy()] = True
        others = found.filter(~pl.col("_same"))["entity"].unique()
        if others.len():
            found = found.filter(~pl.col("entity").is_in(others.implode()))
        again = self._entities.filter(pl.col("entity").is_in(others.implode()))
        return of_journeys(found).select("hour", *ACTIVITY_SCHEMA.names()), again

    def _sum_up(self, days: Sequence[Day]) -> None:
        there = set(self._lake.written(USER_ACTIVITY_DAYS, days))
        for day in days:
            if day not in there:
                self._write_day(day)

    @cached_property
    def _is_first(self) -> pl.Series:
        """Whether each entity is the first of its user, in whose calendar sums are stored."""
        return self._entities["user_id"].is_first_distinct()

    @cached_property
    def _first(self) -> pl.DataFrame:
        return self._entities.filter(self._is_first)

    def _write_day(self, day: Day) -> None:
        rows = (
            activity_days(event_activity(self._events(day.start, day.as_of), self._first.lazy()))
            .with_columns(event_date=pl.lit(day.start.date()))
            .collect()
        )
        schema = USER_ACTIVITY_DAYS.polars_schema
        self._lake.write(USER_ACTIVITY_DAYS, day, rows.select(pl.col(name).cast(to) for name, to in schema.items()))

    def _activity(self, start: datetime, end: datetime, users: pl.LazyFrame | None = None) -> pl.DataFrame:
        """The events of [start, end) as activity."""
        if self._begin is None or end <= self._begin or start >= end:
            return pl.DataFrame(schema={"hour": pl.Datetime("us", "UTC"), **ACTIVITY_SCHEMA})
        entities = self._users if users is None else users
        found = event_activity(self._events(max(start, self._begin), end), entities).collect()
        self._seen[found["entity"].to_numpy()] = True
        return of_journeys(found).select("hour", *ACTIVITY_SCHEMA.names())

    def _add_month(self, state: ActivityState) -> None:
        """Add the events of the state's month."""
        if self._begin is None or state.month.as_of <= self._begin:
            return
        events = entity_events(self._events(max(state.month.start, self._begin), state.month.as_of), self._entities)
        self._seen[events["entity"].to_numpy()] = True
        state.add_events(events)

    def _events(self, start: datetime, end: datetime) -> pl.LazyFrame:
        """The events of [start, end), without their ids."""
        # Collected: the join needs the columns in memory, and a scan would be read in more and smaller pieces.
        return self._lake.scan_hours(USER_PROGRESS, start, end).drop("progress_id").collect().lazy()

    def _by_hour(self, start: datetime, end: datetime) -> dict[datetime, pl.DataFrame]:
        rows = self._activity(start, end)
        parts = rows.partition_by("hour", as_dict=True)
        return {hour: part for (hour,), part in parts.items() if isinstance(hour, datetime)}


def _add_tasks(week: npt.NDArray[np.int64], rows: pl.DataFrame, sign: int = 1) -> None:
    np.add.at(week, rows["entity"].to_numpy(), sign * rows[COUNT_COLUMNS[0]].to_numpy())
