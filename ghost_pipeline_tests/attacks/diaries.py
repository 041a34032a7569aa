"""Worlds of people who reached their band: diaries of ninety days, and who is known to have arrived by which month.

Cells are small, and every month a few people enter them: one, two, or some with one who did more than the others
together. No diary changes. Days are those of UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from ghost_pipeline.windows import DAY, HOUR, Month
from ghost_pipeline_tests.attacks.worlds import Chance, Ints

TYPES = ("speaking", "writing", "reading", "listening", "vocabulary", "mock_test")
DAYS = 90
FIRST = datetime(2025, 3, 1, tzinfo=UTC)
"""The end of the first month, by which the first people of every cell have arrived."""
BORN = FIRST - 96 * DAY
METRICS = ("tasks_completed", "practice_minutes", *(f"{kind}_tasks" for kind in TYPES[:4]), "mock_tests", "streak")
CELLS: dict[tuple[str, str], tuple[int, ...]] = {
    # Final band and start: how many have arrived by the first month, and how many more in each later one.
    ("7.0", "5.0"): (50, 1, 2, 4),
    ("7.0", "5.5"): (55, 0, 1, 5),
    ("7.5", "5.5"): (51, 2, 1, 8),
    ("7.0", "6.0"): (2, 0, 0, 0),
    ("7.5", "6.0"): (60, 4, 1, 1),
    ("7.5", "6.5"): (1, 0, 0, 0),
    ("8.0", "6.5"): (53, 12, 3, 12),
    ("8.0", "6.0"): (1, 0, 1, 0),
    ("7.0", "4.0"): (1, 0, 0, 1),
}
MOCK_TESTS, RARELY = {Decimal("6.5"): 0.2}, 0.01
"""How likely people of a start take a mock test on a day; where most have none, no row is renewed."""
FEW, MANY = 2, 12
HEAVY = 12
"""How many times as much as the others one of those who enter together does."""


@dataclass(frozen=True)
class Achiever:
    """A person who reached a band."""

    user_id: str
    band: Decimal
    start: Decimal
    arrives: int
    """The month, counted from 0, at whose end the result is known."""
    figures: Ints
    """`METRICS` by day of the journey; minutes are whole."""
    events: Ints
    """Events by day and type."""
    minutes: Ints
    """By day."""
    final_at: datetime
    longest: int
    """The longest streak."""


@dataclass(frozen=True)
class Diaries:
    """People who reached a band, month by month."""

    people: tuple[Achiever, ...]
    months: int

    @classmethod
    def draw(cls, seed: int, months: int, cells: Mapping[tuple[str, str], tuple[int, ...]] = CELLS) -> "Diaries":
        """Draw people with their diaries."""
        chance = np.random.default_rng((seed, 90))
        people: list[Achiever] = []
        for (band, start), arrivals in cells.items():
            for month, number in enumerate(arrivals[:months]):
                for place in range(number):
                    heavy = month > 0 and FEW < number < MANY and place == 0
                    name = f"a{len(people):04}"
                    people.append(_achiever(chance, name, Decimal(band), Decimal(start), month, heavy=heavy))
        return cls(tuple(people), months)

    def month(self, number: int) -> Month:
        """A month by its number."""
        month = Month.containing(FIRST - HOUR)
        for _ in range(number):
            month = Month.containing(month.as_of)
        return month

    def write(self, source: Path, month: int) -> None:
        """Write the source as it is at the end of a month."""
        source.mkdir(parents=True, exist_ok=True)
        users = [
            {
                "user_id": one.user_id,
                "created_at": BORN,
                "updated_at": one.final_at if one.arrives <= month else BORN,
                "diagnostic_score": float(one.start) + 0.1,
                "final_band_score": float(one.band) + 0.2 if one.arrives <= month else None,
                "final_band_at": one.final_at if one.arrives <= month else None,
            }
            for one in self.people
        ]
        pl.DataFrame(users, infer_schema_length=None).write_parquet(source / "users.parquet")
        pl.DataFrame({"cohort_id": []}, schema={"cohort_id": pl.String}).write_parquet(source / "cohorts.parquet")
        if month == 0:
            pl.concat([_progress(one) for one in self.people]).write_parquet(source / "user_progress.parquet")

    def arrived(self, month: int) -> list[Achiever]:
        """Those whose result is known at the end of a month."""
        return [one for one in self.people if one.arrives <= month]


def _achiever(chance: Chance, name: str, band: Decimal, start: Decimal, arrives: int, *, heavy: bool) -> Achiever:
    pace = np.exp(chance.normal(-0.6, 0.5)) * (HEAVY if heavy else 1)
    there = chance.random(DAYS) < chance.uniform(0.25, 0.85)
    events = chance.poisson(pace / len(TYPES), (DAYS, len(TYPES))) * there[:, None]
    events[:, -1] = chance.random(DAYS) < MOCK_TESTS.get(start, RARELY)
    tasks = events[:, :-1].sum(axis=1)
    minutes = tasks * chance.integers(2, 12, DAYS)
    run, runs = 0, np.zeros(DAYS, dtype=np.int64)
    streak = np.zeros(DAYS, dtype=np.int64)
    for day in range(DAYS):
        run = run + 1 if tasks[day] else 0
        runs[day] = run
        streak[day] = run or (runs[day - 1] if day else 0)
    figures = np.stack(
        [
            tasks.cumsum(),
            minutes.cumsum(),
            *(events[:, kind].cumsum() for kind in range(4)),
            events[:, -1].cumsum(),
            streak,
        ]
    )
    # Within the month, and after the diary's last day.
    final_at = FIRST + (arrives - 1) * 30 * DAY + timedelta(hours=int(chance.integers(30, 600)))
    return Achiever(name, band, start, arrives, figures, events, minutes, final_at, int(runs.max()))


def _progress(one: Achiever) -> pl.DataFrame:
    rows = []
    for day, kind in zip(*np.nonzero(one.events), strict=True):
        for number in range(one.events[day, kind]):
            first = kind < len(TYPES) - 1 and not one.events[day, :kind].any() and number == 0
            rows.append(
                {
                    "progress_id": f"{one.user_id}-{day}-{kind}-{number}",
                    "user_id": one.user_id,
                    "task_type": TYPES[kind],
                    "completed_at": BORN + int(day) * DAY + 10 * HOUR + timedelta(minutes=int(kind), seconds=number),
                    "time_spent_minutes": float(one.minutes[day]) if first else 0.0,
                }
            )
    return pl.DataFrame(
        rows,
        schema={
            "progress_id": pl.String,
            "user_id": pl.String,
            "task_type": pl.String,
            "completed_at": pl.Datetime("us", "UTC"),
            "time_spent_minutes": pl.Float64,
        },
    )
