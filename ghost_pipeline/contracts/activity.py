"""Contracts of what users did, summed up so that an hour need not read all of history again (G2).

Both tables are derived: they can be deleted, and the next hour makes what it needs.
"""

import dataframely as dy

from ghost_pipeline.contracts.columns import as_of_column, count, identifier, instant, schema_of, small
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.raw import MODULE_TYPES

COUNT_COLUMNS = ("tasks_completed", "practice_time_ms", *(f"{module}_tasks" for module in MODULE_TYPES), "mock_tests")
"""What is added up; every set of events has its sums, and two sets without a common event have theirs together."""

RECENT_DAYS = 7
"""Dates that a checkpoint remembers one by one, for the days practised of a week that begins before it (G1.4)."""

_ZONE = "IANA name of the zone in which the days are counted; in another one they are counted again (G1.6)"

_COUNTS: dict[str, dy.Column] = {
    "tasks_completed": count("Tasks (G2.2)"),
    "practice_time_ms": count("Time spent on them in whole milliseconds (G2.3)"),
    **{f"{module}_tasks": count(f"Tasks in {module}") for module in MODULE_TYPES},
    "mock_tests": count("Mock tests, which count nowhere else (G2.2)"),
    "last_activity_at": instant("The newest task; null where there are mock tests only", nullable=True),
}
BEFORE_JOURNEY = "events_before_journey"
"""Events that are not counted because they precede the created date: a finding (G1.5)."""

UserActivityDays = schema_of(
    "UserActivityDays",
    "What a user did on a local day, as far as it lies in a UTC day. Days before the journey are in "
    "it: which of them count depends on created_at (G1.5). Sums and maxima: any two files add up.",
    {
        "event_date": dy.Date(primary_key=True, description="The UTC day"),
        "user_id": identifier("The user", primary_key=True),
        "timezone": dy.String(nullable=True, description=_ZONE),
        "local_date": dy.Date(primary_key=True, description="The user's own date (G1.6)"),
        **_COUNTS,
    },
)

UserActivityCheckpoints = schema_of(
    "UserActivityCheckpoints",
    "What a user had done by the end of the month: sums since ever, and of the days practised as much "
    "as later days need: the last run, the longest one and the last dates (G1.4, G2.4). Follows from the month "
    "before and the events of the month.",
    {
        "month": dy.String(primary_key=True, regex=r"^\d{4}-\d{2}$", description="The month, `2025-02`"),
        "as_of": as_of_column(),
        "user_id": identifier("A user with at least one event", primary_key=True),
        "timezone": dy.String(nullable=True, description=_ZONE),
        "created_date": dy.Date(description="First date that counts, in that zone (G1.5)"),
        **_COUNTS,
        BEFORE_JOURNEY: count("Events before that date, which count nowhere"),
        "run_first_day": dy.Date(nullable=True, description="First day of the last run of days practised; null: none"),
        "last_day": dy.Date(nullable=True, description="The last day practised, which ends that run"),
        "longest_streak": small("Length in days of the longest run so far"),
        "recent_days": small(
            "The dates up to last_day that were practised, as bits: bit 0 is last_day, bit 6 six days before",
            high=2**RECENT_DAYS - 1,
        ),
    },
)

USER_ACTIVITY_DAYS = Contract(
    name="user_activity_days",
    schema=UserActivityDays,
    layer=Layer.GHOST,
    partitioning=Partitioning.EVENT_DAY,
    grain="one local date of a user in a UTC day",
)
USER_ACTIVITY_CHECKPOINTS = Contract(
    name="user_activity_checkpoints",
    schema=UserActivityCheckpoints,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one user at the end of a month",
)

ACTIVITY_CONTRACTS = {contract.name: contract for contract in (USER_ACTIVITY_DAYS, USER_ACTIVITY_CHECKPOINTS)}
