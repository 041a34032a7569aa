"""The installed command with its data in a bucket: the bytes, rows and answers of a folder."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import polars as pl
import pytest

from ghost_pipeline.lake.hour_listing import CHANGES
from ghost_pipeline_tests.buckets.s3_server import BUCKET, S3Server
from ghost_pipeline_tests.running import COMMAND, environment, lake_digest, published_rows, run
from ghost_pipeline_tests.serving.worlds import make_source
from ghost_pipeline_tests.traces import traces

pytestmark = pytest.mark.long

AS_OF = "2025-03-12T12:00Z"
SEED = 20250312
SECONDS = 240
"""Longest that a test waits for a run that takes some ten."""


@dataclass(frozen=True)
class Bucket:
    """Data in the bucket, and this machine's own folder."""

    server: S3Server
    prefix: str
    work: Path
    source: Path

    def variables(self, **variables: str) -> dict[str, str]:
        given = {"GHOST_DATA": f"s3://{BUCKET}/{self.prefix}", "GHOST_WORK": str(self.work), **variables}
        return {**environment(self.work, self.source), **self.server.environment(), **given}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(COMMAND), *arguments], env=self.variables(**variables), capture_output=True, text=True, check=False
        )

    def answer(self, *arguments: str, **variables: str) -> str:
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after one run over the demo world and a typist."""
    root = tmp_path_factory.mktemp("folder")
    done = run(["materialize", "--as-of", AS_OF], root / "data", make_source(root / "source"))
    assert done.returncode == 0, done.stderr
    return root / "data"


@pytest.fixture(scope="module")
def bucket(running: S3Server, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    """The same run with its data in a bucket."""
    found = Bucket(running, "team/ghost", tmp_path_factory.mktemp("bucket") / "work", folder.parent / "source")
    running.requests.clear()
    found.answer("materialize", "--as-of", AS_OF)
    return found


def lake_of(bucket: Bucket, folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    files = {name: (folder / "lake" / name).read_bytes() for name in lake_digest(folder)}
    objects = bucket.server.objects(f"{bucket.prefix}/lake")
    # The marks of changes are of their own in each lake.
    return {name: content for name, content in objects.items() if name.endswith(".parquet")}, files


def twice(bucket: Bucket) -> list[str]:
    """The objects of the lake that were sent twice, but for what is written before and after: ledgers and marks."""
    sent = Counter(name for name in bucket.server.asked("PUT") if f"{bucket.prefix}/lake/" in name)
    return [name for name, number in sent.items() if number > 1 and "/stale_" not in name and CHANGES not in name]


def test_the_lake_has_the_same_bytes_each_sent_once(bucket: Bucket, folder: Path) -> None:
    fetched, sent_twice = bucket.server.asked("GET"), twice(bucket)
    objects, files = lake_of(bucket, folder)
    assert objects == files
    assert len(files) > 1000
    assert (fetched, sent_twice) == ([], [])


def test_what_is_published_has_the_same_rows(bucket: Bucket, folder: Path, tmp_path: Path) -> None:
    published = bucket.server.objects(bucket.prefix)
    histories = {name for name in published if name.startswith("history/")}
    for name in {"ghost.duckdb", *histories}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(published[name])
    assert histories
    assert published_rows(tmp_path) == published_rows(folder)
    assert published["ghost_benchmarks.json"] == (folder / "ghost_benchmarks.json").read_bytes()
    assert {name for name in published if not name.startswith("lake/")} - histories == {
        "ghost.duckdb",
        "ghost_benchmarks.json",
        "ghost_benchmarks.schema.json",
        "publication.json",
        "privacy.json",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("ghost-data", "me"),
        ("ghost-data", "me", "--as-of", AS_OF),
        ("messages", "me", "--context", "daily_dashboard"),
        ("heatmap", "me", "k1", "--json"),
        ("query", "SELECT count(*), min(completed_at) FROM lake.user_progress"),
        ("stale",),
    ],
    ids=" ".join,
)
def test_another_machine_gives_the_answers_of_a_folder(
    arguments: tuple[str, ...], bucket: Bucket, folder: Path, tmp_path: Path
) -> None:
    assert bucket.answer(*arguments, GHOST_WORK=str(tmp_path)) == run(arguments, folder).stdout


def test_status_is_that_of_a_folder(bucket: Bucket, folder: Path) -> None:
    def newest(text: str) -> list[tuple[str, str, int]]:
        return [(row["table"], row["newest"], row["rows"]) for row in json.loads(text)["tables"]]

    assert newest(bucket.answer("status", "--json")) == newest(run(["status", "--json"], folder).stdout)


def test_doctor_writes_reads_and_removes(bucket: Bucket) -> None:
    bucket.server.requests.clear()
    told = bucket.answer("doctor")
    assert re.search(rf"storage +s3://{BUCKET}/team/ghost is writable, ", told)
    assert [bucket.server.asked(kind) for kind in ("PUT", "GET")] == [["team/ghost/.doctor"]] * 2
    assert ".doctor" not in bucket.server.objects(bucket.prefix)


def test_doctor_says_what_is_wrong_with_the_bucket(bucket: Bucket) -> None:
    done = bucket.run("doctor", GHOST_DATA="s3://no-such-bucket/x")
    assert done.returncode == 1
    assert "wrong storage " in done.stdout
    assert "the bucket does not exist" in done.stdout
    assert done.stderr == "checking settings, source and storage in s3://no-such-bucket/x\n"


def test_settings_show_the_address_and_no_secret(bucket: Bucket) -> None:
    told = bucket.answer("settings")
    assert f"GHOST_DATA=s3://{BUCKET}/team/ghost\n" in told
    assert "nobody-shows" not in told


def test_a_server_elsewhere_answers_from_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [str(COMMAND), "serve", "--port", "0"],
        env=bucket.variables(GHOST_WORK=str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        port = next(found[1] for line in lines if (found := re.search(r"127\.0\.0\.1:(\d+)/", line)))
        answer = httpx.get(f"http://127.0.0.1:{port}/cohort/me/ghost-data", timeout=60)
        assert answer.status_code == 200
        assert answer.json() == json.loads(bucket.answer("ghost-data", "me", "--json"))
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_killed_while_it_sends_and_run_again_sends_what_is_missing(
    bucket: Bucket, folder: Path, tmp_path: Path
) -> None:
    killed = Bucket(bucket.server, "killed", tmp_path / "work", bucket.source)
    arguments, some = ("materialize", "--as-of", AS_OF, "--half", "ngrams"), random.Random(SEED).randrange(20, 200)
    killed.server.requests.clear()
    process = subprocess.Popen(
        [str(COMMAND), *arguments],
        env=killed.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + SECONDS
    while len(killed.server.asked("PUT")) < some and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    sent = killed.server.objects("killed/lake")
    killed.answer(*arguments)
    sent_twice, whole = twice(killed), killed.server.objects("killed/lake")
    # Both domains write these, and what the lake records of itself.
    tables = {name.partition("/")[0] for name in whole if "/" in name} - {
        "rejected_rows",
        "stale_hours",
        "stale_months",
    }
    names = [name for name in lake_digest(folder) if name.partition("/")[0] in tables]
    assert {name for name in whole if name.partition("/")[0] in tables} == {*names}
    assert [name for name in names if whole[name] != (folder / "lake" / name).read_bytes()] == []
    assert some <= len(sent) + 1 < len(whole)
    # What was under way may have arrived or not.
    assert len(sent_twice) <= 1


def test_whoever_is_erased_is_in_no_object_and_in_no_copy(bucket: Bucket, tmp_path: Path) -> None:
    person = "person-of-the-bucket"
    source = make_source(tmp_path / "source", typists=False)
    for name in ("users", "user_progress"):
        rows = pl.read_parquet(source / f"{name}.parquet")
        rows.with_columns(pl.col("user_id").replace("a01", person)).write_parquet(source / f"{name}.parquet")
    erased = Bucket(bucket.server, "erased", tmp_path / "data" / "work", source)

    def places() -> set[str]:
        for name, content in bucket.server.objects("erased").items():
            file = tmp_path / "data" / "objects" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return {name.partition("/")[0] for name in traces(tmp_path / "data", [person])}

    erased.answer("materialize", "--as-of", AS_OF)
    assert places() == {"objects", "work"}
    key = {"GHOST_ERASURE_KEY": "a key of a test, and of nothing else", "GHOST_ERASURE_REBUILDS": "nothing"}
    report = json.loads(erased.answer("erase", person, "--yes", "--json", **key))
    assert places() == set()
    assert report["published"]
    assert report["report"].startswith(f"s3://{BUCKET}/erased/erasures/")
    assert report["report"].removeprefix(f"s3://{BUCKET}/erased/") in bucket.server.objects("erased")
