"""Summaries of typing speed at the end of each hour, computed for the pairs that changed, and their history."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple, Self

import polars as pl

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.contracts.raw import KEYBOARDS
from ghost_pipeline.defs.metadata import PREVIEW_ROWS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.retention import expired_results, hours_within_retention
from ghost_pipeline.defs.stretches import stretches
from ghost_pipeline.defs.table_result import TableResult, count
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import (
    PAIR,
    PAIR_INPUT_SCHEMA,
    carried_over,
    measured,
    pair_inputs,
)
from ghost_pipeline.domain.ngrams.ngram_speed_summaries import SummaryLimits, ngram_speed_summaries
from ghost_pipeline.domain.ngrams.unknown_keyboards import unknown_keyboards
from ghost_pipeline.domain.shared.versions import keyboards_at
from ghost_pipeline.incremental.hashed_sessions import HashedSessions, session_versions
from ghost_pipeline.incremental.stale_ledger import mark_building, stale_hours_of
from ghost_pipeline.incremental.summary_cache import KeptState, NgramCache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.parquet import in_row_groups
from ghost_pipeline.windows import Hour

FEW = 4
"""If more than 1 in so many pairs has changed, all are computed from scratch: reading pair by pair would cost more."""

KEPT_ROWS = 200_000
"""Summaries of an hour that a run of many hours has in memory for the next one: 30 MB. More are read from the lake."""

CHANGED = pl.col("last_updated") == pl.col("as_of")
"""Whether a summary differs from that of the hour before, which need not exist: it follows from the raw tables."""


@dataclass(frozen=True)
class _Summarised:
    """The summaries of an hour."""

    computed: Iterable[pl.DataFrame]
    """Those of the pairs that changed; they can be read once."""
    same: pl.DataFrame | None
    """The other pairs, whose summaries are those of the state before; None: all are computed."""
    inputs: pl.DataFrame
    """What they follow from: `pair_inputs`."""
    pairs: int
    """(user, keyboard) pairs that are computed."""
    unknown_keyboards: int

    def rows(self, before: KeptState, hour: Hour) -> Iterator[pl.DataFrame]:
        """Return all of them, computed or carried over, in row groups."""
        if self.same is None:
            return in_row_groups(self.computed)
        (computed,) = self.computed
        return in_row_groups(carried_over(computed, before.summaries(), self.same, hour.as_of))


class _Typing(NamedTuple):
    """What every hour of a stretch reads: once they are marked, whatever replaces it makes them stale."""

    versions: pl.DataFrame
    """The `session_versions`."""
    keyboards: pl.LazyFrame
    """All versions of all keyboards."""

    @classmethod
    def until(cls, lake: Lake, last: Hour) -> Self:
        return cls(session_versions(lake, last.as_of), lake.scan(KEYBOARDS).collect().lazy())


def _summarised(run: RunContext, hour: Hour, typing: _Typing, cache: NgramCache) -> _Summarised:
    """Return every typist's speed on every n-gram, computed only for pairs that changed (N3.3)."""
    settings = run.settings
    limits = SummaryLimits(
        decay_factor=settings.decay_factor,
        max_measurements=settings.max_measurements,
        max_sessions=settings.max_sessions,
        default_target_ms=settings.default_target_ms,
    )
    keyboards = keyboards_at(typing.keyboards, hour.as_of).collect().lazy()
    totals, before = cache.sessions.totals, cache.before
    inputs = pair_inputs(totals, keyboards, limits)
    unchanged = inputs.join(before.inputs, on=PAIR_INPUT_SCHEMA.names(), how="semi")
    touched = inputs.join(unchanged, on=PAIR, how="anti").select(PAIR)

    def summaries(measurements: pl.DataFrame) -> pl.DataFrame:
        found = ngram_speed_summaries(
            measurements.lazy(), measured(measurements).lazy(), keyboards, hour.as_of, **limits
        )
        new = found.collect()
        NGRAM_SPEED_SUMMARIES.require(new, hour.key)
        return new

    computed: Iterable[pl.DataFrame]
    same: pl.DataFrame | None = unchanged
    if touched.is_empty():
        computed = [NGRAM_SPEED_SUMMARIES.empty()]
    elif touched.height * FEW <= inputs.height:
        computed = [summaries(cache.measurements(touched, settings.max_sessions))]
    else:
        touched, same = inputs, None
        computed = map(summaries, cache.all_measurements(settings.read_memory_mb, settings.max_sessions))
    return _Summarised(
        computed,
        same,
        inputs,
        pairs=touched.height,
        unknown_keyboards=count(unknown_keyboards(totals.lazy(), keyboards)),
    )


def materialize_ngram_speed_summaries(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Write every typist's speed on every n-gram at the end of each hour (N2, N3)."""
    kept = hours_within_retention(run, NGRAM_SPEED_SUMMARIES, hours)
    yield from expired_results(run, NGRAM_SPEED_SUMMARIES, hours, kept)
    for stretch in stretches(kept):
        with mark_building(run.lake, NGRAM_SPEED_SUMMARIES, stretch) as rebuilt:
            typing, before = _Typing.until(run.lake, stretch[-1]), _NOTHING_AT_HAND
            for hour in stretch:
                result, before = _summarise(run, hour, typing, before, is_last=hour == stretch[-1])
                rebuilt.add(hour)
                yield result


class _AtHand(NamedTuple):
    """What a run has in memory of the hour before."""

    state: KeptState | None
    sessions: HashedSessions | None


_NOTHING_AT_HAND = _AtHand(None, None)


def _summarise(
    run: RunContext, hour: Hour, typing: _Typing, at_hand: _AtHand, *, is_last: bool
) -> tuple[TableResult, _AtHand]:
    lake = run.lake
    with NgramCache(lake, hour, typing.versions, *at_hand) as cache:
        found = _summarised(run, hour, typing, cache)
        few = _Few(found.rows(cache.before, hour))
        written = lake.write_parts(NGRAM_SPEED_SUMMARIES, hour, few, validated=True)
        cache.keep_inputs(found.inputs)
        if is_last:
            cache.sessions.keep_totals()
        cache.forget(cache.before.inputs.join(found.inputs, on=PAIR, how="anti"))
        result = TableResult(
            rows=written.rows,
            findings={"keyboards_unknown_to_the_source": found.unknown_keyboards},
            metadata={"pairs_summarised": found.pairs},
            sample=few.first.head(PREVIEW_ROWS),
        )
        state = None if few.rows is None else KeptState(found.inputs, rows=few.rows)
        return result, _AtHand(state, cache.sessions)


class _Few:
    """Frames that are handed on, and kept in memory if they are few."""

    def __init__(self, frames: Iterable[pl.DataFrame]) -> None:
        self._frames = frames
        self.first = NGRAM_SPEED_SUMMARIES.empty()
        self.rows: list[pl.DataFrame] | None = []

    def __iter__(self) -> Iterator[pl.DataFrame]:
        height = 0
        for frame in self._frames:
            self.first = self.first if height else frame
            height += frame.height
            if self.rows is not None:
                self.rows = [*self.rows, frame] if height <= KEPT_ROWS else None
            yield frame


def materialize_ngram_speed_summary_history(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Write the summaries that differ from those of the hour before (N3.5)."""
    lake, kept = run.lake, hours_within_retention(run, NGRAM_SPEED_SUMMARY_HISTORY, hours)
    yield from expired_results(run, NGRAM_SPEED_SUMMARY_HISTORY, hours, kept)
    carried = _Carried(run)
    for stretch in stretches(kept):
        with mark_building(lake, NGRAM_SPEED_SUMMARY_HISTORY, stretch) as rebuilt:
            stale = stale_hours_of(lake, NGRAM_SPEED_SUMMARIES)
            typing = lru_cache(partial(_Typing.until, lake, stretch[-1]))
            for hour in stretch:
                changed = None if hour in stale else _written_changes(lake, hour)
                if changed is None:
                    changed = carried.changes(hour, typing(), is_last=hour == stretch[-1])
                lake.write(NGRAM_SPEED_SUMMARY_HISTORY, hour, changed)
                rebuilt.add(hour)
                yield TableResult(rows=changed.height, sample=changed)


class _Carried:
    """The inputs of the hours whose summaries are not written, from hour to hour."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._before = _NOTHING_AT_HAND

    def changes(self, hour: Hour, typing: _Typing, *, is_last: bool) -> pl.DataFrame:
        """Return the summaries of an hour that differ from those of the hour before."""
        state, sessions = self._before
        with NgramCache(self._run.lake, hour, typing.versions, state, sessions) as cache:
            found = _summarised(self._run, hour, typing, cache)
            # Of an earlier hour nothing that is carried over has changed now. The lake's state may be of a later one.
            frames = found.computed if state else found.rows(cache.before, hour)
            changed = [rows.filter(CHANGED) for rows in frames]
            if is_last:
                cache.sessions.keep_totals()
            self._before = _AtHand(KeptState(found.inputs), cache.sessions)
        return pl.concat([NGRAM_SPEED_SUMMARY_HISTORY.empty(), *changed])


def _written_changes(lake: Lake, hour: Hour) -> pl.DataFrame | None:
    """Return the summaries of an hour that differ from those of the hour before; None if they are missing."""
    if not lake.exists(NGRAM_SPEED_SUMMARIES, hour):
        return None
    # The run of a newer hour may be removing them.
    with suppress(FileNotFoundError):
        return lake.scan(NGRAM_SPEED_SUMMARIES, [hour]).filter(CHANGED).collect()
    return None
