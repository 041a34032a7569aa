"""Assets of the n-gram half: measurements and mistakes of every session, and the summaries."""

from collections.abc import Callable

import polars as pl

from ghost_pipeline.assets.ingestion import (
    Ingested,
    read_from,
    read_session_rows,
    read_to,
    require_no_rows,
    write_events,
    write_rejects,
)
from ghost_pipeline.assets.raw import ingested_outcome
from ghost_pipeline.assets.step import Outcome, Resources, Step, count
from ghost_pipeline.tables.contract import Contract
from ghost_pipeline.tables.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.tables.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    SOURCE_TABLES,
)
from ghost_pipeline.transforms.ngram_extraction import error_ngrams, speed_ngrams
from ghost_pipeline.transforms.ngram_speed_summaries import ngram_speed_summaries
from ghost_pipeline.transforms.session_ngrams import sessions_without, with_extracted
from ghost_pipeline.transforms.unknown_keyboards import unknown_keyboards
from ghost_pipeline.transforms.versions import keyboards_at
from ghost_pipeline.windows import Hour

Extraction = Callable[[pl.LazyFrame, int], pl.LazyFrame]
_OTHER = {
    SESSION_NGRAM_SPEED.name: SESSION_NGRAM_ERRORS.name,
    SESSION_NGRAM_ERRORS.name: SESSION_NGRAM_SPEED.name,
}
"""A session with rows of its own in either table has none extracted for the other."""


def session_ngrams_step(contract: Contract, extract: Extraction) -> Step:
    """The step of a table of n-grams: the application's rows, else those extracted from keystrokes (N1.2)."""

    def materialize(resources: Resources, hour: Hour) -> Outcome:
        source, lake, settings = resources.source(), resources.lake, resources.settings
        start, last = read_from(lake, contract, hour, resources.lookback), read_to(lake, contract, hour)
        table, other = SOURCE_TABLES[contract.name], SOURCE_TABLES[_OTHER[contract.name]]
        direct = read_session_rows(source, lake, table, contract, start, last)
        start = direct.start
        kept = lake.scan(contract, lake.hours_between(contract, start, last.as_of))
        require_no_rows(source, table, kept.filter(pl.col("key_index").is_null()))
        own = [direct.sessions, read_session_rows(source, lake, other, contract, start, last).sessions]
        window = lake.hours_between(SESSION_KEYSTROKES, start, last.as_of)
        extracted = extract(sessions_without(lake.scan(SESSION_KEYSTROKES, window), own), settings.max_ngram_size)
        starts = lake.scan(PRACTICE_SESSIONS).select("session_id", _start="start_time")
        rows = with_extracted(direct.good.lazy(), extracted, starts, contract).collect()
        changed = write_events(lake, contract, last, start, rows, resources.lookback)
        write_rejects(lake, table, start, last, direct.rejected)
        return ingested_outcome(lake, contract, hour, Ingested(rows.height, direct.rejected.height, changed=changed))

    return Step(contract, (PRACTICE_SESSIONS, SESSION_KEYSTROKES), materialize)


def materialize_ngram_speed_summaries(resources: Resources, hour: Hour) -> Outcome:
    """Every typist's speed on every n-gram at the end of the hour (N2, N3)."""
    lake, settings = resources.lake, resources.settings
    sessions = lake.read_until(PRACTICE_SESSIONS, hour.as_of)
    keyboards = keyboards_at(lake.scan(KEYBOARDS), hour.as_of)
    summaries = ngram_speed_summaries(
        sessions,
        lake.read_until(SESSION_NGRAM_SPEED, hour.as_of),
        keyboards,
        hour.as_of,
        decay_factor=settings.decay_factor,
        max_measurements=settings.max_measurements,
        max_sessions=settings.max_sessions,
        default_target_ms=settings.default_target_ms,
    ).collect()
    lake.write(NGRAM_SPEED_SUMMARIES, hour, summaries)
    return Outcome(
        rows=summaries.height,
        findings={"keyboards_unknown_to_the_source": count(unknown_keyboards(sessions, keyboards))},
        sample=summaries,
    )


NGRAM_STEPS = (
    session_ngrams_step(SESSION_NGRAM_SPEED, speed_ngrams),
    session_ngrams_step(SESSION_NGRAM_ERRORS, error_ngrams),
    Step(
        NGRAM_SPEED_SUMMARIES,
        (PRACTICE_SESSIONS, SESSION_NGRAM_SPEED, KEYBOARDS),
        materialize_ngram_speed_summaries,
    ),
)
