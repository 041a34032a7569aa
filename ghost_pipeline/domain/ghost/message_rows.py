"""From the places of messages to rows of `ghost_messages`.

A user has a slot for each place of each context. The slots are filled with numbers, so no row is sorted or joined. A
message that a user sees in several contexts is worded once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.messages import DisplayRule, Message, Position, Wording

WORDED_SCHEMA = pl.Schema(
    {
        "user_value": pl.Float64(),
        "figure": pl.Float64(),
        "figure_as_of": pl.Datetime("us", "UTC"),
        "text": pl.String(),
    }
)
"""What a message says to a user."""

_USER_COLUMNS = ("user_id", "snapshot_date", "snapshot_hour", "as_of")

_Numbers = npt.NDArray[np.int64]


class Case(NamedTuple):
    """One wording of one message."""

    message: Message
    position: Position | None
    wording: Wording

    @property
    def key(self) -> tuple[str, Position | None]:
        """What tells it apart from other cases."""
        return self.message.type, self.position


class Choice(NamedTuple):
    """A message that a rule may show."""

    rule: DisplayRule
    case: Case
    shown: pl.Expr
    """The place of the message with this wording, null where it is not shown."""


def message_rows(
    users: pl.DataFrame, choices: Sequence[Choice], worded: Callable[[Case], Sequence[pl.Expr]]
) -> pl.DataFrame:
    """Return the rows of `ghost_messages`, in the order of the users, the rules, and places.

    Args:
        users: a row per user with `_USER_COLUMNS` and what the expressions need.
        choices: every wording of every message of every rule; those of a rule follow one another.
        worded: the expressions of `WORDED_SCHEMA` for a wording.

    Returns:
        The columns of `GHOST_MESSAGES`; texts of which there are few (`context`, `type`, `metric`, `position`, `tone`,
        `priority`) are an Enum each.

    """
    rules = list(dict.fromkeys(choice.rule for choice in choices))
    first = dict(zip(rules, np.cumsum([0, *(rule.count for rule in rules)]).tolist(), strict=False))
    width = sum(rule.count for rule in rules)
    places = users.select(choice.shown.fill_null(0).alias(str(number)) for number, choice in enumerate(choices))
    table = np.zeros(users.height * width, np.min_scalar_type(len(choices)))
    cases = {choice.case.key: choice.case for choice in choices}
    seen = {key: np.zeros(users.height, bool) for key in cases}
    for number, choice in enumerate(choices):
        place = places.to_series(number).to_numpy()
        shown = np.flatnonzero(place)
        table[shown * width + (place[shown].astype(np.int64) + first[choice.rule] - 1)] = number + 1
        seen[choice.case.key][shown] = True
    slots = np.flatnonzero(table)
    user, slot = slots // width, slots % width
    chosen = table[slots].astype(np.int64) - 1
    said, row_of = _said(users, list(seen.values()), list(map(worded, cases.values())))
    case_of = np.array([list(cases).index(choice.case.key) for choice in choices])
    place_of = np.concatenate([np.arange(rule.count) + 1 for rule in rules]).astype(np.int32)
    columns = {
        **{name: users[name].gather(user) for name in _USER_COLUMNS},
        "context": _coded([choice.rule.context for choice in choices], chosen),
        "place": pl.Series(place_of[slot]),
        "type": _coded([choice.case.message.type for choice in choices], chosen),
        "metric": _coded([choice.case.message.metric for choice in choices], chosen),
        "position": _coded([choice.case.position for choice in choices], chosen),
        "tone": _coded([choice.case.wording.tone for choice in choices], chosen),
        "priority": _coded([choice.rule.priority for choice in choices], chosen),
    }
    of_row = said[row_of[case_of[chosen], user]]
    return pl.DataFrame({**columns, **of_row.to_dict()}).select(list(GHOST_MESSAGES.polars_schema))


def _said(
    users: pl.DataFrame, seen: Sequence[npt.NDArray[np.bool_]], worded: Sequence[Sequence[pl.Expr]]
) -> tuple[pl.DataFrame, _Numbers]:
    """Return what is said to the users who see each case, and the number of its row for each case and user."""
    plans = [users.lazy().filter(pl.Series(some)).select(said) for some, said in zip(seen, worded, strict=True)]
    found = pl.collect_all(plans)
    row_of = np.zeros((len(seen), users.height), np.int64)
    rows = 0
    for number, shown in enumerate(seen):
        these = np.flatnonzero(shown)
        row_of[number, these] = np.arange(rows, rows + len(these))
        rows += len(these)
    return pl.concat([WORDED_SCHEMA.to_frame(), *found], rechunk=True), row_of


def _coded(texts: Sequence[str | None], numbers: _Numbers) -> pl.Series:
    """Return the texts with some numbers as an Enum."""
    distinct = [text for text in dict.fromkeys(texts) if text is not None]
    dtype = pl.Enum(distinct)
    return pl.Series(texts, dtype=dtype).gather(numbers)
