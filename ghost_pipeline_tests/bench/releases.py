"""The releases of an hour, compared with those of the hour before alone and with those of every hour of 14 days.

Generated: cohorts of 30 people who all stay active, in which enough people do something in every hour, so that nearly
every cohort is released in every hour and compared with every earlier one: there cannot be more to read.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_RELEASE,
    COHORT_RELEASE_CONTRIBUTIONS,
    USER_GHOST_STATS,
    USER_RELEASED_RANKS,
)
from ghost_pipeline.defs.release import materialize_cohort_ghost_release
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR as ONE_HOUR
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, working
from ghost_pipeline_tests.bench.messages import HOUR, SEED, complete
from ghost_pipeline_tests.computing import compute_one

EARLIER = {"after_1_hour": 1, "after_14_days": 14 * 24 - 1}
"""Hours with releases before the one that is measured."""
COHORT = 30
WEEK = 7 * 24


def prepare(folder: Path, users: int, earlier: int) -> None:
    """Write a lake with so many hours of releases, and the users at the end of the next one."""
    lake = Lake(folder / "lake")
    cohorts = [f"cohort-{number:05d}" for number in range(max(1, users // COHORT))]
    *before, last = _people(users, cohorts, earlier + 1)
    for back, people in zip(range(earlier, 0, -1), before, strict=True):
        hour = Hour.ending_at(HOUR.as_of - back * ONE_HOUR)
        clock = {
            "snapshot_date": pl.lit(hour.date),
            "snapshot_hour": pl.lit(hour.hour),
            **dict.fromkeys(("as_of", "released_as_of", "last_release_as_of"), pl.lit(hour.as_of)),
        }
        lake.write(
            COHORT_RELEASE_CONTRIBUTIONS, hour, complete(COHORT_RELEASE_CONTRIBUTIONS, people.with_columns(**clock))
        )
        ledger = pl.LazyFrame({"cohort_id": cohorts}).with_columns(
            **clock, released=pl.lit(value=True), active_member_count=pl.lit(COHORT)
        )
        lake.write(COHORT_GHOST_RELEASE, hour, complete(COHORT_GHOST_RELEASE, ledger))
    stats = last.sort("user_id").with_columns(
        is_active_member=pl.lit(value=True),
        cohort_excluded=pl.lit(value=False),
        last_activity_at=pl.lit(HOUR.as_of - ONE_HOUR),
        streak_status=pl.lit("active"),
        longest_streak="current_streak",
        day_in_journey=pl.lit(30),
    )
    lake.write(USER_GHOST_STATS, HOUR, complete(USER_GHOST_STATS, stats))


def _people(users: int, cohorts: list[str], hours: int) -> Iterator[pl.LazyFrame]:
    """What everybody has contributed, hour by hour, sorted by cohort and user."""
    chance = np.random.default_rng(SEED)
    rate = np.exp(chance.normal(-1.5, 0.6, users)).clip(0.05, 2)
    week = list(chance.poisson(rate, (WEEK, users)))
    tasks = chance.poisson(rate * 500) + sum(week)
    practised = tasks * 300_000
    members = pl.DataFrame(
        {
            "cohort_id": np.array(cohorts)[np.arange(users) % len(cohorts)],
            "user_id": [f"{high:016x}{low:016x}" for high, low in chance.integers(0, 2**63, (users, 2))],
        }
    )
    for _ in range(hours):
        done = chance.poisson(rate)
        week = [*week[1:], done]
        tasks, practised = tasks + done, practised + done * chance.integers(60_000, 900_000, users)
        yield (
            members.with_columns(
                tasks_completed=tasks,
                tasks_this_week=sum(week),
                practice_time_ms=practised,
                current_streak=pl.lit(6),
                days_practiced=pl.lit(6),
            )
            .sort("cohort_id", "user_id")
            .lazy()
        )


def ghost_pipeline(folder: Path) -> None:
    """The step as a run does it; it appends to the ledger once only, so what a round before has written goes first."""
    run = RunContext.of(Settings.load(data=folder))
    for contract in (COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS, USER_RELEASED_RANKS):
        run.lake.remove(contract, HOUR)
    with working():
        compute_one(materialize_cohort_ghost_release, run, HOUR)


def measure(folder: Path, users: int, runs: int) -> tuple[str, list[Measured]]:
    """Prepare and measure."""
    for name, earlier in EARLIER.items():
        prepare(folder / name, users, earlier)
    measured = in_turn(__name__, {name: [] for name in EARLIER}, folder, runs)
    return f"releases of an hour: {users:,} users in cohorts of {COHORT}", measured


if __name__ == "__main__":
    contender, where = sys.argv[1:]
    ghost_pipeline(Path(where) / contender)
