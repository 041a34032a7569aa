"""Running the command as a person would: in this process, or in one of its own where the process is the subject."""

import hashlib
import io
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from unittest.mock import patch

import duckdb

from ghost_pipeline.cli.main import main
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.publish.history import find_files_in

COMMAND = Path(sys.executable).with_name("ghost-pipeline")
SHARED_DATA = Path(os.environ.get("GHOST_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
DEMO_WORLD = Path(__file__).parent / "data" / "demo_world"


def environment(data: Path, source: Path | None = None, **variables: str) -> dict[str, str]:
    """An environment without any setting of the person who runs the tests, but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GHOST_", "DAGSTER_"))}
    return {**kept, "GHOST_DATA": str(data), **({"GHOST_SOURCE": str(source)} if source else {}), **variables}


def run(
    arguments: Iterable[str], data: Path, source: Path | None = None, *, stdin: str | bytes = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `ghost-pipeline` to its end in this process: one of its own needs 2 to 3 s of processor time to start."""
    command, code = [str(COMMAND), *arguments], 0
    with (
        patch.dict(os.environ, environment(data, source, **variables), clear=True),
        patch.object(
            sys,
            "stdin",
            io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin), encoding="utf-8"),
        ),
        TemporaryFile() as output,
        TemporaryFile() as errors,
        _stream("stdout", 1, output),
        _stream("stderr", 2, errors),
    ):
        try:
            main(command[1:], prog_name="ghost-pipeline")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception:  # noqa: BLE001 - what a process does with any
            traceback.print_exc()
            code = 1
        written = [_content(file, stream) for file, stream in ((output, sys.stdout), (errors, sys.stderr))]
    return subprocess.CompletedProcess(command, code, *written)


@contextmanager
def _stream(name: str, descriptor: int, file: IO[bytes]) -> Iterator[None]:
    """Let what is written to a stream go to `file`, whether Python, a library or a process that is started writes."""
    kept = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    replaced = io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding="utf-8", write_through=True)
    try:
        with patch.object(sys, name, replaced), replaced:
            yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _content(file: IO[bytes], stream: IO[str]) -> str:
    stream.flush()
    file.seek(0)
    return file.read().decode()


def is_progress(line: str) -> bool:
    """Whether a long command says with a line what it is doing."""
    return line.startswith(("  ", "hour ", "month ")) or line.endswith(": starting")


def is_of_table(line: str) -> bool:
    """Whether a line of progress is that of a table that is done."""
    return line.startswith("  ") and not line.startswith("   ")


def run_process(
    arguments: Iterable[str], data: Path, source: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed `ghost-pipeline` to its end."""
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
    """Every file of the lake's tables with the hash of its bytes; what is cached is named by versions of files."""
    lake = data / "lake"
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*.parquet"))
        if not path.is_relative_to(lake / CACHE)
    }


def published_rows(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every published table; which history files are kept for earlier readers is no figure."""
    with duckdb.connect(str(data / "ghost.duckdb"), read_only=True) as connection:
        find_files_in(connection, data)
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_name <> 'history_files' ORDER BY 1"
        ).fetchall()
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY ALL').fetchall()  # noqa: S608 - our own names
            for (name,) in tables
        }
