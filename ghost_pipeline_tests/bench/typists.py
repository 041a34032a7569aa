"""The first hour of many typists, and a later one in which some of them practise: every step, each in its own process.

The raw n-gram tables of the lake are generated as in `ngram_summaries`, without a source; the last step publishes.
"""

import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter

import numpy as np

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import KEYBOARDS
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.bench import ngram_summaries
from ghost_pipeline_tests.bench.measuring import MIB, Rows, prepared
from ghost_pipeline_tests.computing import compute_one

STEPS = (SESSION_NGRAM_SUMMARY.name, NGRAM_SPEED_SUMMARIES.name, NGRAM_SPEED_SUMMARY_HISTORY.name, "publication")
LATER = 3
"""Later hours; the last one is reported."""


def _hour(number: int) -> Hour:
    return Hour(ngram_summaries.BEGIN.start + number * HOUR)


def practise(folder: Path, number: int, touched: int, ngrams: int) -> None:
    """Let so many typists, others each time, practise in a later hour."""
    lake, hour, chance = Lake(folder / "lake"), _hour(number), np.random.default_rng(number)
    keyboards = lake.scan(KEYBOARDS).sort("keyboard_id").collect()
    who = keyboards[chance.choice(keyboards.height, touched, replace=False)]
    typists = who["user_id"].to_numpy(), who["keyboard_id"].to_numpy(), np.zeros(touched, np.int64)
    ngram_summaries.practise(lake, hour.start, hour.as_of, typists, ngrams, chance)


def step(folder: Path, number: int, name: str) -> tuple[float, float, float]:
    """Run a step of an hour; returns CPU seconds and wall seconds of the step, and the peak of the process in MiB."""
    lake, settings = Lake(folder / "lake"), Settings.load(data=folder)
    start, begin = _cpu(), perf_counter()
    if name == "publication":
        publish(lake, settings.database)
    else:
        (compute,) = (one.compute for one in NGRAM_ASSETS if one.contract.name == name)
        compute_one(compute, RunContext.of(settings, lake), _hour(number))
    return _cpu() - start, perf_counter() - begin, getrusage(RUSAGE_SELF).ru_maxrss / MIB


def _cpu() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(
    folder: Path, typists: int, sessions: int = 100, ngrams: int = 100, touched: int = 300
) -> tuple[str, Rows, str]:
    """Every step of the first hour and of a later one."""
    measurements = prepared(ngram_summaries.__name__, folder, typists, sessions, ngrams)
    rows: Rows = []
    for number in range(LATER + 1):
        if number:
            _process("practise", folder, number, touched, ngrams)
        found = [_process("step", folder, number, name) for name in STEPS]
        if number in {0, LATER}:
            hour = "later" if number else "first"
            rows += [_row(hour, name, *one) for name, one in zip(STEPS, found, strict=True)]
            cpu, wall, peak = zip(*found, strict=True)
            rows.append(_row(hour, "all steps", sum(cpu), sum(wall), max(peak)))
    title = (
        f"{typists:,} typists with {sessions} sessions each, {measurements:,} measurements; later, {touched} practise"
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20
    return title, rows, f"{size:,} MiB on disk"


def _row(hour: str, name: str, cpu: float, wall: float, peak: float) -> dict[str, str | float]:
    return {"hour": hour, "step": name, "CPU s": round(cpu, 2), "wall s": round(wall, 2), "peak MiB": round(peak)}


def _process(*arguments: object) -> list[float]:
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [float(number) for number in output.split()]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["practise", where, number, touched, ngrams]:
            practise(Path(where), int(number), int(touched), int(ngrams))
        case ["step", where, number, name]:
            sys.stdout.write(" ".join(map(str, step(Path(where), int(number), name))))
