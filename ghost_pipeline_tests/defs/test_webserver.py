"""Dagster's pages answer their own requests, and none that other sites make a browser send."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import dagster as dg
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from ghost_pipeline.defs.metadata import as_table
from ghost_pipeline.pictures.tables import counted
from ghost_pipeline_tests.deployment.services import eventually, free_port
from ghost_pipeline_tests.running import COMMAND, environment, run
from ghost_pipeline_tests.serving.browsing import chromium

FOREIGN = "http://elsewhere.example"
SCHEDULE = (
    'repositoryLocationName: "ghost_pipeline.definitions", repositoryName: "__repository__", '
    'scheduleName: "hourly_schedule"'
)
START = f"mutation {{ startSchedule(scheduleSelector: {{ {SCHEDULE} }}) {{ __typename }} }}"
STATUS = (
    f"{{ scheduleOrError(scheduleSelector: {{ {SCHEDULE} }}) {{ ... on Schedule {{ scheduleState {{ status }} }} }} }}"
)


@contextmanager
def pages(folder: Path, *options: str) -> Iterator[httpx.Client]:
    """A real `ghost-pipeline ui`."""
    port = free_port()
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [str(COMMAND), "ui", "--no-daemon", "--port", str(port), *options],
            env=environment(folder / "data"),
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            eventually("the webserver", lambda: answering(client))
            yield client
    finally:
        process.terminate()
        process.wait(30)


def answering(client: httpx.Client) -> bool | None:
    try:
        return client.get("/server_info").is_success or None
    except httpx.TransportError:
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages run, with the data folder."""
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def ui(folder: Path) -> Iterator[httpx.Client]:
    """Dagster's pages without a daemon."""
    with pages(folder) as client:
        yield client


def ask(client: httpx.Client, query: str, **headers: str) -> httpx.Response:
    return client.post("/graphql", json={"query": query}, headers=headers)


def status(client: httpx.Client) -> Any:  # noqa: ANN401 - JSON
    return ask(client, STATUS).json()["data"]["scheduleOrError"]["scheduleState"]["status"]


def test_a_page_of_another_site_in_a_real_browser_changes_nothing(ui: httpx.Client) -> None:
    address = f"{ui.base_url}/graphql"
    page = f"""<!DOCTYPE html><img src="{address}?query={quote(START)}">
    <iframe name="frame"></iframe>
    <form method="post" enctype="text/plain" target="frame" action="{address}?query={quote(START)}"></form>
    <script>document.forms[0].submit();
    Promise.allSettled([
      fetch("{address}", {{method: "POST", mode: "no-cors", body: {json.dumps(START)}}}),
      fetch("{address}?query={quote(START)}", {{mode: "no-cors"}}),
      new Promise(done => {{ const socket = new WebSocket("{address.replace("http", "ws")}", "graphql-ws");
        socket.onclose = () => done(); socket.onopen = () => {{ document.title = "connected"; done() }} }}),
    ]).then(() => {{ document.title ||= "done" }})</script>""".encode()

    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as site, chromium() as browser:
        Thread(target=site.serve_forever, daemon=True).start()
        visit = browser.new_page()
        answers: list[int] = []
        visit.on("response", lambda answer: answers.append(answer.status) if answer.url.startswith(address) else None)
        visit.goto(f"http://127.0.0.1:{site.server_port}/", wait_until="networkidle")
        visit.wait_for_function("document.title")
        title = visit.title()
        site.shutdown()
    # The image, the form and two requests of the script arrive, and are refused.
    assert sorted(answers) == [403, 403, 405, 405]
    assert title == "done"
    assert status(ui) == "STOPPED"


def test_its_own_page_works_in_a_real_browser(ui: httpx.Client) -> None:
    with chromium() as browser:
        visit = browser.new_page()
        refused: list[str] = []
        visit.on("response", lambda answer: refused.append(answer.url) if answer.status in {400, 403, 405} else None)
        sockets: list[str] = []
        visit.on("websocket", lambda socket: socket.on("framereceived", lambda _: sockets.append(socket.url)))
        visit.goto(f"{ui.base_url}/locations")
        visit.get_by_text("ghost_pipeline.definitions").first.wait_for(timeout=60_000)
        visit.wait_for_timeout(500)
    assert refused == []
    assert sockets


def test_a_picture_is_seen_on_the_page_of_its_asset(ui: httpx.Client, folder: Path) -> None:
    picture = counted({"unknown user": 3, "no time": 1})
    with dg.DagsterInstance.from_config(str(folder / "data" / "dagster_home")) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("users", metadata={"counted": as_table(picture)}))
    with chromium() as browser:
        visit = browser.new_page()
        visit.goto(f"{ui.base_url}/assets/users")
        for _, number, bar in picture.iter_rows():
            visit.get_by_role("row", name=f"{number} {bar}").last.wait_for(timeout=60_000)


def test_a_mutation_in_an_address_is_refused(ui: httpx.Client) -> None:
    for send in (ui.get, ui.post):
        answer = send("/graphql", params={"query": START})
        assert (answer.status_code, answer.text) == (405, "Send the query as JSON, by POST.")
    assert status(ui) == "STOPPED"


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_request_of_another_origin_is_refused(origin: str, ui: httpx.Client) -> None:
    assert ask(ui, START, Origin=origin).status_code == 403
    assert ui.post("/report_asset_materialization/users", headers={"Origin": origin}).status_code == 403
    assert status(ui) == "STOPPED"


def test_a_socket_of_another_origin_is_refused(ui: httpx.Client) -> None:
    address = f"ws://127.0.0.1:{ui.base_url.port}/graphql"
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin=Origin(FOREIGN), subprotocols=[Subprotocol("graphql-ws")])
    own = Origin(str(ui.base_url).rstrip("/"))
    with connect(address, origin=own, subprotocols=[Subprotocol("graphql-ws")]) as socket:
        assert socket.subprotocol == "graphql-ws"


def test_another_name_for_this_machine_is_refused(ui: httpx.Client) -> None:
    assert ui.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
    assert ui.get("/", headers={"Host": f"localhost:{ui.base_url.port}"}).status_code == 200


def test_without_changes_its_schedules_cannot_be_turned_on(tmp_path: Path) -> None:
    named = {"Host": "dagster.example", "Origin": "https://dagster.example"}
    with pages(tmp_path, "--read-only", "--server-name", "dagster.example") as client:
        assert ask(client, START, **named).json()["data"]["startSchedule"]["__typename"] == "UnauthorizedError"
        assert status(client) == "STOPPED"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104 - refused
def test_an_address_that_others_reach_needs_a_flag(host: str, tmp_path: Path) -> None:
    done = run(["ui", "--host", host], tmp_path)
    assert done.returncode == 2
    assert f"--host {host} needs --allow-remote" in done.stderr
