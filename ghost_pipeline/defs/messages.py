"""The hourly export of every user's messages; answers make them anew, from the same function (G7.6)."""

from collections.abc import Iterator

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_RELEASE,
    GHOST_BENCHMARKS,
    GHOST_FASTEST_IMPROVERS,
    GHOST_MESSAGES,
    GHOST_STREAK_SHARES,
    USER_GHOST_STATS,
)
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.retained_hours import expired_result, hours_within_retention, skipped_by_retention
from ghost_pipeline.defs.table_asset import RunContext, TableAsset, TableResult, markdown_table
from ghost_pipeline.domain.ghost.ghost_figures import FigureLimits, ghost_figures, serving_month
from ghost_pipeline.domain.ghost.ghost_messages import ghost_messages
from ghost_pipeline.domain.shared.period_figures import row_count
from ghost_pipeline.incremental.stale_ledger import mark_building, mark_rebuilt
from ghost_pipeline.windows import Hour

USERS_AT_ONCE = 100_000
"""A million users have some five million messages, 1 GB before they are compressed."""


def materialize_ghost_messages(resources: RunContext, hour: Hour) -> TableResult:
    """Every user's messages in every context at the end of the hour (G7)."""
    if not resources.settings.export_messages:
        return TableResult(rows=0, metadata={"export": "switched off by GHOST_EXPORT_MESSAGES; nothing was written"})
    lake = resources.lake
    with mark_building(lake, GHOST_MESSAGES, [hour]):
        if not hours_within_retention(resources, GHOST_MESSAGES, [hour]):
            return expired_result(resources, GHOST_MESSAGES, hour)
        if outcome := _as_it_was(resources, hour):
            return outcome
        try:
            written = lake.write_parts(GHOST_MESSAGES, hour, _parts(resources, hour))
        except FileNotFoundError:
            # The run of a newer hour may have removed the users' figures meanwhile.
            if outcome := _as_it_was(resources, hour):
                return outcome
            raise
        mark_rebuilt(lake, GHOST_MESSAGES, [hour])
    messages = lake.scan(GHOST_MESSAGES, [hour])
    shown = messages.group_by("context", "type").agg(messages=pl.len()).sort("context", "type")
    return TableResult(
        rows=written.rows,
        metadata={"shown": markdown_table(shown.collect())},
    )


def _as_it_was(resources: RunContext, hour: Hour) -> TableResult | None:
    """What is said of an hour whose users' figures are gone: messages that are kept for longer stay, as they were."""
    outcome = skipped_by_retention(resources, hour)
    if outcome:
        mark_rebuilt(resources.lake, GHOST_MESSAGES, [hour])
    return outcome


def _parts(resources: RunContext, hour: Hour) -> Iterator[pl.DataFrame]:
    """The messages of some users after the other, in the order of `user_ghost_stats`: by user_id."""
    lake, limits = resources.lake, FigureLimits.of(resources.settings)

    def of_month(contract: Contract) -> pl.LazyFrame:
        month = serving_month(lake.months(contract), hour.as_of, limits)
        return lake.scan(contract, [month] if month else []).collect().lazy()

    # Of an older hour that is run again, the ledger may have entries from later on (G9.4).
    releases = lake.hours_between(COHORT_GHOST_RELEASE, None, hour.as_of)[-1:]
    release = lake.scan(COHORT_GHOST_RELEASE, releases).collect().lazy()
    benchmarks, shares, improvers = map(of_month, (GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS))
    users = lake.scan(USER_GHOST_STATS, [hour])
    for first in range(0, lake.rows(USER_GHOST_STATS, hour), USERS_AT_ONCE):
        some = users.slice(first, USERS_AT_ONCE)
        figures = ghost_figures(some, release, benchmarks, shares, improvers, hour.as_of, limits=limits)
        yield ghost_messages(figures).collect()


MESSAGE_ASSETS = (
    TableAsset(
        GHOST_MESSAGES,
        (USER_GHOST_STATS, COHORT_GHOST_RELEASE, GHOST_BENCHMARKS, GHOST_STREAK_SHARES, GHOST_FASTEST_IMPROVERS),
        materialize_ghost_messages,
        comparisons=(period_over_period(GHOST_MESSAGES, row_count),),
    ),
)
