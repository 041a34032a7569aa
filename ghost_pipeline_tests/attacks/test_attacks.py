"""One reader who tries everything on what is shown of small worlds obtains nothing about one or two people (G9.6).

What the attacks compute from the shown figures has to agree with what the world adds up to, and is asserted by them.
`make attack` plays longer worlds of more seeds.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from ghost_pipeline_tests.attacks.diaries import Diaries
from ghost_pipeline_tests.attacks.months import MEANS, REMAINING, months, play_months
from ghost_pipeline_tests.attacks.playing import QUICK, Tallies, attack_hours, few_users_ranks
from ghost_pipeline_tests.attacks.ranks import ranks
from ghost_pipeline_tests.attacks.releases import DIFFERENCE, LEVEL, OLD_TOTAL, RANDOM
from ghost_pipeline_tests.attacks.shown import play
from ghost_pipeline_tests.attacks.worlds import many_cohorts

SEED = 20250312
MANY, MANY_MEANS = 500, 100


def won(tallies: Tallies) -> dict[str, list[str]]:
    """What was isolated, by attack."""
    return {name: tally.examples for name, tally in tallies.items() if tally.won}


def test_nothing_is_isolated_hour_by_hour(tmp_path: Path) -> None:
    shown = play(many_cohorts(SEED, QUICK.hours, QUICK.sizes), tmp_path)
    tallies = attack_hours(shown, SEED, replace(QUICK, ranked=()))
    assert min(tallies[name].tried for name in (LEVEL, DIFFERENCE, OLD_TOTAL, RANDOM)) > MANY
    assert won(tallies) == {}


@pytest.mark.long
def test_nothing_is_isolated_by_the_rank(tmp_path: Path) -> None:
    shown = play(many_cohorts(SEED, QUICK.hours, QUICK.sizes), tmp_path)
    assert won(ranks(shown, QUICK.ranked)) == {}


@pytest.mark.long
def test_nothing_is_isolated_by_the_rank_among_few_users(tmp_path: Path) -> None:
    assert won(few_users_ranks(SEED, tmp_path)) == {}


def test_nothing_is_isolated_by_months(tmp_path: Path) -> None:
    diaries = Diaries.draw(SEED, QUICK.months)
    tallies = months(diaries, play_months(diaries, tmp_path))
    assert tallies[MEANS].tried > MANY_MEANS
    assert won({name: tally for name, tally in tallies.items() if name not in REMAINING}) == {}
