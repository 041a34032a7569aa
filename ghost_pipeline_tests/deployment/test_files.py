"""The files of `deploy/` agree with one another, with the code, and with the tools that read them."""

import re
import shutil
import subprocess
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from ghost_pipeline.cli.dagster_home import DAGSTER_YAML
from ghost_pipeline.defs.schedules import LONGEST_RUN
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.deployment.services import DEPLOY, INSTALLED, ROOT, shipped_environment

UNITS = sorted((DEPLOY / "systemd").glob("*.service"), key=lambda path: path.name)
ON_A_SERVER_ONLY = {"storage", "run_coordinator", "retention"}


def read(name: str) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_a_server_differs_from_a_first_run_by_its_storage_alone() -> None:
    local, server = yaml.safe_load(DAGSTER_YAML), read("dagster.yaml")
    assert {name: value for name, value in server.items() if name not in ON_A_SERVER_ONLY} == local
    assert server.keys() - local.keys() == ON_A_SERVER_ONLY


def test_schedules_and_run_monitoring_take_the_same_time_for_the_longest() -> None:
    assert read("dagster.yaml")["run_monitoring"]["max_runtime_seconds"] == LONGEST_RUN.total_seconds()


def test_the_environment_holds_every_variable_that_a_file_names() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.suffix in {".yaml", ".service"}]
    texts = [path.read_text(encoding="utf-8") for path in files]
    named = {
        name for text in texts for name in re.findall(r"\{env: (\w+)\}|\$\{(\w+)\}", text) for name in name if name
    }
    assert len(named) > 10
    assert named - shipped_environment().keys() == set()


def test_the_environment_is_one_that_systemd_compose_and_a_shell_read_alike() -> None:
    lines = (DEPLOY / "environment").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"(# .*|#?[A-Z_]+='[^']*')?", line)] == []


def test_the_settings_of_the_environment_exist() -> None:
    lines = (DEPLOY / "environment").read_text(encoding="utf-8")
    names = set(re.findall(r"^#?(GHOST_\w+)=", lines, re.MULTILINE))
    assert {"GHOST_SOURCE", "GHOST_ERASURE_KEY"} <= names
    assert names <= {f"GHOST_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_what_a_unit_names_is_there(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    paths = re.findall(rf"{INSTALLED}/([^\s]+)", text)
    assert paths
    missing = [path for path in paths if not path.startswith(".venv/") and not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    for other in UNITS:
        text = other.read_text(encoding="utf-8")
        (tmp_path / other.name).write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],  # noqa: S607 - Debian's
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


INSIDE = {"CODE_HOST": "0.0.0.0", "WEBSERVER_HOST": "0.0.0.0", "API_HOST": "0.0.0.0"}  # noqa: S104 - of a container


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_compose_starts_what_a_unit_starts(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    started = Template(line.replace(f"{INSTALLED}/.venv/bin/", "")).substitute(shipped_environment() | INSIDE)
    assert read("compose.yaml")["services"][unit.stem.removeprefix("ghost-")]["command"] == started.split()
