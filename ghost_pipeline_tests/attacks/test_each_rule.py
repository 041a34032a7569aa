"""Without a rule a reader wins: the rule is there for something, and the attack can win."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ghost_pipeline.domain.ghost import cohort_ghost_release, release_comparison
from ghost_pipeline.domain.ghost.release_comparison import Flags, Groups, Numbers, Rounding, balanced
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline_tests.attacks.playing import QUICK, attack_hours
from ghost_pipeline_tests.attacks.releases import DIFFERENCE, LEVEL
from ghost_pipeline_tests.attacks.shown import play
from ghost_pipeline_tests.attacks.worlds import many_cohorts

pytestmark = pytest.mark.long

SEED = 20250312
Removal = Callable[[pytest.MonkeyPatch], dict[str, str]]


def levels(patch: pytest.MonkeyPatch) -> dict[str, str]:
    patch.setattr(cohort_ghost_release, "dominated", lambda people, _: people.select("cohort_id").clear())
    return {}


def size_of_changes(patch: pytest.MonkeyPatch) -> dict[str, str]:
    def numbers_only(
        values: Numbers,
        groups: Groups,
        rules: ReleaseRules,
        *,
        changed: bool = False,
        rounding: Rounding | None = None,
    ) -> Flags:
        judged_by = replace(rules, max_share_percent=100) if changed else rules
        return balanced(values, groups, judged_by, changed=changed, rounding=rounding)

    patch.setattr(release_comparison, "balanced", numbers_only)
    return {}


@pytest.mark.parametrize(
    ("removal", "winner"),
    [
        (levels, LEVEL),
        (size_of_changes, DIFFERENCE),
    ],
)
def test_without_a_rule_of_releases_a_person_is_isolated(
    removal: Removal, winner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = many_cohorts(SEED, QUICK.hours, QUICK.sizes)
    shown = play(world, tmp_path, removal(monkeypatch))
    assert attack_hours(shown, SEED, replace(QUICK, ranked=()))[winner].won
