"""The copy of what is published in an application's PostgreSQL: the last step of a run, where one is set."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

import dagster as dg
import polars as pl

from ghost_pipeline.contracts.contract import Layer
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, GHOST_BENCHMARKS, USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.specified import (
    SPECIFIED_COHORT_GHOST_DATA,
    SPECIFIED_GHOST_BENCHMARKS,
    SPECIFIED_NGRAM_SPEED_SUMMARIES,
)
from ghost_pipeline.defs.checks import COVERAGE
from ghost_pipeline.defs.operations import PUBLISHED_DATABASE, PUBLISHED_POSTGRES
from ghost_pipeline.defs.table_asset import OWNER, RunContext, markdown_table
from ghost_pipeline.domain.ghost.specified_tables import (
    specified_cohort_ghost_data,
    specified_ghost_benchmarks,
    specified_ngram_speed_summaries,
)
from ghost_pipeline.errors import SettingsError
from ghost_pipeline.locations import shown_source
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.postgres_copy import ReplacedTable, replacing_tables
from ghost_pipeline.serving.inputs import Inputs
from ghost_pipeline.settings import Settings


def publish_postgres(settings: Settings) -> list[ReplacedTable]:
    """Let the specification's tables in PostgreSQL say what the published database says, in one transaction.

    Raises:
        SettingsError: no database is set.
        PublishError: the server cannot be reached, refuses, or holds something else; what was there stays.
        NothingPublishedError: there is no published database yet.

    """
    if not settings.publish_postgres:
        raise SettingsError("GHOST_PUBLISH_POSTGRES: is not set, and nothing is published to PostgreSQL without it")
    with replacing_tables(settings.publish_postgres) as tables:
        # Only now: who has waited for another run publishes what is newest then.
        database = PublishedDatabase.open(settings.database)
        hashes = {table: inputs_hash for table, _, _, inputs_hash in database.table_info().iter_rows()}
        benchmarks, month, cohorts = _ghost_half(database, settings)
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


def _ghost_half(database: PublishedDatabase, settings: Settings) -> tuple[pl.DataFrame, datetime | None, pl.DataFrame]:
    """Benchmarks, the end of their month, cohorts: what answers of the newest hour are made of."""
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


def published_postgres() -> dg.AssetsDefinition:
    """The asset of the tables in PostgreSQL."""

    @dg.asset(
        name=PUBLISHED_POSTGRES,
        description="The specification's tables in the application's PostgreSQL (GHOST_PUBLISH_POSTGRES): benchmarks, "
        "released figures of cohorts and n-gram summaries, replaced in one transaction by what the published database "
        "says. Only rows that differ are written. `ghost_table_info` beside them says how fresh each table is.",
        group_name=Layer.OPERATIONS.value,
        kinds={"postgres"},
        owners=[OWNER],
        deps=[PUBLISHED_DATABASE],
        check_specs=[
            dg.AssetCheckSpec(
                COVERAGE.name,
                asset=PUBLISHED_POSTGRES,
                description="Warns where rows were left out because PostgreSQL cannot hold a NUL in an id.",
            )
        ],
    )
    def tables(resources: dg.ResourceParam[RunContext]) -> Iterator[object]:
        replaced = publish_postgres(resources.settings)
        rows = pl.DataFrame([asdict(one) for one in replaced], schema_overrides={"as_of": pl.Datetime("us", "UTC")})
        unstorable = {one.table: one.not_storable for one in replaced}
        yield dg.AssetCheckResult(
            check_name=COVERAGE.name,
            passed=not any(unstorable.values()),
            severity=dg.AssetCheckSeverity.WARN,
            metadata=unstorable,
        )
        yield dg.MaterializeResult(
            metadata={
                "tables": markdown_table(rows.drop("not_storable")),
                **{done: int(rows[done].sum()) for done in ("inserted", "updated", "deleted")},
                "database": shown_source(resources.settings.publish_postgres or ""),
            }
        )

    return tables
