"""Dagster's default launcher, which can also tell whether a run still has a process.

`dagster.yaml` names it. Dagster's own cannot, so that a run whose process went down with its code server, or with the
machine, counts as running for ever and keeps its place in its pool: no hour would run after it.
"""

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value

if TYPE_CHECKING:
    from dagster import DagsterRun
    from dagster._grpc.client import DagsterGrpcClient

PROCESS = "ghost_pipeline/process"
"""Tag of a run that a command executes in its own process: machine and process id."""

_STOPPING = "after telling it to shut down"
"""What a code server says that finishes its runs before it stops."""


def this_process() -> str:
    """The value of `PROCESS` for runs of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs by their code server, and asks it whether they are still alive.

    In doubt a run is alive: `run_monitoring.max_runtime_seconds` ends the doubt.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Have the code server start a run.

        Raises:
            DagsterUserCodeUnreachableError: it is not there, or is about to stop. The queue keeps the run then.
            DagsterLaunchFailedError: it cannot start the run.

        """
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if _STOPPING in str(error):
                raise DagsterUserCodeUnreachableError(str(error)) from error
            raise

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask; yes."""
        return True

    def check_run_worker_health(self, run: "DagsterRun") -> CheckRunHealthResult:
        """Whether the process of a run that has started lives; `FAILED` where it surely does not."""
        client: DagsterGrpcClient | None = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        # A run that is launched anew from one of a command has its tags, too.
        if client is None and (process := run.tags.get(PROCESS)):
            return _of_command(process)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "launched by nobody who could be asked")
        try:
            known = deserialize_value(client.get_current_runs(), GetCurrentRunsResult).current_runs
        except DagsterUserCodeUnreachableError:
            return _of_unreachable(client)
        if run.run_id in known:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server has been started anew and does not know it")


def _of_command(process: str) -> CheckRunHealthResult:
    machine, _, number = process.rpartition(":")
    if machine != socket.gethostname():
        return CheckRunHealthResult(WorkerStatus.RUNNING, "on another machine")
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return CheckRunHealthResult(WorkerStatus.FAILED, f"process {number} of the command is gone")
    except PermissionError:
        # Somebody else's, and alive.
        pass
    return CheckRunHealthResult(WorkerStatus.RUNNING)


def _of_unreachable(client: "DagsterGrpcClient") -> CheckRunHealthResult:
    """A server at a port may be starting; behind a socket file that refuses there is none, and never will be."""
    if client.socket:
        with closing(socket.socket(socket.AF_UNIX)) as attempt:
            try:
                attempt.connect(client.socket)
            except (FileNotFoundError, ConnectionRefusedError):
                return CheckRunHealthResult(WorkerStatus.FAILED, "its code server is gone")
    return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer")
