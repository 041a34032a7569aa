"""Whether a figure is what those before it let expect; what chance alone may do is no finding."""

from dataclasses import dataclass
from math import sqrt

CHANCE = 3
"""Standard deviations that a count may be off: rows come and go by themselves, and of 20 a day 8 say nothing."""


@dataclass(frozen=True)
class Comparison:
    """A figure of a partition beside the one that was expected."""

    figure: str
    """What is compared."""
    basis: str
    """What it is compared with."""
    expected: float
    found: float
    moved: bool
    """Whether it is further off than it may be."""

    @property
    def percent(self) -> float:
        """By how much `found` differs from `expected`; 0 where nothing was expected."""
        return 100 * (self.found - self.expected) / self.expected if self.expected else 0.0


def compared(figure: str, basis: str, expected: float, found: float, *, fall: int, rise: int) -> Comparison:
    """Compare a figure with the expected one.

    Args:
        figure: what is compared.
        basis: what it is compared with.
        expected: the figure that was expected; where it is 0, nothing was, and anything may come.
        found: the figure; a whole number is a count, of which chance may explain a part.
        fall: percent of the expected one by which it may be lower.
        rise: percent by which it may be higher.

    """
    percent = 100 * (found - expected)
    off = percent < -fall * expected or percent > rise * expected
    by_chance = isinstance(found, int) and abs(found - expected) <= CHANCE * sqrt(expected)
    return Comparison(figure, basis, expected, found, moved=expected > 0 and off and not by_chance)
