"""kill -9 through Dagster, at moments spread over whole runs: readers see whole states, the same command repairs."""

import random
from pathlib import Path

import pytest

from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS
from ghost_pipeline.incremental.stale_ledger import changed_months, stale_hours
from ghost_pipeline_tests.crashes.processes import begun, copied, goes_on, lines_of, read_meanwhile, run, run_and_kill
from ghost_pipeline_tests.crashes.world import World

pytestmark = pytest.mark.long

COMMANDS = {
    "materialize": ("materialize", "--as-of", "2025-03-12T13:00Z"),
    "backfill": ("backfill", "--from", "2025-03-12T06:00Z", "--to", "2025-03-12T13:00Z"),
}
KILLS, ROUNDS = 5, 2
"""In each round the command is killed so often, then left alone: 20 kills in all. `make soak` has hundreds."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("kills") / "begun")
    begun(found)
    goes_on(found)
    return found


def shown(world: World) -> tuple[object, ...]:
    """All that anybody can see; which partitions a killed run had begun with shows nowhere."""
    ledgers, lake = (STALE_HOURS.name, STALE_MONTHS.name), world.resources().lake
    state = {name: found for name, found in world.state().items() if not any(one in name for one in ledgers)}
    return state, world.published(), stale_hours(lake).rows(), changed_months(lake).rows()


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_and_run_again_gives_the_undisturbed_result(
    command: str, number: int, world: World, tmp_path: Path
) -> None:
    chance = random.Random(f"{command} {number}")
    undisturbed = copied(world, tmp_path / "undisturbed")
    lines = lines_of(run(undisturbed, *COMMANDS[command]).stderr)
    disturbed = copied(world, tmp_path / "disturbed")
    with read_meanwhile(disturbed) as reading:
        killed = [
            run_and_kill(disturbed, COMMANDS[command], chance.randrange(lines * kill // KILLS, lines), chance)
            for kill in range(KILLS)
        ]
        run(disturbed, *COMMANDS[command])
    assert any(killed)
    assert reading.faults == ()
    assert reading.looked > KILLS
    assert shown(disturbed) == shown(undisturbed)
    assert disturbed.leftovers() == []
