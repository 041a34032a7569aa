"""Runs that die, or fail, at any operation that changes a file: readers see whole states, the next run repairs."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ghost_pipeline_tests.crashes.faults import Fault
from ghost_pipeline_tests.crashes.scenarios import SCENARIOS, Scenario
from ghost_pipeline_tests.crashes.trying import Trial

pytestmark = pytest.mark.long

SEED = 20250312


@pytest.fixture(scope="module")
def trial_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scenario], Trial]:
    folder: Path = tmp_path_factory.mktemp("faults")

    @cache
    def find(scenario: Scenario) -> Trial:
        return Trial(scenario, folder / scenario.name)

    return find


def test_there_are_three_hundred_and_sixty_tries() -> None:
    assert sum(scenario.tries for scenario in SCENARIOS) * len(Fault) == 360


@pytest.mark.parametrize("fault", Fault, ids=lambda one: one.value)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_readers_see_whole_states_and_the_next_run_repairs(
    scenario: Scenario, fault: Fault, trial_of: Callable[[Scenario], Trial]
) -> None:
    trial, chance = trial_of(scenario), random.Random(f"{SEED} {scenario.name} {fault.value}")
    tried = chance.sample(range(trial.operations), scenario.tries)
    for at in tried:
        try:
            trial.meet(fault, at, chance)
        except BaseException as error:
            error.add_note(f"operation {at}: {trial.undisturbed.operations[at]}")
            raise
    assert len(tried) == scenario.tries
