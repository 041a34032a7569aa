"""Hourly assets of the ghost half: what users had done, and what follows for them and their cohorts.

Hours that are computed together are computed in their order, each from the one before it.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain

import polars as pl

from ghost_pipeline.assets.step import Outcome, Resources, Step, count
from ghost_pipeline.storage.activity_history import ActivityHistory, activity_lock
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.storage.staleness import begin_building, clear_stale, stale_hours
from ghost_pipeline.tables.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.tables.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.tables.raw import COHORTS, USER_PROGRESS, USERS
from ghost_pipeline.transforms.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.transforms.local_time import unknown_timezones
from ghost_pipeline.transforms.unknown_cohorts import unknown_cohorts
from ghost_pipeline.transforms.user_calendars import UserCalendars
from ghost_pipeline.transforms.user_ghost_stats import completed_user_ghost_stats, with_activity_figures
from ghost_pipeline.windows import Hour


def materialize_user_ghost_stats(resources: Resources, hours: Sequence[Hour]) -> Iterator[Outcome]:
    """Every user's figures at the end of each hour (G2, G4)."""
    lake, first = resources.lake, first_hour_kept(resources, hours)
    for hour in hours:
        if hour < first:
            lake.remove(USER_GHOST_STATS, hour)
            clear_stale(lake, USER_GHOST_STATS, [hour])
            yield _not_written(resources.until or hours[-1])
    kept = [hour for hour in hours if hour >= first]
    begin_building(lake, USER_GHOST_STATS, kept)
    for hour, figures in zip(kept, _figures(lake, kept), strict=True):
        skills = resources.settings.starting_skills
        stats = completed_user_ghost_stats(figures.lazy(), hour.as_of, starting_skills=skills).collect()
        lake.write(USER_GHOST_STATS, hour, stats)
        clear_stale(lake, USER_GHOST_STATS, [hour])
        yield Outcome(
            rows=stats.height,
            findings={
                "events_before_their_journey": int(figures["events_before_journey"].sum()),
                "users_with_unknown_timezone": count(unknown_timezones(figures.lazy())),
            },
        )


def materialize_cohort_ghost_data(resources: Resources, hours: Sequence[Hour]) -> Iterator[Outcome]:
    """Every cohort's figures at the end of each hour (G3)."""
    lake, first = resources.lake, first_hour_kept(resources, hours)
    begin_building(lake, COHORT_GHOST_DATA, hours)
    stale = {
        Hour.containing(start)
        for table, start in stale_hours(lake).select("table", "hour").rows()
        if table == USER_GHOST_STATS.name
    }
    kept = [hour for hour in hours if hour >= first and hour not in stale]
    there = set(lake.written(USER_GHOST_STATS, kept))
    figures = _figures(lake, [hour for hour in hours if hour not in there])
    for hour in hours:
        stats = lake.scan(USER_GHOST_STATS, [hour]) if hour in there else next(figures).lazy()
        snapshot = cohort_ghost_data(stats, hour.as_of).collect()
        lake.write(COHORT_GHOST_DATA, hour, snapshot)
        clear_stale(lake, COHORT_GHOST_DATA, [hour])
        yield Outcome(
            rows=snapshot.height,
            findings={"cohorts_unknown_to_the_source": count(unknown_cohorts(stats, lake.scan(COHORTS)))},
        )


def first_hour_kept(resources: Resources, hours: Sequence[Hour]) -> Hour:
    """Of hours that are computed together, the first one that per-user rows are written of.

    A single hour was asked for; of a range only those hours are worth it that would not be removed right away.
    """
    if len(hours) == 1 and resources.until is None:
        return hours[0]
    newest = max(hours[-1], resources.lake.newest_hour(USER_GHOST_STATS) or hours[-1], resources.until or hours[-1])
    return Hour(newest.start - timedelta(hours=resources.settings.keep_user_hours - 1))


def left_out(resources: Resources, hour: Hour) -> Outcome | None:
    """What a step says that has no per-user rows of an hour because it is too old for them; None where it has."""
    there = resources.lake.newest_hour(USER_GHOST_STATS)
    newest = max((one for one in (resources.until, there) if one), default=None)
    if newest is None or hour >= newest or resources.lake.exists(USER_GHOST_STATS, hour):
        return None
    return _not_written(newest)


def _not_written(newest: Hour) -> Outcome:
    text = f"per-user rows are written of the newest hours alone (GHOST_KEEP_USER_HOURS), up to {newest.key}"
    return Outcome(rows=0, metadata={"not_written": text})


def _figures(lake: Lake, hours: Sequence[Hour]) -> Iterator[pl.DataFrame]:
    """The users of each hour with their activity, sorted by user_id: what `completed_user_ghost_stats` takes."""
    if not hours:
        return
    ends = [hour.as_of for hour in hours]
    with activity_lock(lake):
        # Users as well: the events of one who is taken in meanwhile would be summed up without them.
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


GHOST_STEPS = (
    Step.over_hours(
        USER_GHOST_STATS,
        (USERS, USER_PROGRESS, USER_ACTIVITY_DAYS, USER_ACTIVITY_CHECKPOINTS),
        materialize_user_ghost_stats,
    ),
    Step.over_hours(COHORT_GHOST_DATA, (USER_GHOST_STATS, COHORTS), materialize_cohort_ghost_data),
)
