"""Whether a run still has a process: asked of real code servers, and of the processes of commands."""

import inspect
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._grpc.server import DagsterApiServer

from ghost_pipeline.cli.dagster_home import DAGSTER_YAML
from ghost_pipeline.defs.launcher import PROCESS, this_process
from ghost_pipeline_tests.deployment.services import eventually, free_port

GRPC_INFO = ".dagster/grpc_info"


@dg.op
def nothing() -> None:
    """Nothing happens here."""


@dg.job
def idle() -> None:
    nothing()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Records by the `dagster.yaml` that a first run writes."""
    (tmp_path / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


def health(instance: dg.DagsterInstance, tags: dict[str, str]) -> WorkerStatus:
    """What is said of a run that has started."""
    run = instance.create_run_for_job(idle, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert instance.run_launcher.supports_check_run_worker_health
    return instance.run_launcher.check_run_worker_health(run).status


def test_a_code_server_that_was_started_anew_does_not_know_the_run(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "empty.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n", encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "dagster", "api", "grpc", "-f", "empty.py", "-h", "127.0.0.1", "-p", str(port)]
    tags = {GRPC_INFO: json.dumps({"host": "127.0.0.1", "port": port})}
    assert health(instance, tags) is WorkerStatus.RUNNING, "it may be starting"
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually("the code server", lambda: listening(port))
        assert health(instance, tags) is WorkerStatus.FAILED
    finally:
        # Not SIGTERM: a server that gets it while it starts was seen to go on, and the test to wait for good.
        server.kill()
        server.wait()


def listening(port: int) -> bool | None:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0 or None


def test_behind_a_socket_file_that_refuses_there_is_no_code_server(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = tmp_path / "code.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(file))
    tags = {GRPC_INFO: json.dumps({"host": "localhost", "socket": str(file)})}
    assert health(instance, tags) is WorkerStatus.FAILED
    file.unlink()
    assert health(instance, tags) is WorkerStatus.FAILED


def test_a_run_launched_anew_from_one_of_a_command_is_asked_of_its_code_server(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    copied = {PROCESS: f"{this_process().rpartition(':')[0]}:{ended.pid}"}
    starting = {GRPC_INFO: json.dumps({"host": "127.0.0.1", "port": free_port()})}
    assert health(instance, {**copied, **starting}) is WorkerStatus.RUNNING


def test_a_run_of_a_command_lives_as_long_as_its_process(instance: dg.DagsterInstance) -> None:
    machine, _, number = this_process().rpartition(":")
    assert int(number) == os.getpid()
    assert health(instance, {PROCESS: this_process()}) is WorkerStatus.RUNNING
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert health(instance, {PROCESS: f"{machine}:{ended.pid}"}) is WorkerStatus.FAILED
    assert health(instance, {PROCESS: f"elsewhere.example:{ended.pid}"}) is WorkerStatus.RUNNING


def test_a_code_server_that_finishes_its_runs_before_it_stops_is_one_that_the_queue_waits_for(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = re.search(r'"(Tried to start a run [^"]*)"', inspect.getsource(DagsterApiServer.StartRun))
    assert said, "Dagster says it in other words now"

    def refuse(*_: object) -> None:
        raise DagsterLaunchFailedError(reason)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(DefaultRunLauncher, "launch_run", refuse)
    context = LaunchRunContext(instance.create_run_for_job(idle), None)
    reason = said[1]
    with pytest.raises(DagsterUserCodeUnreachableError):
        instance.run_launcher.launch_run(context)
    reason = "the run's process ended before it began"
    with pytest.raises(DagsterLaunchFailedError):
        instance.run_launcher.launch_run(context)


def test_a_run_that_nobody_can_be_asked_about_lives(instance: dg.DagsterInstance) -> None:
    assert health(instance, {}) is WorkerStatus.RUNNING
