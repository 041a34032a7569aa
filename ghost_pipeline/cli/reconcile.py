"""`ghost-pipeline reconcile`: brings Dagster's records to the lake."""

from ghost_pipeline.cli.dagster_home import dagster_records, prepare_dagster_home
from ghost_pipeline.cli.progress import NO_PROGRESS, Progress
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.freshness import report_freshness
from ghost_pipeline.defs.reconciling import Differences, find_differences, reconcile
from ghost_pipeline.incremental.contract_changes import open_current
from ghost_pipeline.settings import Settings


def reconcile_records(settings: Settings, *, progress: Progress = NO_PROGRESS) -> Differences:
    """Report to Dagster what only the lake has, let it forget what the lake no longer has, and report what is late.

    Raises:
        LakeError: the lake cannot be read, or Dagster's records cannot be written.

    """
    prepare_dagster_home(settings)
    lake, now = open_current(settings.lake, progress.say), wall_clock()
    with dagster_records() as instance:
        progress.working_on("comparing Dagster's records with the lake")
        found = find_differences(instance, lake, settings, TABLE_ASSETS, now)
        progress.say(f"Dagster's records: {found.summary}")
        reconcile(instance, found, now)
        contracts = [table.contract for table in TABLE_ASSETS if table.contract.has_age]
        report_freshness(instance, lake, contracts, now)
    return found
