"""The code location: what Dagster loads, built from settings. Its parts are in `defs/`, one module per concept."""

import warnings
from collections.abc import Mapping

import dagster as dg

from ghost_pipeline.contracts.retention import require_removable
from ghost_pipeline.defs.activity import ACTIVITY_ASSETS
from ghost_pipeline.defs.benchmarks import BENCHMARK_ASSETS, KEPT_ASSETS
from ghost_pipeline.defs.catalogue import catalogued
from ghost_pipeline.defs.external_assets import consumers, source_tables
from ghost_pipeline.defs.freshness import freshness_sensor
from ghost_pipeline.defs.ghost import GHOST_ASSETS
from ghost_pipeline.defs.jobs import build_jobs, hourly_tables
from ghost_pipeline.defs.messages import MESSAGE_ASSETS
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.defs.operations import OPERATIONS_ASSETS
from ghost_pipeline.defs.partitions import Partitions
from ghost_pipeline.defs.publishing import (
    PUBLISHED_DATABASE,
    PUBLISHED_POSTGRES,
    publications,
    published_database,
    published_postgres,
)
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.reconciling import build_reconciling
from ghost_pipeline.defs.release import RELEASE_ASSETS
from ghost_pipeline.defs.resources import build_resources
from ghost_pipeline.defs.retention import RETENTION, retention
from ghost_pipeline.defs.run_records import build_pruning
from ghost_pipeline.defs.schedules import build_schedules
from ghost_pipeline.defs.sensors import build_sensors
from ghost_pipeline.settings import Settings

# All are part of every release since 1.8 and locked here; Dagster still calls them beta.
for _beta in (
    *("Parameter `backfill_policy`", "Parameter `include_sources`"),
    *("Class `LocalFileCodeReference`", "Class `CodeReferencesMetadataValue`"),
):
    warnings.filterwarnings("ignore", _beta, dg.BetaWarning)
warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)

TABLE_ASSETS = (
    *RAW_ASSETS,
    *ACTIVITY_ASSETS,
    *GHOST_ASSETS,
    *RELEASE_ASSETS,
    *BENCHMARK_ASSETS,
    *KEPT_ASSETS,
    *MESSAGE_ASSETS,
    *NGRAM_ASSETS,
    *OPERATIONS_ASSETS,
)
"""Every table of the lake that has an asset."""


def build_defs(
    settings: Settings, loggers: Mapping[str, dg.LoggerDefinition] | None = None, *, allow_gaps: bool = False
) -> dg.Definitions:
    """Return the definitions for given settings.

    Args:
        settings: the validated settings.
        loggers: used in place of Dagster's own.
        allow_gaps: publish event tables even if hours are missing (used by erasure).

    Raises:
        SettingsError: a setting names a table or a column that does not exist.

    """
    require_removable(settings.retention)
    partitions = Partitions.from_settings(settings)
    published = [table.contract.name for table in TABLE_ASSETS if table.contract.published]
    return dg.Definitions.merge(
        dg.Definitions(
            assets=catalogued(
                [
                    *source_tables(settings),
                    *(table.asset(partitions, settings.hours_per_run) for table in TABLE_ASSETS),
                    retention(hourly_tables(TABLE_ASSETS), partitions, settings.hours_per_run),
                    published_database([*published, RETENTION], allow_gaps=allow_gaps),
                    *([published_postgres()] if settings.publish_postgres else []),
                    *consumers(settings, PUBLISHED_DATABASE, PUBLISHED_POSTGRES),
                ],
                TABLE_ASSETS,
                settings,
            ),
            schedules=build_schedules(settings),
            sensors=[
                *build_sensors(TABLE_ASSETS, settings),
                freshness_sensor([table.contract for table in TABLE_ASSETS if table.contract.has_age]),
            ],
            resources=build_resources(settings),
            # A process per step would cost 6 s and more, a multiple of the work itself.
            executor=dg.in_process_executor,
            loggers=loggers,
        ),
        build_jobs(TABLE_ASSETS, publications(settings)),
        build_pruning(settings),
        build_reconciling(settings, TABLE_ASSETS),
    )


defs = build_defs(Settings.load())
