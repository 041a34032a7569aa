"""Contracts of the ghost half: figures of users, cohorts and of people who reached their band."""

import dataframely as dy
import polars as pl

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS, CONTRIBUTIONS
from ghost_pipeline.contracts.columns import as_of_column, count, identifier, instant, row_id, schema_of, small
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.rank_metrics import RANK_METRICS
from ghost_pipeline.contracts.raw import MAX_SCORE

PERCENT = 100
DAYS_OF_WEEK = 7


class _UserGhostStatsHead(dy.Schema):
    as_of = as_of_column()
    snapshot_date = dy.Date(primary_key=True, description="Date of the hour, UTC (G1.2)")
    snapshot_hour = dy.Int32(primary_key=True, min=0, max=23, description="The hour of that date (G1.2)")
    user_id = identifier("The user", primary_key=True)
    cohort_id = identifier("The user's cohort at as_of", nullable=True)
    cohort_excluded = dy.Bool(description="Kept out of cohort figures (G2.5)")
    timezone = dy.String(nullable=True, description="IANA name of the user's zone; UTC without one (G1.6)")
    diagnostic_score = dy.Float64(nullable=True, min=0, max=MAX_SCORE, description="Band at the start")
    starting_skill = dy.Decimal(2, 1, nullable=True, description="Lower end of the half band of the start (G5.1)")
    target_band = dy.Decimal(2, 1, nullable=True, description="Band the user aims at, where one is set")
    day_in_journey = dy.Int32(description="Today - created date + 1, local (G1.5); below 1 before the journey")
    tasks_completed = count("Tasks completed in all (G2.2)")
    tasks_this_week = count("Tasks completed in [as_of - 7 days, as_of) (G1.4)")
    practice_time_ms = count("Time practised in all, whole milliseconds (G2.3)")
    practice_minutes = dy.Float64(min=0, description="The same in minutes")
    speaking_tasks = count("Speaking tasks in all")
    writing_tasks = count("Writing tasks in all")
    reading_tasks = count("Reading tasks in all")
    listening_tasks = count("Listening tasks in all")
    mock_tests = count("Mock tests in all; not in any other figure (G2.2)")
    days_practiced = small("Days practised of the 7 local dates that end today (G1.4)", high=DAYS_OF_WEEK)
    current_streak = small("Length in days of the run that ends today or yesterday, else 0 (G2.4)")
    longest_streak = small("Length in days of the longest run so far")
    streak_status = dy.String(
        regex="^(active|at_risk|broken)$",
        description="0, 1 or more silent days since the last active one (G2.4)",
    )
    last_activity_at = instant("When the user last completed a task", nullable=True)
    is_active_member = dy.Bool(description="Not excluded, last activity in [as_of - 14 days, as_of) (G2.5)")


UserGhostStats = schema_of(
    "UserGhostStats",
    "Every figure of a user that a message or an answer needs, at the end of the hour.",
    {
        **{name: column for metric in RANK_METRICS.values() for name, column in metric.columns.items()},
    },
    head=_UserGhostStatsHead,
)


class _CohortGhostDataHead(dy.Schema):
    id = row_id("cohort_id, snapshot_date, snapshot_hour")
    cohort_id = identifier("The cohort, or `global` for the row over all users (G3.1)", primary_key=True)
    snapshot_date = dy.Date(primary_key=True, description="Date of the hour, UTC (G1.2)")
    snapshot_hour = dy.Int32(primary_key=True, min=0, max=23, description="The hour of that date (G1.2)")
    as_of = as_of_column()
    member_count = small("All members, active or not (G3.2)", low=1)
    active_member_count = small("Active members (G2.5), over whom the figures are taken", low=1)


CohortGhostData = schema_of(
    "CohortGhostData",
    "Exact averages and percentiles of a cohort's active members. Internal: averages to two "
    "decimals give back single members' figures, so people see releases only (G3, G9).",
    {
        **{metric.name: metric.column for metric in COHORT_METRICS},
        "updated_at": instant("as_of at which the row was written (G1.10)"),
    },
    head=_CohortGhostDataHead,
)


class _CohortGhostReleaseHead(dy.Schema):
    cohort_id = identifier("The cohort; `global` is never released (G3.1)", primary_key=True)
    snapshot_date = dy.Date(primary_key=True, description="Date of the hour, UTC (G1.2)")
    snapshot_hour = dy.Int32(primary_key=True, min=0, max=23, description="The hour of that date (G1.2)")
    as_of = as_of_column()
    released = dy.Bool(description="Whether the figures may be shown; otherwise they are null (G9.5)")
    suppressed_reason = dy.String(
        nullable=True,
        regex="^(too_few_members|dominated|too_few_changes)$",
        description="Why not: G9.1, G9.2, or G9.3 after a suppression",
    )
    released_as_of = instant("as_of of the figures: that of the hour that released them (G9.3)", nullable=True)
    last_release_as_of = instant("The same, also while suppressed: what a new release is compared with", nullable=True)
    active_member_count = small("Active members (G2.5), over whom the figures are taken", low=1, nullable=True)


CohortGhostRelease = schema_of(
    "CohortGhostRelease",
    "What peers see of a cohort from this hour on: figures of this hour or, where too few members "
    "changed, of an earlier one, or that there are none. A ledger: kept input, never rewritten (G9).",
    {
        **{metric.name: metric.nullable_column for metric in COHORT_METRICS},
    },
    head=_CohortGhostReleaseHead,
)


class _CohortReleaseContributionsHead(dy.Schema):
    cohort_id = identifier("The cohort that was released", primary_key=True)
    user_id = identifier("An active member at that time", primary_key=True)
    snapshot_date = dy.Date(primary_key=True, description="Date of the hour of the release, UTC")
    snapshot_hour = dy.Int32(primary_key=True, min=0, max=23, description="The hour of that date")
    as_of = as_of_column()


CohortReleaseContributions = schema_of(
    "CohortReleaseContributions",
    "What each member contributed to a release, to count how many contributions have changed since. Internal.",
    {
        **{name: UserGhostStats.columns()[name] for name in CONTRIBUTIONS},
    },
    head=_CohortReleaseContributionsHead,
)


class GhostMessages(dy.Schema):
    """What every user may be shown at the end of the hour, in each context that applies (G7). An export."""

    user_id = identifier("The user", primary_key=True)
    snapshot_date = dy.Date(primary_key=True, description="Date of the hour, UTC (G1.2)")
    snapshot_hour = dy.Int32(primary_key=True, min=0, max=23, description="The hour of that date (G1.2)")
    as_of = as_of_column()
    context = dy.String(primary_key=True, description="Where it is shown (G7.5)")
    place = small("1 for the first message of the context, then 2, 3", low=1)
    type = dy.String(primary_key=True, description="The kind of message (G7.1)")
    metric = dy.String(description="What is compared")
    position = dy.String(
        nullable=True,
        regex="^(ahead|close|behind)$",
        description="Where the user stands; null where the message does not say (G7.2)",
    )
    tone = dy.String(description="Tone of the wording")
    priority = dy.String(description="Priority of the context (G7.5)")
    user_value = dy.Float64(description="The user's own figure")
    figure = dy.Float64(min_exclusive=0, description="The figure that it is compared with")
    figure_as_of = instant("as_of of that figure")
    text = dy.String(min_length=1, description="The sentence, as people read it")


class _GhostBenchmarksHead(dy.Schema):
    id = row_id("population, target_band, starting_skill, day_number, success_percentile, month")
    population = dy.String(
        primary_key=True,
        regex="^(interval|at_least)$",
        description="interval: final score in [band, band + 0.5); at_least: from the band on (G5.6)",
    )
    target_band = dy.Decimal(2, 1, primary_key=True, description="The band that was reached (G5.1)")
    starting_skill = dy.Decimal(
        2, 1, primary_key=True, description="Lower end of the half band of the diagnostic score (G5.1)"
    )
    day_number = dy.Int32(primary_key=True, min=1, description="Day of the journey, from 1 (G1.5)")
    success_percentile = dy.Int32(
        primary_key=True, min=1, max=99, description="p: the figures are the (100 - p)th percentile (G5.3)"
    )


GhostBenchmarks = schema_of(
    "GhostBenchmarks",
    "What people who reached a band had done by each day of their journey.",
    {
        **{metric.column_name: metric.column for metric in BENCHMARK_METRICS},
        "sample_size": small("Achievers whose day has ended at as_of", low=1),
        "month": dy.String(regex=r"^\d{4}-\d{2}$", primary_key=True, description="The month, such as 2025-02"),
        "as_of": as_of_column(),
        "created_at": instant("as_of at which the row was first written"),
        "updated_at": instant("as_of at which the row was last written"),
    },
    head=_GhostBenchmarksHead,
)


class GhostStreakShares(dy.Schema):
    """How many of the people who reached a band kept up a streak of so many days (G6)."""

    id = row_id("target_band, starting_skill, streak_threshold, month")
    target_band = dy.Decimal(2, 1, description="Achievers of at least this band")
    starting_skill = dy.Decimal(
        2, 1, nullable=True, description="Lower end of the half band of their start; null for all starts together"
    )
    streak_threshold = dy.Int32(min=1, description="k: the days that the longest streak has to reach")
    sample_size = small("Achievers that the share is taken over", low=1)
    percentage = small("Share of them, rounded half away from zero", high=PERCENT)
    month = dy.String(regex=r"^\d{4}-\d{2}$", description="The month, such as 2025-02 (G5.5)")
    as_of = as_of_column()
    created_at = instant("as_of at which the row was first written (G1.10)")
    updated_at = instant("as_of at which the row was last written (G1.10)")

    @dy.rule()
    def one_share_per_key(cls) -> pl.Expr:  # noqa: N805 - dataframely's rules are class methods
        """The key holds a null, which no primary key may."""
        return pl.len().over("target_band", "starting_skill", "streak_threshold", "month") == 1


class GhostFastestImprovers(dy.Schema):
    """How long those practised a day who improved fastest, by starting skill (G6)."""

    id = row_id("starting_skill, month")
    starting_skill = dy.Decimal(
        2, 1, primary_key=True, description="Lower end of the half band of the diagnostic score (G5.1)"
    )
    sample_size = small("Achievers of at least the lowest band, of whom the fastest quarter is taken", low=1)
    minutes_per_day = dy.Decimal(
        18, 1, min=0, description="Mean over that quarter of minutes before the result / days to the result"
    )
    month = dy.String(regex=r"^\d{4}-\d{2}$", primary_key=True, description="The month, such as 2025-02 (G5.5)")
    as_of = as_of_column()
    created_at = instant("as_of at which the row was first written (G1.10)")
    updated_at = instant("as_of at which the row was last written (G1.10)")


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
    grain="one cohort that ever had an active member, as peers see it from the end of an hour on",
    published=True,
    indexes=(("cohort_id",),),
    never_expire_reason="what peers have seen cannot be computed again",
)
COHORT_RELEASE_CONTRIBUTIONS = Contract(
    name="cohort_release_contributions",
    schema=CohortReleaseContributions,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one active member of a cohort that was released in the hour",
    # Without the row nobody would count that they have left, and the next release would differ by them alone (G9.3).
    pseudonymised=True,
    never_expire_reason="the next release removes what none will be compared with",
)
GHOST_MESSAGES = Contract(
    name="ghost_messages",
    schema=GhostMessages,
    layer=Layer.GHOST,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one message to one user in one context at the end of an hour",
)
GHOST_BENCHMARKS = Contract(
    name="ghost_benchmarks",
    schema=GhostBenchmarks,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one population, band, start, day and percentile with enough achievers, at the end of a month",
    published=True,
    indexes=(("target_band", "starting_skill", "day_number"),),
)

GHOST_STREAK_SHARES = Contract(
    name="ghost_streak_shares",
    schema=GhostStreakShares,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one band, start (or all starts) and threshold with enough achievers, at the end of a month",
    published=True,
)
GHOST_FASTEST_IMPROVERS = Contract(
    name="ghost_fastest_improvers",
    schema=GhostFastestImprovers,
    layer=Layer.GHOST,
    partitioning=Partitioning.MONTH,
    grain="one starting skill with enough achievers, at the end of a month",
    published=True,
)

GHOST_CONTRACTS = {
    contract.name: contract
    for contract in (
        USER_GHOST_STATS,
        COHORT_GHOST_DATA,
        COHORT_RELEASE_CONTRIBUTIONS,
        COHORT_GHOST_RELEASE,
        GHOST_MESSAGES,
        GHOST_BENCHMARKS,
        GHOST_STREAK_SHARES,
        GHOST_FASTEST_IMPROVERS,
    )
}
