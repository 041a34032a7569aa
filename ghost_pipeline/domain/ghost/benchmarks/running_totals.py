"""The figures of achievers at the end of each day of their journey, carried from day to day (G5.3, G5.4)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS, BenchmarkMetric
from ghost_pipeline.contracts.raw import MOCK_TEST, TASK_TYPES

KINDS = (*TASK_TYPES, MOCK_TEST)
"""Types of events by number; mock tests come last. Kept diaries hold these numbers."""
_MOCK_TEST = KINDS.index(MOCK_TEST)

_TIMED = {metric.of: np.isin(KINDS, metric.of) for metric in BENCHMARK_METRICS if metric.measure == "time"}
"""The types whose time is summed, each with whether a kind is among them."""

Integers = NDArray[np.int64]


class RunningTotals:
    """The totals of the members of a block, carried from day to day."""

    def __init__(self, skipped_days: Integers) -> None:
        """Take the journey day of each member whose date never existed; 0 if there is none."""
        self._size = size = len(skipped_days)
        self._skipped_days = skipped_days
        self._events = np.zeros((len(KINDS), size), dtype=np.int64)
        self._milliseconds = {types: np.zeros(size, dtype=np.int64) for types in _TIMED}
        self._last_active_day = np.zeros(size, dtype=np.int64)
        self._run_length = np.zeros(size, dtype=np.int64)

    def add_day(
        self,
        day: int,
        slots: NDArray[np.uint32],
        kinds: NDArray[np.uint8],
        events: NDArray[np.uint32],
        milliseconds: Integers,
    ) -> None:
        """Add what was done on a day, in any order: member, kind, number of events and their time."""
        cells = kinds.astype(np.int64) * self._size + slots
        # Sums of whole numbers far below 2**53 are exact in floats.
        counts = np.bincount(cells, weights=events, minlength=self._events.size)
        counts = counts.astype(np.int64).reshape(self._events.shape)
        self._events += counts
        for types, totals in self._milliseconds.items():
            counted = _TIMED[types][kinds]
            np.add.at(totals, slots[counted], milliseconds[counted])
        active = np.flatnonzero(counts[:_MOCK_TEST].any(axis=0))
        continued = self._silent_days(day)[active] == 1
        self._run_length[active] = np.where(continued, self._run_length[active] + 1, 1)
        self._last_active_day[active] = day

    def figures(self, day: int) -> Iterator[Integers]:
        """The values of `BENCHMARK_METRICS` at the end of the day, one per member."""
        return (self._figure(metric, day) for metric in BENCHMARK_METRICS)

    def _figure(self, metric: BenchmarkMetric, day: int) -> Integers:
        match metric.measure:
            case "events":
                figure: Integers = self._events[[KINDS.index(one) for one in metric.of]].sum(axis=0)
                return figure
            case "time":
                return self._milliseconds[metric.of]
            case "streak":
                return np.where(self._silent_days(day) <= 1, self._run_length, 0)

    def _silent_days(self, day: int) -> Integers:
        """The days since each member was active last, without the one that never was."""
        last, skipped = self._last_active_day, self._skipped_days
        return day - last - ((last < skipped) & (skipped < day))
