"""Materialize, backfill and republish: Dagster's jobs, run in this process.

The hours that a backfill builds are found in `due`, its progress is printed by `progress`, and the folder of Dagster's
records is made by `dagster_home`.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from itertools import chain
from typing import TextIO

import dagster as dg

from ghost_pipeline.cli.dagster_home import dagster_records, prepare_dagster_home
from ghost_pipeline.cli.due import hours_to_build, hours_to_message, months_to_build, stale_partitions
from ghost_pipeline.cli.progress import PROGRESS, progress_logger
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Layer, Partitioning
from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.launcher import PROCESS, this_process
from ghost_pipeline.defs.partitions import SOURCE_FROM, Partitions, chunks, range_tags
from ghost_pipeline.defs.publishing import PUBLISHED_DATABASE, publications
from ghost_pipeline.defs.retention import RETENTION
from ghost_pipeline.errors import UnknownTimeError
from ghost_pipeline.incremental.retention import newest_snapshot
from ghost_pipeline.incremental.stale_months import is_current
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import domains, require_domain
from ghost_pipeline.windows import Hour, Month, hours

AT_THE_END = (RETENTION, PUBLISHED_DATABASE)
"""Assets that look at every table; they run once, after all others."""


def materialize(settings: Settings, as_of: datetime, chosen: Domain | None = None, *, out: TextIO = sys.stderr) -> None:
    """Materialize the hour that ends at `as_of` and publish; also the newest complete month, if missing or stale.

    Args:
        settings: name the source and the data folder.
        as_of: the end of the hour, aware, on a full hour.
        chosen: only this domain; without it, every domain of the source.
        out: where progress is written.

    Raises:
        GhostError: the run failed, with the reason in one line; the previous publication stays.

    """
    hour, month = Hour.ending_at(as_of), Month.newest_complete(as_of)
    settings = _with_partitions_from(settings, min(hour.start, month.start))
    _require_ended(settings, hour)
    selected = _selected(settings, chosen)
    prepare_dagster_home(settings)
    defs, lake = build_defs(settings, loggers={PROGRESS: progress_logger(out)}), Lake(settings.lake)
    every = _with_publications(settings, selected, monthly=False)
    # Messages show figures of the month, which in turn needs the rows that the hour loads.
    of_months = (GHOST_MESSAGES.name, STALE_MONTHS.name)
    at_the_end = [name for name in every if name in (*of_months, *AT_THE_END, *publications(settings))]

    with dagster_records() as instance:

        def of_hour(names: list[str]) -> None:
            out.write(f"hour {hour.key}\n")
            _run(defs, instance, HOURLY, hour.key, names)

        def of_month() -> None:
            out.write(f"month {month.key}\n")
            _run(defs, instance, MONTHLY, month.key, _unpublished(selection(selected, monthly=True)))

        if Domain.GHOST in selected and not is_current(lake, settings, month):
            of_hour([name for name in every if name not in at_the_end])
            try:
                of_month()
            finally:
                # Whatever keeps the month from being built, the hour is published.
                of_hour(at_the_end)
            return
        of_hour(every)
        # The hour may have loaded events of the month.
        if Domain.GHOST in selected and not is_current(lake, settings, month):
            of_month()
            of_hour(at_the_end)


def materialize_hours(
    settings: Settings, ends: Sequence[datetime], domain: Domain, *, out: TextIO = sys.stderr
) -> None:
    """Materialize the hours that end at `ends`, in that order, for one domain, without publishing.

    Raises:
        GhostError: the run failed, with the reason in one line.

    """
    window = [Hour.ending_at(end) for end in ends]
    settings = _with_partitions_from(settings, min(hour.start for hour in window))
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: progress_logger(out)})
    tables = [name for name in selection({domain}, monthly=False) if name not in AT_THE_END]
    with dagster_records() as instance:
        for hour in window:
            _require_ended(settings, hour)
            out.write(f"hour {hour.key}\n")
            _run(defs, instance, HOURLY, hour.key, tables)


def backfill(
    settings: Settings,
    start: datetime,
    end: datetime,
    chosen: Domain | None = None,
    *,
    everything: bool = False,
    out: TextIO = sys.stderr,
) -> None:
    """Read the source again for the hours of [start, end), build the missing and stale ones, then publish.

    A run takes `GHOST_HOURS_PER_RUN` hours. If killed, rerunning the backfill builds only the hours that are left.

    Args:
        settings: name the source and the data folder.
        start: the start of the first hour, aware, on a full hour.
        end: the end of the last one.
        chosen: only this domain; without it, every domain of the source.
        everything: build every hour, including hours that are built and not stale.
        out: where progress is written.

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
    selected = _selected(settings, chosen)
    prepare_dagster_home(settings)
    loggers = {PROGRESS: progress_logger(out)}
    source_tables = [name for name in selection(selected, monthly=False) if name in SOURCE_TABLES]
    derived_tables = _derived_tables(selected)
    lake = Lake(settings.lake)
    with dagster_records() as instance:
        out.write(f"source {first.key} to {last.key}\n")
        # One look-back over the whole range: the source has only its present state, so it is read once.
        lookback = len(window) - 1 + settings.lookback_hours
        source_defs = build_defs(settings.model_copy(update={"lookback_hours": lookback}), loggers=loggers)
        _run(source_defs, instance, HOURLY, last.key, source_tables, {SOURCE_FROM: first.key})
        defs = build_defs(settings, loggers=loggers)
        due = window if everything else hours_to_build(settings, lake, window, selected)
        out.write(f"{len(due)} of {len(window)} hours to build\n")
        for chunk in chunks(due, settings.hours_per_run):
            out.write(f"hours {chunk[0].key} to {chunk[-1].key}\n")
            _run(defs, instance, HOURLY, None, derived_tables, range_tags(chunk, last))
        if Domain.GHOST in selected:
            for month in months_to_build(settings, lake, window, everything=everything):
                out.write(f"month {month.key}\n")
                _run(defs, instance, MONTHLY, month.key, _unpublished(selection(selected, monthly=True)))
            for chunk in chunks(hours_to_message(settings, lake, window, due), settings.hours_per_run):
                out.write(f"hours {chunk[0].key} to {chunk[-1].key}\n")
                _run(defs, instance, HOURLY, None, [GHOST_MESSAGES.name], range_tags(chunk, last))
        _run(defs, instance, HOURLY, last.key, [RETENTION, *publications(settings)])


def backfill_stale(settings: Settings, chosen: Domain | None = None, *, out: TextIO = sys.stderr) -> None:
    """Rebuild exactly the stale hours and months, from what the lake has of the source, then publish.

    Args:
        settings: name the data folder; the source is not read.
        chosen: only this domain; without it, both.
        out: where progress is written.

    Raises:
        GhostError: a run failed, with the reason in one line; the previous publication stays.

    """
    lake = Lake(settings.lake)
    stale = stale_partitions(settings, lake, {chosen} if chosen else set(Domain))
    newest = newest_snapshot(lake)
    if newest is None or not any(stale):
        out.write("nothing is stale\n")
        return
    found = [*chain(*stale.hours.values()), *stale.messages]
    starts = [newest.start, *(hour.start for hour in found), *(month.start for month in stale.months)]
    settings = _with_partitions_from(settings, min(starts))
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: progress_logger(out)})
    with dagster_records() as instance:

        def of_hours(wanted: list[Hour], tables: list[str]) -> None:
            for chunk in chunks(wanted, settings.hours_per_run):
                out.write(f"hours {chunk[0].key} to {chunk[-1].key}\n")
                _run(defs, instance, HOURLY, None, tables, range_tags(chunk, newest))

        for domain, of_domain in stale.hours.items():
            of_hours(of_domain, _derived_tables({domain}))
        for month, tables in stale.months.items():
            out.write(f"month {month.key}\n")
            _run(defs, instance, MONTHLY, month.key, tables)
        # Only now: a month that was rebuilt makes messages stale.
        if chosen is not Domain.NGRAMS:
            of_hours(stale_partitions(settings, lake, {Domain.GHOST}).messages, [GHOST_MESSAGES.name])
        at_the_end = [STALE_HOURS.name, STALE_MONTHS.name, RETENTION, *publications(settings)]
        _run(defs, instance, HOURLY, newest.key, at_the_end)


def republish(settings: Settings, months: Sequence[Month] = (), *, out: TextIO = sys.stderr) -> None:
    """Publish the lake as it is, even if hours of event tables are missing; then rebuild `months` and publish again.

    Raises:
        GhostError: a run failed, with the reason in one line; the previous publication stays.

    """
    lake = Lake(settings.lake)
    hourly = {Partitioning.SNAPSHOT_HOUR, Partitioning.EVENT_HOUR, Partitioning.VERSION_HOUR}
    found = (lake.newest_hour(one) for one in CONTRACTS.values() if one.partitioning in hourly)
    newest = max((hour for hour in found if hour), default=None)
    if newest is None:
        return
    settings = _with_partitions_from(settings, min([newest.start, *(month.start for month in months)]))
    prepare_dagster_home(settings)
    defs = build_defs(settings, loggers={PROGRESS: progress_logger(out)}, allow_gaps=True)
    with dagster_records() as instance:
        _run(defs, instance, HOURLY, newest.key, publications(settings))
        for month in months:
            out.write(f"month {month.key}\n")
            _run(defs, instance, MONTHLY, month.key, _unpublished(selection({Domain.GHOST}, monthly=True)))
        if months:
            _run(defs, instance, HOURLY, newest.key, publications(settings))


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


def _derived_tables(chosen: set[Domain]) -> list[str]:
    """The hourly tables of the chosen domains that are computed before the months."""
    apart = {*SOURCE_TABLES, GHOST_MESSAGES.name, *AT_THE_END}
    return [name for name in selection(chosen, monthly=False) if name not in apart]


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
    """Settings whose partitions begin at `start` or before, for hours earlier than `GHOST_PARTITIONS_START`."""
    if settings.partitions_start <= start:
        return settings
    return settings.model_copy(update={"partitions_start": Month.containing(start).start})


def _require_ended(settings: Settings, hour: Hour) -> None:
    if not Partitions.from_settings(settings).hourly.has_partition_key(hour.key):
        raise UnknownTimeError(
            f"hour {hour.key}: has not ended yet, and Dagster runs only hours that have ended. Name an earlier hour",
        )


def _run(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    partition: str | None,
    selection: list[str],
    tags: Mapping[str, str] | None = None,
) -> None:
    """Run a job for one partition, or for the range of hours that `tags` name."""
    defs.resolve_job_def(job).execute_in_process(
        partition_key=partition,
        tags={**(tags or {}), PROCESS: this_process()},
        asset_selection=[dg.AssetKey(name) for name in selection],
        instance=instance,
        run_config={"loggers": {PROGRESS: {}}},
    )
