"""The HTTP API at 1 M users against the same framework that sends a constant answer, while publications change."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from pydantic_core import to_json

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.app import build_app
from ghost_pipeline.serving.learners import response_rows
from ghost_pipeline.serving.publication_watcher import CACHE_BYTES
from ghost_pipeline.serving.responses import ghost_data_fields
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.bench.http_load import DIGEST_BYTES, digest

MODULE = "ghost_pipeline_tests.bench.http"
FIRST = datetime(2025, 3, 12, 12, tzinfo=UTC)
SECOND = FIRST + timedelta(hours=1)
MONTH = Month(datetime(2025, 2, 1, tzinfo=UTC))
USER = "user-{:07}"
COMPARED_USERS = 100
CONNECTIONS = 8
BOARD_NGRAMS = 2000
MOVED_TARGETS = 2 * CACHE_BYTES // 600_000
"""Targets of one board in turn: more heat maps than the cache has room for."""
TYPISTS = 100
SWAP_SECONDS = 15.0
"""A new publication so often: far more often than one an hour."""
SEEN_SECONDS = 10.0
"""How long a publication may take until it is seen."""


Asked = tuple[str, list[tuple[str, str]]]
"""A path, and what may be answered: Ghost-As-Of and body; anything where nothing is named."""


@dataclass(frozen=True)
class Rate:
    """What a server reached."""

    name: str
    per_second: float
    answered: int
    failed: int
    seen: list[tuple[float, str]]
    """When which publication was seen, by the clock that `swapped` has."""
    swapped: list[tuple[float, str]]
    """When which publication was put in place."""
    server_cpu_seconds: float
    server_peak_mib: float

    @property
    def seconds_until_seen(self) -> list[float]:
        """How long each publication took from its swap to the first answer that named it."""
        return [
            next((seen - at for seen, as_of in self.seen if as_of == of and seen > at), float("inf"))
            for at, of in self.swapped
        ]


def measure(folder: Path, users: int, seconds: float) -> list[Rate]:
    """Answers per second of both servers in turn, for responses of all users and for heat maps."""
    prepare(folder, users)
    numbered: dict[str, object] = {
        "path": f"/cohort/{USER}/ghost-data",
        "count": users,
        "digests": {_stamp(as_of): str(_digests(folder, of, users)) for of, as_of in _PUBLICATIONS},
    }
    constant = folder / "constant.json"
    constant.write_text(_reader(folder, "first").ghost_data(USER.format(7)).model_dump_json(), encoding="utf-8")
    found = []
    with _server(folder / "live", "constant", str(constant)) as (port, server), _publishing(folder) as swapped:
        found.append(_rate("constant answer", port, _in_turn([("/constant", [])]), seconds, server, swapped))
    with _server(folder / "live", "api", "") as (port, server), _publishing(folder) as swapped:
        found.append(_rate("ghost-data of all users in turn", port, numbered, seconds, server, swapped))
    with _server(folder / "live", "api", "") as (port, server):
        path = "/ngrams/typist-{:03}/keyboard/heatmap"
        board = httpx.get(f"http://127.0.0.1:{port}{path.format(7)}", timeout=60)
        constant.write_text(board.text, encoding="utf-8")
        boards: list[Asked] = [(path.format(typist), []) for typist in range(TYPISTS)]
        moved: list[Asked] = [
            (f"{path.format(7)}?target_speed_ms={target}", []) for target in range(100, 100 + MOVED_TARGETS)
        ]
        in_turn = f"heat maps of {BOARD_NGRAMS:,} n-grams, {TYPISTS} boards in turn"
        heat_maps = [
            _rate(in_turn, port, _in_turn(boards), seconds, server, []),
            _rate("the same, another target at every request", port, _in_turn(moved), seconds, server, []),
        ]
    with _server(folder / "live", "constant", str(constant)) as (port, server):
        found.append(_rate("constant answer of its size", port, _in_turn([("/constant", [])]), seconds, server, []))
    return [*found, *heat_maps]


def as_rows(found: list[Rate]) -> list[dict[str, str | float]]:
    """A row per server, each with its ratio to the constant answer before it."""
    rows: list[dict[str, str | float]] = []
    constant = found[0]
    for one in found:
        constant = one if one.name.startswith("constant") else constant
        waits = [] if one is constant else one.seconds_until_seen
        row: dict[str, str | float] = {
            "answers": one.name,
            "per second": round(one.per_second),
            "of the constant": round(one.per_second / constant.per_second, 2),
            "answered": one.answered,
            "failed or mixed": one.failed,
            "server CPU µs each": round(one.server_cpu_seconds / one.answered * 1e6),
            "publications": len(waits),
            "seen after at most s": round(max(waits), 1) if waits else "",
            "server peak MiB": round(one.server_peak_mib),
        }
        rows.append(row)
    return rows


_PUBLICATIONS = (("first", FIRST), ("second", SECOND))


def _stamp(as_of: datetime) -> str:
    return f"{as_of:%Y-%m-%dT%H:%M:%SZ}"


def _reader(folder: Path, of: str) -> GhostReader:
    return GhostReader(Settings.load(data=folder / of))


def _in_turn(requests: list[Asked]) -> dict[str, object]:
    return {"requests": requests}


def _digests(folder: Path, of: str, users: int) -> Path:
    """A file with the digest of every user's answer, computed from the lake; some are compared with the reader's."""
    reader, as_of = _reader(folder, of), dict(_PUBLICATIONS)[of]
    inputs = reader.inputs(as_of)
    path = folder / f"{of}.digests"
    with path.open("wb") as file:
        for part in inputs.users(None).sort("user_id").iter_slices(100_000):
            for row in response_rows(inputs, part).collect().iter_rows(named=True):
                file.write(digest(to_json(ghost_data_fields(row))))
    digests = path.read_bytes()
    for number in map(int, np.random.default_rng(7).integers(0, users, COMPARED_USERS)):
        body = reader.ghost_data(USER.format(number)).model_dump_json().encode()
        assert digest(body) == digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
    return path


def prepare(folder: Path, users: int) -> None:
    """Two publications of consecutive hours whose figures differ for every user, and a folder that one lies in."""
    for at, (of, as_of) in enumerate(_PUBLICATIONS):
        settings = Settings.load(data=folder / of)
        lake, hour = Lake(settings.lake), Hour.ending_at(as_of)
        lake.write(USER_GHOST_STATS, hour, _stats(users, hour, at))
        lake.write(COHORT_GHOST_RELEASE, hour, _releases(hour, at))
        lake.write(GHOST_BENCHMARKS, MONTH, _benchmarks())
        lake.write(NGRAM_SPEED_SUMMARIES, hour, _summaries(hour))
        publish(lake, settings.database)
    (folder / "live").mkdir()
    _swap(folder, "first")


def _swap(folder: Path, of: str) -> None:
    staged = folder / "live" / "staged"
    os.link(folder / of / "ghost.duckdb", staged)
    staged.replace(folder / "live" / "ghost.duckdb")
    # A rename to another name of the same file does nothing.
    staged.unlink(missing_ok=True)


@contextmanager
def _publishing(folder: Path) -> Iterator[list[tuple[float, str]]]:
    """Replace the database by the other one every some seconds; yields when it was which."""
    done = threading.Event()
    swapped: list[tuple[float, str]] = []

    def replace() -> None:
        turn = 1
        while not done.wait(SWAP_SECONDS):
            of, as_of = _PUBLICATIONS[turn % 2]
            _swap(folder, of)
            swapped.append((time.monotonic(), _stamp(as_of)))
            turn += 1

    _swap(folder, _PUBLICATIONS[0][0])
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        yield swapped
    finally:
        done.set()
        thread.join()


@contextmanager
def _server(data: Path, kind: str, answer: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, kind, str(data), answer], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process
    finally:
        process.terminate()
        process.wait()


def _rate(
    name: str,
    port: int,
    asked: dict[str, object],
    seconds: float,
    server: "subprocess.Popen[str]",
    swapped: list[tuple[float, str]],
) -> Rate:
    order = {"host": "127.0.0.1", "port": port, "connections": CONNECTIONS, "seconds": seconds, **asked}
    command = [sys.executable, "-m", "ghost_pipeline_tests.bench.http_load"]
    end, before = time.monotonic() + seconds, _cpu_seconds(server)
    done = subprocess.run(command, input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True)
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    # A publication put in place in the last seconds may go unseen for want of requests.
    due = [(at, of) for at, of in swapped if at < end - SEEN_SECONDS]
    spent = _cpu_seconds(server) - before
    return Rate(
        name, **json.loads(done.stdout), swapped=due, server_cpu_seconds=spent, server_peak_mib=peak / (1 << 10)
    )


def _cpu_seconds(process: "subprocess.Popen[str]") -> float:
    # The name of the program stands in parentheses and may hold anything; times follow as the 14th and 15th field.
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stats(users: int, hour: Hour, at: int) -> pl.DataFrame:
    random = np.random.default_rng(at)
    tasks = random.geometric(0.02, users) + at
    frame = pl.DataFrame({"user_number": np.arange(users), "tasks_completed": tasks}).with_columns(
        as_of=pl.lit(hour.as_of),
        snapshot_date=pl.lit(hour.date),
        snapshot_hour=pl.lit(hour.hour),
        user_id=pl.format("user-{}", pl.col("user_number").cast(pl.String).str.zfill(7)),
        cohort_id=pl.format("cohort-{}", pl.col("user_number") % (users // 200 or 1)),
        cohort_excluded=pl.lit(value=False),
        diagnostic_score=6.0,
        starting_skill=pl.lit("6.0").cast(pl.Decimal(2, 1)),
        target_band=pl.lit("7.5").cast(pl.Decimal(2, 1)),
        day_in_journey=pl.col("user_number") % 90 + 1,
        tasks_this_week=pl.col("tasks_completed") // 8,
        practice_time_ms=pl.col("tasks_completed") * 754_321,
        days_practiced=pl.col("user_number") % 8,
        current_streak=pl.col("user_number") % 30,
        longest_streak=pl.col("user_number") % 30 + 3,
        streak_status=pl.lit("active"),
        last_activity_at=pl.lit(hour.start),
        is_active_member=pl.lit(value=True),
        tasks_completed_percentile_cohort=pl.col("tasks_completed") % 100,
    )
    frame = frame.with_columns(practice_minutes=pl.col("practice_time_ms") / 60_000)
    return _filled(USER_GHOST_STATS, frame)


def _releases(hour: Hour, at: int) -> pl.DataFrame:
    frame = pl.DataFrame({"number": range(5000)}).with_columns(
        cohort_id=pl.format("cohort-{}", "number"),
        snapshot_date=pl.lit(hour.date),
        snapshot_hour=pl.lit(hour.hour),
        as_of=pl.lit(hour.as_of),
        released=pl.lit(value=True),
        released_as_of=pl.lit(hour.as_of),
        last_release_as_of=pl.lit(hour.as_of),
        active_member_count=pl.lit(200),
        avg_tasks_completed=pl.lit(f"{40 + at}.25"),
        avg_tasks_this_week=pl.lit(f"{5 + at}.5"),
        top_10_percent_tasks=pl.lit(90 + at),
        top_25_percent_tasks=pl.lit(70 + at),
    )
    return _filled(COHORT_GHOST_RELEASE, frame, missing_as_null=True)


def _benchmarks() -> pl.DataFrame:
    frame = pl.DataFrame({"day_number": range(1, 91)}).with_columns(
        id=pl.lit("00000000-0000-5000-8000-000000000000"),
        population=pl.lit("interval"),
        target_band=pl.lit("7.5"),
        starting_skill=pl.lit("6.0"),
        success_percentile=pl.lit(25),
        avg_tasks_completed=pl.col("day_number") * 2,
        avg_practice_minutes=pl.col("day_number") * 25,
        sample_size=pl.lit(500),
        month=pl.lit(MONTH.key),
        renewed=pl.lit(MONTH.key),
        as_of=pl.lit(MONTH.as_of),
        created_at=pl.lit(MONTH.as_of),
        updated_at=pl.lit(MONTH.as_of),
    )
    return _filled(GHOST_BENCHMARKS, frame)


def _summaries(hour: Hour) -> pl.DataFrame:
    random = np.random.default_rng(11)
    rows = TYPISTS * BOARD_NGRAMS
    average = random.uniform(80, 900, rows)
    frame = pl.DataFrame({"number": np.arange(rows), "decaying_average_ms": average}).with_columns(
        summary_id=pl.format("00000000-0000-5000-8000-{}", pl.col("number").cast(pl.String).str.zfill(12)),
        user_id=pl.format("typist-{}", (pl.col("number") // BOARD_NGRAMS).cast(pl.String).str.zfill(3)),
        keyboard_id=pl.lit("keyboard"),
        ngram_text=pl.format("n{}", (pl.col("number") % BOARD_NGRAMS).cast(pl.String).str.zfill(4)),
        ngram_size=pl.lit(5),
        target_speed_ms=pl.lit(300.0),
        target_performance_pct=300.0 / pl.col("decaying_average_ms") * 100,
        meets_target=pl.col("decaying_average_ms") <= 300.0,
        sample_count=pl.lit(20),
        measurements_used=pl.lit(20),
        last_measured=pl.lit(hour.start),
        last_updated=pl.lit(hour.as_of),
        created_at=pl.lit(hour.as_of),
        as_of=pl.lit(hour.as_of),
    )
    return _filled(NGRAM_SPEED_SUMMARIES, frame)


def _filled(contract: Contract, frame: pl.DataFrame, *, missing_as_null: bool = False) -> pl.DataFrame:
    """The contract's columns; one that the frame lacks is null where it may be, else 0."""
    columns = []
    for name, column in contract.schema.columns().items():
        there = pl.col(name) if name in frame.columns else pl.lit(None if column.nullable or missing_as_null else 0)
        columns.append(there.cast(column.dtype).alias(name))
    return frame.select(columns)


def _serve(kind: str, data: Path, answer: str) -> None:
    """Run one of the servers until it is told to stop; its port is the first line."""
    if kind == "api":
        app = build_app(Settings.load(data=data))
        service = app.state.service
    else:
        app, content, service = FastAPI(), Path(answer).read_bytes(), None

        @app.get("/constant")
        async def constant() -> Response:
            return Response(content, media_type="application/json")

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))

    def announce() -> None:
        # The first users' rows take some seconds, in which each answer is computed from the database.
        while not server.started or (service and not (service.present and service.present.rows)):
            time.sleep(0.05)
        sys.stdout.write(f"{server.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()

    threading.Thread(target=announce, daemon=True).start()
    server.run()


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
