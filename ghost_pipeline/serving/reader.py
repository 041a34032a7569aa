"""`GhostReader`: everything that people may see, for Python, the command line and HTTP alike."""

from collections.abc import Collection
from datetime import datetime

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_queries import LOOKBACK_DISTANCE, MIN_OCCURRENCES
from ghost_pipeline.serving.learners import Learners
from ghost_pipeline.serving.responses import ExtendedGhostData
from ghost_pipeline.serving.typists import Typists


class GhostReader(Learners, Typists):
    """Answers from the newest publication and picks up new ones without a restart. Safe to use from threads.

    A question has one name: the method, the command (with - for _) and the last part of the HTTP route, and the same
    parameters. Methods with another name are kept for earlier callers and for the specification's.
    """

    heat_map = Typists.heatmap
    ngram_trend = Typists.trend

    def extended_ghost_data(self, user_id: str, as_of: datetime | None = None) -> ExtendedGhostData:
        """Same as `ghost_data` with `extended=True`."""
        return self.ghost_data(user_id, as_of, extended=True)

    def slowest_n(
        self,
        n: int,
        keyboard_id: str,
        user_id: str,
        ngram_sizes: Collection[int] | None = None,
        included_keys: Collection[str] | None = None,
        min_occurrences: int = MIN_OCCURRENCES,
        *,
        focus_on_speed_target: bool = False,
    ) -> pl.DataFrame:
        """Same as `slowest`, by the specification's name and order of arguments (N4.2)."""
        return self.slowest(
            user_id,
            keyboard_id,
            n,
            ngram_sizes=ngram_sizes,
            included_keys=included_keys,
            min_occurrences=min_occurrences,
            focus_on_speed_target=focus_on_speed_target,
        )

    def error_n(
        self,
        n: int,
        keyboard_id: str,
        user_id: str,
        ngram_sizes: Collection[int] | None = None,
        included_keys: Collection[str] | None = None,
        lookback_distance: int = LOOKBACK_DISTANCE,
    ) -> pl.DataFrame:
        """Same as `errors`, by the specification's name and order of arguments (N4.3)."""
        return self.errors(
            user_id,
            keyboard_id,
            n,
            ngram_sizes=ngram_sizes,
            included_keys=included_keys,
            lookback_distance=lookback_distance,
        )
