"""The manifests of `deploy/kubernetes` are valid, agree with one another, with the units and with the code."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate  # type: ignore[import-untyped]
from kubernetes_validate.utils import all_versions  # type: ignore[import-untyped]

from ghost_pipeline_tests.deployment.cluster import (
    ALL,
    KUBERNETES,
    NAMESPACE,
    PODS,
    Resource,
    containers,
    kustomization,
    named,
    pod_template,
    secret,
    settings,
    sources,
)
from ghost_pipeline_tests.deployment.services import DEPLOY, SERVICES, command, environment_files, shipped_environment

OLDEST = "1.27"
"""The first with probes that ask a gRPC server."""
VERSIONS = [OLDEST, *list(dict.fromkeys(version.rpartition(".")[0] for version in all_versions()))[-3:]]
"""The oldest that the manifests are for, and those that are maintained."""
DATA, LAKE = "/var/lib/ghost-pipeline/data", "/var/lib/ghost-pipeline/data/lake"
COMMANDS = {"ghost-status": ["ghost-pipeline", "status", "--exit-code"], "ghost-alert": ["ghost-pipeline", "alert"]}
FROM_OUTSIDE = {"CODE_HOST": "0.0.0.0", "WEBSERVER_HOST": "0.0.0.0", "API_HOST": "0.0.0.0"}  # noqa: S104 - of a pod
ADDRESSES = re.compile(r"\$\{(\w+)\}")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_one_of_the_api(version: str) -> None:
    for one in ALL:
        validate(one, version, strict=True)


def test_the_page_names_the_oldest_version() -> None:
    assert f"Kubernetes {OLDEST} or newer" in (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_a_misspelt_field_is_none_of_the_api() -> None:
    deployment = json.loads(json.dumps(named("Deployment")["ghost-api"]))
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(ValidationError, match="livenesProbe"):
        validate(deployment, VERSIONS[-1], strict=True)


def test_every_file_is_listed_in_a_kustomization() -> None:
    folders = [KUBERNETES, KUBERNETES / "alerts"]
    files = {path for folder in folders for path in folder.glob("*.yaml")}
    listed = {folder / name for folder in folders for name in kustomization(folder)["resources"]}
    assert files - listed == {*(folder / "kustomization.yaml" for folder in folders), KUBERNETES / "dagster.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_kustomize_builds_what_the_files_say_with_one_image_of_ours(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    file = tmp_path / "kubernetes" / "kustomization.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("#components:", "components:"), encoding="utf-8")
    kubectl = ["kubectl", "kustomize", str(file.parent)]
    done = subprocess.run(kubectl, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = list(yaml.safe_load_all(done.stdout))
    for one in built:
        validate(one, VERSIONS[-1], strict=True)
    instance = [("ConfigMap", "ghost-instance")]
    assert sorted(map(kind_and_name, built)) == sorted([*map(kind_and_name, ALL), *instance])
    assert {one["metadata"].get("namespace") for one in built if one["kind"] != "Namespace"} == {NAMESPACE}
    images = {container["image"] for one in built for container in containers(pod_template(one) or EMPTY)}
    (ours,) = (image for image in images if "ghost-pipeline" in image)
    assert re.fullmatch(r"registry\.example\.com/ghost-pipeline:\S+", ours)
    (code,) = (one for one in built if kind_and_name(one) == ("Deployment", "ghost-code"))
    (variable,) = code["spec"]["template"]["spec"]["containers"][0]["env"]
    assert variable == {"name": "DAGSTER_CURRENT_IMAGE", "value": ours}


EMPTY: Resource = {"spec": {"containers": []}}


def kind_and_name(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_starts_what_a_unit_starts(service: str) -> None:
    unit = f"ghost-{service}"
    variables = {name: value for file in environment_files(unit) for name, value in shipped_environment(file).items()}
    program, *rest = command(unit, variables | FROM_OUTSIDE)
    root = str(DEPLOY.parent)
    started = [Path(program).name, *(word.replace(root, "/opt/ghost-pipeline") for word in rest)]
    # A pod's own address is not the node's.
    remote = ["--allow-remote"] if service == "webserver" else []
    assert main(unit)["args"] == [*started, *remote]


def main(pod: str) -> Resource:
    found: Resource = PODS[pod]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("pod", COMMANDS)
def test_a_job_starts_a_command_that_there_is(pod: str) -> None:
    assert main(pod)["args"] == COMMANDS[pod]


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_knows_what_its_unit_knows(service: str) -> None:
    files = environment_files(f"ghost-{service}")
    names = ["ghost-pipeline" if file == "pipeline" else f"ghost-{file}" for file in files]
    expected = [f"{kind}/{name}" for name in names for kind in ("configMapRef", "secretRef")]
    assert sources(main(f"ghost-{service}")) == expected


def test_what_migrates_and_what_looks_does_not_know_the_source() -> None:
    dagster = ["configMapRef/ghost-dagster", "secretRef/ghost-dagster"]
    assert sources(PODS["ghost-code"]["spec"]["initContainers"][0]) == dagster
    assert sources(main("ghost-status")) == [*dagster, "configMapRef/ghost-pipeline"]
    assert sources(main("ghost-alert")) == [*dagster, "configMapRef/ghost-pipeline", "secretRef/ghost-alerts"]


@pytest.mark.parametrize(
    ("file", "name"), [("dagster", "ghost-dagster"), ("pipeline", "ghost-pipeline"), ("api", "ghost-api")]
)
def test_settings_and_secrets_are_those_of_a_server(file: str, name: str) -> None:
    units = "".join(path.read_text(encoding="utf-8") for path in (DEPLOY / "systemd").iterdir())
    # Of a pod, the arguments name the address that it listens on.
    listened = set(ADDRESSES.findall(units)) - {"CODE_HOST", "CODE_PORT"}
    text = (DEPLOY / "environment" / file).read_text(encoding="utf-8")
    possible = set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))
    given = settings(name).keys() | secret(file)
    assert set(shipped_environment(file)) - listened <= given <= possible
    assert settings(name).keys() & secret(file) == set()
    paths = {key: value for key, value in shipped_environment(file).items() if value.startswith("/")}
    assert {key: value for key, value in settings(name).items() if value.startswith("/")} == paths


def test_no_manifest_holds_a_password() -> None:
    secrets = {name for path in (KUBERNETES / "secrets").iterdir() for name in secret(path.name)}
    assert {"GHOST_SOURCE", "GHOST_TOKEN_KEY", "GHOST_ALERT_URLS", "DAGSTER_PG_PASSWORD"} <= secrets
    assert named("Secret") == {}
    assert [name for one in named("ConfigMap").values() for name in one["data"] if name in secrets] == []


@pytest.mark.parametrize("pod", PODS)
def test_a_folder_that_a_pod_is_told_of_is_mounted(pod: str) -> None:
    for container in containers(PODS[pod]):
        mounted = {one["mountPath"] for one in container["volumeMounts"]}
        maps = [one.removeprefix("configMapRef/") for one in sources(container) if one.startswith("configMapRef/")]
        told = {value for name in maps for value in settings(name).values() if value.startswith("/")}
        assert told <= mounted


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_do_nothing_but_its_work(pod: str) -> None:
    spec = PODS[pod]["spec"]
    closed(spec)
    account = named("ServiceAccount")[spec["serviceAccountName"]]
    token = account.get("automountServiceAccountToken", True)
    assert token is (pod in {"ghost-daemon", "ghost-webserver"})


def closed(spec: Resource) -> None:
    """Assert that a pod runs as a user without rights, in an image that it cannot change, within bounds."""
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers({"spec": spec}):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} == container["resources"].keys()
        assert "/tmp" in {one["mountPath"] for one in container["volumeMounts"]}  # noqa: S108 - of a pod


@pytest.mark.parametrize("service", SERVICES)
def test_users_have_the_numbers_of_the_image(service: str) -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    numbers = {name: int(uid) for uid, name in re.findall(r"useradd .*--uid (\d+) .* (\S+) \\\n", text)}
    assert numbers == {name: int(gid) for gid, name in re.findall(r"groupadd .*--gid (\d+) (\S+) \\\n", text)}
    (user,) = re.findall(r"^User=(\S+)$", unit_text(service), re.MULTILINE)
    context = PODS[f"ghost-{service}"]["spec"]["securityContext"]
    assert context["runAsUser"] == context["runAsGroup"] == numbers[user]
    mounts_data = service in {"code", "api"}
    # What is published belongs to the group of the API.
    assert context["fsGroup"] == numbers["ghost-api" if mounts_data else user]


def unit_text(service: str) -> str:
    return (DEPLOY / "systemd" / f"ghost-{service}.service").read_text(encoding="utf-8")


def claims(spec: Resource) -> dict[str, str]:
    """The volumes of a pod that outlive it, by their names in it."""
    volumes = spec.get("volumes", [])
    return {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}


def mounts(container: Resource, spec: Resource) -> dict[str, tuple[str, bool]]:
    """Where a container has the volumes that outlive it, and whether it may write them."""
    kept = claims(spec)
    found = [one for one in container["volumeMounts"] if one["name"] in kept]
    return {kept[one["name"]]: (one["mountPath"], not one.get("readOnly", False)) for one in found}


WRITES = {"ghost-data": (DATA, True), "ghost-lake": (LAKE, True)}
SEEN = {
    "ghost-code": WRITES,
    "ghost-api": {"ghost-data": (DATA, False)},
    "ghost-status": {"ghost-data": (DATA, False), "ghost-lake": (LAKE, False)},
    "ghost-alert": {"ghost-data": (DATA, True), "ghost-lake": (LAKE, False)},
}


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_sees_the_data_that_it_needs(pod: str) -> None:
    assert mounts(main(pod), PODS[pod]["spec"]) == SEEN.get(pod, {})


@pytest.mark.parametrize("pod", SEEN)
def test_what_sees_the_data_is_on_one_node(pod: str) -> None:
    beside(PODS[pod])


def beside(template: Resource) -> None:
    """Assert that a pod goes where the others are that see the data, and that they go where it is."""
    (term,) = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    wanted = term["labelSelector"]["matchLabels"]
    assert (wanted, term["topologyKey"]) == ({"ghost-pipeline/mounts": "data"}, "kubernetes.io/hostname")
    assert wanted.items() <= template["metadata"]["labels"].items()


def test_one_node_at_a_time_has_the_data() -> None:
    assert {name: one["spec"]["accessModes"] for name, one in named("PersistentVolumeClaim").items()} == {
        "ghost-data": ["ReadWriteOnce"],
        "ghost-lake": ["ReadWriteOnce"],
    }


def test_what_starts_runs_or_asks_for_them_is_there_once() -> None:
    for name in ("ghost-code", "ghost-daemon"):
        spec = named("Deployment")[name]["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_what_is_named_is_there() -> None:
    secrets = {f"ghost-{path.name}" for path in (KUBERNETES / "secrets").iterdir()}
    maps = {*named("ConfigMap"), *(one["name"] for one in kustomization()["configMapGenerator"])}
    there = {"configMap": maps, "secret": secrets, "claim": set(named("PersistentVolumeClaim"))}
    there["serviceAccount"] = set(named("ServiceAccount"))
    missing = [(kind, name) for template in PODS.values() for kind, name in names(template) if name not in there[kind]]
    assert missing == []
    for binding in named("RoleBinding").values():
        assert binding["roleRef"]["name"] in named("Role")
        assert {one["name"] for one in binding["subjects"]} <= there["serviceAccount"]


def names(found: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - YAML
    """What a pod names, as kind and name."""
    if isinstance(found, list):
        for one in found:
            yield from names(one)
    elif isinstance(found, dict):
        for key, value in found.items():
            if key in {"configMapRef", "configMapKeyRef", "configMap"}:
                yield "configMap", value["name"]
            elif key in {"secretRef", "secretKeyRef"}:
                yield "secret", value["name"]
            elif key == "claimName":
                yield "claim", value
            elif key == "serviceAccountName":
                yield "serviceAccount", value
            else:
                yield from names(value)


@pytest.mark.parametrize("service", named("Service"))
def test_a_service_leads_to_a_port_that_its_pod_listens_on(service: str) -> None:
    spec = named("Service")[service]["spec"]
    selected = [name for name, one in PODS.items() if spec["selector"].items() <= one["metadata"]["labels"].items()]
    assert selected == [service]
    ports = {one["name"]: one["containerPort"] for one in main(service)["ports"]}
    assert [ports[one["targetPort"]] for one in spec["ports"]] == [one["port"] for one in spec["ports"]]


def test_the_code_is_found_at_its_service() -> None:
    told = settings("ghost-dagster")
    (port,) = named("Service")[told["CODE_HOST"]]["spec"]["ports"]
    assert str(port["port"]) == told["CODE_PORT"]
    (port,) = named("Service")[told["DAGSTER_PG_HOST"]]["spec"]["ports"]
    assert str(port["port"]) == told["DAGSTER_PG_PORT"]


def test_the_network_lets_each_pod_reach_what_it_needs_and_no_more() -> None:
    reached = {component: ingress(component) for component in COMPONENTS}
    askers = {"daemon", "webserver"}
    assert reached == {
        "code": [(4000, askers)],
        "postgres": [(5432, {"code", "run", "watch", *askers})],
        # From everywhere, through a proxy.
        "api": [(8000, None)],
        "webserver": [],
        "daemon": [],
        "run": [],
        "watch": [],
    }
    started = {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in PODS.values()}
    assert {*started, "run"} == set(COMPONENTS)


COMPONENTS = ("code", "daemon", "webserver", "api", "postgres", "run", "watch")


def selects(selector: Resource) -> set[str]:
    """The components whose pods a selector of a policy means."""
    if not selector:
        return set(COMPONENTS)
    if "matchLabels" in selector:
        return set(selector["matchLabels"].values())
    return {value for one in selector["matchExpressions"] for value in one["values"]}


def ingress(component: str) -> list[tuple[int, set[str] | None]]:
    """The ports at which a component is reached, and by which others."""
    specs = [one["spec"] for one in named("NetworkPolicy").values() if component in selects(one["spec"]["podSelector"])]
    assert any("Ingress" in spec["policyTypes"] for spec in specs)
    rules = [rule for spec in specs for rule in spec.get("ingress", [])]
    return [(port["port"], asking(rule.get("from"))) for rule in rules for port in rule["ports"]]


def asking(peers: list[Resource] | None) -> set[str] | None:
    """The components that a rule lets in; None if it lets in everyone."""
    return None if peers is None else {name for one in peers for name in selects(one["podSelector"])}


def test_dagster_differs_from_a_server_by_how_runs_are_launched_alone() -> None:
    server, here = (
        yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8")) for folder in (DEPLOY, KUBERNETES)
    )
    assert here.keys() - server.keys() == {"compute_logs"}
    assert {name for name in server if server[name] != here.get(name)} == {"run_launcher"}


def test_pages_of_dagster_are_reached_by_no_service() -> None:
    assert {one["spec"]["selector"]["app.kubernetes.io/component"] for one in named("Service").values()} == {
        "api",
        "code",
        "postgres",
    }
