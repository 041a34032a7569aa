"""A user's figures from scratch, from all events before `as_of`: what running totals must equal (G1, G2, G4)."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from ghost_pipeline.contracts.raw import MODULE_TYPES
from ghost_pipeline.domain.ghost.activity import WEEK, active_days, counted_events, present_users, streak_runs
from ghost_pipeline.domain.ghost.user_ghost_stats import completed_user_ghost_stats, with_activity_figures
from ghost_pipeline.domain.shared.local_time import skipped_date
from ghost_pipeline_tests.reference.months import DEFAULT_STARTS

MODULE_COLUMNS = tuple(f"{module}_tasks" for module in MODULE_TYPES)


TOTAL_COLUMNS = ("tasks_completed", "tasks_this_week", "practice_time_ms", *MODULE_COLUMNS, "mock_tests")


def activity_totals(
    events: pl.LazyFrame,
    as_of: datetime,
    *,
    by: Sequence[str] = ("user_number",),
) -> pl.LazyFrame:
    """Sum counted events per user, or per user and local day; order undefined.

    Returns the columns of `by` (the key), the `TOTAL_COLUMNS` (Int64: counts, and practice_time_ms; of the
    tasks those within [as_of - 7 days, as_of) are tasks_this_week, G1.4) and last_activity_at Datetime?
    (of a task; null if there are only mock tests, G2.2). The totals of two sets of events merge by sum
    and maximum.
    """
    task = pl.col("is_task")
    this_week = task & (pl.col("completed_at") >= as_of - WEEK)
    return events.group_by(by).agg(
        tasks_completed=_count(task),
        tasks_this_week=_count(this_week),
        practice_time_ms=pl.when(task).then(pl.col("time_spent_ms")).otherwise(0).sum(),
        **{
            column: _count(pl.col("task_type") == module)
            for column, module in zip(MODULE_COLUMNS, MODULE_TYPES, strict=True)
        },
        mock_tests=_count(~task),
        last_activity_at=pl.when(task).then(pl.col("completed_at")).max(),
    )


def days_practiced(days: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Count active days among the 7 calendar dates that end today (G1.4); only users with at least one.

    Takes `active_days` and `present_users`; returns user_number, days_practiced Int32, order undefined.
    """
    age = (pl.col("today") - pl.col("local_date")).dt.total_days()
    return (
        days.join(present.select("user_number", "today"), on="user_number")
        .filter(age.is_between(0, WEEK.days - 1))
        .group_by("user_number")
        .agg(days_practiced=pl.len().cast(pl.Int32))
    )


def streaks(runs: pl.LazyFrame, present: pl.LazyFrame) -> pl.LazyFrame:
    """Return current and longest streak of every present user (G2.4); grain user_number, order undefined.

    Takes `streak_runs` and `present_users`; returns user_number, current_streak Int32, longest_streak
    Int32, streak_status String: `active` (practised today), `at_risk` (last practised yesterday), `broken`
    (two silent days or more, or never practised).
    """
    last_runs = runs.group_by("user_number").agg(
        last_day=pl.col("last_day").max(),
        last_run=pl.col("run_length").sort_by("last_day").last(),
        longest_streak=pl.col("run_length").max(),
    )
    # A date that the zone skipped is no silent day.
    skipped = skipped_date(pl.col("timezone"))
    unlived = ((pl.col("last_day") < skipped) & (skipped < pl.col("today"))).fill_null(value=False)
    silent_days = (pl.col("today") - pl.col("last_day")).dt.total_days() - unlived
    return (
        present.select("user_number", "timezone", "today")
        .join(last_runs, on="user_number", how="left")
        .select(
            "user_number",
            current_streak=pl.when(silent_days <= 1).then(pl.col("last_run")).otherwise(0).cast(pl.Int32),
            longest_streak=pl.col("longest_streak").fill_null(0),
            streak_status=pl.when(silent_days <= 0)
            .then(pl.lit("active"))
            .when(silent_days == 1)
            .then(pl.lit("at_risk"))
            .otherwise(pl.lit("broken")),
        )
    )


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def user_ghost_stats(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    starting_skills: Sequence[Decimal] = DEFAULT_STARTS,
) -> pl.LazyFrame:
    """The figures of every user created before `as_of`, from scratch; sorted by user_id (the key).

    Takes `users` (the version of each that is valid at `as_of`) and `progress` (valid events). Columns
    and dtypes are those of `completed_user_ghost_stats`. What the hourly step carries from hour to hour is compared
    with this.
    """
    present = present_users(users, as_of)
    calendars = present.select("user_id", "user_number", "timezone", "created_date")
    events = counted_events(calendars, progress, as_of)
    days = active_days(events)
    figures = (
        present.join(activity_totals(events, as_of), on="user_number", how="left")
        .join(days_practiced(days, present), on="user_number", how="left")
        .join(streaks(streak_runs(days, present), present), on="user_number", how="left")
        .with_columns(pl.col(*TOTAL_COLUMNS, "days_practiced").fill_null(0))
    )
    completed = completed_user_ghost_stats(
        with_activity_figures(figures, as_of), as_of, starting_skills=starting_skills
    )
    return completed.sort("user_id")
