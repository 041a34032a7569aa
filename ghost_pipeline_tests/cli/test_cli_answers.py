"""The commands that answer: the same figures as `GhostReader`, as text and as JSON."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from ghost_pipeline.serving import GhostReader
from ghost_pipeline.serving.responses import EXAMPLE
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import COMMAND, environment, run, run_process
from ghost_pipeline_tests.serving.worlds import bearer

KEY = "a key for the command line, long enough"


@pytest.fixture(scope="module")
def published(demo_and_typist: Settings) -> Settings:
    return demo_and_typist


def test_the_example_response_comes_out(published: Settings) -> None:
    done = run(["ghost-data", "me", "--json"], published.local)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == json.dumps(EXAMPLE, separators=(",", ":"))


def test_the_response_as_of_an_hour_can_be_extended(published: Settings) -> None:
    done = run(["ghost-data", "me", "--as-of", "2025-03-12T12:00Z", "--extended"], published.local)
    answer = json.loads(done.stdout)
    assert {name: answer[name] for name in EXAMPLE} == EXAMPLE
    assert (answer["as_of"], answer["suppressed"]) == ("2025-03-12T12:00:00Z", False)


def test_messages_are_sentences_on_lines_of_their_own(published: Settings) -> None:
    done = run(["messages", "me", "--context", "daily_dashboard"], published.local)
    assert done.stdout == "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 8.\n"


def test_a_context_with_nothing_true_says_so_on_stderr(published: Settings) -> None:
    done = run(["messages", "me", "--context", "streak_at_risk"], published.local)
    assert (done.returncode, done.stdout) == (0, "")
    assert "No message applies to this user" in done.stderr
    assert (
        json.loads(run(["messages", "me", "--context", "streak_at_risk", "--json"], published.local).stdout)["messages"]
        == []
    )


def test_a_percentile_is_a_number(published: Settings) -> None:
    assert run(["percentile", "me", "tasks_completed"], published.local).stdout == "35\n"


def test_a_percentile_that_there_is_not_says_why_on_stderr(published: Settings) -> None:
    done = run(["percentile", "me", "tasks_completed", "--base", "global"], published.local)
    assert (done.returncode, done.stdout) == (0, "")
    assert "No percentile: there is no hour of the day before" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ghost-data", "nobody"], "unknown user 'nobody' (as of 20"),
        (["ghost-data", "me", "--as-of", "2024-01-01T00:00Z"], "the lake has no hour that ends at or before"),
        (["heatmap", "me", "k1", "--ngram-size-filter", "21"], "must be a whole number from 1 to 20"),
        (["slowest", "me", "k1", "--ngram-sizes", "0"], "must be a whole number from 1 to 20"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_one_line(arguments: list[str], says: str, published: Settings) -> None:
    done = run(arguments, published.local)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ghost-pipeline: ")
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["messages", "me", "--context", "dayly_dashboard"], "Did you mean daily_dashboard?"),
        (["percentile", "me", "height"], "'height' is not one of tasks_completed"),
        (["percentile", "me", "streak", "--base", "planet"], "'planet' is not one of cohort, global"),
        (["benchmarks", "--population", "all"], "'all' is not one of interval, at_least"),
        (["heatmap", "me", "k1", "--sort-order", "sideways"], "'sideways' is not one of worst_to_best, best_to_worst"),
        (["contracts", "user_ghost_stat"], "Did you mean user_ghost_stats"),
    ],
    ids=str,
)
def test_a_value_that_is_no_choice_is_bad_usage(arguments: list[str], says: str, published: Settings) -> None:
    done = run(arguments, published.local)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_shell_completes_choices(published: Settings) -> None:
    typed = {"_GHOST_PIPELINE_COMPLETE": "bash_complete", "COMP_CWORD": "4"}
    done = run_process([], published.local, None, **typed, COMP_WORDS="ghost-pipeline messages me --context d")
    assert done.stdout == "plain,daily_dashboard\n"


@pytest.mark.parametrize(
    "arguments",
    [["messages", "me"], ["slowest", "me", "k1", "-n", "ten"], ["errors", "me", "k1", "--ngram-sizes", "a"]],
    ids=str,
)
def test_bad_usage_is_exit_code_2(arguments: list[str], published: Settings) -> None:
    assert run(arguments, published.local).returncode == 2


def test_a_heat_map_is_coloured_and_says_the_category_in_words(published: Settings) -> None:
    done = subprocess.run(
        [str(COMMAND), "heatmap", "me", "k1", "--target-speed-ms", "170"],
        env=environment(published.local, FORCE_COLOR="1"),
        capture_output=True,
        text=True,
        check=True,
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines()
    rows = GhostReader(published).heatmap("me", "k1", target_speed_ms=170)
    assert [line.split()[0] for line in plain[1:]] == rows["performance_category"].to_list()


def test_the_lists_are_those_of_the_reader(published: Settings) -> None:
    reader = GhostReader(published)
    for arguments, expected in (
        (
            ["slowest", "me", "k1", "-n", "3", "--ngram-sizes", "2", "--min-occurrences", "2"],
            reader.slowest("me", "k1", 3, ngram_sizes=[2], min_occurrences=2),
        ),
        (
            ["errors", "me", "k1", "-n", "4", "--lookback-distance", "2"],
            reader.errors("me", "k1", 4, lookback_distance=2),
        ),
        (["trend", "me", "k1", "he"], reader.trend("me", "k1", "he")),
        (["trend", "me", "k1", "-n", "2"], reader.biggest_changes("me", "k1", 2)),
    ):
        rows = json.loads(run([*arguments, "--json"], published.local).stdout)
        assert [row["ngram_text"] for row in rows] == expected["ngram_text"].to_list() != []
        assert expected["ngram_text"][0] in run(arguments, published.local).stdout


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        (["ghost", "me"], ["ghost-data", "me"]),
        (["heatmap", "me", "k1", "--ngram-size", "2"], ["heatmap", "me", "k1", "--ngram-size-filter", "2"]),
    ],
    ids=["ghost", "ngram-size"],
)
def test_names_of_earlier_releases_still_answer(earlier: list[str], now: list[str], published: Settings) -> None:
    assert run(earlier, published.local).stdout == run(now, published.local).stdout != ""


def test_benchmarks_are_filtered(published: Settings) -> None:
    arguments = ["benchmarks", "--target-band", "7.5", "--starting-skill", "6", "--day-number", "12"]
    rows = json.loads(run([*arguments, "--json"], published.local).stdout)
    assert [(row["success_percentile"], row["avg_tasks_completed"]) for row in rows] == [(10, 20), (25, 15), (50, 10)]
    assert run([*arguments, "--success-percentile", "25"], published.local).stdout.split("\n")[1].split()[4] == "25"
    assert "No rows" in run(["benchmarks", "--day-number", "366"], published.local).stderr


def test_keyboards_are_those_of_the_reader(published: Settings) -> None:
    (row,) = json.loads(run(["keyboards", "me", "--json"], published.local).stdout)
    assert row == GhostReader(published).keyboards("me").row(0, named=True)


def test_progress_has_the_parts_of_the_reader(published: Settings) -> None:
    arguments = ["progress", "me", "k1", "-n", "2", "--n-sessions", "3", "--target-speed-ms", "120"]
    parts = GhostReader(published).progress("me", "k1", 2, n_sessions=3, target_speed_ms=120)._asdict()
    answer = json.loads(run([*arguments, "--json"], published.local).stdout)
    assert {name: len(rows) for name, rows in answer.items()} == {name: rows.height for name, rows in parts.items()}
    assert answer["rows"][-1]["missing"] == parts["rows"]["missing"][-1] > 0
    shown = run(arguments, published.local).stdout
    assert all(f"{name.replace('_', ' ')}:" in shown for name in list(parts)[1:])


def test_messages_take_newer_figures_of_the_user(published: Settings) -> None:
    done = run(["messages", "me", "--context", "daily_dashboard", "--tasks-completed", "9"], published.local)
    assert done.stdout == "Users who scored 7.5+ had completed 15 tasks by Day 12. You're at 9.\n"


def test_keys_in_decomposed_form_are_not_taken_apart(published: Settings) -> None:
    keys = ["--included-keys", "the\u0301"]
    done = run(["slowest", "me", "k1", "--min-occurrences", "1", *keys, "--json"], published.local)
    assert sorted(row["ngram_text"] for row in json.loads(done.stdout)) == ["h", "t", "th"]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["ghost-data", "mee"], ["messages", "mee", "--context", "daily_dashboard"], ["percentile", "mee", "streak"]),
        *(["keyboards", "mee"], ["heatmap", "mee", "k1"], ["slowest", "mee", "k1"], ["errors", "mee", "k1"]),
        *(["trend", "mee", "k1"], ["trend", "mee", "k1", "th"], ["progress", "mee", "k1"]),
    ],
    ids=" ".join,
)
def test_an_unknown_user_is_the_same_error_everywhere_with_the_nearest_ids(
    arguments: list[str], published: Settings
) -> None:
    done = run([*arguments, "--json"], published.local)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ghost-pipeline: unknown user 'mee' (as of 20")
    assert line.endswith("?")
    assert ". Did you mean me or " in line


@pytest.mark.parametrize("command", ["heatmap", "slowest", "errors", "trend", "progress"])
def test_an_unknown_keyboard_is_the_same_error_everywhere_with_the_users_own(command: str, published: Settings) -> None:
    done = run([command, "me", "k9"], published.local)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ghost-pipeline: unknown keyboard 'k9' of user 'me' (as of 2025-03-12T12:00Z). That user's keyboards: k1\n"
    )


def test_the_server_without_a_key_stays_on_loopback(published: Settings) -> None:
    done = run(["serve", "--host", "0.0.0.0"], published.local)  # noqa: S104 - refused
    assert done.returncode == 2
    assert "needs GHOST_TOKEN_KEY" in done.stderr


def test_the_server_answers_until_it_is_told_to_stop(published: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stderr:
        server = subprocess.Popen(
            [str(COMMAND), "serve", "--port", "0"],
            env=environment(published.local, GHOST_TOKEN_KEY=KEY),
            stderr=stderr,
        )
    try:
        give_up = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text(encoding="utf-8"))):
            assert time.monotonic() < give_up
            assert server.poll() is None
            time.sleep(0.1)
        with httpx.Client(base_url=f"http://127.0.0.1:{found[1]}", timeout=30) as client:
            assert client.get("/cohort/me/ghost-data").status_code == 401
            assert client.get("/cohort/me/ghost-data", headers=bearer("me", key=KEY)).json() == EXAMPLE
        second = run(["serve", "--port", found[1]], published.local)
        assert second.returncode == 1
        assert f"serve: cannot listen on 127.0.0.1:{found[1]}" in second.stderr
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0
    assert "Traceback" not in log.read_text(encoding="utf-8")
    assert os.listdir(tmp_path) == ["log"]  # noqa: PTH208 - one name
