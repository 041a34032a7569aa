"""Records what a release writes: a source, and the lake, the histories and the database after two hours and a month.

Before a release changes its version: `python -m ghost_pipeline_tests.upgrades.record`. It writes
`ghost_pipeline_tests/data/lakes/<version>.tar.xz`, which stays for good; the tests take every one of them on.
"""

import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LAKES = Path(__file__).parent.parent / "data" / "lakes"
RECORDED = ("2025-03-12T10:00Z", "2025-03-12T11:00Z")
"""The hours of the record; with the first comes the month 2025-02."""
NEXT_HOUR, NEXT_MONTH = "2025-03-12T12:00Z", "2025-04-20T12:00Z"
"""What the tests run on it. The month is 2025-03; from 2025-03-12 on there is a silence, which has no files."""
SETTINGS = {
    "GHOST_MIN_SAMPLE": "1",
    "GHOST_RELEASE_MIN_MEMBERS": "3",
    "GHOST_RELEASE_MIN_MEMBERS_PERCENTILES": "3",
    "GHOST_RELEASE_MAX_SHARE_PERCENT": "100",
    "GHOST_RELEASE_MIN_CHANGED": "1",
    "GHOST_BANDS": "7.5",
    "GHOST_STARTING_SKILLS": "6.0",
    "GHOST_BENCHMARK_DAYS": "5",
}
"""Few rows, so that the record stays small, of which something is released."""
KEPT = ("source", "data/lake", "data/history", "data/ghost.duckdb", "data/ghost_benchmarks.json")
_TASKS = ("reading", "writing", "listening", "vocabulary")

Row = dict[str, Any]


def source() -> dict[str, list[Row]]:
    """Twelve learners of three cohorts, three typists, and what they do in a few hours of three months."""
    return {
        "users": [
            {
                "user_id": f"u{n:02}",
                "cohort_id": f"c{n % 3}",
                "created_at": "2025-01-08T00:00:00Z",
                "target_band": 7.5,
                "timezone": ("UTC", "Asia/Tokyo", "America/Lima")[n % 3],
                "diagnostic_score": 6.0,
                "final_band_score": 7.5 if n % 2 else None,
            }
            for n in range(12)
        ],
        "cohorts": [{"cohort_id": f"c{n}", "name": f"spring {n}"} for n in range(3)],
        "user_progress": list(_events()),
        "keyboards": [
            {"keyboard_id": f"k{n}", "user_id": f"u{n:02}", "target_ms_per_keystroke": 700} for n in range(3)
        ],
        "practice_sessions": [
            {
                "session_id": f"s{n}",
                "user_id": f"u{n % 3:02}",
                "keyboard_id": f"k{n % 3}",
                "start_time": at,
                "end_time": at,
            }
            for n, at in enumerate(_SESSIONS)
        ],
        "session_keystrokes": [row for n, _ in enumerate(_SESSIONS) for row in _keystrokes(f"s{n}", 1 + n % 2)],
    }


_SESSIONS = [f"2025-03-12T{hour:02}:{minute:02}:00Z" for hour in (8, 9, 10, 11) for minute in (5, 25)] + [
    "2025-04-20T11:05:00Z"
]


def _events() -> Iterator[Row]:
    for day, hours in (("2025-01-10", (9, 10)), ("2025-03-12", (7, 8, 9, 10, 11)), ("2025-04-20", (10, 11))):
        for hour in hours:
            for n in range(12):
                if (n + hour) % 4:
                    yield {
                        "progress_id": f"p{day}-{hour}-{n}",
                        "user_id": f"u{n:02}",
                        "task_type": _TASKS[(n + hour // 2) % 4],
                        "completed_at": f"{day}T{hour:02}:{2 * n:02}:00Z",
                        "time_spent_minutes": 5 + (n * hour) % 20,
                        "current_score": 6.0 + (n + hour) % 4 / 2,
                    }
    # One that is rejected.
    yield {
        "progress_id": "bad",
        "user_id": "u01",
        "task_type": "reading",
        "completed_at": "2025-03-12T09:59:00Z",
        "time_spent_minutes": -1,
        "current_score": None,
    }


def _keystrokes(session: str, seconds: int) -> Iterator[Row]:
    for index, char in enumerate("the cat then"):
        yield {
            "session_id": session,
            "key_index": index,
            "keystroke_time": f"2025-03-12T00:00:{index * seconds:02}Z",
            "keystroke_char": "x" if char == "n" else char,
            "expected_char": char,
            "text_index": index,
        }


def write_source(folder: Path) -> None:
    """Write the tables of the source as NDJSON."""
    folder.mkdir(parents=True)
    for name, rows in source().items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.ndjson").write_text(text, encoding="utf-8")


def run(folder: Path, *arguments: str, package: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command over a folder's source and data.

    Args:
        folder: it has `source/`, and `data/` is written there.
        arguments: those of the command.
        package: the folder that has the package to run, if it is not the installed one.

    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GHOST_", "DAGSTER_"))}
    paths = {"PYTHONPATH": str(package)} if package else {}
    return subprocess.run(
        [sys.executable, "-m", "ghost_pipeline.cli.main", *arguments],
        env={**kept, **SETTINGS, "GHOST_SOURCE": str(folder / "source"), "GHOST_DATA": str(folder / "data"), **paths},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def materialize(folder: Path, hours: Iterable[str], package: Path | None = None) -> None:
    """Materialize hours, each of which has to succeed."""
    for hour in hours:
        done = run(folder, "materialize", "--as-of", hour, package=package)
        assert done.returncode == 0, done.stderr


def packed(folder: Path) -> bytes:
    """The parts of a folder that are kept, as a compressed archive without owners and times."""
    archive = BytesIO()
    with lzma.open(archive, "wb", preset=9) as compressed, tarfile.open(fileobj=compressed, mode="w") as tar:
        for name in KEPT:
            tar.add(folder / name, name, filter=_plain)
    return archive.getvalue()


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if info.name.endswith((".lock", "/.staging")):
        return None
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def unpack(version: str, folder: Path) -> None:
    """Unpack the record of a release into a folder."""
    with tarfile.open(LAKES / f"{version}.tar.xz") as tar:
        tar.extractall(folder, filter="data")


def record(version: str, package: Path | None = None) -> Path:
    """Write the record of a release; returns its file."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_source(folder / "source")
        materialize(folder, RECORDED, package)
        LAKES.mkdir(parents=True, exist_ok=True)
        file = LAKES / f"{version}.tar.xz"
        file.write_bytes(packed(folder))
        shutil.rmtree(folder / "data")
    return file


if __name__ == "__main__":
    from ghost_pipeline import __version__

    sys.stdout.write(f"{record(__version__)}\n")
