"""The hourly snapshot by chDB (ClickHouse in a process), run by the Python of an environment that has nothing else.

`prepare` fills tables whose materialized views keep sums by user, by hour, and a bitmap of the days on which a user did
something; `hour` inserts the events of one more hour and writes the same figures, ranks and cohort rows as the query by
hand in `hourly`. What follows from the bitmaps (streaks) and from all users (ranks) is computed when it is read.
"""

import sys
from pathlib import Path
from time import perf_counter

from chdb.session import Session  # type: ignore[import-not-found]

REPORT = "work_seconds="
"""As in `measuring`, which this process cannot import."""

TABLES = """
CREATE TABLE person (
    user_id String, cohort_id String, cohort_excluded Bool, created_at DateTime64(6, 'UTC'),
    diagnostic_score Nullable(Float64), target_band Nullable(Float64)
) ENGINE = MergeTree ORDER BY user_id;
CREATE TABLE event (
    user_id String, task_type LowCardinality(String), completed_at DateTime64(6, 'UTC'), time_spent_ms Int64
) ENGINE = Null;
CREATE TABLE total (
    user_id String,
    tasks SimpleAggregateFunction(sum, UInt64), ms SimpleAggregateFunction(sum, Int64),
    speaking SimpleAggregateFunction(sum, UInt64), writing SimpleAggregateFunction(sum, UInt64),
    reading SimpleAggregateFunction(sum, UInt64), listening SimpleAggregateFunction(sum, UInt64),
    mock_tests SimpleAggregateFunction(sum, UInt64), newest SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    days AggregateFunction(groupBitmap, UInt32)
) ENGINE = AggregatingMergeTree ORDER BY user_id;
CREATE MATERIALIZED VIEW to_total TO total AS
SELECT user_id, countIf(task_type != 'mock_test') AS tasks, sumIf(time_spent_ms, task_type != 'mock_test') AS ms,
       countIf(task_type = 'speaking') AS speaking, countIf(task_type = 'writing') AS writing,
       countIf(task_type = 'reading') AS reading, countIf(task_type = 'listening') AS listening,
       countIf(task_type = 'mock_test') AS mock_tests, maxIf(completed_at, task_type != 'mock_test') AS newest,
       groupBitmapStateIf(toUInt32(toDate(completed_at)), task_type != 'mock_test') AS days
FROM event GROUP BY user_id;
CREATE TABLE hourly (hour DateTime('UTC'), user_id String, tasks SimpleAggregateFunction(sum, UInt64))
ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY (hour, user_id);
CREATE MATERIALIZED VIEW to_hourly TO hourly AS
SELECT toStartOfHour(completed_at) AS hour, user_id, countIf(task_type != 'mock_test') AS tasks
FROM event GROUP BY hour, user_id
"""

PEOPLE = """
INSERT INTO person SELECT user_id, cohort_id, cohort_excluded, created_at, diagnostic_score, target_band
FROM file('{users}', Parquet)
"""
EVENTS = """
INSERT INTO event SELECT user_id, task_type, completed_at, ifNull(time_spent_ms, 0) FROM file('{events}', Parquet)
WHERE completed_at < toDateTime64('{end}', 6, 'UTC')
"""

SNAPSHOT = """
CREATE TABLE stats ENGINE = Memory AS
WITH toDateTime64('{as_of}', 6, 'UTC') AS as_of, toDate(as_of) AS today,
     arraySort(bitmapToArray(t.days)) AS days_done,
     arraySplit((day, before) -> day != before + 1, days_done, arrayPushFront(arrayPopBack(days_done), 0)) AS runs
SELECT p.user_id AS user_id, p.cohort_id AS cohort_id, p.cohort_excluded AS cohort_excluded,
       dateDiff('day', toDate(p.created_at), today) + 1 AS day_in_journey, p.diagnostic_score AS diagnostic_score,
       p.target_band AS target_band, t.tasks AS tasks, coalesce(w.week, 0) AS week, t.ms AS ms,
       intDiv(t.ms, 60000) AS minutes, t.speaking AS speaking, t.writing AS writing, t.reading AS reading,
       t.listening AS listening, t.mock_tests AS mock_tests,
       arrayCount(day -> day + 7 > toUInt32(today), days_done) AS days,
       if(tasks > 0 AND days_done[-1] + 1 >= toUInt32(today), length(runs[-1]), 0) AS streak,
       if(tasks > 0, arrayMax(run -> length(run), runs), 0) AS longest,
       if(tasks > 0, toUInt32(today) - days_done[-1], NULL) AS silent,
       NOT cohort_excluded AND tasks > 0 AND t.newest >= as_of - INTERVAL 14 DAY AS active
FROM person p
LEFT JOIN (SELECT * FROM total FINAL) t ON p.user_id = t.user_id
LEFT JOIN (SELECT user_id, sum(tasks) AS week FROM hourly WHERE hour >= as_of - INTERVAL 7 DAY GROUP BY user_id) w
ON p.user_id = w.user_id
WHERE p.created_at < as_of;
INSERT INTO FUNCTION file('{out}-users.parquet', Parquet)
SELECT *, {ranks} FROM stats ORDER BY user_id;
INSERT INTO FUNCTION file('{out}-cohorts.parquet', Parquet)
SELECT cohort_id, count() AS members, countIf(active) AS actives, avgIf(tasks, active) AS avg_tasks,
       avgIf(week, active) AS avg_week, avgIf(minutes, active) AS avg_minutes, avgIf(streak, active) AS avg_streak,
       quantileExactInclusiveIf(0.5)(streak, active) AS p50_streak,
       quantileExactInclusiveIf(0.75)(tasks, active) AS tasks_p75,
       quantileExactInclusiveIf(0.9)(tasks, active) AS tasks_p90,
       avgIf(days, active) AS avg_days, quantileExactInclusiveIf(0.9)(days, active) AS days_p90
FROM (SELECT * FROM stats UNION ALL SELECT * REPLACE ('global' AS cohort_id) FROM stats)
GROUP BY cohort_id HAVING actives > 0 ORDER BY cohort_id
"""
RANKS = ", ".join(
    f"intDiv(100 * (rank() OVER ({of} ORDER BY {figure}) - 1), count() OVER ({of})) AS {figure}_{base}"
    for figure in ("tasks", "streak", "ms")
    for base, of in (("cohort", "PARTITION BY cohort_id"), ("all", ""))
)


def prepare(folder: Path, end: str, users: str, events: list[str]) -> None:
    """Make the tables and fill them with the events before `end`, a month of files at a time."""
    session = Session(str(folder))
    for statement in TABLES.split(";"):
        session.query(statement)
    session.query(PEOPLE.format(users=users))
    for pattern in events:
        session.query(EVENTS.format(events=pattern, end=end))
    session.query("OPTIMIZE TABLE total FINAL")


def hour(folder: Path, events: str, as_of: str, out: str) -> None:
    """Insert the events of an hour and write the snapshot at its end."""
    session = Session(str(folder))
    session.query("SELECT 1")
    start = perf_counter()
    session.query(EVENTS.format(events=events, end=as_of))
    for statement in SNAPSHOT.format(as_of=as_of, out=out, ranks=RANKS).split(";"):
        session.query(statement)
    sys.stdout.write(f"{REPORT}{perf_counter() - start}\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", where, end, people, *patterns]:
            prepare(Path(where), end, people, patterns)
        case ["hour", where, pattern, end, target]:
            hour(Path(where), pattern, end, target)
