"""Summaries with the defaults of the settings, for tests that vary one limit or none."""

from datetime import datetime
from typing import TypedDict, Unpack

import polars as pl

from ghost_pipeline.domain.ngrams import ngram_speed_summaries as domain
from ghost_pipeline.settings import Settings

_DEFAULTS = Settings(_env_file=None)


class SomeLimits(TypedDict, total=False):
    """Limits that a test chooses itself."""

    decay_factor: float
    max_measurements: int
    max_sessions: int
    default_target_ms: float


def ngram_speed_summaries(
    practice_sessions: pl.LazyFrame,
    session_ngram_speed: pl.LazyFrame,
    keyboards: pl.LazyFrame,
    as_of: datetime,
    **chosen: Unpack[SomeLimits],
) -> pl.LazyFrame:
    """Summarise as the product does without settings."""
    limits: domain.SummaryLimits = {
        "decay_factor": _DEFAULTS.decay_factor,
        "max_measurements": _DEFAULTS.max_measurements,
        "max_sessions": _DEFAULTS.max_sessions,
        "default_target_ms": _DEFAULTS.default_target_ms,
        **chosen,
    }
    return domain.ngram_speed_summaries(practice_sessions, session_ngram_speed, keyboards, as_of, **limits)
