"""The dashboard for Superset asks for columns that are published, with their types, and is complete."""

from typing import Any

import duckdb
import pytest
import yaml

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.published import PUBLISHED_ONLY
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.pages import DOCS

FOLDER = DOCS / "dashboards" / "superset"
PUBLISHED = {one.name: one for one in (*CONTRACTS.values(), *PUBLISHED_ONLY) if one.published}
Yaml = dict[str, Any]


def loaded(kind: str) -> list[Yaml]:
    files = sorted((FOLDER / kind).rglob("*.yaml"))
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


DATASETS = {one["uuid"]: one for one in loaded("datasets")}
CHARTS = loaded("charts")


def columns_of(chart: Yaml) -> set[str]:
    """The columns that a chart asks for."""
    params = chart["params"]
    named = {*params.get("all_columns", ()), *params.get("groupby", ()), *filter(None, [params.get("x_axis")])}
    filtered = {one["subject"] for one in params["adhoc_filters"]}
    return named | filtered | {one["column"]["column_name"] for one in params.get("metrics", ())}


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda one: one["table_name"])
def test_a_dataset_describes_columns_as_the_contract_does(dataset: Yaml) -> None:
    contract = PUBLISHED[dataset["table_name"]]
    described = {column["column_name"]: column["description"] for column in dataset["columns"]}
    assert len(described) > 3
    assert described.items() <= contract.column_descriptions.items()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda one: one["slice_name"])
def test_a_chart_asks_for_columns_of_its_dataset(chart: Yaml) -> None:
    columns = columns_of(chart)
    assert columns
    assert columns <= PUBLISHED[DATASETS[chart["dataset_uuid"]]["table_name"]].polars_schema.keys()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda one: one["slice_name"])
def test_a_chart_has_rows_in_what_is_published(chart: Yaml, demo_and_typist: Settings) -> None:
    table = DATASETS[chart["dataset_uuid"]]["table_name"]
    filters = {
        one["subject"]: one["comparator"]
        for one in chart["params"]["adhoc_filters"]
        # The demo world has people who started from 6.0 only.
        if one["subject"] != "starting_skill"
    }
    condition = " AND ".join(f'"{name}" = ?' for name in filters) or "true"
    with duckdb.connect(str(demo_and_typist.local / "ghost.duckdb"), read_only=True) as connection:
        found = connection.execute(f'SELECT count(*) FROM "{table}" WHERE {condition}', list(filters.values()))  # noqa: S608
        assert found.fetchall()[0][0] > 0


def test_the_dashboard_shows_every_chart() -> None:
    (dashboard,) = loaded("dashboards")
    shown = [one["meta"] for one in dashboard["position"].values() if isinstance(one, dict) and one["type"] == "CHART"]
    assert {(one["uuid"], one["sliceName"]) for one in shown} == {(one["uuid"], one["slice_name"]) for one in CHARTS}


def test_the_connection_is_read_only() -> None:
    (connection,) = loaded("databases")
    assert connection["extra"]["engine_params"]["connect_args"] == {"read_only": True}
    assert connection["sqlalchemy_uri"] == "duckdb:////path/to/data/ghost.duckdb"
    assert {one["database_uuid"] for one in DATASETS.values()} == {connection["uuid"]}
