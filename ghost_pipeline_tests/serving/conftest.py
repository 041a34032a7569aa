"""One publication for all tests that only read."""

from collections.abc import Iterator

import httpx
import pytest

from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.serving.worlds import AS_OF, KEY, TYPED_AT, make_source, materialize, served, settings


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The demo world with a typist at 2025-03-12T12:00Z."""
    folder = tmp_path_factory.mktemp("published")
    source = make_source(folder / "source")
    of = settings(folder / "data", source)
    materialize(of, AS_OF, typed_at=TYPED_AT)
    return of


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
