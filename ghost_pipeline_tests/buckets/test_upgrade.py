"""The lake of an older release in a bucket gets the names of today, whatever request fails."""

from pathlib import Path

import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.objects import ObjectFiles
from ghost_pipeline.lake.upgrading import upgrade
from ghost_pipeline.locations import Mirrored
from ghost_pipeline_tests.buckets.s3_server import Request, S3Server, allow
from ghost_pipeline_tests.upgrades.record import unpack

pytestmark = pytest.mark.long

FIRST = "0.1.0"
TABLES = ("user_progress", "ghost_benchmarks", "rejected_rows")


@pytest.fixture
def files(place: Mirrored, server: S3Server, prefix: str, tmp_path: Path) -> dict[str, bytes]:
    """Some tables of the first release in the bucket and, under the names of today, in a folder: their bytes there."""
    assert place
    unpack(FIRST, tmp_path)
    lake = tmp_path / "data" / "lake"
    for table in TABLES:
        for file in (lake / table).rglob("*.parquet"):
            server.store().put(f"{prefix}/lake/{file.relative_to(lake)}", file.read_bytes())
    upgrade(lake, str)
    found = [file for table in TABLES for file in (lake / table).rglob("*.parquet")]
    return {str(file.relative_to(lake)): file.read_bytes() for file in found}


def in_tables(server: S3Server, prefix: str) -> dict[str, bytes]:
    objects = server.objects(f"{prefix}/lake").items()
    return {name: content for name, content in objects if name.endswith(".parquet")}


def test_objects_get_the_names_that_files_get(
    files: dict[str, bytes], place: Mirrored, server: S3Server, prefix: str
) -> None:
    assert upgrade(place / "lake", str)
    assert in_tables(server, prefix) == files
    lake = Lake(place / "lake")
    assert {table: len(lake.files(CONTRACTS[table])) for table in TABLES} == {
        table: sum(name.startswith(f"{table}/") for name in files) for table in TABLES
    }


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_upgrade_that_a_request_stopped_goes_on(
    method: str, files: dict[str, bytes], place: Mirrored, server: S3Server, prefix: str
) -> None:
    allowed = iter(range(7))

    def refuses(request: Request) -> tuple[str, bytes] | None:
        if request.method == method and next(allowed, None) is None:
            return "403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"
        return None

    server.refuses = refuses
    with pytest.raises(LakeError, match="run again"):
        upgrade(place / "lake", str)
    with pytest.raises(LakeError, match="older release"):
        Lake(place / "lake").hours(CONTRACTS["user_progress"])
    server.refuses = allow
    upgrade(place / "lake", str)
    assert in_tables(server, prefix) == files


def test_copies_of_this_machine_get_the_names_too(
    files: dict[str, bytes], place: Mirrored, server: S3Server, prefix: str
) -> None:
    before = ObjectFiles(place / "lake")
    before.located([name for name in before.names("user_progress") if name.endswith(".parquet")])
    upgrade(place / "lake", str)
    server.requests.clear()
    assert Lake(place / "lake").scan(CONTRACTS["user_progress"]).collect().height
    # The store keeps the ETag of what it copies, so the copies are current.
    assert [name for name in server.asked("GET") if name.endswith(".parquet")] == []
    assert in_tables(server, prefix) == files
