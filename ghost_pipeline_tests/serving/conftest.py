"""One publication for all tests that only read."""

from collections.abc import Iterator

import httpx
import pytest

from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.serving.worlds import KEY, served, settings


@pytest.fixture(scope="session")
def published(demo_and_typist: Settings) -> Settings:
    """The demo world with a typist at 2025-03-12T12:00Z."""
    return demo_and_typist


@pytest.fixture(scope="session")
def reader(published: Settings) -> GhostReader:
    """A reader of it."""
    return GhostReader(published)


@pytest.fixture(scope="session")
def api(published: Settings) -> Iterator[httpx.Client]:
    """A server that asks for no token."""
    with served(published) as client:
        yield client


@pytest.fixture(scope="session")
def guarded(published: Settings) -> Iterator[httpx.Client]:
    """A server that asks for one."""
    with served(settings(published.local, token_key=KEY)) as client:
        yield client
