"""A MariaDB server for the tests: in a folder of its own, as the user who runs them, with users that have passwords."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pymysql  # type: ignore[import-untyped]
import pytest

from ghost_pipeline_tests.sources.servers import PASSWORD, READER

REQUIRED = "GHOST_REQUIRE_MARIADB"
"""Set, a missing server fails the tests that need one; otherwise they are skipped."""
START_SECONDS = 120
FOLDERS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


@dataclass(frozen=True)
class MariaDb:
    """A database of the server of the tests."""

    folder: Path
    port: int
    name: str

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def certificate(self) -> Path:
        """The certificate of the server, which it has signed itself, for `localhost`."""
        return self.folder / "certificate.pem"

    @property
    def address(self) -> str:
        """As a user who may read, with the password, through the socket."""
        return f"mysql://{READER}:{quote(PASSWORD, safe='')}@/{self.name}?socket={quote(str(self.socket), safe='')}"

    @property
    def over_tcp(self) -> str:
        return f"mysql://{READER}:{quote(PASSWORD, safe='')}@localhost:{self.port}/{self.name}"

    def connect(self, **arguments: Any) -> Any:  # noqa: ANN401 - the driver has no types
        """A connection as the user who may do everything."""
        arguments = {"database": self.name, **arguments}
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", password=PASSWORD.encode(), autocommit=True, **arguments
        )

    def execute(self, *statements: str) -> None:
        """Run statements, each for itself."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def load(self, tables: dict[str, pl.DataFrame]) -> None:
        """Make tables out of frames."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for name, rows in tables.items():
                columns = ", ".join(f"`{column}` {_own_type(dtype)}" for column, dtype in rows.schema.items())
                cursor.execute(f"CREATE TABLE `{name}` ({columns})")
                plain = rows.with_columns(pl.selectors.temporal().dt.replace_time_zone(None))
                places = ", ".join(["%s"] * rows.width)
                cursor.executemany(f"INSERT INTO `{name}` VALUES ({places})", plain.rows())  # noqa: S608 - our own names


def _own_type(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "tinyint(1)"
    if dtype.is_temporal():
        return "datetime(6)"
    return "bigint" if dtype.is_integer() else "double" if dtype.is_float() else "varchar(200)"


@contextmanager
def running_server() -> Iterator[MariaDb]:
    """Start a server and stop it at the end; nothing of it stays."""
    server, install = (shutil.which(name, path=FOLDERS) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or install is None:
        if os.environ.get(REQUIRED):
            pytest.fail("mariadbd is missing: apt-get install mariadb-server-core mariadb-client-core")
        pytest.skip("mariadbd is not installed (apt-get install mariadb-server-core mariadb-client-core)")
    # A short path: that of a socket holds at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ghost-mariadb-"))
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    try:
        subprocess.run(
            [
                install,
                *("--no-defaults", f"--datadir={folder}/data", "--skip-test-db", "--skip-name-resolve"),
                *("--auth-root-authentication-method=normal", *as_root),
            ],
            check=True,
            capture_output=True,
        )
        _write_certificate(folder)
        database = MariaDb(folder, _free_port(), "mysql")
        options = {
            "datadir": f"{folder}/data",
            "socket": str(database.socket),
            "port": str(database.port),
            "bind-address": "127.0.0.1",
            "ssl-cert": str(database.certificate),
            "ssl-key": f"{folder}/key.pem",
            "innodb-buffer-pool-size": "32M",
            "innodb-flush-log-at-trx-commit": "0",
            # Not that of the source: what it reads must not depend on it.
            "default-time-zone": "+09:00",
            "log-error": f"{folder}/log",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        with subprocess.Popen([server, "--no-defaults", *as_root, *arguments], stderr=subprocess.DEVNULL) as process:
            try:
                _set_passwords(database, process)
                yield database
            finally:
                process.terminate()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_passwords(database: MariaDb, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while not _listens(database.socket):
        if process.poll() is not None or time.monotonic() > until:
            log = (database.folder / "log").read_text(encoding="utf-8", errors="replace")
            pytest.fail(f"mariadbd did not start: {log[-2000:]}")
        time.sleep(0.1)
    secret = PASSWORD.replace("'", "''")
    with closing(pymysql.connect(unix_socket=str(database.socket), user="root")) as root, root.cursor() as cursor:
        cursor.execute(f"CREATE USER {READER}@localhost IDENTIFIED BY '{secret}'")
        cursor.execute(f"GRANT SELECT ON *.* TO {READER}@localhost")
        cursor.execute(f"ALTER USER root@localhost IDENTIFIED BY '{secret}'")


def _listens(path: Path) -> bool:
    # Not asked by the driver, which leaves its socket open if it is refused.
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _write_certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"),
        ],
        check=True,
        capture_output=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
