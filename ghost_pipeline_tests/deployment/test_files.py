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
from ghost_pipeline_tests.deployment.services import (
    ASSIGNMENT,
    DEPLOY,
    INSTALLED,
    ROOT,
    environment_files,
    shipped_environment,
)

UNITS = sorted((DEPLOY / "systemd").glob("*.service"), key=lambda path: path.name)
FILES = sorted((DEPLOY / "environment").iterdir())
ON_A_SERVER_ONLY = {"storage", "run_coordinator", "retention"}


def read(name: str) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def named_in(file: str) -> set[str]:
    """The variables of a file of the environment, also those that are not set."""
    text = (DEPLOY / "environment" / file).read_text(encoding="utf-8")
    return {name for name, _ in ASSIGNMENT.findall(text.replace("\n#", "\n"))}


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
    assert named - {name for file in FILES for name in shipped_environment(file.name)} == set()


def test_the_environment_is_one_that_systemd_compose_and_a_shell_read_alike() -> None:
    lines = [line for file in FILES for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if not re.fullmatch(r"(# .*|#?[A-Z_]+='[^']*')?", line)] == []


def test_the_settings_of_the_environment_exist() -> None:
    names = {name for file in FILES for name in named_in(file.name) if name.startswith("GHOST_")}
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
    variables = {name: value for file in FILES for name, value in shipped_environment(file.name).items()}
    started = Template(line.replace(f"{INSTALLED}/.venv/bin/", "")).substitute(variables | INSIDE).split()
    # A container's own address is not the machine's.
    remote = ["--allow-remote"] if unit.stem == "ghost-webserver" else []
    assert in_compose(unit)["command"] == [*started, *remote]


def in_compose(unit: Path) -> dict[str, Any]:
    """A unit's service in the compose file."""
    found: dict[str, Any] = read("compose.yaml")["services"][unit.stem.removeprefix("ghost-")]
    return found


def option(unit: Path, name: str) -> list[str]:
    """The values of an option of a unit."""
    lines = re.findall(rf"^{name}=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    return [word for line in lines for word in line.split()]


KNOWN = {"ghost-api": ["api"], "ghost-code": ["dagster", "pipeline"]}
USERS = {"ghost-api": "ghost-api", "ghost-code": "ghost"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_service_knows_only_what_it_needs(unit: Path) -> None:
    files = KNOWN.get(unit.stem, ["dagster"])
    user = USERS.get(unit.stem, "ghost-dagster")
    assert environment_files(unit.stem) == files
    assert option(unit, "User") == [user]
    assert in_compose(unit)["env_file"] == [f"environment.local/{file}" for file in files]
    assert in_compose(unit)["user"] == user


def test_the_api_knows_the_key_of_tokens_and_no_other_secret() -> None:
    secrets = {"GHOST_SOURCE", "GHOST_ERASURE_KEY", "GHOST_PUBLISH_POSTGRES", "DAGSTER_PG_PASSWORD"}
    assert "GHOST_TOKEN_KEY" in named_in("api")
    assert secrets & named_in("api") == set()
    assert {file.name for file in FILES if "GHOST_TOKEN_KEY" in named_in(file.name)} == {"api"}


def test_the_api_sees_what_is_published_and_may_not_write_it() -> None:
    (unit,) = (one for one in UNITS if one.stem == "ghost-api")
    assert option(unit, "BindReadOnlyPaths") == ["/var/lib/ghost-pipeline/data"]
    assert "-/var/lib/ghost-pipeline/data/lake" in option(unit, "InaccessiblePaths")
    assert option(unit, "ReadWritePaths") == []
    data = [one for one in in_compose(unit)["volumes"] if "ghost-pipeline" in one]
    assert data == ["data:/var/lib/ghost-pipeline/data:ro"]


@pytest.mark.parametrize("unit", [one for one in UNITS if one.stem in {"ghost-daemon", "ghost-webserver"}])
def test_what_only_asks_the_code_does_not_see_the_data(unit: Path) -> None:
    assert {"/var/lib/ghost-pipeline/data", "/etc/ghost-pipeline"} <= set(option(unit, "InaccessiblePaths"))
    assert in_compose(unit)["volumes"] == ["records:/var/lib/ghost-pipeline/dagster_home"]


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx here")
def test_nginx_reads_the_proxy(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*openssl, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for path, ours in {
        "/etc/ssl/private/ghost.key": key,
        "/etc/ssl/certs/ghost.pem": certificate,
        "/var/log/nginx/ghost-api.log": tmp_path / "log",
    }.items():
        assert path in text
        text = text.replace(path, str(ours))
    (tmp_path / "api.conf").write_text(text, encoding="utf-8")
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid; events {{}} http {{ include {tmp_path}/api.conf; }}", encoding="utf-8")
    done = subprocess.run(["nginx", "-t", "-c", str(whole)], capture_output=True, text=True, check=False)  # noqa: S607
    assert f"{whole} syntax is ok" in done.stderr
