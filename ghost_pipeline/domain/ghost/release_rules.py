"""The thresholds of a release, and who it may be about (G9)."""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ghost_pipeline.settings import Settings

STRICT_STEP = 5
STRICT_MIN_MEMBERS_PERCENTILES = 50

ACTIVE, LAST = pl.col("is_active_member"), pl.col("_last")
POPULATIONS = (ACTIVE, ACTIVE | LAST, ACTIVE & LAST, LAST)
"""Whom a release may be about, in the order in which they are tried (G9.3d): active members; also those of the last
release who have fallen silent since; those of the last release who are still active; those of the last release. All of
them are members now. So who joins or falls silent waits until enough have changed together."""


@dataclass(frozen=True)
class ReleaseRules:
    """The thresholds of G9, as the settings of the same names describe them."""

    min_members: int
    min_members_percentiles: int
    max_share_percent: int
    min_changed: int
    compared: timedelta
    stay: timedelta
    strict: bool

    @classmethod
    def of(cls, settings: Settings) -> "ReleaseRules":
        """Take the thresholds from the settings."""
        return cls(
            min_members=settings.release_min_members,
            min_members_percentiles=settings.release_min_members_percentiles,
            max_share_percent=settings.release_max_share_percent,
            min_changed=settings.release_min_changed,
            compared=timedelta(hours=settings.release_compared_hours),
            stay=timedelta(hours=settings.release_stay_hours),
            strict=settings.release_profile == "strict",
        )

    @property
    def percentiles_from(self) -> int:
        """People whom a release needs to show what the top of them reach (G9.1, G9.6)."""
        least = self.min_members_percentiles
        return max(least, STRICT_MIN_MEMBERS_PERCENTILES) if self.strict else least
