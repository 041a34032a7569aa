"""How runs are launched on Kubernetes: each as a job, by the launcher that `deploy/kubernetes/dagster.yaml` names.

Needs the extra `kubernetes`. Dagster's own launcher gives a run up when the cluster's API does not answer, while its
pod goes on, and the runs of commands, which have no job.
"""

import kubernetes.client  # type: ignore[import-untyped]
import urllib3.exceptions
from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_k8s.launcher import K8sRunLauncher

from ghost_pipeline.defs.launcher import PROCESS

_NO_JOB = "could not be found"
"""Part of what Dagster says of a run without a job."""
_ENDED = {"Succeeded", "Failed"}
_NOT_FOUND = 404


class KubernetesRunLauncher(K8sRunLauncher):
    """Launches runs as jobs, and asks the cluster whether they are still alive.

    A run counts as alive unless its job, or its command's pod, is surely gone; `run_monitoring.max_runtime_seconds`
    ends the others.
    """

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the job of a started run is alive: `FAILED` only if it is surely gone."""
        found: CheckRunHealthResult = super().check_run_worker_health(run)
        if found.status is not WorkerStatus.UNKNOWN:
            return found
        if _NO_JOB not in (found.msg or ""):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the cluster's API does not answer")
        # A run relaunched from a command's run has the command's tags, too, and a job.
        if process := run.tags.get(PROCESS):
            return self._of_command(process.rpartition(":")[0])
        return CheckRunHealthResult(WorkerStatus.FAILED, "its job is gone")

    def _of_command(self, pod: str) -> CheckRunHealthResult:
        """A pod's host name is its own name."""
        try:
            phase = self._api_client.get_pod_by_name(pod, self.job_namespace).status.phase
        except kubernetes.client.ApiException as error:
            if error.status == _NOT_FOUND:
                return CheckRunHealthResult(WorkerStatus.FAILED, f"pod {pod} of the command is gone")
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the cluster's API does not answer")
        except urllib3.exceptions.HTTPError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the cluster's API does not answer")
        if phase in _ENDED:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"pod {pod} of the command has ended")
        return CheckRunHealthResult(WorkerStatus.RUNNING)
