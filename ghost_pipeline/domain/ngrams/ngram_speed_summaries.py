"""The decaying average of a user's speed on each n-gram and keyboard at the end of an hour (N2, N3).

`ngram_measurements` merges measurements by session; this module weighs the sessions of a pair, newest first. Every
sum is taken over the row's own sessions in that order, so a result is the same to the bit in any order of rows,
with any number of threads and beside any other pairs.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Self, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.domain.ngrams.ngram_measurements import SessionMeans, session_means
from ghost_pipeline.domain.shared.identity import row_id

NGRAM_SPEED_SUMMARY_KEY = NGRAM_SPEED_SUMMARIES.primary_key

_INSTANT = pl.Datetime("us", "UTC")

NGRAM_SPEED_SUMMARY_SCHEMA = pl.Schema(NGRAM_SPEED_SUMMARIES.polars_schema)
"""The columns of `ngram_speed_summaries`."""


class SummaryLimits(TypedDict):
    """The settings that summaries follow from (N2.2); see `ngram_speed_summaries`."""

    decay_factor: float
    max_measurements: int
    max_sessions: int
    default_target_ms: float


_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Number = TypeVar("_Number", np.int32, np.int64, np.float64)


def ngram_speed_summaries(
    practice_sessions: pl.LazyFrame,
    session_ngram_speed: pl.LazyFrame,
    keyboards: pl.LazyFrame,
    as_of: datetime,
    *,
    decay_factor: float,
    max_measurements: int,
    max_sessions: int,
    default_target_ms: float,
) -> pl.LazyFrame:
    """Summarise every n-gram of every (user, keyboard) at `as_of`, from scratch (N2, N3.1 to N3.4).

    The average weighs the newest `max_measurements` of an n-gram by `decay_factor` to the power of the
    days between their session's start and the newest one's. Where that limit falls inside a session, each
    place left takes the mean of the session. The average of equal values is exactly that value, so that a
    typist who is on target to the microsecond meets it.

    A pair's rows depend only on its own sessions: the results over disjoint sets of users, concatenated, are the
    result over all. To refresh a few pairs only (N3.3), pass their sessions. **All** of a pair's sessions and all
    their measurements are needed, also those that have left the window: `created_at` and `last_updated` depend on
    them.

    - `last_updated` is a function of the raw tables, not of the time of a run. Number the
      sessions of a pair 0, 1, 2, ... by (start_time, session_id). The row of an n-gram changes when session
      i, which has it, begins; when session i + max_sessions begins, for then i falls out of the window; and
      at `target_valid_from` of the keyboard. `last_updated` is the `as_of` of the first hour that knows of
      the newest of these: a session that starts at 11:00 sharp belongs to the hour that ends at 12:00,
      while a target valid from 11:00 sharp counts at as_of 11:00 already (G1.7).
    - `created_at` is the end of the hour of the first session ever that had the n-gram on the pair.

    Args:
        practice_sessions: `session_id` (unique), `user_id`, `keyboard_id` String, `start_time`
            Datetime("us", "UTC"). Sessions that start at or after `as_of` do not exist yet (N1.3).
        session_ngram_speed: `session_id`, `ngram_text` String, `ngram_size` Int32, `ms_per_keystroke`
            Float64, positive and finite; a row per measurement (N1.1).
        keyboards: `keyboard_id` (unique), `target_ms_per_keystroke` (a number, or null for the default)
            and `target_valid_from` Datetime?, the instant from which this target counts (null: since ever),
            as valid at `as_of`.
        as_of: the end of an hour, aware.
        decay_factor: above 0, at most 1.
        max_measurements: at least 1.
        max_sessions: at least 1.
        default_target_ms: positive, for keyboards without a target and for those that `keyboards` lacks.

    Returns:
        The columns of `NGRAM_SPEED_SUMMARY_SCHEMA`, one row per (user_id, keyboard_id, ngram_text,
        ngram_size), which also is the order: `decaying_average_ms` and `target_speed_ms` in ms per
        keystroke, `target_performance_pct` = target / average x 100, `sample_count` measurements in the
        window, `measurements_used` of them in the average, `last_measured` the start of the newest session
        with the n-gram. It is computed during the call, not when the frame is collected.

    Raises:
        ValueError: `as_of` is not a full hour of an aware time, or a setting is out of its range.
    """
    now = _full_hour(as_of)
    _check_settings(decay_factor, max_measurements, max_sessions, default_target_ms)
    sessions = _SessionOrder.of(practice_sessions, now)
    means = session_means(session_ngram_speed, sessions.places, sessions.place_bits)
    target, average = pl.col("target_speed_ms"), pl.col("decaying_average_ms")
    return (
        _summarise(means, sessions, decay_factor, max_measurements, max_sessions)
        .lazy()
        .join(_pairs_with_target(sessions, keyboards, default_target_ms), on="_pair", how="left")
        .with_columns(
            target_performance_pct=target / average * 100.0,
            meets_target=average <= target,
            last_updated=pl.max_horizontal("_last_event", "_target_event"),
            as_of=pl.lit(now, _INSTANT),
        )
        .sort(NGRAM_SPEED_SUMMARY_KEY)
        .with_columns(
            summary_id=row_id(NGRAM_SPEED_SUMMARIES.name, *(pl.col(name) for name in NGRAM_SPEED_SUMMARY_KEY)),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in NGRAM_SPEED_SUMMARY_SCHEMA.items())
        .collect()
        .lazy()
    )


def _full_hour(as_of: datetime) -> datetime:
    if as_of.tzinfo is None:
        raise ValueError(f"as_of must be an aware full hour (got {as_of.isoformat()}, which has no time zone)")
    now = as_of.astimezone(UTC)
    if now != now.replace(minute=0, second=0, microsecond=0):
        raise ValueError(f"as_of is {as_of.isoformat()}, which is not a full hour in UTC")
    return now


def _check_settings(decay_factor: float, max_measurements: int, max_sessions: int, default_target_ms: float) -> None:
    if not 0 < decay_factor <= 1:
        raise ValueError(f"decay_factor must be above 0 and at most 1 (got {decay_factor!r})")
    if max_measurements < 1:
        raise ValueError(f"max_measurements must be 1 or more (got {max_measurements!r})")
    if max_sessions < 1:
        raise ValueError(f"max_sessions must be 1 or more (got {max_sessions!r})")
    if not (default_target_ms > 0 and isfinite(default_target_ms)):
        raise ValueError(f"default_target_ms must be a positive number (got {default_target_ms!r})")


@dataclass(frozen=True)
class _SessionOrder:
    """The sessions that exist, in the order (user_id, keyboard_id, start_time, session_id).

    The place of a session is the number of its pair and, in the low `age_bits`, its age: how many sessions
    of the pair are newer.
    """

    frame: pl.DataFrame
    start: _Ints
    last: _Ints
    """The position of each pair's newest session."""
    age_bits: int

    @classmethod
    def of(cls, practice_sessions: pl.LazyFrame, now: datetime) -> Self:
        frame = (
            practice_sessions.select("user_id", "keyboard_id", "start_time", "session_id")
            .filter(pl.col("start_time") < now)
            .sort("user_id", "keyboard_id", "start_time", "session_id")
            .collect()
            .with_columns(_pair=pl.struct("user_id", "keyboard_id").rle_id().cast(pl.Int64))
        )
        sizes = np.bincount(frame["_pair"])
        return cls(
            frame=frame,
            start=frame["start_time"].to_physical().to_numpy(),
            last=np.cumsum(sizes) - 1,
            age_bits=int(sizes.max(initial=1) - 1).bit_length(),
        )

    @property
    def place_bits(self) -> int:
        return self.age_bits + len(self.last).bit_length()

    @property
    def places(self) -> pl.LazyFrame:
        age = self.last[self.frame["_pair"].to_numpy()] - np.arange(self.frame.height)
        return self.frame.lazy().select(
            "session_id",
            place=pl.col("_pair").cast(pl.UInt64) * 2**self.age_bits + pl.Series(age, dtype=pl.UInt64),
        )

    def pair(self, place: _Ints) -> _Ints:
        return place >> self.age_bits

    def started(self, place: _Ints) -> _Ints:
        """When the session of a place started, in µs since 1970."""
        started: _Ints = self.start[self.last[self.pair(place)] - (place & (2**self.age_bits - 1))]
        return started


def _summarise(
    means: SessionMeans,
    sessions: _SessionOrder,
    decay_factor: float,
    max_measurements: int,
    max_sessions: int,
) -> pl.DataFrame:
    """One row per (n-gram, pair) that has a measurement in the window; times in µs since 1970."""
    # A row is made of the entries with the same n-gram and pair. They are adjacent, newest first.
    first = means.first_of_each(sessions.age_bits)
    length = np.diff(first, append=len(means.count))
    in_window = means.place_is_below(max_sessions, sessions.age_bits)
    recent = _sums(in_window.astype(np.int32), first).astype(np.int64)
    sample_count = _sums(means.count * in_window, first)
    is_row = recent > 0
    first, length, recent, sample_count = first[is_row], length[is_row], recent[is_row], sample_count[is_row]

    newest = means.place(first)
    last_measured = sessions.started(newest)
    last_event = last_measured.copy()
    has_left = np.flatnonzero(recent < length)
    # The newest session outside the window left it when the session max_sessions later began.
    pushed_out_by = means.place((first + recent)[has_left]) - max_sessions
    last_event[has_left] = np.maximum(last_measured[has_left], sessions.started(pushed_out_by))
    average, used = _decaying_average(means, sessions, first, recent, decay_factor, max_measurements)
    text, size = means.ngram(first)
    return pl.DataFrame(
        {
            "_pair": sessions.pair(newest),
            "ngram_text": text,
            "ngram_size": size,
            "decaying_average_ms": average,
            "sample_count": sample_count,
            "measurements_used": used,
            "last_measured": last_measured,
            "created_at": _end_of_hour(sessions.started(means.place(first + length - 1))),
            "_last_event": _end_of_hour(last_event),
        },
    )


def _decaying_average(
    means: SessionMeans,
    sessions: _SessionOrder,
    first: _Ints,
    recent: _Ints,
    decay_factor: float,
    max_measurements: int,
) -> tuple[_Floats, _Ints]:
    """The average (N2.1) and the measurements in it, of rows whose `recent` entries begin at `first`."""
    # Every entry has at least one measurement, so no row needs more entries than max_measurements.
    length = np.minimum(recent, max_measurements)
    offset = np.cumsum(length) - length
    entry = np.repeat(first - offset, length) + np.arange(length.sum())
    count = means.count[entry].astype(np.int64)
    newer = np.cumsum(count) - count
    newer -= np.repeat(newer[offset], length)
    used = np.clip(max_measurements - newer, 0, count)
    newest = np.repeat(sessions.started(means.place(first)), length)
    days = (newest - sessions.started(means.place(entry))) / _DAY_US
    weight = decay_factor**days * used
    # Differences to the newest session are averaged, so that equal values have that value as their average.
    base = means.mean(first)
    difference = means.mean(entry) - np.repeat(base, length)
    average = base + _sums(weight * difference, offset) / _sums(weight, offset)
    return average, _sums(used, offset)


def _sums(values: npt.NDArray[_Number], starts: _Ints) -> npt.NDArray[_Number]:
    """Return the sums of the stretches of `values` that begin at `starts`; each depends on its stretch only."""
    # Without the dtype numpy would convert each small integer to a large one first: ten times as long.
    return np.add.reduceat(values, starts, dtype=values.dtype) if len(starts) else values[:0]


def _end_of_hour(instant: _Ints) -> _Ints:
    return (instant // _HOUR_US + 1) * _HOUR_US


def _pairs_with_target(sessions: _SessionOrder, keyboards: pl.LazyFrame, default_target_ms: float) -> pl.LazyFrame:
    """The (user, keyboard) pairs, their target and the first full hour that knows it (µs since 1970)."""
    valid_from = pl.col("target_valid_from").cast(_INSTANT).to_physical()
    targets = keyboards.select(
        "keyboard_id",
        "target_ms_per_keystroke",
        _target_event=-(-valid_from // _HOUR_US) * _HOUR_US,
    )
    return (
        sessions.frame.lazy()
        .select("_pair", "user_id", "keyboard_id")
        .unique()
        # The source may not declare a keyboard: its typists are summarised nevertheless (N3.4).
        .join(targets, on="keyboard_id", how="left", validate="m:1")
        .with_columns(
            target_speed_ms=pl.col("target_ms_per_keystroke").cast(pl.Float64).fill_null(default_target_ms),
        )
        .drop("target_ms_per_keystroke")
    )
