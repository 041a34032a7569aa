"""Running jobs in this process, with progress for the person who waits."""

import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from logging import Handler, Logger, LogRecord
from pathlib import Path
from typing import TextIO

import dagster as dg

from ghost_pipeline.assets.operations import PUBLISHED_DATABASE
from ghost_pipeline.definitions import STEPS, build_defs
from ghost_pipeline.errors import LakeError, UnknownTimeError
from ghost_pipeline.jobs import HOURLY, MONTHLY
from ghost_pipeline.partitions import Partitions
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import halves, require_half
from ghost_pipeline.tables.contract import Layer, Partitioning
from ghost_pipeline.tables.ghost import GHOST_MESSAGES
from ghost_pipeline.tables.raw import SOURCE_TABLES, Half
from ghost_pipeline.windows import Hour, Month

PROGRESS = "progress"
DAGSTER_YAML = """\
# Written once by ghost-pipeline; yours to change.
telemetry:
  enabled: false
# The invitation to a newsletter that would lie over the first page.
nux:
  enabled: false
"""


def prepare_dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's records: `DAGSTER_HOME` where it is set, else one below the data folder.

    It is made where it is missing, with a `dagster.yaml` that turns telemetry off, and `DAGSTER_HOME` is set
    for this process and the ones it starts.

    Raises:
        LakeError: it cannot be written.

    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.dagster_home).absolute()
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not config.exists():
            config.write_text(DAGSTER_YAML, encoding="utf-8")
    except OSError as error:
        raise LakeError(
            f"{home}: Dagster's records cannot be written ({error.strerror or error}). Set GHOST_DATA, or "
            f"DAGSTER_HOME, to a folder that can be written, then run again",
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The environment in which Dagster's own commands work on this data folder.

    Without a source the one of the demo is taken, where it is there, so that its next hours can be run from the UI.
    """
    environment = {
        "DAGSTER_HOME": str(prepare_dagster_home(settings)),
        # `dg dev`, which it recommends, brings some twenty further packages for the same processes.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
    generated = settings.data / "source"
    if settings.source is None and generated.is_dir():
        environment["GHOST_SOURCE"] = str(generated.absolute())
    return environment


def materialize(settings: Settings, as_of: datetime, chosen: Half | None = None, *, out: TextIO = sys.stderr) -> None:
    """Materialize the hour that ends at `as_of` and the newest complete month before it, then publish.

    Args:
        settings: where from and where to.
        as_of: the end of the hour, aware, on a full hour.
        chosen: only this half; without it, the halves that the source has.
        out: where progress is written.

    Raises:
        GhostError: what went wrong, in one line; what was published before stays.

    """
    hour, month = Hour.ending_at(as_of), Month.newest_complete(as_of)
    settings = _reaching(settings, min(hour.start, month.start))
    _require_closed(settings, hour)
    source = open_source(settings.source)
    if chosen:
        require_half(source, chosen)
    selected = {chosen} if chosen else halves(source)
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: _progress_logger(out)})
    with dg.DagsterInstance.get() as instance:
        out.write(f"hour {hour.key}\n")
        of_hour = selection(selected, monthly=False)
        _run(defs, instance, HOURLY, hour.key, [name for name in of_hour if name != GHOST_MESSAGES.name])
        if Half.GHOST in selected:
            out.write(f"month {month.key}\n")
            _run(defs, instance, MONTHLY, month.key, selection(selected, monthly=True))
            # They show figures of the month, which needs what the hour has taken in.
            out.write(f"hour {hour.key}\n")
            _run(defs, instance, HOURLY, hour.key, [GHOST_MESSAGES.name])


def materialize_hours(settings: Settings, ends: Sequence[datetime], half: Half, *, out: TextIO = sys.stderr) -> None:
    """Materialize the hours that end at `ends`, in that order, for one half, without publishing.

    Raises:
        GhostError: what went wrong, in one line.

    """
    hours = [Hour.ending_at(end) for end in ends]
    settings = _reaching(settings, min(hour.start for hour in hours))
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: _progress_logger(out)})
    tables = [name for name in selection({half}, monthly=False) if name != PUBLISHED_DATABASE]
    with dg.DagsterInstance.get() as instance:
        for hour in hours:
            _require_closed(settings, hour)
            out.write(f"hour {hour.key}\n")
            _run(defs, instance, HOURLY, hour.key, tables)


def _reaching(settings: Settings, start: datetime) -> Settings:
    """Settings whose partitions reach back to `start`, for hours before `GHOST_PARTITIONS_START`."""
    if settings.partitions_start <= start:
        return settings
    return settings.model_copy(update={"partitions_start": Month.containing(start).start})


def _require_closed(settings: Settings, hour: Hour) -> None:
    if not Partitions.from_settings(settings).hourly.has_partition_key(hour.key):
        raise UnknownTimeError(
            f"hour {hour.key}: has not ended yet, and Dagster runs an hour when it is over. Name an earlier --as-of",
        )


def selection(chosen: set[Half], *, monthly: bool) -> list[str]:
    """The assets of the hourly or the monthly job that the chosen halves need."""
    layers = {Half.GHOST: Layer.GHOST, Half.NGRAMS: Layer.NGRAMS}
    names = []
    for step in STEPS:
        contract = step.contract
        table = SOURCE_TABLES.get(contract.name)
        wanted = (
            contract.layer is Layer.OPERATIONS
            or (table is not None and (table.half is None or table.half in chosen))
            or (table is None and any(layers[half] is contract.layer for half in chosen))
        )
        if wanted and (contract.partitioning is Partitioning.MONTH) == monthly:
            names.append(contract.name)
    return [*names, PUBLISHED_DATABASE]


def _run(defs: dg.Definitions, instance: dg.DagsterInstance, job: str, partition: str, selection: list[str]) -> None:
    defs.resolve_job_def(job).execute_in_process(
        partition_key=partition,
        asset_selection=[dg.AssetKey(name) for name in selection],
        instance=instance,
        run_config={"loggers": {PROGRESS: {}}},
    )


def _progress_logger(out: TextIO) -> dg.LoggerDefinition:
    """A Dagster logger that prints a line for every materialized table instead of every event."""

    @dg.logger
    def progress(_context: dg.InitLoggerContext) -> Logger:
        # Not registered: a second run of the process would find the first one's handler on it.
        logger = Logger(PROGRESS)  # noqa: LOG001
        logger.addHandler(_ProgressHandler(out))
        return logger

    return progress


class _ProgressHandler(Handler):
    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self.out, self.since = out, time.monotonic()

    def emit(self, record: LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is None or not event.is_step_materialization:
            return
        materialization = event.step_materialization_data.materialization
        counts = {name: value.value for name, value in materialization.metadata.items()}
        rows = counts.get("rows_read_in_window", counts.get("dagster/partition_row_count"))
        verb = "read" if "rows_read_in_window" in counts else "rows"
        seconds, self.since = time.monotonic() - self.since, time.monotonic()
        shown = " " * 15 if rows is None else f"{rows:>10,} {verb}"
        self.out.write(f"  {materialization.asset_key.to_user_string():<30}{shown}{seconds:7.1f} s\n")
        self.out.flush()
