"""What goes wrong around a command is one line with the right exit code."""

import signal
import subprocess
from pathlib import Path
from socket import create_server

import pytest

from ghost_pipeline.cli.commands import INTERRUPTED
from ghost_pipeline_tests.running import COMMAND, DEMO_WORLD, environment, run, run_process

LAST_LINE = "ghost-pipeline: interrupted. Nothing is lost; run the same command again"


def interrupted_at(line: str, arguments: list[str], data: Path) -> subprocess.CompletedProcess[str]:
    """Press Ctrl-C when a command prints a line that begins so."""
    command = [str(COMMAND), *arguments]
    with subprocess.Popen(
        command, env=environment(data, DEMO_WORLD), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for one in process.stderr:
            lines.append(one)
            if one.startswith(line):
                process.send_signal(signal.SIGINT)
                break
        lines += process.stderr.readlines()
    return subprocess.CompletedProcess(command, process.returncode, "", "".join(lines))


@pytest.mark.parametrize("line", ["materialize: starting", "hour 2025-03-12", "  user_progress "])
def test_ctrl_c_in_a_run_is_one_line_and_the_same_command_goes_on(line: str, tmp_path: Path) -> None:
    arguments = ["materialize", "--as-of", "2025-03-12T12:00Z"]
    stopped = interrupted_at(line, arguments, tmp_path)
    assert stopped.returncode == INTERRUPTED
    assert stopped.stderr.splitlines()[-1] == LAST_LINE
    assert "Traceback" not in stopped.stderr
    assert "run failed" not in run(["alert"], tmp_path).stdout


def test_ctrl_c_at_the_question_of_an_erasure_is_no_answer(monkeypatch: pytest.MonkeyPatch, demo_run: Path) -> None:
    def ctrl_c(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", ctrl_c)
    done = run(["erase", "m01"], demo_run, GHOST_ERASURE_KEY="k" * 32)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (INTERRUPTED, LAST_LINE)


def one_line(stderr: str) -> str:
    (line,) = stderr.splitlines()
    return line


def test_a_taken_port_is_told_before_dagster_starts(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_process(["ui", "--port", str(port)], tmp_path)
    assert done.returncode == 1
    assert f"ui: cannot listen on 127.0.0.1:{port}" in one_line(done.stderr)
    assert not (tmp_path / "dagster_home").exists()


@pytest.mark.parametrize("arguments", [["status"], ["alert"], ["doctor"]], ids=" ".join)
def test_a_folder_of_records_that_is_gone_is_named(arguments: list[str], tmp_path: Path) -> None:
    done = run(arguments, tmp_path, DEMO_WORLD, DAGSTER_HOME="gone")
    assert done.returncode == 1
    assert f"DAGSTER_HOME: {Path.cwd() / 'gone'} is no folder" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["run_launcher: [", "a text", "nonsense: 1", "storage: {sqlite: {base_dir: 7}}"])
@pytest.mark.parametrize("arguments", [["status"], ["materialize", "--as-of", "2025-03-12T12:00Z", "--quiet"], ["ui"]])
def test_a_broken_dagster_yaml_is_one_line(text: str, arguments: list[str], tmp_path: Path) -> None:
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
    done = run(arguments, tmp_path, DEMO_WORLD)
    assert done.returncode == 1
    assert f"{home / 'dagster.yaml'}: " in one_line(done.stderr)


def test_a_mistyped_setting_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    done = run(["settings"], tmp_path, GHOST_MIN_SAMPEL="1")
    assert done.returncode == 0
    assert one_line(done.stderr) == "ghost-pipeline: GHOST_MIN_SAMPEL: no such setting. Did you mean GHOST_MIN_SAMPLE?"


def test_a_setting_of_another_tool_is_left_to_doctor(tmp_path: Path) -> None:
    assert run(["settings"], tmp_path, GHOST_BUSTERS_HQ="1").stderr == ""
    assert (
        "GHOST_BUSTERS_HQ: no such setting. For another tool?" in run(["doctor"], tmp_path, GHOST_BUSTERS_HQ="1").stdout
    )


def test_doctor_looks_at_what_surrounds_the_data(demo_run: Path) -> None:
    done = run(["doctor"], demo_run, DEMO_WORLD)
    about = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"dagster", "daemon", "ports", "rights", "clock", "time", "alerts"} <= about


def test_doctor_tells_of_a_folder_that_is_open_to_all(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert f"{tmp_path}: open to all users of this machine" in run(["doctor"], tmp_path, DEMO_WORLD).stdout
