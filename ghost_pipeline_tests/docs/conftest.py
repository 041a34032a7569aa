"""The ghost domain of the demo, published once for all pages that show something of it."""

import pytest

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.built_once import built_once
from ghost_pipeline_tests.docs.pages import publish_demo
from ghost_pipeline_tests.sources.conftest import server

__all__ = ["demo", "server"]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Its newest hour and month."""
    folder = built_once(tmp_path_factory, "demo", publish_demo)
    return Settings.load(source=str(folder / "source"), data=folder)
