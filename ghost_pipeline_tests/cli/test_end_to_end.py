"""From a source to published tables through the installed command and Dagster, in folders of its own."""

import json
import shutil
from pathlib import Path

import pytest

from ghost_pipeline_tests.running import (
    DEMO_WORLD,
    SHARED_DATA,
    lake_digest,
    published_rows,
    run,
)

AS_OF = "2025-03-12T12:00Z"


def ask(data: Path, sql: str) -> list[dict[str, object]]:
    done = run(["query", "--json", sql], data)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def test_cohort_of_the_demo_run(demo_run: Path) -> None:
    sql = "SELECT avg_tasks_completed AS tasks, active_member_count FROM lake.cohort_ghost_data"
    assert ask(demo_run, f"{sql} WHERE cohort_id = 'c1'") == [{"tasks": 12.0, "active_member_count": 24}]


def test_benchmark_of_the_demo_run(demo_run: Path) -> None:
    sql = """
        SELECT success_percentile AS p, avg_tasks_completed AS tasks, avg_practice_minutes AS minutes
        FROM ghost_benchmarks
        WHERE population = 'interval' AND target_band = 7.5 AND starting_skill = 6.0 AND day_number = 12
        ORDER BY p
    """
    assert ask(demo_run, sql) == [
        {"p": 10, "tasks": 20, "minutes": 270},
        {"p": 25, "tasks": 15, "minutes": 200},
        {"p": 50, "tasks": 10, "minutes": 130},
    ]


def test_messages_of_the_demo_run_show_the_month_that_the_same_run_computed(demo_run: Path) -> None:
    sql = "SELECT text FROM lake.ghost_messages WHERE user_id = 'me' AND context = 'daily_dashboard'"
    assert ask(demo_run, sql) == [{"text": "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8."}]


@pytest.mark.long
def test_a_second_run_changes_no_byte_of_the_lake(demo_run: Path, tmp_path: Path) -> None:
    first, data = lake_digest(demo_run), tmp_path / "data"
    shutil.copytree(demo_run, data)
    again = run(["materialize", "--as-of", AS_OF], data, DEMO_WORLD)
    assert again.returncode == 0, again.stderr
    assert lake_digest(data) == first
    assert len(first) > 1000


@pytest.mark.long
def test_another_folder_gives_the_same_bytes(demo_run: Path, tmp_path: Path) -> None:
    assert run(["materialize", "--as-of", AS_OF], tmp_path, DEMO_WORLD).returncode == 0
    assert lake_digest(tmp_path) == lake_digest(demo_run)


def test_a_failing_source_leaves_what_was_published(demo_run: Path, tmp_path: Path) -> None:
    before, data = published_rows(demo_run), tmp_path / "data"
    shutil.copytree(demo_run, data)
    broken = tmp_path / "source"
    broken.mkdir()
    for file in DEMO_WORLD.iterdir():
        content = file.read_bytes()
        (broken / file.name).write_bytes(content[: len(content) // 2] if file.stem == "user_progress" else content)
    done = run(["materialize", "--as-of", "2025-03-12T13:00Z"], data, broken)
    assert done.returncode == 1
    assert "user_progress" in done.stderr
    assert "Traceback" not in done.stderr
    assert published_rows(data) == before


def shared(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set GHOST_SHARED_DATA to the folder that holds {name}/")
    return folder


@pytest.mark.long
def test_real_study_activities_to_the_figures_of_their_readme(tmp_path: Path) -> None:
    source = shared("epm")
    done = run(["materialize", "--as-of", "2014-11-20T12:00Z"], tmp_path, source)
    assert done.returncode == 0, done.stderr
    sql = """
        SELECT cohort_id, active_member_count AS active, avg_tasks_completed AS tasks,
               avg_practice_minutes AS minutes, avg_streak AS streak, top_10_percent_tasks AS p90
        FROM lake.cohort_ghost_data WHERE cohort_id IN ('exam_first', 'exam_none', 'global') ORDER BY 1
    """
    assert [tuple(row.values()) for row in ask(tmp_path, sql)] == [
        ("exam_first", 31, 662.74, 273.87, 0.97, 883),
        ("exam_none", 11, 402.0, 197.02, 0.64, 543),
        ("global", 103, 588.15, 245.14, 0.87, 874),
    ]
    user = "SELECT tasks_completed, mock_tests, current_streak, day_in_journey FROM user_ghost_stats WHERE user_id = "
    assert [tuple(row.values()) for row in ask(tmp_path, f"{user}'epm-001'")] == [(662, 917, 1, 50)]
    assert [tuple(row.values()) for row in ask(tmp_path, f"{user}'epm-089'")] == [(50, 474, 0, 29)]
    rejected = ask(tmp_path, 'SELECT reason, "row" FROM lake.rejected_rows')
    assert [row["reason"] for row in rejected] == ["time_spent_minutes is below 0"]
    assert "4-089-00564" in str(rejected[0]["row"])
    assert ask(tmp_path, "SELECT count(*) AS n FROM ghost_benchmarks") == [{"n": 0}]


@pytest.mark.long
def test_real_keystrokes_to_the_figures_of_their_readme(tmp_path: Path) -> None:
    source = shared("aalto")
    done = run(["materialize", "--as-of", "2016-09-01T00:00Z"], tmp_path, source)
    assert done.returncode == 0, done.stderr
    speed = "SELECT count(*) AS n, sum(ngram_time_ms) AS ms FROM lake.session_ngram_speed"
    assert ask(tmp_path, speed) == [{"n": 133453, "ms": 126427140.0}]
    errors = "SELECT count(*) AS n, count(*) FILTER (was_corrected) AS corrected FROM session_ngram_errors"
    assert ask(tmp_path, errors) == [{"n": 17039, "corrected": 7002}]
    summaries = "SELECT count(*) AS n, count(*) FILTER (meets_target) AS meets FROM ngram_speed_summaries"
    assert ask(tmp_path, summaries) == [{"n": 74168, "meets": 38609}]
    e = "SELECT decaying_average_ms AS ms, sample_count AS n, measurements_used AS used FROM ngram_speed_summaries"
    (row,) = ask(tmp_path, f"{e} WHERE user_id = 'p5' AND ngram_text = 'e'")
    assert row == {"ms": pytest.approx(138.9007553937, rel=1e-11), "n": 46, "used": 20}
