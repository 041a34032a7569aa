"""Comparison of a figure with its expected value; a difference that chance explains is no finding."""

from dataclasses import dataclass
from math import sqrt

CHANCE = 3
"""Standard deviations that a count may differ: counts vary by chance, and of 20 rows a day 8 mean nothing."""


@dataclass(frozen=True)
class Comparison:
    """A figure of a partition and its expected value."""

    figure: str
    """Name of the figure."""
    basis: str
    """The source of the expected value, in words."""
    expected: float
    found: float
    moved: bool
    """Whether the difference exceeds the limits."""

    @property
    def percent(self) -> float:
        """Difference of `found` from `expected` in percent; 0 if `expected` is 0."""
        return 100 * (self.found - self.expected) / self.expected if self.expected else 0.0


def compared(figure: str, basis: str, expected: float, found: float, *, fall: int, rise: int) -> Comparison:
    """Compare a figure with its expected value.

    Args:
        figure: name of the figure.
        basis: the source of the expected value, in words.
        expected: the expected value; with 0 any found value passes.
        found: the figure; a whole number is a count, whose difference chance may explain.
        fall: percent by which it may be lower.
        rise: percent by which it may be higher.

    """
    percent = 100 * (found - expected)
    off = percent < -fall * expected or percent > rise * expected
    by_chance = isinstance(found, int) and abs(found - expected) <= CHANCE * sqrt(expected)
    return Comparison(figure, basis, expected, found, moved=expected > 0 and off and not by_chance)
