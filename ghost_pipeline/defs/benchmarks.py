"""Monthly assets of the ghost domain: the practice of people who reached their target band.

Each is computed from summaries that merge over users (counts of values, streaks, improvers), so any number of shards
gives the same result.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial, wraps

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import GHOST_MESSAGES
from ghost_pipeline.contracts.kept_months import (
    BENCHMARK_ACHIEVERS,
    BENCHMARK_DIARIES,
    FASTEST_IMPROVER_ACHIEVERS,
    STREAK_SHARE_ACHIEVERS,
)
from ghost_pipeline.contracts.months import (
    GHOST_BENCHMARKS,
    GHOST_FASTEST_IMPROVERS,
    GHOST_STREAK_SHARES,
    MONTHLY_FIGURES,
)
from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.defs.benchmark_month import benchmark_month
from ghost_pipeline.defs.checks import Check
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.defs.month_renewal import Renewal, shown_rows
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import Compute, TableAsset, written_beside
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ghost.benchmarks.achievers import achievers
from ghost_pipeline.domain.ghost.benchmarks.benchmark_cells import cell_samples
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import AT_LEAST, INTERVAL, POPULATIONS
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import recorded_dictionary
from ghost_pipeline.domain.ghost.benchmarks.benchmark_drift import CELL_NAMES, benchmark_drift
from ghost_pipeline.domain.ghost.benchmarks.ghost_fastest_improvers import (
    RENEWED_TOGETHER as IMPROVER_KEY,
)
from ghost_pipeline.domain.ghost.benchmarks.ghost_fastest_improvers import (
    fastest_quarter,
    finish_fastest_improvers,
    improvers,
)
from ghost_pipeline.domain.ghost.benchmarks.ghost_streak_shares import (
    RENEWED_TOGETHER as SHARE_KEY,
)
from ghost_pipeline.domain.ghost.benchmarks.ghost_streak_shares import (
    finish_streak_shares,
    streak_counts,
    streak_people,
)
from ghost_pipeline.domain.ghost.benchmarks.month_rules import MonthRules
from ghost_pipeline.domain.ghost.benchmarks.renewal import KeptMonth, Key
from ghost_pipeline.domain.ghost.benchmarks.share_changes import (
    allowed_improvers,
    allowed_shares,
    without_few_outside,
)
from ghost_pipeline.domain.shared.period_figures import sample_figures
from ghost_pipeline.domain.shared.versions import users_at
from ghost_pipeline.errors import LakeError
from ghost_pipeline.incremental.achiever_events import AchieverEvents
from ghost_pipeline.incremental.activity_history import activity_lock
from ghost_pipeline.incremental.kept_months import write_kept_month
from ghost_pipeline.incremental.stale_ledger import mark_building, mark_stale
from ghost_pipeline.incremental.stale_months import recorded_rules
from ghost_pipeline.lake.concurrent_replace import retry_on_replace
from ghost_pipeline.windows import HOUR, Month

STABLE = Check(
    "stable",
    "Warns if a figure differs by more than 2 and by more than GHOST_BENCHMARK_MOVE_PERCENT from the month before, "
    "if a group of achievers no longer has benchmarks, or if the month before is missing.",
)


def _month_by_month(table: Contract) -> Callable[[Callable[[RunContext, Month], TableResult]], Compute]:
    """Compute a table's months one by one, each from its reading to its writing under the table's lock.

    Without the lock, a run that read older events could overwrite the result of one that read newer ones. A month whose
    inputs change meanwhile stays stale.
    """

    def decorate(of_month: Callable[[RunContext, Month], TableResult]) -> Compute:
        @wraps(of_month)
        def compute(run: RunContext, months: Sequence[Month]) -> Iterator[TableResult]:
            for month in months:
                with mark_building(run.lake, table, [month]) as rebuilt:
                    # A run that marked the month before this one began has written what it marked once this is free.
                    with activity_lock(run.lake):
                        pass
                    result = retry_on_replace(partial(of_month, run, month))
                    rebuilt.add(month)
                yield result

        return compute

    return decorate


def _write(
    run: RunContext, table: Contract, month: Month, figures: pl.DataFrame, recorded: Mapping[str, str] | None = None
) -> None:
    """Write a month's figures, with the rules that they were computed with, and what else its file is to record.

    Messages that showed other figures, or those of an older month because this one was missing, are stale; those that
    show a newer month are not.
    """
    lake, delay = run.lake, timedelta(hours=run.settings.benchmark_delay_hours)
    if not lake.exists(table, month) or not figures.equals(lake.scan(table, [month]).collect()):
        serves_from = month.as_of + delay - timedelta(microseconds=1)
        newer = [later.as_of + delay for later in lake.months(table) if month < later][:1]
        mark_stale(lake, [GHOST_MESSAGES], serves_from, month.as_of, *newer)
    lake.write(table, month, figures, metadata={**recorded_rules(run.settings), **(recorded or {})})


@_month_by_month(GHOST_BENCHMARKS)
def materialize_ghost_benchmarks(run: RunContext, month: Month) -> TableResult:
    """Write what achievers had done by each day of their journey, as of the end of the month (G5, G9.7)."""
    rules = MonthRules.of(run.settings)
    now = benchmark_month(run, month, _achievers(run, month))
    benchmarks, means = now.shown()
    now.keep()
    _write(run, GHOST_BENCHMARKS, month, benchmarks, recorded_dictionary(means.lazy()))
    samples = cell_samples(
        now.counts,
        bands=rules.bands,
        starts=rules.starting_skills,
        populations=POPULATIONS,
        days=rules.benchmark_days,
        min_sample=rules.min_sample,
    )
    return TableResult(
        rows=benchmarks.height,
        metadata={
            "renewed": int((benchmarks["renewed"] == month.key).sum()),
            "cells": samples.filter(pl.col("days") > 0).height,
            "cells_missing": samples.filter(pl.col("days") == 0).height,
            "samples": as_table(samples),
            **{f"curves_{name}": _curves(run, benchmarks, name, month) for name in (INTERVAL, AT_LEAST)},
        },
        warnings={STABLE.name: _moves(run, month, benchmarks)},
        sample=benchmarks,
    )


@_month_by_month(GHOST_STREAK_SHARES)
def materialize_ghost_streak_shares(run: RunContext, month: Month) -> TableResult:
    """Write the share of achievers with a streak of at least each threshold, as of the end of the month (G6, G9.7)."""
    rules = MonthRules.of(run.settings)
    bands, starts = rules.bands, rules.starting_skills
    achieving = _achievers(run, month)
    people = pl.concat(
        [
            achieving.named(streak_people(users, progress, month.as_of, bands=bands))
            for users, progress in achieving.shards(GHOST_STREAK_SHARES, MONTHLY_FIGURES)
        ]
    ).sort("user_id")

    def of(people: pl.DataFrame) -> pl.DataFrame:
        counts = streak_counts(people, bands=bands, starts=starts)
        return finish_streak_shares(
            counts,
            month.as_of,
            bands=bands,
            starts=starts,
            thresholds=rules.streak_thresholds,
            min_sample=rules.min_sample,
            percent_step=rules.share_percent_step,
        ).collect()

    def allowed(kept: KeptMonth, state: int, keys: set[Key]) -> set[Key]:
        return allowed_shares(
            kept.of_state(state),
            people,
            keys,
            bands=bands,
            starts=starts,
            min_changed=rules.release_min_changed,
            max_share_percent=rules.release_max_share_percent,
        )

    def beside_starts(countable: set[Key], shown: set[Key]) -> set[Key]:
        overall = {key for key in countable if key[1] is None}
        return (countable - overall) | without_few_outside(
            people, overall, shown - overall, bands=bands, starts=starts, min_outside=rules.release_min_members
        )

    renewal = Renewal.of(run.lake, STREAK_SHARE_ACHIEVERS, month, SHARE_KEY)
    kept, shown = renewal.choose(of(people), people, allowed, lambda rows, _: rows, beside_starts)
    found = shown_rows(kept, SHARE_KEY, shown, lambda state: [of(kept.of_state(state))])
    shares = found[0].sort(SHARE_KEY, nulls_last=False) if found else GHOST_STREAK_SHARES.empty()
    write_kept_month(run.lake, STREAK_SHARE_ACHIEVERS, month, kept)
    _write(run, GHOST_STREAK_SHARES, month, shares)
    return TableResult(rows=shares.height, sample=shares)


@_month_by_month(GHOST_FASTEST_IMPROVERS)
def materialize_ghost_fastest_improvers(run: RunContext, month: Month) -> TableResult:
    """Write the daily practice time of the fastest improvers, as of the end of the month (G6, G9.7)."""
    rules = MonthRules.of(run.settings)
    bands, starts = rules.bands, rules.starting_skills
    achieving = _achievers(run, month)
    parts = [
        achieving.named(improvers(users, progress, month.as_of, bands=bands, starts=starts).collect())
        for users, progress in achieving.shards(GHOST_FASTEST_IMPROVERS, MONTHLY_FIGURES)
    ]
    people = fastest_quarter(pl.concat(parts).lazy())

    def of(people: pl.DataFrame) -> pl.DataFrame:
        return finish_fastest_improvers(people, month.as_of, min_sample=rules.min_sample).collect()

    def allowed(kept: KeptMonth, state: int, keys: set[Key]) -> set[Key]:
        return allowed_improvers(
            kept.of_state(state),
            people,
            keys,
            min_changed=rules.release_min_changed,
            max_share_percent=rules.release_max_share_percent,
        )

    def among(people: pl.DataFrame, keys: Collection[Key]) -> pl.DataFrame:
        return people.filter(pl.col("starting_skill").cast(pl.String).is_in([key[0] for key in keys]))

    renewal = Renewal.of(run.lake, FASTEST_IMPROVER_ACHIEVERS, month, IMPROVER_KEY)
    kept, shown = renewal.choose(of(people), people, allowed, among)
    found = shown_rows(kept, IMPROVER_KEY, shown, lambda state: [of(kept.of_state(state))])
    fastest = found[0].sort(IMPROVER_KEY) if found else GHOST_FASTEST_IMPROVERS.empty()
    write_kept_month(run.lake, FASTEST_IMPROVER_ACHIEVERS, month, kept)
    _write(run, GHOST_FASTEST_IMPROVERS, month, fastest)
    return TableResult(rows=fastest.height, sample=fastest)


def _achievers(run: RunContext, month: Month) -> AchieverEvents:
    """Return the achievers as they were at the end of the month, with their events.

    Raises:
        LakeError: the month has not been ingested.

    """
    lake = run.lake
    complete = lake.complete_until(USER_PROGRESS)
    if complete is None or complete < month.as_of:
        reached = f"is ingested only up to {complete:%Y-%m-%dT%H:%MZ}" if complete else "is not ingested yet"
        end = f"{month.as_of:%Y-%m-%dT%H:%MZ}"
        raise LakeError(
            f"{USER_PROGRESS.name}, month {month.key}: {reached}, but the month ends at {end}. First materialize an "
            f"hour that ends at {end} or later",
        )
    users = achievers(users_at(lake.scan(USERS), month.as_of), month.as_of)
    return AchieverEvents(lake, month, users, run.settings.shards)


def _curves(run: RunContext, benchmarks: pl.DataFrame, population: str, month: Month) -> dg.MarkdownMetadataValue:
    # Matplotlib costs 0.3 s of processor time to import, and most runs draw nothing.
    from ghost_pipeline.pictures.benchmark_curves import as_markdown_image, benchmark_curves  # noqa: PLC0415

    bands, starts = run.settings.bands, run.settings.starting_skills
    png = benchmark_curves(benchmarks, population, bands, starts)
    return dg.MetadataValue.md(as_markdown_image(png, f"benchmarks by day, {population}, {month.key}"))


def _moves(run: RunContext, month: Month, benchmarks: pl.DataFrame) -> list[str]:
    before = Month.containing(month.start - HOUR)
    previous = run.lake.scan(GHOST_BENCHMARKS, [before])
    if not run.lake.exists(GHOST_BENCHMARKS, before):
        older = [one for one in run.lake.months(GHOST_BENCHMARKS) if one < month]
        return [f"{before.key} is missing, so nothing was compared"] if older else []
    moves = benchmark_drift(benchmarks.lazy(), previous, run.settings.benchmark_move_percent).collect()
    cells = [frame.select(*CELL_NAMES).unique() for frame in (benchmarks.lazy(), previous)]
    gone = cells[1].join(cells[0], on=CELL_NAMES, how="anti").sort(CELL_NAMES).collect()
    vanished = [
        f"{' '.join(map(str, cell))} had benchmarks in {before.key} and has none now" for cell in gone.iter_rows()
    ]
    return vanished + [
        f"{row['metric']} of {row['population']} {row['target_band']} from {row['starting_skill']}, "
        f"day {row['day_number']}, top {row['success_percentile']} %: "
        f"{row['previous']} in {before.key}, {row['current']} now"
        for row in moves.iter_rows(named=True)
    ]


SOURCES = (USERS, USER_PROGRESS)
BENCHMARK_ASSETS = (
    TableAsset(
        GHOST_BENCHMARKS,
        SOURCES,
        materialize_ghost_benchmarks,
        checks=(STABLE,),
    ),
    TableAsset(
        GHOST_STREAK_SHARES,
        SOURCES,
        materialize_ghost_streak_shares,
        comparisons=(period_over_period(GHOST_STREAK_SHARES, sample_figures),),
    ),
    TableAsset(
        GHOST_FASTEST_IMPROVERS,
        SOURCES,
        materialize_ghost_fastest_improvers,
        comparisons=(period_over_period(GHOST_FASTEST_IMPROVERS, sample_figures),),
    ),
)


KEPT_ASSETS = tuple(
    TableAsset(kept, (figures, *SOURCES), written_beside(kept))
    for kept, figures in (
        (BENCHMARK_DIARIES, GHOST_BENCHMARKS),
        (BENCHMARK_ACHIEVERS, GHOST_BENCHMARKS),
        (STREAK_SHARE_ACHIEVERS, GHOST_STREAK_SHARES),
        (FASTEST_IMPROVER_ACHIEVERS, GHOST_FASTEST_IMPROVERS),
    )
)
"""What is kept of the people behind the figures."""
