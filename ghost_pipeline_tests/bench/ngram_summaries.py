"""Summaries of typing speed: all of them from scratch, and an hour in which 1 % of the typists practised.

Generated: typists who practise once a day, each at an hour of their own, and measure the same n-grams every time; then
two hours in which a few of them practise again. The rows lie in the lake as the pipeline keeps them, a file an hour.
"""

import os
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory
from uuid import UUID

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import KEYBOARDS, PRACTICE_SESSIONS, SESSION_NGRAM_SPEED
from ghost_pipeline.defs.ngram_summaries import materialize_ngram_speed_summaries
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, hours
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, prepared, working
from ghost_pipeline_tests.computing import compute_one

BEGIN = Hour(datetime(2025, 3, 12, 11, tzinfo=UTC))
"""The hour up to which all typists have practised."""
DAY = timedelta(days=1)
HOUR_US = HOUR // timedelta(microseconds=1)
SIZES = (2, 3, 4, 5)
KEPT = (CACHE, NGRAM_SPEED_SUMMARIES.name)
"""What an hour leaves for the next, below the lake."""
SEED = 7

Ids = npt.NDArray[np.str_]
Ints = npt.NDArray[np.int64]


def prepare(folder: Path, typists: int, sessions: int, ngrams: int) -> int:
    """Write the lake of so many typists with so many sessions each; returns the number of measurements."""
    chance = np.random.default_rng(SEED)
    lake = Lake(folder / "lake")
    users, keyboards = _ids(chance, typists), _ids(chance, typists)
    begin = BEGIN.as_of - sessions * DAY
    nothing = pl.Series([None] * typists)
    versions = pl.DataFrame(
        {
            "keyboard_id": keyboards,
            "updated_at": nothing,
            "user_id": users,
            "keyboard_name": nothing,
            "target_ms_per_keystroke": chance.integers(150, 400, typists),
            "valid_from": [begin] * typists,
            "seen_at": [begin] * typists,
        }
    )
    lake.write(KEYBOARDS, BEGIN, versions.sort("keyboard_id").cast(pl.Schema(KEYBOARDS.polars_schema)))
    habit = chance.integers(0, 24, typists)
    for day in range(sessions):
        practise(lake, begin + day * DAY, begin + (day + 1) * DAY, (users, keyboards, habit), ngrams, chance)
    return typists * sessions * ngrams


def prepare_hours(folder: Path, touched: int, ngrams: int) -> None:
    """Write two hours more, in which so many typists practise, and keep what there is to begin each with."""
    lake = Lake(folder / "lake")
    who = lake.scan(KEYBOARDS).sort("keyboard_id").head(touched).collect()
    typists = who["user_id"].to_numpy(), who["keyboard_id"].to_numpy(), np.zeros(touched, np.int64)
    _run(lake, BEGIN)
    for number in (1, 2):
        for kept in KEPT:
            shutil.copytree(lake.root / kept, folder / f"before-{number}" / kept)
        hour = _hour(number)
        practise(lake, hour.start, hour.as_of, typists, ngrams, np.random.default_rng(SEED + number))
        _run(lake, hour)


def _hour(number: int) -> Hour:
    return Hour(BEGIN.start + number * HOUR)


def practise(
    lake: Lake, begin: datetime, end: datetime, typists: tuple[Ids, Ids, Ints], ngrams: int, chance: np.random.Generator
) -> None:
    """A session of each typist, so many hours after `begin` and a random part of one."""
    users, keyboards, after = typists
    start = int(begin.timestamp()) * 1_000_000 + after * HOUR_US + chance.integers(0, HOUR_US, len(users))
    sessions = pl.DataFrame(
        {
            "session_id": _ids(chance, len(users)),
            "user_id": users,
            "keyboard_id": keyboards,
            "start_time": pl.Series(start).cast(pl.Datetime("us", "UTC")),
            "end_time": pl.Series(start + HOUR_US // 4).cast(pl.Datetime("us", "UTC")),
        }
    ).sort("start_time", "session_id")
    hour = sessions["start_time"].dt.truncate("1h")
    window = list(hours(begin, end))
    lake.write_hours(PRACTICE_SESSIONS, window, sessions, hour)
    value = pl.Series(chance.integers(60_000, 500_000, len(users) * ngrams) / 1_000)
    measured = sessions.select("session_id", hour=hour).join(
        _vocabulary(ngrams), how="cross", maintain_order="left_right"
    )
    rows = measured.with_columns(
        ngram_time_ms=value * pl.col("ngram_size"), ms_per_keystroke=value, key_index=pl.lit(None, pl.Int32)
    )
    lake.write_hours(SESSION_NGRAM_SPEED, window, rows.select(*SESSION_NGRAM_SPEED.polars_schema), rows["hour"])


def _vocabulary(ngrams: int) -> pl.DataFrame:
    """So many different n-grams of 2 to 5 keys, in the order of their texts."""
    texts, base = [], len(ascii_lowercase)
    for number in range(ngrams):
        rest, size = divmod(number, len(SIZES))
        letters = (ascii_lowercase[rest // base**place % base] for place in range(SIZES[size]))
        texts.append(("".join(letters), SIZES[size]))
    return pl.DataFrame(texts, schema={"ngram_text": pl.String, "ngram_size": pl.Int32}, orient="row").sort(pl.all())


def _ids(chance: np.random.Generator, count: int) -> Ids:
    return np.array([str(UUID(bytes=chance.bytes(16), version=4)) for _ in range(count)])


def _run(lake: Lake, hour: Hour) -> None:
    settings = Settings.load(data=lake.root.parent)
    compute_one(materialize_ngram_speed_summaries, RunContext.of(settings, lake), hour)


def from_scratch(folder: Path, number: int) -> None:
    """The step as the very first run does it: from raw partitions to the partition of summaries."""
    lake = _warm(folder)
    with working():
        _run(lake, _hour(number))


def an_hour(folder: Path, number: int) -> None:
    """The step as every later run does it, with what the hour before has left."""
    lake = _warm(folder)
    for kept in KEPT:
        shutil.copytree(folder / f"before-{number}" / kept, lake.root / kept)
    with working():
        _run(lake, _hour(number))


def _warm(folder: Path) -> Lake:
    """The lake without what was kept, after the step has run elsewhere.

    When a run comes to this step, it has loaded what the libraries load only when they are used.
    """
    with TemporaryDirectory() as elsewhere:
        prepare(Path(elsewhere), typists=2, sessions=2, ngrams=4)
        _run(Lake(Path(elsewhere) / "lake"), BEGIN)
    lake = Lake(folder / "lake")
    for kept in KEPT:
        shutil.rmtree(lake.root / kept, ignore_errors=True)
    return lake


PEER = """
COPY (
  WITH recent AS (
    SELECT session_id, user_id, keyboard_id, epoch_us(start_time) AS started
    FROM read_parquet($sessions, hive_partitioning = false) WHERE start_time < $as_of
    QUALIFY row_number() OVER (PARTITION BY user_id, keyboard_id ORDER BY start_time DESC, session_id DESC) <= 100
  ), newest AS (
    SELECT user_id, keyboard_id, ngram_text, ngram_size, count(*) AS sample_count, max(started) AS last_measured,
           max_by({'value': ms_per_keystroke, 'started': started}, started, 20) AS taken
    FROM read_parquet($speed, hive_partitioning = false) JOIN recent USING (session_id) GROUP BY ALL
  ), average AS (
    SELECT * EXCLUDE (taken),
           list_sum(list_transform(taken, lambda one: one.value * 0.9 ** ((last_measured - one.started) / 86400e6)))
           / list_sum(list_transform(taken, lambda one: 0.9 ** ((last_measured - one.started) / 86400e6))) AS average_ms
    FROM newest
  )
  SELECT average.*, coalesce(target_ms_per_keystroke, 600) AS target, target / average_ms * 100 AS pct
  FROM average LEFT JOIN read_parquet($keyboards, hive_partitioning = false) USING (keyboard_id)
  ORDER BY user_id, keyboard_id, ngram_text, ngram_size
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""


def duckdb_by_hand(folder: Path) -> None:
    """The same averages with DuckDB's top-20 aggregate; no rule for ties, no ids, no times of change."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {os.cpu_count()}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'UTC'")
        tables = {"sessions": PRACTICE_SESSIONS, "speed": SESSION_NGRAM_SPEED, "keyboards": KEYBOARDS}
        files = {name: f"{folder}/lake/{contract.name}/**/*.parquet" for name, contract in tables.items()}
        with working():
            connection.execute(PEER.replace("{out}", f"{folder}/peer.parquet"), {**files, "as_of": BEGIN.as_of})


def measure(
    folder: Path, typists: int, runs: int, sessions: int = 100, ngrams: int = 500
) -> tuple[str, list[Measured]]:
    """From scratch, against DuckDB."""
    measurements = prepared(__name__, folder, typists, sessions, ngrams)
    title = f"summaries from scratch: {typists:,} typists, {measurements:,} measurements"
    return title, in_turn(__name__, {"duckdb_by_hand": [], "from_scratch": ["0"]}, folder, runs)


def measure_hour(
    folder: Path, typists: int, runs: int, sessions: int = 100, ngrams: int = 500
) -> tuple[str, list[Measured]]:
    """An hour in which 1 % of the typists practised, against from scratch."""
    touched = max(typists // 100, 1)
    prepared(__name__, folder, typists, sessions, ngrams, touched)
    title = f"summaries of an hour in which {touched} of {typists:,} typists practised"
    contenders = {"from_scratch": ["2"], "first_hour": ["1"], "later_hour": ["2"]}
    return title, in_turn(__name__, contenders, folder, runs)


if __name__ == "__main__":
    contender, where, *rest = sys.argv[1:]
    match contender, [int(number) for number in rest]:
        case "prepare", [typists, sessions, ngrams, *touched]:
            rows = prepare(Path(where), typists, sessions, ngrams)
            for few in touched:
                prepare_hours(Path(where), few, ngrams)
            sys.stdout.write(f"{rows}\n")
        case "duckdb_by_hand", []:
            duckdb_by_hand(Path(where))
        case "from_scratch", [number]:
            from_scratch(Path(where), number)
        case _, [number]:
            an_hour(Path(where), number)
