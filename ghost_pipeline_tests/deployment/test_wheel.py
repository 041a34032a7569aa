"""The wheel in an environment of its own: the packages of `deploy/requirements.lock`, nothing of the checkout."""

import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zipfile import ZipFile

import pytest

from ghost_pipeline import __version__
from ghost_pipeline.demo_source.landmarks import DEMO_AS_OF as AS_OF
from ghost_pipeline_tests.deployment.services import DEPLOY, ROOT, end, eventually, free_port
from ghost_pipeline_tests.running import environment

pytestmark = pytest.mark.long

OF_THE_PROJECT = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE")
OF_LINTERS = {"ruff.toml", "pure.yml"}
QUERY = "{repositoriesOrError{...on RepositoryConnection{nodes{location{name}assetNodes{id}}}}}"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a folder in which its commands run."""

    wheel: Path
    programs: Path
    here: Path

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in environment(Path("data")).items() if not name.startswith("PYTHON")}
        del kept["GHOST_DATA"]
        return kept

    def run(self, program: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / program, *words],
            cwd=self.here,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def serving(self, *words: str) -> Iterator[str]:
        """The address of a server, once it answers."""
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with (self.here.parent / f"{words[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                [self.programs / "ghost-pipeline", *words, "--port", str(port)],
                cwd=self.here,
                env=self.variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            eventually(words[0], lambda: page(address))
            yield address
        finally:
            end(process)


def page(address: str, body: bytes | None = None) -> str | None:
    """What a server sends; None as long as it does not answer."""
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except (ConnectionError, urllib.error.URLError):
        return None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    here = folder / "elsewhere"
    here.mkdir()
    source = folder / "source"
    shutil.copytree(ROOT / "ghost_pipeline", source / "ghost_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for name in OF_THE_PROJECT:
        shutil.copy(ROOT / name, source)
    pip(Path(sys.executable), "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv" / "bin"
    lock = ("--no-deps", "--require-hashes", "-r", str(DEPLOY / "requirements.lock"))
    pip(programs / "python", "install", "--no-compile", *lock)
    pip(programs / "python", "install", "--no-deps", str(wheel))
    pip(programs / "python", "check")
    return Installed(wheel, programs, here)


def pip(python: Path, *words: str) -> None:
    subprocess.run([python, "-m", "pip", *words, "--quiet", "--disable-pip-version-check"], check=True, cwd="/")


@pytest.fixture(scope="module")
def demo(installed: Installed) -> Installed:
    done = installed.run("ghost-pipeline", "demo", "--as-of", f"{AS_OF:%Y-%m-%dT%H:%MZ}")
    assert done.returncode == 0, done.stderr
    return installed


def test_the_wheel_holds_every_file_of_the_package(installed: Installed) -> None:
    held = {name for name in ZipFile(installed.wheel).namelist() if name.startswith("ghost_pipeline/")}
    package = ROOT / "ghost_pipeline"
    files = [path.relative_to(ROOT) for path in package.rglob("*") if path.is_file() and path.name not in OF_LINTERS]
    # Without what Python and tools leave there.
    left = re.compile(r"(^|/)(\.|__pycache__)")
    wanted = {path.as_posix() for path in files if not left.search(path.as_posix())}
    assert held == wanted
    assert "ghost_pipeline/serving/web/index.html" in held


def test_the_command_tells_its_version(installed: Installed) -> None:
    done = installed.run("ghost-pipeline", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def test_the_package_is_that_of_the_wheel(installed: Installed) -> None:
    done = installed.run("python", "-c", "import ghost_pipeline; print(ghost_pipeline.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(installed.programs.parent)


def test_the_demo_is_built_and_published(demo: Installed) -> None:
    done = demo.run("ghost-pipeline", "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["last_failed_run"], told["publication"]["differences"]) == (None, [])
    assert datetime.fromisoformat(told["publication"]["as_of"]) == AS_OF


def test_the_doctor_finds_nothing_wrong(demo: Installed) -> None:
    done = demo.run("ghost-pipeline", "doctor", GHOST_SOURCE="data/source")
    assert done.returncode == 0, done.stdout


def test_the_server_answers_and_sends_its_page_whole(demo: Installed) -> None:
    with demo.serving("serve") as address:
        # Its clock is long past.
        assert json.loads(page(f"{address}/health?lenient=true") or "{}")["status"] == "stale"
        parts = re.findall(r'(?:src|href)="([\w/]+\.(?:js|css|svg))"', page(address) or "")
        assert {"main.js", "style.css"} <= set(parts)
        assert [part for part in parts if not page(f"{address}/{part}")] == []


def test_the_code_location_is_valid(installed: Installed) -> None:
    done = installed.run("dagster", "definitions", "validate", "-m", "ghost_pipeline.definitions")
    assert done.returncode == 0, done.stderr


def test_the_pages_of_dagster_show_the_assets(installed: Installed) -> None:
    with installed.serving("ui", "--no-daemon") as address:
        told = json.loads(page(f"{address}/graphql", json.dumps({"query": QUERY}).encode()) or "{}")
    (repository,) = told["data"]["repositoriesOrError"]["nodes"]
    assert repository["location"]["name"] == "ghost_pipeline.definitions"
    assert len(repository["assetNodes"]) > 30
