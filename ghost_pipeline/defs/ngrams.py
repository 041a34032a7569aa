"""Assets of the n-gram domain: speeds and errors of every session, and their summaries."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    SOURCE_TABLES,
)
from ghost_pipeline.defs.metadata import PREVIEW_ROWS
from ghost_pipeline.defs.ngram_summaries import (
    materialize_ngram_speed_summaries,
    materialize_ngram_speed_summary_history,
)
from ghost_pipeline.defs.period_over_period import period_over_period
from ghost_pipeline.defs.raw import (
    REJECTED,
    ingest_report,
    looking_back_over,
    read_together,
    rejected_rows_of,
)
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.defs.volume import VOLUME_OF_EVENTS
from ghost_pipeline.domain.ngrams.ngram_extraction import error_ngrams, speed_ngrams, whole_sessions
from ghost_pipeline.domain.ngrams.session_ngram_summary import session_ngram_summary
from ghost_pipeline.domain.ngrams.session_ngrams import START, as_rows, by_session, sessions_without
from ghost_pipeline.domain.shared.period_figures import row_count
from ghost_pipeline.incremental.changed_inputs import INPUT_SCHEMA, ChangedInputs
from ghost_pipeline.incremental.stale_ledger import mark_stale
from ghost_pipeline.ingest.deletion_guard import require_rows_stay
from ghost_pipeline.ingest.dependents import NGRAM_SNAPSHOTS
from ghost_pipeline.ingest.expired_keystrokes import extracted_before, keystrokes_since
from ghost_pipeline.ingest.read_policy import ReadPolicy, range_end, source_from
from ghost_pipeline.ingest.rejects import write_rejects
from ghost_pipeline.ingest.result import IngestResult
from ghost_pipeline.ingest.session_rows import read_session_rows
from ghost_pipeline.ingest.session_writing import keep_ledger
from ghost_pipeline.ingest.source_rows import require_no_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.privacy.tombstones import tombstones
from ghost_pipeline.sources.source import Source
from ghost_pipeline.stable_hash import row_hashes
from ghost_pipeline.windows import Hour

EXTRACTION = 1
"""The version of the code that extracts n-grams. Raise it when its rows change: hours are then extracted again."""

Extraction = Callable[[pl.LazyFrame, int], pl.LazyFrame]
_OTHER = {
    SESSION_NGRAM_SPEED.name: SESSION_NGRAM_ERRORS.name,
    SESSION_NGRAM_ERRORS.name: SESSION_NGRAM_SPEED.name,
}
"""If the source has rows of a session for either table, none are extracted for the other."""


def session_ngrams_table(contract: Contract, extract: Extraction) -> TableAsset:
    """Return the asset of a table of n-grams: the source's rows, otherwise those extracted from keystrokes (N1.2)."""

    def materialize(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
        *earlier, last = hours
        with run.source.exclusive_read(contract) as source:
            result = ingest(looking_back_over(run, hours), source, last)
        yield from (read_together(run.lake, contract, hour, last) for hour in earlier)
        yield result

    def ingest(run: RunContext, source: Source, hour: Hour) -> TableResult:
        lake, settings = run.lake, run.settings
        erased = tombstones(lake, settings)
        start, last = source_from(lake, contract, hour, ReadPolicy.of(settings)), range_end(lake, contract, hour)
        table, other = SOURCE_TABLES[contract.name], SOURCE_TABLES[_OTHER[contract.name]]
        whole = start is None or not source.reads_windows
        direct = read_session_rows(source, lake, table, contract, start, last, erased)
        start = direct.start
        kept = lake.scan(contract, lake.hours_between(contract, start, last.as_of))
        require_no_rows(source, table, kept.filter(pl.col("key_index").is_null()))
        others = read_session_rows(source, lake, other, contract, start, last, erased)
        own = [direct.sessions, others.sessions]
        delivered = as_rows(direct.good, contract).sort(pl.all(), nulls_last=True)
        # The rows of a session are in the partition of its hour.
        window = {*lake.hours_between(PRACTICE_SESSIONS, start, last.as_of)}
        window |= {*lake.hours_between(contract, start, last.as_of)}
        seen = ChangedInputs(
            lake,
            contract,
            (PRACTICE_SESSIONS, SESSION_KEYSTROKES),
            last,
            window=window,
            others=_delivered_by_hour(lake, window, delivered, own),
            computed_by=f"{EXTRACTION} {settings.max_ngram_size}",
        )
        heights: list[int] = []
        changed, keys_since = 0, keystrokes_since(lake, ReadPolicy.of(settings))
        for part in lake.in_parts(SESSION_KEYSTROKES, seen.changed):
            keys = sessions_without(lake.scan(SESSION_KEYSTROKES, part), own).collect()
            extracted = (extract(some.lazy(), settings.max_ngram_size).collect() for some in whole_sessions(keys))
            expired = [one for one in part if one.start < keys_since]
            before = extracted_before(lake, contract, expired, [*own, keys.select("session_id")])
            found = chain([delivered, before], _counted((as_rows(some, contract) for some in extracted), heights))
            sessions = lake.scan(PRACTICE_SESSIONS, part).select("session_id", "start_time").collect().lazy()
            if lake.is_large(SESSION_KEYSTROKES, part[0]):
                one = lake.write_parts(contract, part[0], (by_session([some], sessions).drop(START) for some in found))
                changed += one.changed
            else:
                placed = by_session(found, sessions)
                changed += lake.write_hours(
                    contract,
                    part,
                    placed.drop(START),
                    placed[START].dt.truncate("1h"),
                    partial(_before_change, run, contract, placed, direct.rejected_ids, hour),
                )
        seen.keep()
        write_rejects(lake, table, start, last, [direct.rejected], whole=whole)
        keep_ledger(lake, table, contract, direct.ledger)
        keep_ledger(lake, other, contract, others.ledger)
        ingested = IngestResult(
            delivered.height,
            direct.rejected.height,
            changed=changed,
            erased=direct.erased,
            files_read=direct.files_read,
            files_skipped=direct.files_skipped,
        )
        result = ingest_report(lake, contract, hour, ingested)
        extraction = {"hours_extracted": len(seen.changed), "rows_extracted": sum(heights)}
        return replace(result, metadata={**result.metadata, **extraction})

    upstream = (PRACTICE_SESSIONS, SESSION_KEYSTROKES)
    return TableAsset(
        contract,
        upstream,
        materialize,
        comparisons=(VOLUME_OF_EVENTS,),
        counts=REJECTED,
        counted_now=rejected_rows_of(contract),
    )


def _counted(frames: Iterable[pl.DataFrame], heights: list[int]) -> Iterator[pl.DataFrame]:
    """Yield frames, and note the rows of each."""
    for frame in frames:
        heights.append(frame.height)
        yield frame


def _delivered_by_hour(
    lake: Lake, window: Iterable[Hour], delivered: pl.DataFrame, own: Sequence[pl.DataFrame]
) -> pl.DataFrame:
    """Return a hash of what the source delivered for the sessions of each hour.

    Args:
        lake: the lake with the sessions.
        window: their hours.
        delivered: the good rows of the table.
        own: `session_id` of the sessions without extracted rows, a frame for each table of n-grams.

    """
    rows = [delivered, *(some.with_columns(pl.lit(number)) for number, some in enumerate(own))]
    if all(some.is_empty() for some in rows):
        return INPUT_SCHEMA.to_frame()
    hashes = pl.concat([some.select("session_id", row_hashes(some).alias("hash")) for some in rows])
    sessions = lake.scan(PRACTICE_SESSIONS, sorted(window)).select(
        "session_id", hour=pl.col("start_time").dt.truncate("1h")
    )
    placed = sessions.join(hashes.lazy(), on="session_id", how="inner").group_by("hour").agg(pl.col("hash").sum())
    return placed.collect()


def _before_change(
    run: RunContext, contract: Contract, rows: pl.DataFrame, rejected_ids: pl.DataFrame, hour: Hour, changed: list[Hour]
) -> None:
    """Refuse to lose the rows of too many sessions; mark the hours stale that follow from changed ones."""
    policy = ReadPolicy.of(run.settings)
    require_rows_stay(run.lake, contract, changed, rows, rejected_ids, policy)
    if contract is SESSION_NGRAM_SPEED:
        mark_stale(run.lake, NGRAM_SNAPSHOTS, min(changed).start, hour.as_of)


def materialize_session_ngram_summary(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
    """Summarise the n-grams of every session (N3.6), for the hours whose inputs changed."""
    lake, last = run.lake, hours[-1]
    computed = _summarise_sessions(lake, last)
    written = lake.scan(SESSION_NGRAM_SUMMARY, hours)
    by_hour = written.group_by(pl.col("start_time").dt.truncate("1h")).len().collect()
    rows: dict[object, int] = dict(by_hour.iter_rows())
    yield from (TableResult(rows=rows.get(hour.start, 0)) for hour in hours[:-1])
    sample = lake.scan(SESSION_NGRAM_SUMMARY, [last]).head(PREVIEW_ROWS).collect()
    yield TableResult(rows=rows.get(last.start, 0), metadata=computed, sample=sample)


def _summarise_sessions(lake: Lake, last: Hour) -> dict[str, int]:
    """Summarise the sessions of the changed hours up to the last one; returns how much was done."""
    inputs = (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS)
    rows, changed = 0, 0
    # Otherwise files that another run has written from older inputs would count as seen.
    with table_lock(lake.root, SESSION_NGRAM_SUMMARY.name):
        seen = ChangedInputs(lake, SESSION_NGRAM_SUMMARY, inputs, last)
        for part in lake.in_parts(SESSION_NGRAM_SPEED, seen.changed):
            found = session_ngram_summary(*(lake.scan(table, part) for table in inputs)).collect()
            rows += found.height
            changed += lake.write_hours(SESSION_NGRAM_SUMMARY, part, found, found["start_time"].dt.truncate("1h"))
        seen.keep()
    return {"rows_computed": rows, "partitions_changed": changed}


NGRAM_ASSETS = (
    session_ngrams_table(SESSION_NGRAM_SPEED, speed_ngrams),
    session_ngrams_table(SESSION_NGRAM_ERRORS, error_ngrams),
    TableAsset(
        SESSION_NGRAM_SUMMARY,
        (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
        materialize_session_ngram_summary,
    ),
    TableAsset(
        NGRAM_SPEED_SUMMARIES,
        (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED, KEYBOARDS),
        materialize_ngram_speed_summaries,
        comparisons=(period_over_period(NGRAM_SPEED_SUMMARIES, row_count),),
        counts="sessions on keyboards that the source lacks",
    ),
    TableAsset(NGRAM_SPEED_SUMMARY_HISTORY, (NGRAM_SPEED_SUMMARIES,), materialize_ngram_speed_summary_history),
)
