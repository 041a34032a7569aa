"""The memory of a server, which must not grow with the number of users."""

import subprocess
import sys
from pathlib import Path

import pytest

from ghost_pipeline_tests.bench.http import USER, prepare

FEW, MANY = 40_000, 240_000
MOST_GROWTH_MIB = 60
"""The index of 200,000 users takes 1 MiB; held in memory, their rows took 300."""
SERVE_TWO_PUBLICATIONS = f"""
import sys
from pathlib import Path
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.serving.service import Service
from ghost_pipeline.settings import Settings

folder, users = Path(sys.argv[1]), int(sys.argv[2])
service = Service(Settings.load(data=folder / "live"), wall_clock)
for of in ("first", "second"):
    (folder / of / "ghost.duckdb").replace(folder / "live" / "ghost.duckdb")
    service.refresh()
    rows = service.served.rows
    assert all(rows.row({USER!r}.format(number)) for number in range(0, users, 7))
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_six_times_the_users_take_the_same_memory(tmp_path: Path) -> None:
    few, many = (_peak_mib(tmp_path / str(users), users) for users in (FEW, MANY))
    assert many <= few + MOST_GROWTH_MIB


def _peak_mib(folder: Path, users: int) -> float:
    prepare(folder, users)
    command = [sys.executable, "-c", SERVE_TWO_PUBLICATIONS, str(folder), str(users)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout) / 1024
