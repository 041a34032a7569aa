"""The services of `deploy/` as real processes: the commands of the units, in the environment that is shipped."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, TypeVar

from ghost_pipeline_tests.running import environment

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
INSTALLED = "/opt/ghost-pipeline"
"""Where the units expect the checkout."""
PATIENCE = 180.0

Found = TypeVar("Found")


SERVICES = ("api", "code", "daemon", "webserver")
ASSIGNMENT = re.compile(r"^(\w+)='([^']*)'$", re.MULTILINE)


def shipped_environment(file: str) -> dict[str, str]:
    """The variables of a file of `deploy/environment`, as systemd, Compose and a shell read them."""
    return dict(ASSIGNMENT.findall((DEPLOY / "environment" / file).read_text(encoding="utf-8")))


def environment_files(unit: str) -> list[str]:
    """The files of the environment that a unit reads, by name."""
    text = (DEPLOY / "systemd" / f"{unit}.service").read_text(encoding="utf-8")
    return re.findall(r"^EnvironmentFile=/etc/ghost-pipeline/(\w+)$", text, re.MULTILINE)


def command(unit: str, variables: Mapping[str, str]) -> list[str]:
    """What a unit starts, with the interpreter and the checkout of these tests."""
    text = (DEPLOY / "systemd" / f"{unit}.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    line = line.replace(f"{INSTALLED}/.venv/bin", str(Path(sys.executable).parent)).replace(INSTALLED, str(ROOT))
    return [Template(word).substitute(variables) for word in shlex.split(line)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, look: Callable[[], Found | None], patience: float = PATIENCE) -> Found:
    """What `look` finds, once it finds something."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {patience:.0f} s")


@dataclass(frozen=True)
class Machine:
    """A folder in which services run as they would on a server."""

    folder: Path
    files: Mapping[str, Mapping[str, str]]
    """What the files of the environment hold, by their names."""

    @property
    def variables(self) -> dict[str, str]:
        """What the command `run` and the code know."""
        return {**self.files["dagster"], **self.files["pipeline"]}

    def known_to(self, unit: str) -> dict[str, str]:
        """The variables that a unit's process knows."""
        return {name: value for file in environment_files(unit) for name, value in self.files[file].items()}

    @property
    def data(self) -> Path:
        return Path(self.variables["GHOST_DATA"])

    @contextmanager
    def service(self, unit: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A unit's process; it and its children are ended at the end."""
        with (self.folder / f"{unit}.log").open("ab") as log:
            process = subprocess.Popen(
                command(unit, self.known_to(unit)),
                env={**self._bare(), **self.known_to(unit)},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            end(process)

    def ask(self, query: str, **variables: object) -> Any:  # noqa: ANN401 - JSON
        """What the webserver answers to a GraphQL query."""
        address = f"http://{self.variables['WEBSERVER_HOST']}:{self.variables['WEBSERVER_PORT']}/graphql"
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own
            told = json.load(answer)
        assert "errors" not in told, told
        return told["data"]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command through `deploy/run`, as an operator gives it."""
        folder = self.folder / "environment"
        folder.mkdir(exist_ok=True)
        for file, variables in self.files.items():
            lines = "".join(f"{name}='{value}'\n" for name, value in variables.items())
            (folder / file).write_text(lines, encoding="utf-8")
        words = tuple(word.replace(INSTALLED, str(ROOT)) for word in words)
        program = str(Path(sys.executable).with_name(words[0]))
        return subprocess.run(
            [str(DEPLOY / "run"), program, *words[1:]],
            env={**self._bare(), "GHOST_ENVIRONMENT": str(folder)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def _bare(self) -> dict[str, str]:
        return {name: value for name, value in environment(self.data).items() if not name.startswith("GHOST_")}


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a service: it is asked to go, and what does not is killed with all its children."""
    process.terminate()
    try:
        process.wait(15)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in threads for child in one.read_text(encoding="utf-8").split()]
