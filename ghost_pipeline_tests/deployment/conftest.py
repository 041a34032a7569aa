"""A machine as `deploy/README.md` sets it up: source and Dagster's records in PostgreSQL, a user for each."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.deployment.services import DEPLOY, Machine, free_port, shipped_environment
from ghost_pipeline_tests.sources.conftest import server
from ghost_pipeline_tests.sources.servers import Database, demo_world

__all__ = ["server"]

DAGSTER = "ghost_dagster"
DAGSTER_PASSWORD = "d4gster@/:?#%& wörd"  # noqa: S105 - of a server that lasts as long as the tests
DEMO_END = datetime(2025, 3, 12, 12, tzinfo=UTC)


def last_tick() -> datetime:
    """When the hourly schedule was last due."""
    now = wall_clock() - timedelta(minutes=5)
    return now.replace(minute=5, second=0, microsecond=0)


def moved_to(end: datetime) -> dict[str, pl.DataFrame]:
    """The demo world, and a typist of it, as if it ended at `end` instead of on 2025-03-12 at noon."""
    shift = end - DEMO_END
    world = demo_world()
    typist, start = world["users"]["user_id"][0], DEMO_END - timedelta(minutes=40)
    world["keyboards"] = pl.DataFrame({"keyboard_id": "k1", "user_id": [typist], "created_at": DEMO_END - timedelta(9)})
    world["practice_sessions"] = pl.DataFrame(
        {"session_id": "s1", "user_id": typist, "keyboard_id": "k1", "start_time": [start]}
    ).with_columns(end_time=pl.col("start_time").dt.offset_by("5m"))
    text = list("then the other thing")
    world["session_keystrokes"] = pl.DataFrame(
        {
            "session_id": "s1",
            "key_index": range(len(text)),
            "keystroke_time": [start + timedelta(milliseconds=150 * index) for index in range(len(text))],
            "keystroke_char": text,
            "expected_char": text,
            "text_index": range(len(text)),
        }
    )
    instants = pl.selectors.temporal()
    return {name: frame.with_columns(instants.cast(pl.Datetime("us", "UTC")) + shift) for name, frame in world.items()}


@pytest.fixture(scope="module")
def databases(server: Path) -> Iterator[tuple[Database, Database]]:
    """The source with its rows, and an empty database for Dagster's records, whose user needs its password."""
    root, name = Database(server, "postgres"), uuid4().hex
    source, records = Database(server, f"app_{name}"), Database(server, f"dagster_{name}")
    hba = Path(root.rows("SELECT setting FROM pg_settings WHERE name = 'hba_file'")[0][0])
    hba.write_text(f"local all {DAGSTER} scram-sha-256\n{hba.read_text(encoding='utf-8')}", encoding="utf-8")
    root.execute(
        f"CREATE ROLE {DAGSTER} LOGIN PASSWORD '{DAGSTER_PASSWORD}'",
        "SELECT pg_reload_conf()",
        f"CREATE DATABASE {source.name}",
        f"CREATE DATABASE {records.name} OWNER {DAGSTER}",
    )
    try:
        source.load(moved_to(Hour.containing(last_tick()).start))
        yield source, records
    finally:
        for database in (source, records):
            root.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
        root.execute(f"DROP ROLE {DAGSTER}")


@pytest.fixture(scope="module")
def machine(databases: tuple[Database, Database], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Folders and environment of a server on which nothing runs yet."""
    source, records = databases
    folder = tmp_path_factory.mktemp("machine")
    for name in ("data", "dagster_home", "tmp"):
        (folder / name).mkdir()
    (folder / "dagster_home" / "dagster.yaml").symlink_to(DEPLOY / "dagster.yaml")
    data = {"GHOST_DATA": str(folder / "data"), "TMPDIR": str(folder / "tmp")}
    files = {
        "pipeline": {**data, "GHOST_SOURCE": source.with_password, "GHOST_MIN_SAMPLE": "1"},
        "api": {**data, "API_PORT": str(free_port())},
        "dagster": {
            "DAGSTER_HOME": str(folder / "dagster_home"),
            # The server of the tests listens on a socket only; libpq finds it by itself.
            "DAGSTER_PG_HOST": "",
            "PGHOST": str(source.socket),
            "DAGSTER_PG_DB": records.name,
            "DAGSTER_PG_PASSWORD": DAGSTER_PASSWORD,
            "CODE_PORT": str(free_port()),
            "WEBSERVER_PORT": str(free_port()),
        },
    }
    return Machine(folder, {name: {**shipped_environment(name), **values} for name, values in files.items()})
