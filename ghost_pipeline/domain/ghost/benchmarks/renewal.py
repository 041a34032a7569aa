"""Which rows of a month are renewed, and which stay as they were published (G9.7).

A row shows a state of the people behind it. The rows that were renewed together show the same state, which has a number
among the states of its month.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

Key = tuple[str | int | None, ...]
"""What identifies the figures that are judged together: texts and numbers, null where the column is."""

STATE = "state"
SIZE_STEP = 5
"""Sizes of nested populations in steps: their difference would be the size of the few people between them."""


class Shown(NamedTuple):
    """What a row shows."""

    state: int
    """The number of the state among those of its month."""
    renewed: str
    """The month that this state is of, such as 2025-02."""


@dataclass(frozen=True)
class KeptMonth:
    """What the rows of a month show, as it was kept when the month was built last."""

    rows: Mapping[Key, Shown]
    people: pl.DataFrame
    """The people of every state, with its number in the column `state`."""
    newest: int | None = None
    """The state of the people of now, while a month is being built and if any row shows it."""

    def of_state(self, state: int) -> pl.DataFrame:
        """The people of a state."""
        return self.people.filter(pl.col(STATE) == state).drop(STATE)

    def states(self) -> dict[int, set[Key]]:
        """The rows of each state."""
        found: dict[int, set[Key]] = {}
        for key, shown in self.rows.items():
            found.setdefault(shown.state, set()).add(key)
        return found


@dataclass(frozen=True)
class Compared:
    """A published month, and what a comparison with the people of now has found."""

    month: KeptMonth
    allowed: Collection[Key]
    """The rows from which those of now differ by no one or by enough people."""

    def forbids(self, key: Key) -> bool:
        """Whether a row would tell too much beside the one of this month."""
        return key in self.month.rows and key not in self.allowed


class Chosen(NamedTuple):
    """What a row of the month is to show: a state that a month has shown before, or that of now."""

    source: KeptMonth | None
    """None: the people of now."""
    state: int


def chosen_rows(
    countable: Iterable[Key], own: Compared | None, before: Compared | None, after: Compared | None
) -> dict[Key, Chosen]:
    """Choose what each row of a month shows.

    A row is renewed if no one or enough people differ from what the month itself showed, or what the month before it
    shows if it is built for the first time. The neighbours are public, too: a row that passes and would tell too much
    beside one of them shows what the month before shows, or stays.

    Args:
        countable: the rows that enough people are behind now.
        own: the month itself, None if it was never built.
        before: the nearest earlier month that was built.
        after: the nearest later month that was built.

    Returns:
        The rows to keep, also those that too few people are behind now: they are compared with when they come back.

    """
    present = set(countable)
    chosen: dict[Key, Chosen] = {}
    earlier = [one for one in (own, before) if one]
    for key in sorted({*present, *(key for one in earlier for key in one.month.rows)}, key=_order):
        forbidding = next((one for one in earlier if one.forbids(key)), None)
        if key in present and not forbidding and not (after and after.forbids(key)):
            chosen[key] = Chosen(None, 0)
            continue
        shows = forbidding or next((one for one in earlier if key in one.month.rows), None)
        if shows:
            chosen[key] = Chosen(shows.month, shows.month.rows[key].state)
    return chosen


def kept_month(
    chosen: Mapping[Key, Chosen],
    people: pl.DataFrame,
    month: str,
    among: Callable[[pl.DataFrame, Collection[Key]], pl.DataFrame],
) -> KeptMonth:
    """Return what is to be kept of a month: the states that its rows show, numbered by month and then as they were.

    Args:
        chosen: what its rows show.
        people: the people of now.
        month: its name.
        among: returns the rows of people who count in some rows; the others need not be kept.

    """
    keys: dict[tuple[str, int, int], list[Key]] = {}
    sources: dict[tuple[str, int, int], Chosen] = {}
    numbers: list[KeptMonth] = []
    for key, one in chosen.items():
        if one.source and not any(one.source is known for known in numbers):
            numbers.append(one.source)
        place = next((n for n, known in enumerate(numbers) if known is one.source), len(chosen))
        renewed = one.source.rows[key].renewed if one.source else month
        state = (renewed, place, one.state)
        keys.setdefault(state, []).append(key)
        sources[state] = one
    rows: dict[Key, Shown] = {}
    parts: list[pl.DataFrame] = []
    newest: int | None = None
    for number, state in enumerate(sorted(keys)):
        rows |= dict.fromkeys(keys[state], Shown(number, state[0]))
        source = sources[state].source
        newest = newest if source else number
        of_state = source.of_state(state[2]) if source else people
        parts.append(among(of_state, keys[state]).select(pl.lit(number, pl.Int32).alias(STATE), *people.columns))
    empty = people.clear().select(pl.lit(0, pl.Int32).alias(STATE), *people.columns)
    return KeptMonth(rows, pl.concat([empty, *parts]).sort(STATE, "user_id"), newest)


def only_shown(rows: pl.DataFrame, key: Sequence[str], shown: Collection[Key]) -> pl.DataFrame:
    """Return some rows of a table, in their order.

    Args:
        rows: the rows that the table would have if every row showed one state.
        key: the columns that a `Key` is made of.
        shown: which of them show it.

    """
    return rows.filter(pl.Series([one in shown for one in keys_of(rows, key)], dtype=pl.Boolean))


def with_renewed(rows: pl.DataFrame, renewed: str) -> pl.DataFrame:
    """Return rows with the month that their state is of, if they have such a column."""
    return rows.with_columns(renewed=pl.lit(renewed)) if "renewed" in rows.columns else rows


def keys_of(rows: pl.DataFrame, key: Sequence[str]) -> list[Key]:
    """Return the `Key` of each row, decimals as text."""
    decimals = [name for name in key if rows.schema[name].is_decimal()]
    return rows.select(key).with_columns(pl.col(decimals).cast(pl.String)).rows()


def in_steps(size: str) -> pl.Expr:
    """A size of nested populations as it is published: rounded down to a multiple of five."""
    return pl.col(size) // SIZE_STEP * SIZE_STEP


def rows_as_text(rows: Mapping[Key, Shown]) -> str:
    """Return the rows as JSON, in their order, for the file that holds the people."""
    return json.dumps([[*key, *shown] for key, shown in sorted(rows.items(), key=lambda row: _order(row[0]))])


def rows_of_text(text: str) -> dict[Key, Shown]:
    """Return what `rows_as_text` has written."""
    return {tuple(key): Shown(state, renewed) for *key, state, renewed in json.loads(text)}


def _order(key: Key) -> tuple[tuple[bool, str | int], ...]:
    return tuple((one is not None, "" if one is None else one) for one in key)
