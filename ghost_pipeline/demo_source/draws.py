"""Random numbers that are the same on every machine."""

from collections.abc import Sequence

import numpy as np

from ghost_pipeline.demo_source.arrays import Flags, Floats, Ints, counting, floor


class Draws:
    """Random numbers that no machine and no release of numpy changes.

    They start from the raw 64 bits of PCG64, and only operations follow whose results IEEE 754 fixes to
    the last bit: + - * / and the square root. `exp`, `log` and numpy's distributions are not among them.
    """

    def __init__(self, seed: int, stream: str) -> None:
        """Begin the stream of one part, so that the size of another part does not shift it."""
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *stream.encode()]))

    def uniform(self, size: int) -> Floats:
        """Evenly in [0, 1)."""
        raw = np.asarray(self._bits.random_raw(size), dtype=np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def between(self, low: float | Floats, high: float | Floats, size: int) -> Floats:
        """Evenly in [low, high)."""
        return low + (high - low) * self.uniform(size)

    def below(self, limit: int | Ints, size: int) -> Ints:
        """Whole numbers, evenly in 0 to limit - 1."""
        return floor(self.uniform(size) * limit)

    def normal(self, size: int) -> Floats:
        """Nearly normal (Tukey's lambda of 1/8), mean 0, deviation 1."""
        return normal(self.uniform(size))

    def spread(self, sigma: float, size: int) -> Floats:
        """Nearly log-normal factors around the median 1."""
        return exp(sigma * self.normal(size))

    def evenly(self, groups: Ints, size: int) -> Floats:
        """In [0, 1) for each row, spread out evenly among the rows of a group (0, 1, 2 ...).

        A group's quantiles then hardly depend on chance, however small it is.
        """
        members = np.bincount(groups)
        order = np.lexsort((self.uniform(size), groups))
        places = np.empty(size, dtype=np.float64)
        places[order] = (counting(members) + self.uniform(size)) / np.repeat(members, members)
        return places

    def chance(self, probability: float | Floats, size: int) -> Flags:
        """True with this probability."""
        return self.uniform(size) < probability

    def order(self, size: int) -> Ints:
        """The numbers 0 to size - 1, shuffled."""
        return np.argsort(self.uniform(size), kind="stable")

    def pick(self, shares: Sequence[float], size: int) -> Ints:
        """Positions in `shares`, each as often as its share says."""
        ends: list[float] = []
        for share in shares:
            ends.append(share + (ends[-1] if ends else 0.0))
        return np.searchsorted(np.array(ends[:-1]), self.uniform(size) * ends[-1], side="right")


def normal(probability: Floats) -> Floats:
    """Turn evenly distributed probabilities into nearly normal values, mean 0, deviation 1."""
    return (_eighth_root(probability) - _eighth_root(1.0 - probability)) / 0.1857


def _eighth_root(values: Floats) -> Floats:
    roots: Floats = np.sqrt(np.sqrt(np.sqrt(values)))
    return roots


def exp(values: Floats) -> Floats:
    """Return e to the power of `values`, nearly: (1 + x/1024) to the power of 1024."""
    power: Floats = 1.0 + values / 1024.0
    for _ in range(10):
        power = power * power
    return power
