"""What a reader obtains from a number that is a sum over members: a person's figure, nearly one, or nothing.

The reader's own part is known to them and counts for nothing. *Exact*: one or two members are left, and the rounding of
all that was shown leaves less than half a unit. *Near*: the largest part, or the two largest of one sign, are at least
ten times everything else together, rounding included.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ghost_pipeline_tests.attacks.worlds import READER, Ints

Floats = NDArray[np.float64]
Parts = Ints | Floats
FEW = 2
"""Members whose figures a sum still tells."""
TIMES = 10
HALF = 0.5


class Words(Protocol):
    """What each sum is, by its row; a list will do."""

    def __getitem__(self, row: int, /) -> str:
        """Say it."""


@dataclass
class Tally:
    """What an attack has tried and obtained."""

    tried: int = 0
    exact: int = 0
    near: int = 0
    """To better than a tenth, exact ones included."""
    people: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    """What the numbers do not say."""
    examples: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add what the same attack has tried elsewhere."""
        self.tried += other.tried
        self.exact += other.exact
        self.near += other.near
        self.people |= other.people
        self.notes += other.notes
        self.examples += other.examples

    @property
    def won(self) -> int:
        """How often a figure was isolated, exactly or nearly."""
        return max(self.exact, self.near)

    def judge(self, parts: Parts, slack: Floats, names: list[str], what: Words) -> None:
        """Judge sums: `parts` by sum and member, and the rounding left in each."""
        exact, near, largest = isolated(parts, slack)
        self.tried += int((np.abs(_others(parts)).sum(axis=1) > 0).sum())
        self.exact += int(exact.sum())
        self.near += int((exact | near).sum())
        for row in map(int, np.flatnonzero(exact | near)):
            self.people.add(names[largest[row]])
            if len(self.examples) < 20:
                order = np.argsort(-np.abs(_others(parts[row][None])[0]))[:3]
                told = ", ".join(f"{names[at]} {parts[row, at]}" for at in order)
                self.examples.append(
                    f"{what[row]}: {'exact' if exact[row] else 'near'}: {told}; rounding {slack[row]:.2f}"
                )


def isolated(parts: Parts, slack: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.intp]]:
    """Whether each sum is exact, and near, and which member's part is the largest. `parts` by sum and member."""
    others = _others(parts)
    sizes = np.abs(others)
    whole = sizes.sum(axis=1)
    largest = sizes.argmax(axis=1)
    count = (sizes > 0).sum(axis=1)
    exact = (count > 0) & (count <= FEW) & (slack < HALF)
    one = sizes.max(axis=1)
    two = np.zeros_like(whole)
    if others.shape[1] >= FEW:
        for signed in (others, -others):
            positive = np.partition(np.maximum(signed, 0), -FEW, axis=1)[:, -FEW:]
            two = np.maximum(two, np.where(positive.min(axis=1) > 0, positive.sum(axis=1), 0))
    near = (one > 0) & ((one >= TIMES * (whole - one + slack)) | ((two > 0) & (two >= TIMES * (whole - two + slack))))
    return exact, near, largest


def _others(parts: Parts) -> Parts:
    others = parts.copy()
    others[:, READER] = 0
    return others
