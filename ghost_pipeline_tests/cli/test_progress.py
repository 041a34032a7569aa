"""What long commands print: a line at once, what takes long, and a summary, for people or for programs."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import click
import pytest

from ghost_pipeline.cli import progress as module
from ghost_pipeline.cli.main import main
from ghost_pipeline.cli.progress import NO_PROGRESS, Progress, Summary
from ghost_pipeline.cli.run import materialize
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.defs import table_asset
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import COMMAND, environment, run
from ghost_pipeline_tests.samples import one_learner

LONG = sorted(
    name for name, command in main.commands.items() if any(option.name == "quiet" for option in command.params)
)
HOUR, NEXT = "2025-03-12T12:00Z", "2025-03-12T13:00Z"
COLUMNS = 80
PUBLISHED = sum(contract.published for contract in CONTRACTS.values())


class Heard(io.StringIO):
    """What was printed, and a signal once a text is in it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.awaited, self.heard = awaited, threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.awaited in self.getvalue():
            self.heard.set()
        return written


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_OF_SILENCE", 0.0)
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LOOKS", 0.01)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One learner, one event, and one that is rejected."""
    rows = ["p1,u1,reading,2025-03-12T08:00:00Z,10", "p2,u1,podcast,2025-03-12T09:00:00Z,10"]
    return one_learner(tmp_path / "source", rows)


def test_the_long_commands_are_those_that_write() -> None:
    assert LONG == ["backfill", "demo", "erase", "materialize", "publish", "reconcile", "upgrade"]


@pytest.mark.parametrize("command", LONG)
def test_a_long_command_says_so_before_it_does_anything(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing slow can have been imported: the command's own function has not begun.
    monkeypatch.setattr(module, "Progress", _Stopping)
    found = main.commands[command]
    assert isinstance(found, click.Command)
    arguments = {"materialize": ["--as-of", HOUR], "erase": ["someone"]}.get(command, [])
    done = run([command, *arguments], tmp_path)
    assert (done.returncode, done.stderr) == (3, f"{command}: starting\n")


class _Stopping(Progress):
    def __enter__(self) -> Self:
        sys.exit(3)


def test_the_first_line_comes_before_dagster_and_polars_are_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(COMMAND), "materialize", "--as-of", HOUR]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    lines = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert lines.index("materialize: starting") < min(lines.index("polars"), lines.index("dagster"))


@pytest.mark.usefixtures("impatient")
def test_what_takes_long_is_said_again_and_again() -> None:
    out = Heard("user_ghost_stats, 0 s\n    user_ghost_stats, 0 s\n")
    with Progress("materialize", out) as progress:
        progress.working_on("user_ghost_stats")
        assert out.heard.wait(60), out.getvalue()


@pytest.mark.usefixtures("impatient")
def test_rows_are_counted_while_a_table_is_read() -> None:
    out = Heard("    user_progress: 1,500,000 of 6,000,000 (25 %) rows read, 0 s\n")
    with Progress("materialize", out) as progress:
        progress.working_on("user_progress")
        progress.rows("user_progress", 1_500_000, 6_000_000)
        assert out.heard.wait(60), out.getvalue()


@pytest.mark.usefixtures("impatient")
def test_rows_of_an_unknown_number_are_counted_without_a_percentage() -> None:
    out = Heard("    user_progress: 1,500,000 rows read, 0 s\n")
    with Progress("materialize", out) as progress:
        progress.rows("user_progress", 1_500_000, None)
        assert out.heard.wait(60), out.getvalue()


@pytest.mark.usefixtures("impatient")
def test_nothing_is_said_while_a_person_is_asked() -> None:
    out = Heard("again")
    with Progress("erase", out) as progress:
        progress.wait_for_answer()
        before = out.getvalue()
        looks = [threading.Event().wait(0.01) for _ in range(20)]
        assert not any(looks)
        assert out.getvalue() == before
        progress.working_on("again")
        assert out.heard.wait(60)


def test_without_a_command_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.say("something")
    NO_PROGRESS.say("something")
    assert capfd.readouterr() == ("", "")


def test_many_partitions_are_shown_by_the_first_and_the_last() -> None:
    summary = Summary()
    summary.add_built(*(f"hour {number}" for number in range(48)), "hour 0")
    assert summary.lines()[1] == "built      hour 0 … hour 47 (48)"


def test_a_program_gets_one_object_and_progress_on_standard_error(source: Path, tmp_path: Path) -> None:
    done = run(["materialize", "--as-of", HOUR, "--json"], tmp_path / "data", source)
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    assert found.pop("published") == {"file": str(tmp_path / "data" / "ghost.duckdb"), "tables": PUBLISHED, "rows": 1}
    assert found == {
        "command": "materialize",
        "read": 2,
        "rejected": 1,
        "built": ["hour 2025-03-12-11:00", "month 2025-02"],
        "skipped": [],
        "look_at": ["ghost-pipeline status", 'ghost-pipeline query "FROM lake.rejected_rows"'],
    }
    assert "\nhour 2025-03-12-11:00\n" in done.stderr
    again = json.loads(run(["materialize", "--as-of", HOUR, "--json"], tmp_path / "data", source).stdout)
    assert again["built"] == ["hour 2025-03-12-11:00"]
    assert again["skipped"] == ["month 2025-02: nothing changed"]


def test_a_program_gets_the_error_of_a_command_that_fails(source: Path, tmp_path: Path) -> None:
    (source / "cohorts.csv").unlink()
    done = run(["materialize", "--as-of", HOUR, "--json"], tmp_path / "data", source)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ghost-pipeline: {found['error']}"
    assert (found["command"], found["published"]) == ("materialize", None)


def test_an_hour_is_built_even_if_no_program_reads_its_progress(source: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    variables = environment(tmp_path / "data", source)
    command = [str(COMMAND), "materialize", "--as-of", HOUR]
    with subprocess.Popen(command, env=variables, stdout=writer, stderr=writer) as process:
        os.close(writer)
        assert os.read(reader, 1) == b"m"
        os.close(reader)
    assert process.returncode == 0
    assert (tmp_path / "data" / "ghost.duckdb").exists()


def test_quiet_prints_errors_only(source: Path, tmp_path: Path) -> None:
    done = run(["materialize", "--as-of", HOUR, "--quiet"], tmp_path / "data", source)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (source / "cohorts.csv").unlink()
    failed = run(["materialize", "--as-of", NEXT, "--quiet"], tmp_path / "data", source)
    (line,) = failed.stderr.splitlines()
    assert line.startswith("ghost-pipeline: ")


def test_in_a_terminal_the_lines_fit_and_the_last_ones_sum_up(source: Path, tmp_path: Path) -> None:
    reader, writer = pty.openpty()
    variables = environment(tmp_path / "data", source, COLUMNS=str(COLUMNS), TERM="xterm")
    command = [str(COMMAND), "materialize", "--as-of", HOUR]
    with subprocess.Popen(command, env=variables, stdin=writer, stdout=writer, stderr=writer) as process:
        os.close(writer)
        told = b""
        # At the end of a terminal reading fails: its other side is closed.
        while chunk := _read(reader):
            told += chunk
    os.close(reader)
    lines = told.decode().replace("\r", "").splitlines()
    assert process.returncode == 0, lines
    assert lines[0] == "materialize: starting"
    summed_up = [line for line in lines if not line.startswith(" ")][-6:]
    assert [line[:11].strip() for line in summed_up] == ["read", "built", "skipped", "published", "took", "look at"]
    # A warning is one line, however long.
    told_as_it_goes = [line for line in lines if not line.startswith("warning: ") and str(tmp_path) not in line]
    assert [line for line in told_as_it_goes if len(line) > COLUMNS] == []


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


class Counting(Progress):
    """Keeps what it is told of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int, int | None]] = []

    def rows(self, table: str, rows: int, total: int | None) -> None:
        self.told.append((table, rows, total))


def test_what_ingestion_tells_of_rows_reaches_the_progress(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_asset, "SECONDS_BETWEEN", 0)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "records"))
    progress, settings = Counting(), Settings.load(source=str(source), data=tmp_path / "data")
    materialize(settings, datetime(2025, 3, 12, 12, tzinfo=UTC), progress=progress)
    assert ("user_progress", 2) in [(table, rows) for table, rows, _ in progress.told]
