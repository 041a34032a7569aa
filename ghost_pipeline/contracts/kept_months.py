"""Contracts of what is kept of the people behind monthly figures, to compare later months with it (G9.7)."""

import dataframely as dy

from ghost_pipeline.contracts.columns import computed_from, identifier, small, starting_skill_column
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.raw import MAX_SCORE

_BAND, _START = "users.final_band_score", "users.diagnostic_score"
_AT, _ZONE, _CREATED = "user_progress.completed_at", "users.timezone", "users.created_at"
_PRACTISED = (_AT, "user_progress.task_type", "user_progress.time_spent_ms", _ZONE, _CREATED)
EXACT = 2**53
"""pandas reads a column of whole numbers with missing values as floats, which are exact up to here."""
_WHY_KEPT = "what has been published cannot be compared with later months without it"


def _state() -> dy.Int32:
    return computed_from(
        dy.Int32(
            primary_key=True,
            min=0,
            description="Rows that were renewed together show one state of the people; its number",
        )
    )


def _person() -> dy.String:
    return computed_from(identifier("An achiever in that state", primary_key=True), "users.user_id")


def _final() -> dy.Float64:
    return computed_from(dy.Float64(min=0, max=MAX_SCORE, description="Band that was reached"), _BAND)


def _diagnostic() -> dy.Float64:
    return computed_from(dy.Float64(min=0, max=MAX_SCORE, description="Band at the start"), _START)


class BenchmarkAchievers(dy.Schema):
    """The people behind the benchmarks that a month shows, kept to count how many have changed since. Internal."""

    state = _state()
    user_id = _person()
    final_band_score = _final()
    diagnostic_score = _diagnostic()
    last_day = computed_from(small("Days of the journey that had ended", low=1), _CREATED, _ZONE)
    skipped_day = computed_from(
        small("Day of the journey that the person's zone skipped; 0 if there is none"), _CREATED, _ZONE
    )
    diary = computed_from(dy.Int64(description="The diary in benchmark_diaries"), *_PRACTISED)


class BenchmarkDiaries(dy.Schema):
    """What achievers did day by day, each diary once and without a name. Internal."""

    diary = computed_from(
        dy.Int64(primary_key=True, description="Hash of the lists"), "days", "kinds", "events", "milliseconds"
    )
    days = computed_from(
        dy.List(dy.Int32(), description="Day of the journey; entries are in the order of day and kind"),
        _AT,
        _ZONE,
        _CREATED,
    )
    kinds = computed_from(
        dy.List(dy.Int32(), description="Type of event: position in the types of tasks, mock tests last"),
        "user_progress.task_type",
    )
    events = computed_from(dy.List(dy.Int32(), description="Events of that type on that day"), _AT)
    milliseconds = computed_from(
        dy.List(dy.Int64(), description="Their time in whole milliseconds"), "user_progress.time_spent_ms"
    )


class StreakShareAchievers(dy.Schema):
    """The people behind the streak shares that a month shows, kept to count how many have changed since. Internal."""

    state = _state()
    user_id = _person()
    final_band_score = _final()
    diagnostic_score = _diagnostic()
    longest_streak = computed_from(small("Days of the longest streak"), _AT, _ZONE)


class FastestImproverAchievers(dy.Schema):
    """The people behind the improvers that a month shows, kept to count how many have changed since. Internal."""

    state = _state()
    user_id = _person()
    starting_skill = starting_skill_column("Lower end of the half band of the diagnostic score")
    practice_time_ms = computed_from(
        dy.Int64(
            nullable=True,
            min=0,
            max=EXACT,
            description="Milliseconds practised before the result; null outside the fastest quarter",
        ),
        "user_progress.time_spent_ms",
    )
    duration_us = computed_from(
        dy.Int64(
            nullable=True,
            min=1,
            max=EXACT,
            description="Microseconds until the result; null outside the fastest quarter",
        ),
        _CREATED,
        "users.final_band_at",
    )


def _people(name: str, schema: type[dy.Schema], of: str) -> Contract:
    return Contract(
        name=name,
        schema=schema,
        layer=Layer.GHOST,
        partitioning=Partitioning.MONTH,
        grain=f"one achiever in one state of {of} that the month shows",
        # Without the row an erased person would not have left, and the next month would differ by that person alone.
        pseudonymised=True,
        never_expire_reason=_WHY_KEPT,
    )


BENCHMARK_ACHIEVERS = _people("benchmark_achievers", BenchmarkAchievers, "ghost_benchmarks")
STREAK_SHARE_ACHIEVERS = _people("streak_share_achievers", StreakShareAchievers, "ghost_streak_shares")
FASTEST_IMPROVER_ACHIEVERS = _people("fastest_improver_achievers", FastestImproverAchievers, "ghost_fastest_improvers")
BENCHMARK_DIARIES = Contract(
    name="benchmark_diaries",
    schema=BenchmarkDiaries,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one diary, in the first month that needed it",
    never_expire_reason=_WHY_KEPT,
)

KEPT_MONTHS = (BENCHMARK_ACHIEVERS, BENCHMARK_DIARIES, STREAK_SHARE_ACHIEVERS, FASTEST_IMPROVER_ACHIEVERS)
"""The tables that hold what is kept of the people behind monthly figures."""
