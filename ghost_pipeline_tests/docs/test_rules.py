"""Every rule that is cited has its place in `docs/rules.md`, and texts for users cite none."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import dagster as dg
import pytest

from ghost_pipeline.cli.main import main
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.published import PUBLISHED_ONLY
from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.specified import SPECIFIED_TABLES
from ghost_pipeline.definitions import build_defs
from ghost_pipeline.serving.app import build_app
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.pages import DOCS

REPOSITORY = DOCS.parent
RULES = DOCS / "rules.md"

NUMBER = re.compile(r"\b([GN]\d{1,2}(?:\.\d+)?)[a-e]?\b")
"""A rule's number; a letter behind it names a part of the rule, which has no place of its own."""


def cited() -> dict[str, Path]:
    """Every number that code, tests or pages cite, with one of the files that do."""
    files = [
        *(file for room in ("ghost_pipeline", "ghost_pipeline_tests") for file in (REPOSITORY / room).rglob("*.py")),
        *(REPOSITORY / "ghost_pipeline_tests" / "conformance").glob("*.json"),
        *REPOSITORY.glob("*.md"),
        *(file for folder in (DOCS, REPOSITORY / "deploy", REPOSITORY / "data") for file in folder.rglob("*.md")),
    ]
    return {
        number: file
        for file in files
        if file != RULES and ".venv" not in file.parts
        for number in NUMBER.findall(file.read_text(encoding="utf-8"))
    }


def anchors() -> list[str]:
    return re.findall(r'<a id="([^"]+)"></a>', RULES.read_text(encoding="utf-8"))


def anchor(number: str) -> str:
    return number.lower().replace(".", "-")


def test_every_cited_rule_has_its_anchor() -> None:
    missing = {number: str(file) for number, file in cited().items() if anchor(number) not in anchors()}
    assert not missing


def test_every_anchor_is_cited() -> None:
    assert set(anchors()) <= {anchor(number) for number in cited()}


def test_every_rule_stands_below_its_own_anchor() -> None:
    stated = re.findall(r'<a id="([^"]+)"></a>\n(?:## |\*\*)([GN][\d.]+) ', RULES.read_text(encoding="utf-8"))
    assert [name for name, _ in stated] == anchors()
    assert [anchor(number) for _, number in stated] == anchors()
    assert len(set(anchors())) == len(anchors())


def test_every_link_to_a_rule_or_a_term_leads_to_its_anchor() -> None:
    for page in DOCS.rglob("*.md"):
        for file, name in re.findall(r"\]\((?:\.\./)?(rules|glossary)\.md#([^)]+)\)", page.read_text(encoding="utf-8")):
            assert f'<a id="{name}"></a>' in (DOCS / f"{file}.md").read_text(encoding="utf-8"), f"{page}: {name}"


def of_contracts() -> Iterator[tuple[str, str]]:
    for contract in (*CONTRACTS.values(), *PUBLISHED_ONLY):
        yield contract.name, f"{contract.description} {contract.grain} {contract.retention_exempt_reason}"
        for name, description in contract.column_descriptions.items():
            yield f"{contract.name}.{name}", description
    for source in SOURCE_TABLES.values():
        for column in source.columns:
            yield f"{source.name}.{column.name}", column.description
    for specified in SPECIFIED_TABLES.values():
        yield specified.name, " ".join((specified.description, *(column.description for column in specified.columns)))


def of_dagster(settings: Settings) -> Iterator[tuple[str, str]]:
    definitions = build_defs(settings)
    for asset in definitions.assets or ():
        assert isinstance(asset, dg.AssetsDefinition | dg.AssetSpec)
        for spec in [asset] if isinstance(asset, dg.AssetSpec) else asset.specs:
            yield spec.key.to_user_string(), f"{spec.description} {spec.metadata}"
        for check in [] if isinstance(asset, dg.AssetSpec) else asset.check_specs:
            yield f"{check.asset_key.to_user_string()}: {check.name}", check.description or ""
    for schedule in definitions.schedules or ():
        assert isinstance(schedule, dg.ScheduleDefinition)
        yield schedule.name, schedule.description or ""
    for job in definitions.jobs or ():
        yield job.name, job.description or ""


def of_settings() -> Iterator[tuple[str, str]]:
    for name, field in Settings.model_fields.items():
        yield name, field.description or ""


def of_commands(command: click.Command = main) -> Iterator[tuple[str, str]]:
    with click.Context(command) as context:
        yield command.name or "", command.get_help(context)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from of_commands(one)


def of_errors() -> Iterator[tuple[str, str]]:
    for file in (REPOSITORY / "ghost_pipeline").rglob("*.py"):
        for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Raise):
                for part in ast.walk(statement):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{file.name}:{part.lineno}", part.value


def of_the_api(settings: Settings) -> Iterator[tuple[str, str]]:
    for path, operations in build_app(settings).openapi()["paths"].items():
        yield path, json.dumps(operations)


def numbers_in(texts: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    return {where: numbers for where, text in texts if (numbers := NUMBER.findall(text))}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """With everything that adds an asset."""
    data = tmp_path_factory.mktemp("rules")
    return Settings.load(source=str(data), data=data, publish_postgres="postgresql://app@127.0.0.1/app")


def test_contracts_and_columns_cite_no_rule() -> None:
    assert numbers_in(of_contracts()) == {}


def test_what_dagster_shows_cites_no_rule(settings: Settings) -> None:
    assert numbers_in(of_dagster(settings)) == {}


def test_settings_cite_no_rule() -> None:
    assert numbers_in(of_settings()) == {}


def test_the_help_of_commands_cites_no_rule() -> None:
    assert numbers_in(of_commands()) == {}


def test_errors_cite_no_rule() -> None:
    assert numbers_in(of_errors()) == {}


def test_the_description_of_the_api_cites_no_rule(settings: Settings) -> None:
    assert numbers_in(of_the_api(settings)) == {}
