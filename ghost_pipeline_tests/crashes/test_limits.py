"""A disk that is full or read-only, for real: one line, what was published stays, and the same command repairs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ghost_pipeline_tests.crashes.limiting import COMMAND_LINE
from ghost_pipeline_tests.crashes.processes import begun, copied, goes_on, run
from ghost_pipeline_tests.crashes.world import World

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root may mount a file system of its own"
    ),
]
NO_SPACE, READ_ONLY = "No space left on device", "Read-only file system"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("limits") / "begun")
    begun(found)
    goes_on(found)
    return found


@pytest.fixture(scope="module")
def undisturbed(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    other = copied(world, tmp_path_factory.mktemp("undisturbed") / "world")
    run(other, *COMMAND_LINE)
    return other.state()


@pytest.mark.parametrize(
    ("case", "rooms", "says"),
    [
        # With more and more room a run comes as far as its first file, its first tables, its publication.
        ("full", (0, 60_000, 300_000), rf"{NO_SPACE}.*[Ff]ree some space"),
        ("records", (0,), r"records: Dagster's records cannot be written .*Free some space"),
        ("read-only", (0,), rf"{READ_ONLY}.*can be written"),
    ],
)
def test_one_line_says_so_and_the_same_command_repairs(
    case: str, rooms: tuple[int, ...], says: str, world: World, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    module = [sys.executable, "-m", "ghost_pipeline_tests.crashes.limiting"]
    arguments = [case, str(world.folder), str(tmp_path), *map(str, rooms)]
    done = subprocess.run(["unshare", "--mount", *module, *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for code, told, answers, kept in found["failed"]:
        assert code == 1
        assert re.fullmatch(rf"ghost-pipeline: .*{says}.*", told), told
        assert (answers, kept) == (0, True)
    assert len(found["failed"]) == len(rooms)
    assert found["done"] == 0
    assert found["state"] == undisturbed
    assert found["leftovers"] == []
