"""Stretches of hours: how long they are follows from how long the one before took."""

import time
from datetime import UTC, datetime

import pytest

from ghost_pipeline.defs.stretches import SECONDS_HELD, stretches
from ghost_pipeline.incremental.stale_ledger import MARKED_TOGETHER
from ghost_pipeline.windows import HOUR, hours

BEGIN = datetime(2025, 3, 12, tzinfo=UTC)
WINDOW = list(hours(BEGIN, BEGIN + 60 * HOUR))


@pytest.mark.parametrize(
    ("seconds_an_hour", "sizes"),
    [
        (0.0, [1, MARKED_TOGETHER, MARKED_TOGETHER, 60 - 1 - 2 * MARKED_TOGETHER]),
        (SECONDS_HELD / 10, [1, *[10] * 5, 9]),
        (2 * SECONDS_HELD, [1] * 60),
    ],
)
def test_a_stretch_takes_a_minute(monkeypatch: pytest.MonkeyPatch, seconds_an_hour: float, sizes: list[int]) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    found = []
    for some in stretches(WINDOW):
        found.append(list(some))
        now += len(some) * seconds_an_hour
    assert [len(some) for some in found] == sizes
    assert [hour for some in found for hour in some] == WINDOW
