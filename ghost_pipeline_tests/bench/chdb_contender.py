"""chDB as an outside peer of the hourly snapshot, in an environment of its own: it is 500 MB and nothing else needs it.

The environment is made below that of the project when it is first needed, from `chdb.lock`.
"""

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

from ghost_pipeline.contracts.raw import USER_PROGRESS, USERS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.bench.measuring import Measured, run_contender
from ghost_pipeline_tests.clients.environments import python_with

LOCK, PEER = (Path(__file__).with_name(name) for name in ("chdb.lock", "chdb_peer.py"))
NAME = "chdb_incremental"
INSTANT = "%Y-%m-%d %H:%M:%S"


def chdb_python() -> Path | None:
    """The Python of the environment with chDB, which is made if it is missing; None if it cannot be installed."""
    return python_with(LOCK, "chdb")


def prepare_chdb(python: Path, folder: Path, as_of: datetime) -> None:
    """Fill the tables from the lake of a folder, with all events before the last hour."""
    lake, begin = folder / "lake", Hour.ending_at(as_of).start
    days = sorted(path.name for path in (lake / USER_PROGRESS.name).iterdir())
    months = sorted({day[: len("partition_date=2025-03")] for day in days})
    patterns = [f"{lake / USER_PROGRESS.name}/{month}-*/*/*.parquet" for month in months]
    users = f"{lake / USERS.name}/*/*/*.parquet"
    command = [str(python), str(PEER), "prepare", str(folder / "chdb"), f"{begin:{INSTANT}}", users, *patterns]
    subprocess.run(command, check=True)


def measure_chdb(python: Path, folder: Path, as_of: datetime, runs: int) -> Measured:
    """Insert the last hour and write the snapshot; every run begins with the tables as they were before."""
    hour = Hour.ending_at(as_of)
    events = Lake(folder / "lake").path(USER_PROGRESS, hour)
    found, state, kept, out = [], folder / "chdb", folder / "chdb-kept", folder / "chdb-out"
    for _ in range(runs):
        # Its tables are found through links that name the folder: the run has the original, and the copy follows it.
        shutil.copytree(state, kept, symlinks=True)
        for file in folder.glob(f"{out.name}*"):
            file.unlink()
        arguments = ["hour", state, events, f"{as_of:{INSTANT}}", out]
        found.append(run_contender([str(part) for part in (python, PEER, *arguments)]))
        shutil.rmtree(state)
        kept.rename(state)
    return Measured(NAME, tuple(found))
