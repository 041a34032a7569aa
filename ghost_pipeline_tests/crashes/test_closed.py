"""Readers who may only read the data folder, or not even that: an answer, or one line."""

import os
import subprocess
from pathlib import Path

import httpx
import pytest

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.crashes.numbered import USER, number_of_response, publish_number
from ghost_pipeline_tests.running import COMMAND, environment

UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Root may open everything; in containers, tests run as root."""
COMMANDS = (("ghost-data", USER), ("query", "SELECT count(*) FROM table_info"), ("status",))

pytestmark = pytest.mark.long


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a publication."""
    settings = Settings.load(data=tmp_path / "data")
    publish_number(settings, 1)
    return settings.local


def asked(command: tuple[str, ...], data: Path, temporary: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process that the rights of files hold for, as they do not for root."""
    temporary.mkdir()
    env = environment(data, TMPDIR=str(temporary))
    return subprocess.run([*UNPRIVILEGED, str(COMMAND), *command], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one[0])
def test_who_may_not_read_is_told_so_in_one_line(command: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    data.chmod(0)
    try:
        done = asked(command, data, tmp_path / "temporary")
    finally:
        data.chmod(0o750)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ghost-pipeline: {data}/")
    assert "Permission denied" in done.stderr
    assert "nothing has been published" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_whose_user_may_not_read_the_lake_answers_from_what_is_published(data: Path, tmp_path: Path) -> None:
    (data / "lake").mkdir(exist_ok=True)
    (data / "lake").chmod(0)
    env = environment(data, TMPDIR=str(tmp_path))
    command = [*UNPRIVILEGED, str(COMMAND), "serve", "--port", "0"]
    try:
        with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            address = next((line.split()[3].rstrip("/,") for line in process.stderr if line.startswith("Web page")), "")
            try:
                answer = httpx.get(f"{address}/cohort/{USER}/ghost-data", timeout=30)
            finally:
                process.terminate()
    finally:
        (data / "lake").chmod(0o750)
    assert number_of_response(answer.json()) == 1


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one[0])
def test_who_may_only_read_is_answered_from_a_file_that_was_put_back(
    command: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    # Another time of change than that of the copy, which cannot be made again there.
    os.utime(data / "ghost.duckdb", (0, 0))
    folders = (data, data / ".published", data / ".staging")
    for folder in folders:
        folder.chmod(0o550)
    try:
        done = asked(command, data, tmp_path / "temporary")
    finally:
        for folder in folders:
            folder.chmod(0o750)
    assert (done.returncode, done.stderr) == (0, "")
    # What it has copied for itself goes when it ends.
    assert list((tmp_path / "temporary").iterdir()) == []
