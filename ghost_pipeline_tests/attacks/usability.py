"""How old the figures are that people see, and what is withheld: the price of the rules (G9.8).

`python -m ghost_pipeline_tests.attacks.usability lively` (or `demo`, or `epm`, from the folder in `GHOST_SHARED_DATA`)
computes some weeks hour by hour and reports, for every hour and every cohort with 20 or more active members from the
second week on, the age of the release that is shown, in the default and in the strict profile.

The steps of the tables run one after the other as a backfill runs them. Dagster's records of their runs, which take
two thirds of its time, are left out.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl

from ghost_pipeline.contracts.activity import USER_ACTIVITY_DAYS
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_DATA,
    COHORT_GHOST_RELEASE,
    COHORT_RELEASE_CONTRIBUTIONS,
    USER_GHOST_STATS,
    USER_RELEASED_RANKS,
)
from ghost_pipeline.contracts.raw import COHORTS, USER_PROGRESS, USERS
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.demo_source.generated import generate_source
from ghost_pipeline.demo_source.landmarks import DEMO_AS_OF
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Hour
from ghost_pipeline_tests.attacks.shown import MANY_HOURS
from ghost_pipeline_tests.attacks.worlds import HISTORY, World, daily, lively, moving, start_of
from ghost_pipeline_tests.running import SHARED_DATA

ENOUGH = 20
"""Active members from which a cohort counts."""
WEEK = 7 * DAY
LIVELY_DAYS, DEMO_DAYS, EPM_DAYS = 21, 14, 28
LIVELY_SIZES = (26, 28, 30, 32, 34, 36, 40, 44, 48)
GROUPS = 4
EPM_BEGIN = datetime(2014, 10, 2, tzinfo=UTC)
PROFILES = ("standard", "strict")
_STEPS = {asset.contract: asset.compute for asset in TABLE_ASSETS}
_BEFORE_RELEASES = (USERS, COHORTS, USER_PROGRESS, USER_ACTIVITY_DAYS, USER_GHOST_STATS, COHORT_GHOST_DATA)
_RELEASES = (COHORT_GHOST_RELEASE, COHORT_RELEASE_CONTRIBUTIONS, USER_RELEASED_RANKS)
HEAD = (
    "| world | profile | cohorts | hours | < 24 h | < 48 h | median age | p95 | withheld "
    "| median cohort < 24 h | worst cohort < 24 h |\n" + "|---" * 11 + "|"
)


@dataclass(frozen=True)
class Ages:
    """Ages in hours of what is shown in some hours, infinite where it is withheld, and why it is."""

    ages: tuple[float, ...]
    reasons: Counter[str]

    def under(self, limit: int) -> float:
        """The share of hours with an age under a limit."""
        return sum(age < limit for age in self.ages) / len(self.ages)

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells of a row."""
        number = len(self.ages)
        return (
            _percent(self.under(24)),
            _percent(self.under(48)),
            _hours(median(self.ages)),
            _hours(float(np.quantile(self.ages, 0.95, method="higher"))),
            ", ".join(f"{why} {_percent(times / number)}" for why, times in self.reasons.most_common()) or "0 %",
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _hours(age: float) -> str:
    return "withheld" if np.isinf(age) else f"{age:.0f} h"


@dataclass(frozen=True)
class Period:
    """Hours of a world, and the folder of the source as it is in them."""

    source: Path
    begin: datetime
    end: datetime

    @property
    def hours(self) -> list[Hour]:
        """Its hours, ascending."""
        return [Hour.ending_at(self.begin + (number + 1) * HOUR) for number in range((self.end - self.begin) // HOUR)]


def of_lively(folder: Path, seed: int) -> list[Period]:
    """Heavy-tailed people with joins, leaves and returners, and a cohort of which nearly all practise every day."""
    chance, hours = np.random.default_rng(seed), LIVELY_DAYS * 24
    moves_at = HISTORY + hours // 2
    cohorts = (
        *(lively(f"lively{size}", chance, size, hours) for size in LIVELY_SIZES),
        lively("untimed", chance, 30, hours, minutes=False),
        moving("moving", chance, 34, hours, moves_at),
        daily("daily", chance, 24, hours),
    )
    world = World(cohorts, hours, moves_at)
    periods = [
        Period(folder / "before", start_of(HISTORY), start_of(moves_at)),
        Period(folder / "after", start_of(moves_at), start_of(HISTORY + hours)),
    ]
    for period, moved in zip(periods, (False, True), strict=True):
        world.write(period.source, moved=moved)
    return periods


def of_demo(folder: Path, seed: int) -> list[Period]:
    """The source of `make run`, its last weeks."""
    generate_source(folder, as_of=DEMO_AS_OF, seed=6 + seed)
    return [Period(folder, DEMO_AS_OF - DEMO_DAYS * DAY, DEMO_AS_OF)]


def of_epm(folder: Path, _seed: int) -> list[Period]:
    """Four weeks with four days in the laboratory of 115 real students, in groups of 28 or 29."""
    shutil.copytree(SHARED_DATA / "epm", folder, copy_function=shutil.copyfile)
    users = pl.read_parquet(folder / "users.parquet").sort("user_id")
    groups = [f"group{number % GROUPS}" for number in range(users.height)]
    users.with_columns(cohort_id=pl.Series(groups)).write_parquet(folder / "users.parquet")
    pl.DataFrame({"cohort_id": sorted(set(groups))}).write_parquet(folder / "cohorts.parquet")
    return [Period(folder, EPM_BEGIN, EPM_BEGIN + EPM_DAYS * DAY)]


WORLDS = {"lively": of_lively, "demo": of_demo, "epm": of_epm}


def ages_by_profile(data: Path, periods: list[Period]) -> Iterator[tuple[str, dict[str, Ages]]]:
    """Compute the hours of a world, and its releases under each profile; yield the profile and ages by cohort."""
    for period in periods:
        run = _run(data, source=str(period.source))
        for contract in _BEFORE_RELEASES:
            list(_STEPS[contract](run, period.hours))
    for profile in PROFILES:
        run = _run(data, release_profile=profile)
        for contract in _RELEASES:
            for hour in run.lake.hours(contract):
                run.lake.remove(contract, hour)
        list(_STEPS[COHORT_GHOST_RELEASE](run, [hour for period in periods for hour in period.hours]))
        yield profile, _ages(run.lake, periods[0].begin + WEEK)


def _run(data: Path, **values: object) -> RunContext:
    kept = {name.removeprefix("GHOST_").lower(): value for name, value in MANY_HOURS.items()}
    return RunContext.of(Settings.load(data=data, **kept, **values))


def _ages(lake: Lake, since: datetime) -> dict[str, Ages]:
    counted = lake.scan(COHORT_GHOST_DATA).filter(
        pl.col("active_member_count") >= ENOUGH, pl.col("as_of") > since, pl.col("cohort_id") != "global"
    )
    shown = (
        counted.select("cohort_id", "as_of")
        .join(lake.scan(COHORT_GHOST_RELEASE), on=["cohort_id", "as_of"], how="left", validate="1:1")
        .select(
            "cohort_id",
            reason="suppressed_reason",
            age=(pl.col("as_of") - pl.col("released_as_of")).dt.total_minutes() / 60,
        )
        .sort("cohort_id")
        .collect()
    )
    return {
        str(name): Ages(
            tuple(np.inf if age is None else age for age in rows["age"]), Counter(rows["reason"].drop_nulls())
        )
        for (name,), rows in shown.group_by("cohort_id", maintain_order=True)
    }


def _rows(world: str, profile: str, by_cohort: dict[str, Ages]) -> Iterator[str]:
    """The row of a world, then those of its cohorts."""
    every = Ages(
        tuple(age for one in by_cohort.values() for age in one.ages),
        sum((one.reasons for one in by_cohort.values()), Counter()),
    )
    shares = {name: one.under(24) for name, one in by_cohort.items()}
    worst = min(shares, key=lambda name: shares[name])
    compared = _percent(median(shares.values())), f"{_percent(shares[worst])} ({worst})"
    yield _row(world, profile, f"{len(shares)}", f"{len(every.ages):,}", *every.cells, *compared)
    for name, one in by_cohort.items():
        yield _row(world, profile, name, f"{len(one.ages)}", *one.cells, "", "")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


@click.command()
@click.argument("worlds", nargs=-1, type=click.Choice(tuple(WORLDS)))
@click.option("--seed", default=1, show_default=True, help="Of the drawn worlds.")
@click.option("--cohorts", is_flag=True, help="Also print a row for each cohort.")
def main(*, worlds: tuple[str, ...], seed: int, cohorts: bool) -> None:
    """Compute worlds hour by hour and print how old what people see is."""
    click.echo(HEAD)
    for world in worlds or tuple(WORLDS):
        with tempfile.TemporaryDirectory() as folder:
            periods = WORLDS[world](Path(folder) / "source", seed)
            for profile, by_cohort in ages_by_profile(Path(folder) / "data", periods):
                first, *others = _rows(world, profile, by_cohort)
                for row in (first, *(others if cohorts else ())):
                    click.echo(row)


if __name__ == "__main__":
    main()
