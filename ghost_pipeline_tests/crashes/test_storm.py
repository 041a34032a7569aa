"""Publications one after another while readers ask and other clients meddle, each in a process of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ghost_pipeline.cli.doctor import diagnose
from ghost_pipeline.cli.findings import Verdict
from ghost_pipeline.errors import GhostError
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.crashes.numbered import publish_number, query_number, read_number
from ghost_pipeline_tests.crashes.storm import MODULE
from ghost_pipeline_tests.running import COMMAND, environment

PUBLICATIONS = int(os.environ.get("STORM_PUBLICATIONS", "200"))
SEED = os.environ.get("STORM_SEED", "1")

pytestmark = pytest.mark.long


@contextmanager
def started(data: Path, *command: str) -> Iterator["subprocess.Popen[str]"]:
    """A process over a data folder, which is ended after the block."""
    with subprocess.Popen(
        command, env=environment(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def in_storm(data: Path, stop: Path, what: str, given: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of the storm; it ends by itself once the file `stop` is there."""
    with started(data, sys.executable, "-m", MODULE, str(stop), what, given) as process:
        yield process


def test_every_answer_is_of_one_publication_or_one_line(tmp_path: Path) -> None:
    of, stop = Settings.load(data=tmp_path / "data"), tmp_path / "stop"
    publish_number(of, 1)
    refused: list[str] = []
    with started(of.local, str(COMMAND), "serve", "--port", "0") as server:
        assert server.stderr is not None
        port = next(found[1] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:(\d+)/", line)))
        # Nobody reads what the server logs, and a full pipe would stop it.
        with (
            in_storm(of.local, stop, "ask", port) as asking,
            in_storm(of.local, stop, "meddle", SEED) as meddling,
        ):
            for number in range(2, PUBLICATIONS + 1):
                try:
                    publish_number(of, number)
                except GhostError as error:
                    refused.append(str(error))
            stop.touch()
            told, done = asking.communicate()[0].splitlines(), meddling.communicate()[0].splitlines()
    assert [line for line in told if line.startswith("fault")] == []
    answered, meddled = json.loads(told[-1]), json.loads(done[-1])
    print(answered, meddled, len(refused), *told[:-1], sep="\n")  # noqa: T201 - shown with -s
    assert all(("\n" not in one and "folder" in one.lower()) or "directory" in one.lower() for one in refused)
    assert len(refused) < PUBLICATIONS // 4
    for way in ("open reader", "new reader", "query", "HTTP"):
        assert answered[way] > PUBLICATIONS // 10, way
    assert sum(meddled.values()) > PUBLICATIONS // 2
    # After the storm one publication puts everything right.
    publish_number(of, PUBLICATIONS + 1)
    assert read_number(GhostReader(of)) == query_number(of) == PUBLICATIONS + 1
    assert Verdict.WRONG not in {one.verdict for one in diagnose(of) if one.about == "published"}
    assert sorted(file.name for file in of.local.iterdir() if file.name.startswith("ghost.duckdb")) == ["ghost.duckdb"]
