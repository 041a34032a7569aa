"""Contracts of what users did, summed up so that an hour need not read all of history again (G2).

Both tables are derived: they can be deleted, and the next hour makes what it needs.
"""

import dataframely as dy

from ghost_pipeline.contracts.columns import as_of_column, count, identifier, instant, schema_of, small
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.raw import MODULE_TYPES

COUNT_COLUMNS = ("tasks_completed", "practice_time_ms", *(f"{module}_tasks" for module in MODULE_TYPES), "mock_tests")
"""Columns that are added up: the sums of two disjoint sets of events add up to those of their union."""

RECENT_DAYS = 7
"""Dates that a checkpoint remembers one by one, for the days practised of a week that begins before it (G1.4)."""

_ZONE = "IANA name of the zone in which the days are counted; if it changes, they are counted again"

_COUNTS: dict[str, dy.Column] = {
    "tasks_completed": count("Tasks completed"),
    "practice_time_ms": count("Time spent on tasks, in whole milliseconds"),
    **{f"{module}_tasks": count(f"{module.capitalize()} tasks") for module in MODULE_TYPES},
    "mock_tests": count("Mock tests; no other figure includes them"),
    "last_activity_at": instant("Time of the newest task; null if there are only mock tests", nullable=True),
}
BEFORE_JOURNEY = "events_before_journey"
"""Events that are not counted because they precede the created date: a finding (G1.5)."""

UserActivityDays = schema_of(
    "UserActivityDays",
    "Activity of a user on a local day, as far as that is in a UTC day. Includes days before the journey: "
    "created_at decides which of them count. Sums and maxima, so any two files add up.",
    {
        "event_date": dy.Date(primary_key=True, description="The UTC day"),
        "user_id": identifier("The user", primary_key=True),
        "timezone": dy.String(nullable=True, description=_ZONE),
        "local_date": dy.Date(primary_key=True, description="Date in the user's zone"),
        **_COUNTS,
    },
)

UserActivityCheckpoints = schema_of(
    "UserActivityCheckpoints",
    "Activity of a user up to the end of the month: all sums, and what later days need of the days "
    "practised: the last run, the longest run and the last dates. Computed from the month "
    "before and the events of the month.",
    {
        "month": dy.String(primary_key=True, regex=r"^\d{4}-\d{2}$", description="Month, such as 2025-02"),
        "as_of": as_of_column(),
        "user_id": identifier("A user with at least one event", primary_key=True),
        "timezone": dy.String(nullable=True, description=_ZONE),
        "created_date": dy.Date(description="First date that counts, in the user's zone"),
        **_COUNTS,
        BEFORE_JOURNEY: count("Events before that date; no figure includes them"),
        "run_first_day": dy.Date(
            nullable=True, description="First day of the last run of days practised; null if there is none"
        ),
        "last_day": dy.Date(nullable=True, description="The last day practised, which ends that run"),
        "longest_streak": small("Length in days of the longest run so far"),
        "recent_days": small(
            "Dates practised up to last_day, as bits: bit 0 is last_day, bit 6 is six days before; without a bit for a "
            "date that the zone skipped",
            high=2**RECENT_DAYS - 1,
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
