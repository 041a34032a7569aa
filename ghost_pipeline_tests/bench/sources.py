"""Generated sources of the benchmarks of whole runs: users, cohorts and their completed tasks as Parquet files.

The same sizes give the same rows. Ids are UUIDs, as an application keeps them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ghost_pipeline.windows import DAY, HOUR
from ghost_pipeline_tests.bench.month import DAY_US, SHARES, TYPES

Numbers = np.ndarray[tuple[int], np.dtype[Any]]

USERS_OF_A_COHORT = 200
TAIL = 1.3
SEED = 14
HEX = np.array([f"{number:02x}".encode() for number in range(256)], dtype="S2").view(np.uint8).reshape(256, 2)
DASHES = (8, 13, 18, 23)
UUID_LENGTH = 36


def uuids(chance: np.random.Generator, count: int) -> pl.Series:
    """So many random UUIDs as text."""
    digits = HEX[np.frombuffer(chance.bytes(16 * count), np.uint8).reshape(count, 16)].reshape(count, 32)
    text = np.full((count, UUID_LENGTH), ord("-"), np.uint8)
    text[:, [place for place in range(UUID_LENGTH) if place not in DASHES]] = digits
    return pl.Series(text.reshape(-1).view(f"S{UUID_LENGTH}").astype(f"U{UUID_LENGTH}"))


def instants(microseconds: Numbers) -> pl.Series:
    """Instants of microseconds since 1970."""
    return pl.Series(microseconds.astype(np.int64)).cast(pl.Datetime("us", "UTC"))


class Product:
    """Users who joined over the days before `as_of` and three months before; a few do most of the tasks (Pareto)."""

    def __init__(self, users: int, as_of: datetime, days: int) -> None:
        """Draw the users and their cohorts."""
        chance = np.random.default_rng(SEED)
        self.as_of, self.days = as_of, days
        self.first_day = int((as_of - HOUR).timestamp() * 1e6) // DAY_US - days + 1
        self.joined = np.sort(
            self.first_day * DAY_US - 90 * DAY_US + (chance.random(users) * (days + 60) * DAY_US).astype(np.int64)
        )
        self.weight = np.cumsum(chance.pareto(TAIL, users) + 0.01)
        cohorts = uuids(chance, max(users // USERS_OF_A_COHORT, 1))
        self.ids = uuids(chance, users)
        created = instants(self.joined)
        self.users = pl.DataFrame(
            {
                "user_id": self.ids,
                "updated_at": created,
                "cohort_id": cohorts.gather(chance.integers(0, len(cohorts), users)),
                "diagnostic_score": chance.integers(50, 70, users) / 10,
                "final_band_score": np.where(chance.random(users) < 0.1, chance.integers(70, 85, users) / 10, np.nan),
                "target_band": chance.choice([7.0, 7.5, 8.0], users),
                "cohort_excluded": chance.random(users) < 0.01,
                "created_at": created,
            }
        ).with_columns(pl.col("final_band_score").fill_nan(None))
        self.cohorts = pl.DataFrame(
            {"cohort_id": cohorts, "created_at": instants(np.full(len(cohorts), self.joined[0]))}
        )

    def events(self, day: int, begin: float, end: float, count: int) -> pl.DataFrame:
        """So many completed tasks between two shares of a day (numbered from 1970), ascending."""
        chance = np.random.default_rng((SEED, day, int(begin * 24)))
        there = int(np.searchsorted(self.joined, day * DAY_US))
        who = np.searchsorted(self.weight, chance.random(count) * self.weight[max(there - 1, 0)])
        moment = day * DAY_US + np.sort(chance.random(count) * (end - begin) + begin) * DAY_US
        return pl.DataFrame(
            {
                "progress_id": uuids(chance, count),
                "user_id": self.ids.gather(who),
                "task_type": pl.Series(TYPES).gather(chance.choice(len(TYPES), count, p=SHARES)),
                "completed_at": instants(moment),
                "time_spent_minutes": chance.integers(50, 6_000, count) / 100,
            }
        )

    def history(self, count: int) -> Iterator[tuple[datetime, pl.DataFrame]]:
        """About so many events up to an hour before `as_of`, by day."""
        for day in range(self.first_day, self.first_day + self.days):
            start = datetime.fromtimestamp(day * 86_400, UTC)
            end = min((self.as_of - HOUR - start) / DAY, 1.0)
            yield start, self.events(day, 0.0, end, int(count / self.days * end))

    def next_hour(self, count: int) -> pl.DataFrame:
        """So many events of the hour before `as_of`."""
        start = self.as_of - HOUR
        day = int(start.timestamp()) // 86_400
        begin = (start - datetime.fromtimestamp(day * 86_400, UTC)) / DAY
        return self.events(day, begin, begin + HOUR / DAY, count)


def write_people(source: Path, product: Product) -> None:
    """Write `users` and `cohorts`."""
    source.mkdir(parents=True, exist_ok=True)
    product.users.write_parquet(source / "users.parquet")
    product.cohorts.write_parquet(source / "cohorts.parquet")


def write_days(source: Path, product: Product, count: int) -> int:
    """Write a file of completed tasks for every day; returns the number of events."""
    (source / "user_progress").mkdir(parents=True)
    total = 0
    for start, events in product.history(count):
        events.write_parquet(day_file(source, start))
        total += events.height
    return total


def write_next_hour(source: Path, product: Product, count: int) -> None:
    """Add events of one more hour: half of them to the file of the current day, half as a new file."""
    events = product.next_hour(count)
    today = day_file(source, product.as_of - HOUR)
    half = events.height // 2
    grown = pl.concat([pl.read_parquet(today), events.head(half)])
    # Written beside and renamed: the file may be a hard link of another source.
    beside = source / "grown.tmp"
    grown.write_parquet(beside)
    beside.replace(today)
    events.tail(-half).write_parquet(today.with_name(f"{product.as_of - HOUR:%Y-%m-%d-%H}.parquet"))


def day_file(source: Path, start: datetime) -> Path:
    """The file of the day that contains an instant."""
    return source / "user_progress" / f"{start:%Y-%m-%d}.parquet"


def write_course_runs(source: Path, product: Product, count: int, files: int) -> tuple[int, Path]:
    """Write completed tasks as so many files, one for each run of a course, which is a stretch of time.

    Runs overlap, and a file lists one person after the other, as an export of a learning platform does.

    Returns:
        The number of events, and the file of the newest run.

    """
    folder = source / "user_progress"
    folder.mkdir(parents=True)
    chance = np.random.default_rng(SEED)
    parts: list[list[pl.DataFrame]] = [[] for _ in range(files)]
    length = 4
    starts = [timedelta(days=product.days) * number / (files + length - 1) for number in range(files)]
    first = datetime.fromtimestamp(product.first_day * 86_400, UTC)
    for start, events in product.history(count):
        running = [
            number
            for number, begin in enumerate(starts)
            if begin <= start - first < begin + timedelta(days=product.days) * length / (files + length - 1)
        ] or [files - 1]
        run = pl.Series("run", np.array(running)[chance.integers(0, len(running), events.height)])
        for number in running:
            parts[number].append(events.filter(run == number))
    total = 0
    for number, part in enumerate(parts):
        events = pl.concat(part).sort("user_id", maintain_order=True)
        events.write_parquet(folder / f"run-{number:02d}.parquet")
        total += events.height
    return total, folder / f"run-{files - 1:02d}.parquet"
