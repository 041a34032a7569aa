"""Contracts of what users did, summed up so that an hour need not read all of history again (G2).

Both tables are derived: they can be deleted, and the next hour makes what it needs.
"""

import dataframely as dy

from ghost_pipeline.contracts.columns import (
    as_of_column,
    computed_from,
    count,
    identifier,
    instant,
    month_column,
    schema_of,
    small,
)
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.raw import MODULE_TYPES

COUNT_COLUMNS = ("tasks_completed", "practice_time_ms", *(f"{module}_tasks" for module in MODULE_TYPES), "mock_tests")
"""Columns that are added up: the sums of two disjoint sets of events add up to those of their union."""

RECENT_DAYS = 7
"""Dates that a checkpoint remembers one by one, for the days practised of a week that begins before it (G1.4)."""

_ZONE = "IANA name of the zone in which the days are counted; if it changes, they are counted again"

_TYPE, _TIME, _AT = (f"user_progress.{name}" for name in ("task_type", "time_spent_ms", "completed_at"))
_IN_ZONE = (_AT, "users.timezone")

_COUNTS: dict[str, dy.Column] = {
    "tasks_completed": computed_from(count("Tasks completed"), _TYPE),
    "practice_time_ms": computed_from(count("Time spent on tasks, in whole milliseconds"), _TIME),
    **{f"{module}_tasks": computed_from(count(f"{module.capitalize()} tasks"), _TYPE) for module in MODULE_TYPES},
    "mock_tests": computed_from(count("Mock tests; no other figure includes them"), _TYPE),
    "last_activity_at": computed_from(
        instant("Time of the newest task; null if there are only mock tests", nullable=True), _AT
    ),
}
BEFORE_JOURNEY = "events_before_journey"
"""Events that are not counted because they precede the created date: a finding (G1.5)."""

UserActivityDays = schema_of(
    "UserActivityDays",
    "Activity of a user on a local day, as far as that is in a UTC day. Includes days before the journey: "
    "created_at decides which of them count. Sums and maxima, so any two files add up.",
    {
        "event_date": computed_from(dy.Date(primary_key=True, description="The UTC day"), _AT),
        "user_id": identifier("The user", primary_key=True),
        "timezone": dy.String(nullable=True, description=_ZONE),
        "local_date": computed_from(dy.Date(primary_key=True, description="Date in the user's zone"), *_IN_ZONE),
        **_COUNTS,
    },
)

UserActivityCheckpoints = schema_of(
    "UserActivityCheckpoints",
    "Activity of a user up to the end of the month: all sums, and what later days need of the days "
    "practised: the last run, the longest run and the last dates. Computed from the month "
    "before and the events of the month.",
    {
        "month": month_column(primary_key=True),
        "as_of": as_of_column(),
        "user_id": identifier("A user with at least one event", primary_key=True),
        "timezone": dy.String(nullable=True, description=_ZONE),
        "created_date": computed_from(
            dy.Date(description="First date that counts, in the user's zone"), "users.created_at", "users.timezone"
        ),
        **_COUNTS,
        BEFORE_JOURNEY: computed_from(count("Events before that date; no figure includes them"), _AT, "created_date"),
        "run_first_day": computed_from(
            dy.Date(nullable=True, description="First day of the last run of days practised; null if there is none"),
            *_IN_ZONE,
        ),
        "last_day": computed_from(
            dy.Date(nullable=True, description="The last day practised, which ends that run"), *_IN_ZONE
        ),
        "longest_streak": computed_from(small("Length in days of the longest run so far"), *_IN_ZONE),
        "recent_days": computed_from(
            small(
                "Dates practised up to last_day, as bits: bit 0 is last_day, bit 6 is six days before; without a bit "
                "for a date that the zone skipped",
                high=2**RECENT_DAYS - 1,
            ),
            *_IN_ZONE,
        ),
    },
)

USER_ACTIVITY_DAYS = Contract(
    name="user_activity_days",
    schema=UserActivityDays,
    layer=Layer.GHOST,
    partitioning=Partitioning.EVENT_DAY,
    grain="a user's activity on one local date within one UTC day",
)
USER_ACTIVITY_CHECKPOINTS = Contract(
    name="user_activity_checkpoints",
    schema=UserActivityCheckpoints,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one user at the end of a month",
)

ACTIVITY_CONTRACTS = {contract.name: contract for contract in (USER_ACTIVITY_DAYS, USER_ACTIVITY_CHECKPOINTS)}
