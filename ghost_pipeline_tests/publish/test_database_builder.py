"""The published database: what is in it, how fresh it says it is, and that it is replaced as a whole."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
from filelock import FileLock
from polars.testing import assert_frame_equal

from ghost_pipeline.contracts import CONTRACTS, Contract
from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_RELEASED_RANKS
from ghost_pipeline.contracts.published import PUBLISHED_ONLY, TABLE_INFO
from ghost_pipeline.domain.ghost.percentile_rank import RANK_COLUMNS
from ghost_pipeline.domain.ghost.released_ranks import with_released_ranks
from ghost_pipeline.errors import LakeError, PublishError
from ghost_pipeline.lake import locking
from ghost_pipeline.lake.atomic import STAGING, clear_leftovers
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish import connection
from ghost_pipeline.publish.connection import connect
from ghost_pipeline.publish.database_builder import STORAGE_VERSION, publish, with_gaps
from ghost_pipeline.windows import Month
from ghost_pipeline_tests.samples import HOUR, MONTH, partition_of, sample

PUBLISHED = [contract for contract in CONTRACTS.values() if contract.published]
INTERNAL = {
    "users",
    "cohorts",
    "user_progress",
    "session_keystrokes",
    "session_ngram_speed",
    "rejected_rows",
    "cohort_ghost_data",
}
ROOT = Path(__file__).parent.parent.parent
STATS = CONTRACTS["user_ghost_stats"]
ERRORS = CONTRACTS["session_ngram_errors"]
DEAD = 2**31 - 1
"""The id of no process."""
BENCHMARKS = CONTRACTS["ghost_benchmarks"]
HISTORY = CONTRACTS["ngram_speed_summary_history"]
SESSIONS = CONTRACTS["practice_sessions"]

HISTORIES = [contract for contract in PUBLISHED if contract.append_only]
PUBLISHED_TABLES = [*(one for one in PUBLISHED if not one.append_only), *PUBLISHED_ONLY]

every_published_table = pytest.mark.parametrize("contract", PUBLISHED_TABLES, ids=lambda one: one.name)
every_relation = pytest.mark.parametrize("contract", [*PUBLISHED_TABLES, *HISTORIES], ids=lambda one: one.name)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ghost.duckdb"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with some rows of every published table; its folder holds the lake, too."""
    folder = tmp_path_factory.mktemp("published")
    lake = Lake(folder / "lake")
    for contract in CONTRACTS.values():
        lake.write(contract, partition_of(contract), sample(contract, 20, 1))
    publish(lake, folder / "ghost.duckdb")
    return folder / "ghost.duckdb"


@contextmanager
def reading(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def rows_of(database: Path, table: str) -> int:
    with reading(database) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 - our own names
    return int(found[0])


def table_info(database: Path) -> dict[str, tuple[object, ...]]:
    with reading(database) as connection:
        rows = connection.execute('SELECT "table", as_of, rows, inputs_hash FROM table_info').fetchall()
    return {row[0]: row[1:] for row in rows}


def hashes(database: Path) -> dict[str, object]:
    return {table: row[2] for table, row in table_info(database).items()}


def test_rows_that_do_not_fit_into_memory_lie_where_leftovers_are_cleared(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        connection.execute("SET memory_limit = '60MB'; SET threads = 1")
        connection.execute("CREATE TABLE t AS SELECT range, hash(range)::VARCHAR AS h FROM range(3000000) ORDER BY h")
        (folder,) = (tmp_path / STAGING).iterdir()
        assert folder.name.startswith(f"{socket.gethostname()}@{os.getpid()}-")
        assert list(folder.iterdir())
    assert list((tmp_path / STAGING).iterdir()) == []
    left = folder.with_name(f"{socket.gethostname()}@{DEAD}-0.folder.tmp")
    left.mkdir()
    (left / "duckdb_temp_block-1.block").write_text("rows", encoding="utf-8")
    clear_leftovers(tmp_path)
    assert not left.exists()


def test_one_module_connects_to_duckdb_and_one_to_a_source_of_its_kind() -> None:
    package = Path(connection.__file__).parent.parent
    found = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if "duckdb.connect(" in file.read_text(encoding="utf-8")
    }
    # A source that is a DuckDB file has a connection of its own: it is locked before it attaches a file that others
    # wrote, may open no other one, and spills outside the data folder, which sources do not know.
    assert found == {"publish/connection.py", "sources/duckdb_file.py"}


def test_a_table_with_a_gap_is_published_by_an_erasure_alone(lake: Lake, database: Path) -> None:
    for hour in (HOUR, HOUR.next().next()):
        lake.write(ERRORS, hour, sample(ERRORS, 3, hour.hour))
    assert with_gaps(lake) == [ERRORS.name]
    with pytest.raises(LakeError, match="1 of 3 hours"):
        publish(lake, database)
    publish(lake, database, allow_gaps=True)
    assert rows_of(database, ERRORS.name) == 6


# --- what is in it ---


def test_the_published_tables_are_there_and_no_other(full: Path) -> None:
    with reading(full) as connection:
        tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert tables == {contract.name for contract in PUBLISHED_TABLES}
    assert {name for (name,) in views} == {contract.name for contract in HISTORIES}


def test_what_could_give_back_a_single_persons_figures_is_not_published() -> None:
    assert set(CONTRACTS) >= INTERNAL
    assert {contract.name for contract in PUBLISHED} & INTERNAL == set()


@every_published_table
def test_a_published_table_has_the_key_of_its_contract(contract: Contract, full: Path) -> None:
    with reading(full) as connection:
        keys = connection.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() "
            "WHERE constraint_type = 'PRIMARY KEY' AND table_name = ?",
            [contract.name],
        ).fetchall()
    assert keys == ([(contract.primary_key,)] if contract.primary_key else [])


@every_relation
def test_a_published_relation_has_the_comments_of_its_contract(contract: Contract, full: Path) -> None:
    kind = "view" if contract.append_only else "table"
    with reading(full) as connection:
        table = connection.execute(
            f"SELECT comment FROM duckdb_{kind}s() WHERE {kind}_name = ?",  # noqa: S608 - our own names
            [contract.name],
        ).fetchall()
        columns = connection.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ?", [contract.name]
        ).fetchall()
    assert table == [(contract.description,)]
    assert dict(columns) == contract.column_descriptions


@every_published_table
def test_a_published_table_has_the_indexes_of_its_contract(contract: Contract, full: Path) -> None:
    with reading(full) as connection:
        found = connection.execute(
            "SELECT count(*) FROM duckdb_indexes() WHERE table_name = ?", [contract.name]
        ).fetchall()
    assert found == [(len(contract.indexes),)]


@pytest.mark.parametrize("contract", PUBLISHED, ids=lambda one: one.name)
def test_the_rows_are_those_of_the_lake(contract: Contract, full: Path) -> None:
    lake = Lake(full.parent / "lake")
    with reading(full) as connection:
        found = connection.sql(f"FROM {contract.name}").pl()
    # The lake has exact ranks, which are never published.
    exact = RANK_COLUMNS if contract is STATS else ()
    assert_frame_equal(found.drop(exact), lake.scan(contract).drop(exact).collect(), check_row_order=False)


@pytest.mark.parametrize("has_ranks", [True, False], ids=["with ranks", "ledger of an earlier version"])
def test_users_are_published_with_the_ranks_that_answers_from_the_lake_have(
    lake: Lake, database: Path, *, has_ranks: bool
) -> None:
    users = sample(STATS, 9, 1).with_columns(cohort_id=pl.Series(["a", "b", None] * 3))
    ranks = sample(USER_RELEASED_RANKS, 6, 2).with_columns(
        user_id=pl.concat([users["user_id"][:5], pl.Series(["gone"])]),
        cohort_id=pl.Series(["a", "a", "a", None, "b", "b"]),
    )
    lake.write(STATS, HOUR, users)
    lake.write(COHORT_GHOST_RELEASE, HOUR, sample(COHORT_GHOST_RELEASE, 2, 3))
    if has_ranks:
        lake.write(USER_RELEASED_RANKS, HOUR, ranks)
    lake.write(USER_RELEASED_RANKS, HOUR.next(), sample(USER_RELEASED_RANKS, 6, 2))
    publish(lake, database)
    expected = with_released_ranks(users.lazy(), (ranks if has_ranks else ranks.clear()).lazy()).collect()
    with reading(database) as connection:
        assert_frame_equal(connection.sql("FROM user_ghost_stats").pl(), expected, check_row_order=False)
    ranked = (
        expected["tasks_completed_percentile_cohort"].count(),
        expected["tasks_completed_percentile_global"].count(),
    )
    of_sample = ranks["tasks_completed_percentile_global"][:5].count()
    assert ranked[1] == (of_sample if has_ranks else 0)
    assert ranked[0] <= (2 if has_ranks else 0)


def test_state_is_that_of_the_newest_hour(lake: Lake, database: Path) -> None:
    newest = sample(STATS, 4, 2)
    lake.write(STATS, HOUR, sample(STATS, 9, 1))
    lake.write(STATS, HOUR.next(), newest)
    publish(lake, database)
    with reading(database) as connection:
        found = connection.sql("FROM user_ghost_stats").pl()
    assert_frame_equal(found.drop(RANK_COLUMNS), newest.drop(RANK_COLUMNS), check_row_order=False)


def test_a_history_is_that_of_all_hours(lake: Lake, database: Path) -> None:
    for number, hour in enumerate((HOUR, HOUR.next()), start=1):
        lake.write(HISTORY, hour, sample(HISTORY, 3, number))
    publish(lake, database)
    assert rows_of(database, "ngram_speed_summary_history") == 6


def test_the_sessions_of_a_typist_on_a_keyboard_lie_together(lake: Lake, database: Path) -> None:
    sessions = sample(SESSIONS, 50, 1).with_columns(user_id=pl.Series(["b", "a"] * 25))
    lake.write(SESSIONS, HOUR, sessions)
    publish(lake, database)
    with reading(database) as connection:
        found = connection.sql("FROM practice_sessions").pl()
    assert found.equals(sessions.sort("user_id", "keyboard_id", "start_time", "session_id"))


def test_an_empty_newest_hour_is_an_empty_table(lake: Lake, database: Path) -> None:
    lake.write(STATS, HOUR, sample(STATS, 9, 1))
    lake.write(STATS, HOUR.next(), STATS.empty())
    publish(lake, database)
    assert rows_of(database, "user_ghost_stats") == 0


def test_every_month_and_every_hour_of_events_is_there(lake: Lake, database: Path) -> None:
    for number, month in enumerate((MONTH, Month.containing(MONTH.as_of)), start=1):
        lake.write(BENCHMARKS, month, sample(BENCHMARKS, 5, number))
    for number, hour in enumerate((HOUR, HOUR.next()), start=1):
        lake.write(ERRORS, hour, sample(ERRORS, 3, number))
    publish(lake, database)
    assert (rows_of(database, "ghost_benchmarks"), rows_of(database, "session_ngram_errors")) == (10, 6)


def test_a_lake_without_anything_gives_empty_tables(lake: Lake, database: Path) -> None:
    publish(lake, database)
    assert {row[:2] for row in table_info(database).values()} == {(None, 0)}


def test_the_file_can_be_opened_by_the_release_before(full: Path) -> None:
    with reading(full) as connection:
        ((tags,),) = connection.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert STORAGE_VERSION == "v1.4.0"
    assert tags == {"storage_version": f"{STORAGE_VERSION}+"}


def test_folders_may_have_the_signs_of_sql_and_of_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "Ada's [1] * data"
    lake, alike = Lake(folder / "lake"), Lake(tmp_path / "Ada's 1 x data" / "lake")
    lake.write(STATS, HOUR, sample(STATS, 3, 1))
    alike.write(STATS, HOUR, sample(STATS, 5, 1))
    publish(lake, folder / "ghost.duckdb")
    assert rows_of(folder / "ghost.duckdb", "user_ghost_stats") == 3


# --- table_info ---


def test_table_info_names_every_published_table(full: Path) -> None:
    assert set(table_info(full)) == {contract.name for contract in PUBLISHED}


def test_table_info_fulfils_its_contract(full: Path) -> None:
    with reading(full) as connection:
        assert TABLE_INFO.faults(connection.sql("FROM table_info").pl()) == []


@pytest.mark.parametrize("contract", PUBLISHED, ids=lambda one: one.name)
def test_table_info_says_rows_and_clock(contract: Contract, full: Path) -> None:
    as_of, rows, _ = table_info(full)[contract.name]
    assert as_of == (MONTH if contract.partitioning is Partitioning.MONTH else HOUR).as_of
    assert rows == rows_of(full, contract.name) == 20


def test_publish_gives_what_table_info_says(lake: Lake, database: Path) -> None:
    lake.write(STATS, HOUR, sample(STATS, 3, 1))
    given = {one.table: (one.as_of, one.rows, one.inputs_hash) for one in publish(lake, database)}
    assert table_info(database) == given


def test_hashes_stay_when_nothing_changes(full: Path, lake: Lake, database: Path) -> None:
    for contract in CONTRACTS.values():
        lake.write(contract, partition_of(contract), sample(contract, 20, 1))
    publish(lake, database)
    assert hashes(database) == hashes(full)


@pytest.mark.parametrize("changed", PUBLISHED, ids=lambda one: one.name)
def test_a_hash_changes_with_its_own_inputs_alone(changed: Contract, full: Path, lake: Lake, database: Path) -> None:
    shutil.copytree(full.parent / "lake", lake.root)
    lake.write(changed, partition_of(changed), sample(changed, 20, 2))
    publish(lake, database)
    before, after = hashes(full), hashes(database)
    assert {table for table in after if after[table] != before[table]} == {changed.name}


def test_an_older_hour_is_no_input_of_the_newest_state(lake: Lake, database: Path) -> None:
    lake.write(STATS, HOUR.next(), sample(STATS, 3, 1))
    publish(lake, database)
    before = hashes(database)
    lake.write(STATS, HOUR, sample(STATS, 3, 2))
    publish(lake, database)
    assert hashes(database) == before


# --- replacing it ---

COUNT = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql('FROM user_ghost_stats').shape[0])"
PUBLISH = """
import sys
from pathlib import Path
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish

for _ in range(2):
    publish(Lake(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_an_open_reader_keeps_its_state_and_a_new_one_sees_the_next(lake: Lake, database: Path) -> None:
    lake.write(STATS, HOUR, sample(STATS, 3, 1))
    publish(lake, database)
    with reading(database) as connection:
        lake.write(STATS, HOUR, sample(STATS, 5, 1))
        publish(lake, database)
        assert connection.execute("SELECT count(*) FROM user_ghost_stats").fetchall() == [(3,)]
        fresh = subprocess.run([sys.executable, "-c", COUNT, str(database)], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "5"


def test_runs_that_publish_at_once_all_end_well(lake: Lake, database: Path) -> None:
    lake.write(STATS, HOUR, sample(STATS, 50, 1))
    arguments = [sys.executable, "-c", PUBLISH, str(lake.root), str(database)]
    processes = [subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    assert ends == [("", 0)] * 3
    assert rows_of(database, "user_ghost_stats") == 50
    assert list((database.parent / STAGING).iterdir()) == []


def test_a_build_that_fails_leaves_the_old_file(lake: Lake, database: Path) -> None:
    lake.write(STATS, HOUR, sample(STATS, 3, 1))
    publish(lake, database)
    before = database.read_bytes()
    lake.path(STATS, HOUR).write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(
        PublishError, match=rf"{database}: cannot be built \(.*\); the previous published database stays"
    ):
        publish(lake, database)
    assert database.read_bytes() == before
    assert list((database.parent / STAGING).iterdir()) == []


def test_rows_that_break_the_key_are_refused_and_leave_the_old_file(lake: Lake, database: Path) -> None:
    publish(lake, database)
    lake.write(BENCHMARKS, MONTH, sample(BENCHMARKS, 3, 1))
    again = lake.path(BENCHMARKS, Month.containing(MONTH.as_of))
    again.parent.mkdir(parents=True)
    again.write_bytes(lake.path(BENCHMARKS, MONTH).read_bytes())
    with pytest.raises(PublishError, match="cannot be built"):
        publish(lake, database)
    assert rows_of(database, "ghost_benchmarks") == 0


WRITE = """
import duckdb, os, signal, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE mine AS SELECT 1 AS one")
connection.execute("INSERT INTO mine VALUES (2)")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_log_of_a_client_that_wrote_and_was_killed_does_not_reach_the_next_readers(
    lake: Lake, database: Path
) -> None:
    lake.write(STATS, HOUR, sample(STATS, 3, 1))
    publish(lake, database)
    subprocess.run([sys.executable, "-c", WRITE, str(database)], check=False)
    log = database.with_name(f"{database.name}.wal")
    assert log.exists()
    lake.write(STATS, HOUR, sample(STATS, 5, 1))
    publish(lake, database)
    assert not log.exists()
    assert rows_of(database, "user_ghost_stats") == 5


def test_leftovers_of_a_killed_run_are_removed(lake: Lake, database: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    staging = database.parent / STAGING
    staging.mkdir()
    for end in ("", ".wal"):
        (staging / f"{socket.gethostname()}@{process.pid}-0.duckdb.tmp{end}").write_bytes(b"half")
    publish(lake, database)
    assert list(staging.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(LakeError, match=f"{tmp_path}/file/.ghost.duckdb.lock: cannot be written"):
        publish(lake, tmp_path / "file" / "ghost.duckdb")


def test_a_folder_in_the_place_of_the_file_is_one_clear_error(lake: Lake, database: Path) -> None:
    (database / "in the way").mkdir(parents=True)
    with pytest.raises(LakeError, match=f"{database}: cannot be written"):
        publish(lake, database)
    assert (database / "in the way").is_dir()


def test_a_run_that_publishes_too_long_is_named(lake: Lake, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.1)
    with (
        FileLock(database.with_name(f".{database.name}.lock")),
        pytest.raises(LakeError, match=r"ghost\.duckdb: another run has been writing it for 0\.1 s .* Wait for it"),
    ):
        publish(lake, database)
    publish(lake, database)
