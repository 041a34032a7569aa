"""The published database in a bucket: uploaded whole, read from a copy that follows it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path

import pytest

from ghost_pipeline.contracts.ghost import USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARY_HISTORY as HISTORY
from ghost_pipeline.errors import LakeError, NothingPublishedError, PublishError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.objects import ObjectFiles
from ghost_pipeline.locations import Mirrored
from ghost_pipeline.publish import database_file
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.database_file import published_copy
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.history import remove_unnamed
from ghost_pipeline.publish.json_files import publish_json
from ghost_pipeline.publish.private_copies import private_copies
from ghost_pipeline.serving import service
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.buckets.s3_server import S3Server, allow
from ghost_pipeline_tests.samples import HOUR, sample
from ghost_pipeline_tests.serving.worlds import served

pytestmark = pytest.mark.long

SECONDS = 20.0
"""Longest that a test waits for what takes milliseconds."""


def published(place: Mirrored, rows: int) -> PublishedDatabase:
    """Publish so many users, and open that."""
    lake = Lake(place / "lake")
    lake.write(USER_GHOST_STATS, HOUR, sample(USER_GHOST_STATS, rows, 1))
    publish(lake, place / "ghost.duckdb")
    return PublishedDatabase.open(place / "ghost.duckdb")


def elsewhere(place: Mirrored, tmp_path: Path) -> Mirrored:
    """The same address on another machine."""
    return Mirrored(place.address, tmp_path / "elsewhere")


def counted(database: PublishedDatabase) -> int:
    return database.rows(USER_GHOST_STATS).height


def wait_for_another(database: PublishedDatabase) -> None:
    until = time.monotonic() + SECONDS
    while database.is_current:
        assert time.monotonic() < until, "no newer publication was noticed"
        time.sleep(0.01)


@contextmanager
def looking_all_the_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database_file, "CHECK_SECONDS", 0.0)
        yield


def test_a_publication_is_one_put_of_the_database_that_a_folder_would_have(
    place: Mirrored, server: S3Server, prefix: str, tmp_path: Path
) -> None:
    in_bucket = published(place, 3)
    assert server.asked("PUT")[-2:] == [f"{prefix}/ghost.duckdb", f"{prefix}/publication.json"]
    assert len([name for name in server.asked("PUT") if "/lake/" not in name]) == 2
    local = Lake(tmp_path / "lake")
    local.write(USER_GHOST_STATS, HOUR, sample(USER_GHOST_STATS, 3, 1))
    publish(local, tmp_path / "ghost.duckdb")
    in_folder = PublishedDatabase.open(tmp_path / "ghost.duckdb")
    assert in_bucket.table_info().equals(in_folder.table_info())
    assert in_bucket.rows(USER_GHOST_STATS).equals(in_folder.rows(USER_GHOST_STATS))
    # Who has published has nothing to fetch.
    assert server.asked("GET") == []


def test_a_reader_elsewhere_follows_the_publications(place: Mirrored, tmp_path: Path) -> None:
    published(place, 1)
    there = elsewhere(place, tmp_path) / "ghost.duckdb"
    reader = PublishedDatabase.open(there)
    with looking_all_the_time():
        for rows in (2, 3):
            before = counted(reader)
            published(place, rows)
            wait_for_another(reader)
            assert counted(reader) == before
            reader = PublishedDatabase.open(there)
            assert counted(reader) == rows
    there_now = {path.name for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    (copy,) = private_copies(tmp_path / "elsewhere")
    assert there_now == {"ghost.duckdb", ".ghost.duckdb.lock", copy.path.name}


def test_a_version_is_fetched_once_and_asked_for_at_times(place: Mirrored, server: S3Server, tmp_path: Path) -> None:
    published(place, 1)
    server.requests.clear()
    reader = PublishedDatabase.open(elsewhere(place, tmp_path) / "ghost.duckdb")
    PublishedDatabase.open(elsewhere(place, tmp_path) / "ghost.duckdb")
    assert all(reader.is_current for _ in range(1000))
    assert [one.kind for one in server.requests] == ["HEAD", "GET", "HEAD"]


def test_an_object_that_goes_before_it_is_fetched_is_looked_for_again(
    place: Mirrored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, 1)
    reader = PublishedDatabase.open(elsewhere(place, tmp_path) / "ghost.duckdb")

    def gone(*_: object) -> None:
        monkeypatch.undo()
        raise FileNotFoundError(ENOENT, "removed while it was to be read", "ghost.duckdb")

    monkeypatch.setattr(ObjectFiles, "_download", gone)
    published(place, 2)
    with looking_all_the_time():
        # An error in the thread that looks would fail this test.
        wait_for_another(reader)


def test_while_the_storage_fails_the_publication_before_goes_on_answering(
    place: Mirrored, server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    published(place, 1)
    reader = PublishedDatabase.open(elsewhere(place, tmp_path) / "ghost.duckdb")
    server.requests.clear()
    server.refuses = lambda _request: ("403 Forbidden", b"AccessDenied")
    with looking_all_the_time(), caplog.at_level(logging.ERROR):
        until = time.monotonic() + SECONDS
        while len(server.asked("HEAD")) < 3 and time.monotonic() < until:
            assert reader.is_current
            time.sleep(0.01)
        assert counted(reader) == 1
        told = [one.getMessage() for one in caplog.records if one.name == "ghost_pipeline.publish"]
        server.refuses = allow
        published(place, 2)
        wait_for_another(reader)
    assert len(told) == 1
    assert "access is denied" in told[0]


def test_while_the_storage_fails_a_server_tells_its_health(
    place: Mirrored, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(place, 1)
    monkeypatch.setattr(service, "CHECK_SECONDS", 0)
    settings = Settings.load(data=str(place), work=tmp_path / "elsewhere")
    with served(settings) as client:
        server.refuses = lambda _request: ("403 Forbidden", b"AccessDenied")
        until = time.monotonic() + SECONDS
        while not (told := client.get("/health?lenient=true")).json()["publication"]["differing_parts"]:
            assert time.monotonic() < until
            time.sleep(0.05)
    assert (told.status_code, told.json()["publication"]["differing_parts"]) == (200, ["publication.json"])


def test_a_publication_that_cannot_be_sent_leaves_the_one_before(place: Mirrored, server: S3Server) -> None:
    published(place, 1)
    server.refuses = lambda request: (
        ("403 Forbidden", b"AccessDenied") if request.method == "PUT" and request.path.endswith("duckdb") else None
    )
    with pytest.raises(
        LakeError, match=r"ghost\.duckdb: cannot be written \(access is denied\); what was there before"
    ):
        published(place, 2)
    server.refuses = allow
    assert counted(PublishedDatabase.open(place / "ghost.duckdb")) == 1
    assert list((place.copy / ".staging").iterdir()) == []


def test_before_the_first_publication_the_address_is_named(place: Mirrored) -> None:
    with pytest.raises(NothingPublishedError, match=rf"^{place}/ghost\.duckdb: nothing has been published yet"):
        PublishedDatabase.open(place / "ghost.duckdb")
    with pytest.raises(PublishError, match=rf"^{place}/ghost\.duckdb: nothing has been published yet"):
        query("SELECT 1", place / "ghost.duckdb", Lake(place / "lake"))


def test_storage_that_cannot_be_read_is_no_missing_publication(place: Mirrored, server: S3Server) -> None:
    server.refuses = lambda _request: ("403 Forbidden", b"AccessDenied")
    with pytest.raises(PublishError, match=r"ghost\.duckdb: cannot be read \(access is denied\)"):
        PublishedDatabase.open(place / "ghost.duckdb")


def test_a_query_fetches_the_tables_that_it_names(place: Mirrored, server: S3Server, tmp_path: Path) -> None:
    published(place, 3)
    there = elsewhere(place, tmp_path)
    for sql, fetched in (("SELECT count(*) FROM table_info", 1), ("SELECT count(*) FROM lake.user_ghost_stats", 1)):
        server.requests.clear()
        query(sql, there / "ghost.duckdb", Lake(there / "lake"))
        assert len([name for name in server.asked("GET") if not name.endswith("layout.json")]) == fetched


@pytest.mark.parametrize("sql", ["FROM read_text('/etc/hostname')", "FROM read_text('{place}/publication.json')"])
def test_a_query_of_a_bucket_reaches_neither_this_machine_nor_the_bucket(
    sql: str, place: Mirrored, tmp_path: Path
) -> None:
    published(place, 3)
    there = elsewhere(place, tmp_path)
    with pytest.raises(PublishError, match=r"^query: Permission Error: Cannot access file"):
        query(sql.format(place=place), there / "ghost.duckdb", Lake(there / "lake"))


def test_json_files_are_objects_beside_the_database(place: Mirrored, server: S3Server, prefix: str) -> None:
    file = place / "ghost_benchmarks.json"
    publish_json({file: {"a": 1}, place / "ghost_benchmarks.schema.json": {}})
    assert server.objects(prefix) == {
        "ghost_benchmarks.json": b'{\n  "a": 1\n}\n',
        "ghost_benchmarks.schema.json": b"{}\n",
    }


def test_a_reader_elsewhere_fetches_the_new_files_of_a_history_alone(
    place: Mirrored, server: S3Server, tmp_path: Path
) -> None:
    lake, there = Lake(place / "lake"), elsewhere(place, tmp_path)
    for hour in (HOUR, HOUR.next()):
        lake.write(HISTORY, hour, sample(HISTORY, 3, hour.hour))
        published(place, 1)
        server.requests.clear()
        reader = PublishedDatabase.open(there / "ghost.duckdb")
        assert len([name for name in server.asked("GET") if "/history/" in name]) == 1
    assert reader.rows(HISTORY).height == 6
    assert query(f"SELECT count(*) FROM {HISTORY.name}", there / "ghost.duckdb", lake).rows() == [(6,)]  # noqa: S608


def test_a_damaged_copy_of_a_history_is_fetched_again_by_a_reader_and_by_the_publisher(
    place: Mirrored, server: S3Server, tmp_path: Path
) -> None:
    lake, there = Lake(place / "lake"), elsewhere(place, tmp_path)
    lake.write(HISTORY, HOUR, sample(HISTORY, 3, 1))
    published(place, 1)
    PublishedDatabase.open(there / "ghost.duckdb")
    for machine in (place, there):
        (copy,) = (machine.copy / "history").rglob("*.parquet")
        copy.write_bytes(b"cut")
    server.requests.clear()
    published(place, 2)
    assert PublishedDatabase.open(there / "ghost.duckdb").rows(HISTORY).height == 3
    assert [name for name in server.asked("PUT") if "/history/" in name] == []


def test_after_an_erasure_the_bucket_has_no_other_file_and_readers_drop_their_copies(
    place: Mirrored, server: S3Server, prefix: str, tmp_path: Path
) -> None:
    lake, there = Lake(place / "lake"), elsewhere(place, tmp_path)
    for rows in (3, 5):
        lake.write(HISTORY, HOUR, sample(HISTORY, rows, 1))
        published(place, 1)
        PublishedDatabase.open(there / "ghost.duckdb")
    remove_unnamed(place, published_copy(place / "ghost.duckdb"))
    published(place, 1)
    PublishedDatabase.open(there / "ghost.duckdb")
    (left,) = [name for name in server.objects(prefix) if name.startswith("history/")]
    copies = [path for path in (there.copy / "history").rglob("*") if path.is_file()]
    assert copies == [there.copy / left]
