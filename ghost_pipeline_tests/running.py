"""Running the installed command in a process of its own, as a person would."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import duckdb

COMMAND = Path(sys.executable).with_name("ghost-pipeline")
SHARED_DATA = Path(os.environ.get("GHOST_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
DEMO_WORLD = Path(__file__).parent / "data" / "demo_world"


def environment(data: Path, source: Path | None = None, **variables: str) -> dict[str, str]:
    """An environment without any setting of the person who runs the tests, but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GHOST_", "DAGSTER_"))}
    return {**kept, "GHOST_DATA": str(data), **({"GHOST_SOURCE": str(source)} if source else {}), **variables}


def run(
    arguments: Iterable[str], data: Path, source: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `ghost-pipeline` to its end."""
    return subprocess.run(
        [str(COMMAND), *arguments],
        env=environment(data, source, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def found_in(data: Path, texts: tuple[str, ...]) -> list[Path]:
    """The files below a folder that hold one of the texts; Dagster's records among them."""
    files = [path for path in data.rglob("*") if path.is_file()]
    assert any("dagster_home" in path.parts and path.suffix == ".db" for path in files)
    return [path for path in files if any(text.encode() in path.read_bytes() for text in texts)]


def lake_digest(data: Path) -> dict[str, str]:
    """Every file of the lake with the hash of its bytes."""
    lake = data / "lake"
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*.parquet"))
    }


def published_rows(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every published table."""
    with duckdb.connect(str(data / "ghost.duckdb"), read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY ALL').fetchall()  # noqa: S608 - our own names
            for (name,) in tables
        }
