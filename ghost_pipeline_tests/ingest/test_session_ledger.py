"""Files with rows of practice sessions that come, change and go, against runs that know nothing of earlier ones."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import REJECTED_ROWS, SESSION_KEYSTROKES, SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.ingest import read_policy
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.source import Window
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.examples import examples

START = datetime(2025, 3, 10, tzinfo=UTC)
STEPS = {
    asset.contract.name: asset
    for asset in (*RAW_ASSETS, *NGRAM_ASSETS)
    if asset.contract.name
    in {"users", "keyboards", "practice_sessions", "session_keystrokes", "session_ngram_speed", "session_ngram_errors"}
}
TABLES = ("session_keystrokes", "session_ngram_speed", "session_ngram_errors")
Row = dict[str, object]


class Exports:
    """Folders of files of keystrokes and measurements, each written only when it changes, and lakes that read them."""

    def __init__(self, folder: Path, lookback_hours: int = 2, lakes: Collection[str] = ("lake",)) -> None:
        self.source = folder / "source"
        self.files: dict[tuple[str, str], list[Row]] = {}
        self.sessions: dict[str, float] = {"s0": 0.5}
        self.users = ["u0"]
        _write(self.source / "keyboards.parquet", "keyboards", [])
        for table in TABLES[:2]:
            self.export(table, "first", [self.row(table, "s0", 0)])
        self.runs = {
            name: RunContext.of(
                Settings.load(
                    source=str(self.source),
                    data=folder / name,
                    accept_deletions=True,
                    lookback_hours=lookback_hours,
                )
            )
            for name in lakes
        }

    def lake(self, name: str = "lake") -> Lake:
        return self.runs[name].lake

    def row(self, table: str, session: str, number: int, *, bad: bool = False) -> Row:
        if table == "session_keystrokes":
            at = f"{START + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}"
            typed = {
                "keystroke_time": "never" if bad else at,
                "keystroke_char": "abc"[number % 3],
                "text_index": number,
            }
            return {"session_id": session, "key_index": number, **typed}
        speed = {"ngram_size": 2, "ngram_text": "ab", "ms_per_keystroke": -1 if bad else 100 + number}
        return {"session_id": session, **speed}

    def export(self, table: str, file: str, rows: list[Row] | None) -> None:
        path = self.source / table / f"{file}.parquet"
        if rows is None:
            self.files.pop((table, file), None)
            path.unlink(missing_ok=True)
            return
        self.files[table, file] = rows
        beside = self.source / "beside"
        _write(beside, table, rows)
        path.parent.mkdir(exist_ok=True)
        beside.replace(path)

    def run(self, hours: int, name: str = "lake") -> dict[str, TableResult]:
        """Run the hour that ends so many hours after the start."""
        users: list[Row] = [{"user_id": one, "created_at": "2025-01-01T00:00:00Z"} for one in self.users]
        _write(self.source / "users.parquet", "users", users)
        sessions: list[Row] = [
            {
                "session_id": one,
                "user_id": "u1" if one == "s5" else "u0",
                "keyboard_id": "k",
                "start_time": f"{START + timedelta(hours=at):%Y-%m-%dT%H:%M:%SZ}",
                "end_time": "2025-03-20T00:00:00Z",
            }
            for one, at in self.sessions.items()
        ]
        _write(self.source / "practice_sessions.parquet", "practice_sessions", sessions)
        hour = Hour.ending_at(START + hours * HOUR)
        return {step: compute_one(asset.compute, self.runs[name], hour) for step, asset in STEPS.items()}

    def content(self, name: str = "lake") -> Mapping[str, bytes]:
        """The files of the tables and of their rejected rows, by name; empty hours are left out."""
        lake, found = self.lake(name), {}
        for table in TABLES:
            contract = SOURCE_TABLES[table].contract
            for one in lake.hours(contract):
                if lake.rows(contract, one):
                    found[f"{table} {one.key}"] = lake.path(contract, one).read_bytes()
            for bad in lake.rejects(REJECTED_ROWS, table):
                found[f"{table} rejected {bad.key}"] = lake.path(REJECTED_ROWS, bad).read_bytes()
        return found


def _write(path: Path, table: str, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = dict.fromkeys((column.name for column in SOURCE_TABLES[table].columns), pl.String)
    pl.DataFrame([{k: str(v) for k, v in row.items()} for row in rows], schema=schema).write_parquet(path)


_tables = st.sampled_from(TABLES[:2])
_files = st.sampled_from(["a", "b", "c"])
_ids = st.integers(0, 6)
_put = st.tuples(st.just("put"), _tables, _files, st.tuples(_ids, st.integers(0, 4), st.integers(0, 5)))
_changes = st.one_of(
    _put,
    _put,
    st.tuples(st.just("session"), _tables, _files, st.tuples(_ids, st.integers(0, 40))),
    st.tuples(st.just("session"), _tables, _files, st.tuples(_ids, st.integers(25, 40))),
    st.tuples(st.just("no session"), _tables, _files, _ids),
    st.tuples(st.just("drop"), _tables, _files, _ids),
    st.tuples(st.just("remove"), _tables, _files, st.none()),
    st.tuples(st.just("user"), _tables, _files, st.none()),
    st.tuples(st.just("lose an hour"), _tables, _files, st.none()),
)
_rounds = st.lists(st.tuples(st.lists(_changes, max_size=5), st.integers(-2, 4)), min_size=2, max_size=6)


def _make(exports: Exports, what: str, table: str, file: str, value: Any) -> None:  # noqa: ANN401 - what a change needs
    rows = exports.files.get((table, file), [])
    if what == "put":
        session, number, rest = value
        new = exports.row(table, f"s{session}", number, bad=rest == 0)
        exports.export(table, file, [*rows, {**new, "session_id": ""} if rest == 1 else new])
    elif what == "session":
        session, hours = value
        exports.sessions[f"s{session}"] = hours + session / 10
    elif what == "no session":
        exports.sessions.pop(f"s{value}", None)
    elif what == "drop" and (table, file) in exports.files:
        exports.export(table, file, [row for row in rows if row["session_id"] != f"s{value}"])
    elif what == "remove":
        exports.export(table, file, None)
    elif what == "user":
        exports.users = ["u0", "u1"]
    elif what == "lose an hour":
        contract = SOURCE_TABLES[table].contract
        for name in exports.runs:
            for one in exports.lake(name).hours(contract)[2:3]:
                exports.lake(name).remove(contract, one)


@contextmanager
def in_small_groups() -> Iterator[None]:
    """Let no two hours of rows fit into memory together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_policy, "BYTES_OF_ROW", 2**40)
        yield


@given(rounds=_rounds)
@examples(4, 40)
def test_known_files_give_the_lake_of_runs_that_know_none(
    rounds: list[tuple[list[tuple[str, str, str, Any]], int]],
) -> None:
    with TemporaryDirectory() as one:
        exports = Exports(Path(one), lakes=("knows", "forgets", "reads in groups"))
        hours = 30
        for changes, later in rounds:
            for change in changes:
                _make(exports, *change)
            hours += later
            exports.run(hours, "knows")
            clear_cache(exports.lake("forgets").root)
            exports.run(hours, "forgets")
            assert exports.content("knows") == exports.content("forgets")
            with in_small_groups():
                exports.run(hours, "reads in groups")
            assert exports.content("reads in groups") == exports.content("knows")


@given(rounds=_rounds)
@examples(4, 40)
def test_files_in_any_order_within_the_look_back_end_as_from_scratch(
    rounds: list[tuple[list[tuple[str, str, str, Any]], int]],
) -> None:
    with TemporaryDirectory() as one:
        exports = Exports(Path(one), lookback_hours=200, lakes=("knows", "scratch"))
        newest = hours = 30
        for changes, later in rounds:
            for change in changes:
                _make(exports, *change)
            hours += later
            newest = max(newest, hours)
            exports.run(hours, "knows")
        exports.run(newest, "knows")
        exports.run(newest, "scratch")
        assert exports.content("knows") == exports.content("scratch")


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of keystrokes that are opened from now on, by name; `whole` if all of them are."""
    found: list[str] = []
    scan = FileSource.scan

    def listening(
        source: FileSource, table: SourceTable, window: Window | None = None, parts: Collection[str] | None = None
    ) -> pl.LazyFrame:
        if table.name == SESSION_KEYSTROKES.name:
            found.extend(["whole"] if parts is None else [Path(part).stem for part in parts])
        return scan(source, table, window, parts)

    monkeypatch.setattr(FileSource, "scan", listening)
    return found


def _typed(exports: Exports, file: str, session: str, hours: float | None) -> None:
    if hours is not None:
        exports.sessions[session] = hours
    exports.export("session_keystrokes", file, [exports.row("session_keystrokes", session, 0)])


def test_unchanged_keystrokes_are_not_opened(exports: Exports, reads: list[str]) -> None:
    exports.run(10)
    reads.clear()
    result = exports.run(11)["session_keystrokes"]
    assert reads == []
    assert (result.metadata["files_read"], result.metadata["files_skipped"]) == (0, 1)


def test_an_hour_without_news_is_written_empty(exports: Exports) -> None:
    exports.run(10)
    exports.run(11)
    assert exports.lake().exists(SESSION_KEYSTROKES, Hour.ending_at(START + 11 * HOUR))


def test_a_session_without_keystrokes_opens_none(exports: Exports, reads: list[str]) -> None:
    _typed(exports, "orphan", "nowhere", None)
    exports.run(10)
    exports.sessions["new"] = 10.5
    reads.clear()
    exports.run(11)
    assert reads == []


def test_keystrokes_before_their_session_are_taken_in_when_it_comes(exports: Exports, reads: list[str]) -> None:
    _typed(exports, "early", "new", None)
    exports.run(10)
    exports.sessions["new"] = 10.5
    reads.clear()
    exports.run(11)
    assert set(reads) == {"early"}
    assert sorted(exports.lake().scan(SESSION_KEYSTROKES).collect()["session_id"]) == ["new", "s0"]


def test_a_run_reads_new_files_and_those_of_the_look_back(exports: Exports, reads: list[str]) -> None:
    _typed(exports, "recent", "s1", 9.5)
    exports.run(10)
    _typed(exports, "new", "s2", 10.5)
    reads.clear()
    result = exports.run(11)["session_keystrokes"]
    assert set(reads) == {"new", "recent"}
    assert (result.metadata["files_read"], result.metadata["files_skipped"]) == (2, 1)


@pytest.mark.parametrize("session", ["s0", "s2"], ids=["to a later group", "to an earlier group"])
def test_rows_that_move_to_another_group_of_hours_are_not_lost(session: str, tmp_path: Path) -> None:
    exports = Exports(tmp_path, lookback_hours=30)
    strict = {"accept_deletions": False, "max_removed_percent": 0, "min_removed_rows": 1}
    run = exports.runs["lake"]
    exports.runs["lake"] = replace(run, settings=run.settings.model_copy(update=strict))
    exports.sessions = {"s0": 1.5, "s1": 5.5, "s2": 9.5}
    rows = [exports.row("session_keystrokes", one, number) for one in exports.sessions for number in range(3)]
    exports.export("session_keystrokes", "first", rows)
    with in_small_groups():
        exports.run(12)
        exports.sessions[session] = 7.5
        exports.run(12)
    hours = {one: exports.lake().rows(SESSION_KEYSTROKES, one) for one in exports.lake().hours(SESSION_KEYSTROKES)}
    assert hours[Hour.containing(START + 7 * HOUR)] == 3
    assert sum(hours.values()) == 9


def test_rejected_rows_of_unread_files_stay(exports: Exports, reads: list[str]) -> None:
    _typed(exports, "orphan", "nowhere", None)
    exports.run(10)
    _typed(exports, "new", "s2", 10.5)
    reads.clear()
    result = exports.run(11)["session_keystrokes"]
    assert "orphan" not in reads
    assert result.findings["rejected_rows"] == 1
    assert exports.lake().scan(REJECTED_ROWS).collect().height == 1


def test_another_limit_of_the_look_back_reads_what_it_reaches(exports: Exports, reads: list[str]) -> None:
    exports.run(10)
    exports.run(20)
    settings = exports.runs["lake"].settings.model_copy(update={"lookback_hours": 100})
    exports.runs["lake"] = RunContext.of(settings, exports.lake())
    _typed(exports, "new", "s2", 20.5)
    reads.clear()
    exports.run(21)
    assert {"first", "new"} <= set(reads) or "whole" in reads


def test_files_are_read_again_after_a_source_without_known_files(
    exports: Exports, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.run(10)
    with monkeypatch.context() as patch:
        patch.setattr(FileSource, "part_versions", lambda *_: None)
        exports.run(10)
    reads.clear()
    exports.run(10)
    assert reads
