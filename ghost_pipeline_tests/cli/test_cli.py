"""The command as a person types it: exit codes, one line of error, figures on stdout."""

import json
import shutil
from pathlib import Path

import pytest

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import DEMO_WORLD, run, run_process

COMMANDS = (
    "alert",
    "demo",
    "doctor",
    "errors",
    "ghost-data",
    "heatmap",
    "materialize",
    "messages",
    "metrics",
    "percentile",
    "privacy",
    "publish",
    "query",
    "serve",
    "settings",
    "slowest",
    "trend",
    "ui",
)
AS_OF = "2025-03-12T12:00Z"


def one_line(stderr: str) -> str:
    (line,) = [line for line in stderr.splitlines() if line.startswith("ghost-pipeline: ")]
    assert "Traceback" not in stderr
    return line.removeprefix("ghost-pipeline: ")


def test_help_lists_every_command(tmp_path: Path) -> None:
    # The installed command itself; the other tests call its function.
    done = run_process(["--help"], tmp_path)
    assert done.returncode == 0
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    done = run([command, "--help"], tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: ghost-pipeline {command} ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["materialise"],
        ["materialize"],
        ["materialize", "--as-of", "noon"],
        ["materialize", "--as-of", "2025-03-12T12:30Z"],
        ["materialize", "--as-of", AS_OF, "--half", "third"],
        ["query"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    assert run(arguments, tmp_path, DEMO_WORLD).returncode == 2


def test_no_source_is_one_line_that_says_what_to_set(tmp_path: Path) -> None:
    done = run(["materialize", "--as-of", AS_OF], tmp_path)
    assert done.returncode == 1
    assert "GHOST_SOURCE" in one_line(done.stderr)


def test_a_source_that_is_no_folder_is_named(tmp_path: Path) -> None:
    done = run(["materialize", "--as-of", AS_OF], tmp_path, tmp_path / "nowhere")
    assert done.returncode == 1
    assert str(tmp_path / "nowhere") in one_line(done.stderr)


def test_a_domain_that_the_source_lacks_is_an_error(tmp_path: Path) -> None:
    done = run(["materialize", "--as-of", AS_OF, "--half", "ngrams"], tmp_path, DEMO_WORLD)
    assert done.returncode == 1
    assert "keyboards, practice_sessions are missing, which the ngrams domain needs" in one_line(done.stderr)


def test_a_missing_table_is_named_with_its_remedy(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(DEMO_WORLD, source)
    (source / "cohorts.parquet").unlink()
    done = run(["materialize", "--as-of", AS_OF], tmp_path / "data", source)
    assert done.returncode == 1
    assert "table cohorts is missing, which the ghost domain needs. Add cohorts.parquet" in one_line(done.stderr)


def test_an_hour_that_is_still_to_come_is_an_error(tmp_path: Path) -> None:
    done = run(["materialize", "--as-of", "2150-01-01T00:00Z"], tmp_path, DEMO_WORLD)
    assert done.returncode == 1
    assert "2149-12-31-23:00" in one_line(done.stderr)


def test_a_wrong_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNRELATED", "x")
    from ghost_pipeline_tests import running  # noqa: PLC0415 - the environment of a run is made there

    environment = running.environment
    monkeypatch.setattr(running, "environment", lambda *given: {**environment(*given), "GHOST_MIN_SAMPLE": "few"})
    done = run(["settings"], tmp_path)
    assert done.returncode == 1
    assert "GHOST_MIN_SAMPLE" in one_line(done.stderr)


def test_settings_lists_every_variable(tmp_path: Path) -> None:
    rows = json.loads(run(["settings", "--json"], tmp_path).stdout)
    assert {row["variable"] for row in rows} == {f"GHOST_{name.upper()}" for name in Settings.model_fields}
    assert next(row for row in rows if row["variable"] == "GHOST_DATA")["value"] == str(tmp_path)
    assert all(row["description"] for row in rows)


def test_query_prints_a_table(demo_run: Path) -> None:
    done = run(["query", "SELECT cohort_id, avg_streak FROM lake.cohort_ghost_data ORDER BY 1"], demo_run)
    assert done.stdout == "cohort_id  avg_streak\nc1               5.92\nglobal           5.92\n"


def test_query_prints_json(demo_run: Path) -> None:
    done = run(["query", "--json", "SELECT 1 AS one, 'x' AS text"], demo_run)
    assert json.loads(done.stdout) == [{"one": 1, "text": "x"}]


def test_a_wrong_query_is_one_line(demo_run: Path) -> None:
    done = run(["query", "SELECT nothing FROM nowhere"], demo_run)
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("query: ")


def test_nothing_published_yet_is_one_line(tmp_path: Path) -> None:
    done = run(["query", "SELECT 1"], tmp_path / "nothing")
    assert done.returncode == 1
    assert "nothing has been published yet" in one_line(done.stderr)


def test_table_info_says_how_fresh_the_tables_are(demo_run: Path) -> None:
    rows = json.loads(run(["query", "--json", "SELECT * FROM table_info"], demo_run).stdout)
    fresh = {row["table"]: (row["rows"], str(row["as_of"])[:13]) for row in rows}
    assert fresh["user_ghost_stats"] == (84, "2025-03-12T12")
    assert fresh["ghost_benchmarks"] == (810, "2025-03-01T00")
    assert all(len(row["inputs_hash"]) == 64 for row in rows)


def test_doctor_finds_nothing_wrong_with_a_good_source(demo_run: Path) -> None:
    done = run(["doctor"], demo_run, DEMO_WORLD)
    assert done.returncode == 0, done.stdout
    assert "wrong" not in done.stdout.split()
    assert "lake.user_progress" in done.stdout


def test_doctor_leaves_with_1_where_something_is_wrong(tmp_path: Path) -> None:
    done = run(["doctor", "--json"], tmp_path)
    assert done.returncode == 1
    findings = json.loads(done.stdout)
    assert [one["about"] for one in findings if one["verdict"] == "wrong"] == ["source"]


def test_doctor_counts_what_would_be_rejected(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "users.csv").write_text("user_id,created_at,final_band_score\nu1,2025-01-01,9.5\nu2,2025-01-01,8\n")
    (source / "cohorts.csv").write_text("cohort_id\n")
    (source / "user_progress.csv").write_text("progress_id,user_id,task_type,completed_at\n")
    done = run(["doctor", "--json"], tmp_path / "data", source)
    assert done.returncode == 0
    users = next(one for one in json.loads(done.stdout) if one["about"] == "users")
    assert users["verdict"] == "look"
    assert "1 x final_band_score is outside 0 to 9" in users["says"]


def test_the_demo_refuses_to_mix_with_another_source(demo_run: Path) -> None:
    done = run(["demo"], demo_run)
    assert done.returncode == 1
    assert "Set GHOST_DATA to an empty folder" in one_line(done.stderr)
