"""Hourly assets of the ghost half, computed from scratch at `as_of`."""

from ghost_pipeline.assets.step import Outcome, Resources, Step, count
from ghost_pipeline.tables.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.tables.raw import COHORTS, USER_PROGRESS, USERS
from ghost_pipeline.transforms.activity import events_before_creation
from ghost_pipeline.transforms.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.transforms.local_time import unknown_timezones
from ghost_pipeline.transforms.unknown_cohorts import unknown_cohorts
from ghost_pipeline.transforms.user_ghost_stats import user_ghost_stats
from ghost_pipeline.transforms.versions import users_at
from ghost_pipeline.windows import Hour


def materialize_user_ghost_stats(resources: Resources, hour: Hour) -> Outcome:
    """Every user's figures at the end of the hour (G2, G4)."""
    lake, settings = resources.lake, resources.settings
    users = users_at(lake.scan(USERS), hour.as_of).collect().lazy()
    progress = lake.read_until(USER_PROGRESS, hour.as_of)
    stats = user_ghost_stats(users, progress, hour.as_of, starting_skills=settings.starting_skills).collect()
    lake.write(USER_GHOST_STATS, hour, stats)
    return Outcome(
        rows=stats.height,
        findings={
            "events_before_their_journey": count(events_before_creation(users, progress, hour.as_of)),
            "users_with_unknown_timezone": count(unknown_timezones(users)),
        },
    )


def materialize_cohort_ghost_data(resources: Resources, hour: Hour) -> Outcome:
    """Every cohort's figures at the end of the hour (G3)."""
    lake = resources.lake
    stats = lake.scan(USER_GHOST_STATS, [hour])
    snapshot = cohort_ghost_data(stats, hour.as_of).collect()
    lake.write(COHORT_GHOST_DATA, hour, snapshot)
    return Outcome(
        rows=snapshot.height,
        findings={"cohorts_unknown_to_the_source": count(unknown_cohorts(stats, lake.scan(COHORTS)))},
    )


GHOST_STEPS = (
    Step(USER_GHOST_STATS, (USERS, USER_PROGRESS), materialize_user_ghost_stats),
    Step(COHORT_GHOST_DATA, (USER_GHOST_STATS, COHORTS), materialize_cohort_ghost_data),
)
