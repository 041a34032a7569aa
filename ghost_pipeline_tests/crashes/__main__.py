"""`make soak`: faults at every operation, kills and runs at once, over and over, for as long as was asked for.

It prints what it has counted as it goes and at the end; exit code 1 where anything was not as it should be. A failure
names the seed and the operation with which it comes again.
"""

import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, cycle
from pathlib import Path

from ghost_pipeline_tests.crashes.faults import Fault
from ghost_pipeline_tests.crashes.processes import begun, copied, goes_on, lines_of, read_meanwhile, run, run_and_kill
from ghost_pipeline_tests.crashes.scenarios import SCENARIOS
from ghost_pipeline_tests.crashes.test_beside import check_runs_at_once
from ghost_pipeline_tests.crashes.test_kills import COMMANDS, shown
from ghost_pipeline_tests.crashes.trying import Trial
from ghost_pipeline_tests.crashes.world import World

KILLS = 8
"""In a row, before the command is left alone."""
FAULTS_AT_ONCE = 100
"""Between one round of kills and the next."""

Attempt = Callable[[], None]


def faults(folder: Path, chance: random.Random) -> Iterator[tuple[str, Attempt]]:
    """Every fault at every operation of every scenario, in the order of chance, without end."""
    trials = [Trial(scenario, folder / scenario.name) for scenario in SCENARIOS]
    every = [(trial, fault, at) for trial in trials for fault in Fault for at in range(trial.operations)]
    print(f"{len(every)} faults are possible: {len(SCENARIOS)} runs, {len(Fault)} kinds", flush=True)  # noqa: T201
    while True:
        chance.shuffle(every)
        for trial, fault, at in every:
            seed = chance.random()
            name = f"{trial.scenario.name}, {fault.value} at {trial.undisturbed.operations[at]}, seed {seed}"
            yield name, partial(trial.meet, fault, at, random.Random(seed))


def kills(world: World, folder: Path, seed: int) -> Iterator[tuple[str, Attempt]]:
    """Rounds of kills of the installed command, each with a reader beside, without end."""
    expected, lines = {}, {}
    for command, arguments in COMMANDS.items():
        undisturbed = copied(world, folder / f"undisturbed-{command}")
        lines[command] = lines_of(run(undisturbed, *arguments).stderr)
        expected[command] = shown(undisturbed)
    for command, number in zip(cycle(COMMANDS), count(seed)):

        def attempt(command: str = command, number: int = number) -> None:
            chance, disturbed = random.Random(number), copied(world, folder / f"kills-{number}")
            with read_meanwhile(disturbed) as reading:
                for _ in range(KILLS):
                    run_and_kill(disturbed, COMMANDS[command], chance.randrange(lines[command]), chance)
                run(disturbed, *COMMANDS[command])
            assert reading.faults == ()
            assert shown(disturbed) == expected[command]
            assert disturbed.leftovers() == []
            shutil.rmtree(disturbed.folder)

        yield f"{KILLS} kills of {command}, seed {number}", attempt


def together(world: World, folder: Path) -> Iterator[tuple[str, Attempt]]:
    """Runs at once, without end."""
    for number in count():

        def attempt(number: int = number) -> None:
            own = folder / f"together-{number}"
            own.mkdir()
            check_runs_at_once(world, own)
            shutil.rmtree(own)

        yield f"runs at once, number {number}", attempt


def soak(minutes: float, seed: int) -> int:
    """Go on for so long; returns how many attempts failed."""
    print(f"{minutes:g} minutes, seed {seed} (SOAK_SEED)", flush=True)  # noqa: T201
    end, counted, failed = time.monotonic() + 60 * minutes, Counter[str](), 0
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = Path(temporary)
        world = World(folder / "begun")
        begun(world)
        goes_on(world)
        rounds = {
            "faults": (faults(folder / "faults", chance), FAULTS_AT_ONCE),
            "rounds of kills": (kills(world, folder, seed), 1),
            "rounds of runs at once": (together(world, folder), 1),
        }
        for kind, (attempts, at_once) in cycle(rounds.items()):
            for name, attempt in (next(attempts) for _ in range(at_once)):
                if time.monotonic() > end:
                    print(f"done: {told(counted)}; {failed} failed", flush=True)  # noqa: T201
                    return failed
                try:
                    attempt()
                except Exception:  # noqa: BLE001 - all of them are told
                    failed += 1
                    print(f"FAILED: {name}\n{traceback.format_exc()}", flush=True)  # noqa: T201
                counted[kind] += 1
            print(f"{told(counted)}; {failed} failed", flush=True)  # noqa: T201
    return failed


def told(counted: Counter[str]) -> str:
    """The counts as text."""
    return ", ".join(f"{number:,} {kind}" for kind, number in counted.items())


if __name__ == "__main__":
    _failed = soak(float(os.environ.get("SOAK_MINUTES", "30")), int(os.environ.get("SOAK_SEED", "1")))
    sys.exit(1 if _failed else 0)
