"""The code location: assets, jobs, schedules and resources, built from settings."""

import warnings
from collections.abc import Mapping

import dagster as dg

from ghost_pipeline.contracts.retention import require_removable
from ghost_pipeline.defs.activity import ACTIVITY_ASSETS
from ghost_pipeline.defs.benchmarks import BENCHMARK_ASSETS
from ghost_pipeline.defs.ghost import GHOST_ASSETS
from ghost_pipeline.defs.jobs import build_jobs, hourly_tables
from ghost_pipeline.defs.messages import MESSAGE_ASSETS
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.defs.operations import (
    OPERATIONS_ASSETS,
    RETENTION,
    publications,
    published_database,
    retention,
)
from ghost_pipeline.defs.partitions import Partitions
from ghost_pipeline.defs.published_postgres import published_postgres
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.release import RELEASE_ASSETS
from ghost_pipeline.defs.resources import build_resources
from ghost_pipeline.defs.run_records import build_pruning, build_pruning_schedule
from ghost_pipeline.defs.schedules import build_schedules
from ghost_pipeline.settings import Settings

# Both are part of every release since 1.5 and locked here; Dagster still calls their parameters beta.
for _parameter in ("backfill_policy", "include_sources"):
    warnings.filterwarnings("ignore", f"Parameter `{_parameter}`", dg.BetaWarning)

TABLE_ASSETS = (
    *RAW_ASSETS,
    *ACTIVITY_ASSETS,
    *GHOST_ASSETS,
    *RELEASE_ASSETS,
    *BENCHMARK_ASSETS,
    *MESSAGE_ASSETS,
    *NGRAM_ASSETS,
    *OPERATIONS_ASSETS,
)
"""Every table of the lake that has an asset."""


def build_defs(
    settings: Settings, loggers: Mapping[str, dg.LoggerDefinition] | None = None, *, allow_gaps: bool = False
) -> dg.Definitions:
    """The definitions for given settings; `loggers` replace Dagster's own, `allow_gaps` is of `RunContext`.

    Raises:
        SettingsError: a setting names what the tables have not.

    """
    require_removable(settings.retention)
    partitions = Partitions.from_settings(settings)
    published = [step.contract.name for step in TABLE_ASSETS if step.contract.published]
    jobs = build_jobs(TABLE_ASSETS, publications(settings))
    pruning = build_pruning(settings)
    return dg.Definitions(
        assets=[
            *(step.asset(partitions, settings.hours_per_run) for step in TABLE_ASSETS),
            retention(hourly_tables(TABLE_ASSETS), partitions, settings.hours_per_run),
            published_database([*published, RETENTION]),
            *([published_postgres()] if settings.publish_postgres else []),
        ],
        jobs=[*jobs.values(), pruning],
        schedules=[*build_schedules(settings), build_pruning_schedule(pruning)],
        resources=build_resources(settings, allow_gaps=allow_gaps),
        # A process per step costs 6 s and more for what takes a fraction of that here.
        executor=dg.in_process_executor,
        loggers=loggers,
    )


defs = build_defs(Settings.load())
