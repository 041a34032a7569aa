"""A source in a bucket gives what the same files in a folder give, with few requests, and says what is wrong."""

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.errors import SourceError
from ghost_pipeline.locations import ObjectAddress
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.buckets.s3_server import BUCKET, Request, S3Server, allow
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.running import lake_digest, published_rows, run
from ghost_pipeline_tests.serving.worlds import make_source

pytestmark = pytest.mark.long

COHORTS, USERS, PROGRESS = (SOURCE_TABLES[name] for name in ("cohorts", "users", "user_progress"))
START = datetime(2025, 3, 10, tzinfo=UTC)


def parquet(**columns: list[object]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def in_a_fixed_zone() -> bytes:
    buffer = io.BytesIO()
    times = pa.array([datetime(2025, 1, 1, tzinfo=UTC)], pa.timestamp("us", "+05:30"))
    pq.write_table(pa.table({"cohort_id": ["c1"], "created_at": times}), buffer)
    return buffer.getvalue()


CSV = b"cohort_id,cohort_key\nc1,a\nc2,b\nshort\n"
LINES = b'{"cohort_id": "c1", "cohort_key": "a"}\nno json\n{"cohort_id": "c2"}\n'
ARRAY = json.dumps([{"cohort_id": "c1"}, {"cohort_id": "c2", "cohort_key": "b"}]).encode()
LAYOUTS: dict[str, dict[str, bytes]] = {
    "Parquet": {"cohorts.parquet": parquet(cohort_id=["c1", "c2"], cohort_key=["a", None])},
    "CSV": {"cohorts.csv": CSV},
    "CSV in UTF-16": {"cohorts.csv": CSV.decode().encode("utf-16")},
    "packed CSV": {"cohorts.csv.gz": gzip.compress(CSV, mtime=0)},
    "CSV in Zstandard": {"cohorts.csv.zst": bytes(pa.compress(CSV, "zstd", asbytes=True))},
    "NDJSON": {"cohorts.ndjson": LINES},
    "packed NDJSON": {"cohorts.ndjson.gz": gzip.compress(LINES, mtime=0)},
    "an array": {"cohorts.json": ARRAY},
    "a folder": {"cohorts/a.parquet": parquet(cohort_id=["c1"]), "cohorts/b.parquet": parquet(cohort_id=["c2"])},
    "a folder with the name of a file": {"cohorts.parquet/part-0.parquet": parquet(cohort_id=["c1"])},
    "partitions": {
        "cohorts/cohort_key=a%20b/x y.parquet": parquet(cohort_id=["c1"]),
        "cohorts/cohort_key=ü#?/[x]*.parquet": parquet(cohort_id=["c2"]),
        "cohorts/cohort_key=__HIVE_DEFAULT_PARTITION__/x.parquet": parquet(cohort_id=["c3"]),
    },
    "partitions of CSV": {
        "cohorts/cohort_key=a/0.csv": b"cohort_id\nc1\n",
        "cohorts/cohort_key=b/0.csv.gz": gzip.compress(b"cohort_id\nc2\n", mtime=0),
    },
    "what is no data": {
        "cohorts/part.parquet": parquet(cohort_id=["c1"]),
        "cohorts/_temporary/0/part.parquet": parquet(cohort_id=["c2"]),
        "cohorts/.part.parquet": parquet(cohort_id=["c3"]),
        "cohorts/notes.txt": b"none",
    },
    "a zone that polars does not know": {"cohorts.parquet": in_a_fixed_zone()},
}


class Places:
    """The same files in a folder and in the bucket."""

    def __init__(self, server: S3Server, prefix: str, folder: Path) -> None:
        self.server, self.prefix, self.local = server, prefix, folder / "source"
        self.local.mkdir()
        self.address = ObjectAddress(BUCKET, prefix)

    def put(self, name: str, content: bytes) -> None:
        path = self.local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.put_object(name, content)

    def put_object(self, name: str, content: bytes) -> None:
        obstore.put(self.server.store(), f"{self.prefix}/{name}", content)

    def asked(self, kind: str) -> list[str]:
        return [path.removeprefix(f"{self.prefix}/") for path in self.server.asked(kind)]


@pytest.fixture
def places(server: S3Server, prefix: str, tmp_path: Path) -> Places:
    return Places(server, prefix, tmp_path)


# --- the rows of a folder ---


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bucket_gives_the_rows_of_a_folder(layout: str, places: Places) -> None:
    for name, content in LAYOUTS[layout].items():
        places.put(name, content)
    bucket, folder = (FileSource(one).scan(COHORTS).collect() for one in (places.address, places.local))
    assert folder.height
    assert bucket.equals(folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_doctor_is_told_of_a_bucket_what_it_is_told_of_a_folder(layout: str, places: Places) -> None:
    for name, content in LAYOUTS[layout].items():
        places.put(name, content)
    bucket, folder = (FileSource(one).inspect(COHORTS) for one in (places.address, places.local))
    assert (bucket.origin, bucket.columns, bucket.notes) == (folder.origin, folder.columns, folder.notes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_parts_are_the_same(layout: str, places: Places) -> None:
    for name, content in LAYOUTS[layout].items():
        places.put(name, content)
    bucket, folder = (FileSource(one).part_versions(COHORTS) for one in (places.address, places.local))
    assert list(bucket) == list(folder)


FAULTS: dict[str, dict[str, bytes]] = {
    "nothing": {},
    "two files": {"cohorts.csv": CSV, "cohorts.parquet": parquet(cohort_id=["c1"])},
    "two forms": {"cohorts/a.csv": CSV, "cohorts/b.parquet": parquet(cohort_id=["c1"])},
    "no column": {"cohorts.parquet": parquet(name=["Ada"])},
    "no header": {"cohorts.csv": b"Ada,Lovelace\n"},
    "an empty file": {"cohorts.parquet": b""},
    "a cut-off file": {"cohorts.parquet": parquet(cohort_id=["c1"])[:-9]},
    "a cut-off archive": {"cohorts.csv.gz": gzip.compress(CSV, mtime=0)[:-9]},
    "a contradiction": {"cohorts/cohort_key=a/x.parquet": parquet(cohort_id=["c1"], cohort_key=["b"])},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_that_of_a_folder_with_the_address_in_place_of_the_path(name: str, places: Places) -> None:
    for file, content in FAULTS[name].items():
        places.put(file, content)

    def fault(place: Path | ObjectAddress) -> str:
        with pytest.raises(SourceError) as raised:
            FileSource(place).scan(COHORTS).collect()
        return str(raised.value)

    assert fault(places.address) == fault(places.local).replace(str(places.local), str(places.address))


def test_an_empty_object_that_shows_a_folder_is_no_file(places: Places) -> None:
    places.put("cohorts.parquet/day=1/part.parquet", parquet(cohort_id=["c1"]))
    for name in ("cohorts.parquet/", "cohorts.parquet/day=1/"):
        places.put_object(name, b"")
    source = FileSource(places.address)
    assert list(source.part_versions(COHORTS)) == ["cohorts.parquet/day=1/part.parquet"]
    assert source.inspect(COHORTS).notes == []


def test_a_whole_bucket_may_be_a_source(places: Places) -> None:
    store = places.server.store()
    obstore.put(store, "cohorts.csv", b"cohort_id\nc9\n")
    try:
        assert FileSource(ObjectAddress(BUCKET, "")).scan(COHORTS).collect()["cohort_id"].to_list() == ["c9"]
    finally:
        obstore.delete(store, "cohorts.csv")


# --- requests ---


def test_1200_objects_are_two_pages_of_a_listing(places: Places) -> None:
    # moto keeps them in memory; each PUT takes a millisecond.
    for number in range(1200):
        places.put_object(f"cohorts/{number:04}.parquet", b"any")
    source = FileSource(places.address)
    source.tables()
    places.server.requests.clear()
    assert len(source.part_versions(COHORTS)) == 1200
    assert [len(places.asked(kind)) for kind in ("LIST", "HEAD", "GET")] == [2, 0, 0]


def test_the_names_of_all_tables_are_one_listing(places: Places) -> None:
    places.put("users.csv", b"user_id,created_at\n")
    places.put("cohorts/a.csv", CSV)
    source = FileSource(places.address)
    places.server.requests.clear()
    assert source.tables() == {"users", "cohorts"}
    assert [len(places.asked(kind)) for kind in ("LIST", "HEAD", "GET")] == [1, 0, 0]


def test_a_text_object_is_fetched_once(places: Places) -> None:
    places.put("cohorts.csv.gz", LAYOUTS["packed CSV"]["cohorts.csv.gz"])
    source = FileSource(places.address)
    places.server.requests.clear()
    for _ in range(2):
        source.scan(COHORTS).collect()
    assert places.asked("GET") == ["cohorts.csv.gz"]


def test_row_groups_outside_of_a_filter_are_not_fetched(places: Places) -> None:
    times = [START + timedelta(minutes=number) for number in range(40_000)]
    rows = pl.DataFrame(
        {
            "progress_id": [f"event number {number}" for number in range(40_000)],
            "user_id": "u",
            "task_type": "reading",
            "completed_at": times,
            "unlisted": [f"{number * 7919}" * 9 for number in range(40_000)],
        }
    )
    buffer = io.BytesIO()
    rows.write_parquet(buffer, row_group_size=1000)
    places.put_object("user_progress.parquet", buffer.getvalue())
    frame = FileSource(places.address).scan(PROGRESS)
    places.server.requests.clear()
    found = frame.filter(pl.col("completed_at") >= times[-10]).collect()
    fetched = sum(_length(one) for one in places.server.requests if one.kind == "GET")
    assert found.height == 10
    assert fetched < len(buffer.getvalue()) / 10


def _length(request: Request) -> int:
    first, last = request.range.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1 if first else int(last)


class Runs:
    """Hourly runs of the tables of ghost data from the bucket."""

    def __init__(self, places: Places, folder: Path) -> None:
        self.places = places
        settings = Settings.load(source=str(places.address), data=folder / "data", lookback_hours=2)
        self.settings, self.lake = settings, RunContext.of(settings).lake
        self.export("users.parquet", user_id=["u0"], created_at=["2025-01-01T00:00:00Z"])
        self.export("cohorts.parquet", cohort_id=["c1"])

    def export(self, name: str, **columns: list[object]) -> None:
        self.places.put_object(name, parquet(**columns))

    def day(self, number: int, *events: str) -> None:
        at = START + timedelta(days=number)
        self.export(
            f"user_progress/day={number}/part.parquet",
            progress_id=list(events),
            user_id=["u0"] * len(events),
            task_type=["reading"] * len(events),
            completed_at=[at] * len(events),
        )

    def run(self, hours: int) -> dict[str, TableResult]:
        """Run the hour that ends so many hours after the start, as a process of its own would."""
        self.places.server.requests.clear()
        context = RunContext.of(self.settings)
        steps = [one for one in RAW_ASSETS if one.contract.name in {"users", "cohorts", "user_progress"}]
        hour = Hour.ending_at(START + timedelta(hours=hours))
        return {one.contract.name: compute_one(one.compute, context, hour) for one in steps}

    def ids(self) -> list[str]:
        return sorted(self.lake.scan(PROGRESS.contract).collect()["progress_id"])


@pytest.fixture
def runs(places: Places, tmp_path: Path) -> Runs:
    found = Runs(places, tmp_path)
    for day in range(3):
        found.day(day, f"e{day}")
    return found


def test_unchanged_objects_cost_no_get(runs: Runs) -> None:
    runs.run(60)
    assert runs.places.asked("GET") != []
    runs.run(61)
    assert runs.places.asked("GET") == []


def test_a_new_object_is_the_only_one_that_is_fetched(runs: Runs) -> None:
    runs.run(60)
    runs.day(3, "e3")
    result = runs.run(73)["user_progress"]
    assert set(runs.places.asked("GET")) == {"user_progress/day=3/part.parquet"}
    assert (result.metadata["files_read"], result.metadata["files_skipped"]) == (1, 3)
    assert runs.ids() == ["e0", "e1", "e2", "e3"]


def test_a_replaced_object_of_long_ago_is_read_again(runs: Runs) -> None:
    runs.run(60)
    runs.day(0, "e0", "late")
    runs.run(61)
    assert set(runs.places.asked("GET")) == {"user_progress/day=0/part.parquet"}
    assert runs.ids() == ["e0", "e1", "e2", "late"]


def test_the_same_bytes_put_again_are_no_change(runs: Runs) -> None:
    runs.run(60)
    runs.day(0, "e0")
    runs.run(61)
    assert runs.places.asked("GET") == []


# --- an object that is replaced while it is read ---


def replacing(places: Places, name: str, content: bytes, after: int) -> Callable[[Request], tuple[str, bytes] | None]:
    """Replace an object once, after so many requests for it."""
    met: list[str] = []

    def look(request: Request) -> tuple[str, bytes] | None:
        if request.kind == "GET" and request.path.endswith(name):
            met.append(request.path)
            if len(met) == after + 1:
                places.put_object(name, content)
        return allow(request)

    return look


@pytest.mark.parametrize("after", [0, 1, 2])
def test_rows_of_an_object_that_was_replaced_meanwhile_are_not_written(after: int, runs: Runs) -> None:
    name = "user_progress/day=0/part.parquet"
    runs.run(60)
    runs.day(0, "e0", "first")
    # The same size and layout: any range of one version fits the other.
    day = parquet(
        progress_id=["e0", "other"], user_id=["u0"] * 2, task_type=["reading"] * 2, completed_at=[START, START]
    )
    runs.places.server.refuses = replacing(runs.places, name, day, after)
    with pytest.raises(SourceError, match=r"user_progress.* was replaced while it was read\. Nothing was written"):
        runs.run(61)
    assert runs.ids() == ["e0", "e1", "e2"]
    runs.run(61)
    assert runs.ids() == ["e0", "e1", "e2", "other"]


def test_text_is_of_the_version_that_was_listed(places: Places) -> None:
    places.put("cohorts/a.csv", b"cohort_id\nc1\n")
    source = FileSource(places.address)
    parts = list(source.part_versions(COHORTS))
    places.put("cohorts/a.csv", b"cohort_id\nc2\n")
    with pytest.raises(SourceError, match=r"cohorts/a\.csv was replaced while it was read"):
        source.scan(COHORTS, parts=parts)


def test_an_object_that_is_gone_is_named(places: Places) -> None:
    places.put("cohorts/a.csv", b"cohort_id\nc1\n")
    source = FileSource(places.address)
    parts = list(source.part_versions(COHORTS))
    obstore.delete(places.server.store(), f"{places.prefix}/cohorts/a.csv")
    with pytest.raises(SourceError, match=r"cohorts/a\.csv was removed while the source was read"):
        source.scan(COHORTS, parts=parts)


# --- what is wrong with the bucket ---

SECRETS = ("a-secret-that-nobody-shows", "AKIA-of-a-test")
REFUSALS = (
    ("403 Forbidden", b"InvalidAccessKeyId", "the credentials are refused"),
    ("403 Forbidden", b"SignatureDoesNotMatch", "the credentials are refused"),
    ("403 Forbidden", b"AccessDenied", "access is denied). Let these credentials list and read"),
    ("500 Internal Server Error", b"InternalError", "500 Internal Server Error: InternalError"),
)


@pytest.mark.parametrize("kind", ["LIST", "GET"])
@pytest.mark.parametrize(("status", "code", "says"), REFUSALS, ids=[str(one[1], "ascii") for one in REFUSALS])
def test_a_refusal_is_one_line_without_secrets(
    kind: str, status: str, code: bytes, says: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRETS[1])
    runs.places.server.refuses = lambda request: (status, code) if request.kind == kind else None
    with pytest.raises(SourceError) as raised:
        runs.run(60)
    message = str(raised.value)
    assert says in message
    assert f"s3://{BUCKET}" in message
    assert "\n" not in message
    assert not any(secret in message for secret in SECRETS)


def test_only_the_data_may_be_refused(runs: Runs) -> None:
    """The client within polars asks for what is not in the footer; its error is the same line."""
    met: list[Request] = []

    def refuse(request: Request) -> tuple[str, bytes] | None:
        if request.kind != "GET" or not request.path.endswith("users.parquet"):
            return None
        met.append(request)
        return ("403 Forbidden", b"AccessDenied") if len(met) > 1 else None

    runs.places.server.refuses = refuse
    with pytest.raises(SourceError, match=r"table users cannot be read \(access is denied\)\. Let these") as raised:
        runs.run(60)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "variables", "says"),
    [
        ("s3://no-such-bucket/x", {}, "the bucket does not exist). Create it, or correct GHOST_SOURCE"),
        (f"s3://{BUCKET}/nothing", {}, "has no canonical table"),
        (f"s3://{BUCKET}/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "127.0.0.1:1 cannot be reached"),
        ("s3://UPPER/x", {}, "is not a bucket address such as s3://bucket/prefix"),
        ("s3://key:a-secret-that-nobody-shows@bucket/x", {}, "source s3://…: is not a bucket address"),
    ],
)
def test_the_commands_say_in_one_line_what_is_wrong(
    source: str, variables: dict[str, str], says: str, server: S3Server, tmp_path: Path
) -> None:
    given = {**server.environment(), **variables, "GHOST_SOURCE": source}
    failed = run(["materialize", "--as-of", "2025-03-12T12:00Z"], tmp_path, None, **given)
    told = run(["doctor"], tmp_path, None, **given)
    assert failed.returncode == told.returncode == 1
    lines = [line for line in failed.stderr.splitlines() if says in line]
    lines += [line for line in told.stdout.splitlines() if says in line]
    assert len(lines) == 2
    every = failed.stdout + failed.stderr + told.stdout + told.stderr
    assert "Traceback" not in every
    assert "nobody-shows" not in every


# --- whole runs ---


def test_the_same_files_give_the_same_lake_and_publication(server: S3Server, prefix: str, tmp_path: Path) -> None:
    local = make_source(tmp_path / "source")
    for file in local.iterdir():
        obstore.put(server.store(), f"{prefix}/{file.name}", file)
    for as_of in ("2025-03-12T12:00Z", "2025-03-12T13:00Z"):
        for data, source in (("folder", str(local)), ("bucket", f"s3://{BUCKET}/{prefix}")):
            server.requests.clear()
            done = run(
                ["materialize", "--as-of", as_of], tmp_path / data, None, GHOST_SOURCE=source, **server.environment()
            )
            assert done.returncode == 0, done.stderr
    # The second hour brought only events that were later than the first one.
    assert {name.rpartition("/")[2] for name in server.asked("GET")} == {"user_progress.parquet"}
    bucket, folder = (lake_digest(tmp_path / data) for data in ("bucket", "folder"))
    assert len(folder) > 1000
    assert bucket == folder
    assert published_rows(tmp_path / "bucket") == published_rows(tmp_path / "folder")


def test_settings_and_doctor_show_the_address_and_no_secret(places: Places, tmp_path: Path) -> None:
    for name, content in {
        "users.csv": b"user_id,created_at\nu1,2025-01-01T00:00:00Z\n",
        "cohorts/_old.csv": CSV,
        "cohorts/new.csv": b"cohort_id\nc1\n",
        "user_progress.csv": b"progress_id,user_id,task_type,completed_at\n",
    }.items():
        places.put_object(name, content)
    given = {**places.server.environment(), "GHOST_SOURCE": str(places.address)}
    settings, told = (run([command], tmp_path, None, **given) for command in ("settings", "doctor"))
    assert f"GHOST_SOURCE={places.address}\n" in settings.stdout
    assert f"source {places.address}: ghost data" in told.stdout
    assert "files skipped: 1 with a name that begins with _ or ." in told.stdout
    assert "nobody-shows" not in settings.stdout + told.stdout + settings.stderr + told.stderr


def test_an_address_opens_a_bucket(server: S3Server) -> None:
    assert server
    assert open_source(f"s3://{BUCKET}/team").name == f"source s3://{BUCKET}/team"
