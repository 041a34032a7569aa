"""The hourly export of all messages, from the files of the lake to the file of the hour, against DuckDB.

Generated: users of cohorts of two hundred, half of them in a streak, with starts from 4.5 to 6.9 on days 1 to 149; one
cohort in twenty is suppressed; a month of benchmarks for every band, start and day.
"""

import os
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.defs.messages import materialize_ghost_messages
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import POPULATIONS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, working
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.reference.months import (
    DEFAULT_BANDS,
    DEFAULT_DAYS,
    DEFAULT_PERCENTILES,
    DEFAULT_STARTS,
    DEFAULT_THRESHOLDS,
    starting_skill,
)

HOUR, MONTH = Hour.from_key("2025-03-12-11:00"), Month.from_key("2025-02")
COHORT = 200
HOURS_OF_TODAY = HOUR.hour + 1
SEED = 7


def prepare(folder: Path, users: int) -> None:
    """Write the lake that the export of so many users reads."""
    chance = np.random.default_rng(SEED)
    lake = Lake(folder / "lake")
    cohorts = [f"cohort-{number:05d}" for number in range(max(1, users // COHORT))]
    lake.write(USER_GHOST_STATS, HOUR, complete(USER_GHOST_STATS, _users(chance, users, cohorts)))
    lake.write(COHORT_GHOST_RELEASE, HOUR, complete(COHORT_GHOST_RELEASE, _releases(chance, cohorts)))
    for contract, rows in (
        (GHOST_BENCHMARKS, _benchmarks()),
        (GHOST_STREAK_SHARES, _streak_shares()),
        (GHOST_FASTEST_IMPROVERS, pl.LazyFrame({"starting_skill": DEFAULT_STARTS, "minutes_per_day": [25.4] * 4})),
    ):
        lake.write(contract, MONTH, complete(contract, rows.with_columns(sample_size=500)))


def complete(contract: Contract, rows: pl.LazyFrame) -> pl.DataFrame:
    """The rows as the contract wants them: with the clock of the partition, and 0 for what no message reads."""
    schema = contract.polars_schema
    window = MONTH if "month" in schema else HOUR
    number = pl.int_range(pl.len()).cast(pl.String).str.zfill(12)
    known = {
        "id": pl.lit("00000000-0000-0000-0000-") + number,
        "month": pl.lit(MONTH.key),
        "renewed": pl.lit(MONTH.key),
        "snapshot_date": pl.lit(HOUR.date),
        "snapshot_hour": pl.lit(HOUR.hour),
        **dict.fromkeys(("as_of", "created_at", "updated_at"), pl.lit(window.as_of)),
    }
    columns = contract.schema.columns()
    there = rows.collect_schema().names()
    missing = {
        name: known.get(name, pl.lit(None if columns[name].nullable else 0)) for name in schema if name not in there
    }
    return rows.with_columns(**missing).select(list(schema)).cast(pl.Schema(schema)).collect()


def _users(chance: np.random.Generator, users: int, cohorts: list[str]) -> pl.LazyFrame:
    ids = np.sort([f"{high:016x}{low:016x}" for high, low in chance.integers(0, 2**63, (users, 2))])
    day = chance.integers(1, 150, users)
    tasks = chance.binomial(3 * np.minimum(day, 120), chance.uniform(0.05, 0.6, users))
    streak = np.where(chance.random(users) < 0.5, 0, chance.integers(1, 40, users))
    silent_hours = np.where(streak > 0, chance.integers(0, 24 + HOURS_OF_TODAY, users), chance.integers(36, 900, users))
    status = np.select([streak == 0, silent_hours < HOURS_OF_TODAY], ["broken", "active"], "at_risk")
    return (
        pl.LazyFrame(
            {
                "user_id": ids,
                "cohort_id": np.array(cohorts)[chance.integers(0, len(cohorts), users)],
                "diagnostic_score": chance.integers(45, 70, users) / 10,
                "target_band": chance.choice(np.array(DEFAULT_BANDS, float), users),
                "day_in_journey": day,
                "tasks_completed": tasks,
                "tasks_this_week": np.minimum(tasks, chance.integers(0, 21, users)),
                "practice_time_ms": tasks * chance.integers(60_000, 1_800_000, users),
                "speaking_tasks": tasks // 5,
                "days_practiced": chance.integers(0, 8, users),
                "current_streak": streak,
                "streak_status": status,
                "silent_hours": silent_hours,
            }
        )
        .with_columns(
            starting_skill=starting_skill(),
            last_activity_at=pl.lit(HOUR.as_of) - pl.duration(hours="silent_hours") - pl.duration(minutes=1),
            is_active_member=pl.col("silent_hours") < 14 * 24,
            cohort_excluded=pl.lit(value=False),
        )
        .drop("silent_hours")
    )


def _releases(chance: np.random.Generator, cohorts: list[str]) -> pl.LazyFrame:
    count = len(cohorts)
    released = chance.random(count) < 0.95
    figures = {
        "active_member_count": chance.integers(20, COHORT, count),
        "avg_tasks_completed": chance.integers(2_000, 9_000, count) / 100,
        "avg_tasks_this_week": chance.integers(200, 1_500, count) / 100,
        "top_10_percent_tasks": chance.integers(90, 200, count),
        "top_25_percent_tasks": chance.integers(60, 90, count),
        "top_10_percent_days_practiced": chance.integers(5, 8, count),
    }
    return pl.LazyFrame({"cohort_id": cohorts, "released": released, **figures}).with_columns(
        suppressed_reason=pl.when(~pl.col("released")).then(pl.lit("too_few_members")),
        released_as_of=pl.when("released").then(pl.lit(HOUR.as_of)),
        last_release_as_of=pl.lit(HOUR.as_of),
        **{name: pl.when("released").then(name) for name in figures},
    )


def _benchmarks() -> pl.LazyFrame:
    pace = pl.col("day_number") * pl.col("success_percentile").replace_strict({10: 1.5, 25: 1.1, 50: 0.8})
    return _crossed(
        population=POPULATIONS,
        target_band=DEFAULT_BANDS,
        starting_skill=DEFAULT_STARTS,
        day_number=range(1, DEFAULT_DAYS + 1),
        success_percentile=DEFAULT_PERCENTILES,
    ).with_columns(
        avg_tasks_completed=pace.cast(pl.Int32),
        avg_practice_minutes=(15 * pace).cast(pl.Int32),
        avg_speaking_tasks=(pace / 4).cast(pl.Int32),
    )


def _streak_shares() -> pl.LazyFrame:
    return _crossed(
        target_band=DEFAULT_BANDS, starting_skill=(None, *DEFAULT_STARTS), streak_threshold=DEFAULT_THRESHOLDS
    ).with_columns(percentage=95 - pl.col("streak_threshold"))


def _crossed(**columns: object) -> pl.LazyFrame:
    first, *others = [pl.LazyFrame({name: list(values)}) for name, values in columns.items()]  # type: ignore[call-overload]
    for other in others:
        first = first.join(other, how="cross")
    return first


def ghost_pipeline(folder: Path) -> None:
    """The step as a run does it."""
    settings = Settings.load(data=folder)
    resources = RunContext.of(settings)
    with working():
        compute_one(materialize_ghost_messages, resources, HOUR)


PEER = """
CREATE MACRO shown(x) AS CASE WHEN round(x, 1) % 1 = 0 THEN round(x)::bigint::varchar ELSE round(x, 1)::varchar END;
CREATE MACRO tasks(x) AS shown(x) || CASE WHEN shown(x) = '1' THEN ' task' ELSE ' tasks' END;
CREATE MACRO stands(own, x) AS CASE WHEN own >= x * 1.1 THEN 'ahead' WHEN own >= x * 0.9 THEN 'close' ELSE 'behind' END;
CREATE MACRO says(type, position, figure, figure_as_of, text) AS
    CASE WHEN figure > 0 THEN struct_pack(type := type, position := position, figure := figure::double,
                                          figure_as_of := figure_as_of, text := text) END;
CREATE TEMP VIEW figures AS
SELECT u.*, coalesce(u.target_band, 7.5) AS band, least(u.day_in_journey, 90) AS day,
       b.avg_tasks_completed AS b_tasks, b.as_of AS month_as_of, s.avg_speaking_tasks AS speaking,
       r.avg_tasks_completed AS c_tasks, r.avg_tasks_this_week AS c_week, r.top_10_percent_tasks AS c_top,
       r.top_10_percent_days_practiced AS c_days, r.released_as_of AS c_as_of, k.streak_threshold AS threshold,
       k.percentage, i.minutes_per_day AS i_minutes,
       round(u.practice_time_ms / 60000 / nullif(u.day_in_journey, 0), 1) AS minutes
FROM {user_ghost_stats} u
LEFT JOIN {ghost_benchmarks} b ON b.population = 'interval' AND b.success_percentile = 25
    AND b.target_band = coalesce(u.target_band, 7.5) AND b.starting_skill = u.starting_skill
    AND b.day_number = least(u.day_in_journey, 90)
LEFT JOIN {ghost_benchmarks} s ON s.population = 'at_least' AND s.success_percentile = 50
    AND s.target_band = coalesce(u.target_band, 7.5) AND s.starting_skill = u.starting_skill
    AND s.day_number = least(u.day_in_journey, 90)
LEFT JOIN {cohort_ghost_release} r ON r.cohort_id = u.cohort_id AND r.released
LEFT JOIN {ghost_fastest_improvers} i ON i.starting_skill = u.starting_skill
LEFT JOIN {ghost_streak_shares} k ON k.starting_skill IS NULL AND k.target_band = coalesce(u.target_band, 7.5)
    AND k.streak_threshold = CASE WHEN current_streak < 3 THEN 3 WHEN current_streak < 5 THEN 5
        WHEN current_streak < 7 THEN 7 WHEN current_streak < 14 THEN 14 WHEN current_streak < 30 THEN 30 END;
CREATE TEMP VIEW offers AS
SELECT *, list_filter([success, cohort], lambda o: o IS NOT NULL) AS comparisons,
       list_filter([one, two, three, four], lambda o: o IS NOT NULL) AS openings
FROM (
    SELECT user_id, snapshot_date, snapshot_hour, as_of, streak_status, last_activity_at, tasks_completed,
           says('success_benchmark', stands(tasks_completed, b_tasks), b_tasks, month_as_of,
                CASE stands(tasks_completed, b_tasks)
                WHEN 'ahead' THEN format('Great progress! Users who scored {{}}+ had completed {{}} by Day {{}}. '
                                         'You''re at {{}}! 🎯', band, tasks(b_tasks), day, tasks_completed)
                WHEN 'close' THEN format('You''re almost there! {{}}+ achievers had {{}} by Day {{}}. You''re at {{}}.',
                                         band, tasks(b_tasks), day, tasks_completed)
                ELSE format('Users who scored {{}}+ had completed {{}} by Day {{}}. You''re at {{}}.',
                            band, tasks(b_tasks), day, tasks_completed) END) AS success,
           says('cohort_comparison', stands(tasks_completed, c_tasks), c_tasks, c_as_of,
                CASE stands(tasks_completed, c_tasks)
                WHEN 'ahead' THEN format('You''re ahead of your cohort! Average is {{}}, you''re at {{}}. 💪',
                                         tasks(c_tasks), tasks_completed)
                WHEN 'close' THEN format('You''re right with your cohort! Average is {{}}, you''re at {{}}.',
                                         tasks(c_tasks), tasks_completed)
                ELSE format('Your cohort is averaging {{}}. You''re at {{}}. Catch up?',
                            tasks(c_tasks), tasks_completed) END) AS cohort,
           says('top_performers', NULL, c_top, c_as_of,
                format('Top 10% of your cohort completed {{}}. You''re at {{}}.',
                       tasks(c_top), tasks_completed)) AS top,
           says('streak_comparison', NULL, percentage, month_as_of,
                format('{{}}% of {{}}+ achievers maintained a {{}}+ day streak. You''re on day {{}}! 🔥',
                       percentage, band, threshold, current_streak)) AS streak,
           says('opening_1', NULL, speaking, month_as_of,
                format('Users who scored {{}}+ completed {{}} speaking exercises by Day {{}}. You''re at {{}}.',
                       band, speaking, day, speaking_tasks)) AS one,
           says('opening_2', NULL, c_days, c_as_of,
                format('Top 10% of users in your cohort practice {{}} days/week. You''re at {{}} days.',
                       c_days, days_practiced)) AS two,
           says('opening_3', NULL, i_minutes, month_as_of,
                format('Users at your skill level who improved fastest spent {{}} min/day. You''re at {{}} min.',
                       shown(i_minutes), shown(minutes))) AS three,
           says('opening_4', NULL, CASE WHEN tasks_this_week < c_week THEN c_week END, c_as_of,
                format('Your cohort averaged {{}} this week. You''re at {{}}. Catch up?',
                       tasks(c_week), tasks_this_week)) AS four
    FROM figures
);
COPY (
    SELECT user_id, snapshot_date, snapshot_hour, as_of, context, place, o.type, o.position, priority,
           tasks_completed::double AS user_value, o.figure, o.figure_as_of, o.text
    FROM (
        SELECT * EXCLUDE (messages), unnest(messages) AS o, generate_subscripts(messages, 1) AS place
        FROM (
            SELECT * FROM (SELECT *, 'daily_dashboard' AS context, 'high' AS priority,
                                  list_concat(comparisons, openings)[:1] AS messages FROM offers)
            UNION ALL BY NAME
            SELECT *, 'task_completion' AS context, 'medium' AS priority,
                   list_filter(comparisons[:1], lambda o: o.position = 'behind') AS messages FROM offers
            UNION ALL BY NAME
            SELECT *, 'weekly_report' AS context, 'high' AS priority,
                   list_concat(comparisons, list_filter([top], lambda o: o IS NOT NULL), openings)[:3] AS messages
            FROM offers
            UNION ALL BY NAME
            SELECT *, 'streak_at_risk' AS context, 'critical' AS priority, [streak] AS messages
            FROM offers WHERE streak_status = 'at_risk' AND streak IS NOT NULL
            UNION ALL BY NAME
            SELECT *, 'after_inactivity' AS context, 'high' AS priority, [cohort] AS messages
            FROM offers WHERE last_activity_at <= as_of - INTERVAL 48 HOURS AND cohort IS NOT NULL
        )
    )
    ORDER BY user_id, context, place
) TO '{target}' (FORMAT parquet, COMPRESSION zstd)
"""


def duckdb_by_hand(folder: Path) -> None:
    """The same contexts and sentences, as somebody who knows DuckDB would write them; nothing is checked."""
    tables = (USER_GHOST_STATS, COHORT_GHOST_RELEASE, GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS)
    files = {
        table.name: f"read_parquet('{folder}/lake/{table.name}/**/*.parquet', hive_partitioning = false)"
        for table in tables
    }
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {os.cpu_count()}")
        connection.execute("SET TimeZone = 'UTC'")
        with working():
            connection.execute(PEER.format(**files, target=folder / "by_hand.parquet"))


def measure(folder: Path, users: int, runs: int) -> tuple[str, list[Measured]]:
    """Prepare and measure both."""
    prepare(folder, users)
    measured = in_turn(__name__, {"duckdb_by_hand": [], "ghost_pipeline": []}, folder, runs)
    rows = Lake(folder / "lake").rows(GHOST_MESSAGES, HOUR)
    return f"the messages of an hour: {users:,} users, {rows:,} messages", measured


if __name__ == "__main__":
    contender, where = sys.argv[1:]
    {"duckdb_by_hand": duckdb_by_hand, "ghost_pipeline": ghost_pipeline}[contender](Path(where))
