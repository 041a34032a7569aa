"""Assets that look over the others: what was rejected, what is stale, what is removed, and the published database."""

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Layer
from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS
from ghost_pipeline.contracts.staleness import STALE_HOURS
from ghost_pipeline.defs.partitions import Partitions, chunks
from ghost_pipeline.defs.table_asset import (
    HOURS_POOL,
    OWNER,
    RunContext,
    TableAsset,
    TableResult,
    count,
    markdown_table,
)
from ghost_pipeline.domain.shared.rejections import rejections_by_reason
from ghost_pipeline.incremental.retention import newest_snapshot, remove_expired
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.lake.locking import shared_lock
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, shown_length

PUBLISHED_DATABASE = "published_database"
PUBLISHED_POSTGRES = "published_postgres"
RETENTION = "retention"


def publications(settings: Settings) -> list[str]:
    """The assets with which a run ends: what it publishes, and where."""
    return [PUBLISHED_DATABASE, *([PUBLISHED_POSTGRES] if settings.publish_postgres else [])]


def summarise_rejected_rows(resources: RunContext, hour: Hour) -> TableResult:
    """Count what the lake holds of rejected rows; the steps that read the tables have written them."""
    del hour
    reasons = rejections_by_reason(resources.lake.scan(REJECTED_ROWS)).collect()
    return TableResult(
        rows=int(reasons["rows"].sum()),
        findings={f"{table}: {reason}": rows for table, reason, rows in reasons.iter_rows()},
        sample=reasons,
    )


def list_stale_hours(resources: RunContext, hour: Hour) -> TableResult:
    """List the hours that were built before something changed that they show; the steps that noticed wrote them."""
    del hour
    found = stale_hours(resources.lake)
    return TableResult(
        rows=found.height,
        findings={f"{table}: stale_hours": rows for table, rows in found.group_by("table").len().sort("table").rows()},
        metadata={"to_build_again": markdown_table(_stretches(found))},
    )


def count_tombstones(resources: RunContext, hour: Hour) -> TableResult:
    """Count the ids that were erased; `ghost-pipeline erase` has written them."""
    del hour
    rows = count(resources.lake.scan(ERASED_PEOPLE))
    unfinished = count(resources.lake.scan(ERASED_PEOPLE).filter(pl.col("under_way").is_not_null()))
    return TableResult(rows=rows, findings={"ids_whose_erasure_was_interrupted": unfinished})


def _stretches(found: pl.DataFrame) -> pl.DataFrame:
    """Stale hours as consecutive stretches: table, from, to, hours."""
    rows = [
        (table, stretch[0].start, stretch[-1].as_of, len(stretch))
        for (table,), part in found.partition_by("table", as_dict=True, maintain_order=True).items()
        for stretch in chunks((Hour.containing(start) for start in part["hour"]), part.height)
    ]
    return pl.DataFrame(rows, schema=["table", "from", "to", "hours"], orient="row")


OPERATIONS_ASSETS = (
    TableAsset(
        REJECTED_ROWS,
        tuple(RAW_CONTRACTS.values()),
        summarise_rejected_rows,
        counts="the rejected rows of the lake by table and reason",
    ),
    TableAsset(
        STALE_HOURS,
        (COHORT_GHOST_DATA, NGRAM_SPEED_SUMMARIES),
        list_stale_hours,
        counts="hours to be built again, by table",
    ),
    TableAsset(ERASED_PEOPLE, tuple(RAW_CONTRACTS.values()), count_tombstones),
)


def retention(upstream: list[str], partitions: Partitions, hours_per_run: int) -> dg.AssetsDefinition:
    """The asset that removes what is no longer kept; `upstream` are the tables of an hour, which it comes after."""

    @dg.asset(
        name=RETENTION,
        description="Removes the partitions that their table no longer keeps (`GHOST_RETENTION`), counted from its "
        "newest one. Only the run of the newest hour removes: an old hour that was asked for stays until then.",
        group_name=Layer.OPERATIONS.value,
        kinds={"parquet"},
        owners=[OWNER],
        deps=upstream,
        partitions_def=partitions.hourly,
        pool=HOURS_POOL,
        backfill_policy=dg.BackfillPolicy.multi_run(hours_per_run),
    )
    def removal(
        context: dg.AssetExecutionContext, resources: dg.ResourceParam[RunContext]
    ) -> dg.MaterializeResult[None]:
        last, newest = Hour.from_key(max(context.partition_keys)), newest_snapshot(resources.lake)
        if newest and last < newest:
            return dg.MaterializeResult(metadata={"left": f"{newest.key} is newer, and its run removes"})
        chosen = resources.settings.retention
        with shared_lock(resources.lake.root):
            found = remove_expired(resources.lake, chosen, resources.settings.database)
        rows = [(one.table, shown_length(one.retention), one.ended_by, one.partitions) for one in found]
        table = pl.DataFrame(rows, schema=["table", "kept for", "removed up to", "partitions"], orient="row")
        return dg.MaterializeResult(
            metadata={"partitions_removed": sum(one.partitions for one in found), "tables": markdown_table(table)}
        )

    return removal


def published_database(upstream: list[str]) -> dg.AssetsDefinition:
    """The asset of the database that apps read; `upstream` are the published tables."""

    @dg.asset(
        name=PUBLISHED_DATABASE,
        description="The DuckDB file that apps query: built beside from the newest partitions and renamed, so that a "
        "reader sees the state before or the state after. `table_info` in it says how fresh each table is.",
        group_name=Layer.OPERATIONS.value,
        kinds={"duckdb"},
        owners=[OWNER],
        deps=upstream,
    )
    def database(resources: dg.ResourceParam[RunContext]) -> dg.MaterializeResult[None]:
        with shared_lock(resources.lake.root):
            tables = publish(resources.lake, resources.settings.database, allow_gaps=resources.allow_gaps)
        lines = ["| table | as_of | rows |", "|---|---|---|"]
        lines += [f"| {one.table} | {one.as_of or ''} | {one.rows} |" for one in tables]
        return dg.MaterializeResult(
            metadata={
                "tables": dg.MetadataValue.md("\n".join(lines)),
                "file": str(resources.settings.database),
            }
        )

    return database
