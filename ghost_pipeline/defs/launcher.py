"""How runs are launched: by the launcher that `dagster.yaml` names, or by a command in its own process.

The launcher is Dagster's default one, which also reports runs without a process. Dagster's own cannot: a run whose
process died with its code server or its machine would count as running and keep its place in its pool, and no later
hour would run.

A run that a command executes names the code location that the UI has, so that it is on the timeline and on the pages
of its job. Dagster's own `execute_in_process` names none.

Beside `event_storage` and `kubernetes_launcher` this is the only module with private imports of Dagster; a test for
each notices a change upstream. Which runs there are is in `jobs` and `schedules`.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value

if TYPE_CHECKING:
    from dagster._grpc.client import DagsterGrpcClient

PROCESS = "ghost_pipeline/process"
"""Tag of a run that a command executes in its own process: machine and process id."""

LOCATION = "ghost_pipeline"
"""The name of the code location in every `workspace.yaml`."""
CODE = "ghost_pipeline.definitions"
"""The module that the code location loads."""
NOT_RETRIED = {"dagster/max_retries": "0"}
"""Tags of a command's run: the person who started it sees it fail, and decides."""

_STOPPING = "after telling it to shut down"
"""Part of the answer of a code server that finishes its runs before it stops."""


def this_process() -> str:
    """Return the value of `PROCESS` for runs of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def runs_of_location(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let runs that are created in the block belong to the code location, as if its server had launched them."""
    create = instance.create_run_for_job

    def create_run(job_def: dg.JobDefinition, **given: Any) -> dg.DagsterRun:  # noqa: ANN401 - Dagster's own
        return create(job_def, **given, remote_job_origin=_origin(job_def.name))

    instance.create_run_for_job = create_run  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del instance.create_run_for_job


def _origin(job: str) -> RemoteJobOrigin:
    code = LoadableTargetOrigin(executable_path=sys.executable, module_name=CODE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(code, LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job)


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs through their code server, and asks it whether they are still alive.

    A run counts as alive unless its process is surely gone; `run_monitoring.max_runtime_seconds` ends the others.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Have the code server start a run.

        Raises:
            DagsterUserCodeUnreachableError: the code server is missing or about to stop; the queue keeps the run.
            DagsterLaunchFailedError: the code server cannot start the run.

        """
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if _STOPPING in str(error):
                raise DagsterUserCodeUnreachableError(str(error)) from error
            raise

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask: always."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a started run is alive: `FAILED` only if it is surely gone."""
        client: DagsterGrpcClient | None = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        # A run relaunched from a command's run has the command's tags, too, and a code server.
        if client is None and (process := run.tags.get(PROCESS)):
            return _of_command(process)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "it has neither a code server nor a command to ask")
        try:
            known = deserialize_value(client.get_current_runs(), GetCurrentRunsResult).current_runs
        except DagsterUserCodeUnreachableError:
            return _of_unreachable(client)
        if run.run_id in known:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was restarted and does not know it")


def _of_command(process: str) -> CheckRunHealthResult:
    machine, _, number = process.rpartition(":")
    if machine != socket.gethostname():
        return CheckRunHealthResult(WorkerStatus.RUNNING, "on another machine")
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return CheckRunHealthResult(WorkerStatus.FAILED, f"process {number} of the command is gone")
    except PermissionError:
        # Another user's process, and alive.
        pass
    return CheckRunHealthResult(WorkerStatus.RUNNING)


def _of_unreachable(client: "DagsterGrpcClient") -> CheckRunHealthResult:
    """A server at a port may be starting; a socket file that refuses connections has lost its server for good."""
    if client.socket:
        with closing(socket.socket(socket.AF_UNIX)) as attempt:
            try:
                attempt.connect(client.socket)
            except (FileNotFoundError, ConnectionRefusedError):
                return CheckRunHealthResult(WorkerStatus.FAILED, "its code server is gone")
    return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer")
