"""Running a contender in a process of its own: seconds of its work, and peak memory as the operating system saw it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

MIB = 1 << 10  # ru_maxrss counts KiB on Linux
REPORT = "work_seconds="

Rows = list[dict[str, str | float]]
"""The rows of a printed table: a value by column."""


@dataclass(frozen=True)
class Run:
    """One run of one contender."""

    work: float
    """Seconds of the work itself, without starting the process and importing libraries."""
    whole: float
    """Seconds of the whole process."""
    peak_mib: float
    """Largest resident memory of the process."""


@dataclass(frozen=True)
class Measured:
    """All runs of one contender; figures are medians, and the largest memory."""

    name: str
    runs: tuple[Run, ...]

    @property
    def work(self) -> float:
        """Median seconds of the work."""
        return median(run.work for run in self.runs)

    @property
    def whole(self) -> float:
        """Median seconds of the process."""
        return median(run.whole for run in self.runs)

    @property
    def peak_mib(self) -> float:
        """Largest peak of memory."""
        return max(run.peak_mib for run in self.runs)


@contextmanager
def working() -> Iterator[None]:
    """Time the block and tell the process that measures."""
    start = perf_counter()
    yield
    sys.stdout.write(f"{REPORT}{perf_counter() - start}\n")


def prepared(module: str, folder: Path, *arguments: str | int) -> int:
    """Let a module prepare its data in a process of its own; returns the number that it prints.

    The memory of this process counts as the peak of all that it starts.
    """
    command = [sys.executable, "-m", module, "prepare", str(folder), *map(str, arguments)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def in_turn(module: str, contenders: dict[str, list[str]], folder: Path, runs: int) -> list[Measured]:
    """Run the contenders of a module one after the other, `runs` times round, so that drift of the machine hits all.

    Args:
        module: the benchmark; `python -m module contender folder arguments` runs one contender.
        contenders: their names and further arguments.
        folder: where the prepared data lie.
        runs: rounds.

    """
    found: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, arguments in contenders.items():
            found[name].append(run_contender([sys.executable, "-m", module, name, str(folder), *arguments]))
    return [Measured(name, tuple(all_runs)) for name, all_runs in found.items()]


def run_contender(command: list[str]) -> Run:
    """Run a contender in a process of its own; it prints the seconds of its work.

    Raises:
        SystemExit: it failed.

    """
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    whole = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    work = float(output.rsplit(REPORT, 1)[1])
    return Run(work, whole, usage.ru_maxrss / MIB)


def as_rows(measured: list[Measured], base: str) -> Rows:
    """A row per contender, with its time as a ratio to that of `base`."""
    reference = next(one for one in measured if one.name == base)
    return [
        {
            "contender": one.name,
            "work s": round(one.work, 2),
            "process s": round(one.whole, 2),
            "peak MiB": round(one.peak_mib),
            "ratio": round(one.work / reference.work, 2),
        }
        for one in measured
    ]


def as_markdown(rows: Rows) -> str:
    """Rows as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def as_json(title: str, rows: Rows) -> str:
    """The same as JSON."""
    return json.dumps({"benchmark": title, "rows": rows}, indent=2)
