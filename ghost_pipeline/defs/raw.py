"""Assets of the source's tables: versions and events, validated, with rejects kept apart."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ghost_pipeline.contracts import raw
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.defs.table_asset import PREVIEW_ROWS, RunContext, TableAsset, TableResult, count
from ghost_pipeline.defs.volume import VOLUME_OF_EVENTS
from ghost_pipeline.ingest.events import ingest_events
from ghost_pipeline.ingest.read_policy import ReadPolicy
from ghost_pipeline.ingest.result import IngestResult
from ghost_pipeline.ingest.session_rows import ingest_session_rows
from ghost_pipeline.ingest.versions import ingest_versions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.tombstones import tombstones
from ghost_pipeline.windows import HOUR, Hour

REJECTED = "rejected rows of the window that was read"


def raw_table(contract: Contract, *upstream: Contract) -> TableAsset:
    """The step of a source table: its versions, its events, or the rows of its sessions."""
    table = SOURCE_TABLES[contract.name]

    def ingest(resources: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
        """Read the source once for all hours: it has one state, and that is the state now."""
        with resources.exclusive_source_read(contract):
            if table.versioned:
                # What runs one by one would do: the first hour sees what is new, the others find nothing more.
                yield take_in(resources, hours[0])
                for hour in hours[1:]:
                    resources.lake.write(contract, hour, resources.lake.scan(contract, [hour]).collect())
                    yield read_with(resources, contract, hour, hours[0])
                return
            *earlier, last = hours
            taken = take_in(reaching(resources, hours), last)
            for hour in earlier:
                yield read_with(resources, contract, hour, last)
            yield taken

    def take_in(resources: RunContext, hour: Hour) -> TableResult:
        source, lake = resources.source(), resources.lake
        policy, erased = ReadPolicy.of(resources.settings), tombstones(lake, resources.settings)
        if table.versioned:
            taken = ingest_versions(source, lake, table, contract, hour, erased)
        elif table.of_session:
            taken = ingest_session_rows(source, lake, table, contract, hour, policy, erased)
        else:
            taken = ingest_events(source, lake, table, contract, hour, policy, erased)
        return ingested_outcome(lake, contract, hour, taken)

    comparisons = () if table.versioned else (VOLUME_OF_EVENTS,)
    return TableAsset.over_hours(contract, upstream, ingest, comparisons=comparisons, counts=REJECTED)


def read_with(resources: RunContext, contract: Contract, hour: Hour, other: Hour) -> TableResult:
    """What a step says of an hour that has been read together with another one."""
    return TableResult(rows=resources.lake.rows(contract, hour), metadata={"read_with": other.key})


def reaching(resources: RunContext, hours: Sequence[Hour]) -> RunContext:
    """Resources whose look-back, from the end of the last hour, is that of the first one."""
    before = (hours[-1].start - hours[0].start) // HOUR
    longer = before + resources.settings.lookback_hours
    return replace(resources, settings=resources.settings.model_copy(update={"lookback_hours": longer}))


def ingested_outcome(lake: Lake, contract: Contract, hour: Hour, taken: IngestResult) -> TableResult:
    """What an ingestion says to Dagster: the hour's rows, the window's rows, rejects and repeats."""
    rows = lake.scan(contract, [hour])
    return TableResult(
        rows=count(rows),
        findings={"rejected_rows": taken.rejected},
        metadata={
            "rows_read_in_window": taken.rows,
            "repeated_events_merged": taken.repeated,
            "partitions_changed": taken.changed,
            "rows_of_erased_people": taken.erased,
        },
        # What somebody typed, key by key, is nobody's to look at.
        sample=None if contract is raw.SESSION_KEYSTROKES else rows.head(PREVIEW_ROWS).collect(),
    )


RAW_ASSETS = (
    raw_table(raw.USERS),
    raw_table(raw.COHORTS),
    raw_table(raw.KEYBOARDS, raw.USERS),
    raw_table(raw.USER_PROGRESS, raw.USERS),
    raw_table(raw.PRACTICE_SESSIONS, raw.USERS),
    raw_table(raw.SESSION_KEYSTROKES, raw.USERS, raw.PRACTICE_SESSIONS),
)
