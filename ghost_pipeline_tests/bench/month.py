"""A month of benchmarks: all eight metrics of both populations, against DuckDB for tasks and minutes alone.

Generated: achievers of bands 7.0 to 8.4 with starts 5.0 to 6.9, each practising on
some of their 90 days, one to three tasks a day. The events lie in the lake as the pipeline keeps them, a file an hour.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.defs.benchmarks import materialize_ghost_benchmarks
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month, hours
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, working
from ghost_pipeline_tests.computing import compute_one

MONTH = Month.from_key("2025-02")
FIRST = datetime(2024, 8, 1, tzinfo=UTC)
ARRIVALS = timedelta(days=120)
JOURNEY_DAYS = 90
TYPES = ("speaking", "writing", "reading", "listening", "vocabulary", "grammar", "mock_test")
SHARES = (0.18, 0.18, 0.18, 0.18, 0.12, 0.12, 0.04)
DAY_US = 86_400_000_000
SEED = 7


def prepare(folder: Path, achievers: int) -> int:
    """Write the lake of so many achievers; returns the number of events."""
    chance = np.random.default_rng(SEED)
    lake = Lake(folder / "lake")
    ids = np.array([f"{high:016x}{low:016x}" for high, low in chance.integers(0, 2**63, (achievers, 2))])
    start = int(FIRST.timestamp() * 1e6)
    created = start + (chance.random(achievers) * (ARRIVALS / timedelta(microseconds=1))).astype(np.int64)
    activity = chance.uniform(0.1, 0.9, achievers)
    nothing = pl.Series([None] * achievers)
    users = pl.DataFrame(
        {
            "user_id": ids,
            "updated_at": nothing,
            "cohort_id": nothing,
            "diagnostic_score": chance.integers(50, 70, achievers) / 10,
            "final_band_score": chance.integers(70, 85, achievers) / 10,
            "final_band_at": nothing,
            "target_band": nothing,
            "timezone": nothing,
            "cohort_excluded": np.zeros(achievers, bool),
            "created_at": pl.Series(created).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "valid_from": [MONTH.as_of] * achievers,
            "seen_at": [MONTH.as_of] * achievers,
        }
    )
    lake.write(USERS, Hour.ending_at(MONTH.as_of), users.sort("user_id").cast(pl.Schema(USERS.polars_schema)))
    total, first_day = 0, start // DAY_US
    created_day = created // DAY_US
    for day in range(first_day, int(MONTH.as_of.timestamp()) // 86_400):
        on_journey = (created_day <= day) & (day < created_day + JOURNEY_DAYS)
        active = np.flatnonzero(on_journey & (chance.random(achievers) < activity))
        who = np.repeat(active, chance.choice(3, len(active), p=(0.4, 0.42, 0.18)) + 1)
        write_day(lake, day, ids[who], chance, total)
        total += len(who)
    return total


def write_day(
    lake: Lake, day: int, who: "np.ndarray[tuple[int], np.dtype[np.str_]]", chance: np.random.Generator, first: int
) -> None:
    """Write a day's events of these users, at random times, numbered from `first` on."""
    count = len(who)
    instant = np.sort(day * DAY_US + (chance.random(count) * DAY_US).astype(np.int64))
    events = pl.DataFrame(
        {
            "progress_id": pl.Series(np.arange(first, first + count)).cast(pl.String),
            "user_id": who,
            "task_type": np.array(TYPES)[chance.choice(len(TYPES), count, p=SHARES)],
            "completed_at": pl.Series(instant).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "time_spent_ms": chance.integers(30_000, 3_600_000, count),
        }
    ).cast(pl.Schema(USER_PROGRESS.polars_schema))
    begin = datetime.fromtimestamp(day * 86_400, UTC)
    window = hours(begin, begin + timedelta(days=1))
    lake.write_hours(USER_PROGRESS, window, events, events["completed_at"].dt.truncate("1h"))


def ghost_pipeline(folder: Path, shards: int) -> None:
    """The step as a run does it: from raw partitions to the table, the JSON, the picture."""
    settings = Settings.load(data=folder, shards=shards)
    resources = RunContext.of(settings)
    with working():
        compute_one(materialize_ghost_benchmarks, resources, MONTH)


PEER = """
CREATE TEMP TABLE achiever AS
SELECT user_id, created_at::date AS created, floor(final_band_score * 2)::utinyint AS band,
       floor(diagnostic_score * 2)::utinyint AS start,
       least(90, DATE '2025-03-01' - created_at::date)::utinyint AS last_day
FROM read_parquet(?, hive_partitioning = false)
WHERE created_at < TIMESTAMPTZ '2025-03-01 00:00:00+00' AND final_band_score >= 7 AND diagnostic_score >= 5
  AND diagnostic_score < 7;
CREATE TEMP TABLE numbered AS SELECT *, row_number() OVER ()::integer AS person FROM achiever;
CREATE TEMP TABLE daily AS
SELECT person, (completed_at::date - created + 1)::utinyint AS day, count(*)::integer AS tasks,
       sum(time_spent_ms)::bigint AS ms
FROM read_parquet(?, hive_partitioning = false) JOIN numbered USING (user_id)
WHERE completed_at < TIMESTAMPTZ '2025-03-01 00:00:00+00' AND task_type <> 'mock_test'
  AND completed_at::date >= created AND completed_at::date < created + 90
GROUP BY ALL;
CREATE TEMP TABLE reached AS
SELECT band, start, day, sum(coalesce(tasks, 0)) OVER w ::integer AS tasks, sum(coalesce(ms, 0)) OVER w ::bigint AS ms
FROM (SELECT person, band, start, r.day::utinyint AS day FROM numbered, range(1, 91) r(day) WHERE r.day <= last_day)
LEFT JOIN daily USING (person, day) WINDOW w AS (PARTITION BY person ORDER BY day);
CREATE TEMP TABLE benchmark AS
SELECT 'interval' AS population, band, start, day, count(*) AS people,
       quantile_cont(tasks, [0.9, 0.75, 0.5]) AS tasks, quantile_cont(ms / 60000, [0.9, 0.75, 0.5]) AS minutes
FROM reached WHERE band < 17 GROUP BY ALL HAVING count(*) >= 50;
INSERT INTO benchmark
SELECT 'at_least', lowest, start, day, count(*), quantile_cont(tasks, [0.9, 0.75, 0.5]),
       quantile_cont(ms / 60000, [0.9, 0.75, 0.5])
FROM reached, (VALUES (14), (15), (16)) v(lowest) WHERE band >= lowest GROUP BY ALL HAVING count(*) >= 50
"""


def duckdb_by_hand(folder: Path) -> None:
    """The same quantiles of tasks and minutes, as somebody who knows DuckDB would write them."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {os.cpu_count()}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'UTC'")
        files = {"achiever": folder / "lake" / "users", "daily": folder / "lake" / "user_progress"}
        with working():
            for statement in PEER.split(";"):
                table = next((name for name in files if f"TEMP TABLE {name} " in statement), None)
                parameters = [f"{files[table]}/**/*.parquet"] if table else []
                connection.execute(statement, parameters)


def measure(folder: Path, achievers: int, runs: int) -> tuple[str, list[Measured]]:
    """Prepare and measure both."""
    events = prepare(folder, achievers)
    title = f"a month of benchmarks: {achievers:,} achievers, {events:,} events"
    contenders = {"duckdb_by_hand": [], "ghost_pipeline": ["1"], "ghost_pipeline_in_shards": ["4"]}
    return title, in_turn(__name__, contenders, folder, runs)


if __name__ == "__main__":
    contender, where, *rest = sys.argv[1:]
    if contender == "duckdb_by_hand":
        duckdb_by_hand(Path(where))
    else:
        ghost_pipeline(Path(where), int(rest[0]))
