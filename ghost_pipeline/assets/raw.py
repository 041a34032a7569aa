"""Assets of the source's tables: versions and events, validated, with rejects kept apart."""

from ghost_pipeline.assets.ingestion import Ingested, ingest_events, ingest_session_rows, ingest_versions
from ghost_pipeline.assets.step import PREVIEW_ROWS, Outcome, Resources, Step, count
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.tables import raw
from ghost_pipeline.tables.contract import Contract
from ghost_pipeline.tables.raw import SOURCE_TABLES
from ghost_pipeline.windows import Hour


def raw_step(contract: Contract, *upstream: Contract) -> Step:
    """The step of a source table: its versions, its events, or the rows of its sessions."""
    table = SOURCE_TABLES[contract.name]

    def ingest(resources: Resources, hour: Hour) -> Outcome:
        source, lake, lookback = resources.source(), resources.lake, resources.lookback
        if table.versioned:
            taken = ingest_versions(source, lake, table, contract, hour)
        elif table.of_session:
            taken = ingest_session_rows(source, lake, table, contract, hour, lookback)
        else:
            taken = ingest_events(source, lake, table, contract, hour, lookback)
        return ingested_outcome(lake, contract, hour, taken)

    return Step(contract, upstream, ingest)


def ingested_outcome(lake: Lake, contract: Contract, hour: Hour, taken: Ingested) -> Outcome:
    """What an ingestion says to Dagster: the hour's rows, the window's rows, rejects and repeats."""
    rows = lake.scan(contract, [hour])
    return Outcome(
        rows=count(rows),
        findings={"rejected_rows": taken.rejected},
        metadata={
            "rows_read_in_window": taken.rows,
            "repeated_events_merged": taken.repeated,
            "partitions_changed": taken.changed,
        },
        # What somebody typed, key by key, is nobody's to look at.
        sample=None if contract is raw.SESSION_KEYSTROKES else rows.head(PREVIEW_ROWS).collect(),
    )


RAW_STEPS = (
    raw_step(raw.USERS),
    raw_step(raw.COHORTS),
    raw_step(raw.KEYBOARDS, raw.USERS),
    raw_step(raw.USER_PROGRESS, raw.USERS),
    raw_step(raw.PRACTICE_SESSIONS, raw.USERS),
    raw_step(raw.SESSION_KEYSTROKES, raw.USERS, raw.PRACTICE_SESSIONS),
)
