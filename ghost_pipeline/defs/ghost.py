"""Hourly assets of the ghost domain: the figures of users and of their cohorts.

The hours of a run are computed in their order, each from the one before it.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import polars as pl

from ghost_pipeline.contracts.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.raw import COHORTS, USER_PROGRESS, USERS
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.retention import expired_results, hours_within_retention
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult, count
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.domain.ghost.unknown_cohorts import unknown_cohorts
from ghost_pipeline.domain.ghost.user_calendars import UserCalendars
from ghost_pipeline.domain.ghost.user_ghost_stats import completed_user_ghost_stats, with_activity_figures
from ghost_pipeline.domain.shared.local_time import unknown_timezones
from ghost_pipeline.domain.shared.period_figures import cohort_figures, row_count
from ghost_pipeline.incremental.activity_history import ActivityHistory, activity_lock
from ghost_pipeline.incremental.stale_ledger import mark_building, stale_hours_of
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour


def materialize_user_ghost_stats(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Write every user's figures at the end of each hour (G2, G4)."""
    lake, kept = run.lake, hours_within_retention(run, USER_GHOST_STATS, hours)
    with mark_building(lake, USER_GHOST_STATS, kept) as rebuilt:
        yield from expired_results(run, USER_GHOST_STATS, hours, kept)
        for hour, figures in zip(kept, _figures(lake, kept), strict=True):
            stats = _stats(run, figures, hour).collect()
            lake.write(USER_GHOST_STATS, hour, stats)
            rebuilt.add(hour)
            yield TableResult(
                rows=stats.height,
                findings={
                    "events_before_their_journey": int(figures["events_before_journey"].sum()),
                    "users_with_unknown_timezone": count(unknown_timezones(figures.lazy())),
                },
            )


def materialize_cohort_ghost_data(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Write every cohort's figures at the end of each hour (G3)."""
    lake, kept = run.lake, hours_within_retention(run, COHORT_GHOST_DATA, hours)
    with mark_building(lake, COHORT_GHOST_DATA, kept) as rebuilt:
        yield from expired_results(run, COHORT_GHOST_DATA, hours, kept)
        usable = set(hours_within_retention(run, USER_GHOST_STATS, hours)) - stale_hours_of(lake, USER_GHOST_STATS)
        there = set(lake.written(USER_GHOST_STATS, [hour for hour in kept if hour in usable]))
        figures = _figures(lake, [hour for hour in kept if hour not in there])
        cohorts = lake.scan(COHORTS).collect().lazy()
        for hour in kept:
            try:
                stats = lake.scan(USER_GHOST_STATS, [hour]) if hour in there else _stats(run, next(figures), hour)
                snapshot, unknown = _snapshot(cohorts, stats, hour)
            except FileNotFoundError:
                # The run of a newer hour has just removed it.
                snapshot, unknown = _snapshot(cohorts, _stats(run, next(_figures(lake, [hour])), hour), hour)
            lake.write(COHORT_GHOST_DATA, hour, snapshot)
            rebuilt.add(hour)
            yield TableResult(rows=snapshot.height, findings={"cohorts_unknown_to_the_source": unknown})


def _snapshot(cohorts: pl.LazyFrame, stats: pl.LazyFrame, hour: Hour) -> tuple[pl.DataFrame, int]:
    """Return the cohorts of an hour, and how many of them the source does not know."""
    return cohort_ghost_data(stats, hour.as_of).collect(), count(unknown_cohorts(stats, cohorts))


def _stats(run: RunContext, figures: pl.DataFrame, hour: Hour) -> pl.LazyFrame:
    """Return every user's figures at the end of an hour, computed once however often they are read."""
    stats = completed_user_ghost_stats(figures.lazy(), hour.as_of, starting_skills=run.settings.starting_skills)
    return stats.collect().lazy()


def _figures(lake: Lake, hours: Sequence[Hour]) -> Iterator[pl.DataFrame]:
    """Yield the users of each hour with their activity, sorted by user_id, for `completed_user_ghost_stats`."""
    if not hours:
        return
    ends = [hour.as_of for hour in hours]
    with activity_lock(lake):
        # The lock covers users, too: otherwise events of a user ingested meanwhile would be summed up without the user.
        users = UserCalendars.between(lake.scan(USERS).collect(), ends[0], ends[-1])
        states = ActivityHistory(lake, users.entities).states(ends)
        first = next(states)
    for end, (state, week) in zip(ends, chain([first], states), strict=True):
        present = users.present(end)
        entity = present["entity"].to_numpy()
        figures = state.figures(entity, present["today"])
        tasks = pl.Series("tasks_this_week", week[entity])
        together = pl.concat([present, figures, tasks.to_frame()], how="horizontal")
        yield with_activity_figures(together.lazy(), end).collect()


GHOST_ASSETS = (
    TableAsset(
        USER_GHOST_STATS,
        (USERS, USER_PROGRESS, USER_ACTIVITY_DAYS, USER_ACTIVITY_CHECKPOINTS),
        materialize_user_ghost_stats,
        comparisons=(period_over_period(USER_GHOST_STATS, row_count),),
        counts="events before their journey, users with an unknown time zone",
    ),
    TableAsset(
        COHORT_GHOST_DATA,
        (USER_GHOST_STATS, COHORTS),
        materialize_cohort_ghost_data,
        comparisons=(period_over_period(COHORT_GHOST_DATA, cohort_figures),),
        counts="cohorts that users reference and the source lacks",
    ),
)
