"""The tools of `make check` notice each kind of import or call that does not belong: shown by putting it there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with its settings of the tools."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "ghost_pipeline", folder / "ghost_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [TOOLS / command[0], *command[1:]], cwd=project, capture_output=True, text=True, check=False, timeout=120
    )
    done.stdout = " ".join(done.stdout.split())
    return done


def added(project: Path, module: str, text: str) -> tuple[Path, str]:
    """Add lines to a module; gives its path and what was there before."""
    path = project / "ghost_pipeline" / module
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n{text}\n", encoding="utf-8")
    return path, before


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("defs/jobs.py", "cli.main"),
        ("errors.py", "settings"),
        ("sources/files.py", "lake.lake"),
        ("lake/lake.py", "sources.files"),
        ("domain/ghost/activity.py", "domain.ngrams.ngram_queries"),
        ("contracts/ghost.py", "domain.ghost.activity"),
        ("publish/database_builder.py", "serving.reader"),
        ("privacy/tombstones.py", "ingest.validation"),
    ],
)
def test_an_import_that_goes_up_is_noticed(project: Path, module: str, imported: str) -> None:
    path, before = added(project, module, f"import ghost_pipeline.{imported}")
    try:
        done = run(project, "lint-imports", "--no-logo", "--no-cache", "pyproject.toml")
    finally:
        path.write_text(before, encoding="utf-8")
    importer = "ghost_pipeline." + module.removesuffix(".py").replace("/", ".")
    assert done.returncode == 1
    assert f"{importer} -> ghost_pipeline.{imported}" in done.stdout


@pytest.mark.parametrize("imported", ["dagster", "dagster_postgres"])
@pytest.mark.parametrize("module", ["publish/database_builder.py", "settings.py", "errors.py"])
def test_dagster_outside_of_its_folder_is_noticed(project: Path, module: str, imported: str) -> None:
    path, before = added(project, module, f"import {imported}")
    try:
        done = run(project, "lint-imports", "--no-logo", "--no-cache", "pyproject.toml")
    finally:
        path.write_text(before, encoding="utf-8")
    importer = "ghost_pipeline." + module.removesuffix(".py").replace("/", ".")
    assert done.returncode == 1
    assert f"{importer} -> {imported} (l." in done.stdout


@pytest.mark.parametrize(
    "imported",
    [
        *("sqlite3", "random", "socket", "importlib", "os", "time", "dagster", "duckdb"),
        *("sqlalchemy", "obstore", "http", "pickle"),
    ],
)
def test_a_module_that_the_domain_may_not_use_is_noticed(project: Path, imported: str) -> None:
    path, before = added(project, "domain/ghost/activity.py", f"import {imported}\n\n{imported}.anything()")
    try:
        done = run(project, "ruff", "check", "--no-cache", "--select", "TID251", str(path))
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert f"`{imported}` is banned" in done.stdout


@pytest.mark.parametrize(
    "called", ["uuid.uuid1", "uuid.uuid4", "numpy.save", "numpy.load", "numpy.fromfile", "numpy.random.random"]
)
def test_a_function_that_the_domain_may_not_call_is_noticed(project: Path, called: str) -> None:
    path, before = added(project, "domain/ghost/activity.py", f"import numpy\nimport uuid\n\n{called}()")
    try:
        done = run(project, "ruff", "check", "--no-cache", "--select", "TID251", str(path))
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert "is banned" in done.stdout


@pytest.mark.parametrize(
    "call",
    [
        *('frame.write_parquet("a")', 'pl.scan_parquet("a")', 'frame.sink_csv("a")', 'open("a")'),
        *("frame.serialize()", 'array.tofile("a")', 'frame.lazy().serialize("a")'),
    ],
)
def test_a_call_that_reads_or_writes_in_the_domain_is_noticed(project: Path, call: str) -> None:
    path, before = added(project, "domain/ghost/activity.py", call)
    try:
        done = run(project, "ast-grep", "scan", "--rule", "ghost_pipeline/domain/pure.yml", "ghost_pipeline/domain")
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert call in done.stdout


@pytest.mark.parametrize("call", ["time.time()", "datetime.now(UTC)", "date.today()"])
@pytest.mark.parametrize("module", ["cli/run.py", "lake/lake.py", "serving/app.py", "contracts/ghost.py"])
def test_asking_what_time_it_is_is_noticed(project: Path, module: str, call: str) -> None:
    lines = f"import time\nfrom datetime import UTC, date, datetime\n\n{call}"
    path, before = added(project, module, lines)
    try:
        done = run(project, "ruff", "check", "--no-cache", "--select", "TID251", str(path))
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert "is banned" in done.stdout


def test_the_package_as_it_is_passes(project: Path) -> None:
    for command in (
        ("lint-imports", "--no-logo", "--no-cache", "pyproject.toml"),
        ("ruff", "check", "--no-cache", "--select", "TID251", "ghost_pipeline"),
        ("ast-grep", "scan", "--rule", "ghost_pipeline/domain/pure.yml", "ghost_pipeline/domain"),
    ):
        done = run(project, *command)
        assert done.returncode == 0, done.stdout + done.stderr
