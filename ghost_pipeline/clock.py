"""The wall clock: the one place that asks what time it is.

Monitoring, tokens and the date of an erasure use it. No figure does: figures depend on `as_of` alone (G1.1, G7.7).
"""

import time
from datetime import UTC, datetime


def wall_clock() -> datetime:
    """The time of day, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 - the place that the message names
