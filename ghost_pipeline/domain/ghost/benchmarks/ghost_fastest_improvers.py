"""How long the achievers who improved fastest practised a day: the third opening message (G6)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import polars as pl

from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.domain.ghost.activity import counted_events, present_users
from ghost_pipeline.domain.ghost.benchmarks.achievers import (
    BAND_DTYPE,
    achievers,
    reaches,
    starting_skill,
)
from ghost_pipeline.domain.ghost.benchmarks.renewal import in_steps
from ghost_pipeline.domain.shared.identity import row_id
from ghost_pipeline.domain.shared.rounding import decimal_ratio
from ghost_pipeline.windows import HOUR, Month

_TABLE = "ghost_fastest_improvers"
RENEWED_TOGETHER = ("starting_skill",)
_INSTANT = pl.Datetime("us", "UTC")

# Scores are compared in whole millionths of a band: binary floats make 7.1 - 6.6 less than 7.0 - 6.5.
_MILLIONTHS = 1_000_000
# Tenths of a minute a day are milliseconds / microseconds times this: 86.4e9 us a day over 6,000 ms.
_TENTHS_PER_DAY = 14_400_000
# Two different fractions with denominators below 2**60 (36,000 years in microseconds) are further apart
# than 2**-120, so that whole 2**-120ths order them exactly.
_SPEED_BITS = 120
_SUM_BITS = 64
_FASTEST_PART = 4


def improvers(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
) -> pl.LazyFrame:
    """The achievers of at least the lowest band whose result came after they were created.

    Returns per user user_id, starting_skill Decimal(2, 1), gained_millionths Int64 (final score minus
    diagnostic, in millionths of a band), duration_us Int64 (from created_at to the result, > 0),
    practice_time_ms Int64 (counted tasks before the result); sorted by user_id. Shards concatenate.
    """
    members = present_users(achievers(users, as_of), as_of).filter(
        reaches("final_band_score", min(bands)),
        pl.col("final_band_at") > pl.col("created_at"),
    )
    calendars = members.select("user_id", "user_number", "timezone", "created_date", "final_band_at")
    practice = (
        counted_events(calendars, progress, as_of)
        .filter("is_task", pl.col("completed_at") < pl.col("final_band_at"))
        .group_by("user_number")
        .agg(practice_time_ms=pl.col("time_spent_ms").sum())
    )
    return (
        members.with_columns(starting_skill=starting_skill(starts))
        .filter(pl.col("starting_skill").is_not_null())
        .join(practice, on="user_number", how="left")
        .select(
            "user_id",
            "starting_skill",
            gained_millionths=_millionths("final_band_score") - _millionths("diagnostic_score"),
            duration_us=(pl.col("final_band_at") - pl.col("created_at")).dt.total_microseconds(),
            practice_time_ms=pl.col("practice_time_ms").fill_null(0),
        )
        .sort("user_id")
    )


class _Practised(NamedTuple):
    practice_time_ms: int
    duration_us: int


_OF_FASTEST = _Practised._fields


class _Improver(NamedTuple):
    user_id: str
    gained_millionths: int
    duration_us: int
    practice_time_ms: int

    @property
    def speed(self) -> int:
        return (self.gained_millionths << _SPEED_BITS) // self.duration_us


def fastest_quarter(parts: pl.LazyFrame) -> pl.DataFrame:
    """The improvers of all starts, with the figures of those who improved fastest.

    Of the n improvers of a start, the ceil(n / 4) with the largest (final - diagnostic) / days are the
    fastest, ties by user_id; days are the exact duration, and all comparisons are exact.

    Args:
        parts: the `improvers` of all users, in any order.

    Returns:
        user_id, starting_skill Decimal(2, 1), and of the fastest practice_time_ms Int64 and duration_us Int64, of the
        others null; sorted by user_id.

    """
    of_start: dict[Decimal, list[_Improver]] = {}
    columns = pl.col("starting_skill", *_Improver._fields)
    improving = parts.select(columns).collect()
    for start, *improver in improving.iter_rows():
        of_start.setdefault(start, []).append(_Improver(*improver))
    fastest: set[str] = set()
    for group in of_start.values():
        group.sort(key=lambda improver: (-improver.speed, improver.user_id))
        fastest |= {improver.user_id for improver in group[: -(-len(group) // _FASTEST_PART)]}
    is_fastest = pl.Series([one in fastest for one in improving["user_id"]], dtype=pl.Boolean)
    return improving.select(
        "user_id", "starting_skill", *(pl.when(is_fastest).then(one).alias(one) for one in _OF_FASTEST)
    ).sort("user_id")


def finish_fastest_improvers(people: pl.DataFrame, as_of: datetime, *, min_sample: int) -> pl.LazyFrame:
    """The table from the `fastest_quarter` of all users.

    The figure is the mean of the fastest's own (minutes before the result / days), computed and rounded exactly.

    Returns id String, starting_skill Decimal(2, 1), sample_size Int32 (all n, rounded down to fives, G9.7),
    minutes_per_day Decimal(18, 1) (half away from zero), month and renewed String, as_of, created_at and updated_at
    Datetime (all `as_of`); sorted by starting_skill, with the month the key. A start with fewer than `min_sample`
    improvers has no row.
    """
    schema: dict[str, pl.DataType] = {
        "starting_skill": BAND_DTYPE,
        "sample_size": pl.Int32(),
        # A result a moment after the account was made gives millions of minutes a day.
        "minutes_per_day": pl.Decimal(18, 1),
    }
    month = Month.containing(as_of - HOUR).key
    instant = pl.lit(as_of, dtype=_INSTANT)
    return (
        pl.LazyFrame(list(_figures(people, min_sample)), schema=schema, orient="row")
        .with_columns(
            in_steps("sample_size"),
            month=pl.lit(month),
            renewed=pl.lit(month),
            as_of=instant,
            created_at=instant,
            updated_at=instant,
        )
        .select(row_id(_TABLE, pl.col("starting_skill"), pl.col("month")), pl.all())
        .sort("starting_skill")
    )


def user_minutes_per_day(
    practice_time_ms: str = "practice_time_ms",
    day_in_journey: str = "day_in_journey",
) -> pl.Expr:
    """A user's own side of the message: minutes so far / day in journey, Decimal(9, 1), null before day 1."""
    day = pl.col(day_in_journey).cast(pl.Int64)
    per_day = decimal_ratio(pl.col(practice_time_ms), day * MS_PER_MINUTE, scale=1)
    return pl.when(day > 0).then(per_day).cast(pl.Decimal(9, 1))


def _millionths(score: str) -> pl.Expr:
    return (pl.col(score) * _MILLIONTHS).round(mode="half_away_from_zero").cast(pl.Int64)


def _figures(people: pl.DataFrame, min_sample: int) -> Iterator[tuple[Decimal, int, Decimal]]:
    for (start,), group in people.partition_by("starting_skill", as_dict=True).items():
        if group.height >= min_sample and isinstance(start, Decimal):
            fastest = [_Practised(*row) for row in group.select(_OF_FASTEST).drop_nulls().iter_rows()]
            yield start, group.height, Decimal(_mean_tenths(fastest)).scaleb(-1)


def _mean_tenths(fastest: Sequence[_Practised]) -> int:
    """The mean of practice time / duration in tenths of a minute a day, half away from zero."""
    # The sum of thousands of fractions has a denominator of thousands of digits. Whole 2**-64ths below
    # and above decide the rounding unless a half lies between them.
    low = inexact = 0
    for improver in fastest:
        numerator = improver.practice_time_ms * _TENTHS_PER_DAY << _SUM_BITS
        share, remainder = divmod(numerator, improver.duration_us)
        low += share
        inexact += remainder > 0
    unit = len(fastest) << _SUM_BITS
    rounded = _round_half_up(low, unit)
    if rounded == _round_half_up(low + inexact, unit):
        return rounded
    total = sum(Fraction(improver.practice_time_ms * _TENTHS_PER_DAY, improver.duration_us) for improver in fastest)
    return _round_half_up(total.numerator, total.denominator * len(fastest))


def _round_half_up(numerator: int, denominator: int) -> int:
    # Practice time is never negative: half up is half away from zero.
    return (2 * numerator + denominator) // (2 * denominator)
