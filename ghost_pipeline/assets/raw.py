"""Assets of the source's tables: versions and events, validated, with rejects kept apart."""

from ghost_pipeline.assets.ingestion import Ingested, ingest_events, ingest_session_rows, ingest_versions
from ghost_pipeline.assets.step import Outcome, Resources, Step
from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.tables import raw
from ghost_pipeline.tables.contract import Contract
from ghost_pipeline.tables.raw import SOURCE_TABLES
from ghost_pipeline.windows import Hour


def versions_step(contract: Contract, *upstream: Contract) -> Step:
    """The step of a table of versions: what the run of an hour sees changed (G1.7)."""

    def ingest(resources: Resources, hour: Hour) -> Outcome:
        source, lake = resources.source(), resources.lake
        taken = ingest_versions(source, lake, SOURCE_TABLES[contract.name], contract, hour)
        return ingested_outcome(lake, contract, hour, taken)

    return Step(contract, upstream, ingest)


def events_step(contract: Contract, *upstream: Contract) -> Step:
    """The step of a table of events: the look-back window and whatever the lake lacks."""

    def ingest(resources: Resources, hour: Hour) -> Outcome:
        source, lake, lookback = resources.source(), resources.lake, resources.lookback
        taken = ingest_events(source, lake, SOURCE_TABLES[contract.name], contract, hour, lookback)
        return ingested_outcome(lake, contract, hour, taken)

    return Step(contract, upstream, ingest)


def session_rows_step(contract: Contract, *upstream: Contract) -> Step:
    """The step of a table whose rows belong to practice sessions."""

    def ingest(resources: Resources, hour: Hour) -> Outcome:
        source, lake, lookback = resources.source(), resources.lake, resources.lookback
        taken = ingest_session_rows(source, lake, SOURCE_TABLES[contract.name], contract, hour, lookback)
        return ingested_outcome(lake, contract, hour, taken)

    return Step(contract, upstream, ingest)


def ingested_outcome(lake: Lake, contract: Contract, hour: Hour, taken: Ingested) -> Outcome:
    """What an ingestion says to Dagster: the hour's rows, the window's rows, rejects and repeats."""
    return Outcome(
        rows=lake.rows(contract, hour),
        findings={"rejected_rows": taken.rejected},
        metadata={
            "rows_read_in_window": taken.rows,
            "repeated_events_merged": taken.repeated,
            "partitions_changed": taken.changed,
        },
    )


RAW_STEPS = (
    versions_step(raw.USERS),
    versions_step(raw.COHORTS),
    versions_step(raw.KEYBOARDS, raw.USERS),
    events_step(raw.USER_PROGRESS, raw.USERS),
    events_step(raw.PRACTICE_SESSIONS, raw.USERS),
    session_rows_step(raw.SESSION_KEYSTROKES, raw.PRACTICE_SESSIONS),
)
