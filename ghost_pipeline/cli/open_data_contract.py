"""The tables as an Open Data Contract (ODCS 3.1), for catalogues and for tools that check data.

Everything follows from contracts, table assets and settings. https://bitol-io.github.io/open-data-contract-standard
describes the format.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import yaml

from ghost_pipeline import __version__
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.column_rules import column_rules, fingerprint
from ghost_pipeline.contracts.contract import Contract, duckdb_type
from ghost_pipeline.contracts.lineage import column_lineage
from ghost_pipeline.contracts.published import PUBLISHED_ONLY
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.retention import retention
from ghost_pipeline.contracts.specified import SPECIFIED_TABLES
from ghost_pipeline.defs.catalogue import tiers
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.errors import UnknownArgumentError
from ghost_pipeline.locations import POSTGRES_ADDRESS, Location
from ghost_pipeline.privacy.personal_columns import personal_columns
from ghost_pipeline.settings import Settings

API_VERSION = "v3.1.0"
LAKE, PUBLISHED, POSTGRES = "lake", "published", "postgres"
"""Names of the servers."""

_OPTIONS = {
    "min": "minimum",
    "max": "maximum",
    "min_exclusive": "exclusiveMinimum",
    "max_exclusive": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "regex": "pattern",
}
"""What the standard calls the rules of a column."""


def open_data_contract(tables: Sequence[TableAsset], settings: Settings, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return one document for the data product.

    Args:
        tables: the tables of the lake with what they are computed from and how they are checked.
        settings: say where the data is, who owns it and how long it is kept.
        names: the tables to include; all if empty.

    Raises:
        UnknownArgumentError: a name is not that of a table.

    """
    by_name, of_tier = {table.contract.name: table for table in tables}, tiers(tables)
    every = {one.name: one for one in (*CONTRACTS.values(), *PUBLISHED_ONLY)}
    for name in names:
        if name not in every:
            raise UnknownArgumentError(f"{name}: is not a table; docs/tables.md lists them")
    chosen = [one for one in every.values() if not names or one.name in names]
    return {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": "ghost-pipeline",
        "name": "ghost-pipeline",
        "version": __version__,
        "status": "active",
        "dataProduct": "ghost-pipeline",
        "description": {
            "purpose": "Peer comparison for learners and n-gram analytics for typists.",
            "usage": "Apps read the published tables; those of the lake alone are internal.",
            "limitations": "Figures of cohorts may be shown only as cohort_ghost_release has them. Columns classified "
            "as personal name people, or hold what people wrote.",
        },
        "team": _team(settings.owner),
        "servers": list(_servers(settings)),
        "slaProperties": [sla for contract in chosen for sla in _sla(contract, settings)],
        "schema": [_table(one, by_name.get(one.name), of_tier.get(one.name, 1), settings) for one in chosen],
    }


def as_yaml(document: Mapping[str, Any]) -> str:
    """Return a document as YAML, in the order of its keys."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)


def _team(owner: str) -> dict[str, Any]:
    kind, _, name = owner.rpartition(":")
    return {"name": name} if kind == "team" else {"name": owner, "members": [{"username": owner}]}


def _servers(settings: Settings) -> Iterator[dict[str, Any]]:
    yield {
        "server": LAKE,
        **_place(settings.lake / "{model}", "/**/*.parquet", "parquet"),
        "description": "Every table, a folder of Parquet files.",
    }
    database = settings.database
    if isinstance(database, Path):
        where = {"type": "duckdb", "database": str(database.absolute()), "schema": "main"}
    else:
        where = {"type": "s3", "location": str(database), "format": "duckdb"}
    yield {"server": PUBLISHED, **where, "description": "The published tables, what apps read."}
    if settings.publish_postgres:
        yield {
            "server": POSTGRES,
            **_postgres(settings.publish_postgres),
            "description": "The specification's tables in an application's database.",
        }


def _place(location: Location, files: str, form: str) -> dict[str, Any]:
    if isinstance(location, Path):
        return {"type": "local", "path": f"{location.absolute()}{files}", "format": form}
    return {"type": "s3", "location": f"{location}{files}", "format": form}


def _postgres(address: str) -> dict[str, Any]:
    found = POSTGRES_ADDRESS.fullmatch(address)
    parts = found.groupdict() if found else {}
    host, _, port = (parts.get("hosts") or "").split(",")[0].rpartition(":")
    if not port.isdigit():
        host, port = f"{host}:{port}" if host else port, ""
    return {
        "type": "postgres",
        "host": host or "localhost",
        "port": int(port or 5432),
        "database": parts.get("database") or parts.get("user") or "",
        "schema": "public",
    }


def _sla(contract: Contract, settings: Settings) -> Iterator[dict[str, Any]]:
    if contract.name not in CONTRACTS:
        return
    yield {"property": "latency", "element": contract.name, **_length(contract.max_age)}
    kept = retention(contract, settings.retention)
    if kept is not None:
        yield {"property": "retention", "element": contract.name, **_length(kept)}


def _length(length: timedelta) -> dict[str, Any]:
    days = length / timedelta(days=1)
    return {"value": int(days), "unit": "d"} if days == int(days) else {"value": int(days * 24), "unit": "h"}


def _table(contract: Contract, table: TableAsset | None, tier: int, settings: Settings) -> dict[str, Any]:
    in_lake = table is not None
    servers = [
        *([LAKE] if in_lake else []),
        *([PUBLISHED] if contract.published else []),
        *([POSTGRES] if contract.name in SPECIFIED_TABLES and settings.publish_postgres else []),
    ]
    extra = {
        "servers": servers,
        **({"partitionKeys": list(contract.partitioning.keys)} if in_lake else {}),
        **({"keptForever": contract.retention_exempt_reason} if contract.retention_exempt_reason else {}),
        "fingerprint": fingerprint(contract),
    }
    lineage = column_lineage(contract, table.upstream if table else ())
    return {
        "name": contract.name,
        "physicalName": contract.name,
        "physicalType": "view" if contract.append_only and contract.published else "table",
        "logicalType": "object",
        "description": contract.description,
        "dataGranularityDescription": contract.grain,
        "tags": [contract.layer.value, "published" if contract.published else "lake only", f"tier {tier}"],
        "customProperties": [{"property": name, "value": value} for name, value in extra.items()],
        "quality": list(_quality(contract, table)),
        "properties": [
            _column(contract, name, [f"{one.table}.{one.column}" for one in lineage.get(name, ())])
            for name in contract.polars_schema
        ],
    }


def _quality(contract: Contract, table: TableAsset | None) -> Iterator[dict[str, Any]]:
    if contract.primary_key:
        yield {
            "name": "primary_key",
            "type": "library",
            "metric": "duplicateValues",
            "arguments": {"properties": contract.primary_key},
            "mustBe": 0,
            "dimension": "uniqueness",
            "severity": "error",
        }
    for check in table.every_check if table else ():
        yield {
            "name": check.name,
            "type": "text",
            "description": check.description,
            "severity": "error" if check.blocking else "warning",
        }


def _column(contract: Contract, name: str, inputs: Sequence[str]) -> dict[str, Any]:
    column, key = contract.schema.columns()[name], contract.primary_key
    options = _options(column)
    return {
        "name": name,
        "description": column.description or "",
        "logicalType": _logical_type(column.dtype),
        "physicalType": duckdb_type(column.dtype),
        "required": not column.nullable,
        **({"unique": True} if key == [name] else {}),
        **({"primaryKey": True, "primaryKeyPosition": key.index(name) + 1} if name in key else {}),
        **({"logicalTypeOptions": options} if options else {}),
        **({"classification": "personal"} if name in personal_columns(contract) else {}),
        **({"transformSourceObjects": list(inputs)} if inputs else {}),
        **({"relationships": found} if (found := _relationships(contract, name)) else {}),
    }


def _relationships(contract: Contract, name: str) -> list[dict[str, str]]:
    table = SOURCE_TABLES.get(contract.name)
    referred = [one.references for one in table.columns if one.stored_as == name and one.references] if table else []
    return [{"type": "foreignKey", "to": f"{other}.{SOURCE_TABLES[other].key[0]}"} for other in referred]


def _options(column: dy.Column) -> dict[str, Any]:
    limits = {_OPTIONS[name]: _plain(value) for name, value in column_rules(column).items()}
    zoned = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone
    return {**limits, **({"timezone": True} if zoned else {})}


def _plain(value: object) -> object:
    match value:
        case date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case _:
            return value


def _logical_type(dtype: pl.DataType) -> str:
    match dtype:
        case pl.Date():
            return "date"
        case pl.Datetime():
            return "timestamp"
        case pl.Boolean():
            return "boolean"
        case pl.String():
            return "string"
        case _:
            return "integer" if dtype.is_integer() else "number"
