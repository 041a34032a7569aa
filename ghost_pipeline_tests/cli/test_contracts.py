"""The export of the contracts: valid by the standard's own schema, and nothing left out."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator, FormatChecker

from ghost_pipeline.cli.open_data_contract import API_VERSION, as_yaml, open_data_contract
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.contract import Contract, duckdb_type
from ghost_pipeline.contracts.published import PUBLISHED_ONLY
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.privacy.personal_columns import personal_columns
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import run

SCHEMA = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8"))
"""The standard's own."""
ADDRESS = "postgresql://app:hunter2-and-more@[::1]:5433/app"
EVERY = [*CONTRACTS.values(), *PUBLISHED_ONLY]
CHECKS = {table.contract.name: table.every_check for table in TABLE_ASSETS}
every_contract = pytest.mark.parametrize("contract", EVERY, ids=lambda contract: contract.name)


def faults(exported: object) -> list[str]:
    validator = Draft201909Validator(SCHEMA, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(exported)]


def document(**settings: object) -> dict[str, Any]:
    return open_data_contract(TABLE_ASSETS, Settings.load(**settings))


@pytest.fixture(scope="module")
def exported() -> dict[str, Any]:
    """The export with everything that settings can add."""
    return document(publish_postgres=ADDRESS, owner="team:learning", retention="rejected_rows=90d")


@pytest.fixture(scope="module")
def tables(exported: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its tables by name."""
    return {table["name"]: table for table in exported["schema"]}


@pytest.mark.parametrize(
    "settings",
    [{}, {"publish_postgres": ADDRESS}, {"data": "s3://bucket/prefix"}, {"owner": "data@example.org"}],
    ids=["defaults", "postgres", "bucket", "e-mail"],
)
def test_the_export_fulfils_the_schema_of_the_standard(settings: dict[str, object]) -> None:
    assert SCHEMA["properties"]["apiVersion"]["default"] == API_VERSION
    # As a reader of the YAML has it.
    assert faults(yaml.safe_load(as_yaml(document(**settings)))) == []


def test_a_document_without_a_version_does_not_fulfil_it(exported: dict[str, Any]) -> None:
    broken = {name: value for name, value in exported.items() if name != "version"}
    assert faults(broken) == ["'version' is a required property"]


@every_contract
def test_a_table_has_all_columns_with_types_keys_and_nulls(
    contract: Contract, tables: dict[str, dict[str, Any]]
) -> None:
    found = tables[contract.name]
    assert (found["description"], found["dataGranularityDescription"]) == (contract.description, contract.grain)
    columns = contract.schema.columns()
    assert [(one["name"], one["physicalType"], one["required"], one["description"]) for one in found["properties"]] == [
        (name, duckdb_type(column.dtype), not column.nullable, column.description) for name, column in columns.items()
    ]
    keys = {one["primaryKeyPosition"]: one["name"] for one in found["properties"] if "primaryKey" in one}
    assert [keys[number] for number in sorted(keys)] == contract.primary_key


@every_contract
def test_personal_columns_are_classified(contract: Contract, tables: dict[str, dict[str, Any]]) -> None:
    found = {one["name"] for one in tables[contract.name]["properties"] if one.get("classification") == "personal"}
    assert found == personal_columns(contract)


@every_contract
def test_a_check_that_blocks_is_an_error_and_any_other_a_warning(
    contract: Contract, tables: dict[str, dict[str, Any]]
) -> None:
    quality = {one["name"]: one["severity"] for one in tables[contract.name]["quality"]}
    checks = {check.name: "error" if check.blocking else "warning" for check in CHECKS.get(contract.name, ())}
    assert quality == ({"primary_key": "error"} if contract.primary_key else {}) | checks


@pytest.mark.parametrize(
    ("table", "servers"),
    [
        ("users", ["lake"]),
        ("user_ghost_stats", ["lake", "published"]),
        ("ghost_benchmarks", ["lake", "published", "postgres"]),
        ("table_info", ["published"]),
    ],
)
def test_a_table_says_which_servers_have_it(table: str, servers: list[str], tables: dict[str, dict[str, Any]]) -> None:
    told = {one["property"]: one["value"] for one in tables[table]["customProperties"]}
    assert told["servers"] == servers


def test_limits_lineage_and_references_are_with_their_column(tables: dict[str, dict[str, Any]]) -> None:
    columns = {one["name"]: one for one in tables["session_ngram_speed"]["properties"]}
    assert columns["ngram_size"]["logicalTypeOptions"] == {"minimum": 1, "maximum": 20}
    assert columns["session_id"]["relationships"] == [{"type": "foreignKey", "to": "practice_sessions.session_id"}]
    assert columns["ngram_time_ms"]["transformSourceObjects"] == [
        "source.session_ngram_speed.ngram_time_ms",
        "session_keystrokes.keystroke_time",
    ]


def test_retention_is_as_set_and_freshness_as_declared(exported: dict[str, Any]) -> None:
    found = {(one["property"], one["element"]): (one["value"], one["unit"]) for one in exported["slaProperties"]}
    assert found["retention", "rejected_rows"] == (90, "d")
    assert found["retention", "user_ghost_stats"] == (7, "d")
    assert ("retention", "users") not in found
    assert found["latency", "user_activity_days"] == (26, "h")


def test_servers_and_owner_are_as_set_and_no_password_is_shown(exported: dict[str, Any]) -> None:
    assert exported["team"] == {"name": "learning"}
    (postgres,) = [one for one in exported["servers"] if one["server"] == "postgres"]
    assert (postgres["host"], postgres["port"], postgres["database"]) == ("[::1]", 5433, "app")
    assert "hunter2" not in json.dumps(exported)


def test_the_command_prints_the_named_tables_as_yaml(tmp_path: Path) -> None:
    done = run(["contracts", "users", "table_info"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert [table["name"] for table in yaml.safe_load(done.stdout)["schema"]] == ["users", "table_info"]


def test_the_command_prints_json(tmp_path: Path) -> None:
    done = run(["contracts", "--json"], tmp_path)
    assert [table["name"] for table in json.loads(done.stdout)["schema"]] == [contract.name for contract in EVERY]


def test_an_unknown_table_is_one_line(tmp_path: Path) -> None:
    done = run(["contracts", "lessons"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(
        "Error: Invalid value for '[TABLE]...': 'lessons' is not one of users,"
    )
