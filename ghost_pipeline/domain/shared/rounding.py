"""Exact arithmetic as polars expressions: integers in, halves rounded away from zero (G3.3).

Everything is Int64: sums of milliseconds and counts come out the same in any order of rows and with any
number of threads, which a float mean does not. `Expr.round` (half to even unless told otherwise) and
`Expr.quantile` (nearest by default, float result) are deliberately not used.
"""

from decimal import Decimal

import polars as pl

_WIDEST = 38


def round_half_away(numerator: pl.Expr, denominator: pl.Expr | int) -> pl.Expr:
    """Return `numerator / denominator` as the nearest Int64, halves away from zero; null if dividing by 0.

    Exact for every Int64 numerator above -2**63 and every positive denominator below 2**63.
    """
    divisor = _int64(denominator)
    dividend = _int64(numerator)
    remainder = dividend.abs() % divisor
    # "remainder >= divisor - remainder" is "2 * remainder >= divisor" without the overflow.
    away = dividend.abs() // divisor + (remainder >= divisor - remainder).cast(pl.Int64)
    return away * dividend.sign()


def decimal_ratio(numerator: pl.Expr, denominator: pl.Expr | int, *, scale: int) -> pl.Expr:
    """Return `numerator / denominator` as Decimal(38, scale), halves away from zero; null if dividing by 0.

    Exact while `denominator * 10**scale` and `numerator / denominator * 10**scale` stay below 2**63,
    that is for scale 2 a positive denominator up to 9.2e16. Cast the result to the declared precision.
    """
    divisor = _int64(denominator)
    dividend = _int64(numerator)
    power = 10**scale
    # The whole part is split off, so that only the remainder is multiplied by the power of ten.
    whole = dividend.abs() // divisor
    fraction = round_half_away((dividend.abs() % divisor) * power, divisor)
    return decimal_units((whole * power + fraction) * dividend.sign(), scale=scale)


def decimal_units(units: pl.Expr, *, scale: int) -> pl.Expr:
    """Return an integer count of `10**-scale` as Decimal(38, scale), without going through floats."""
    number = units.cast(pl.Decimal(_WIDEST, 0))
    return (number * pl.lit(Decimal(1).scaleb(-scale))).cast(pl.Decimal(_WIDEST, scale))


def mean_decimal(total: pl.Expr, count: pl.Expr, *, unit: int = 1, scale: int) -> pl.Expr:
    """Return the mean of `count` values that sum to `total`, in units of `unit`, as Decimal(38, scale).

    With `unit=60_000` a total in milliseconds gives a mean in minutes. The limits are those of
    `decimal_ratio` with the denominator `count * unit`: for minutes to two decimals 1.5e12 values.
    """
    return decimal_ratio(total, _int64(count) * unit, scale=scale)


def percentile(column: str, percent: int, *, unit: int = 1) -> pl.Expr:
    """Return the `percent`-th percentile of an integer column in units of `unit`, as Int64 (G3.3).

    Linear interpolation at h = (n - 1) * percent / 100 over the sorted non-null values, then rounded
    half away from zero. Null over no values. To be used in `select` or `group_by().agg`. Exact while the
    values stay below 4.6e16 in absolute terms and `percent` is in 0 to 100.
    """
    values = pl.col(column).cast(pl.Int64).drop_nulls().sort()
    position = (pl.col(column).count().cast(pl.Int64) - 1) * percent
    low = values.get(position // 100, null_on_oob=True)
    # The upper neighbour of the largest value is the value itself: its weight is 0 then.
    high = values.get((position + 99) // 100, null_on_oob=True)
    return round_half_away(low * 100 + (high - low) * (position % 100), 100 * unit)


def _int64(value: pl.Expr | int) -> pl.Expr:
    return pl.lit(value, dtype=pl.Int64) if isinstance(value, int) else value.cast(pl.Int64)
