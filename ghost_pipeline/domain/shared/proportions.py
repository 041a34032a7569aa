"""Intervals of proportions, and of the difference of two (G10.1, G10.2)."""

import polars as pl

Z = 1.95996398454
"""The 97.5th percentile of the standard normal distribution: intervals cover 95 %."""


def wilson_interval(reached: pl.Expr, people: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return Wilson's 95 % interval of `reached` of `people`, as two Float64 from 0 to 1; null of no people.

    With no one reached the lower end is exactly 0, with all reached the upper one is exactly 1.
    """
    n = pl.when(people > 0).then(people.cast(pl.Float64))
    share = reached / n
    middle = share + Z**2 / (2 * n)
    half = Z * (share * (1 - share) / n + Z**2 / (4 * n**2)).sqrt()
    scale = 1 + Z**2 / n
    low = pl.when(reached == 0).then(pl.when(people > 0).then(0.0)).otherwise((middle - half) / scale)
    high = pl.when(reached == people).then(pl.when(people > 0).then(1.0)).otherwise((middle + half) / scale)
    return low, high


def newcombe_interval(
    first: tuple[pl.Expr, pl.Expr, pl.Expr], second: tuple[pl.Expr, pl.Expr, pl.Expr]
) -> tuple[pl.Expr, pl.Expr]:
    """Return Newcombe's 95 % interval of the difference of two independent shares, as two Float64 from -1 to 1.

    Args:
        first: a share and the ends of its Wilson interval.
        second: those of the share that is taken away.

    """
    (share, low, high), (other, other_low, other_high) = first, second
    difference = share - other
    return (
        difference - ((share - low).pow(2) + (other_high - other).pow(2)).sqrt(),
        difference + ((high - share).pow(2) + (other - other_low).pow(2)).sqrt(),
    )
