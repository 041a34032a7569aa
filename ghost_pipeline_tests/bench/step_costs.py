"""`python -m ghost_pipeline_tests.bench.step_costs materialize --as-of ...`: the command, and CPU and memory by step.

For finding what to improve; the benchmarks run the command itself. Prints a table on stderr when the command ends.
"""

import atexit
import logging
import resource
import sys
from collections.abc import Callable
from functools import wraps
from time import perf_counter

from ghost_pipeline.cli.main import main
from ghost_pipeline_tests.bench.measuring import MIB, Rows, as_markdown

_rows: Rows = []
_began: dict[str, tuple[float, float]] = {}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB)


def _noting(handle: Callable[[logging.Logger, logging.LogRecord], None]) -> Callable[..., None]:
    @wraps(handle)
    def noting(logger: logging.Logger, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        step = getattr(event, "step_key", None)
        if step and event is not None and event.is_step_start:
            _began.setdefault(step, (_cpu(), perf_counter()))
        if step and event is not None and (event.is_step_success or event.is_step_failure) and step in _began:
            cpu, wall = _began.pop(step)
            _rows.append(_row(step, _cpu() - cpu, perf_counter() - wall))
        handle(logger, record)

    return noting


def _row(name: str, cpu: float, wall: float) -> dict[str, str | float]:
    return {"step": name, "CPU s": round(cpu, 2), "wall s": round(wall, 2), "peak MiB so far": _peak()}


def _show(start: float) -> None:
    steps = sum(float(row["CPU s"]) for row in _rows)
    rest = _row("everything else (imports, Dagster)", _cpu() - steps, perf_counter() - start - _steps_wall())
    total = _row("sum", _cpu(), perf_counter() - start)
    sys.stderr.write(as_markdown([*_rows, rest, total]) + "\n")


def _steps_wall() -> float:
    return sum(float(row["wall s"]) for row in _rows)


if __name__ == "__main__":
    atexit.register(_show, perf_counter())
    logging.Logger.handle = _noting(logging.Logger.handle)  # type: ignore[method-assign]
    main()
