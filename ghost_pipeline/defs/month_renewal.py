"""Building a month's table from what each row shows: the people of now, or a state shown before (G9.7)."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.domain.ghost.benchmarks.renewal import (
    Compared,
    KeptMonth,
    Key,
    chosen_rows,
    kept_month,
    keys_of,
    only_shown,
    with_renewed,
)
from ghost_pipeline.incremental.kept_months import KeptMonths, kept_months
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Month

Differs = Callable[[KeptMonth, int, set[Key]], Collection[Key]]
"""Takes a kept month, one of its states and the rows that show it; returns those that may be renewed from it."""


@dataclass(frozen=True)
class Renewal:
    """What the rows of a month are compared with, and how they are told apart."""

    month: Month
    key: Sequence[str]
    """The columns of the table that a `Key` is made of."""
    kept: KeptMonths

    @classmethod
    def of(cls, lake: Lake, people: Contract, month: Month, key: Sequence[str]) -> "Renewal":
        """Read what is kept of a month and its neighbours.

        Args:
            lake: the lake.
            people: the table that keeps the people.
            month: the month.
            key: the columns of the figures' table that tell apart what is judged together.

        """
        return cls(month, key, kept_months(lake, people, month))

    def references(self) -> list[KeptMonth]:
        """The months that the rows are compared with."""
        return [one for one in (self.kept.own, self.kept.before, self.kept.after) if one]

    def choose(
        self,
        rows: pl.DataFrame,
        people: pl.DataFrame,
        allowed: Differs,
        among: Callable[[pl.DataFrame, Collection[Key]], pl.DataFrame],
        only: Callable[[set[Key], set[Key]], set[Key]] = lambda countable, _: countable,
    ) -> tuple[KeptMonth, set[Key]]:
        """Return what is to be kept of the month, and the rows that it shows.

        Args:
            rows: the rows of the table if all of them showed the people of now.
            people: the people of now, with the columns that are kept.
            allowed: compares with a state.
            among: returns the rows of people who count in some rows.
            only: takes the rows that enough people are behind, and those of them that are renewed or stay; returns
                those that the month may show.

        """
        compared = [
            Compared(one, {key for state, keys in one.states().items() for key in allowed(one, state, keys)})
            if one
            else None
            for one in (self.kept.own, self.kept.before, self.kept.after)
        ]
        countable = set(keys_of(rows, self.key))
        countable = only(countable, countable & chosen_rows(countable, *compared).keys())
        chosen = chosen_rows(countable, *compared)
        return kept_month(chosen, people, self.month.key, among), countable & chosen.keys()


def shown_rows(
    kept: KeptMonth, key: Sequence[str], shown: Collection[Key], rows_of_state: Callable[[int], Iterable[pl.DataFrame]]
) -> list[pl.DataFrame]:
    """Return what a month shows, of each table by itself, in the order of states.

    Args:
        kept: what each row shows.
        key: the columns that a `Key` is made of.
        shown: the rows that the month shows.
        rows_of_state: returns the rows of each table as if all of them showed a state.

    """
    tables: list[list[pl.DataFrame]] = []
    for state, keys in sorted(kept.states().items()):
        renewed = kept.rows[next(iter(keys))].renewed
        tables.append([with_renewed(only_shown(one, key, keys & set(shown)), renewed) for one in rows_of_state(state)])
    return [pl.concat(parts) for parts in zip(*tables, strict=True)]
