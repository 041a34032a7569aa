"""Contracts of the ghost domain: figures of users, cohorts and of people who reached their band."""

import dataframely as dy

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CONTRIBUTIONS
from ghost_pipeline.contracts.columns import (
    Column,
    as_of_column,
    computed_from,
    count,
    date_of_hour,
    hour_of_date,
    identifier,
    instant,
    row_id,
    row_written,
    schema_of,
    small,
    starting_skill_column,
)
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.kept_months import KEPT_MONTHS
from ghost_pipeline.contracts.messages import MESSAGES
from ghost_pipeline.contracts.months import MONTHLY_FIGURES
from ghost_pipeline.contracts.rank_metrics import RANK_METRICS
from ghost_pipeline.contracts.raw import MAX_SCORE

DAYS_OF_WEEK = 7

_AT, _ZONE, _BAND = "user_progress.completed_at", "users.timezone", "users.final_band_score"
_DAYS, _MONTHS = "user_activity_days", "user_activity_checkpoints"
_PRACTISED = (f"{_DAYS}.local_date", f"{_MONTHS}.run_first_day", f"{_MONTHS}.last_day")


def _summed_up(name: str, column: Column) -> Column:
    """A column that adds up, or continues, the running totals of that name."""
    return computed_from(column, f"{_DAYS}.{name}", f"{_MONTHS}.{name}")


class _UserGhostStatsHead(dy.Schema):
    as_of = as_of_column()
    snapshot_date = date_of_hour("Date of the hour, UTC")
    snapshot_hour = hour_of_date()
    user_id = identifier("The user", primary_key=True)
    cohort_id = identifier("The user's cohort at as_of", nullable=True)
    cohort_excluded = dy.Bool(description="Whether the user is kept out of cohort figures")
    timezone = dy.String(nullable=True, description="IANA name of the user's zone; UTC without one")
    diagnostic_score = dy.Float64(nullable=True, min=0, max=MAX_SCORE, description="Band at the start")
    starting_skill = starting_skill_column("Lower end of the half band of the diagnostic score", nullable=True)
    target_band = dy.Decimal(2, 1, nullable=True, description="Band that the user aims at, if one is set")
    day_in_journey = computed_from(
        dy.Int32(description="Local date minus the created date plus 1; below 1 before the journey"),
        "users.created_at",
        _ZONE,
    )
    tasks_completed = _summed_up("tasks_completed", count("Tasks completed so far"))
    tasks_this_week = computed_from(count("Tasks completed in [as_of - 7 days, as_of)"), _AT)
    practice_time_ms = _summed_up("practice_time_ms", count("Time practised so far, in whole milliseconds"))
    practice_minutes = computed_from(
        dy.Float64(min=0, description="Time practised so far, in minutes"), "practice_time_ms"
    )
    speaking_tasks = _summed_up("speaking_tasks", count("Speaking tasks so far"))
    writing_tasks = _summed_up("writing_tasks", count("Writing tasks so far"))
    reading_tasks = _summed_up("reading_tasks", count("Reading tasks so far"))
    listening_tasks = _summed_up("listening_tasks", count("Listening tasks so far"))
    mock_tests = _summed_up("mock_tests", count("Mock tests so far; no other figure includes them"))
    days_practiced = computed_from(
        small("Days practised among the 7 local dates up to today", high=DAYS_OF_WEEK),
        f"{_DAYS}.local_date",
        f"{_MONTHS}.recent_days",
    )
    current_streak = computed_from(
        small("Length in days of the run that ends today or yesterday; otherwise 0"), *_PRACTISED
    )
    longest_streak = computed_from(
        small("Length in days of the longest run so far"), *_PRACTISED, f"{_MONTHS}.longest_streak"
    )
    streak_status = computed_from(
        dy.String(
            regex="^(active|at_risk|broken)$",
            description="active, at_risk or broken: 0, 1 or more days without a task since the last active day",
        ),
        *_PRACTISED,
        _ZONE,
    )
    last_activity_at = _summed_up("last_activity_at", instant("When the user last completed a task", nullable=True))
    is_active_member = computed_from(
        dy.Bool(description="Whether the user is not excluded and was last active in [as_of - 14 days, as_of)"),
        "cohort_excluded",
        "last_activity_at",
    )


UserGhostStats = schema_of(
    "UserGhostStats",
    "Every figure of a user that messages and answers need, at the end of the hour.",
    {
        **{name: column for metric in RANK_METRICS.values() for name, column in metric.columns.items()},
    },
    head=_UserGhostStatsHead,
)


class _CohortGhostDataHead(dy.Schema):
    id = row_id("cohort_id, snapshot_date, snapshot_hour")
    cohort_id = identifier("The cohort, or `global` for the row over all users", primary_key=True)
    snapshot_date = date_of_hour("Date of the hour, UTC")
    snapshot_hour = hour_of_date()
    as_of = as_of_column()
    member_count = computed_from(small("All members, active or not", low=1), "user_ghost_stats.user_id")
    active_member_count = computed_from(
        small("Active members, over whom the figures are taken", low=1), "user_ghost_stats.is_active_member"
    )


CohortGhostData = schema_of(
    "CohortGhostData",
    "Exact averages and percentiles of a cohort's active members. Internal, because averages to two "
    "decimals reveal single members' figures; people see releases only.",
    {
        **{metric.name: metric.column for metric in COHORT_METRICS},
        "updated_at": row_written("as_of at which the row was written"),
    },
    head=_CohortGhostDataHead,
)


class _CohortGhostReleaseHead(dy.Schema):
    cohort_id = identifier("The cohort; `global` is never released", primary_key=True)
    snapshot_date = date_of_hour("Date of the hour, UTC")
    snapshot_hour = hour_of_date()
    as_of = as_of_column()
    released = computed_from(
        dy.Bool(description="Whether the figures may be shown; if not, they are null"),
        *(f"user_ghost_stats.{name}" for name in ("is_active_member", *CONTRIBUTIONS)),
    )
    suppressed_reason = computed_from(
        dy.String(
            nullable=True,
            regex="^(too_few_members|dominated|too_few_changes)$",
            description="Why the figures were withheld when that began: too_few_members; dominated (two members hold "
            "almost all of a sum); too_few_changes (since the last releases). It stays until the next release",
        ),
        "released",
    )
    released_as_of = computed_from(instant("as_of of the hour that released the figures", nullable=True), "released")
    last_release_as_of = computed_from(
        instant("as_of of the last release, also while suppressed; a new release is compared with it", nullable=True),
        "released",
    )
    active_member_count = computed_from(
        small(
            "Members over whom the figures are taken: the active ones, unless some of them still wait",
            low=1,
            nullable=True,
        ),
        "user_ghost_stats.is_active_member",
    )


CohortGhostRelease = schema_of(
    "CohortGhostRelease",
    "The cohort figures that peers may see from this hour on: this hour's, an earlier hour's if a new release would "
    "isolate members, or none. Append-only: rows are never rewritten.",
    {
        **{metric.name: metric.nullable_column for metric in COHORT_METRICS},
    },
    head=_CohortGhostReleaseHead,
)


class _CohortReleaseContributionsHead(dy.Schema):
    cohort_id = identifier("The cohort that was released", primary_key=True)
    user_id = computed_from(
        identifier("One of the people whom the release is about", primary_key=True), "user_ghost_stats.user_id"
    )
    snapshot_date = date_of_hour("Date of the hour of the release, UTC")
    snapshot_hour = hour_of_date()
    as_of = as_of_column()


CohortReleaseContributions = schema_of(
    "CohortReleaseContributions",
    "What each member contributed to a release, kept to compare later releases with. Internal.",
    {
        **{name: computed_from(UserGhostStats.columns()[name], f"user_ghost_stats.{name}") for name in CONTRIBUTIONS},
    },
    head=_CohortReleaseContributionsHead,
)


class _UserReleasedRanksHead(dy.Schema):
    user_id = computed_from(identifier("The user", primary_key=True), "user_ghost_stats.user_id")
    snapshot_date = date_of_hour("Date of the hour, UTC")
    snapshot_hour = hour_of_date()
    as_of = as_of_column()
    cohort_id = computed_from(
        identifier("The cohort of which the user was a member as of the release", nullable=True),
        "user_ghost_stats.cohort_id",
    )
    ranked_as_of = computed_from(
        instant("as_of of the cohort's release, and of the rank among its members", nullable=True),
        "cohort_ghost_release.released_as_of",
    )
    global_as_of = computed_from(
        instant("as_of of the rank among all users: the last hour of the day before", nullable=True),
        "user_ghost_stats.as_of",
    )


UserReleasedRanks = schema_of(
    "UserReleasedRanks",
    "The percentile ranks that users are shown from this hour on, written down with the release of their cohort and "
    "kept while it stays. Append-only: rows are never rewritten.",
    {
        **{name: column for metric in RANK_METRICS.values() for name, column in metric.shown_columns.items()},
    },
    head=_UserReleasedRanksHead,
)


_COMPARED = ("user_value", "figure")
_OWN_FIGURES = [
    name
    for name in UserGhostStats.columns()
    # Minutes a day are those practised, by the day of the journey.
    if name in {"practice_minutes", "day_in_journey", *(message.user_value for message in MESSAGES.values())}
]


class GhostMessages(dy.Schema):
    """The messages that every user may be shown at the end of the hour, in each context that applies. An export."""

    user_id = identifier("The user", primary_key=True)
    snapshot_date = date_of_hour("Date of the hour, UTC")
    snapshot_hour = hour_of_date()
    as_of = as_of_column()
    context = computed_from(dy.String(primary_key=True, description="Context in which the message is shown"))
    place = computed_from(small("Position in the context, from 1", low=1))
    type = computed_from(dy.String(primary_key=True, description="Kind of message"))
    metric = computed_from(dy.String(description="Figure that is compared"))
    position = computed_from(
        dy.String(
            nullable=True,
            regex="^(ahead|close|behind)$",
            description="Whether the user is ahead, close or behind; null if the message does not say",
        ),
        *_COMPARED,
    )
    tone = computed_from(dy.String(description="Tone of the wording"), *_COMPARED)
    priority = computed_from(dy.String(description="Priority of the context"))
    user_value = computed_from(
        dy.Float64(description="The user's own figure"), *(f"user_ghost_stats.{name}" for name in _OWN_FIGURES)
    )
    figure = computed_from(
        dy.Float64(min_exclusive=0, description="Figure of the others that it is compared with"),
        *(f"cohort_ghost_release.{metric.name}" for metric in COHORT_METRICS),
        *(f"ghost_benchmarks.{metric.column_name}" for metric in BENCHMARK_METRICS),
        "ghost_streak_shares.percentage",
        "ghost_fastest_improvers.minutes_per_day",
    )
    figure_as_of = computed_from(
        instant("as_of of that figure"),
        "cohort_ghost_release.released_as_of",
        *(f"{table}.as_of" for table in ("ghost_benchmarks", "ghost_streak_shares", "ghost_fastest_improvers")),
    )
    text = computed_from(dy.String(min_length=1, description="Sentence as people read it"), *_COMPARED)


USER_GHOST_STATS = Contract(
    name="user_ghost_stats",
    schema=UserGhostStats,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one user at the end of an hour",
    published=True,
    indexes=(("user_id",), ("cohort_id",)),
)
COHORT_GHOST_DATA = Contract(
    name="cohort_ghost_data",
    schema=CohortGhostData,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one cohort with an active member, or `global`, at the end of an hour",
)
COHORT_GHOST_RELEASE = Contract(
    name="cohort_ghost_release",
    schema=CohortGhostRelease,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one cohort that has ever had an active member, at the end of an hour",
    published=True,
    indexes=(("cohort_id",),),
    never_expire_reason="figures that peers have seen cannot be computed again",
)
COHORT_RELEASE_CONTRIBUTIONS = Contract(
    name="cohort_release_contributions",
    schema=CohortReleaseContributions,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one of the people of a cohort that was released in the hour",
    # Without the row a departure would not be counted, and the next release would differ by that member alone (G9.3).
    pseudonymised=True,
    never_expire_reason="the next release removes rows that no release will be compared with",
)
USER_RELEASED_RANKS = Contract(
    name="user_released_ranks",
    schema=UserReleasedRanks,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one user with a rank at the end of an hour",
    written_once=True,
)
GHOST_MESSAGES = Contract(
    name="ghost_messages",
    schema=GhostMessages,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one message to one user in one context at the end of an hour",
)

GHOST_CONTRACTS = {
    contract.name: contract
    for contract in (
        USER_GHOST_STATS,
        COHORT_GHOST_DATA,
        COHORT_RELEASE_CONTRIBUTIONS,
        COHORT_GHOST_RELEASE,
        USER_RELEASED_RANKS,
        GHOST_MESSAGES,
        *MONTHLY_FIGURES,
        *KEPT_MONTHS,
    )
}
