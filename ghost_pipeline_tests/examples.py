"""How many random examples a costly property draws: a few for every change, many for `make test-long`."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ALL = "GHOST_ALL_EXAMPLES" in os.environ


def examples(few: int, many: int, *, suppress: tuple[HealthCheck, ...] = ()) -> Callable[[Any], Any]:
    """Let a test draw `few` examples, and `many` where `GHOST_ALL_EXAMPLES` is set."""
    chosen = settings(max_examples=many if ALL else few, deadline=None, suppress_health_check=suppress)
    return lambda test: pytest.mark.examples(chosen(test))
