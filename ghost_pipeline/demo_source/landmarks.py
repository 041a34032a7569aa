"""Fixed points of the demo source that documentation, tests and the command name."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

DEMO_AS_OF: Final = datetime(2025, 3, 12, 12, tzinfo=UTC)
"""The clock of tests and documentation: the end of the demo's newest hour there."""

DAYS_AHEAD: Final = 31
"""Days after its own clock on which people of a demo that goes on still practise."""

DEMO_LEARNER: Final = "learner-00042"
"""Day 21 of the journey towards 7.5 from 5.7, in a healthy cohort, practised today, behind."""

DEMO_TYPIST: Final = "typist-0007"
"""Twelve sessions on one keyboard, the last one in the hour before `as_of`."""

DEMO_KEYBOARD: Final = "keyboard-0007-1"
"""The keyboard of `DEMO_TYPIST`."""

FULL_SIZE: Final = 6000
"""Number of learners for which the documented counts hold; other sizes scale them."""

ACHIEVERS: Final[Mapping[tuple[float, float], int]] = {
    (7.0, 5.0): 110,
    (7.0, 5.5): 190,
    (7.0, 6.0): 230,
    (7.0, 6.5): 160,
    (7.5, 5.0): 65,
    (7.5, 5.5): 110,
    (7.5, 6.0): 170,
    (7.5, 6.5): 190,
    (8.0, 5.0): 20,
    (8.0, 5.5): 60,
    (8.0, 6.0): 85,
    (8.0, 6.5): 120,
}
"""(band reached, starting skill) -> learners whose day 90 has ended when the month of `as_of` begins."""

DIRT: Final[Mapping[str, int]] = {
    "unknown task type": 5,
    "negative minutes": 4,
    "progress of an unknown user": 3,
    "repeated progress_id": 1,
    "diagnostic score of 9.5": 1,
    "unknown timezone": 1,
    "target of 20 ms": 1,
    "session on an unknown keyboard": 1,
}
"""Kind of dirt -> number of rows, at every size."""
