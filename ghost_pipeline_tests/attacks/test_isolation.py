"""What counts as isolated, in sums small enough to check by hand."""

import numpy as np
import pytest

from ghost_pipeline_tests.attacks.isolation import isolated

READERS = 50


@pytest.mark.parametrize(
    ("parts", "slack", "exact", "near"),
    [
        ([7], 0.4, True, True),
        ([7], 0.5, False, True),
        ([3, 3], 0.1, True, True),
        ([3, -3], 0.1, True, False),
        ([1, 1, 1], 0.1, False, False),
        ([304, 1, 1, 1], 0.2, False, True),
        ([40, 37, 1], 0.4, False, True),
        ([40, -37, 1], 0.4, False, False),
        ([40, 37, 5, 4], 0.4, False, False),
        ([7], 12.0, False, False),
        ([], 0.1, False, False),
    ],
)
def test_a_sum_tells_of_one_or_two(parts: list[int], slack: float, exact: bool, near: bool) -> None:  # noqa: FBT001
    row = np.array([[READERS, *parts, 0, 0]])
    found = isolated(row, np.array([slack]))
    assert (bool(found[0][0]), bool(found[1][0])) == (exact, near)
