"""Running the command that a user types, with what it costs: CPU seconds and memory of its process tree."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import dagster as dg

from ghost_pipeline_tests.bench.measuring import MIB

COMMAND = Path(sys.executable).with_name("ghost-pipeline")
LAST_LINES = 20


@dataclass(frozen=True)
class Cost:
    """What one command cost. A server that it asks (PostgreSQL) is not part of it."""

    cpu: float
    """Seconds of CPU, user and system, of the process and all that it started."""
    wall: float
    """Seconds until it ended."""
    peak_mib: float
    """Largest resident memory of one process, in MiB."""
    output: str
    """What it printed: figures on stdout, progress on stderr."""


def ghost_pipeline(data: Path, source: str | Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Cost:
    """Run `ghost-pipeline` in a process of its own.

    Args:
        data: the data folder.
        source: where the canonical tables are.
        arguments: the command and its options.
        settings: further environment variables.

    Raises:
        SystemExit: the command failed; shows the end of what it printed.

    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GHOST_", "DAGSTER_"))}
    environment = {**kept, "GHOST_DATA": str(data), "GHOST_SOURCE": str(source), **(settings or {})}
    return cost_of([str(COMMAND), *arguments], environment)


def cost_of(command: list[str], environment: Mapping[str, str]) -> Cost:
    """Run a command and return its cost.

    Raises:
        SystemExit: it failed; shows the end of what it printed.

    """
    # To a file: a pipe would fill up, and its reader takes CPU from the command.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        start = perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        shown = "\n".join(printed.splitlines()[-LAST_LINES:])
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{shown}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / MIB, printed)


@contextmanager
def dagster_records_of(data: Path) -> Iterator[dg.DagsterInstance]:
    """Open the records that Dagster keeps in a data folder."""
    home = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str((data / "dagster_home").absolute())
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        if home is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = home


def step_seconds(data: Path, seen: set[str]) -> list[tuple[str, float]]:
    """The seconds of every step of the runs of a data folder that are not in `seen`, ascending in time; adds them."""
    with dagster_records_of(data) as instance:
        new = [run.run_id for run in instance.get_runs() if run.run_id not in seen]
        steps = [step for run_id in new for step in instance.get_run_step_stats(run_id)]
    seen.update(new)
    timed = [(step.start_time, step.step_key, step.end_time) for step in steps if step.start_time and step.end_time]
    return [(name, end - start) for start, name, end in sorted(timed)]
