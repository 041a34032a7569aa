"""What a long command says while it works, and the summary with which it ends.

Imports nothing that takes long: the first line appears before Dagster and polars are loaded, which takes seconds. What
Dagster reports is turned into these lines by `run_events`.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TextIO

import click

from ghost_pipeline.errors import GhostError

Arguments = ParamSpec("Arguments")
SECONDS_OF_SILENCE = 4.0
"""After this long without a line, one says what is being done; looked at twice a second, so every 5 s at the latest."""
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class Summary:
    """What a command has done."""

    read: int = 0
    """Good rows that the source delivered."""
    rejected: int = 0
    """Rows of the source that were rejected."""
    built: list[str] = field(default_factory=list)
    """The hours and months whose tables were computed, such as `hour 2025-03-12-11:00`."""
    skipped: list[str] = field(default_factory=list)
    """The hours and months that were left as they are, and why."""
    published: dict[str, Any] | None = None
    """The file, its tables and their rows; None if nothing was published."""
    seconds: float = 0.0
    look_at: list[str] = field(default_factory=lambda: ["ghost-pipeline status"])
    """Commands that show more."""

    def add_built(self, *partitions: str) -> None:
        """Add partitions that were built, each once."""
        self.built = list(dict.fromkeys([*self.built, *partitions]))

    def look(self, command: str, *, needed: bool) -> None:
        """Add a command to look at, or remove it if there is nothing to see any more."""
        if needed != (command in self.look_at):
            (self.look_at.append if needed else self.look_at.remove)(command)

    def lines(self) -> list[str]:
        """Return the summary as people read it, one line for each part."""
        published = "nothing"
        if self.published:
            rows, tables = self.published["rows"], self.published["tables"]
            published = f"{rows:,} rows of {tables} tables in {self.published['file']}"
        parts = {
            "read": f"{self.read:,} rows, {self.rejected:,} rejected",
            "built": _some(self.built),
            "skipped": _some(self.skipped),
            "published": published,
            "took": f"{self.seconds:.0f} s",
        }
        lines = [f"{name:<11}{text}" for name, text in parts.items()]
        return [*lines, *(f"{'look at' if not number else '':<11}{one}" for number, one in enumerate(self.look_at))]


class Progress:
    """Prints what a command is doing: a line for each thing done, and one every few seconds while one takes long."""

    def __init__(self, command: str = "", out: TextIO | None = None, *, as_json: bool = False) -> None:
        """Say at once that the command has begun.

        Args:
            command: its name.
            out: where lines are printed; None: nowhere.
            as_json: whether the command prints one JSON object on standard output in place of text.

        """
        self.command, self.as_json, self.summary = command, as_json, Summary()
        self._out, self._lock, self._done = out, threading.Lock(), threading.Event()
        self._began = self._printed = self._since = time.monotonic()
        self._doing = "starting"
        self._thread = threading.Thread(target=self._say_what_takes_long, daemon=True)
        if command:
            self.say(f"{command}: starting")

    @property
    def quiet(self) -> bool:
        """Whether only errors are printed."""
        return self._out is None

    def __enter__(self) -> Self:
        """Begin to say what takes long."""
        if self._out is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop, and note how long it took."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self.summary.seconds = round(time.monotonic() - self._began, 1)

    def say(self, line: str) -> None:
        """Print a line; once the other end of a pipe is closed, nothing any more, and the command goes on."""
        with self._lock:
            if self._out is None:
                return
            try:
                self._out.write(f"{line}\n")
                self._out.flush()
            except BrokenPipeError:
                _close_for_good(self._out)
                self._out = None
            self._printed = time.monotonic()

    def working_on(self, doing: str) -> None:
        """Note what is being done from now on; it is printed if it takes long."""
        self._doing, self._since = doing, time.monotonic()

    def wait_for_answer(self) -> None:
        """Print nothing until something is being done again: a person is thinking."""
        self._doing = ""

    def rows(self, table: str, rows: int, total: int | None) -> None:
        """Note how many rows of a table have been read, of how many if that is known."""
        share = f" of {total:,} ({100 * rows // total} %)" if total else ""
        self._doing = f"{table}: {rows:,}{share} rows read"

    def _say_what_takes_long(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LOOKS):
            now = time.monotonic()
            if self._doing and now - self._printed > SECONDS_OF_SILENCE - _SECONDS_BETWEEN_LOOKS:
                self.say(f"    {self._doing}, {now - self._since:.0f} s")


NO_PROGRESS = Progress()
"""Prints nothing."""


def long_command(
    function: Callable[Concatenate[Progress, Arguments], Mapping[str, Any] | None],
) -> Callable[Arguments, None]:
    """Give a command `--quiet` and `--json`, its `Progress`, a first line at once, and the summary at its end.

    Args:
        function: takes the progress first, and may return what `--json` prints in place of the summary. If it fails,
            `--json` prints the summary so far, with the error.

    """

    @click.option("--quiet", is_flag=True, help="Print errors only.")
    @click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output; progress on standard error."
    )
    @wraps(function)
    def command(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        quiet, as_json = options.pop("quiet"), bool(options.pop("as_json"))
        name = str(click.get_current_context().info_name)
        progress = Progress(name, None if quiet else sys.stderr, as_json=as_json)
        try:
            with progress:
                result = function(progress, *arguments, **options)
        except GhostError as error:
            if as_json:
                so_far = {"command": name, **asdict(progress.summary), "error": " ".join(str(error).split())}
                click.echo(json.dumps(so_far, indent=2))
            raise
        if as_json:
            click.echo(json.dumps(result or {"command": name, **asdict(progress.summary)}, indent=2))
        elif result is None:
            for line in progress.summary.lines():
                progress.say(line)

    return command


def _close_for_good(out: TextIO) -> None:
    """Lead what is still to be written to a closed pipe nowhere: otherwise Python fails on it when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def _some(names: list[str], shown: int = 2) -> str:
    """The first and the last of some names, in one line."""
    if len(names) <= shown:
        return ", ".join(names) or "nothing"
    return f"{names[0]} … {names[-1]} ({len(names)})"
