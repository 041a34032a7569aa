"""Materialize, backfill and republish: Dagster's jobs, run in this process.

The hours that a backfill builds are found in `due`, what a run tells is in `progress` and `run_events`, and the folder
of Dagster's records is made by `dagster_home`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import dagster as dg

from ghost_pipeline.cli.dagster_home import dagster_records, prepare_dagster_home
from ghost_pipeline.cli.due import hours_to_build, hours_to_message, is_month_due, months_to_build, stale_partitions
from ghost_pipeline.cli.progress import NO_PROGRESS, Progress
from ghost_pipeline.cli.run_events import LOGGER, progress_logger
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Layer, Partitioning
from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.launcher import NOT_RETRIED, PROCESS, runs_of_location, this_process
from ghost_pipeline.defs.partitions import SOURCE_FROM, Partitions, chunks, partitions_start, range_tags
from ghost_pipeline.defs.publishing import PUBLISHED_DATABASE, publications
from ghost_pipeline.defs.retention import RETENTION
from ghost_pipeline.errors import NothingPublishedError, UnknownTimeError
from ghost_pipeline.incremental.contract_changes import open_current
from ghost_pipeline.incremental.retention import newest_snapshot
from ghost_pipeline.incremental.stale_months import is_current
from ghost_pipeline.ingest.newest_event import newest_event
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import domains, require_domain
from ghost_pipeline.windows import Hour, Month, hours

AT_THE_END = (RETENTION, PUBLISHED_DATABASE)
"""Assets that look at every table; they run once, after all others."""


def materialize(
    settings: Settings, as_of: datetime, chosen: Domain | None = None, *, progress: Progress = NO_PROGRESS
) -> None:
    """Materialize the hour that ends at `as_of` and publish; also the newest complete month, if missing or stale.

    A stale month is built only once it serves answers, `GHOST_BENCHMARK_DELAY_HOURS` after its end. An hour more than
    `GHOST_QUIET_HOURS` after the source's newest event is built in an empty lake only: it would empty what is shown.

    Args:
        settings: name the source and the data folder.
        as_of: the end of the hour, aware, on a full hour.
        chosen: only this domain; without it, every domain of the source.
        progress: what is told about the run.

    Raises:
        GhostError: the run failed, with the reason in one line; the previous publication stays.

    """
    hour, month = Hour.ending_at(as_of), Month.newest_complete(as_of)
    settings = _with_partitions_from(settings, min(hour.start, month.start))
    _require_ended(settings, hour)
    lake = open_current(settings.lake, progress.say)
    selected = _selected(settings, chosen)
    # A lake without anything shows nothing that could be emptied.
    newest = None if lake.is_empty else newest_event(lake, settings, hour)
    if newest and newest + settings.quiet <= hour.start:
        _say_skipped(progress, settings, hour, newest)
        return
    every = _with_publications(settings, selected, monthly=False)
    # Messages show figures of the month, which in turn needs the rows that the hour loads.
    of_months = (GHOST_MESSAGES.name, STALE_HOURS.name, STALE_MONTHS.name)
    at_the_end = [name for name in every if name in (*of_months, *AT_THE_END, *publications(settings))]

    def is_due() -> bool:
        return Domain.GHOST in selected and is_month_due(settings, lake, month, as_of)

    with _running(settings, progress) as runs:
        if is_due():
            runs.of_hour(hour, [name for name in every if name not in at_the_end])
            try:
                runs.of_month(month, _months_tables(selected))
            except Exception:
                # Whatever keeps the month from being built, the hour is published.
                runs.of_hour(hour, at_the_end)
                raise
            runs.of_hour(hour, at_the_end)
        else:
            runs.of_hour(hour, every)
            if is_due():
                # The hour has loaded events of the month.
                runs.of_month(month, _months_tables(selected))
                runs.of_hour(hour, at_the_end)
            elif Domain.GHOST in selected:
                why = (
                    "nothing changed" if is_current(lake, settings, month) else "stale, but does not serve answers yet"
                )
                progress.summary.skipped.append(f"month {month.key}: {why}")
    newest = newest_event(lake, settings, hour)
    if newest and newest <= hour.start:
        progress.say(
            f"warning: the source has nothing newer than {newest:%Y-%m-%dT%H:%MZ}; hour {hour.key} has no event"
        )


def _say_skipped(progress: Progress, settings: Settings, hour: Hour, newest: datetime) -> None:
    last = Hour.containing(newest).as_of
    progress.say(
        f"warning: hour {hour.key} is not built, because the source has nothing newer than {newest:%Y-%m-%dT%H:%MZ}, "
        f"and what is shown would be emptied. Name an hour up to {settings.quiet_hours} h after that "
        f"(GHOST_QUIET_HOURS), such as --as-of {last:%Y-%m-%dT%H:%MZ}"
    )
    progress.summary.skipped.append(f"hour {hour.key}: the source has nothing newer than {newest:%Y-%m-%dT%H:%MZ}")


def materialize_hours(
    settings: Settings, ends: Sequence[datetime], domain: Domain, *, progress: Progress = NO_PROGRESS
) -> None:
    """Materialize the hours that end at `ends`, in that order, for one domain, without publishing.

    Raises:
        GhostError: the run failed, with the reason in one line.

    """
    window = [Hour.ending_at(end) for end in ends]
    settings = _with_partitions_from(settings, min(hour.start for hour in window))
    tables = [name for name in selection({domain}, monthly=False) if name not in AT_THE_END]
    with _running(settings, progress) as runs:
        for hour in window:
            _require_ended(settings, hour)
            runs.of_hour(hour, tables)


def backfill(
    settings: Settings,
    start: datetime,
    end: datetime,
    chosen: Domain | None = None,
    *,
    everything: bool = False,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Read the source again for the hours of [start, end), build the missing and stale ones, then publish.

    A run takes `GHOST_HOURS_PER_RUN` hours. If killed, rerunning the backfill builds only the hours that are left.

    Args:
        settings: name the source and the data folder.
        start: the start of the first hour, aware, on a full hour.
        end: the end of the last one.
        chosen: only this domain; without it, every domain of the source.
        everything: build every hour, including hours that are built and not stale.
        progress: what is told about the run.

    Raises:
        UnknownTimeError: the range has no hour, or its last hour has not ended.
        GhostError: a run failed, with the reason in one line; the previous publication stays.

    """
    window = list(hours(start, end))
    if not window:
        raise UnknownTimeError(
            f"backfill: --to ({end:%Y-%m-%dT%H:%MZ}) must be later than --from ({start:%Y-%m-%dT%H:%MZ})",
        )
    first, last = window[0], window[-1]
    settings = _with_partitions_from(settings, Month.newest_complete(first.as_of).start)
    _require_ended(settings, last)
    lake = open_current(settings.lake, progress.say)
    selected = _selected(settings, chosen)
    source_tables = [name for name in selection(selected, monthly=False) if name in SOURCE_TABLES]
    # One look-back over the whole range: the source has only its present state, so it is read once.
    lookback = len(window) - 1 + settings.lookback_hours
    with _running(settings.model_copy(update={"lookback_hours": lookback}), progress) as runs:
        runs.of_source(first, last, source_tables)
    with _running(settings, progress) as runs:
        due = window if everything else hours_to_build(settings, lake, window, selected)
        progress.say(f"{len(due)} of {len(window)} hours to build")
        if len(due) < len(window):
            unchanged = len(window) - len(due)
            progress.summary.skipped.append(f"{unchanged} hour{'s' if unchanged > 1 else ''}: nothing changed")
        runs.of_hours(due, _derived_tables(selected), last)
        if Domain.GHOST in selected:
            for month in months_to_build(settings, lake, window, everything=everything):
                runs.of_month(month, _months_tables(selected))
            runs.of_hours(hours_to_message(settings, lake, window, due), [GHOST_MESSAGES.name], last)
        runs.of_publication(last, [STALE_HOURS.name, STALE_MONTHS.name, RETENTION, *publications(settings)])


def backfill_stale(settings: Settings, chosen: Domain | None = None, *, progress: Progress = NO_PROGRESS) -> None:
    """Rebuild exactly the stale hours and months, from what the lake has of the source, then publish.

    Args:
        settings: name the data folder; the source is not read.
        chosen: only this domain; without it, both.
        progress: what is told about the run.

    Raises:
        GhostError: a run failed, with the reason in one line; the previous publication stays.

    """
    lake = open_current(settings.lake, progress.say)
    stale = stale_partitions(settings, lake, {chosen} if chosen else set(Domain))
    newest = newest_snapshot(lake)
    if newest is None or not any(stale):
        progress.say("nothing is stale")
        return
    found = [*chain(*stale.hours.values()), *stale.messages]
    starts = [newest.start, *(hour.start for hour in found), *(month.start for month in stale.months)]
    settings = _with_partitions_from(settings, min(starts))
    with _running(settings, progress) as runs:
        for domain, of_domain in stale.hours.items():
            runs.of_hours(of_domain, _derived_tables({domain}), newest)
        for month, tables in stale.months.items():
            runs.of_month(month, tables)
        # Only now: a month that was rebuilt makes messages stale.
        if chosen is not Domain.NGRAMS:
            messages = stale_partitions(settings, lake, {Domain.GHOST}).messages
            runs.of_hours(messages, [GHOST_MESSAGES.name], newest)
        runs.of_publication(newest, [STALE_HOURS.name, STALE_MONTHS.name, RETENTION, *publications(settings)])


def publish(settings: Settings, *, progress: Progress = NO_PROGRESS) -> None:
    """Publish the lake as it is.

    Raises:
        NothingPublishedError: the lake has no hour yet.
        GhostError: the run failed, with the reason in one line; the previous publication stays.

    """
    newest = _newest_hour(Lake(settings.lake))
    if newest is None:
        raise NothingPublishedError(
            f"{settings.lake}: has no hour to publish yet. Run `ghost-pipeline materialize --as-of ...`, or "
            f"`ghost-pipeline demo`",
        )
    with _running(_with_partitions_from(settings, newest.start), progress) as runs:
        runs.of_publication(newest, publications(settings))


def republish(
    settings: Settings,
    months: Sequence[Month] = (),
    *,
    published: Callable[[], None] = lambda: None,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Publish the lake as it is, even if hours of event tables are missing; then rebuild `months` and publish again.

    Args:
        settings: the lake, and where to publish.
        months: the months.
        published: is called after each publication.
        progress: what is told about the runs.

    Raises:
        GhostError: a run failed, with the reason in one line; the previous publication stays.

    """
    newest = _newest_hour(Lake(settings.lake))
    if newest is None:
        return
    settings = _with_partitions_from(settings, min([newest.start, *(month.start for month in months)]))
    with _running(settings, progress, allow_gaps=True) as runs:
        runs.of_publication(newest, publications(settings))
        published()
        for month in months:
            runs.of_month(month, _months_tables({Domain.GHOST}))
        if months:
            runs.of_publication(newest, publications(settings))
            published()


def selection(chosen: set[Domain], *, monthly: bool) -> list[str]:
    """The assets of the hourly or the monthly job that the chosen domains need."""
    names = []
    for asset in TABLE_ASSETS:
        contract = asset.contract
        table = SOURCE_TABLES.get(contract.name)
        wanted = (
            contract.layer is Layer.OPERATIONS
            or (table is not None and (table.domain is None or table.domain in chosen))
            or (table is None and any(Layer(domain.value) is contract.layer for domain in chosen))
        )
        if wanted and (contract.partitioning is Partitioning.MONTH) == monthly:
            names.append(contract.name)
    return [*names, PUBLISHED_DATABASE] if monthly else [*names, *AT_THE_END]


def _newest_hour(lake: Lake) -> Hour | None:
    hourly = {Partitioning.SNAPSHOT_HOUR, Partitioning.EVENT_HOUR, Partitioning.VERSION_HOUR}
    found = (lake.newest_hour(one) for one in CONTRACTS.values() if one.partitioning in hourly)
    return max((hour for hour in found if hour), default=None)


def _derived_tables(chosen: set[Domain]) -> list[str]:
    """The hourly tables of the chosen domains that are computed before the months."""
    apart = {*SOURCE_TABLES, GHOST_MESSAGES.name, *AT_THE_END}
    return [name for name in selection(chosen, monthly=False) if name not in apart]


def _months_tables(chosen: set[Domain]) -> list[str]:
    return _unpublished(selection(chosen, monthly=True))


def _with_publications(settings: Settings, chosen: set[Domain], *, monthly: bool) -> list[str]:
    return [*_unpublished(selection(chosen, monthly=monthly)), *publications(settings)]


def _unpublished(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != PUBLISHED_DATABASE]


def _selected(settings: Settings, chosen: Domain | None) -> set[Domain]:
    """The chosen domain, or every domain of the source."""
    with closing(open_source(settings.source, settings.source_mapping)) as source:
        if chosen is None:
            return domains(source)
        require_domain(source, chosen)
        return {chosen}


def _with_partitions_from(settings: Settings, start: datetime) -> Settings:
    """Settings whose partitions begin at `start` or before, for hours earlier than `GHOST_PARTITIONS_START`.

    Fixed for all runs of a command: the first may bring a lake its first event, and the others would begin there.
    """
    begin = partitions_start(settings)
    return settings.model_copy(update={"partitions_start": begin if begin <= start else Month.containing(start).start})


def _require_ended(settings: Settings, hour: Hour) -> None:
    if not Partitions.from_settings(settings).hourly.has_partition_key(hour.key):
        raise UnknownTimeError(
            f"hour {hour.key}: has not ended yet, and Dagster runs only hours that have ended. Name an earlier hour",
        )


@dataclass(frozen=True)
class _Runs:
    """Runs Dagster's jobs in this process, and tells what they build."""

    defs: dg.Definitions
    instance: dg.DagsterInstance
    progress: Progress
    hours_per_run: int

    def of_hour(self, hour: Hour, tables: list[str]) -> None:
        """Build tables of an hour."""
        self._run(f"hour {hour.key}", HOURLY, hour.key, tables)
        self.progress.summary.add_built(f"hour {hour.key}")

    def of_hours(self, hours: Sequence[Hour], tables: list[str], range_end: Hour) -> None:
        """Build tables of hours, some in each run, which belong to a range that ends with `range_end`."""
        for chunk in chunks(hours, self.hours_per_run):
            self._run(f"hours {chunk[0].key} to {chunk[-1].key}", HOURLY, None, tables, range_tags(chunk, range_end))
            self.progress.summary.add_built(*(f"hour {hour.key}" for hour in chunk))

    def of_month(self, month: Month, tables: list[str]) -> None:
        """Build tables of a month."""
        self._run(f"month {month.key}", MONTHLY, month.key, tables)
        self.progress.summary.add_built(f"month {month.key}")

    def of_source(self, first: Hour, last: Hour, tables: list[str]) -> None:
        """Read tables of the source for the hours from `first` to `last`."""
        self._run(f"source {first.key} to {last.key}", HOURLY, last.key, tables, {SOURCE_FROM: first.key})

    def of_publication(self, hour: Hour, assets: list[str]) -> None:
        """Publish the lake in the run of an hour."""
        self._run("publication", HOURLY, hour.key, assets)

    def _run(
        self, what: str, job: str, partition: str | None, assets: list[str], tags: Mapping[str, str] | None = None
    ) -> None:
        """Run a job for one partition, or for the range of hours that `tags` name."""
        self.progress.say(what)
        self.progress.working_on(f"{what}: starting a run")
        self.defs.resolve_job_def(job).execute_in_process(
            partition_key=partition,
            tags={**(tags or {}), **NOT_RETRIED, PROCESS: this_process()},
            asset_selection=[dg.AssetKey(name) for name in assets],
            instance=self.instance,
            run_config={"loggers": {LOGGER: {}}},
        )


@contextmanager
def _running(settings: Settings, progress: Progress, *, allow_gaps: bool = False) -> Iterator[_Runs]:
    """Open Dagster's records for the runs of the block."""
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={LOGGER: progress_logger(progress)}, allow_gaps=allow_gaps)
    with dagster_records() as instance, runs_of_location(instance):
        yield _Runs(defs, instance, progress, settings.hours_per_run)
