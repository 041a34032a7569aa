"""The folder and the database of Dagster's records, and the environment that its commands need.

What runs in them is in `run`. Imports Dagster only where records are opened: it takes longer than all that a command
without them does.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ghost_pipeline.errors import LakeError, SettingsError
from ghost_pipeline.lake.atomic import make_folder, replacing
from ghost_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

LONGEST_REASON = 200
"""Characters of Dagster's message about a wrong `dagster.yaml`, which may have a hundred lines."""
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
def dagster_records() -> Iterator["dg.DagsterInstance"]:
    """Open Dagster's records in `DAGSTER_HOME`, to write to them.

    Raises:
        SettingsError: `dagster.yaml` is wrong.
        LakeError: they cannot be read or written.

    """
    from sqlalchemy.exc import DBAPIError

    from ghost_pipeline.defs.event_storage import open_event_files

    home = Path(os.environ["DAGSTER_HOME"])
    try:
        with _opened(home) as instance, open_event_files(instance):
            yield instance
    except (sqlite3.Error, DBAPIError) as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise LakeError(
            f"{home}: Dagster's records cannot be written ({reason}); what was there before stays. Free some space "
            f"there, or make it writable, then run again",
        ) from error


@contextmanager
def records_if_any(settings: Settings) -> Iterator["dg.DagsterInstance | None"]:
    """Open Dagster's records to read them; None if Dagster has not run yet.

    Raises:
        SettingsError: `DAGSTER_HOME` names no folder, or `dagster.yaml` is wrong.
        LakeError: they cannot be read.

    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(named or settings.dagster_home).absolute()
    if named and not home.is_dir():
        raise SettingsError(f"DAGSTER_HOME: {home} is no folder. Name the folder of Dagster's records, or unset it")
    if not named and not (home / "dagster.yaml").exists():
        yield None
        return
    from sqlalchemy.exc import DBAPIError

    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with _opened(home) as instance:
            yield instance
    except (sqlite3.Error, DBAPIError) as error:
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise LakeError(f"{home}: Dagster's records cannot be read ({reason})") from error


@contextmanager
def _opened(home: Path) -> Iterator["dg.DagsterInstance"]:
    import dagster as dg
    import yaml
    from dagster_shared.check import CheckError

    try:
        instance = dg.DagsterInstance.get()
    except (dg.DagsterError, CheckError, yaml.YAMLError, ImportError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"{home / 'dagster.yaml'}: {reason[:LONGEST_REASON]}{'…' if len(reason) > LONGEST_REASON else ''}. Correct "
            f"it, or move it away: the next run writes a new one"
        ) from error
    with instance:
        yield instance


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The environment in which Dagster's own commands work on this data folder.

    If no source is set, it names the demo's source, if that exists, so that its next hours can be run from the UI.
    """
    environment = {"DAGSTER_HOME": str(prepare_dagster_home(settings))}
    demo_source = settings.local / "source"
    if settings.source is None and demo_source.is_dir():
        environment["GHOST_SOURCE"] = str(demo_source.absolute())
    return environment
