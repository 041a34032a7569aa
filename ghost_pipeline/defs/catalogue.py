"""What Dagster's catalogue says of every asset: owner, tags, places, columns with their lineage, code.

All of it follows from contracts, from the table assets and from the settings. `catalogued` adds it to assets that are
there, so that no asset repeats it.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from re import MULTILINE, escape, search
from types import ModuleType
from typing import Any

import dagster as dg

from ghost_pipeline import __version__, contracts
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.column_rules import fingerprint
from ghost_pipeline.contracts.contract import Contract, Layer
from ghost_pipeline.contracts.lineage import Input, column_lineage
from ghost_pipeline.contracts.source import SOURCE
from ghost_pipeline.defs.external_assets import CONSUMERS
from ghost_pipeline.defs.metadata import column_schema
from ghost_pipeline.defs.publishing import PUBLISHED_DATABASE
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.locations import Location, as_uri
from ghost_pipeline.privacy.personal_columns import personal_columns
from ghost_pipeline.settings import Settings

GROUPS = {
    SOURCE: "The tables of the learning product, as the pipeline expects them. Dagster does not run them.",
    Layer.RAW.value: "The source's rows, validated, with the versions that each hour has seen.",
    Layer.GHOST.value: "Figures of learners, cohorts and achievers, and what peers may see of them.",
    Layer.NGRAMS.value: "Speeds and errors of typists by n-gram: per session, summed up, and as a history.",
    Layer.OPERATIONS.value: "The pipeline itself: rejected rows, what is out of date, retention, publications.",
    CONSUMERS: "Who reads what is published. Dagster does not run them.",
}
"""What each group holds. Dagster shows no text with a group, so each asset has it among its metadata."""

PUBLISHED, PERSONAL, TIER = "published", "personal", "tier"
"""Tags. `published`: apps read it from ghost.duckdb. `personal`: has columns that name people or hold what they wrote.
`tier`: 1 if readers see it, 2 if something that they see is computed from it, otherwise 3."""


def tiers(tables: Iterable[TableAsset]) -> dict[str, int]:
    """Return the tier of every table: 1 is published, 2 is upstream of a published one, 3 is neither."""
    upstream = {table.contract.name: [one.name for one in table.upstream] for table in tables}
    found = {name: 1 if CONTRACTS[name].published else 3 for name in upstream}
    above = [name for name, tier in found.items() if tier == 1]
    while above:
        for name in upstream[above.pop()]:
            if found[name] > 2:  # noqa: PLR2004 - the tier below the second
                found[name] = 2
                above.append(name)
    return found


def catalogued(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], tables: Sequence[TableAsset], settings: Settings
) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets with what the catalogue says of them."""
    by_name, of_tier = {table.contract.name: table for table in tables}, tiers(tables)

    def described(spec: dg.AssetSpec) -> dg.AssetSpec:
        group = spec.group_name or ""
        spec = spec.merge_attributes(owners=[settings.owner], metadata={"group": f"{group}: {GROUPS[group]}"})
        if spec.key == dg.AssetKey(PUBLISHED_DATABASE):
            spec = spec.merge_attributes(metadata={"dagster/uri": as_uri(settings.database)})
        table = by_name.get(spec.key.to_user_string())
        if table is None:
            return spec
        contract = table.contract
        described = spec.merge_attributes(
            tags=_tags(contract, of_tier[contract.name]), metadata=table_metadata(table, settings.lake)
        )
        return described.replace_attributes(code_version=f"{__version__}-{fingerprint(contract)}")

    return dg.map_asset_specs(described, assets)


def _tags(contract: Contract, tier: int) -> dict[str, str]:
    marks = {PUBLISHED: contract.published, PERSONAL: bool(personal_columns(contract))}
    return {**{name: "" for name, holds in marks.items() if holds}, TIER: str(tier)}


def table_metadata(table: TableAsset, lake: Location) -> dict[str, Any]:
    """Return what the catalogue says of a table of the lake."""
    contract = table.contract
    lineage, declared = column_lineage(contract, table.upstream), _declared_in(contract)
    return {
        "dagster/table_name": f"lake.{contract.name}",
        "dagster/uri": as_uri(lake / contract.name),
        "dagster/column_schema": column_schema(contract, lineage),
        **({"dagster/column_lineage": _dagster_lineage(lineage)} if lineage else {}),
        "dagster/code_references": dg.CodeReferencesMetadataValue(
            code_references=[
                _reference(*_computed_in(table), "the computation"),
                *([_reference(*declared, "the contract")] if declared else []),
            ]
        ),
    }


def _dagster_lineage(lineage: Mapping[str, Sequence[Input]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey(one.table.split(".")), one.column) for one in inputs]
            for name, inputs in lineage.items()
        }
    )


def _reference(file: str, line: int, label: str) -> dg.LocalFileCodeReference:
    return dg.LocalFileCodeReference(file_path=file, line_number=line, label=label)


def _computed_in(table: TableAsset) -> tuple[str, int]:
    """Return file and line of the function that computes a table."""
    code = getattr(table.compute, "__wrapped__", table.compute).__code__
    return code.co_filename, code.co_firstlineno


@cache
def _declared_in(contract: Contract) -> tuple[str, int] | None:
    """Return file and line of the statement that gives a contract its name in a module; None if none does."""
    for name, module in [*sys.modules.items()]:
        if name.startswith(f"{contracts.__name__}.") and (line := _assignment(module, contract)):
            return str(module.__file__), line
    return None


def _assignment(module: ModuleType, contract: Contract) -> int | None:
    for name, value in vars(module).items():
        if value is contract:
            text = Path(str(module.__file__)).read_text(encoding="utf-8")
            if found := search(rf"^{escape(name)} = ", text, MULTILINE):
                return text.count("\n", 0, found.start()) + 1
    return None
