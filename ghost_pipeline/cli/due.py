"""The hours and months that a run has to build: missing, stale, or following from others that it builds.

Only looks at the lake; `run` builds what is due.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Layer
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_DATA,
    COHORT_GHOST_RELEASE,
    GHOST_MESSAGES,
    USER_GHOST_STATS,
)
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.retention import hours_within_retention
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.incremental.stale_months import is_built, is_current, stale_months
from ghost_pipeline.ingest.dependents import NGRAM_SNAPSHOTS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month

SNAPSHOTS = {Domain.GHOST: (COHORT_GHOST_DATA, USER_GHOST_STATS), Domain.NGRAMS: NGRAM_SNAPSHOTS}
"""Tables that are written hour by hour; messages are not among them, because they come after the months."""


def hours_to_build(settings: Settings, lake: Lake, window: Sequence[Hour], selected: set[Domain]) -> list[Hour]:
    """The hours in which a snapshot of the selected domains is missing or stale."""
    context = RunContext.of(settings, lake, range_end=window[-1])
    tables = [table for domain in selected for table in SNAPSHOTS[domain]]
    retained = {table: set(hours_within_retention(context, table, window)) for table in tables}
    written = {table: set(lake.written(table, window)) for table in tables}
    newest_release = lake.newest_hour(COHORT_GHOST_RELEASE)
    stale = _stale(lake)

    def is_due(hour: Hour) -> bool:
        # The release ledger is append-only: a killed run may have built an hour that it did not release yet.
        unreleased = newest_release is None or hour > newest_release
        return (unreleased and hour in retained.get(USER_GHOST_STATS, ())) or any(
            hour in hours and (hour not in written[table] or (table.name, hour) in stale)
            for table, hours in retained.items()
        )

    return [hour for hour in window if is_due(hour)]


def months_to_build(settings: Settings, lake: Lake, window: Sequence[Hour], *, everything: bool = False) -> list[Month]:
    """The missing and stale months that end within the window, or that serve its first hour.

    Args:
        settings: those that months are computed with.
        lake: the lake.
        window: the hours of a range, ascending.
        everything: return every month that ends within the window, including current ones.

    """
    touched = {Month.containing(hour.start) for hour in window}
    complete = {month for month in touched if month.as_of <= window[-1].as_of}
    wanted = complete | {Month.newest_complete(window[0].as_of)}
    return sorted(
        month for month in wanted if (everything and month in complete) or not is_current(lake, settings, month)
    )


def is_month_due(settings: Settings, lake: Lake, month: Month, as_of: datetime) -> bool:
    """Whether the run of the hour that ends at `as_of` builds a month: if it is missing, or stale and serves answers.

    Before it serves, late events of its last days may make it stale every hour.
    """
    if not is_built(lake, month):
        return True
    serves = as_of >= month.as_of + timedelta(hours=settings.benchmark_delay_hours)
    return serves and not is_current(lake, settings, month)


def hours_to_message(settings: Settings, lake: Lake, window: Sequence[Hour], built: Sequence[Hour]) -> list[Hour]:
    """The hours whose messages are missing or stale, or that were built just now."""
    if not settings.export_messages:
        return []
    stale = _stale(lake)
    retained = hours_within_retention(RunContext.of(settings, lake, range_end=window[-1]), GHOST_MESSAGES, window)
    written = set(lake.written(GHOST_MESSAGES, retained))
    return [
        hour
        for hour in lake.written(USER_GHOST_STATS, retained)
        if hour in built or hour not in written or (GHOST_MESSAGES.name, hour) in stale
    ]


class StalePartitions(NamedTuple):
    """What is stale in a lake, in the order in which it is rebuilt."""

    hours: dict[Domain, list[Hour]]
    """The hours of the snapshots of each domain that has any, ascending."""
    months: dict[Month, list[str]]
    """The tables to rebuild of each month, ascending."""
    messages: list[Hour]
    """The hours of messages, ascending: they show figures of the other two."""


def stale_partitions(settings: Settings, lake: Lake, selected: set[Domain]) -> StalePartitions:
    """The stale hours and months of the selected domains."""
    stale = _stale(lake)
    hours = {
        domain: sorted({hour for name, hour in stale if name != GHOST_MESSAGES.name and _is_of(name, domain)})
        for domain in Domain
        if domain in selected
    }
    months: dict[Month, list[str]] = {}
    if Domain.GHOST in selected:
        for table, key in stale_months(lake, settings).sort("month", "table").select("table", "month").iter_rows():
            months.setdefault(Month.from_key(key), []).append(table)
    messages = sorted(hour for name, hour in stale if name == GHOST_MESSAGES.name and Domain.GHOST in selected)
    return StalePartitions({domain: found for domain, found in hours.items() if found}, months, messages)


def _is_of(table: str, domain: Domain) -> bool:
    return table in CONTRACTS and CONTRACTS[table].layer is Layer(domain.value)


def _stale(lake: Lake) -> set[tuple[str, Hour]]:
    return {(name, Hour.containing(start)) for name, start in stale_hours(lake).select("table", "hour").rows()}
