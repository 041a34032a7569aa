"""What other clients do to `ghost.duckdb`: each with a process of its own, or by hand."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """
import duckdb, sys
try:
    connection = duckdb.connect(sys.argv[1])
    for statement in sys.argv[2:]:
        connection.execute(statement)
except duckdb.Error:
    pass  # Somebody else was faster, and the file is none.
print("open", flush=True)
sys.stdin.read()
"""
LIES = (
    "CREATE TABLE mine AS SELECT 1 AS one",
    "UPDATE user_ghost_stats SET tasks_completed = 0",
    "DELETE FROM ghost_benchmarks",
)


@contextmanager
def open_client(database: Path, *statements: str) -> Iterator["subprocess.Popen[str]"]:
    """A client that opens the file for writing, runs statements and stays; it is killed at the end of the block."""
    command = [sys.executable, "-c", CLIENT, str(database), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def kill_a_client(database: Path) -> None:
    """Its changes are in a log beside the file, where DuckDB applies them to whatever has that name."""
    with open_client(database, *LIES):
        pass


def let_a_client_end(database: Path) -> None:
    """Its changes are in the file."""
    with open_client(database, *LIES, "CHECKPOINT"):
        pass


def truncate(database: Path) -> None:
    """Leave the beginning of the file."""
    if database.is_file():
        os.truncate(database, database.stat().st_size // 2)


def empty(database: Path) -> None:
    """Leave nothing of it."""
    if database.is_file():
        os.truncate(database, 0)


def delete(database: Path) -> None:
    """Remove it."""
    if not database.is_dir():
        database.unlink(missing_ok=True)


def replace_by_garbage(database: Path) -> None:
    """Put something else in its place, by a rename."""
    if not database.is_dir():
        other = database.with_name("other")
        other.write_bytes(b"no database" * 1000)
        other.replace(database)


def overwrite(database: Path) -> None:
    """Write over a page in the middle of it."""
    if database.is_file():
        with database.open("r+b") as file:
            file.seek(database.stat().st_size // 2)
            file.write(b"\xff" * 4096)


def replace_by_a_folder(database: Path) -> None:
    """Put a folder in its place."""
    delete(database)
    database.mkdir(exist_ok=True)


def replace_by_another_database(database: Path) -> None:
    """Put a database without our tables in its place."""
    delete(database)
    with open_client(database, "CREATE TABLE mine AS SELECT 1 AS one", "CHECKPOINT"):
        pass


def replace_by_an_edited_copy(database: Path) -> None:
    """Put a copy in its place that a client has changed."""
    if database.is_file():
        other = database.with_name("other")
        shutil.copy(database, other)
        let_a_client_end(other)
        if not database.is_dir():
            other.replace(database)


def link_to_nothing(database: Path) -> None:
    """Put a link in its place that leads nowhere, and then a circle."""
    delete(database)
    if not database.exists():
        database.symlink_to(database.name)


def leave_files(database: Path) -> None:
    """Leave a log and a folder of spilled rows that belong to nothing."""
    database.with_name(f"{database.name}.wal").write_bytes(b"of another database")
    spilled = database.with_name(f"{database.name}.tmp")
    spilled.mkdir(exist_ok=True)
    (spilled / "duckdb_temp_storage-0.tmp").write_bytes(b"rows")


MEDDLING: tuple[Callable[[Path], None], ...] = (
    kill_a_client,
    let_a_client_end,
    truncate,
    empty,
    delete,
    replace_by_garbage,
    overwrite,
    replace_by_a_folder,
    replace_by_another_database,
    replace_by_an_edited_copy,
    link_to_nothing,
    leave_files,
)
