"""A lake in a bucket does what a lake in a folder does, with few requests, and says what is wrong."""

import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import obstore
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.raw import REJECTED_ROWS, USER_PROGRESS, USERS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake import objects
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import LAYOUT_FILE, write_layout
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.lake.partitions import Rejects
from ghost_pipeline.locations import Mirrored, ObjectAddress
from ghost_pipeline.privacy.erasing import erase_from_lake, personal_ids_in
from ghost_pipeline.windows import HOUR as ONE_HOUR
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.buckets.s3_server import BUCKET, Request, S3Server, allow
from ghost_pipeline_tests.samples import HOUR, partition_of, sample

pytestmark = pytest.mark.long

UTC_HOUR = pl.Datetime("us", "UTC")
HOURS = 40
DAY = "partition_date=2025-03-12"


def hour(number: int) -> Hour:
    """An hour by its distance to that of the tests."""
    return Hour(HOUR.start + number * ONE_HOUR)


def events(*numbers: int) -> tuple[pl.DataFrame, pl.Series]:
    """An event in each of some hours, and those hours."""
    placed = pl.Series([hour(number).start for number in numbers], dtype=UTC_HOUR)
    frame = sample(USER_PROGRESS, 2 * HOURS + 1, 1)[[number + HOURS for number in numbers]]
    return frame.with_columns(completed_at=placed), placed


@pytest.fixture
def lake(place: Mirrored, server: S3Server) -> Lake:
    """A lake that is in use: it has its layout, and no table yet."""
    write_layout(open_files(place / "lake"))
    lake = Lake(place / "lake")
    lake.require_current()
    server.requests.clear()
    return lake


def in_tables(server: S3Server, prefix: str) -> dict[str, bytes]:
    """The objects of a lake's tables."""
    return {name: content for name, content in server.objects(f"{prefix}/lake").items() if name != LAYOUT_FILE}


# --- the same as in a folder ---


Change = Callable[[Lake], object]
Refusal = Callable[[Request], tuple[str, bytes] | None]


def written(number: int, rows: int) -> Change:
    return lambda lake: lake.write(USERS, hour(number), sample(USERS, rows, 1))


def replaced(numbers: list[int]) -> Change:
    def change(lake: Lake) -> object:
        told: list[list[Hour]] = []
        window = range(min(numbers), max(numbers) + 1)
        changed = lake.write_hours(USER_PROGRESS, map(hour, window), *events(*sorted(numbers)), told.append)
        return changed, told

    return change


def removed(number: int) -> Change:
    return lambda lake: lake.remove(USERS, hour(number))


def invalidated(number: int) -> Change:
    return lambda lake: lake.invalidate(USER_PROGRESS, hour(number))


def rejected(table: str, *, timed: bool) -> Change:
    partition = Rejects(table, HOUR if timed else None)
    return lambda lake: lake.write(REJECTED_ROWS, partition, sample(REJECTED_ROWS, 2, 1))


numbers = st.integers(-30, HOURS)
changes = st.one_of(
    st.builds(written, numbers, st.integers(0, 2)),
    st.builds(replaced, st.lists(numbers, min_size=1, max_size=4, unique=True)),
    st.builds(removed, numbers),
    st.builds(invalidated, numbers),
    st.builds(rejected, st.sampled_from(["users", "user_progress"]), timed=st.booleans()),
)


def seen(lake: Lake) -> dict[str, object]:
    """Everything that a lake tells of these tables."""
    window = [hour(number) for number in range(-30, HOURS)]
    versions = lake.file_versions([USERS], hour(HOURS).as_of) if not _has_gap(lake) else None
    return {
        "hours": [lake.hours(table) for table in (USERS, USER_PROGRESS)],
        "newest": [lake.newest_hour(table) for table in (USERS, USER_PROGRESS)],
        "first": [lake.first_hour(table) for table in (USERS, USER_PROGRESS)],
        "since": lake.hours_since(USER_PROGRESS, hour(3).start),
        "between": lake.hours_between(USER_PROGRESS, hour(-3).start, hour(9).as_of),
        "written": [lake.written(table, window) for table in (USERS, USER_PROGRESS)],
        "exists": lake.exists(USERS, HOUR),
        "rows": [lake.rows(USERS, one) for one in window[28:34]],
        "parts": list(lake.in_parts(USERS, window)),
        "complete": lake.complete_until(USER_PROGRESS),
        "rejects": [lake.rejects(REJECTED_ROWS, table) for table in ("users", "user_progress")],
        "all": [lake.scan(table).collect().rows() for table in (USERS, USER_PROGRESS, REJECTED_ROWS)],
        "some": lake.scan(USER_PROGRESS, window[::7]).collect().rows(),
        "content_hash": [lake.content_hash(lake.files(table)) for table in (USERS, USER_PROGRESS)],
        "marked": None if versions is None else versions["hour"].to_list(),
        "is_empty": lake.is_empty,
    }


def _has_gap(lake: Lake) -> bool:
    there = lake.hours(USERS)
    return bool(there) and len(there) != (hour(HOURS).as_of - there[0].start) // ONE_HOUR


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(changes, max_size=6))
def test_whatever_is_done_to_it_a_bucket_has_the_objects_of_the_files_of_a_folder(
    steps: list[Change], server: S3Server
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"law/{uuid4().hex}"
        mine, others = (Mirrored(ObjectAddress(BUCKET, prefix), Path(folder) / name) for name in ("mine", "others"))
        here, there, elsewhere = Lake(Path(folder) / "data" / "lake"), Lake(mine / "lake"), Lake(others / "lake")
        (here.root).mkdir(parents=True)
        for step in steps:
            assert step(there) == step(here)
            assert elsewhere.scan(USERS).collect().rows() == here.scan(USERS).collect().rows()
        files = {str(file.relative_to(here.root)): file.read_bytes() for file in here.root.rglob("*.parquet")}
        assert in_tables(server, prefix) == files
        expected = {**seen(here), "is_empty": not files}
        assert seen(there) == expected
        # A machine that has written nothing sees the same.
        assert seen(elsewhere) == expected


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))
def test_every_table_is_kept_under_the_same_name(
    contract: Contract, lake: Lake, server: S3Server, prefix: str, tmp_path: Path
) -> None:
    local, partition = Lake(tmp_path / "lake"), partition_of(contract)
    for one in (lake, local):
        one.write(contract, partition, sample(contract, 3, 1))
    file = local.path(contract, partition)
    assert in_tables(server, prefix) == {str(file.relative_to(local.root)): file.read_bytes()}


# --- few requests ---


def test_a_changed_partition_is_one_put_and_one_that_is_the_same_is_none(lake: Lake, server: S3Server) -> None:
    lake.write_hours(USER_PROGRESS, map(hour, range(4)), *events(0, 1, 2, 3))
    assert [path.rpartition("/lake/")[2] for path in server.asked("PUT")] == [
        f"user_progress/partition_date=2025-03-12/partition_hour={number}/shard-0.parquet"
        for number in (11, 12, 13, 14)
    ]
    server.requests.clear()
    assert lake.write_hours(USER_PROGRESS, map(hour, range(4)), *events(0, 1, 2)) == 1
    # One listing of the files, and two of the days: whether the change is to be marked depends on the newest before it
    # and after it.
    assert (len(server.asked("PUT")), len(server.asked("GET")), len(server.asked("LIST"))) == (1, 0, 3)


def test_what_was_written_here_is_not_fetched(lake: Lake, server: S3Server) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    assert lake.scan(USERS).collect().height == 2
    assert server.asked("GET") == []


def test_another_machine_fetches_what_it_reads_once_and_then_what_was_replaced(
    lake: Lake, place: Mirrored, server: S3Server, tmp_path: Path
) -> None:
    lake.write_hours(USER_PROGRESS, map(hour, range(30)), *events(0, 1))
    other = Lake(Mirrored(place.address, tmp_path / "other") / "lake")
    other.require_current()
    for expected in (30, 0):
        server.requests.clear()
        assert other.scan(USER_PROGRESS).collect().height == 2
        assert len(server.asked("GET")) == expected
    lake.write(USER_PROGRESS, hour(1), USER_PROGRESS.empty())
    server.requests.clear()
    assert other.scan(USER_PROGRESS).collect().height == 1
    assert len(server.asked("GET")) == 1


def test_hours_of_a_window_are_found_by_one_listing(lake: Lake, server: S3Server) -> None:
    lake.write_hours(USER_PROGRESS, map(hour, range(60)), *events())
    server.requests.clear()
    assert len(lake.written(USER_PROGRESS, map(hour, range(10, 50)))) == 40
    assert [one.kind for one in server.requests] == ["LIST"]


def test_the_newest_hour_is_found_without_listing_the_older_days(lake: Lake, server: S3Server) -> None:
    lake.write_hours(USER_PROGRESS, map(hour, range(60)), *events())
    server.requests.clear()
    assert lake.newest_hour(USER_PROGRESS) == hour(59)
    assert [one.kind for one in server.requests] == ["LIST", "LIST"]
    assert "delimiter" in server.requests[0].query
    assert "partition_date%3D2025-03-14" in server.requests[1].query


def test_hours_are_found_beyond_one_page_of_a_listing(
    lake: Lake, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the server answers at most; S3 itself says 1,000.
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    lake.write_hours(USER_PROGRESS, map(hour, range(30)), *events())
    server.requests.clear()
    assert lake.hours(USER_PROGRESS) == [hour(number) for number in range(30)]
    # One for the days, and the pages of the files.
    assert len(server.asked("LIST")) == 1 + 5
    assert lake.written(USER_PROGRESS, map(hour, range(25, 40))) == [hour(number) for number in range(25, 30)]
    assert lake.newest_hour(USER_PROGRESS) == hour(29)


def test_a_large_file_is_sent_in_parts_and_is_there_whole(
    lake: Lake, server: S3Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "ONE_PUT", 100)
    lake.write(USERS, HOUR, sample(USERS, 50, 1))
    assert [one.method for one in server.requests if one.method in {"POST", "PUT"}] == ["POST", "PUT", "POST"]
    (content,) = in_tables(server, prefix).values()
    assert content == lake.path(USERS, HOUR).read_bytes()
    assert lake.scan(USERS).collect().height == 50
    assert f"{prefix}/lake/{lake.path(USERS, HOUR).relative_to(lake.root)}" in server.asked("GET")


# --- copies ---


def spoiled(path: Path, content: bytes) -> None:
    """Other bytes in a copy, as a disk that errs leaves them: size and time are those of before."""
    times = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(times, times))


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short"), os.utime])
def test_a_copy_that_is_not_that_of_the_object_is_fetched_again(
    spoil: Callable[[Path], object], lake: Lake, server: S3Server
) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    spoil(lake.path(USERS, HOUR))
    assert lake.scan(USERS).collect().height == 2
    assert len(server.asked("GET")) == 1


def test_the_same_content_is_found_to_be_the_same_without_a_copy(lake: Lake, server: S3Server) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    lake.path(USERS, HOUR).unlink()
    server.requests.clear()
    assert not lake.write(USERS, HOUR, sample(USERS, 2, 1)).changed
    assert (server.asked("PUT"), len(server.asked("GET"))) == ([], 1)


def test_a_damaged_copy_of_a_sound_object_is_fetched_again(lake: Lake, server: S3Server) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    copy = lake.path(USERS, HOUR)
    spoiled(copy, bytes(copy.stat().st_size))
    lake.require_sound([USERS])
    assert lake.scan(USERS).collect().height == 2
    assert len(server.asked("GET")) == 1


def test_a_damaged_object_is_named(lake: Lake, server: S3Server, prefix: str) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    name = str(lake.path(USERS, HOUR).relative_to(lake.root))
    obstore.put(server.store(), f"{prefix}/lake/{name}", b"damaged")
    with pytest.raises(pl.exceptions.PolarsError):
        lake.scan(USERS).collect()
    with pytest.raises(LakeError, match=rf"^users: s3://{BUCKET}/{prefix}/lake/{name} is damaged\. Delete it"):
        lake.require_sound([USERS])


def test_a_removed_partition_has_no_copy(lake: Lake, server: S3Server, prefix: str) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    assert lake.remove(USERS, HOUR)
    assert not lake.remove(USERS, HOUR)
    assert in_tables(server, prefix) == {}
    assert list(lake.root.rglob("*.parquet")) == []


def test_a_removal_that_fails_has_left_no_copy(lake: Lake, server: S3Server) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    server.refuses = refusing("POST", 0)
    with pytest.raises(LakeError, match="cannot be removed"):
        lake.remove(USERS, HOUR)
    assert list(lake.root.rglob("*.parquet")) == []


def test_an_erasure_leaves_no_copy_of_what_is_gone_or_replaced(lake: Lake, prefix: str) -> None:
    for number in range(3):
        lake.write(USERS, hour(number), sample(USERS, 2, number))
    gone, kept, stale = (lake.path(USERS, hour(number)) for number in range(3))
    copy = stale.read_bytes()
    other = Lake(Mirrored(ObjectAddress(BUCKET, prefix), lake.root.parent / "other") / "lake")
    other.remove(USERS, hour(0))
    other.write(USERS, hour(2), sample(USERS, 1, 9))
    assert gone.exists()
    assert stale.read_bytes() == copy
    erase_from_lake(lake, personal_ids_in(lake, ["nobody"]), b"a key of a test, and of nothing else", hour(9).start)
    assert not gone.exists()
    assert kept.exists()
    assert not stale.exists() or stale.read_bytes() != copy


def test_an_object_that_goes_while_it_is_to_be_read_is_told(lake: Lake, server: S3Server) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    lake.path(USERS, HOUR).unlink()
    server.refuses = lambda request: ("404 Not Found", b"NoSuchKey") if request.kind == "GET" else None
    with pytest.raises(FileNotFoundError, match=r"removed while it was to be read.*shard-0\.parquet"):
        lake.scan(USERS)


# --- when something fails in the middle ---


def refusing(kind: str, number: int, status: str = "403 Forbidden", code: bytes = b"AccessDenied") -> Refusal:
    """Refuse all requests of a kind but the first few."""
    seen = []

    def refuses(request: Request) -> tuple[str, bytes] | None:
        seen.append(request.kind)
        return (status, code) if request.kind == kind and seen.count(kind) > number else None

    return refuses


def test_hours_are_replaced_in_their_order_up_to_a_put_that_fails(lake: Lake, server: S3Server, prefix: str) -> None:
    window = [hour(number) for number in range(5)]
    lake.write_hours(USER_PROGRESS, window, *events())
    server.refuses = refusing("PUT", 2)
    told: list[list[Hour]] = []
    with pytest.raises(
        LakeError,
        match=rf"^s3://{BUCKET}/{prefix}/lake/user_progress/{DAY}/partition_hour=13/shard-0.parquet: "
        r"cannot be written \(access is denied\); what was there before stays\. Let these credentials .*, then run",
    ):
        lake.write_hours(USER_PROGRESS, reversed(window), *events(0, 1, 2, 3, 4), told.append)
    assert told == [window]
    assert [lake.rows(USER_PROGRESS, one) for one in window] == [1, 1, 0, 0, 0]
    assert not list(lake.root.rglob("*.tmp"))
    server.refuses = allow
    assert lake.write_hours(USER_PROGRESS, window, *events(0, 1, 2, 3, 4)) == 3
    assert [lake.rows(USER_PROGRESS, one) for one in window] == [1] * 5


def test_a_server_that_errs_for_a_moment_is_asked_again(lake: Lake, server: S3Server) -> None:
    failures = iter(["500 Internal Server Error", "503 Slow Down"])

    def refuses(request: Request) -> tuple[str, bytes] | None:
        status = next(failures, None) if request.kind == "PUT" else None
        return (status, b"InternalError") if status else None

    server.refuses = refuses
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    assert lake.rows(USERS, HOUR) == 2
    assert len(server.asked("PUT")) == 3


def test_what_is_left_of_a_table_that_was_half_removed_has_no_gap(
    lake: Lake, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "REMOVED_AT_ONCE", 3)
    lake.write_hours(USER_PROGRESS, map(hour, range(10)), *events())
    server.refuses = refusing("POST", 2)
    with pytest.raises(LakeError, match=r"user_progress: cannot be removed \(access is denied\)"):
        lake.invalidate(USER_PROGRESS, hour(0))
    assert lake.hours(USER_PROGRESS) == [hour(number) for number in range(4)]
    server.refuses = allow
    lake.invalidate(USER_PROGRESS, hour(0))
    assert lake.hours(USER_PROGRESS) == []


def test_a_copy_that_cannot_be_written_is_told(lake: Lake, place: Mirrored, tmp_path: Path) -> None:
    lake.write(USERS, HOUR, sample(USERS, 2, 1))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    other = Lake(Mirrored(place.address, tmp_path / "file") / "lake")
    with pytest.raises(LakeError, match=r"file/lake.*: cannot be written"):
        other.scan(USERS)


# --- what is wrong with the storage ---


@pytest.mark.parametrize(
    ("variables", "bucket", "told"),
    [
        ({}, "no-such-bucket", "the bucket does not exist). Create it, or correct GHOST_DATA"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            BUCKET,
            "127.0.0.1:9 cannot be reached). Look at AWS_ENDPOINT_URL",
        ),
        ({"AWS_ALLOW_HTTP": "false"}, BUCKET, "is reached without TLS). Set AWS_ALLOW_HTTP=true or use https"),
        (
            {
                "AWS_ACCESS_KEY_ID": None,
                "AWS_SECRET_ACCESS_KEY": None,
                "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
            },
            BUCKET,
            "there are no credentials, and the machine has no role). Set AWS_ACCESS_KEY_ID",
        ),
    ],
)
def test_what_is_wrong_with_the_variables_is_one_line_with_a_remedy(
    variables: dict[str, str | None], bucket: str, told: str, place: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    address = ObjectAddress(bucket, "lake")
    lake, began = Lake(Mirrored(address, place.copy)), time.monotonic()
    for request in (lambda: lake.hours(USERS), lambda: lake.write(USERS, HOUR, sample(USERS, 2, 1))):
        why, remedy = map(re.escape, told.split("). "))
        with pytest.raises(LakeError, match=rf"^s3://{bucket}/lake.*{why}\).*\. {remedy}") as caught:
            request()
        assert len(str(caught.value).splitlines()) == 1
        assert "secret" not in str(caught.value)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("seeds", [[], [2]], ids=["stays", "is replaced and comes back"])
def test_a_merged_copy_holds_the_version_that_it_is_named_by(
    seeds: list[int], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object may be replaced after it was listed, and be put back later."""
    old, newer = hour(-30 * 24), [hour(day * 24) for day in range(-2, 1)]
    for one in (old, *newer):
        lake.write(USERS, one, sample(USERS, 3, 1))
    files = Lake.files

    def replacing_first(self: Lake, *asked: object) -> list[Path]:
        monkeypatch.setattr(Lake, "files", files)
        for seed in seeds:
            lake.write(USERS, old, sample(USERS, 3, seed))
        return files(self, *asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "files", replacing_first)
    lake.scan(USERS).collect()
    lake.write(USERS, old, sample(USERS, 3, 1))
    assert lake.scan(USERS).collect().equals(lake.scan(USERS, [old, *newer]).collect())
    assert len(list((lake.root / CACHE / USERS.name / "merged").iterdir())) == 1


def test_half_a_credential_is_told_before_anything_is_asked(place: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(LakeError, match=r"/lake: cannot be opened \(a credential is missing\)\. Set AWS_ACCESS_KEY_ID"):
        Lake(place / "lake")


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        ("403 Forbidden", b"AccessDenied", "access is denied"),
        ("403 Forbidden", b"SignatureDoesNotMatch", "the credentials are refused"),
        ("400 Bad Request", b"ExpiredToken", "the credentials are refused"),
        ("400 Bad Request", b"EntityTooLarge", "400 Bad Request: EntityTooLarge"),
        ("301 Moved Permanently", b"PermanentRedirect", "the bucket is elsewhere"),
    ],
)
def test_what_the_server_refuses_is_one_line(status: str, code: bytes, told: str, lake: Lake, server: S3Server) -> None:
    server.refuses = lambda _request: (status, code)
    with pytest.raises(LakeError, match=rf"^s3://.*/users: cannot be listed \({told}\)") as caught:
        lake.hours(USERS)
    assert len(str(caught.value).splitlines()) == 1
