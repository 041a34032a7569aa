"""Charts as rows of a table: a label, a number, and a bar of block characters below a heading that says its scale.

Dagster shows a table inline whatever its size, in the colours of its theme, and screen readers read it. Markdown of
1,000 characters or more, and so a drawn picture, it hides behind a link.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

BLOCKS = " ▏▎▍▌▋▊▉█"
"""Eighths of a character's width."""
WIDTH, NARROW = 16, 6
"""Characters of the longest bar: of the only one in a row, and of one among several."""
MOST_BARS = 12


class Count(NamedTuple):
    """What is counted, and how often."""

    label: str
    number: int


def bars(what: str, unit: str, counts: Sequence[Count]) -> pl.DataFrame:
    """Return a row with a bar for each count; of many the first ones, and one for the others together.

    Columns: `what`, `unit` with the number, and the bar, named by its scale.
    """
    shown = list(counts[:MOST_BARS])
    if rest := counts[MOST_BARS:]:
        others = [shown[-1], *rest]
        shown[-1] = Count(f"{len(others)} others", sum(one.number for one in others))
    top = nice_above(max((one.number for one in shown), default=0))
    return pl.DataFrame(
        {
            what: [one.label for one in shown],
            unit: [one.number for one in shown],
            _scale(top): [bar(one.number, top, WIDTH) for one in shown],
        },
        schema={what: pl.String, unit: pl.Int64, _scale(top): pl.String},
    )


def bars_beside(
    what: str, labels: Sequence[str], columns: Sequence[tuple[str, Sequence[int]]], top: int | None = None
) -> pl.DataFrame:
    """Return a row for each label, and in it a bar with its number for each named column.

    Args:
        what: what is counted by what.
        labels: the rows.
        columns: their names, and a number for each row.
        top: the end of all scales; without it, each column has its own.

    """
    drawn = {what: list(labels)}
    for name, numbers in columns:
        end = top or nice_above(max(numbers, default=0))
        drawn[f"{name}, {_scale(end)}"] = [f"{bar(one, end, NARROW)} {one:,}".strip() for one in numbers]
    return pl.DataFrame(drawn, schema=dict.fromkeys(drawn, pl.String))


def bar(number: int, top: int, width: int) -> str:
    """Return a bar of block characters that would be `width` long for `top`; what is above 0 can be seen."""
    eighths = max(round(8 * width * number / top), 1 if number else 0)
    whole, part = divmod(eighths, 8)
    return BLOCKS[8] * whole + (BLOCKS[part] if part else "")


def nice_above(number: int) -> int:
    """Return the end of a scale: the next of 1, 2, 5, 10, 20 … that is not below a number."""
    power = 1
    while True:
        for one in (1, 2, 5):
            if one * power >= number:
                return one * power
        power *= 10


def _scale(top: int) -> str:
    return f"0 to {top:,}"
