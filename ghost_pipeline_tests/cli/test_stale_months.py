"""A built month becomes stale; after the command that `stale` prints, what is published is right."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.cli import erase as erasure
from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import build_defs
from ghost_pipeline.defs.jobs import HOURLY
from ghost_pipeline.errors import PublishError
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.running import published_rows, run

pytestmark = pytest.mark.long

Row = dict[str, object]
SETTINGS = {"min_sample": "5", "bands": "7.5", "starting_skills": "5.5", "benchmark_days": "5"}
SETTINGS |= {"erasure_key": "a key of thirty-two characters or more", "erasure_rebuilds": "everything"}
# The last task is weeks before the hours that run, and a month shows what few people have changed, too.
SETTINGS |= {"quiet_hours": "1000", "release_min_changed": "1", "release_max_share_percent": "100"}
AS_OF, NEXT, HOUR = "2025-03-12T12:00Z", "2025-03-12T13:00Z", "2025-03-12-12:00"
MONTHLY = ("ghost_benchmarks", "ghost_fastest_improvers", "ghost_streak_shares")
LEARNERS, ERASED = 12, ("u00", "u01", "u02")


def learners() -> list[Row]:
    scored = {"diagnostic_score": 5.5, "final_band_score": 7.5, "final_band_at": "2025-02-20T00:00:00Z"}
    dates = {"created_at": "2025-02-01T00:00:00Z", "updated_at": "2025-02-01T00:00:00Z"}
    return [{"user_id": f"u{number:02}", "cohort_id": "c1", **scored, **dates} for number in range(LEARNERS)]


def tasks() -> list[Row]:
    return [
        {"progress_id": f"p{number:02}-{day}", "user_id": f"u{number:02}", "task_type": "reading"}
        | {"completed_at": f"2025-02-{day:02}T08:00:00Z", "time_spent_minutes": 10 + number}
        for number in range(LEARNERS)
        for day in range(1, 2 + number % 5)
    ]


def write(folder: Path, users: list[Row], progress: list[Row]) -> None:
    (folder / "source").mkdir(exist_ok=True)
    cohorts: list[Row] = [{"cohort_id": "c1"}]
    for name, rows in {"users": users, "cohorts": cohorts, "user_progress": progress}.items():
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "source" / f"{name}.ndjson").write_text(text, encoding="utf-8")


def pipeline(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    variables = {f"GHOST_{name.upper()}": value for name, value in SETTINGS.items()}
    done = run(arguments, folder / "data", folder / "source", **variables)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def hourly_job(folder: Path) -> None:
    """The next hour as Dagster's schedule runs it: without the month."""
    settings = Settings.load(source=str(folder / "source"), data=folder / "data", **SETTINGS)
    with dg.DagsterInstance.ephemeral() as instance:
        done = build_defs(settings).resolve_job_def(HOURLY)
        done.execute_in_process(
            partition_key=HOUR,
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in selection({Domain.GHOST}, monthly=False)],
        )


def stale(folder: Path) -> list[Row]:
    rows: list[Row] = json.loads(pipeline(folder, "stale", "--json")[0])
    return rows


def shown(folder: Path) -> tuple[object, ...]:
    """The figures of learners and months as they are published, and the dictionary."""
    published = published_rows(folder / "data")
    dictionary = (folder / "data" / "ghost_benchmarks.json").read_text(encoding="utf-8")
    return *(published[name] for name in (*MONTHLY, "user_ghost_stats")), dictionary


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    write(folder, learners(), tasks())
    pipeline(folder, "materialize", "--as-of", AS_OF)
    assert stale(folder) == []
    return folder


def late_events(folder: Path, _: pytest.MonkeyPatch) -> None:
    late = [{**row, "progress_id": f"late-{row['progress_id']}", "task_type": "writing"} for row in tasks()[:15]]
    write(folder, learners(), [*tasks(), *late])
    hourly_job(folder)


def a_version(folder: Path, _: pytest.MonkeyPatch) -> None:
    changed = {"updated_at": "2025-02-21T00:00:00Z", "final_band_score": 8.5}
    write(folder, [{**row, **changed} if row["user_id"] in ERASED else row for row in learners()], tasks())
    hourly_job(folder)


def an_erasure(folder: Path, patched: pytest.MonkeyPatch) -> None:
    """An erasure that ends, for whatever reason, before it has rebuilt the months."""

    def fails(*_: object, **__: object) -> None:
        raise PublishError("no space")

    with patched.context() as only_now:
        only_now.setattr(erasure, "republish", fails)
        pipeline(folder, "erase", "--yes", *ERASED, code=1)
    write(
        folder,
        [row for row in learners() if row["user_id"] not in ERASED],
        [row for row in tasks() if row["user_id"] not in ERASED],
    )


@pytest.mark.parametrize("change", [late_events, a_version, an_erasure])
def test_the_command_that_stale_prints_makes_the_published_month_right(
    change: Callable[[Path, pytest.MonkeyPatch], None],
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    shutil.copytree(built, folder)
    change(folder, monkeypatch)
    before = shown(folder)

    months = [(row["table"], row["month"], row["reason"]) for row in stale(folder) if row["month"]]
    assert months == [(table, "2025-02", "inputs changed") for table in MONTHLY]
    _, told = pipeline(folder, "stale")
    words = told.rpartition(": ")[2].split()
    assert words[0] == "ghost-pipeline"
    pipeline(folder, *words[1:])

    assert stale(folder) == []
    as_of = AS_OF if change is an_erasure else NEXT
    scratch.mkdir()
    shutil.copytree(folder / "source", scratch / "source")
    pipeline(scratch, "materialize", "--as-of", as_of)
    assert shown(folder)[:3] != before[:3]
    assert shown(folder) == shown(scratch)


def test_status_counts_the_stale_months_and_the_next_run_of_an_hour_rebuilds_the_newest(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(built, folder)
    late_events(folder, monkeypatch)
    assert json.loads(pipeline(folder, "status", "--json")[0])["stale_months"] == len(MONTHLY)
    _, told = pipeline(folder, "materialize", "--as-of", NEXT)
    assert "\nmonth 2025-02\n" in told
    assert not [row for row in stale(folder) if row["month"]]


def test_a_month_of_which_nothing_changed_is_not_computed_again(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(built, folder)
    month = folder / "data" / "lake" / "ghost_benchmarks" / "partition_month=2025-02" / "shard-0.parquet"
    before = month.stat().st_mtime_ns
    _, told = pipeline(folder, "materialize", "--as-of", NEXT)
    assert "\nmonth 2025-02\n" not in told
    assert month.stat().st_mtime_ns == before


def test_a_stale_month_waits_until_it_serves_answers(tmp_path: Path) -> None:
    write(tmp_path, learners(), tasks())
    pipeline(tmp_path, "materialize", "--as-of", "2025-03-01T01:00Z")
    late = {**tasks()[0], "progress_id": "late", "task_type": "writing"}
    write(tmp_path, learners(), [*tasks(), late])
    next_hour = json.loads(pipeline(tmp_path, "materialize", "--as-of", "2025-03-01T02:00Z", "--json")[0])
    assert next_hour["skipped"] == ["month 2025-02: stale, but does not serve answers yet"]
    assert {row["month"] for row in stale(tmp_path) if row["month"]} == {"2025-02"}
    serving = json.loads(pipeline(tmp_path, "materialize", "--as-of", "2025-03-02T00:00Z", "--json")[0])
    assert "month 2025-02" in serving["built"]
    assert not [row for row in stale(tmp_path) if row["month"]]


def test_an_older_month_is_listed_until_the_command_rebuilds_it(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(built, folder)
    pipeline(folder, "backfill", "--from", "2025-01-31T20:00Z", "--to", "2025-02-01T00:00Z")
    pipeline(folder, "backfill", "--stale")
    early = {**tasks()[0], "progress_id": "early", "completed_at": "2025-01-20T08:00:00Z"}
    write(folder, learners(), [*tasks(), early])
    pipeline(folder, "materialize", "--as-of", NEXT)
    assert {row["month"] for row in stale(folder) if row["month"]} == {"2025-01"}
    pipeline(folder, "backfill", "--stale")
    assert stale(folder) == []


def test_nothing_stale_is_nothing_to_do(built: Path) -> None:
    assert "\nnothing is stale\n" in pipeline(built, "backfill", "--stale")[1]


@pytest.mark.parametrize(
    "arguments", [[], ["--from", AS_OF], ["--stale", "--from", AS_OF, "--to", NEXT], ["--stale", "--all"]], ids=" ".join
)
def test_a_backfill_is_of_a_range_or_of_what_is_stale(arguments: list[str], tmp_path: Path) -> None:
    pipeline(tmp_path, "backfill", *arguments, code=2)
