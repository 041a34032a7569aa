"""Files that come, change and go, against one run over what is left; and what a run leaves unread."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import REJECTED_ROWS, SOURCE_TABLES
from ghost_pipeline.contracts.source import SourceTable
from ghost_pipeline.defs.raw import RAW_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest import read_policy, rejects
from ghost_pipeline.ingest.part_ledger import forget_ledger
from ghost_pipeline.lake.cache import clear_cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.source import Window
from ghost_pipeline.windows import HOUR, Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.examples import examples

START = datetime(2025, 3, 10, tzinfo=UTC)
OTHERS = {"user_progress": "cohorts", "practice_sessions": "keyboards"}
FEW_BAD = 5
Row = dict[str, object]


class Exports:
    """A folder of Parquet files of one event table, each written only when it changes, and a lake."""

    def __init__(self, folder: Path, table: str) -> None:
        self.source, self.table = folder / "source", SOURCE_TABLES[table]
        self.folder = self.source / table
        self.folder.mkdir(parents=True)
        self.files: dict[str, list[Row]] = {}
        self.users = ["u0", "u1"]
        self.export("first", [self.row("first", 0)])
        _write(self.source / f"{OTHERS[table]}.parquet", SOURCE_TABLES[OTHERS[table]], [])
        settings = Settings.load(source=str(self.source), data=folder / "data", accept_deletions=True, lookback_hours=2)
        self.run_context = RunContext.of(settings)

    @property
    def lake(self) -> Lake:
        return self.run_context.lake

    def row(self, name: str, hours: float, *, user: str = "u0", bad: bool = False, timed: bool = True) -> Row:
        at = f"{START + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S.%fZ}" if timed else "never"
        if self.table.name == "user_progress":
            kind = "podcast" if bad else "reading"
            return {"progress_id": name, "user_id": user, "task_type": kind, "completed_at": at}
        end = "never" if bad else "2025-03-20T00:00:00Z"
        return {"session_id": name, "user_id": user, "keyboard_id": "k", "start_time": at, "end_time": end}

    def export(self, file: str, rows: list[Row] | None) -> None:
        if rows is None:
            self.files.pop(file, None)
            (self.folder / f"{file}.parquet").unlink(missing_ok=True)
            return
        self.files[file] = rows
        beside = self.source / "beside"
        _write(beside, self.table, rows)
        beside.replace(self.folder / f"{file}.parquet")

    def run(self, hours: int) -> dict[str, TableResult]:
        """Run the hour that ends so many hours after the start."""
        users: list[Row] = [{"user_id": one, "created_at": "2025-01-01T00:00:00Z"} for one in self.users]
        _write(self.source / "users.parquet", SOURCE_TABLES["users"], users)
        wanted = {"users", OTHERS[self.table.name], self.table.name}
        steps = [asset for asset in RAW_ASSETS if asset.contract.name in wanted]
        hour = Hour.ending_at(START + hours * HOUR)
        return {asset.contract.name: compute_one(asset.compute, self.run_context, hour) for asset in steps}

    def content(self) -> Mapping[str, bytes]:
        """The files of the table and of its rejected rows, by name; empty hours are left out."""
        found = {}
        for one in self.lake.hours(self.table.contract):
            if self.lake.rows(self.table.contract, one):
                found[one.key] = self.lake.path(self.table.contract, one).read_bytes()
        for bad in self.lake.rejects(REJECTED_ROWS, self.table.name):
            found[bad.key] = self.lake.path(REJECTED_ROWS, bad).read_bytes()
        return found


def _write(path: Path, table: SourceTable, rows: list[Row]) -> None:
    schema = dict.fromkeys((column.name for column in table.columns), pl.String)
    times = [column.name for column in table.columns if column.name == table.time]
    frame = pl.DataFrame(rows, schema=schema)
    if all(row.get(name) != "never" for row in rows for name in times):
        # As exports have it: a time of its own type, whose statistics say which row groups a run needs.
        frame = frame.with_columns(pl.col(times).str.to_datetime(time_zone="UTC"))
    frame.write_parquet(path)


_files = st.sampled_from(["a", "b", "c"])
_rows = st.tuples(
    st.integers(0, 6), st.integers(0, 70), st.sampled_from(["u0", "u1", "u2"]), st.booleans(), st.integers(0, 9)
)
_changes = st.one_of(
    st.tuples(st.just("put"), _files, _rows),
    st.tuples(st.just("put"), _files, _rows),
    st.tuples(st.just("drop"), _files, st.integers(0, 6)),
    st.tuples(st.just("remove"), _files, st.none()),
    st.tuples(st.just("user"), st.just(""), st.none()),
    st.tuples(st.just("lose an hour"), st.just(""), st.none()),
    st.tuples(st.just("forget"), st.just(""), st.none()),
)
_rounds = st.lists(st.tuples(st.lists(_changes, max_size=5), st.integers(-3, 12)), min_size=2, max_size=6)


@pytest.mark.parametrize("table", OTHERS)
@given(rounds=_rounds, memory=st.sampled_from(["enough", "for one hour"]))
@examples(4, 100)
def test_files_in_any_order_end_as_from_scratch(
    table: str, rounds: list[tuple[list[tuple[str, str, Any]], int]], memory: str
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other, pytest.MonkeyPatch.context() as patch:
        if memory == "for one hour":
            patch.setattr(read_policy, "BYTES_OF_ROW", 2**40)
        exports, scratch = Exports(Path(one), table), Exports(Path(other), table)
        newest = hours = 30
        for changes, later in rounds:
            for change in changes:
                _make(exports, *change)
            hours = max(hours + later, 1)
            newest = max(newest, hours)
            exports.run(hours)
        exports.run(newest)
        scratch.users = exports.users
        for name, rows in exports.files.items():
            scratch.export(name, rows)
        scratch.run(newest)
        assert exports.content() == scratch.content()


def _make(exports: Exports, what: str, file: str, value: Any) -> None:  # noqa: ANN401 - what a change needs
    rows = exports.files.get(file, [])
    if what == "put":
        name, hours, user, bad, rest = value
        new = exports.row(f"e{name}", hours + rest / 10, user=user, bad=bad and rest < FEW_BAD, timed=rest != 0)
        exports.export(file, [*rows, new])
    elif what == "drop" and file in exports.files:
        key = exports.table.key[0]
        exports.export(file, [row for row in rows if row[key] != f"e{value}"])
    elif what == "remove":
        exports.export(file, None)
    elif what == "user":
        exports.users = ["u0", "u1", "u2"]
    elif what == "lose an hour":
        for one in exports.lake.hours(exports.table.contract)[3:4]:
            exports.lake.remove(exports.table.contract, one)
    elif what == "forget":
        forget_ledger(exports.lake, exports.table.name)


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path, "user_progress")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened from now on, by name; a table that is read whole by its own name."""
    found: list[str] = []
    scan = FileSource.scan

    def listening(
        source: FileSource, table: SourceTable, window: Window | None = None, parts: Collection[str] | None = None
    ) -> pl.LazyFrame:
        found.extend([table.name] if parts is None else [Path(part).stem for part in parts])
        return scan(source, table, window, parts)

    scan_parts = FileSource.scan_parts

    def listening_to_parts(source: FileSource, table: SourceTable, parts: Sequence[str]) -> Iterator[pl.LazyFrame]:
        found.extend(Path(part).stem for part in parts)
        return scan_parts(source, table, parts)

    monkeypatch.setattr(FileSource, "scan", listening)
    monkeypatch.setattr(FileSource, "scan_parts", listening_to_parts)
    return found


def test_a_run_reads_new_and_changed_files_only(exports: Exports, reads: list[str]) -> None:
    exports.export("old", [exports.row("e1", 1)])
    exports.run(10)
    exports.export("new", [exports.row("e2", 10)])
    exports.export("first", [exports.row("first", 0), exports.row("e3", 10)])
    reads.clear()
    result = exports.run(11)["user_progress"]
    assert sorted(reads) == ["first", "new", "users"]
    assert (result.metadata["files_read"], result.metadata["files_skipped"]) == (2, 1)


def test_an_unchanged_source_is_not_opened(exports: Exports, reads: list[str]) -> None:
    exports.run(10)
    reads.clear()
    hour = Hour.ending_at(START + 11 * HOUR)
    for asset in RAW_ASSETS:
        if asset.contract.name in {"users", "cohorts", "user_progress"}:
            compute_one(asset.compute, exports.run_context, hour)
    assert reads == []


def test_an_unchanged_table_adds_no_version(exports: Exports) -> None:
    exports.run(10)
    asset = next(asset for asset in RAW_ASSETS if asset.contract.name == "users")
    hour = Hour.ending_at(START + 11 * HOUR)
    assert compute_one(asset.compute, exports.run_context, hour).rows == 0
    assert exports.lake.exists(asset.contract, hour)


def test_a_row_that_was_later_than_the_run_is_taken_in_by_the_run_of_its_hour(
    exports: Exports, reads: list[str]
) -> None:
    exports.export("ahead", [exports.row("e1", 10.5)])
    exports.run(10)
    reads.clear()
    exports.run(11)
    assert "first" not in reads
    assert _ids(exports) == ["e1", "first"]


def test_a_late_row_reads_its_hour_and_no_other(exports: Exports, reads: list[str]) -> None:
    for day in range(3):
        exports.export(f"day{day}", [exports.row(f"e{day}-{hour}", 24 * day + hour) for hour in range(24)])
    exports.run(73)
    exports.export("late", [exports.row("late", 5.5)])
    reads.clear()
    exports.run(74)
    assert sorted(set(reads) - {"users"}) == ["day0", "late"]
    assert "late" in _ids(exports)


def test_a_user_who_comes_later_has_only_the_files_with_their_rows_read(exports: Exports, reads: list[str]) -> None:
    exports.export("theirs", [exports.row("e1", 3, user="u2")])
    exports.export("others", [exports.row("e2", 4)])
    exports.run(10)
    assert _ids(exports) == ["e2", "first"]
    exports.users.append("u2")
    reads.clear()
    exports.run(11)
    assert sorted(set(reads) - {"users"}) == ["theirs"]
    assert _ids(exports) == ["e1", "e2", "first"]


def test_a_repeat_in_a_new_file_of_a_key_of_long_ago_is_one_event(exports: Exports, reads: list[str]) -> None:
    for day in range(3):
        exports.export(f"day{day}", [exports.row(f"e{day}", 24 * day + 1)])
    exports.run(73)
    exports.export("again", [exports.row("e0", 73.5)])
    reads.clear()
    exports.run(74)
    assert sorted(set(reads) - {"users"}) == ["again", "day0"]
    assert _ids(exports) == ["e0", "e1", "e2", "first"]


def test_a_growing_file_writes_only_the_hours_that_grew(exports: Exports) -> None:
    rows = [exports.row(f"e{hour}", hour) for hour in range(1, 9)]
    exports.export("growing", rows)
    exports.run(10)
    exports.export("growing", [*rows, exports.row("new", 3.5)])
    result = exports.run(11)["user_progress"]
    assert result.metadata["rows_read_in_window"] == 2
    assert "new" in _ids(exports)


@pytest.mark.parametrize("setting", [{"max_task_minutes": 5}, {"source_keeps": 100}])
def test_another_setting_of_validation_reads_everything_again(
    exports: Exports, reads: list[str], setting: dict[str, int]
) -> None:
    exports.run(10)
    settings = exports.run_context.settings.model_copy(update=setting)
    exports.run_context = RunContext.of(settings, exports.lake)
    reads.clear()
    exports.run(11)
    assert "first" in reads


def test_without_its_cache_a_lake_reads_everything_and_changes_nothing(exports: Exports, reads: list[str]) -> None:
    exports.export("bad", [exports.row("e1", 3, bad=True), exports.row("e2", 3, timed=False)])
    exports.run(10)
    before = exports.content()
    clear_cache(exports.lake.root)
    reads.clear()
    exports.run(10)
    assert {"first", "bad"} <= set(reads)
    assert exports.content() == before


def test_a_file_that_is_gone_stops_the_run_unless_deletions_are_accepted(exports: Exports) -> None:
    exports.export("gone", [exports.row(f"e{number}", 3) for number in range(20)])
    exports.run(10)
    before = exports.content()
    careful = exports.run_context.settings.model_copy(update={"accept_deletions": False})
    exports.run_context = RunContext.of(careful, exports.lake)
    exports.export("gone", None)
    with pytest.raises(SourceError, match=r"2025-03-10-03:00: 20 of 20 rows are no longer in the source"):
        exports.run(11)
    assert exports.content() == before


def test_rows_in_several_parts_of_memory_are_guarded_together(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.export("moving", [exports.row(f"e{number}", 3) for number in range(20)])
    exports.run(10)
    careful = exports.run_context.settings.model_copy(update={"accept_deletions": False})
    exports.run_context = RunContext.of(careful, exports.lake)
    exports.export("moving", [exports.row(f"e{number}", 7) for number in range(20)])
    monkeypatch.setattr(read_policy, "BYTES_OF_ROW", 2**40)
    exports.run(11)
    assert len(_ids(exports)) == 21


def test_a_row_without_an_hour_is_rejected_once_however_often_its_file_is_read(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_policy, "BYTES_OF_ROW", 2**40)
    exports.export("bad", [exports.row("e1", 3), exports.row("e2", 3, timed=False)])
    exports.run(10)
    assert exports.lake.scan(REJECTED_ROWS).collect().height == 1


def test_rejected_rows_from_before_what_a_source_keeps_stay(exports: Exports) -> None:
    settings = exports.run_context.settings.model_copy(update={"source_keeps": 20})
    exports.run_context = RunContext.of(settings, exports.lake)
    old = [exports.row("e1", 3), exports.row("e2", 3, bad=True), exports.row("e3", 3, user="u2")]
    exports.export("old", old)
    exports.run(10)
    exports.export("old", None)
    exports.run(40)
    assert _rejected_ids(exports) == ["e2", "e3"]
    exports.users.append("u2")
    exports.export("old", old[2:])
    exports.run(41)
    assert (_ids(exports), _rejected_ids(exports)) == (["e1", "e3", "first"], ["e2"])


def test_rejected_rows_in_temporary_files_are_all_written(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    exports.export("bad", [exports.row(f"e{number}", number / 2, bad=True) for number in range(12)])
    exports.run(10)
    before = exports.content()
    clear_cache(exports.lake.root)
    for one in exports.lake.rejects(REJECTED_ROWS, exports.table.name):
        exports.lake.remove(REJECTED_ROWS, one)
    monkeypatch.setattr(read_policy, "BYTES_OF_ROW", 2**40)
    monkeypatch.setattr(rejects, "_HELD_BYTES", 0)
    exports.run(10)
    assert exports.content() == before


def _rejected_ids(exports: Exports) -> list[str]:
    rows = exports.lake.scan(REJECTED_ROWS).collect()["row"]
    return rows.str.json_path_match("$.progress_id").sort().to_list()


def test_rejected_rows_are_those_of_the_files_after_a_source_without_parts(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports.export("bad", [exports.row("e1", 9, bad=True), exports.row("e2", 9, timed=False)])
    exports.run(10)
    before = exports.content()
    file, beside = exports.folder / "bad.parquet", exports.source / "beside"
    with monkeypatch.context() as database:
        database.setattr(FileSource, "part_versions", lambda _source, _table: None)
        file.rename(beside)
        exports.run(10)
    assert set(exports.content()) < set(before)
    beside.rename(file)
    exports.run(10)
    assert exports.content() == before


def _ids(exports: Exports) -> list[str]:
    return exports.lake.scan(exports.table.contract).collect()[exports.table.key[0]].sort().to_list()
