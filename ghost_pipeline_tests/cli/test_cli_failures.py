"""Whatever goes wrong on the command line is one line on stderr that says what to do, and exit code 1."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.cli.run import materialize
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.errors import LakeError, UnknownTimeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import parse_as_of
from ghost_pipeline_tests import running
from ghost_pipeline_tests.running import COMMAND, environment, is_progress
from ghost_pipeline_tests.samples import HOUR, sample

AS_OF = "2025-03-12T12:00Z"
TABLES = {
    "users.csv": "user_id,cohort_id,created_at\nu1,c1,2025-03-01\n",
    "cohorts.csv": "cohort_id\nc1\n",
    "user_progress.csv": "progress_id,user_id,task_type,completed_at\np1,u1,reading,2025-03-12T10:30Z\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source of one learner."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in TABLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(data: Path, *arguments: str, source: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return running.run(arguments, data, source, **variables)


def failure(done: subprocess.CompletedProcess[str]) -> str:
    """The one line, after whatever progress was made."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    *progress, last = done.stderr.splitlines()
    assert all(is_progress(line) for line in progress), done.stderr
    assert last.startswith("ghost-pipeline: ")
    return last.removeprefix("ghost-pipeline: ")


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    done = run(tmp_path, "settings", GHOST_LOOKBACK_HOURS="99999999999", GHOST_BANDS="7;8")
    line = failure(done)
    assert line.startswith("settings: GHOST_LOOKBACK_HOURS: ")
    assert "GHOST_BANDS: " in line


def test_a_damaged_file_is_named_and_nothing_is_published(tmp_path: Path, source: Path) -> None:
    (source / "user_progress.csv").unlink()
    pl.DataFrame({"progress_id": ["p2"], "user_id": ["Ada"]}).write_parquet(source / "user_progress.parquet")
    content = (source / "user_progress.parquet").read_bytes()
    (source / "user_progress.parquet").write_bytes(content[: len(content) // 2])
    line = failure(run(tmp_path / "data", "materialize", "--as-of", AS_OF, source=source))
    assert "user_progress.parquet" in line
    assert "Ada" not in line
    assert not (tmp_path / "data" / "ghost.duckdb").exists()


def settings(data: Path, source: Path) -> Settings:
    return Settings.load(data=data, source=str(source))


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    says = f"{tmp_path}/data/dagster_home: Dagster's records cannot be written .* Set GHOST_DATA"
    with pytest.raises(LakeError, match=says):
        materialize(settings(tmp_path / "data", source), parse_as_of(AS_OF))


def test_an_hour_that_is_not_over_is_refused_before_anything_is_written(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UnknownTimeError, match="hour 2149-12-31-23:00: "):
        materialize(settings(tmp_path / "data", source), parse_as_of("2150-01-01T00:00Z"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00Z", "9999-12-31T23:00Z", "0001-01-01T00:00+05:00"])
def test_a_time_far_outside_is_bad_usage(as_of: str, tmp_path: Path, source: Path) -> None:
    done = run(tmp_path / "data", "materialize", "--as-of", as_of, source=source)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"Error: Invalid value for '--as-of': as of '{as_of}': " in done.stderr


def test_doctor_names_an_hour_that_is_missing(tmp_path: Path, source: Path) -> None:
    lake, progress = Lake(tmp_path / "data" / "lake"), CONTRACTS["user_progress"]
    for hour in (HOUR, HOUR.next().next()):
        lake.write(progress, hour, progress.empty())
    done = run(tmp_path / "data", "doctor", "--json", source=source)
    (wrong,) = [one for one in json.loads(done.stdout) if one["verdict"] == "wrong"]
    assert done.returncode == 1
    assert wrong["about"] == "lake.user_progress"
    assert wrong["says"].startswith("the hour 2025-03-12-12:00 is missing. Materialize the newest hour again")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with what a query meets: rows, and no rows."""
    data = tmp_path_factory.mktemp("published")
    lake = Lake(data / "lake")
    for name in ("user_ghost_stats", "users"):
        lake.write(CONTRACTS[name], HOUR, sample(CONTRACTS[name], 3, 1))
    publish(lake, data / "ghost.duckdb")
    return data


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", "query: Parser Error"),
        ("FROM nowhere", "query: Catalog Error"),
        ("", "query: not a single reading statement"),
        ("COPY (SELECT 1) TO 'ghost.duckdb'", "query: not a single reading statement"),
        ("SELECT max(as_of) - min(as_of) AS apart FROM table_info", "query: column apart is of type INTERVAL. Cast it"),
    ],
)
def test_a_query_that_cannot_be_answered_is_one_line(sql: str, says: str, published: Path) -> None:
    assert failure(run(published, "query", "--json", sql)).startswith(says)


def test_what_would_move_the_cursor_is_shown_by_its_escape(published: Path) -> None:
    done = run(published, "query", "SELECT 'a' || chr(8) || chr(10) || chr(27) AS key, 1.50 AS n, NULL AS nothing")
    assert (done.returncode, done.stdout) == (0, "key             n  nothing\na\\x08\\n\\x1b  1.50\n")


def test_json_of_a_query_is_json_whatever_the_types(published: Path) -> None:
    sql = "SELECT DATE '2025-03-12' AS d, 'nan'::DOUBLE AS n, [1, 2] AS l, {'a': NULL} AS s, true AS b"
    done = run(published, "query", "--json", sql)
    assert json.loads(done.stdout) == [{"d": "2025-03-12", "n": None, "l": [1, 2], "s": {"a": None}, "b": True}]


def test_settings_are_listed_with_value_and_origin(tmp_path: Path) -> None:
    done = run(tmp_path, "settings", GHOST_LOOKBACK_HOURS="24", GHOST_MIN_SAMPLE="")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "GHOST_LOOKBACK_HOURS=24" in lines
    assert "GHOST_MIN_SAMPLE=50  (default)" in lines
    assert "GHOST_BANDS=7.0,7.5,8.0  (default)" in lines
    assert "GHOST_SUCCESS_PERCENTILES=10,25,50  (default)" in lines
    assert len(lines) == 2 * len(Settings.model_fields)


def test_doctor_finds_a_data_folder_that_cannot_be_written(tmp_path: Path, source: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    done = run(tmp_path / "data", "doctor", source=source)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("wrong ")]
    assert done.returncode == 1
    assert line.split()[1] == "storage"
    assert "Free some space or make" in line


def test_doctor_finds_a_damaged_table(tmp_path: Path, source: Path) -> None:
    (source / "cohorts.csv").write_text("", encoding="utf-8")
    findings = json.loads(run(tmp_path / "data", "doctor", "--json", source=source).stdout)
    assert [one["about"] for one in findings if one["verdict"] == "wrong"] == ["cohorts"]


def test_doctor_has_no_trouble_with_a_database_without_rows(tmp_path: Path, source: Path) -> None:
    publish(Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb")
    done = run(tmp_path, "doctor", "--json", source=source)
    published = next(one for one in json.loads(done.stdout) if one["about"] == "published")
    assert (done.returncode, published["verdict"]) == (0, "look")


@pytest.mark.parametrize(
    ("change", "fault"), [(Path.unlink, "missing"), (lambda one: one.write_bytes(b"x"), "damaged")]
)
def test_doctor_names_a_file_of_a_history_that_readers_need(
    change: Callable[[Path], object], fault: str, tmp_path: Path, source: Path
) -> None:
    history = CONTRACTS["ngram_speed_summary_history"]
    Lake(tmp_path / "lake").write(history, HOUR, sample(history, 2, 1))
    publish(Lake(tmp_path / "lake"), tmp_path / "ghost.duckdb")
    (file,) = (tmp_path / "history").rglob("*.parquet")
    change(file)
    findings = json.loads(run(tmp_path, "doctor", "--json", source=source).stdout)
    (found,) = [one["says"] for one in findings if one["about"] == "history"]
    assert found.startswith(f"{file} is {fault}")


def test_doctor_begins_with_what_it_does(tmp_path: Path, source: Path) -> None:
    assert run(tmp_path, "doctor", source=source).stderr.startswith("checking settings, source and storage in ")


def test_doctor_leaves_nothing_behind(tmp_path: Path, source: Path) -> None:
    (tmp_path / "data").mkdir()
    run(tmp_path / "data", "doctor", source=source)
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_a_reader_that_stops_listening_is_no_failure_worth_a_traceback(published: Path) -> None:
    with subprocess.Popen(
        [str(COMMAND), "query", "FROM range(200000)"],
        env=environment(published),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
