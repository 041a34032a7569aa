"""Stretches of hours for which a run holds the lock of a table."""

import time
from collections.abc import Iterator, Sequence

from ghost_pipeline.incremental.stale_ledger import MARKED_TOGETHER
from ghost_pipeline.windows import Hour

SECONDS_HELD = 60.0
"""How long another run of the table should wait; it gives up after ten minutes."""


def stretches(hours: Sequence[Hour]) -> Iterator[Sequence[Hour]]:
    """Cut the hours of a run into stretches that take a minute, judged by the one before; the first is one hour.

    A lock and a listing for each hour would cost a small product a fifth of the hour.
    """
    done, size = 0, 1
    while done < len(hours):
        begun = time.monotonic()
        yield hours[done : done + size]
        seconds = (time.monotonic() - begun) / size
        done += size
        size = max(1, min(MARKED_TOGETHER, int(SECONDS_HELD / max(seconds, 1e-3))))
