"""The settings that the figures of a month are computed with, and the version of the code that computes them."""

import json
from dataclasses import dataclass, fields
from decimal import Decimal
from hashlib import sha256
from typing import Self

from ghost_pipeline.settings import Settings

MONTHS_VERSION = 3
"""Raise it with every change of the code that changes a figure of a month: months of another version are stale."""


@dataclass(frozen=True)
class MonthRules:
    """Every setting that changes a figure of a month, under the setting's name.

    Whatever computes a month gets its settings from here, so the content hash covers them all. A setting that is not
    here, such as the number of shards, changes no figure.
    """

    bands: tuple[Decimal, ...]
    starting_skills: tuple[Decimal, ...]
    benchmark_days: int
    success_percentiles: tuple[int, ...]
    min_sample: int
    streak_thresholds: tuple[int, ...]
    share_percent_step: int
    release_min_members: int
    release_min_changed: int
    release_max_share_percent: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the rules that are set."""
        return cls(**{one.name: getattr(settings, one.name) for one in fields(cls)})

    @property
    def content_hash(self) -> str:
        """SHA-256 over the settings and the version of the code, as hexadecimal digits."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return sha256(json.dumps([MONTHS_VERSION, values], default=str, sort_keys=True).encode()).hexdigest()
