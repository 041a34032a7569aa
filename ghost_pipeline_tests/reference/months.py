"""Monthly tables from all users at once, and the steps of the domain with the default settings."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

import polars as pl

from ghost_pipeline.domain.ghost.benchmarks import (
    achievers,
)
from ghost_pipeline.domain.ghost.benchmarks import (
    benchmark_counts as counting,
)
from ghost_pipeline.domain.ghost.benchmarks import (
    ghost_benchmarks as benchmarking,
)
from ghost_pipeline.domain.ghost.benchmarks import (
    ghost_fastest_improvers as improving,
)
from ghost_pipeline.domain.ghost.benchmarks import (
    ghost_streak_shares as sharing,
)
from ghost_pipeline.domain.ghost.benchmarks.achiever_practice import achiever_practice
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import POPULATIONS
from ghost_pipeline.domain.ghost.ghost_figures import FigureLimits
from ghost_pipeline.domain.ghost.release_rules import ReleaseRules
from ghost_pipeline.settings import Settings

DEFAULTS = Settings.model_construct()
"""The defaults of the settings, whatever the environment says."""
RULES, LIMITS = ReleaseRules.of(DEFAULTS), FigureLimits.of(DEFAULTS)
DEFAULT_BANDS, DEFAULT_STARTS, DEFAULT_DAYS = DEFAULTS.bands, DEFAULTS.starting_skills, DEFAULTS.benchmark_days
DEFAULT_PERCENTILES, DEFAULT_MIN_SAMPLE = DEFAULTS.success_percentiles, DEFAULTS.min_sample
DEFAULT_THRESHOLDS = DEFAULTS.streak_thresholds

starting_skill = partial(achievers.starting_skill, DEFAULT_STARTS)


def benchmark_counts(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal] = DEFAULT_BANDS,
    starts: Sequence[Decimal] = DEFAULT_STARTS,
    days: int = DEFAULT_DAYS,
) -> pl.DataFrame:
    """The counts of users from their events."""
    practice = achiever_practice(users, progress, as_of, bands=bands, starts=starts, days=days)
    return counting.benchmark_counts(practice, bands=bands, starts=starts, days=days)


finish_benchmarks = partial(
    benchmarking.finish_benchmarks,
    bands=DEFAULT_BANDS,
    starts=DEFAULT_STARTS,
    percentiles=DEFAULT_PERCENTILES,
    min_sample=DEFAULT_MIN_SAMPLE,
)
benchmark_means = partial(
    benchmarking.benchmark_means,
    bands=DEFAULT_BANDS,
    starts=DEFAULT_STARTS,
    min_sample=DEFAULT_MIN_SAMPLE,
    max_share_percent=RULES.max_share_percent,
)


finish_streak_shares = partial(
    sharing.finish_streak_shares,
    bands=DEFAULT_BANDS,
    starts=DEFAULT_STARTS,
    thresholds=DEFAULT_THRESHOLDS,
    min_sample=DEFAULT_MIN_SAMPLE,
)
improvers = partial(improving.improvers, bands=DEFAULT_BANDS, starts=DEFAULT_STARTS)


def finish_fastest_improvers(
    parts: pl.LazyFrame, as_of: datetime, *, min_sample: int = DEFAULT_MIN_SAMPLE
) -> pl.LazyFrame:
    """The table from the improvers of all users."""
    return improving.finish_fastest_improvers(improving.fastest_quarter(parts), as_of, min_sample=min_sample)


benchmark_day = partial(benchmarking.benchmark_day, days=DEFAULT_DAYS)
benchmark_target_band = partial(benchmarking.benchmark_target_band, default=DEFAULTS.default_target_band)
next_streak_threshold = partial(sharing.next_streak_threshold, thresholds=DEFAULT_THRESHOLDS)


def ghost_benchmarks(  # noqa: PLR0913 - three inputs and the settings of G5.2
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal] = DEFAULT_BANDS,
    starts: Sequence[Decimal] = DEFAULT_STARTS,
    days: int = DEFAULT_DAYS,
    percentiles: Sequence[int] = DEFAULT_PERCENTILES,
    min_sample: int = DEFAULT_MIN_SAMPLE,
    populations: Sequence[str] = POPULATIONS,
) -> pl.LazyFrame:
    """The benchmarks of the month that ends at `as_of`, from all users at once.

    The same as `finish_benchmarks` of the merged `benchmark_counts` of any shards of the users, which
    says what is returned.
    """
    counts = benchmark_counts(users, progress, as_of, bands=bands, starts=starts, days=days)
    return finish_benchmarks(
        counts,
        as_of,
        bands=bands,
        starts=starts,
        percentiles=percentiles,
        min_sample=min_sample,
        populations=populations,
    )


def ghost_streak_shares(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal] = DEFAULT_BANDS,
    starts: Sequence[Decimal] = DEFAULT_STARTS,
    thresholds: Sequence[int] = DEFAULT_THRESHOLDS,
    min_sample: int = DEFAULT_MIN_SAMPLE,
) -> pl.LazyFrame:
    """The shares of the month that ends at `as_of`, from all users at once.

    The same as `finish_streak_shares` of the merged `streak_counts` of any shards of the users, which says
    what is returned.
    """
    people = sharing.streak_people(users, progress, as_of, bands=bands)
    return finish_streak_shares(
        sharing.streak_counts(people, bands=bands, starts=starts),
        as_of,
        bands=bands,
        starts=starts,
        thresholds=thresholds,
        min_sample=min_sample,
    )


def ghost_fastest_improvers(
    users: pl.LazyFrame,
    progress: pl.LazyFrame,
    as_of: datetime,
    *,
    bands: Sequence[Decimal] = DEFAULT_BANDS,
    starts: Sequence[Decimal] = DEFAULT_STARTS,
    min_sample: int = DEFAULT_MIN_SAMPLE,
) -> pl.LazyFrame:
    """The table of the month that ends at `as_of`, from all users at once.

    The same as `finish_fastest_improvers` of the concatenated `improvers` of any shards of the users,
    which says what is returned.
    """
    parts = improvers(users, progress, as_of, bands=bands, starts=starts)
    return finish_fastest_improvers(parts, as_of, min_sample=min_sample)
