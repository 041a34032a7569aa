"""Publishing an hour, with a month of history and with a year: each publication in a process of its own.

The lake holds the tables that are published as histories, an hour's rows in each file: typists draw from a fixed number
of n-grams, and every hour has as many rows.
"""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter

import numpy as np
import polars as pl

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import write_layout
from ghost_pipeline.lake.local_files import LocalFiles
from ghost_pipeline.lake.parquet import parquet_bytes
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.bench.measuring import MIB, Rows
from ghost_pipeline_tests.samples import sample

NEWEST = Hour(datetime(2025, 3, 15, 11, tzinfo=UTC))
"""The middle of a month: its days are files of their own."""
DAYS = (30, 365)
SHARES = {
    "practice_sessions": 0.002,
    "session_ngram_errors": 0.05,
    "session_ngram_summary": 0.2,
    "ngram_speed_summary_history": 0.45,
}
"""Rows of an hour for each typist."""
NGRAMS = 500
SEED = 28


class _Histories:
    """The rows of any hour of the histories."""

    def __init__(self, typists: int) -> None:
        self._typists = typists
        self._of = {
            CONTRACTS[name]: sample(CONTRACTS[name], max(int(typists * share), 1), SEED)
            for name, share in SHARES.items()
        }

    def write(self, lake: Lake, hour: Hour) -> int:
        """Write the rows of an hour and return their number."""
        for contract, frame in self._of.items():
            path = lake.path(contract, hour)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(parquet_bytes(contract, self._rows(contract, frame, hour)))
        return sum(frame.height for frame in self._of.values())

    def _rows(self, contract: Contract, frame: pl.DataFrame, hour: Hour) -> pl.DataFrame:
        number = int(hour.start.timestamp()) // 3600
        chance = np.random.default_rng((SEED, number))
        typist, ngram = chance.integers(0, self._typists, frame.height), chance.integers(0, NGRAMS, frame.height)
        made = {
            "user_id": pl.format("typist-{}", pl.Series(typist)),
            "keyboard_id": pl.format("board-{}", pl.Series(typist)),
            "session_id": pl.format("session-{}-{}", pl.lit(number), pl.Series(typist)),
            "ngram_text": pl.format("n{}", pl.Series(ngram)),
            "start_time": pl.lit(hour.start, pl.Datetime("us", "UTC")),
            "as_of": pl.lit(hour.as_of, pl.Datetime("us", "UTC")),
        }
        here = {name: values for name, values in made.items() if name in frame.columns}
        return frame.with_columns(**here).sort(contract.total_order).select(list(contract.polars_schema))


def prepare(folder: Path, days: int, typists: int) -> int:
    """Write so many days of history, an hour's rows at a time; returns the number of rows."""
    write_layout(LocalFiles(folder / "lake"))
    histories, lake = _Histories(typists), Lake(folder / "lake")
    return sum(histories.write(lake, Hour(NEWEST.start - number * HOUR)) for number in range(days * 24))


def add_hour(folder: Path, number: int, typists: int) -> None:
    """Add the rows of a later hour."""
    _Histories(typists).write(Lake(folder / "lake"), Hour(NEWEST.start + number * HOUR))


def publication(folder: Path) -> tuple[float, float, float]:
    """Publish; returns CPU seconds, wall seconds, and the peak of the process in MiB."""
    start, begin = _cpu(), perf_counter()
    publish(Lake(folder / "lake"), folder / "ghost.duckdb")
    return _cpu() - start, perf_counter() - begin, getrusage(RUSAGE_SELF).ru_maxrss / MIB


def _cpu() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, typists: int, runs: int, history: tuple[int, ...] = DAYS) -> tuple[str, Rows, str]:
    """The publications of some hours in turn, with each length of history; medians."""
    totals = {days: int(_process("prepare", folder / str(days), days, typists)[0]) for days in history}
    found: dict[int, list[list[float]]] = {days: [] for days in history}
    first = {days: _process("publish", folder / str(days)) for days in history}
    for number in range(1, runs + 1):
        for days in history:
            _process("add", folder / str(days), number, typists)
            found[days].append(_process("publish", folder / str(days)))
    base = median(cpu for cpu, *_ in found[history[0]])
    rows: Rows = []
    for days in history:
        cpu, wall, peak = zip(*found[days], strict=True)
        rows.append(
            {
                "contender": f"{days} days",
                "rows": totals[days],
                "first CPU s": round(first[days][0], 2),
                "CPU s": round(median(cpu), 2),
                "wall s": round(median(wall), 2),
                "peak MiB": round(max(peak)),
                "ratio": round(median(cpu) / base, 2),
            }
        )
    return f"publication of an hour, {typists:,} typists", rows, ""


def _process(*arguments: object) -> list[float]:
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [float(number) for number in output.split()]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", where, days, typists]:
            sys.stdout.write(str(prepare(Path(where), int(days), int(typists))))
        case ["add", where, number, typists]:
            add_hour(Path(where), int(number), int(typists))
        case ["publish", where]:
            sys.stdout.write(" ".join(map(str, publication(Path(where)))))
