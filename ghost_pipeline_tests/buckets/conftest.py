"""One S3 server for these tests, and an address of its own for each."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ghost_pipeline.locations import Mirrored, ObjectAddress
from ghost_pipeline_tests.buckets.s3_server import BUCKET, S3Server, allow, s3_server


@pytest.fixture(scope="session")
def running() -> Iterator[S3Server]:
    """The server."""
    with s3_server() as server:
        yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, reached by this process and those that it starts."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    running.requests.clear()
    yield running
    running.refuses = allow


@pytest.fixture
def prefix() -> str:
    """What the keys of the test begin with."""
    return f"data/{uuid4().hex}"


@pytest.fixture
def place(server: S3Server, prefix: str, tmp_path: Path) -> Mirrored:
    """Where the lake and what is published lie in a test."""
    assert server
    return Mirrored(ObjectAddress(BUCKET, prefix), tmp_path / "work")
