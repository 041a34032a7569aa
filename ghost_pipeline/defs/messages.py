"""The hourly export of every user's messages; answers of the API compute them with the same function (G7.6)."""

from collections.abc import Iterator, Sequence

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, GHOST_FASTEST_IMPROVERS, GHOST_STREAK_SHARES
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.retention import expired_results, hours_within_retention, skipped_by_retention
from ghost_pipeline.defs.stretches import stretches
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ghost.ghost_figures import FigureLimits, ghost_figures, serving_month
from ghost_pipeline.domain.ghost.ghost_messages import coded_messages
from ghost_pipeline.domain.shared.period_figures import row_count
from ghost_pipeline.incremental.stale_ledger import mark_building
from ghost_pipeline.pictures.tables import POSITIONS
from ghost_pipeline.windows import Hour

USERS_AT_ONCE = 100_000
"""A million users have some five million messages, 1 GB before they are compressed."""


def materialize_ghost_messages(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Write every user's messages in every context at the end of each hour (G7)."""
    if not run.settings.export_messages:
        off = "switched off by GHOST_EXPORT_MESSAGES; nothing was written"
        yield from (TableResult(rows=0, metadata={"export": off}) for _ in hours)
        return
    kept = hours_within_retention(run, GHOST_MESSAGES, hours)
    yield from expired_results(run, GHOST_MESSAGES, hours, kept)
    for stretch in stretches(kept):
        with mark_building(run.lake, GHOST_MESSAGES, stretch) as rebuilt:
            for hour in stretch:
                result = _export(run, hour)
                rebuilt.add(hour)
                yield result


def _export(run: RunContext, hour: Hour) -> TableResult:
    """Write the messages of an hour; those of an hour whose user rows have expired stay as they are."""
    lake = run.lake
    if skipped := skipped_by_retention(run, hour):
        return skipped
    try:
        written = lake.write_parts(GHOST_MESSAGES, hour, _parts(run, hour))
    except FileNotFoundError:
        # The run of a newer hour may just have removed the users' figures.
        if skipped := skipped_by_retention(run, hour):
            return skipped
        raise
    messages = lake.scan(GHOST_MESSAGES, [hour])
    stated = messages.group_by("context", "type", "position").agg(messages=pl.len()).collect()
    shown = stated.group_by("context", "type").agg(pl.col("messages").sum()).sort("context", "type")
    return TableResult(rows=written.rows, metadata={"shown": as_table(shown), **_shares(stated)})


def _shares(stated: pl.DataFrame) -> dict[str, float]:
    """Return how many percent of the messages that state a position state each, if any does."""
    by_position = dict(stated.group_by("position").agg(pl.col("messages").sum()).drop_nulls().iter_rows())
    total = sum(by_position.values())
    return {
        f"{position}_percent": round(100 * by_position.get(position, 0) / total, 1) for position in POSITIONS if total
    }


def _parts(run: RunContext, hour: Hour) -> Iterator[pl.DataFrame]:
    """Yield the messages of 100,000 users at a time, in the order of `user_ghost_stats`: by user_id."""
    lake, limits = run.lake, FigureLimits.of(run.settings)

    def of_month(contract: Contract) -> pl.LazyFrame:
        month = serving_month(lake.months(contract), hour.as_of, limits)
        return lake.scan(contract, [month] if month else []).collect().lazy()

    # An older hour that runs again: the ledger may have later entries (G9.4).
    newest = lake.last_hour_until(COHORT_GHOST_RELEASE, hour.as_of)
    release = lake.scan(COHORT_GHOST_RELEASE, [newest] if newest else []).collect().lazy()
    benchmarks, shares, improvers = map(of_month, (GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS))
    users = lake.scan(USER_GHOST_STATS, [hour])
    for first in range(0, lake.rows(USER_GHOST_STATS, hour), USERS_AT_ONCE):
        some = users.slice(first, USERS_AT_ONCE)
        figures = ghost_figures(some, release, benchmarks, shares, improvers, hour.as_of, limits=limits)
        yield coded_messages(figures)


MESSAGE_ASSETS = (
    TableAsset(
        GHOST_MESSAGES,
        (USER_GHOST_STATS, COHORT_GHOST_RELEASE, GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS),
        materialize_ghost_messages,
        comparisons=(period_over_period(GHOST_MESSAGES, row_count),),
    ),
)
