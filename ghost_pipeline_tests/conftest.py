"""What all tests share: worlds that are built once, and writing without waiting for the disk."""

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Engine, event

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.built_once import built_once
from ghost_pipeline_tests.running import DEMO_WORLD, run
from ghost_pipeline_tests.serving.worlds import AS_OF, TYPED_AT, make_source, materialize, settings

# An example that takes 250 ms instead of 200 tells of a busy machine, not of a fault.
hypothesis_settings.register_profile("any_time", deadline=None)
hypothesis_settings.load_profile("any_time")


def pytest_unconfigure() -> None:
    """Let go of the session, so that DuckDB's binding does not report every function of its own as leaked.

    Compiled parts of test tools keep functions of test modules. A module's loader is pytest's, which holds the session
    and with it all that any test has imported, until after the interpreter has ended.
    """
    for finder in sys.meta_path:
        if {"config", "session"} <= getattr(finder, "__dict__", {}).keys():
            finder.__dict__.update(config=None, session=None)


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    """Leave out what makes files survive a loss of power, which no test causes: a run writes 1,000 of them.

    Processes of their own, such as those that are killed, still wait.
    """
    event.listen(Engine, "connect", _leave_writing_to_the_system)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield
    event.remove(Engine, "connect", _leave_writing_to_the_system)


def _leave_writing_to_the_system(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(autouse=True)
def own_dagster_records(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test find the records of another.

    A command that runs in this process leaves its `DAGSTER_HOME` behind, and a context of Dagster that was not closed
    puts the storage of a deleted instance back when it is collected, so that all later definitions fail to load.
    """
    monkeypatch.setenv("DAGSTER_HOME", "")
    with set_defs_state_storage(None):
        yield


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder after one undisturbed run of the command over the demo world, up to 2025-03-12T12:00Z."""

    def build(folder: Path) -> None:
        done = run(["materialize", "--as-of", f"{AS_OF:%Y-%m-%dT%H:%MZ}"], folder, DEMO_WORLD)
        assert done.returncode == 0, done.stderr

    return built_once(tmp_path_factory, "demo_run", build)


@pytest.fixture(scope="session")
def demo_and_typist(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The demo world with a typist, published as of 2025-03-12T12:00Z; for tests that only read."""

    def build(folder: Path) -> None:
        source = make_source(folder / "source")
        materialize(settings(folder / "data", source), AS_OF, typed_at=TYPED_AT)

    folder = built_once(tmp_path_factory, "demo_and_typist", build)
    return settings(folder / "data", folder / "source")
