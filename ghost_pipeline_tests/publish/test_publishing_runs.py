"""Whole runs that publish to PostgreSQL as well, through Dagster and the installed command."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.definitions import build_defs
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.publishing import publish_postgres
from ghost_pipeline.errors import NothingPublishedError, SettingsError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.monitoring.status import status
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.postgres_copy import replacing_tables
from ghost_pipeline.publish.publication_parts import published_name
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import shown_rows
from ghost_pipeline_tests.publish.states import ask
from ghost_pipeline_tests.running import DEMO_WORLD, found_in, run
from ghost_pipeline_tests.samples import HOUR, sample
from ghost_pipeline_tests.serving.worlds import settings
from ghost_pipeline_tests.sources.servers import PASSWORD, Database

AS_OF = "2025-03-12T12:00Z"
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "s3cr3t")


def as_of_newest(data: Path) -> str:
    done = run(["query", "--json", "SELECT max(as_of) AS newest FROM table_info"], data)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return str(rows[0]["newest"])


@pytest.mark.long
def test_a_run_that_cannot_publish_fails_the_next_one_repairs_and_none_tells_the_password(
    database: Database, tmp_path: Path
) -> None:
    materialize = ("materialize", "--as-of", AS_OF)
    refused = {"GHOST_PUBLISH_POSTGRES": database.with_password.replace("@/", "0@/")}
    failed = run(materialize, tmp_path, DEMO_WORLD, **refused)
    assert failed.returncode == 1
    (line,) = [one for one in failed.stderr.splitlines() if one.startswith("ghost-pipeline: ")]
    assert line.startswith("ghost-pipeline: postgresql://reader@")
    assert 'password authentication failed for user "reader"' in line
    assert "the previous rows stay. Check address, user and password in GHOST_PUBLISH_POSTGRES" in line
    assert "Traceback" not in failed.stderr
    # ghost.duckdb is the new one all the same.
    assert as_of_newest(tmp_path) == "2025-03-12T12:00:00Z"
    looked = run(["doctor"], tmp_path, DEMO_WORLD, **refused)
    assert looked.returncode == 1
    assert "wrong published_postgres" in looked.stdout

    database.execute("GRANT CREATE ON SCHEMA public TO reader")
    granted = {"GHOST_PUBLISH_POSTGRES": database.with_password}
    repaired = run(materialize, tmp_path, DEMO_WORLD, **granted)
    assert repaired.returncode == 0, repaired.stderr
    assert repaired.stderr.count("published_postgres") == 1, "once at the end: the failed run has built the month"
    tables = "SELECT table_name, rows FROM ghost_table_info ORDER BY 1"
    rows = [("cohort_ghost_data", 1), ("ghost_benchmarks", 270), ("ngram_speed_summaries", 0)]
    assert ask(database.address, tables) == rows
    there = run(["doctor"], tmp_path, DEMO_WORLD, **granted)
    assert there.returncode == 0
    assert "cohort_ghost_data as of 2025-03-12T12:00Z" in there.stdout

    ask(database.address, "WITH gone AS (DELETE FROM cohort_ghost_data RETURNING 1) SELECT * FROM gone")
    span = ("--from", "2025-03-12T11:00Z", "--to", AS_OF)
    filled = run(["backfill", *span], tmp_path, DEMO_WORLD, **granted)
    assert filled.returncode == 0, filled.stderr
    assert filled.stderr.count("published_postgres") == 1
    assert ask(database.address, "SELECT cohort_id, snapshot_hour FROM cohort_ghost_data") == [("c1", 11)]

    outputs = (failed, looked, repaired, there, filled)
    assert [one.args for one in outputs for text in SECRETS if text in one.stdout + one.stderr] == []
    assert found_in(tmp_path, SECRETS) == []


@pytest.mark.parametrize("address", [None, "postgresql:///app"])
def test_the_asset_is_there_where_a_database_is_set(address: str | None) -> None:
    defs = build_defs(Settings.load(publish_postgres=address))
    there = address is not None
    assert (dg.AssetKey("published_postgres") in defs.resolve_all_asset_keys()) == there
    for job in (HOURLY, MONTHLY):
        selected = defs.resolve_job_def(job).asset_layer.executable_asset_keys
        assert (dg.AssetKey("published_postgres") in selected) == there
        assert dg.AssetKey("published_database") in selected


def summaries_of(hour: Hour, seed: int) -> pl.DataFrame:
    return sample(NGRAM_SPEED_SUMMARIES, 20, seed).with_columns(as_of=pl.lit(hour.as_of))


def test_who_has_waited_publishes_what_is_newest_then(database: Database, tmp_path: Path) -> None:
    of = settings(tmp_path, publish_postgres=database.address)
    lake = Lake(of.lake)
    lake.write(NGRAM_SPEED_SUMMARIES, HOUR, summaries_of(HOUR, 1))
    publish(lake, of.database)
    publish_postgres(of)
    waiting = threading.Thread(target=publish_postgres, args=(of,))
    with replacing_tables(database.address):
        waiting.start()
        until = time.monotonic() + 30
        while not ask(database.address, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.02)
        later = HOUR.next()
        newest = summaries_of(later, 2)
        lake.write(NGRAM_SPEED_SUMMARIES, later, newest)
        publish(lake, of.database)
    waiting.join()
    found = ask(database.address, "SELECT summary_id FROM ngram_speed_summaries")
    assert {one for (one,) in found} == set(newest["summary_id"])


def test_tables_that_hold_another_publication_are_told(database: Database, tmp_path: Path) -> None:
    of = settings(tmp_path, publish_postgres=database.address)
    lake = Lake(of.lake)
    lake.write(NGRAM_SPEED_SUMMARIES, HOUR, summaries_of(HOUR, 1))
    publish(lake, of.database)
    publish_postgres(of)
    published = published_name(of.database)
    assert published is not None
    assert ask(database.address, "SELECT id FROM ghost_publication") == [(published.id,)]
    assert status(of, HOUR.as_of).differences == ()
    lake.write(NGRAM_SPEED_SUMMARIES, HOUR, summaries_of(HOUR, 2))
    publish(lake, of.database)
    (told,) = status(of, HOUR.as_of).differences
    assert f"holds publication {published}, not {published_name(of.database)}. Run `ghost-pipeline publish`" in told
    publish_postgres(of)
    assert status(of, HOUR.as_of).differences == ()


@pytest.mark.long
def test_the_command_repairs_what_has_become_of_the_files(demo_and_typist: Settings, tmp_path: Path) -> None:
    shutil.copytree(demo_and_typist.local, tmp_path / "data")
    data = tmp_path / "data"
    content = (data / "ghost_benchmarks.json").read_bytes()
    (data / "ghost.duckdb").write_bytes(b"no database")
    (data / "ghost_benchmarks.json").unlink()
    assert run(["status"], data).stdout.count("differs: ") == 2
    done = run(["publish"], data)
    assert done.returncode == 0, done.stderr
    assert "differs: " not in run(["status"], data).stdout
    assert (data / "ghost_benchmarks.json").read_bytes() == content
    assert as_of_newest(data) == "2025-03-12T12:00:00Z"


def test_rows_that_postgresql_cannot_hold_make_the_check_warn(database: Database, tmp_path: Path) -> None:
    of = settings(tmp_path, publish_postgres=database.address)
    lake = Lake(of.lake)
    lake.write(
        NGRAM_SPEED_SUMMARIES,
        HOUR,
        summaries_of(HOUR, 1).with_row_index().select(
            pl.when(pl.col("index") == 0).then(pl.lit("u\0")).otherwise("user_id").alias("user_id"),
            pl.exclude("index", "user_id"),
        ).select(*NGRAM_SPEED_SUMMARIES.polars_schema),
    )  # fmt: skip
    publish(lake, of.database)
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            build_defs(of)
            .resolve_job_def(HOURLY)
            .execute_in_process(
                instance=instance, partition_key=HOUR.key, asset_selection=[dg.AssetKey("published_postgres")]
            )
        )
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("coverage", False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["ngram_speed_summaries"].value == 1
    (materialized,) = result.asset_materializations_for_node("published_postgres")
    assert materialized.metadata["inserted"].value == 19
    shown = shown_rows(materialized.metadata["tables"])
    assert ("ngram_speed_summaries", "2025-03-12 12:00:00+00:00", 19, 19, 0, 0) in shown


def test_without_anything_published_it_says_what_to_run(database: Database, tmp_path: Path) -> None:
    with pytest.raises(NothingPublishedError, match="ghost-pipeline demo"):
        publish_postgres(settings(tmp_path, publish_postgres=database.address))


def test_without_a_database_it_says_which_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GHOST_PUBLISH_POSTGRES: is not set"):
        publish_postgres(settings(tmp_path))
