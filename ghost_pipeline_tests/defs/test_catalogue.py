"""What Dagster's catalogue says of every table, derived from contracts, table assets and settings."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.cohort_metrics import CONTRIBUTIONS
from ghost_pipeline.contracts.columns import declared_inputs
from ghost_pipeline.contracts.contract import Layer
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.lineage import column_lineage
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.specified import OWN_TABLES, SPECIFIED_TABLES
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.catalogue import GROUPS, tiers
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.domain.ghost.cohort_ghost_data import cohort_ghost_data
from ghost_pipeline.privacy.personal_columns import personal_columns
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.samples import sample

SECRET_ADDRESS = "postgresql://app:hunter2-and-more@db.example/app"  # noqa: S105 - no one's
ROOT = Path(__file__).parent.parent.parent
TABLES = {table.contract.name: table for table in TABLE_ASSETS}
every_table = pytest.mark.parametrize("table", TABLE_ASSETS, ids=lambda table: str(table.contract.name))


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    """Every asset with all that settings can add, by its name."""
    of = Settings.load(source=SECRET_ADDRESS, publish_postgres=SECRET_ADDRESS, owner="team:learning", data="lake-here")
    return {spec.key.to_user_string(): spec for spec in build_defs(of).resolve_all_asset_specs()}


@every_table
def test_every_column_has_inputs_or_says_that_it_has_none(table: TableAsset) -> None:
    contract = table.contract
    found = column_lineage(contract, table.upstream)
    silent = [
        name
        for name, column in contract.schema.columns().items()
        if name not in found and declared_inputs(column) is None
    ]
    assert contract.layer is Layer.OPERATIONS or silent == []


def _ancestors(name: str) -> Iterator[str]:
    for above in TABLES[name].upstream:
        yield above.name
        yield from _ancestors(above.name)


@every_table
def test_every_input_is_a_column_of_a_table_upstream_or_of_its_source(table: TableAsset) -> None:
    name = table.contract.name
    known = {
        (above, column) for above in _ancestors(name) if above != name for column in CONTRACTS[above].polars_schema
    }
    if name in SOURCE_TABLES:
        known |= {(f"source.{name}", column.name) for column in SOURCE_TABLES[name].columns}
    inputs = {one for inputs in column_lineage(table.contract, table.upstream).values() for one in inputs}
    assert inputs <= known


GROUPING = {"user_id", "cohort_id", "cohort_excluded", "is_active_member", "snapshot_date", "snapshot_hour", "as_of"}


@pytest.mark.parametrize("changed", [name for name in USER_GHOST_STATS.polars_schema if name not in GROUPING])
def test_a_figure_of_cohorts_changes_with_its_inputs_and_with_no_other_column(changed: str) -> None:
    def figures(stats: pl.DataFrame) -> pl.DataFrame:
        # Sums of what one sample may hold are beyond any cohort.
        small = stats.with_columns(pl.col(CONTRIBUTIONS).mod(100_000))
        return cohort_ghost_data(small.lazy(), datetime(2025, 3, 12, 12, tzinfo=UTC)).collect()

    stats = sample(USER_GHOST_STATS, 40, 1).with_columns(
        cohort_id=pl.lit("c"), cohort_excluded=pl.lit(value=False), is_active_member=pl.lit(value=True)
    )
    before, after = figures(stats), figures(stats.with_columns(sample(USER_GHOST_STATS, 40, 2)[changed]))
    moved = {name for name in before.columns if not before[name].equals(after[name])}
    lineage = column_lineage(COHORT_GHOST_DATA, TABLES[COHORT_GHOST_DATA.name].upstream)
    fed = {name for name, inputs in lineage.items() if (USER_GHOST_STATS.name, changed) in inputs}
    assert moved <= fed
    assert bool(moved) == bool(fed)


@every_table
def test_a_table_has_its_lineage_in_dagster(table: TableAsset, specs: dict[str, dg.AssetSpec]) -> None:
    shown = specs[table.contract.name].metadata.get("dagster/column_lineage", dg.TableColumnLineage({}))
    assert {
        name: {(".".join(one.asset_key.path), one.column_name) for one in deps}
        for name, deps in shown.deps_by_column.items()
    } == {name: set(inputs) for name, inputs in column_lineage(table.contract, table.upstream).items()}


@every_table
def test_a_table_says_where_it_is_and_what_it_is_called(table: TableAsset, specs: dict[str, dg.AssetSpec]) -> None:
    metadata, name = specs[table.contract.name].metadata, table.contract.name
    assert metadata["dagster/table_name"] == f"lake.{name}"
    assert metadata["dagster/uri"] == Path("lake-here", "lake", name).absolute().as_uri()


@pytest.mark.parametrize(
    ("asset", "file"),
    [("published_database", "ghost.duckdb"), ("ghost_benchmarks_json", "ghost_benchmarks.json")],
)
def test_what_is_published_says_where_it_is(asset: str, file: str, specs: dict[str, dg.AssetSpec]) -> None:
    assert specs[asset].metadata["dagster/uri"] == Path("lake-here", file).absolute().as_uri()


def test_a_table_in_a_bucket_says_which() -> None:
    found = build_defs(Settings.load(data="s3://bucket/prefix")).resolve_assets_def("users").get_asset_spec()
    assert found.metadata["dagster/uri"] == "s3://bucket/prefix/lake/users"


@every_table
def test_a_table_is_tagged_as_published_as_personal_and_with_its_tier(
    table: TableAsset, specs: dict[str, dg.AssetSpec]
) -> None:
    contract, tags = table.contract, specs[table.contract.name].tags
    assert ("published" in tags) == contract.published
    assert ("personal" in tags) == bool(personal_columns(contract))
    assert tags["tier"] == str(tiers(TABLE_ASSETS)[contract.name])


@pytest.mark.parametrize(
    ("table", "tier"),
    [
        ("cohort_ghost_release", 1),
        ("cohort_ghost_data", 3),
        ("users", 2),
        ("session_keystrokes", 2),
        ("stale_hours", 3),
    ],
)
def test_a_tier_says_how_far_from_readers_a_table_is(table: str, tier: int) -> None:
    assert tiers(TABLE_ASSETS)[table] == tier


@every_table
def test_the_code_of_a_table_is_named_with_its_line(table: TableAsset, specs: dict[str, dg.AssetSpec]) -> None:
    found = specs[table.contract.name].metadata["dagster/code_references"].code_references
    computed, declared = (Path(one.file_path).read_text().splitlines()[one.line_number - 1] for one in found)
    # A decorated function begins with its decorator.
    assert computed.lstrip().startswith(("def ", "@"))
    assert declared.split(" = ")[1].startswith(("Contract(", "SOURCE_", "_people("))


def test_every_contract_has_its_own_code_version(specs: dict[str, dg.AssetSpec]) -> None:
    versions = [specs[name].code_version for name in TABLES]
    assert None not in versions
    assert len(set(versions)) == len(TABLES)


def test_every_asset_has_a_description_an_owner_and_the_text_of_its_group(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.description, name
        assert spec.owners == ["team:learning"], name
        assert spec.metadata["group"] == f"{spec.group_name}: {GROUPS[str(spec.group_name)]}", name
    assert {spec.group_name for spec in specs.values()} == GROUPS.keys()


def test_every_table_of_the_source_is_above_its_raw_table(specs: dict[str, dg.AssetSpec]) -> None:
    for name, table in SOURCE_TABLES.items():
        (dep,) = [dep for dep in specs[name].deps if dep.asset_key.path[0] == "source"]
        assert dep.asset_key.to_user_string() == f"source/{name}"
        columns = specs[f"source/{name}"].metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == [column.name for column in table.columns]


def test_every_consumer_is_below_what_it_reads(specs: dict[str, dg.AssetSpec]) -> None:
    found = {
        name: [dep.asset_key.to_user_string() for dep in spec.deps]
        for name, spec in specs.items()
        if spec.group_name == "consumers"
    }
    assert found == {
        "http_api": ["published_database"],
        "ghost_benchmarks_json": ["published_database"],
        **{
            f"postgres/{name}": ["published_postgres"]
            for name in (*SPECIFIED_TABLES, *(one.name for one in OWN_TABLES))
        },
    }


def test_no_address_shows_its_password(specs: dict[str, dg.AssetSpec]) -> None:
    assert "postgresql://app:***@db.example/app" in str(specs["source/users"].metadata)
    assert not [name for name, spec in specs.items() if "hunter2" in str(spec)]
