"""What a reader is served hour by hour, collected from the command and the readers after real runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import numpy as np

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.serving.reader import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.attacks.contributions import FIGURES, Contributions, Flags
from ghost_pipeline_tests.attacks.worlds import READER, World, as_of, hour_ending_at, start_of
from ghost_pipeline_tests.running import run

AVERAGES = (
    "avg_tasks_completed",
    "avg_tasks_this_week",
    "avg_practice_minutes",
    "avg_streak",
    "avg_days_practiced_per_week",
)
"""The averages that are shown of `FIGURES`."""
MANY_HOURS = {
    "GHOST_HOURS_PER_RUN": "744",
    "GHOST_EXPORT_MESSAGES": "false",
    "GHOST_RETENTION": "user_ghost_stats=forever,cohort_ghost_data=forever",
}
"""Settings with which every hour is built soon, and can be asked about later."""
_COLUMNS = ("cohort_id", "as_of", "released", "suppressed_reason", "released_as_of", "active_member_count", *AVERAGES)


@dataclass(frozen=True)
class Release:
    """New figures of a cohort, with the people whom they are of, as far as the world explains them."""

    hour: int
    size: int
    averages: tuple[Decimal, ...]
    population: Flags
    parts: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    """What each member contributes, by figure."""
    slack: np.ndarray[tuple[int], np.dtype[np.float64]]
    """How far the sum that a reader computes from an average may be from the true one, by figure."""

    def shown_sum(self, figure: int) -> float:
        """The sum of a figure, as a reader computes it."""
        return float(self.averages[figure]) * self.size


@dataclass(frozen=True)
class Told:
    """What a cohort's row says at the end of an hour."""

    hour: int
    released: bool
    reason: str
    release_hour: int | None


@dataclass(frozen=True)
class Shown:
    """Everything that was shown of a world."""

    world: World
    settings: Settings
    contributions: dict[str, Contributions]
    releases: dict[str, list[Release]]
    told: dict[str, list[Told]]

    def reader(self) -> GhostReader:
        """A reader that answers from any hour of the lake."""
        return _Hourly(self.settings)


class _Hourly(GhostReader):
    """Reads an hour's tables once for all questions about it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.cached = lru_cache(maxsize=4)(super().inputs)

    def inputs(self, as_of: datetime | None = None) -> Inputs:
        return self.cached(as_of)


def play(world: World, folder: Path, variables: Mapping[str, str] | None = None) -> Shown:
    """Run the pipeline over every hour of a world, as one backfill before and one after the moves.

    What a run before has built in the folder stays.
    """
    data, source = folder / "data", folder / "source"
    variables = {**MANY_HOURS, **(variables or {})}
    first, end = world.played.start, world.played.stop
    for begin, until, moved in ((first, min(world.moves_at, end), False), (world.moves_at, end, True)):
        # The source of before the moves would make later hours stale.
        if begin < until and not Lake(data / "lake").exists(COHORT_GHOST_RELEASE, Hour.ending_at(start_of(until))):
            world.write(source, moved=moved)
            window = ["--from", f"{start_of(begin):%Y-%m-%dT%H:%MZ}", "--to", f"{start_of(until):%Y-%m-%dT%H:%MZ}"]
            done = run(["backfill", *window], data, source, **variables)
            assert done.returncode == 0, done.stderr
    settings = Settings.load(data=data, **{name.removeprefix("GHOST_").lower(): one for name, one in variables.items()})
    return _collect(world, settings, data)


def _collect(world: World, settings: Settings, data: Path) -> Shown:
    columns = ", ".join(f"coalesce({name}::VARCHAR, '') AS {name}" for name in _COLUMNS)
    statement = f"SELECT {columns} FROM lake.cohort_ghost_release ORDER BY cohort_id, as_of"  # noqa: S608 - our own names
    asked = run(["query", "--json", statement], data)
    assert asked.returncode == 0, asked.stderr
    rows: dict[str, list[dict[str, str]]] = {cohort.name: [] for cohort in world.cohorts}
    for row in json.loads(asked.stdout):
        rows[row["cohort_id"]].append(row)
    contributions = {cohort.name: Contributions.of(cohort) for cohort in world.cohorts}
    places = _places(rows)
    return Shown(
        world,
        settings,
        contributions,
        {name: _releases(contributions[name], found, places) for name, found in rows.items()},
        {name: [_told(row) for row in found] for name, found in rows.items()},
    )


def _places(rows: Mapping[str, list[dict[str, str]]]) -> tuple[int, ...]:
    """The decimals that averages are shown with, by figure: a reader sees them soon."""
    released = [row for found in rows.values() for row in found if row[AVERAGES[0]]]
    return tuple(
        max((len(row[name].rstrip("0").partition(".")[2]) for row in released), default=0) for name in AVERAGES
    )


def hour_of(text: str) -> int:
    """The hour that ends at an instant."""
    return hour_ending_at(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _told(row: dict[str, str]) -> Told:
    released = row["released"].lower() == "true"
    shown = hour_of(row["released_as_of"]) if row["released_as_of"] else None
    return Told(hour_of(row["as_of"]), released, row["suppressed_reason"], shown)


def _releases(people: Contributions, rows: list[dict[str, str]], places: tuple[int, ...]) -> list[Release]:
    found: list[Release] = []
    for row in rows:
        if row["released_as_of"] and row["released_as_of"] == row["as_of"]:
            found.append(_release(people, row, places, found[-1] if found else None))
    return found


def _release(people: Contributions, row: dict[str, str], places: tuple[int, ...], last: Release | None) -> Release:
    """Find the people whom a release is of.

    Raises:
        AssertionError: no population that the rules allow has these figures, so the test does not understand them.

    """
    hour, size = hour_of(row["as_of"]), int(row["active_member_count"])
    averages = tuple(Decimal(row[name]) for name in AVERAGES)
    slack = np.array([size * 0.5 / 10**decimals for decimals in places])
    sums = np.array([float(average) * size for average in averages])
    for population in _populations(people, hour, last):
        parts = people.at(hour, population)
        if population.sum() == size and (np.abs(parts.sum(axis=1) - sums) <= slack + 1e-6).all():
            return Release(hour, size, averages, population, parts, slack)
    told = dict(zip(FIGURES, sums, strict=True))
    raise AssertionError(f"{people.cohort.name}, {as_of(hour)}: no population explains {size} people with {told}")


def _populations(people: Contributions, hour: int, last: Release | None) -> list[Flags]:
    """Active members; with those of the last release; those of it who are still active; those of it (G9.3d)."""
    active, member = people.active[:, hour], people.member[:, hour]
    if last is None:
        return [active]
    kept = last.population & member
    return [active, active | kept, active & kept, kept]


__all__ = ["AVERAGES", "READER", "Release", "Shown", "Told", "play"]
