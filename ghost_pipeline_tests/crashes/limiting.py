"""Runs on a file system of a few megabytes that fills up or becomes read-only, in a mount namespace of its own.

`unshare --mount` starts it as root: what it mounts, nobody else sees, and it is gone with this process. It prints what
it found as JSON.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghost_pipeline_tests.crashes.processes import VARIABLES
from ghost_pipeline_tests.crashes.world import World
from ghost_pipeline_tests.running import COMMAND, environment, is_progress

COMMAND_LINE = ("materialize", "--as-of", "2025-03-12T13:00Z")
BLOCK = 4096
MEGABYTES = 48
"""A publication takes 6 MB and its copy for readers as many, twice while one replaces another."""


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A small file system in memory at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", folder], check=True)  # noqa: S607
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607


@contextmanager
def full(folder: Path, room: int) -> Iterator[None]:
    """Fill the file system of a folder but for `room` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(BLOCK)):
                pass
        except OSError:
            file.truncate(max(file.tell() - room, 0))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make the file system of a folder read-only."""
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)  # noqa: S607
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)  # noqa: S607


def tried(world: World, home: Path, *arguments: str) -> tuple[int, str]:
    """Run the command; exit code, and its last line of what it said."""
    variables = {**VARIABLES, "DAGSTER_HOME": str(home)}
    environ = environment(world.data, world.folder / "source", **variables)
    done = subprocess.run([str(COMMAND), *arguments], env=environ, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if not is_progress(line)]
    return done.returncode, "\n".join(told)


def try_out(case: str, begun: Path, folder: Path, rooms: list[int]) -> dict[str, object]:
    """Put the data, or Dagster's records, on the small file system, and run there while it cannot be written."""
    small, world = folder / "small", World(folder / "world")
    with mounted(small):
        shutil.copytree(begun, world.folder)
        home = folder / "records"
        if case == "records":
            home = small / "records"
        else:
            shutil.move(world.data, small / "data")
            world.data.symlink_to(small / "data")
        shutil.move(world.data / "dagster_home", home)
        before, failed = world.published(), []
        for room in rooms:
            with read_only(small) if case == "read-only" else full(small, room):
                code, says = tried(world, home, *COMMAND_LINE)
                answers, _ = tried(world, home, "query", "FROM table_info")
                failed.append([code, says, answers, world.published() == before])
        done, _ = tried(world, home, *COMMAND_LINE)
        return {"failed": failed, "done": done, "state": world.state(), "leftovers": world.leftovers()}


if __name__ == "__main__":
    _, _case, _begun, _folder, *_rooms = sys.argv
    print(json.dumps(try_out(_case, Path(_begun), Path(_folder), [int(room) for room in _rooms])))  # noqa: T201
