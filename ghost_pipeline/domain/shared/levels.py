"""The rule of levels: what lies outside the three largest must weigh against the two largest (G9.2).

It judges what people hold and, just as well, the differences between two publications (G9.3, G9.7).
"""

from collections.abc import Sequence
from typing import Any

LARGEST = 3
"""The two largest, and the reader, who may be one of the three and takes the own part away."""


def levels_hold(total: Any, largest: Sequence[Any], max_share_percent: int, *, blur: Any = 0) -> Any:  # noqa: ANN401 - numbers, arrays or expressions
    """Return whether the people outside the three largest hold enough beside the two largest.

    Two may hold `max_share_percent` of what is left after the third of the three largest has been taken away: with 90,
    the others need a ninth of what the two hold. A sum of 0 passes.

    Args:
        total: the sum of all values or absolute differences: an int, an array, or a polars expression.
        largest: the `LARGEST` largest of them, the largest first; 0 if there are fewer.
        max_share_percent: the largest share of the two, in percent.
        blur: what rounding of the published figure hides; it counts to the others.

    Returns:
        A bool, or an array or expression of them.

    """
    first, second, third = largest
    two = first + second
    others = total - two - third + blur
    return others * max_share_percent >= two * (100 - max_share_percent)
