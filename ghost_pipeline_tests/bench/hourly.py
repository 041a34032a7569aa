"""An hourly snapshot of a million users, against one query by hand over all of their history.

Generated: users who joined over a year and before, in cohorts; a few of them do most of what is done (Pareto). The
events lie in the lake as the pipeline keeps them, a file an hour. In every contender days are UTC.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import duckdb
import numpy as np
import polars as pl

from ghost_pipeline.contracts.activity import USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.raw import COHORTS, USER_PROGRESS, USERS
from ghost_pipeline.defs.activity import materialize_user_activity_checkpoints
from ghost_pipeline.defs.ghost import materialize_cohort_ghost_data, materialize_user_ghost_stats
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import LAYOUT_FILE
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, Hour, Month, hours
from ghost_pipeline_tests.bench.chdb_contender import chdb_python, measure_chdb, prepare_chdb
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, prepared, working
from ghost_pipeline_tests.bench.month import DAY_US, write_day
from ghost_pipeline_tests.computing import compute_one

AS_OF = datetime(2025, 3, 16, 12, tzinfo=UTC)
"""The middle of a month: what lies between the checkpoint and the hour is half of the most that there can be."""
DAYS, FEW_DAYS = 360, 36
COHORTS_OF_A_MILLION = 5_000
RANGE = 168
TAIL = 1.3
DRAWN = 1.55
"""Events drawn for each one that is written: those of users who have not joined yet are not."""
SEED = 7
DERIVED = (USER_ACTIVITY_CHECKPOINTS, USER_ACTIVITY_DAYS, USER_GHOST_STATS, COHORT_GHOST_DATA)


def prepare(folder: Path, users: int, events: int) -> int:
    """Write the lake of so many users and about so many events, and beside it that of a tenth of the history."""
    chance = np.random.default_rng(SEED)
    lake = Lake(folder / "lake")
    ids = np.array([f"{high:08x}-{low:012x}-4000" for high, low in chance.integers(0, 2**32, (users, 2))])
    ids.sort()
    first_day = int(AS_OF.timestamp() * 1e6) // DAY_US - DAYS + 1
    joined = first_day * DAY_US - 90 * DAY_US + (chance.random(users) * (DAYS + 60) * DAY_US).astype(np.int64)
    versions = pl.DataFrame(
        {
            "user_id": ids,
            "cohort_id": pl.Series(chance.integers(0, max(users * COHORTS_OF_A_MILLION // 1_000_000, 1), users)),
            "diagnostic_score": chance.integers(50, 70, users) / 10,
            "target_band": chance.choice([7.0, 7.5, 8.0], users),
            "cohort_excluded": chance.random(users) < 0.01,
            "created_at": pl.Series(joined).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "valid_from": [AS_OF - 200 * DAY] * users,
            "seen_at": [AS_OF - 200 * DAY] * users,
        }
    )
    missing = [pl.lit(None).alias(name) for name in USERS.polars_schema if name not in versions.columns]
    typed = versions.with_columns(missing).select(pl.col(name).cast(to) for name, to in USERS.polars_schema.items())
    lake.write(USERS, Hour.ending_at(AS_OF - 200 * DAY), typed)
    lake.write(COHORTS, Hour.ending_at(AS_OF - 200 * DAY), COHORTS.empty())
    weight = np.cumsum(chance.pareto(TAIL, users) + 0.01)
    total = 0
    for day in range(first_day, first_day + DAYS):
        count = int(events * DRAWN) // DAYS
        who = np.searchsorted(weight, chance.random(count) * weight[-1])
        who = who[joined[who] < day * DAY_US]
        write_day(lake, day, ids[who], chance, total)
        total += len(who)
    few = folder / "few" / "lake"
    shutil.copytree(lake.root / USERS.name, few / USERS.name)
    shutil.copy(lake.root / LAYOUT_FILE, few)
    for number in range(FEW_DAYS):
        date = f"partition_date={(AS_OF - number * DAY).date()}"
        shutil.copytree(lake.root / USER_PROGRESS.name / date, few / USER_PROGRESS.name / date, copy_function=os.link)
    for one in (folder, folder / "few"):
        _run(one, [Hour.ending_at(AS_OF)])
    return total


def _run(folder: Path, window: list[Hour], until: Hour | None = None) -> None:
    resources = RunContext.of(Settings.load(data=folder), Lake(folder / "lake"), until)
    list(materialize_user_ghost_stats(resources, window))
    list(materialize_cohort_ghost_data(resources, window))


def one_hour(folder: Path) -> None:
    """The two steps of an hour as they run every hour: from raw partitions, checkpoint and days to files."""
    hour = _forget_hours(folder)
    shares: dict[str, float] = {}
    with _timed(shares), working():
        _run(folder, [hour])
    sys.stderr.write(", ".join(f"{name} {seconds:.2f} s" for name, seconds in shares.items()) + "\n")


def range_of_hours(folder: Path, number: int) -> None:
    """A backfill of hours that are older than per-user rows are kept."""
    _forget_hours(folder)
    window = list(hours(AS_OF - timedelta(hours=number), AS_OF))
    with working():
        _run(folder, window, until=Hour.ending_at(AS_OF + 365 * DAY))


def cold_start(folder: Path) -> None:
    """All of history into checkpoints."""
    shutil.rmtree(folder / "lake" / USER_ACTIVITY_CHECKPOINTS.name, ignore_errors=True)
    resources = RunContext.of(Settings.load(data=folder), Lake(folder / "lake"))
    with working():
        compute_one(materialize_user_activity_checkpoints, resources, Month.newest_complete(AS_OF))


def polars_reads_and_groups(folder: Path) -> None:
    """Reading all of history and counting it by user and day, and nothing else."""
    events = Lake(folder / "lake").scan_until(USER_PROGRESS, AS_OF)
    with working():
        events.group_by("user_id", pl.col("completed_at").dt.date()).agg(
            pl.len(), pl.col("time_spent_ms").sum()
        ).collect()


def _forget_hours(folder: Path) -> Hour:
    for table in (USER_GHOST_STATS, COHORT_GHOST_DATA):
        shutil.rmtree(folder / "lake" / table.name, ignore_errors=True)
    return Hour.ending_at(AS_OF)


@contextmanager
def _timed(shares: dict[str, float]) -> Iterator[None]:
    """Add up what the lake takes to write and to read frames; the rest is computing."""
    start, write, scan = perf_counter(), Lake.write, pl.LazyFrame.collect
    shares |= {"reading": 0.0, "writing": 0.0}

    def writing(*arguments: object, **options: object) -> object:
        begin = perf_counter()
        try:
            return write(*arguments, **options)  # type: ignore[arg-type]
        finally:
            shares["writing"] += perf_counter() - begin

    def reading(frame: pl.LazyFrame, *arguments: object, **options: object) -> object:
        is_scan = frame.explain(optimized=False).lstrip().startswith("Parquet SCAN")
        begin = perf_counter()
        try:
            return scan(frame, *arguments, **options)  # type: ignore[call-overload]
        finally:
            shares["reading"] += (perf_counter() - begin) * is_scan

    Lake.write, pl.LazyFrame.collect = writing, reading  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Lake.write, pl.LazyFrame.collect = write, scan  # type: ignore[method-assign]
        shares["computing"] = perf_counter() - start - shares["reading"] - shares["writing"]


PEER = """
CREATE TEMP TABLE person AS
SELECT row_number() OVER ()::integer AS person, user_id, cohort_id, cohort_excluded, created_at::date AS created,
       TIMESTAMPTZ '{as_of}'::date - created_at::date + 1 AS day_in_journey, diagnostic_score, target_band
FROM read_parquet('{users}', hive_partitioning = false) WHERE created_at < TIMESTAMPTZ '{as_of}';
CREATE TEMP TABLE daily AS
SELECT person, completed_at::date AS day, count(*) FILTER (task_type <> 'mock_test')::integer AS tasks,
       coalesce(sum(time_spent_ms) FILTER (task_type <> 'mock_test'), 0)::bigint AS ms,
       count(*) FILTER (task_type = 'speaking')::integer AS speaking,
       count(*) FILTER (task_type = 'writing')::integer AS writing,
       count(*) FILTER (task_type = 'reading')::integer AS reading,
       count(*) FILTER (task_type = 'listening')::integer AS listening,
       count(*) FILTER (task_type = 'mock_test')::integer AS mock_tests,
       count(*) FILTER (task_type <> 'mock_test' AND completed_at >= TIMESTAMPTZ '{week}')::integer AS week,
       max(completed_at) FILTER (task_type <> 'mock_test') AS newest
FROM read_parquet('{events}', hive_partitioning = false) JOIN person USING (user_id)
WHERE completed_at < TIMESTAMPTZ '{as_of}' AND completed_at::date >= created GROUP BY ALL;
CREATE TEMP TABLE run AS
SELECT person, count(*)::integer AS length, max(day) AS last_day
FROM (SELECT person, day, day - row_number() OVER (PARTITION BY person ORDER BY day)::integer AS run
      FROM daily WHERE tasks > 0) GROUP BY person, run;
CREATE TEMP TABLE streak AS
SELECT person, max(length) AS longest, max(last_day) AS last_day, max_by(length, last_day) AS last_length
FROM run GROUP BY person;
CREATE TEMP TABLE total AS
SELECT person, sum(tasks)::bigint AS tasks, sum(ms)::bigint AS ms, sum(speaking)::bigint AS speaking,
       sum(writing)::bigint AS writing, sum(reading)::bigint AS reading, sum(listening)::bigint AS listening,
       sum(mock_tests)::bigint AS mock_tests, sum(week)::bigint AS week, max(newest) AS newest,
       count(*) FILTER (tasks > 0 AND day > TIMESTAMPTZ '{as_of}'::date - 7)::integer AS days
FROM daily GROUP BY person;
CREATE TEMP TABLE stats AS
SELECT person.*, coalesce(tasks, 0) AS tasks, coalesce(week, 0) AS week, coalesce(ms, 0) AS ms,
       coalesce(ms, 0) / 60000 AS minutes, speaking, writing, reading, listening, mock_tests, coalesce(days, 0) AS days,
       CASE WHEN last_day >= TIMESTAMPTZ '{as_of}'::date - 1 THEN last_length ELSE 0 END AS streak,
       coalesce(longest, 0) AS longest, TIMESTAMPTZ '{as_of}'::date - last_day AS silent, newest,
       NOT cohort_excluded AND coalesce(newest >= TIMESTAMPTZ '{fortnight}', false) AS active
FROM person LEFT JOIN total USING (person) LEFT JOIN streak USING (person);
COPY (
  SELECT *, 100 * (rank() OVER (PARTITION BY cohort_id ORDER BY tasks) - 1) // count(*) OVER (PARTITION BY cohort_id),
         100 * (rank() OVER (ORDER BY tasks) - 1) // count(*) OVER (),
         100 * (rank() OVER (PARTITION BY cohort_id ORDER BY streak) - 1) // count(*) OVER (PARTITION BY cohort_id),
         100 * (rank() OVER (ORDER BY streak) - 1) // count(*) OVER (),
         100 * (rank() OVER (PARTITION BY cohort_id ORDER BY ms) - 1) // count(*) OVER (PARTITION BY cohort_id),
         100 * (rank() OVER (ORDER BY ms) - 1) // count(*) OVER ()
  FROM stats ORDER BY user_id
) TO '{out}-users.parquet' (FORMAT parquet, COMPRESSION zstd);
COPY (
  WITH member AS (SELECT cohort_id, * EXCLUDE (cohort_id) FROM stats UNION ALL BY NAME
                  SELECT 'global' AS cohort_id, * EXCLUDE (cohort_id) FROM stats)
  SELECT cohort_id, count(*) AS members, count(*) FILTER (active) AS actives, avg(tasks) FILTER (active),
         avg(week) FILTER (active), avg(minutes) FILTER (active), avg(streak) FILTER (active),
         quantile_cont(streak, 0.5) FILTER (active), quantile_cont(tasks, [0.75, 0.9]) FILTER (active),
         avg(days) FILTER (active), quantile_cont(days, 0.9) FILTER (active)
  FROM member GROUP BY cohort_id HAVING count(*) FILTER (active) > 0 ORDER BY cohort_id
) TO '{out}-cohorts.parquet' (FORMAT parquet, COMPRESSION zstd)
"""


def duckdb_by_hand(folder: Path) -> None:
    """The same figures from all of history, as somebody who knows DuckDB would write them; nothing is checked."""
    names = {
        "as_of": AS_OF.isoformat(),
        "week": (AS_OF - timedelta(days=7)).isoformat(),
        "fortnight": (AS_OF - timedelta(days=14)).isoformat(),
        "users": f"{folder}/lake/{USERS.name}/**/*.parquet",
        "events": f"{folder}/lake/{USER_PROGRESS.name}/**/*.parquet",
        "out": f"{folder}/peer",
    }
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {os.cpu_count()}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'UTC'")
        with working():
            for statement in PEER.format(**names).split(";"):
                connection.execute(statement)


CANNOT = {
    "duckdb_by_hand": "keeps nothing: every hour costs all of history",
    "chdb_incremental": "take back deleted rows (sums and bitmaps only grow), redo a past hour with late rows, keep "
    "streaks and ranks (computed from all bitmaps and users when read), erase a person but by a mutation, check rows",
}
"""What contenders of the snapshot cannot do that the pipeline does."""


def measure(folder: Path, users: int, events: int, runs: int) -> tuple[str, list[Measured]]:
    """An hour and a range against the query by hand and chDB, an hour of a tenth of the history."""
    count = prepared(__name__, folder, users, events)
    title = f"an hourly snapshot: {users:,} users, {count:,} events"
    names = ("duckdb_by_hand", "one_hour", "one_hour_of_a_tenth", f"range_of_{RANGE}_hours")
    found = in_turn(__name__, {name: [] for name in names}, folder, runs)
    if python := chdb_python():
        prepare_chdb(python, folder, AS_OF)
        found.insert(1, measure_chdb(python, folder, AS_OF, runs))
    else:
        sys.stderr.write("chDB cannot be installed here: the table is without it\n")
    return title, [*found, *in_turn(__name__, {"polars_reads_and_groups": [], "cold_start": []}, folder, 1)]


if __name__ == "__main__":
    contender, where, *rest = sys.argv[1:]
    match contender, [int(number) for number in rest]:
        case "prepare", [people, many]:
            sys.stdout.write(f"{prepare(Path(where), people, many)}\n")
        case "duckdb_by_hand", []:
            duckdb_by_hand(Path(where))
        case "one_hour", []:
            one_hour(Path(where))
        case "one_hour_of_a_tenth", []:
            one_hour(Path(where) / "few")
        case "cold_start", []:
            cold_start(Path(where))
        case "polars_reads_and_groups", []:
            polars_reads_and_groups(Path(where))
        case _:
            range_of_hours(Path(where), RANGE)
