"""Assets of the source's tables: versions and events, validated, with rejected rows kept apart.

How rows are read and validated is in `ingest/`; the n-grams of sessions, which may be extracted, are in `ngrams`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from ghost_pipeline.contracts import raw
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import REJECTED_ROWS, SOURCE_TABLES
from ghost_pipeline.defs.checks import Check
from ghost_pipeline.defs.metadata import PREVIEW_ROWS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult, count
from ghost_pipeline.defs.volume import VOLUME_OF_EVENTS
from ghost_pipeline.domain.ngrams.odd_keystrokes import odd_keystrokes
from ghost_pipeline.domain.shared.rejections import rejections_by_reason
from ghost_pipeline.ingest.events import ingest_events
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.ingest.result import IngestResult
from ghost_pipeline.ingest.session_rows import ingest_session_rows
from ghost_pipeline.ingest.versions import ingest_versions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.tombstones import tombstones
from ghost_pipeline.sources.source import Source
from ghost_pipeline.windows import HOUR, Hour

REJECTED = "rejected rows of the table in the lake, by reason"
ODD_KEYSTROKES = Check(
    "odd_keystrokes",
    "Warns if typists paused for an hour within a session, or if keys were sent by name or delete a word: such keys "
    "are measured, but no finger types them.",
)


def raw_table(contract: Contract, *upstream: Contract) -> TableAsset:
    """Return the asset of a source table: its versions, its events, or the rows of its sessions.

    The source has one state, the present one, so it is read once for all hours of a run.
    """
    table = SOURCE_TABLES[contract.name]

    def materialize_versions(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
        with run.source.exclusive_read(contract) as source:
            # As runs one by one would: the first hour has what is new, the others find nothing more.
            yield ingest(run, source, hours[0])
            for hour in hours[1:]:
                run.lake.write(contract, hour, run.lake.scan(contract, [hour]).collect())
                yield read_together(run.lake, contract, hour, hours[0])

    def materialize_events(run: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
        *earlier, last = hours
        with run.source.exclusive_read(contract) as source:
            result = ingest(looking_back_over(run, hours), source, last)
            yield from (read_together(run.lake, contract, hour, last) for hour in earlier)
            yield result

    def ingest(run: RunContext, source: Source, hour: Hour) -> TableResult:
        lake, policy, erased = run.lake, ReadPolicy.of(run.settings), tombstones(run.lake, run.settings)
        if table.versioned:
            ingested = ingest_versions(source, lake, table, contract, hour, erased, run.on_rows)
        elif table.of_session:
            ingested = ingest_session_rows(source, lake, table, contract, hour, policy, erased)
        else:
            ingested = ingest_events(source, lake, table, contract, hour, policy, erased, run.on_rows)
        return ingest_report(lake, contract, hour, ingested)

    return TableAsset(
        contract,
        upstream,
        materialize_versions if table.versioned else materialize_events,
        checks=(ODD_KEYSTROKES,) if contract is raw.SESSION_KEYSTROKES else (),
        comparisons=() if table.versioned else (VOLUME_OF_EVENTS,),
        counts=REJECTED,
        counted_now=rejected_rows_of(contract),
    )


def rejected_rows_of(contract: Contract) -> Callable[[RunContext], Mapping[str, int]]:
    """Return the function that counts the rejected rows of a source table in the lake, by reason."""

    def count_by_reason(run: RunContext) -> Mapping[str, int]:
        rejected = run.lake.scan(REJECTED_ROWS, run.lake.rejects(REJECTED_ROWS, contract.name))
        return {reason: rows for _, reason, rows in rejections_by_reason(rejected).collect().iter_rows()}

    return count_by_reason


def read_together(lake: Lake, contract: Contract, hour: Hour, other: Hour) -> TableResult:
    """Return the result of an hour that was read together with another one."""
    return TableResult(rows=lake.rows(contract, hour), metadata={"read_with": other.key})


def looking_back_over(run: RunContext, hours: Sequence[Hour]) -> RunContext:
    """Return the run with a look-back that, from the end of the last hour, reaches as far as that of the first one."""
    before = (hours[-1].start - hours[0].start) // HOUR
    longer = before + run.settings.lookback_hours
    return replace(run, settings=run.settings.model_copy(update={"lookback_hours": longer}))


def ingest_report(lake: Lake, contract: Contract, hour: Hour, ingested: IngestResult) -> TableResult:
    """Return the result of an ingestion: the hour's rows, and rejects and repeats of the whole window."""
    rows = lake.scan(contract, [hour])
    odd = _odd_keys(contract, rows)
    return TableResult(
        rows=count(rows),
        findings={"rejected_rows": ingested.rejected},
        warnings={ODD_KEYSTROKES.name: [f"{name}: {number}" for name, number in odd.items() if number]},
        metadata={
            **odd,
            "rows_read_in_window": ingested.rows,
            "repeated_events_merged": ingested.repeated,
            "partitions_changed": ingested.changed,
            "rows_of_erased_people": ingested.erased,
            "files_read": ingested.files_read,
            "files_skipped": ingested.files_skipped,
        },
        sample=rows.head(PREVIEW_ROWS).collect(),
    )


def _odd_keys(contract: Contract, rows: pl.LazyFrame) -> dict[str, int]:
    return odd_keystrokes(rows).collect().row(0, named=True) if contract is raw.SESSION_KEYSTROKES else {}


RAW_ASSETS = (
    raw_table(raw.USERS),
    raw_table(raw.COHORTS),
    raw_table(raw.KEYBOARDS, raw.USERS),
    raw_table(raw.USER_PROGRESS, raw.USERS),
    raw_table(raw.PRACTICE_SESSIONS, raw.USERS),
    raw_table(raw.SESSION_KEYSTROKES, raw.USERS, raw.PRACTICE_SESSIONS),
)
