"""How often streak shares of nested populations tell what the one or two people between them did (A6).

Drawn populations instead of a pipeline's: hundreds, for each way of publishing a share. A reader tries every size
and every number of people that fits what is shown. Run as a program, it prints the table of decision 41.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import sqrt
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray

from ghost_pipeline.domain.shared.proportions import Z

SEED = 7
TRIALS = 500
THRESHOLDS = (3, 5, 7, 14, 30)
REACHING = (0.75, 0.55, 0.4, 0.2, 0.07)
"""The share of people whose longest streak reaches each threshold."""
SIZE_STEP = 5
SIZES = range(50, 81)
Ends = Literal["none", "exact", "shown"]


@dataclass(frozen=True)
class Publishing:
    """How a share is published."""

    step: int
    """Percentages are rounded to multiples of it."""
    ends: Ends
    """Whether Wilson's ends are shown, and whether they are those of the exact numbers or of what is shown."""


WAYS = tuple(Publishing(step, ends) for step in (1, 5) for ends in ("none", "shown", "exact"))
Shown = tuple[int, tuple[tuple[int, ...], ...]]
"""The size and, for each threshold, the percentage and the ends."""


@dataclass
class Told:
    """What a reader has found out in some trials."""

    trials: int = 0
    size: int = 0
    """How often the size of the difference was one or two for certain."""
    something: int = 0
    """How often what the people between did was certain for a threshold or more, besides."""
    everything: int = 0
    """How often for all."""
    error: float = 0.0
    """Mean distance of a shown percentage from the exact one, in points."""


def half_up(numerator: int, denominator: int) -> int:
    """A fraction of numbers from 0 on, rounded half up."""
    return (2 * numerator + denominator) // (2 * denominator)


def percentage(reached: int, size: int, step: int) -> int:
    """A share as it is published."""
    return half_up(100 * reached, size * step) * step


def wilson(share: float, size: int) -> tuple[int, int]:
    """Wilson's interval in whole percent."""
    middle, half = share + Z**2 / (2 * size), Z * sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    scale = (1 + Z**2 / size) / 100
    low, high = (middle - half) / scale, (middle + half) / scale
    return int(low + 0.5), int(high + 0.5)


def shown_share(reached: int, size: int, way: Publishing) -> tuple[int, ...]:
    """What is published of a threshold."""
    percent = percentage(reached, size, way.step)
    match way.ends:
        case "none":
            return (percent,)
        case "exact":
            return (percent, *wilson(reached / size, size))
        case "shown":
            return (percent, *wilson(percent / 100, size // SIZE_STEP * SIZE_STEP))


def shown(reached: list[int], size: int, way: Publishing) -> Shown:
    """What is published of a population."""
    return size // SIZE_STEP * SIZE_STEP, tuple(shown_share(one, size, way) for one in reached)


def possible(told: Shown, way: Publishing) -> dict[int, list[list[int]]]:
    """For each size that fits, the numbers of people who can have reached each threshold."""
    found = {}
    for size in range(told[0], told[0] + SIZE_STEP):
        fitting = [[n for n in range(size + 1) if shown_share(n, size, way) == one] for one in told[1]]
        if all(fitting):
            found[size] = fitting
    return found


def solutions(larger: Shown, smaller: Shown, way: Publishing) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every number of people between two populations, with how many of them reached each threshold."""
    inside = possible(smaller, way)
    for size, of_larger in possible(larger, way).items():
        for less, of_smaller in inside.items():
            between = size - less
            if between < 0:
                continue
            by_threshold = [
                sorted({one - other for one in ones for other in others if 0 <= one - other <= between})
                for ones, others in zip(of_larger, of_smaller, strict=True)
            ]
            for profile in product(*by_threshold):
                if all(shorter >= longer for shorter, longer in pairwise(profile)):
                    yield between, profile


def judge(larger: Shown, smaller: Shown, way: Publishing, told: Told) -> None:
    """Count what a reader finds out from one pair of populations."""
    told.trials += 1
    sizes: set[int] = set()
    seen: list[set[int]] = [set() for _ in THRESHOLDS]
    for between, profile in solutions(larger, smaller, way):
        sizes.add(between)
        for known, one in zip(seen, profile, strict=True):
            known.add(one)
        if not sizes <= {1, 2}:
            return
    told.size += 1
    certain = [len(one) == 1 for one in seen]
    told.something += any(certain)
    told.everything += all(certain)


def drawn(chance: np.random.Generator, people: int) -> NDArray[np.int64]:
    """How many thresholds the longest streak of each person reaches."""
    found: NDArray[np.int64] = (chance.random(people)[:, None] < np.array(REACHING)).sum(axis=1)
    return found


def trials(way: Publishing, number: int, seed: int = SEED) -> Told:
    """Draw pairs of populations with one or two people between them, and try each."""
    chance, told = np.random.default_rng(seed), Told()
    errors = []
    for _ in range(number):
        less = int(chance.integers(SIZES.start, SIZES.stop))
        size = less + int(chance.integers(1, 3))
        streaks = drawn(chance, size)
        reached = [
            [int((some > place).sum()) for place in range(len(THRESHOLDS))] for some in (streaks, streaks[:less])
        ]
        judge(shown(reached[0], size, way), shown(reached[1], less, way), way, told)
        errors += [abs(percentage(one, size, way.step) - 100 * one / size) for one in reached[0]]
    told.error = float(np.mean(errors))
    return told


if __name__ == "__main__":
    for one in WAYS:
        found = trials(one, TRIALS)
        counts = f"{found.size:4} {found.something:4} {found.everything:4} of {found.trials}"
        click.echo(f"steps of {one.step}, ends {one.ends:5}: {counts}, {found.error:.2f} points off")
