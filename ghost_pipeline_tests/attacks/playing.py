"""All attacks on the worlds of a seed, and the table of what they obtained."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghost_pipeline_tests.attacks.diaries import Diaries
from ghost_pipeline_tests.attacks.isolation import Tally
from ghost_pipeline_tests.attacks.months import months, play_months
from ghost_pipeline_tests.attacks.ranks import ranks
from ghost_pipeline_tests.attacks.releases import RANDOM, levels_and_differences, random_sums
from ghost_pipeline_tests.attacks.shown import Shown, play
from ghost_pipeline_tests.attacks.withholding import dominance, holes
from ghost_pipeline_tests.attacks.worlds import few_users, many_cohorts

FEW_HOURS = 48
INFLATED = ("inflated", "inflated2", "slowly", "raised")
Tallies = dict[str, Tally]


@dataclass(frozen=True)
class Extent:
    """How much is played."""

    hours: int
    months: int
    sizes: tuple[int, ...]
    """Members of the lively cohorts."""
    ranked: tuple[str, ...]
    """Cohorts whose readers look at their rank in every hour."""
    bases: tuple[str, ...]
    """Among whom they are ranked."""
    sums: int
    """Random sums."""


QUICK = Extent(hours=72, months=2, sizes=(12, 18, 26), ranked=("rank", "lively2"), bases=("cohort",), sums=100_000)
LONG = Extent(
    hours=17 * 24,
    months=4,
    sizes=(12, 16, 22, 24, 30, 36, 40, 48),
    ranked=("rank", "lively3"),
    bases=("cohort", "global"),
    sums=3_000_000,
)


def attack(seed: int, extent: Extent, folder: Path, variables: Mapping[str, str] | None = None) -> Tallies:
    """Play every attack on the worlds of a seed, in a folder that is empty or has what a run before has built of it."""
    tallies: Tallies = {}
    shown = play(many_cohorts(seed, extent.hours, extent.sizes), folder / "cohorts", variables)
    add(tallies, attack_hours(shown, seed, extent))
    add(tallies, few_users_ranks(seed, folder / "few", variables))
    diaries = Diaries.draw(seed, extent.months)
    # A month that is built again is compared with what it showed.
    shutil.rmtree(folder / "months", ignore_errors=True)
    add(tallies, months(diaries, play_months(diaries, folder / "months", variables)))
    for tally in tallies.values():
        # People of different seeds have the same names.
        tally.people = {f"{seed} {name}" for name in tally.people}
    return tallies


def attack_hours(shown: Shown, seed: int, extent: Extent) -> Tallies:
    """Play the attacks on what was shown hour by hour."""
    return {
        **ranks(shown, extent.ranked, extent.bases),
        **levels_and_differences(shown),
        **dominance(shown, INFLATED),
        **holes(shown),
        RANDOM: random_sums(shown, np.random.default_rng((seed, 7)), extent.sums),
    }


def few_users_ranks(seed: int, folder: Path, variables: Mapping[str, str] | None = None) -> Tallies:
    """Play the attack on the rank among all users where these are a class."""
    shown = play(few_users(FEW_HOURS, seed), folder, variables)
    return {"A1 rank, among few users": ranks(shown, ("few",), ("global",))["A1 rank, global"]}


def add(tallies: Tallies, more: Tallies) -> None:
    """Add what attacks have obtained to what they had before."""
    for name, tally in more.items():
        tallies.setdefault(name, Tally()).add(tally)


def write_tallies(tallies: Tallies, file: Path) -> None:
    """Keep tallies for later runs to add to."""
    kept = {name: {**vars(tally), "people": sorted(tally.people)} for name, tally in tallies.items()}
    file.write_text(json.dumps(kept, indent=1, default=int), encoding="utf-8")


def read_tallies(file: Path) -> Tallies:
    """Read what earlier runs have kept."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {name: Tally(**{**tally, "people": set(tally["people"])}) for name, tally in kept.items()}


def as_table(tallies: Tallies) -> str:
    """The table in Markdown: tried, isolated exactly, isolated to better than a tenth, people."""
    lines = ["| attack | tried | exact | better than a tenth | people |", "|---|---|---|---|---|"]
    for name in sorted(tallies):
        one = tallies[name]
        lines.append(f"| {name} | {one.tried:,} | {one.exact:,} | {one.near:,} | {len(one.people)} |")
    return "\n".join(lines)
