"""What can be asked, as the code has it: methods of `GhostReader`, commands and HTTP routes, side by side."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ghost_pipeline.cli.ask import COMMANDS
from ghost_pipeline.domain.ngrams import ngram_insights, ngram_queries, ngram_trends
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.app import build_app
from ghost_pipeline.serving.learners import OWN_VALUES
from ghost_pipeline.settings import Settings


@dataclass(frozen=True)
class Question:
    """A method of `GhostReader`, with the command and the route of that name."""

    name: str
    parameters: tuple[inspect.Parameter, ...]
    answer: str
    """First sentence of the method's docstring."""
    command: click.Command | None
    path: str | None
    operation: dict[str, Any]
    """The route in the OpenAPI description; empty without a route."""

    @property
    def defaults(self) -> dict[str, object]:
        """The parameters of the method with their defaults; the user's own figures are parameters of their own."""
        found = {one.name: one.default for one in self.parameters if one.name != "own"}
        own = dict.fromkeys(OWN_VALUES) if any(one.name == "own" for one in self.parameters) else {}
        return {**found, **own}

    @property
    def call(self) -> str:
        """How the method is called."""
        return f"{self.name}{inspect.Signature(list(self.parameters))}"

    @property
    def usage(self) -> str:
        """How the command is called, without its options."""
        if self.command is None:
            return ""
        arguments = [one for one in self.command.params if isinstance(one, click.Argument)]
        words = (name if one.required else f"[{name}]" for one in arguments if (name := (one.name or "").upper()))
        return " ".join((self.command.name or "", *words))


def questions() -> list[Question]:
    """Every public method of `GhostReader`: those with a route in its order, then those with none."""
    commands = {command.name: command for command in COMMANDS if not command.hidden}
    paths: dict[str, Any] = build_app(Settings.load(data=Path("nowhere"))).openapi()["paths"]
    routes = {path.rpartition("/")[2]: path for path in paths}
    found = [_question(name, commands.get(_kebab(name)), routes.get(_kebab(name)), paths) for name in _methods()]
    order = [*routes]
    return sorted(found, key=lambda one: order.index(_kebab(one.name)) if one.path else len(order))


def questions_table() -> Iterator[str]:
    """The lines of a table of all of them."""
    yield "| `GhostReader` | command | HTTP | answer |"
    yield "|---|---|---|---|"
    for one in questions():
        command, path = (f"`{text}`" if text else "" for text in (one.usage, one.path and f"GET {one.path}"))
        yield f"| `{one.call}` | {command} | {path} | {one.answer} |"


def _question(name: str, command: click.Command | None, path: str | None, paths: dict[str, Any]) -> Question:
    method = getattr(GhostReader, name)
    parameters = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in list(inspect.signature(method).parameters.values())[1:]
    ]
    if method.__name__ != name:
        answer = f"Same as `{method.__name__}`, by the name of earlier releases"
    else:
        answer = _plain((inspect.getdoc(method) or "").split("\n\n")[0].replace("\n", " ").rstrip("."))
    return Question(name, tuple(parameters), answer, command, path, paths[path]["get"] if path else {})


def _plain(text: str) -> str:
    """The text without the numbers of rules, and with the columns that a schema stands for."""
    schemas = {**vars(ngram_queries), **vars(ngram_trends), **vars(ngram_insights)}
    without_rules = re.sub(r" \([GN][\d.]+\)", "", text)
    return re.sub(r"(?:the columns of )?`(\w+_SCHEMA)`", lambda found: _columns(schemas[found[1]]), without_rules)


def _columns(schema: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in schema)


def _methods() -> list[str]:
    """In the order of the classes, which is that of the questions of a person."""
    names = [name for base in reversed(GhostReader.__mro__) for name in vars(base)]
    public = dict.fromkeys(name for name in names if not name.startswith("_"))
    return [name for name in public if inspect.isfunction(getattr(GhostReader, name))]


def _kebab(name: str) -> str:
    return name.replace("_", "-")
