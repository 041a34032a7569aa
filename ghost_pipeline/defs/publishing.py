"""Publishing at the end of a run: the database that apps query and, if one is set, the application's PostgreSQL.

How the database is built and how PostgreSQL is written is in `publish/`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Layer
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.specified import (
    SPECIFIED_COHORT_GHOST_DATA,
    SPECIFIED_GHOST_BENCHMARKS,
    SPECIFIED_NGRAM_SPEED_SUMMARIES,
)
from ghost_pipeline.defs.checks import Check, coverage_result, planned_partitions, report
from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.domain.ghost.specified_tables import (
    specified_cohort_ghost_data,
    specified_ghost_benchmarks,
    specified_ngram_speed_summaries,
)
from ghost_pipeline.errors import SettingsError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.locking import shared_lock
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import shown_source
from ghost_pipeline.privacy.statement import privacy_statement
from ghost_pipeline.publish.database_builder import PublishedTable, publish
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.postgres_copy import ReplacedTable, replacing_tables
from ghost_pipeline.publish.publication_record import read_record
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.settings import Settings

PUBLISHED_DATABASE = "published_database"
PUBLISHED_POSTGRES = "published_postgres"
STORABLE = Check(
    "coverage", "Warns if rows were left out because PostgreSQL cannot store a NUL in an id.", partitioned=False
)
_FRESHNESS = pl.Schema(
    {"table": pl.String(), "as_of": pl.Datetime("us", "UTC"), "rows": pl.Int64(), "inputs_hash": pl.String()}
)


def publications(settings: Settings) -> list[str]:
    """Return the assets with which a run ends."""
    return [PUBLISHED_DATABASE, *([PUBLISHED_POSTGRES] if settings.publish_postgres else [])]


def published_database(upstream: list[str], *, allow_gaps: bool = False) -> dg.AssetsDefinition:
    """Return the asset of the database that apps query.

    Args:
        upstream: the published tables.
        allow_gaps: publish event tables even if hours are missing (used by erasure).

    """

    @dg.asset(
        name=PUBLISHED_DATABASE,
        description="The DuckDB file that apps query, the benchmarks as JSON, and a statement of what protects people. "
        "Built as temporary files from the newest partitions, then swapped in: readers see the old or the new version, "
        "never a mix. The table `publication` and publication.json name the publication; `table_info` says how fresh "
        "each table is.",
        group_name=Layer.OPERATIONS.value,
        kinds={"duckdb"},
        # Without a mapping Dagster would list every hour and month since the first one, for each table and run.
        deps=[dg.AssetDep(table, partition_mapping=dg.LastPartitionMapping()) for table in upstream],
    )
    def database(settings: dg.ResourceParam[Settings], lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[None]:
        with shared_lock(lake.root):
            tables = publish(
                lake,
                settings.database,
                allow_gaps=allow_gaps,
                statement=lambda: privacy_statement(lake, settings),
            )
        record = read_record(open_files(settings.place))
        return dg.MaterializeResult(
            metadata={
                "tables": as_table(pl.DataFrame(tables, schema=_FRESHNESS, orient="row")),
                "file": str(settings.database),
                "publication": record.id if record else "",
            },
            data_version=_data_version(tables),
        )

    return database


def published_postgres() -> dg.AssetsDefinition:
    """Return the asset of the tables in an application's PostgreSQL."""

    @dg.asset(
        name=PUBLISHED_POSTGRES,
        description="Benchmarks, released cohort figures and n-gram summaries in the application's PostgreSQL "
        "(GHOST_PUBLISH_POSTGRES), updated from the published database in one transaction. Only rows that differ are "
        "written. Its table `ghost_table_info` says how fresh each table is.",
        group_name=Layer.OPERATIONS.value,
        kinds={"postgres"},
        deps=[PUBLISHED_DATABASE],
        check_specs=[STORABLE.spec(PUBLISHED_POSTGRES)],
    )
    def tables(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> Iterator[object]:
        replaced = publish_postgres(settings)
        rows = pl.DataFrame([asdict(one) for one in replaced], schema_overrides={"as_of": pl.Datetime("us", "UTC")})
        unstorable = {one.table: one.not_storable for one in replaced}
        found = dict.fromkeys(planned_partitions(context.run), coverage_result(unstorable))
        yield from report(PUBLISHED_POSTGRES, STORABLE, found)
        yield dg.MaterializeResult(
            metadata={
                "tables": as_table(rows.drop("not_storable")),
                **{done: int(rows[done].sum()) for done in ("inserted", "updated", "deleted")},
                "database": shown_source(settings.publish_postgres or ""),
            }
        )

    return tables


def _data_version(tables: Iterable[PublishedTable]) -> dg.DataVersion:
    """Return what changes with the inputs of any published table."""
    text = ";".join(f"{one.table} {one.inputs_hash}" for one in tables)
    return dg.DataVersion(hashlib.sha256(text.encode()).hexdigest()[:16])


def publish_postgres(settings: Settings) -> list[ReplacedTable]:
    """Update the specified tables in PostgreSQL from the published database, in one transaction.

    Raises:
        SettingsError: no database is set.
        PublishError: the server cannot be reached, refuses, or holds something else; what was there stays.
        NothingPublishedError: there is no published database yet.

    """
    if not settings.publish_postgres:
        raise SettingsError("GHOST_PUBLISH_POSTGRES: is not set, and nothing is published to PostgreSQL without it")
    with replacing_tables(settings.publish_postgres) as tables:
        # Only now: after waiting for another run, the newest database is another one.
        database = PublishedDatabase.open(settings.database)
        tables.belong_to(database.name)
        hashes = {table: inputs_hash for table, _, _, inputs_hash in database.table_info().iter_rows()}
        benchmarks, month, cohorts = _ghost_rows(database, settings)
        return [
            tables.replace(SPECIFIED_GHOST_BENCHMARKS, [benchmarks], month, hashes[GHOST_BENCHMARKS.name]),
            tables.replace(
                SPECIFIED_COHORT_GHOST_DATA,
                [cohorts],
                database.as_of(COHORT_GHOST_RELEASE),
                hashes[COHORT_GHOST_RELEASE.name],
            ),
            tables.replace(
                SPECIFIED_NGRAM_SPEED_SUMMARIES,
                map(_summaries, database.batches(NGRAM_SPEED_SUMMARIES)),
                database.as_of(NGRAM_SPEED_SUMMARIES),
                hashes[NGRAM_SPEED_SUMMARIES.name],
            ),
        ]


def _ghost_rows(database: PublishedDatabase, settings: Settings) -> tuple[pl.DataFrame, datetime | None, pl.DataFrame]:
    """Return benchmarks, the end of their month, and cohorts, as answers of the newest hour have them."""
    if database.as_of(USER_GHOST_STATS) is None:
        empty = (
            pl.DataFrame(schema=one.polars_schema) for one in (SPECIFIED_GHOST_BENCHMARKS, SPECIFIED_COHORT_GHOST_DATA)
        )
        return next(empty), None, next(empty)
    inputs = Inputs.published(database, settings)
    benchmarks = specified_ghost_benchmarks(inputs.benchmarks.lazy()).collect()
    cohorts = specified_cohort_ghost_data(inputs.releases.lazy(), inputs.as_of, inputs.limits).collect()
    return benchmarks, inputs.benchmarks_as_of, cohorts


def _summaries(batch: pl.DataFrame) -> pl.DataFrame:
    return specified_ngram_speed_summaries(batch.lazy()).collect()
