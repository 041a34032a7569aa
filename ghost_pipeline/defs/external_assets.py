"""External assets: the tables of the source, and those who read what is published. Dagster shows them and runs none.

They follow from the source's declarations and from the settings, so that the graph says where rows come from and who
would notice if they were wrong.
"""

from collections.abc import Iterator

import dagster as dg

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import SOURCE, Domain, SourceTable
from ghost_pipeline.contracts.specified import OWN_TABLES, SPECIFIED_TABLES, SpecifiedTable
from ghost_pipeline.locations import as_uri, shown_source
from ghost_pipeline.publish.json_files import DICTIONARY_FILE
from ghost_pipeline.settings import Settings

CONSUMERS = "consumers"
POSTGRES = "postgres"

_KINDS = {
    "postgres": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
    "s3": "s3",
}
"""Icons of Dagster, by how the address of a source begins; any other address is a folder."""
_NEEDED_BY = {None: "Both domains need it.", Domain.GHOST: "For ghost data.", Domain.NGRAMS: "For n-gram analytics."}


def source_key(table: str) -> dg.AssetKey:
    """Return the asset of a table of the source."""
    return dg.AssetKey([SOURCE, table])


def source_tables(settings: Settings) -> list[dg.AssetSpec]:
    """Return an asset for each canonical table of the source."""
    address = settings.source or ""
    kind = next((kind for scheme, kind in _KINDS.items() if address.startswith(scheme)), "file")
    where: dict[str, object] = {"dagster/uri": shown_source(address)} if address else {}
    if settings.source_mapping:
        where["mapping"] = dg.MetadataValue.path(str(settings.source_mapping))
    return [
        dg.AssetSpec(
            source_key(table.name),
            description=f"`{table.name}` of the source. One row: {table.grain.replace('version of a ', '')}. "
            f"{_NEEDED_BY[table.domain]}{'' if table.required else ' May be missing.'}",
            group_name=SOURCE,
            kinds={kind, "table"},
            metadata={**where, "dagster/column_schema": _expected_columns(table)},
        )
        for table in SOURCE_TABLES.values()
    ]


def _expected_columns(table: SourceTable) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.kind.value,
                column.description,
                dg.TableColumnConstraints(nullable=column.optional),
            )
            for column in table.columns
        ]
    )


def consumers(settings: Settings, database: str, postgres: str) -> list[dg.AssetSpec]:
    """Return an asset for each way in which what is published reaches readers.

    Args:
        settings: say which of them there are, and where.
        database: the asset of the published database.
        postgres: the asset that writes an application's PostgreSQL.

    """
    return [
        dg.AssetSpec(
            "http_api",
            deps=[database],
            description="The HTTP API and its web page (`ghost-pipeline serve`): ghost data and messages of learners, "
            "heat maps and trends of typists. Answers from the newest publication.",
            group_name=CONSUMERS,
            kinds={"fastapi"},
        ),
        dg.AssetSpec(
            "ghost_benchmarks_json",
            deps=[database],
            description="The benchmarks of the newest month as nested JSON, with its schema beside it. Written with "
            "the published database; publication.json names the publication of both.",
            group_name=CONSUMERS,
            kinds={"json"},
            metadata={"dagster/uri": as_uri(settings.place / DICTIONARY_FILE)},
        ),
        *(_postgres_tables(settings.publish_postgres, postgres) if settings.publish_postgres else ()),
    ]


def _postgres_tables(address: str, upstream: str) -> Iterator[dg.AssetSpec]:
    for table in (*SPECIFIED_TABLES.values(), *OWN_TABLES):
        yield dg.AssetSpec(
            dg.AssetKey([POSTGRES, table.name]),
            deps=[upstream],
            description=table.description,
            group_name=CONSUMERS,
            kinds={"postgres", "table"},
            metadata={
                "dagster/uri": shown_source(address),
                "dagster/table_name": table.name,
                "dagster/column_schema": _written_columns(table),
            },
        )


def _written_columns(table: SpecifiedTable) -> dg.TableSchema:
    described = table.contract.column_descriptions
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name, column.widened or column.specified, column.description or described[column.name]
            )
            for column in table.columns
        ]
    )
