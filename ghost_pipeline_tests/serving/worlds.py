"""A published database of learners and a typist, and a real server over it."""

import json
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import polars as pl

from ghost_pipeline.cli.run import selection
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.serving.app import build_app
from ghost_pipeline.serving.server import build_server
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.running import DEMO_WORLD

AS_OF = datetime(2025, 3, 12, 12, tzinfo=UTC)
NOW = AS_OF + timedelta(minutes=30)
KEY = "a key for tests that is long enough"
TYPED_AT = tuple(datetime(2025, 3, day, 9, tzinfo=UTC) for day in (9, 10, 11, 12))
WORDS = ("the quick fox", "jumps over", "lazy dogs the")


def make_source(folder: Path, *, typists: bool = True) -> Path:
    """The demo world and, beside it, a typist `me` with keystrokes on the keyboard `k1`."""
    folder.mkdir(parents=True)
    for path in DEMO_WORLD.glob("*.parquet"):
        pl.read_parquet(path).write_parquet(folder / path.name)
    if typists:
        _rows(folder, "keyboards", [{"keyboard_id": "k1", "user_id": "me", "keyboard_name": "Desk"}])
        sessions, keys = [], []
        for number, start in enumerate(end - timedelta(hours=1) for end in TYPED_AT):
            session = {"session_id": f"s{number}", "start_time": start.isoformat(), "end_time": start.isoformat()}
            sessions.append({**session, "user_id": "me", "keyboard_id": "k1"})
            keys += _keys(f"s{number}", start, " ".join(WORDS), 180 - 20 * number)
        _rows(folder, "practice_sessions", sessions)
        _rows(folder, "session_keystrokes", keys)
    return folder


def settings(data: Path, source: Path | None = None, **values: object) -> Settings:
    """Settings of a data folder, without those of the person who runs the tests."""
    return Settings.load(source=None if source is None else str(source), data=data, **values)


def materialize(
    of: Settings, as_of: datetime, *, typed_at: Sequence[datetime] = (), domains: Collection[Domain] = tuple(Domain)
) -> None:
    """Run the steps of an hour and of the month before it in this process, and publish.

    The n-gram domain is run for the hours that end at `typed_at` first: they make its history.
    """
    resources = RunContext.of(of)
    for end in typed_at:
        _run(resources, Hour.ending_at(end), selection({Domain.NGRAMS}, monthly=False))
    _run(resources, Hour.ending_at(as_of), selection(set(domains), monthly=False))
    if Domain.GHOST in domains:
        _run(resources, Month.newest_complete(as_of), selection({Domain.GHOST}, monthly=True))
    publish(resources.lake, of.database)


@contextmanager
def served(of: Settings, now: datetime = NOW) -> Iterator[httpx.Client]:
    """A real server on a free port, with a clock that stands still."""
    server = build_server(build_app(of, lambda: now), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def bearer(subject: object, *, key: str = KEY, seconds: float = 86_400, algorithm: str = "HS256") -> dict[str, str]:
    """The header of a caller; `seconds` from now on the token holds: longer than any run of the tests."""
    token = jwt.encode({"sub": subject, "exp": wall_clock().timestamp() + seconds}, key, algorithm)
    return {"Authorization": f"Bearer {token}"}


def _run(resources: RunContext, window: Hour | Month, names: Sequence[str]) -> None:
    for asset in TABLE_ASSETS:
        if asset.contract.name in names:
            compute_one(asset.compute, resources, window)


def _keys(session: str, start: datetime, text: str, milliseconds: int) -> list[dict[str, object]]:
    keys: list[dict[str, object]] = []
    for index, char in enumerate(text):
        # Every seventh character is mistyped first and corrected.
        strokes = ["#", "\b", char] if index % 7 == 5 else [char]
        for stroke in strokes:
            at = start + timedelta(milliseconds=milliseconds * (len(keys) + 1) + 37 * (index % 5))
            row: dict[str, object] = {"session_id": session, "key_index": len(keys), "keystroke_char": stroke}
            keys.append({**row, "keystroke_time": at.isoformat(), "expected_char": char, "text_index": index})
    return keys


def _rows(folder: Path, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{table}.ndjson").write_text(text, encoding="utf-8")
