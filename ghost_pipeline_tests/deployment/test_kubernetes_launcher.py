"""Runs as jobs: launched, watched and stopped by the shipped settings, over a cluster's API on loopback."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from kubernetes_validate import validate  # type: ignore[import-untyped]

from ghost_pipeline.defs.launcher import CODE, PROCESS
from ghost_pipeline_tests.deployment.cluster import (
    KUBERNETES,
    NAMESPACE,
    PODS,
    Cluster,
    Resource,
    allowed,
    cluster,
    named,
    sources,
)
from ghost_pipeline_tests.deployment.test_kubernetes import VERSIONS, WRITES, beside, closed, main, mounts

IMAGE = "registry.example.com/ghost-pipeline:1"
STARTED = dg.DagsterRunStatus.STARTED


@dg.op
def nothing() -> None:
    """Nothing happens here."""


@dg.job
def idle() -> None:
    nothing()


@dataclass
class Here:
    """Dagster's records by the shipped settings, and the cluster that they lead to."""

    instance: dg.DagsterInstance
    cluster: Cluster

    def run(self, tags: Mapping[str, str] | None = None) -> dg.DagsterRun:
        """A run that has started, as the code location asks for it."""
        code = RepositoryPythonOrigin(sys.executable, ModuleCodePointer(CODE, "defs"), IMAGE)
        origin = JobPythonOrigin(idle.name, code)
        return self.instance.create_run_for_job(idle, tags=tags, status=STARTED, job_code_origin=origin)

    def launched(self, tags: Mapping[str, str] | None = None) -> tuple[dg.DagsterRun, Resource]:
        """A run and its job."""
        run = self.run(tags)
        self.instance.run_launcher.launch_run(LaunchRunContext(run, None))
        (job,) = self.cluster.created
        return run, job

    def health(self, run: dg.DagsterRun) -> WorkerStatus:
        assert self.instance.run_launcher.supports_check_run_worker_health
        return self.instance.run_launcher.check_run_worker_health(run).status

    def job_is(self, run: dg.DagsterRun, status: Resource) -> None:
        job = {"kind": "Job", "apiVersion": "batch/v1", "metadata": {}, "status": status}
        self.cluster.answers[f"jobs/dagster-run-{run.run_id}/status"] = (200, job)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with cluster() as api:
        settings: dict[str, Any] = yaml.safe_load((KUBERNETES / "dagster.yaml").read_text(encoding="utf-8"))
        del settings["storage"]
        outside = {"load_incluster_config": False, "kubeconfig_file": str(api.config(tmp_path))}
        settings["run_launcher"]["config"] |= outside
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield Here(instance, api)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_of_a_run_is_one_of_the_api(here: Here, version: str) -> None:
    _, job = here.launched()
    # The client sends what it does not name as empty lists, which the API takes.
    validate(job, version, strict=True)


def test_the_job_runs_the_image_of_the_code_in_a_pod_like_that_of_the_code(here: Here) -> None:
    run, job = here.launched()
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["image"] == IMAGE
    *_, begin, what = container["args"]
    assert begin == "execute_run"
    assert run.run_id in what
    code = PODS["ghost-code"]["spec"]
    assert sorted(sources(container)) == sorted(sources(main("ghost-code")))
    assert mounts(container, template["spec"]) == WRITES == mounts(main("ghost-code"), code)
    assert by_name(container["volumeMounts"]) == by_name(main("ghost-code")["volumeMounts"])
    assert by_name(template["spec"]["volumes"]) == by_name(code["volumes"])
    assert template["spec"]["securityContext"] == code["securityContext"]


def by_name(found: list[Resource]) -> list[Resource]:
    return sorted(found, key=lambda one: (one["name"], one.get("mountPath", "")))


def test_the_pod_of_a_run_may_do_nothing_but_its_work(here: Here) -> None:
    _, job = here.launched()
    template = job["spec"]["template"]
    closed(template["spec"])
    beside(template)
    assert template["metadata"]["labels"]["app.kubernetes.io/component"] == "run"
    assert template["spec"]["serviceAccountName"] == "ghost-run" in named("ServiceAccount")
    assert template["spec"]["automountServiceAccountToken"] is False


def test_a_tag_of_a_run_does_not_change_its_pod(here: Here) -> None:
    tag = {"dagster-k8s/config": '{"container_config": {"image": "other"}}'}
    with pytest.raises(Exception, match="violated the allowed list"):
        here.launched(tag)
    assert here.cluster.created == []


def test_a_run_lives_as_long_as_its_job(here: Here) -> None:
    run = here.run()
    here.job_is(run, {"active": 1})
    assert here.health(run) is WorkerStatus.RUNNING
    here.job_is(run, {"failed": 1})
    assert here.health(run) is WorkerStatus.FAILED
    here.cluster.answers.clear()
    assert here.health(run) is WorkerStatus.FAILED, "the job is gone"


def test_a_cluster_that_does_not_answer_proves_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_k8s.client.time.sleep", lambda _: None)
    refused = (500, {"kind": "Status", "code": 500})
    run, ofcommand = here.run(), here.run({PROCESS: "ghost-code-1:7"})
    here.cluster.answers[f"jobs/dagster-run-{run.run_id}/status"] = refused
    here.cluster.answers["pods/ghost-code-1"] = refused
    assert here.health(run) is WorkerStatus.RUNNING
    assert here.health(ofcommand) is WorkerStatus.RUNNING


def test_a_run_of_a_command_lives_as_long_as_its_pod(here: Here) -> None:
    run = here.run({PROCESS: "ghost-code-1:7"})
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "ghost-code-1"}}
    for phase, expected in (("Running", WorkerStatus.RUNNING), ("Failed", WorkerStatus.FAILED)):
        here.cluster.answers["pods/ghost-code-1"] = (200, {**pod, "status": {"phase": phase}})
        assert here.health(run) is expected
    here.cluster.answers.clear()
    assert here.health(run) is WorkerStatus.FAILED


def test_a_run_launched_anew_from_one_of_a_command_is_asked_of_its_job(here: Here) -> None:
    run = here.run({PROCESS: "ghost-code-1:7"})
    here.job_is(run, {"active": 1})
    assert here.health(run) is WorkerStatus.RUNNING


def test_the_daemon_may_do_what_the_launcher_asks(here: Here) -> None:
    run, _ = here.launched()
    here.health(run)
    here.health(here.run({PROCESS: "ghost-code-1:7"}))
    with_pod(here, run)
    here.instance.run_launcher.get_run_worker_debug_info(run, include_container_logs=False)
    here.instance.run_launcher.terminate(run.run_id)
    rules = named("Role")["ghost-daemon"]["rules"]
    assert set(here.cluster.asked) <= allowed(rules)
    assert {("create", "jobs"), ("get", "jobs/status"), ("get", "pods")} <= set(here.cluster.asked)


def test_the_pages_may_stop_a_run_and_start_none(here: Here) -> None:
    run = here.run()
    with_pod(here, run)
    assert here.instance.run_launcher.terminate(run.run_id)
    rules = named("Role")["ghost-webserver"]["rules"]
    assert set(here.cluster.asked) == allowed(rules)
    assert {verb for verb, _ in allowed(rules)} & {"create", "patch", "update", "get"} == set()


def with_pod(here: Here, run: dg.DagsterRun) -> None:
    """Let the cluster have the job of a run, and its pod."""
    done = (200, {"kind": "Status", "status": "Success"})
    pods = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [{"metadata": {"name": "pod"}}]}
    here.cluster.answers |= {f"jobs/dagster-run-{run.run_id}": done, "pods": (200, pods), "pods/pod": done}


def test_a_run_that_was_killed_is_run_again_and_not_resumed(here: Here) -> None:
    assert here.instance.run_monitoring_max_resume_run_attempts == 0
    assert here.instance.run_retries_enabled
    assert here.instance.run_launcher.job_namespace == NAMESPACE  # type: ignore[attr-defined]


def test_the_code_and_its_commands_ask_no_cluster(tmp_path: Path) -> None:
    settings = yaml.safe_load((KUBERNETES / "dagster.yaml").read_text(encoding="utf-8"))
    del settings["storage"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        # Their pods have no token, which the launcher would look for.
        assert idle.execute_in_process(instance=instance).success
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS]
        with pytest.raises(Exception, match="Service host/port is not set"):
            _ = instance.run_launcher
