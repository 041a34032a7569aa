"""The probes of `deploy/kubernetes`, asked of the real services as the node asks them."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import grpc  # type: ignore[import-untyped]
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from ghost_pipeline_tests.deployment.cluster import Resource
from ghost_pipeline_tests.deployment.services import Machine, eventually
from ghost_pipeline_tests.deployment.test_kubernetes import main

pytestmark = pytest.mark.long

PORTS = {"code": "CODE_PORT", "webserver": "WEBSERVER_PORT", "api": "API_PORT"}
NODE = "10.0.0.7"


@pytest.fixture(scope="module")
def running(machine: Machine) -> Iterator[Machine]:
    """The services before the first run, with the key without which the API of a pod does not start."""
    files = {**machine.files, "api": {**machine.files["api"], "GHOST_TOKEN_KEY": "k" * 40}}
    keyed = replace(machine, files=files)
    with ExitStack() as stack:
        for service in (*PORTS, "daemon"):
            stack.enter_context(keyed.service(f"ghost-{service}"))
        yield keyed


def passes(machine: Machine, service: str, probe: Resource) -> bool | None:
    """Whether a probe passes; None if not."""
    port = machine.known_to(f"ghost-{service}")[PORTS[service]]
    if "grpc" in probe:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            asked = health_pb2.HealthCheckRequest(service=probe["grpc"]["service"])
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5)
            except grpc.RpcError:
                return None
        return answer.status == health_pb2.HealthCheckResponse.SERVING or None
    page = probe["httpGet"]
    # The node names the pod by its address, unless the probe names another host.
    headers = {"Host": f"{NODE}:{port}"} | {one["name"]: one["value"] for one in page.get("httpHeaders", [])}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{page['path']}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own
            return True
    except (urllib.error.URLError, TimeoutError):
        return None


@pytest.mark.parametrize("service", PORTS)
def test_a_service_that_has_started_passes_its_probes(running: Machine, service: str) -> None:
    container = main(f"ghost-{service}")
    eventually(f"{service} starts", lambda: passes(running, service, container["startupProbe"]))
    assert passes(running, service, container["livenessProbe"])
    if service != "api":
        assert passes(running, service, container["readinessProbe"])


def test_an_api_without_a_publication_lives_and_is_not_ready(running: Machine) -> None:
    container = main("ghost-api")
    eventually("the API starts", lambda: passes(running, "api", container["startupProbe"]))
    assert passes(running, "api", container["livenessProbe"])
    assert passes(running, "api", container["readinessProbe"]) is None


def test_the_pages_refuse_a_node_that_names_the_pod(running: Machine) -> None:
    probe = main("ghost-webserver")["startupProbe"]
    eventually("the pages", lambda: passes(running, "webserver", probe))
    (header,) = probe["httpGet"]["httpHeaders"]
    assert header == {"name": "Host", "value": "localhost"}
    without = {"httpGet": {**probe["httpGet"], "httpHeaders": []}}
    assert passes(running, "webserver", without) is None


def test_the_daemon_tells_that_it_lives(running: Machine) -> None:
    program, *words = main("ghost-daemon")["livenessProbe"]["exec"]["command"]

    def lives() -> bool | None:
        done = running.run(program, *words)
        return done.returncode == 0 or None

    eventually("the daemon's heartbeats", lives)
