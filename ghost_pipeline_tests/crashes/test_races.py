"""What one run does between two moments of another: each a race that was lost once."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from filelock import FileLock

from ghost_pipeline.cli.dagster_home import DAGSTER_YAML, prepare_dagster_home
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.raw import SESSION_NGRAM_ERRORS, USER_PROGRESS, USERS
from ghost_pipeline.domain.ghost.benchmarks.shards import compact
from ghost_pipeline.errors import LakeError, PublishError
from ghost_pipeline.incremental import achiever_events
from ghost_pipeline.incremental.stale_ledger import mark_building
from ghost_pipeline.lake import locking
from ghost_pipeline.lake.concurrent_replace import (
    ATTEMPTS,
    ConcurrentReplaceError,
    require_unreplaced,
    retry_on_replace,
)
from ghost_pipeline.lake.file_versions import file_version, file_versions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.writing import Written
from ghost_pipeline.publish import database_query
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.windows import HOUR, Hour, Month
from ghost_pipeline_tests.crashes.faults import DiedError, Faults
from ghost_pipeline_tests.crashes.scenarios import (
    ELEVEN,
    NINE,
    NOON,
    SCENARIOS,
    SMALL,
    TEN,
)
from ghost_pipeline_tests.crashes.world import LEARNERS, World, event, users
from ghost_pipeline_tests.samples import HOUR as SAMPLE_HOUR
from ghost_pipeline_tests.samples import sample

pytestmark = pytest.mark.long

PREPARED = {scenario.name: scenario for scenario in SCENARIOS}


def test_a_scan_that_was_planned_reads_the_file_that_is_there_when_it_is_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    old, new = sample(USER_PROGRESS, 3000, 1), sample(USER_PROGRESS, 40, 2)
    lake.write(USER_PROGRESS, SAMPLE_HOUR, old)
    planned = lake.scan(USER_PROGRESS, [SAMPLE_HOUR])
    assert planned.collect().equals(old)
    lake.write(USER_PROGRESS, SAMPLE_HOUR, new)
    assert planned.collect().equals(new)


def test_a_version_that_several_runs_see_at_once_is_kept_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(users=users(), cohorts=[], user_progress=[event("e0", 0, "08:00")])
    world.run(NINE, "users")
    world.write(users=[{**one, "target_band": 8.0} for one in users()])
    threads = [threading.Thread(target=world.run, args=(hour, "users")) for hour in (TEN, ELEVEN, NOON, NOON)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.resources().lake.scan(USERS).select(pl.len()).collect().item() == 2 * LEARNERS


def test_a_source_that_was_opened_before_another_run_read_the_table_is_opened_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(users=users(), cohorts=[], user_progress=[])
    older, newer = world.resources(), world.resources()
    opened = older.source.open()
    with older.source.exclusive_read(USERS):
        assert older.source.open() is opened
    with newer.source.exclusive_read(USER_PROGRESS):
        pass
    with older.source.exclusive_read(USERS):
        assert older.source.open() is opened
    with older.source.exclusive_read(USER_PROGRESS):
        assert older.source.open() is not opened


def test_an_hour_is_built_by_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, hour = Lake(tmp_path / "lake"), Hour.from_key(NOON)
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.1)
    with mark_building(lake, USER_GHOST_STATS, [hour]):
        with (
            pytest.raises(LakeError, match=r"user_ghost_stats: another run has been writing it .* Wait for it"),
            mark_building(lake, USER_GHOST_STATS, [hour]),
        ):
            pass
        with mark_building(lake, COHORT_GHOST_DATA, [hour]):
            pass


def test_nobody_extracts_from_keystrokes_that_are_about_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PREPARED["typing that came late"].prepare(tmp_path)
    before = world.resources().lake.hours(SESSION_NGRAM_ERRORS)
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.1)
    with FileLock(world.data / "lake" / ".session_ngram_errors.lock"), pytest.raises(LakeError, match="ngram_errors"):
        world.run(NOON, "users", "practice_sessions", lookback_hours=1)
    assert world.resources().lake.hours(SESSION_NGRAM_ERRORS) == before


def test_what_is_published_has_the_hash_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, database = Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb"
    lake.write(USER_GHOST_STATS, SAMPLE_HOUR, sample(USER_GHOST_STATS, 3, 1))
    content_hash = lake.content_hash
    replaced: list[Written] = []

    def replaced_before(paths: list[Path]) -> str:
        if paths and not replaced:
            replaced.append(lake.write(USER_GHOST_STATS, SAMPLE_HOUR, sample(USER_GHOST_STATS, 5, 2)))
        return content_hash(paths)

    monkeypatch.setattr(lake, "content_hash", replaced_before)
    (found,) = [one for one in publish(lake, database) if one.table == USER_GHOST_STATS.name]
    assert replaced
    assert found.rows == 5
    assert found.inputs_hash == content_hash([lake.path(USER_GHOST_STATS, SAMPLE_HOUR)])


def test_files_that_are_replaced_without_end_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, seeds = Lake(tmp_path / "lake"), iter(range(100))
    lake.write(USER_GHOST_STATS, SAMPLE_HOUR, sample(USER_GHOST_STATS, 3, next(seeds)))

    def replaced(paths: list[Path]) -> str:
        if paths:
            lake.write(USER_GHOST_STATS, SAMPLE_HOUR, sample(USER_GHOST_STATS, 3, next(seeds)))
        return ""

    monkeypatch.setattr(lake, "content_hash", replaced)
    with pytest.raises(LakeError, match=r"user_ghost_stats: other runs replaced or removed it 10 times"):
        publish(lake, tmp_path / "ghost.duckdb")
    assert next(seeds) == ATTEMPTS + 1
    assert not (tmp_path / "ghost.duckdb").exists()


def test_a_table_that_lacks_an_hour_is_not_published(tmp_path: Path) -> None:
    lake, database = Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb"
    for number in range(3):
        lake.write(
            SESSION_NGRAM_ERRORS, Hour(SAMPLE_HOUR.start + number * HOUR), sample(SESSION_NGRAM_ERRORS, 2, number)
        )
    publish(lake, database)
    before = file_version(database)
    lake.invalidate(SESSION_NGRAM_ERRORS, SAMPLE_HOUR.next())
    with pytest.raises(LakeError, match=r"session_ngram_errors: 1 of 3 hours .* Materialize session_ngram_errors"):
        publish(lake, database)
    assert file_version(database) == before


def test_a_month_whose_events_change_while_it_is_read_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = PREPARED["a month"].prepare(tmp_path)
    read: list[int] = []

    def changed_meanwhile(*frames: pl.LazyFrame) -> pl.LazyFrame:
        found = compact(*frames).collect().lazy()
        if not read:
            lake, hour = world.resources().lake, Hour(datetime(2025, 2, 28, 21, tzinfo=UTC))
            assert lake.write(USER_PROGRESS, hour, USER_PROGRESS.empty()).changed
        read.append(1)
        return found

    monkeypatch.setattr(achiever_events, "compact", changed_meanwhile)
    world.run_month("2025-02", GHOST_BENCHMARKS.name, **SMALL)
    assert len(read) == 2
    found = world.resources().lake.scan(GHOST_BENCHMARKS, [Month.from_key("2025-02")]).collect()
    monkeypatch.undo()
    world.run_month("2025-02", GHOST_BENCHMARKS.name, **SMALL)
    assert found.equals(world.resources().lake.scan(GHOST_BENCHMARKS, [Month.from_key("2025-02")]).collect())


def test_a_question_that_read_a_file_by_another_ones_footer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, database = Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb"
    lake.write(USER_GHOST_STATS, SAMPLE_HOUR, sample(USER_GHOST_STATS, 3, 0))
    publish(lake, database)
    answer, asked = database_query._answer, []  # noqa: SLF001 - what fails by chance

    def torn(*arguments: Any) -> pl.DataFrame:  # noqa: ANN401 - handed on
        asked.append(arguments)
        if len(asked) < ATTEMPTS:
            lake.write(USER_GHOST_STATS, SAMPLE_HOUR, sample(USER_GHOST_STATS, 3, len(asked)))
            raise duckdb.Error("TProtocolException: Invalid data")
        return answer(*arguments)

    monkeypatch.setattr(database_query, "_answer", torn)
    assert query("SELECT count(*) FROM lake.user_ghost_stats", database, lake).rows() == [(3,)]
    with pytest.raises(PublishError, match="two"):
        query("SELECT two FROM lake.user_ghost_stats", database, lake)
    assert len(asked) == ATTEMPTS + 1


def test_reading_begins_again_where_a_partition_has_gone() -> None:
    left = iter([FileNotFoundError("stale_hours"), ConcurrentReplaceError("user_progress")])

    def read() -> str:
        for error in left:
            raise error
        return "read"

    assert retry_on_replace(read) == "read"


def test_partitions_that_go_without_end_are_one_clear_error() -> None:
    def read() -> None:
        raise ConcurrentReplaceError("rejected_rows")

    with pytest.raises(LakeError, match=r"^rejected_rows: other runs .* Run again when they are done$"):
        retry_on_replace(read)


@pytest.mark.parametrize("read", [Path.read_bytes, pl.read_parquet, lambda file: pl.scan_parquet(file).collect()])
def test_a_file_that_stays_missing_is_named_with_the_remedy(read: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "shard-0.parquet"
    with pytest.raises(LakeError) as raised:
        retry_on_replace(lambda: read(file))
    assert str(raised.value).startswith(f"{file}: is missing, after {ATTEMPTS} attempts")
    assert str(raised.value).endswith("restore the file, or materialize its partition again")


def test_a_file_that_was_gone_before_it_was_read_is_named(tmp_path: Path) -> None:
    there, gone = tmp_path / "shard-0.parquet", tmp_path / "shard-1.parquet"
    there.touch()
    with pytest.raises(FileNotFoundError) as raised:
        require_unreplaced([there, gone], file_versions([there, gone]), "user_ghost_stats")
    assert raised.value.filename == str(gone)


def test_dagster_yaml_is_there_whole_or_not_at_all(world_without_home: World) -> None:
    settings = world_without_home.resources().settings
    for at in range(20):
        faults = Faults(world_without_home.folder, at)
        try:
            with faults.installed():
                prepare_dagster_home(settings)
        except DiedError:
            config = settings.dagster_home / "dagster.yaml"
            assert not config.exists() or config.read_text(encoding="utf-8") == DAGSTER_YAML
        else:
            break
    assert at > 3
    assert (settings.dagster_home / "dagster.yaml").read_text(encoding="utf-8") == DAGSTER_YAML


@pytest.fixture
def world_without_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DAGSTER_HOME", "")
    return World(tmp_path)
