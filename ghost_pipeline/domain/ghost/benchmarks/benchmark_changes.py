"""How many achievers' figures differ between two states of the benchmarks, and by how much (G9.7)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ghost_pipeline.contracts.benchmark_metrics import BENCHMARK_METRICS
from ghost_pipeline.domain.ghost.benchmarks.achiever_practice import Practice
from ghost_pipeline.domain.ghost.benchmarks.achievers import block_edge
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import INTERVAL, Cell
from ghost_pipeline.domain.ghost.benchmarks.running_totals import Integers, RunningTotals
from ghost_pipeline.domain.shared.levels import LARGEST, levels_hold

_PEOPLE = ("user_id", "final_band_score", "diagnostic_score", "last_day", "skipped_day", "diary")


@dataclass(frozen=True)
class Differences:
    """Differences of each cell, day and metric: arrays of cells x days x metrics; those of disjoint people add up."""

    changed: Integers
    """Achievers whose number differs; who has entered or left differs also with 0, for the sample size is shown."""
    total: Integers
    """Sum of the absolute differences; who is in one state only has 0 in the other."""
    largest: Integers
    """The largest of them, the largest first; a fourth axis."""

    @classmethod
    def none(cls, cells: int, days: int) -> "Differences":
        """Return no difference."""
        shape = (cells, days, len(BENCHMARK_METRICS))
        return cls(*(np.zeros(one, dtype=np.int64) for one in (shape, shape, (*shape, LARGEST))))

    def plus(self, other: "Differences") -> "Differences":
        """Return the differences of both sets of people."""
        both = np.concatenate([self.largest, other.largest], axis=3)
        largest = np.sort(both, axis=3)[..., : -LARGEST - 1 : -1]
        return Differences(self.changed + other.changed, self.total + other.total, largest)

    def allow_renewal(self, cells: Sequence[Cell], min_changed: int, max_share_percent: int) -> NDArray[np.bool_]:
        """Return for each cell and day whether its rows may be renewed.

        For every metric, no or at least `min_changed` achievers differ. Where means are published, of `interval`, the
        differences pass the rule of levels.
        """
        enough = (self.changed == 0) | (self.changed >= min_changed)
        level = levels_hold(self.total, [*np.moveaxis(self.largest, 3, 0)], max_share_percent)
        has_means = np.array([cell.population == INTERVAL for cell in cells])[:, None, None]
        allowed: NDArray[np.bool_] = (enough & (level | ~has_means)).all(axis=2)
        return allowed


def changed_people(before: pl.DataFrame, after: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of each of two frames of people that the other lacks; all others count the same in both."""
    before, after = (one.select(_PEOPLE) for one in (before, after))
    return (
        before.join(after, on=_PEOPLE, how="anti", maintain_order="left"),
        after.join(before, on=_PEOPLE, how="anti", maintain_order="left"),
    )


def practice_of(practice: Practice, people: pl.DataFrame) -> Practice:
    """Return some rows of the people of `practice` with their entries."""
    numbers = practice.people.with_row_index("member").select("user_id", "member")
    chosen = people.with_row_index("number").select("user_id", "number").join(numbers, on="user_id")
    entries = practice.entries.join(chosen.select("member", "number"), on="member").sort("number", "day", "kind")
    columns = practice.entries.columns
    return Practice(people, entries.drop("member").rename({"number": "member"}).select(columns))


def benchmark_differences(
    before: Practice,
    after: Practice,
    cells: Sequence[Cell],
    wanted: Collection[int],
    *,
    bands: Sequence[Decimal],
    starts: Sequence[Decimal],
    days: int,
) -> Differences:
    """Return the differences between two states of some people.

    Args:
        before: one state of the people who differ, see `changed_people`.
        after: the other one.
        cells: all cells.
        wanted: the positions of the cells that are compared; the others have no difference.
        bands: target bands.
        starts: starting skills.
        days: last day of the journey.

    """
    found = Differences.none(len(cells), days)
    users = pl.concat([before.people["user_id"], after.people["user_id"]]).unique().sort()
    if users.is_empty():
        return found
    sides = [_Side(one, users, bands, starts) for one in (before, after)]
    compared = []
    for number in sorted(wanted):
        journeys = [side.journeys(cells[number]) for side in sides]
        # People in neither state of the cell makes no difference.
        people = np.flatnonzero(journeys[0] + journeys[1])
        compared.append((number, people, journeys[0][people], journeys[1][people]))
    for day in range(1, days + 1):
        figures = [list(side.figures(day)) for side in sides]
        for number, people, journey_before, journey_after in compared:
            was, now = journey_before >= day, journey_after >= day
            joined_or_left = was != now
            for metric, (values_before, values_after) in enumerate(zip(*figures, strict=True)):
                moved = np.abs(np.where(now, values_after[people], 0) - np.where(was, values_before[people], 0))
                place = (number, day - 1, metric)
                found.changed[place] = np.count_nonzero(joined_or_left | (moved != 0))
                found.total[place] = moved.sum()
                largest = np.sort(moved if len(moved) <= LARGEST else np.partition(moved, -LARGEST)[-LARGEST:])[::-1]
                found.largest[place][: len(largest)] = largest
    return found


class _Side:
    """One state of the people who are compared, numbered alike in both states."""

    def __init__(
        self, practice: Practice, users: pl.Series, bands: Sequence[Decimal], starts: Sequence[Decimal]
    ) -> None:
        numbered = users.to_frame("user_id").with_row_index("number")
        people = practice.people.with_row_index("member").join(numbered, on="user_id", maintain_order="left")
        self._size = len(users)
        self._number = people["number"].to_numpy()
        self._last_day = people["last_day"].to_numpy()
        blocks = people.select(
            final=block_edge("final_band_score", bands), start=block_edge("diagnostic_score", starts)
        )
        self._final, self._start = (one.fill_null(0).to_numpy() for one in blocks.get_columns())
        skipped = np.zeros(self._size, dtype=np.int64)
        skipped[self._number] = people["skipped_day"].to_numpy()
        self._totals = RunningTotals(skipped)
        entries = practice.entries.sort("day", maintain_order=True)
        self._member, self._kind, self._events, self._milliseconds = (
            entries[name].to_numpy() for name in ("member", "kind", "events", "milliseconds")
        )
        self._days = entries["day"].to_numpy()

    def journeys(self, cell: Cell) -> Integers:
        """The days that had ended for each person, 0 for those outside a cell."""
        inside = np.isin(self._final, cell.final_tenths) & np.isin(self._start, cell.start_tenths)
        journeys = np.zeros(self._size, dtype=np.int64)
        journeys[self._number] = np.where(inside, self._last_day, 0)
        return journeys

    def figures(self, day: int) -> "list[Integers]":
        """The values of `BENCHMARK_METRICS` at the end of a day; days have to come one after the other from 1."""
        first, end = np.searchsorted(self._days, [day, day + 1])
        rows = slice(first, end)
        members = self._number[self._member[rows]]
        self._totals.add_day(day, members, self._kind[rows], self._events[rows], self._milliseconds[rows])
        return [values.copy() for values in self._totals.figures(day)]
