"""What earlier releases have written, unpacked once."""

from pathlib import Path

import pytest

from ghost_pipeline_tests.built_once import built_once
from ghost_pipeline_tests.upgrades.record import LAKES, unpack

RELEASES = sorted(file.name.removesuffix(".tar.xz") for file in LAKES.glob("*.tar.xz"))


@pytest.fixture(scope="session", params=RELEASES)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a release has written; tests take copies."""
    version = str(request.param)
    return built_once(tmp_path_factory, f"recorded-{version}", lambda folder: unpack(version, folder))
