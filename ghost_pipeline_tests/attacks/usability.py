"""How old the figures are that people see, and what is withheld: the price of the rules (G9.8).

`python -m ghost_pipeline_tests.attacks.usability lively` (or `demo`, or `epm`, from the folder in `GHOST_SHARED_DATA`)
builds some weeks hour by hour and reports, for every hour and every cohort with 20 or more active members from the
second week on, the age of the release that is shown.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl

from ghost_pipeline.demo_source.generated import generate_source
from ghost_pipeline.demo_source.landmarks import DEMO_AS_OF
from ghost_pipeline.windows import DAY
from ghost_pipeline_tests.attacks.shown import MANY_HOURS
from ghost_pipeline_tests.attacks.worlds import HISTORY, World, daily, lively, moving, start_of
from ghost_pipeline_tests.running import SHARED_DATA, run

ENOUGH = 20
"""Active members from which a cohort counts."""
WEEK = 7 * DAY
LIVELY_DAYS, DEMO_DAYS = 21, 14
LIVELY_SIZES = (26, 28, 30, 32, 34, 36, 40, 44, 48)
GROUPS = 4
EPM_BEGIN, EPM_DAYS = datetime(2014, 10, 2, tzinfo=UTC), 28
_QUERY = """
SELECT d.cohort_id AS cohort, r.released AS released, r.suppressed_reason AS reason,
       date_diff('hour', r.released_as_of, r.as_of) AS age
FROM lake.cohort_ghost_data d JOIN lake.cohort_ghost_release r USING (cohort_id, as_of)
WHERE d.active_member_count >= {enough} AND d.as_of > TIMESTAMPTZ '{since:%Y-%m-%d %H:%M}+00'
"""


@dataclass(frozen=True)
class Ages:
    """Ages in hours of what is shown, by hour and cohort; none where it is withheld."""

    world: str
    ages: tuple[float, ...]
    by_cohort: dict[str, tuple[float, ...]]
    reasons: Counter[str]

    @property
    def row(self) -> str:
        """The row of the table."""
        number = len(self.ages)
        of_cohorts = sorted(_under(found, 24) for found in self.by_cohort.values())
        old = float(np.quantile(self.ages, 0.95, method="higher"))
        cells = (
            self.world,
            f"{len(self.by_cohort)}",
            f"{number:,}",
            *(f"{100 * one:.1f} %" for one in (_under(self.ages, 24), median(of_cohorts), of_cohorts[0])),
            f"{100 * _under(self.ages, 48):.1f} %",
            f"{median(self.ages):.0f} h",
            "withheld" if np.isinf(old) else f"{old:.0f} h",
            ", ".join(f"{why} {100 * times / number:.1f} %" for why, times in self.reasons.most_common()) or "0 %",
        )
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| world | cohorts | hours | < 24 h | median cohort | worst cohort | < 48 h | median age | p95 | withheld |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def _under(ages: tuple[float, ...], limit: int) -> float:
    return sum(age < limit for age in ages) / len(ages)


def ages(world: str, data: Path, begin: datetime) -> Ages:
    """Ask the lake for the age of what was shown in every hour that counts."""
    asked = run(["query", "--json", _QUERY.format(enough=ENOUGH, since=begin + WEEK)], data)
    assert asked.returncode == 0, asked.stderr
    by_cohort: dict[str, list[float]] = {}
    reasons: Counter[str] = Counter()
    for row in json.loads(asked.stdout):
        by_cohort.setdefault(row["cohort"], []).append(float(row["age"]) if row["released"] else np.inf)
        if not row["released"]:
            reasons[row["reason"]] += 1
    every = tuple(age for found in by_cohort.values() for age in found)
    return Ages(world, every, {name: tuple(found) for name, found in by_cohort.items()}, reasons)


def _build(data: Path, source: Path, begin: datetime, end: datetime, variables: Mapping[str, str]) -> None:
    window = ["--from", f"{begin:%Y-%m-%dT%H:%MZ}", "--to", f"{end:%Y-%m-%dT%H:%MZ}"]
    done = run(["backfill", *window, "--half", "ghost"], data, source, **{**MANY_HOURS, **variables})
    assert done.returncode == 0, done.stderr


def of_lively(folder: Path, seed: int, variables: Mapping[str, str]) -> Ages:
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
    for begin, end, moved in ((HISTORY, moves_at, False), (moves_at, HISTORY + hours, True)):
        world.write(folder / "source", moved=moved)
        _build(folder / "data", folder / "source", start_of(begin), start_of(end), variables)
    return ages(f"heavy-tailed, {LIVELY_DAYS} days", folder / "data", start_of(HISTORY))


def of_demo(folder: Path, _seed: int, variables: Mapping[str, str]) -> Ages:
    """The source of `make run`, its last weeks."""
    generate_source(folder / "source", as_of=DEMO_AS_OF)
    begin = DEMO_AS_OF - DEMO_DAYS * DAY
    _build(folder / "data", folder / "source", begin, DEMO_AS_OF, variables)
    return ages(f"demo, {DEMO_DAYS} days", folder / "data", begin)


def of_epm(folder: Path, _seed: int, variables: Mapping[str, str]) -> Ages:
    """Six days in the laboratory of 115 real students, in groups of 28 or 29."""
    source = folder / "source"
    shutil.copytree(SHARED_DATA / "epm", source, copy_function=shutil.copyfile)
    users = pl.read_parquet(source / "users.parquet").sort("user_id")
    groups = [f"group{number % GROUPS}" for number in range(users.height)]
    users.with_columns(cohort_id=pl.Series(groups)).write_parquet(source / "users.parquet")
    pl.DataFrame({"cohort_id": sorted(set(groups))}).write_parquet(source / "cohorts.parquet")
    _build(folder / "data", source, EPM_BEGIN, EPM_BEGIN + EPM_DAYS * DAY, variables)
    return ages(f"epm in groups, {EPM_DAYS} days", folder / "data", EPM_BEGIN)


WORLDS = {"lively": of_lively, "demo": of_demo, "epm": of_epm}


@click.command()
@click.argument("worlds", nargs=-1, type=click.Choice(tuple(WORLDS)))
@click.option("--seed", default=1, show_default=True, help="Of the drawn worlds.")
@click.option("--strict", is_flag=True, help="Under the strict profile.")
def main(*, worlds: tuple[str, ...], seed: int, strict: bool) -> None:
    """Build worlds hour by hour and print how old what people see is."""
    click.echo(HEAD)
    variables = {"GHOST_RELEASE_PROFILE": "strict"} if strict else {}
    for world in worlds or tuple(WORLDS):
        with tempfile.TemporaryDirectory() as folder:
            click.echo(WORLDS[world](Path(folder), seed, variables).row)


if __name__ == "__main__":
    main()
