"""One vocabulary: a question has the same name and the same parameters in Python, on the command line and over HTTP."""

import inspect
import re

import click
import pytest

from ghost_pipeline import serving
from ghost_pipeline.cli.ask import COMMANDS
from ghost_pipeline.errors import GhostError
from ghost_pipeline.serving import GhostReader
from ghost_pipeline_tests.docs.questions import Question, questions

ASKED = [one for one in questions() if one.command or one.path]
WITH_ROUTE = [one for one in ASKED if one.path]
MORE_OF_COMMANDS = {"trend": {"n": 10}}
"""Without an n-gram, `trend` lists the biggest changes, as it has always done."""
NOT_OVER_HTTP = {"as_of"}
"""The server has no lake, only what is published."""


def without_default(value: object) -> bool:
    return value in {None, False, inspect.Parameter.empty, ...} or "UNSET" in repr(value)


def defaults_of(command: click.Command) -> dict[str, object]:
    return {one.name or "": one.default for one in command.params if one.name not in {"as_json", "help"}}


def test_every_command_that_answers_is_a_method() -> None:
    asking = {command.name for command in COMMANDS if not command.hidden} - {"serve"}
    assert asking == {one.name.replace("_", "-") for one in ASKED if one.command}


def test_every_route_is_a_method_and_a_command() -> None:
    assert [one.name for one in WITH_ROUTE if one.command is None] == []
    assert len(WITH_ROUTE) == 10


@pytest.mark.parametrize("one", [one for one in ASKED if one.command], ids=lambda one: one.name)
def test_a_command_has_the_parameters_of_its_method(one: Question) -> None:
    assert one.command is not None
    found = defaults_of(one.command)
    more = MORE_OF_COMMANDS.get(one.name, {})
    assert found.keys() == one.defaults.keys() | more.keys()
    for name, value in {**one.defaults, **more}.items():
        assert found[name] == value or (without_default(found[name]) and without_default(value)), name


@pytest.mark.parametrize("one", WITH_ROUTE, ids=lambda one: one.name)
def test_a_route_has_the_parameters_of_its_method(one: Question) -> None:
    found = {given["name"]: given["schema"].get("default") for given in one.operation["parameters"]}
    expected = {name: value for name, value in one.defaults.items() if name not in NOT_OVER_HTTP}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value or (without_default(found[name]) and without_default(value)), name


@pytest.mark.parametrize(("earlier", "name"), [("heat_map", "heatmap"), ("ngram_trend", "trend")], ids=str)
def test_a_method_by_its_name_of_earlier_releases_is_the_same(earlier: str, name: str) -> None:
    assert getattr(GhostReader, earlier) is getattr(GhostReader, name)


def test_errors_that_methods_name_can_be_imported_beside_the_reader() -> None:
    texts = [inspect.getdoc(getattr(GhostReader, one.name)) or "" for one in questions()]
    named = {name for text in texts for name in re.findall(r"^    (\w+Error):", text, re.MULTILINE)}
    assert len(named) >= 4
    assert named <= set(serving.__all__)
    assert all(issubclass(getattr(serving, name), GhostError) for name in named)
