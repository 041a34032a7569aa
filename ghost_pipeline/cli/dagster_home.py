"""The folder and the database of Dagster's records, and the environment that its commands need.

What runs in them is in `run`.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import DBAPIError

from ghost_pipeline.defs.event_storage import open_event_files
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.atomic import make_folder, replacing
from ghost_pipeline.settings import Settings

DAGSTER_YAML = """\
# Written once by ghost-pipeline; yours to change. deploy/dagster.yaml is the one for a server.
telemetry:
  enabled: false
# The invitation to a newsletter, which would cover the first page.
nux:
  enabled: false
# One run at a time builds hours and one builds months, however it was launched: every table is in the pool of its kind.
concurrency:
  runs:
    max_concurrent_runs: 4
  pools:
    granularity: run
    default_limit: 1
# Notices a run whose process is gone and gives its place to the next run.
run_launcher:
  module: ghost_pipeline.launcher
  class: WatchedRunLauncher
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  start_timeout_seconds: 300
  # Six hours; a backfill that takes longer in one run needs a smaller GHOST_HOURS_PER_RUN.
  max_runtime_seconds: 21600
# After a crash. A step that fails by itself, for example because the source cannot be reached, waits for the next hour.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
"""


def prepare_dagster_home(settings: Settings) -> Path:
    """Make the folder of Dagster's records: `DAGSTER_HOME` if it is set, otherwise one below the data folder.

    A missing folder gets a `dagster.yaml` that turns telemetry off. `DAGSTER_HOME` is set for this process and the
    processes it starts.

    Raises:
        LakeError: the folder cannot be written.

    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).absolute()
    config = home / "dagster.yaml"
    try:
        make_folder(home)
        if not config.exists():
            # Atomic: a partly written file would pass for the user's own configuration from then on.
            with replacing(home) as replacements:
                replacements.add(config).write_text(DAGSTER_YAML, encoding="utf-8")
    except OSError as error:
        raise LakeError(
            f"{home}: Dagster's records cannot be written ({error.strerror or error}). Set GHOST_DATA, "
            f"GHOST_WORK or DAGSTER_HOME to a writable folder, then run again",
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


@contextmanager
def dagster_records() -> Iterator[dg.DagsterInstance]:
    """Open Dagster's records in `DAGSTER_HOME`.

    Raises:
        LakeError: they cannot be read or written.

    """
    try:
        with dg.DagsterInstance.get() as instance, open_event_files(instance):
            yield instance
    except (sqlite3.Error, DBAPIError) as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise LakeError(
            f"{os.environ['DAGSTER_HOME']}: Dagster's records cannot be written ({reason}); what was there before "
            f"stays. Free some space there, or make it writable, then run again",
        ) from error


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The environment in which Dagster's own commands work on this data folder.

    If no source is set, it names the demo's source, if that exists, so that its next hours can be run from the UI.
    """
    environment = {
        "DAGSTER_HOME": str(prepare_dagster_home(settings)),
        # `dg dev`, which the warning recommends, needs some twenty more packages for the same processes.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
    demo_source = settings.local / "source"
    if settings.source is None and demo_source.is_dir():
        environment["GHOST_SOURCE"] = str(demo_source.absolute())
    return environment
