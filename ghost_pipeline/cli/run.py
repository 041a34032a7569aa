"""Running jobs in this process, with progress for the person who waits."""

import os
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from logging import Handler, Logger, LogRecord
from pathlib import Path
from typing import TextIO

import dagster as dg
from sqlalchemy.exc import DBAPIError

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Layer, Partitioning
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_DATA,
    COHORT_GHOST_RELEASE,
    GHOST_BENCHMARKS,
    GHOST_MESSAGES,
    USER_GHOST_STATS,
)
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.launcher import PROCESS, this_process
from ghost_pipeline.defs.operations import PUBLISHED_DATABASE, RETENTION, publications
from ghost_pipeline.defs.partitions import SOURCE_FROM, Partitions, chunks, range_tags
from ghost_pipeline.defs.retained_hours import hours_within_retention
from ghost_pipeline.defs.table_asset import RunContext
from ghost_pipeline.errors import LakeError, UnknownTimeError
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.ingest.dependents import NGRAM_SNAPSHOTS
from ghost_pipeline.lake.atomic import replacing
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import domains, require_domain
from ghost_pipeline.windows import Hour, Month, hours

PROGRESS = "progress"
SECONDS_OF_SILENCE = 3.0
"""After so long, a run over many hours says where it is."""
_OF_HOUR = re.compile(r"(\S+) (\S+): (\d+) rows")
"""What a step says of each hour of many."""
AT_THE_END = (RETENTION, PUBLISHED_DATABASE)
"""What looks over all tables."""
DAGSTER_YAML = """\
# Written once by ghost-pipeline; yours to change. deploy/dagster.yaml is the one for a server.
telemetry:
  enabled: false
# The invitation to a newsletter that would lie over the first page.
nux:
  enabled: false
# One run at a time builds hours and one builds months, whoever launched it: every table is in the pool of its kind.
concurrency:
  runs:
    max_concurrent_runs: 4
  pools:
    granularity: run
    default_limit: 1
# A run whose process is gone is noticed, and its place given to the next.
run_launcher:
  module: ghost_pipeline.launcher
  class: WatchedRunLauncher
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  start_timeout_seconds: 300
  # Six hours; a backfill that takes longer in one run needs a smaller GHOST_HOURS_PER_RUN.
  max_runtime_seconds: 21600
# After a crash. What fails by itself, such as a source that cannot be reached, is asked for again by the next hour.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
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
            # Whole or not at all: half of it would be taken for somebody's own.
            with replacing(home) as replacements:
                replacements.add(config).write_text(DAGSTER_YAML, encoding="utf-8")
    except OSError as error:
        raise LakeError(
            f"{home}: Dagster's records cannot be written ({error.strerror or error}). Set GHOST_DATA, "
            f"GHOST_WORK or DAGSTER_HOME to a folder that can be written, then run again",
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


@contextmanager
def _records() -> Iterator[dg.DagsterInstance]:
    """Dagster's records, of `DAGSTER_HOME`.

    Raises:
        LakeError: they cannot be read or written.

    """
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    except (sqlite3.Error, DBAPIError) as error:
        says = str(getattr(error, "orig", error)).partition("\n")[0]
        raise LakeError(
            f"{os.environ['DAGSTER_HOME']}: Dagster's records cannot be written ({says}); what was there before stays. "
            f"Free some space there, or make it writable, then run again",
        ) from error


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The environment in which Dagster's own commands work on this data folder.

    Without a source the one of the demo is taken, where it is there, so that its next hours can be run from the UI.
    """
    environment = {
        "DAGSTER_HOME": str(prepare_dagster_home(settings)),
        # `dg dev`, which it recommends, brings some twenty further packages for the same processes.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
    generated = settings.local / "source"
    if settings.source is None and generated.is_dir():
        environment["GHOST_SOURCE"] = str(generated.absolute())
    return environment


def materialize(settings: Settings, as_of: datetime, chosen: Domain | None = None, *, out: TextIO = sys.stderr) -> None:
    """Materialize the hour that ends at `as_of` and the newest complete month before it, then publish.

    Args:
        settings: where from and where to.
        as_of: the end of the hour, aware, on a full hour.
        chosen: only this domain; without it, every domain of the source.
        out: where progress is written.

    Raises:
        GhostError: what went wrong, in one line; what was published before stays.

    """
    hour, month = Hour.ending_at(as_of), Month.newest_complete(as_of)
    settings = _reaching(settings, min(hour.start, month.start))
    _require_closed(settings, hour)
    selected = _selected(settings, chosen)
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: _progress_logger(out)})
    with _records() as instance:
        out.write(f"hour {hour.key}\n")
        at_the_end = [GHOST_MESSAGES.name, RETENTION] if Domain.GHOST in selected else []
        of_hour = [name for name in _published(settings, selected, monthly=False) if name not in at_the_end]
        _run(defs, instance, HOURLY, hour.key, of_hour)
        if Domain.GHOST in selected:
            out.write(f"month {month.key}\n")
            _run(defs, instance, MONTHLY, month.key, _published(settings, selected, monthly=True))
            # They show figures of the month, which needs what the hour has taken in.
            out.write(f"hour {hour.key}\n")
            _run(defs, instance, HOURLY, hour.key, at_the_end)


def backfill(
    settings: Settings,
    start: datetime,
    end: datetime,
    chosen: Domain | None = None,
    *,
    everything: bool = False,
    out: TextIO = sys.stderr,
) -> None:
    """Read the source again for the hours of [start, end), and build those that are missing or stale, then publish.

    A run takes `GHOST_HOURS_PER_RUN` hours. What has been built when this is killed is not built again.

    Args:
        settings: where from and where to.
        start: the start of the first hour, aware, on a full hour.
        end: the end of the last one.
        chosen: only this domain; without it, every domain of the source.
        everything: build all of the hours, also those that are right.
        out: where progress is written.

    Raises:
        GhostError: what went wrong, in one line; what was published before stays.

    """
    window = list(hours(start, end))
    if not window:
        raise UnknownTimeError(f"backfill from {start:%Y-%m-%dT%H:%MZ} to {end:%Y-%m-%dT%H:%MZ}: holds no hour")
    first, last = window[0], window[-1]
    settings = _reaching(settings, Month.newest_complete(first.as_of).start)
    _require_closed(settings, last)
    selected = _selected(settings, chosen)
    prepare_dagster_home(settings)
    progress = {PROGRESS: _progress_logger(out)}
    of_hour = [name for name in selection(selected, monthly=False) if name not in AT_THE_END]
    source_tables = [name for name in of_hour if name in SOURCE_TABLES]
    derived_tables = [name for name in of_hour if name not in SOURCE_TABLES and name != GHOST_MESSAGES.name]
    lake = Lake(settings.lake)
    with _records() as instance:
        out.write(f"source {first.key} to {last.key}\n")
        # As far as the range reaches, in one go: the source has one state, and it is read once.
        longer = len(window) - 1 + settings.lookback_hours
        reading = build_defs(settings.model_copy(update={"lookback_hours": longer}), loggers=progress)
        _run(reading, instance, HOURLY, last.key, source_tables, {SOURCE_FROM: first.key})
        defs = build_defs(settings, loggers=progress)
        due = window if everything else _to_build(settings, lake, window, selected)
        out.write(f"{len(due)} of {len(window)} hours to build\n")
        for chunk in chunks(due, settings.hours_per_run):
            out.write(f"hours {chunk[0].key} to {chunk[-1].key}\n")
            _run(defs, instance, HOURLY, None, derived_tables, range_tags(chunk, last))
        if Domain.GHOST in selected:
            for month in _months(lake, window, due):
                out.write(f"month {month.key}\n")
                _run(defs, instance, MONTHLY, month.key, _unpublished(selection(selected, monthly=True)))
            for chunk in chunks(_to_tell(settings, lake, window, due), settings.hours_per_run):
                out.write(f"hours {chunk[0].key} to {chunk[-1].key}\n")
                _run(defs, instance, HOURLY, None, [GHOST_MESSAGES.name], range_tags(chunk, last))
        _run(defs, instance, HOURLY, last.key, [RETENTION, *publications(settings)])


def _to_build(settings: Settings, lake: Lake, window: Sequence[Hour], selected: set[Domain]) -> list[Hour]:
    """The hours of which a table is missing or stale that is written hour by hour; messages come after the months."""
    snapshots = {Domain.GHOST: (COHORT_GHOST_DATA, USER_GHOST_STATS), Domain.NGRAMS: NGRAM_SNAPSHOTS}
    of_range = RunContext(settings, lake, until=window[-1])
    kept = {one: set(hours_within_retention(of_range, one, window)) for domain in selected for one in snapshots[domain]}
    released = lake.newest_hour(COHORT_GHOST_RELEASE)
    stale = _stale(lake)
    there = {one: set(lake.written(one, window)) for one in kept}

    def is_due(hour: Hour) -> bool:
        # The ledger takes newer hours only: one that a killed run has not come to is still to be added.
        lacks_release = hour in kept.get(USER_GHOST_STATS, ()) and (released is None or hour > released)
        return lacks_release or any(
            hour in hours and (hour not in there[one] or (one.name, hour) in stale) for one, hours in kept.items()
        )

    return [hour for hour in window if is_due(hour)]


def _to_tell(settings: Settings, lake: Lake, window: Sequence[Hour], built: Sequence[Hour]) -> list[Hour]:
    """The hours whose messages are missing or stale, or of which anything was built anew."""
    if not settings.export_messages:
        return []
    stale = _stale(lake)
    kept = hours_within_retention(RunContext(settings, lake, until=window[-1]), GHOST_MESSAGES, window)
    told = set(lake.written(GHOST_MESSAGES, kept))
    return [
        hour
        for hour in lake.written(USER_GHOST_STATS, kept)
        if hour in built or hour not in told or (GHOST_MESSAGES.name, hour) in stale
    ]


def _stale(lake: Lake) -> set[tuple[str, Hour]]:
    return {(name, Hour.containing(start)) for name, start in stale_hours(lake).select("table", "hour").rows()}


def _months(lake: Lake, window: Sequence[Hour], due: Sequence[Hour]) -> list[Month]:
    """The months that the hours touch and that are over by the end of the last one, and the one before if missing."""
    before = Month.newest_complete(window[0].as_of)
    touched = {Month.containing(hour.start) for hour in due}
    wanted = {month for month in touched if month.as_of <= window[-1].as_of}
    return sorted(wanted | ({before} - set(lake.months(GHOST_BENCHMARKS))))


def _published(settings: Settings, chosen: set[Domain], *, monthly: bool) -> list[str]:
    return [*_unpublished(selection(chosen, monthly=monthly)), *publications(settings)]


def _unpublished(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != PUBLISHED_DATABASE]


def republish(settings: Settings, months: Sequence[Month] = (), *, out: TextIO = sys.stderr) -> None:
    """Publish the lake as it is, over gaps of its event tables; then compute months again and publish those.

    Raises:
        GhostError: what went wrong, in one line; what was published before it stays.

    """
    lake = Lake(settings.lake)
    hourly = {Partitioning.SNAPSHOT_HOUR, Partitioning.EVENT_HOUR, Partitioning.SEEN_HOUR}
    found = (lake.newest_hour(one) for one in CONTRACTS.values() if one.partitioning in hourly)
    newest = max((hour for hour in found if hour), default=None)
    if newest is None:
        return
    settings = _reaching(settings, min(newest.start, *(month.start for month in months), newest.start))
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: _progress_logger(out)}, allow_gaps=True)
    with _records() as instance:
        _run(defs, instance, HOURLY, newest.key, publications(settings))
        for month in months:
            out.write(f"month {month.key}\n")
            _run(defs, instance, MONTHLY, month.key, _unpublished(selection({Domain.GHOST}, monthly=True)))
        if months:
            _run(defs, instance, HOURLY, newest.key, publications(settings))


def materialize_hours(
    settings: Settings, ends: Sequence[datetime], domain: Domain, *, out: TextIO = sys.stderr
) -> None:
    """Materialize the hours that end at `ends`, in that order, for one domain, without publishing.

    Raises:
        GhostError: what went wrong, in one line.

    """
    hours = [Hour.ending_at(end) for end in ends]
    settings = _reaching(settings, min(hour.start for hour in hours))
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: _progress_logger(out)})
    tables = [name for name in selection({domain}, monthly=False) if name not in AT_THE_END]
    with _records() as instance:
        for hour in hours:
            _require_closed(settings, hour)
            out.write(f"hour {hour.key}\n")
            _run(defs, instance, HOURLY, hour.key, tables)


def _selected(settings: Settings, chosen: Domain | None) -> set[Domain]:
    """Return the chosen domain, or every domain of the source."""
    with closing(open_source(settings.source, settings.source_mapping)) as source:
        if chosen is None:
            return domains(source)
        require_domain(source, chosen)
        return {chosen}


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


def selection(chosen: set[Domain], *, monthly: bool) -> list[str]:
    """The assets of the hourly or the monthly job that the chosen domains need."""
    layers = {Domain.GHOST: Layer.GHOST, Domain.NGRAMS: Layer.NGRAMS}
    names = []
    for step in TABLE_ASSETS:
        contract = step.contract
        table = SOURCE_TABLES.get(contract.name)
        wanted = (
            contract.layer is Layer.OPERATIONS
            or (table is not None and (table.domain is None or table.domain in chosen))
            or (table is None and any(layers[domain] is contract.layer for domain in chosen))
        )
        if wanted and (contract.partitioning is Partitioning.MONTH) == monthly:
            names.append(contract.name)
    return [*names, PUBLISHED_DATABASE] if monthly else [*names, *AT_THE_END]


def _run(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    partition: str | None,
    selection: list[str],
    tags: Mapping[str, str] | None = None,
) -> None:
    """Run a job for a partition, or for the hours that `tags` name."""
    defs.resolve_job_def(job).execute_in_process(
        partition_key=partition,
        tags={**(tags or {}), PROCESS: this_process()},
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
    """A line for every table of a run; of one that takes many hours, a line every few seconds, too."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self.out, self.since, self.shown = out, time.monotonic(), time.monotonic()
        self.hours: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()

    def emit(self, record: LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is not None and event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            table = materialization.asset_key.to_user_string()
            if self.hours[table] > 1:
                self._write(f"{table} ({self.hours[table]} hours)", f"{self.rows[table]:>10,} rows")
                # The events of its other hours say the same.
                self.hours[table] = -self.hours[table] + 1
            elif self.hours[table] < 0:
                self.hours[table] += 1
            else:
                self._write_table(table, {name: value.value for name, value in materialization.metadata.items()})
        elif event is None and (found := _OF_HOUR.fullmatch(_said(record))):
            table, hour, rows = found.groups()
            self.hours[table] += 1
            self.rows[table] += int(rows)
            if time.monotonic() - self.shown > SECONDS_OF_SILENCE:
                self.shown = time.monotonic()
                self.out.write(f"    {table} {hour}\n")
                self.out.flush()

    def _write_table(self, table: str, counts: Mapping[str, object]) -> None:
        rows = counts.get("rows_read_in_window", counts.get("dagster/partition_row_count"))
        verb = "read" if "rows_read_in_window" in counts else "rows"
        self._write(table, " " * 15 if rows is None else f"{rows:>10,} {verb}")

    def _write(self, name: str, shown: str) -> None:
        seconds, self.since = time.monotonic() - self.since, time.monotonic()
        self.out.write(f"  {name:<30}{shown}{seconds:7.1f} s\n")
        self.out.flush()
        self.shown = time.monotonic()


def _said(record: LogRecord) -> str:
    """What a step said, without the names of run and step that Dagster puts before it."""
    told: Mapping[str, str] = getattr(record, "dagster_meta", {})
    return told.get("orig_message", "")
