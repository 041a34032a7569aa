"""What `deploy/kubernetes` holds, and as much of a cluster's API as the launcher asks, on loopback."""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from ghost_pipeline_tests.deployment.services import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
NAMESPACE = "ghost-pipeline"
Resource = dict[str, Any]
IN_NAMESPACE = re.compile(r"^/api(?:s/(?P<group>[^/]+))?/v1/namespaces/ghost-pipeline/(?P<rest>[^?]+)")


def kustomization(folder: Path = KUBERNETES) -> Resource:
    found: Resource = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def documents(folder: Path = KUBERNETES) -> list[Resource]:
    """The resources that a kustomization lists."""
    paths = [folder / name for name in kustomization(folder)["resources"]]
    return [one for path in paths for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


ALL = [*documents(), *documents(KUBERNETES / "alerts")]


def pod_template(resource: Resource) -> Resource | None:
    """The template of the pods that a resource starts, if it starts any."""
    spec = resource.get("spec", {})
    template: Resource | None = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template


PODS = {one["metadata"]["name"]: template for one in ALL if (template := pod_template(one))}


def containers(template: Resource) -> list[Resource]:
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def named(kind: str) -> dict[str, Resource]:
    """The resources of a kind, by their names."""
    return {one["metadata"]["name"]: one for one in ALL if one["kind"] == kind}


def sources(container: Resource) -> list[str]:
    """The maps and secrets whose variables a container knows, in their order."""
    return [f"{kind}/{one[kind]['name']}" for one in container.get("envFrom", []) for kind in one]


def secret(name: str) -> set[str]:
    """The variables of a secret, also those that are not set."""
    text = (KUBERNETES / "secrets" / name).read_text(encoding="utf-8")
    return set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))


def settings(name: str) -> dict[str, str]:
    found: dict[str, str] = named("ConfigMap")[name]["data"]
    return found


@dataclass
class Cluster:
    """Answers as the API of a cluster does, and keeps what it was asked."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """Verb and kind of what."""
    created: list[Resource] = field(default_factory=list)
    answers: dict[str, tuple[int, Resource]] = field(default_factory=dict)
    """By the part of the path behind the namespace; what is not there is answered with 404."""
    port: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Resource]:
        found = IN_NAMESPACE.match(path)
        assert found, path
        kind, *rest = found["rest"].split("/")
        subresource = f"/{rest[1]}" if len(rest) > 1 else ""
        verb = {"GET": "get" if rest else "list", "POST": "create", "DELETE": "delete"}[method]
        self.asked.append((verb, f"{kind}{subresource}"))
        if method == "POST":
            self.created.append(json.loads(body))
            return 201, self.created[-1]
        return self.answers.get(found["rest"], (404, {"kind": "Status", "code": 404, "reason": "NotFound"}))

    def config(self, folder: Path) -> Path:
        """A file that leads a client here."""
        file = folder / "kubeconfig"
        cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
        user = {"name": "me", "user": {}}
        whole = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "here"}
        file.write_text(yaml.safe_dump(whole), encoding="utf-8")
        return file


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster's API in which there is nothing yet."""
    found = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = found.answer(self.command, self.path, body)
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def allowed(rules: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Verbs and kinds that the rules of a role allow."""
    return {(verb, kind) for rule in rules for verb in rule["verbs"] for kind in rule["resources"]}
