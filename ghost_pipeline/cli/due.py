"""The hours and months that a backfill has to build: missing, stale, or following from others that it builds.

Only looks at the lake; `run` builds what is due.
"""

from collections.abc import Sequence

from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_DATA,
    COHORT_GHOST_RELEASE,
    GHOST_BENCHMARKS,
    GHOST_MESSAGES,
    USER_GHOST_STATS,
)
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.retention import hours_within_retention
from ghost_pipeline.incremental.stale_ledger import stale_hours
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


def months_to_build(lake: Lake, window: Sequence[Hour], built: Sequence[Hour]) -> list[Month]:
    """The months that the built hours touch and that end within the window; the month before it, too, if missing."""
    before = Month.newest_complete(window[0].as_of)
    touched = {Month.containing(hour.start) for hour in built}
    complete = {month for month in touched if month.as_of <= window[-1].as_of}
    return sorted(complete | ({before} - set(lake.months(GHOST_BENCHMARKS))))


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


def _stale(lake: Lake) -> set[tuple[str, Hour]]:
    return {(name, Hour.containing(start)) for name, start in stale_hours(lake).select("table", "hour").rows()}
