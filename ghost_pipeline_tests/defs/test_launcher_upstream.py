"""The private parts of Dagster that the launcher relies on: an upgrade that changes one of them fails here first."""

import inspect
from typing import get_type_hints

import dagster as dg
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value, serialize_value


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_the_default_launcher_launches_and_finds_the_code_server_of_a_run() -> None:
    assert issubclass(DefaultRunLauncher, RunLauncher)
    assert parameters(DefaultRunLauncher.launch_run) == ["self", "context"]
    assert get_type_hints(DefaultRunLauncher.launch_run)["context"] is LaunchRunContext
    assert parameters(DefaultRunLauncher._get_grpc_client_for_termination) == ["self", "run_id"]  # noqa: SLF001


def test_run_monitoring_asks_a_launcher_by_these_names() -> None:
    assert isinstance(inspect.getattr_static(RunLauncher, "supports_check_run_worker_health"), property)
    assert parameters(RunLauncher.check_run_worker_health) == ["self", "run"]
    assert get_type_hints(RunLauncher.check_run_worker_health) == {"run": dg.DagsterRun, "return": CheckRunHealthResult}


def test_the_default_launcher_does_not_say_whether_a_run_is_alive() -> None:
    assert "supports_check_run_worker_health" not in vars(DefaultRunLauncher), "WatchedRunLauncher may be superfluous"


def test_the_health_of_a_run_is_a_status_and_a_message() -> None:
    assert CheckRunHealthResult._fields[:2] == ("status", "msg")
    assert {"RUNNING", "FAILED"} <= set(WorkerStatus.__members__)


def test_a_code_server_names_the_runs_that_it_executes() -> None:
    assert parameters(DagsterGrpcClient.get_current_runs) == ["self"]
    assert DagsterGrpcClient(socket="code.sock").socket == "code.sock"
    sent = serialize_value(GetCurrentRunsResult(current_runs=["one"], serializable_error_info=None))
    assert deserialize_value(sent, GetCurrentRunsResult).current_runs == ["one"]


def test_a_queue_keeps_a_run_whose_code_server_cannot_be_reached() -> None:
    assert issubclass(DagsterUserCodeUnreachableError, dg.DagsterError)
    assert not issubclass(DagsterLaunchFailedError, DagsterUserCodeUnreachableError)
