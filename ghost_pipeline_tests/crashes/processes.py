"""The installed command in processes of its own, which are killed or begin together, and readers beside them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ghost_pipeline_tests.crashes.scenarios import KEYBOARDS, KEYS, SESSIONS, WORK
from ghost_pipeline_tests.crashes.world import World, event, keystrokes, session, users
from ghost_pipeline_tests.running import COMMAND, environment, is_of_table

LEARNER = "u05"
VARIABLES = {"GHOST_MAX_REMOVED_PERCENT": "100", "GHOST_HOURS_PER_RUN": "2", "GHOST_MIN_SAMPLE": "1"}
SECONDS = 600


def begun(world: World) -> None:
    """A source of both domains, and the hour that ends at 10:00."""
    world.write(
        users=users(),
        cohorts=[{"cohort_id": "c1", "name": "spring"}],
        user_progress=[*WORK, *(event(f"early{n}", n, f"{5 + n % 4:02}:{n:02}") for n in range(12))],
        keyboards=KEYBOARDS,
        practice_sessions=SESSIONS,
        session_keystrokes=KEYS,
    )
    run(world, "materialize", "--as-of", "2025-03-12T10:00Z")


def goes_on(world: World) -> None:
    """The source an hour and more later: late, changed and deleted events, other users, more typing."""
    changed = [{**one, "time_spent_minutes": 30} if one["progress_id"] == "e2" else one for one in WORK]
    early = [event(f"early{n}", n, f"{5 + n % 4:02}:{n:02}") for n in range(1, 12)]
    # Dated: a change that nobody can date takes effect at the hour that happens to see it first.
    dated = {"updated_at": "2025-03-12T10:30:00Z"}
    world.write(
        users=users(13, u03={"timezone": "Asia/Tokyo", **dated}, u04={"target_band": 8.0, **dated}),
        user_progress=[*changed, *early, event("late", 1, "07:30"), event("new", 5, "12:10")],
        practice_sessions=[*SESSIONS, session("s2", "11:20"), session("s3", "08:40", 1)],
        session_keystrokes=[*KEYS, *keystrokes("s2", "other"), *keystrokes("s3", "too late")],
    )


def copied(world: World, folder: Path) -> World:
    """The same world elsewhere."""
    shutil.copytree(world.folder, folder)
    return World(folder)


def run(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; it has to succeed."""
    done = subprocess.run(
        [str(COMMAND), *arguments], env=_environment(world), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def lines_of(told: str) -> int:
    """How many lines of progress a run has printed."""
    return sum(is_of_table(line) for line in told.splitlines())


def run_and_kill(world: World, arguments: Sequence[str], after: int, chance: Random) -> bool:
    """Kill the command a moment after so many lines of progress; whether it was still at work."""
    with subprocess.Popen(
        [str(COMMAND), *arguments],
        env=_environment(world),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        seen = 0
        while seen < after and (line := process.stderr.readline()):
            seen += is_of_table(line)
        time.sleep(0.2 * chance.random())
        process.send_signal(signal.SIGKILL)
        process.stderr.close()
        killed = process.wait() == -signal.SIGKILL
    # Dagster copies what a step says by processes of its own: one that had just begun ends with nobody.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return killed


@dataclass
class ReadRows:
    """What a reader has seen, once it has been stopped."""

    looked: int = 0
    faults: tuple[str, ...] = ()


@contextmanager
def read_meanwhile(world: World) -> Iterator[ReadRows]:
    """Let a reader look at everything, over and over, beside the block."""
    stop, found = world.folder / "stop", ReadRows()
    command = [sys.executable, "-m", "ghost_pipeline_tests.crashes.reading", str(stop), LEARNER]
    with subprocess.Popen(
        command, env=_environment(world), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield found
        finally:
            stop.touch()
            told, _ = process.communicate(timeout=SECONDS)
            stop.unlink()
    *faults, last = told.splitlines()
    found.looked, found.faults = int(last.removeprefix("looked ")), tuple(faults)


def run_together(world: World, *commands: Sequence[str]) -> list[tuple[int, str]]:
    """Run commands that begin at the same moment to their ends; exit code and what each said, in their order."""
    signal_file = world.folder / "begin"
    module = [sys.executable, "-m", "ghost_pipeline_tests.crashes.starting", str(signal_file)]
    ready = [world.folder / f"ready-{number}" for number in range(len(commands))]
    processes = [
        subprocess.Popen(
            [*module, str(own), *command],
            env=_environment(world),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for own, command in zip(ready, commands, strict=True)
    ]
    try:
        deadline = time.monotonic() + SECONDS
        while not all(own.exists() for own in ready) and time.monotonic() < deadline:
            time.sleep(0.01)
        signal_file.touch()
        return [(process.wait(), told) for process in processes for _, told in [process.communicate(timeout=SECONDS)]]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for file in (signal_file, *ready):
            file.unlink(missing_ok=True)


def _environment(world: World) -> dict[str, str]:
    return environment(world.data, world.folder / "source", **VARIABLES)
