"""`ghost-pipeline erase`, as a person runs it: nothing of somebody is left, and no source brings them back."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.cli import erase as erasure
from ghost_pipeline.cli.doctor import diagnose
from ghost_pipeline.cli.findings import Verdict
from ghost_pipeline.contracts import Contract
from ghost_pipeline.contracts.ghost import COHORT_RELEASE_CONTRIBUTIONS, USER_GHOST_STATS
from ghost_pipeline.contracts.kept_months import BENCHMARK_ACHIEVERS
from ghost_pipeline.contracts.raw import PRACTICE_SESSIONS, REJECTED_ROWS, SESSION_NGRAM_ERRORS, USER_PROGRESS, USERS
from ghost_pipeline.errors import PublishError, SettingsError, UnknownUserError
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.history_files import history_files
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Month
from ghost_pipeline_tests.running import lake_digest, published_rows, run
from ghost_pipeline_tests.traces import traces

KEY = "a key of thirty-two characters or more"
NOW = datetime(2025, 3, 20, 9, 30, tzinfo=UTC)
USER = "usr-5b1e77aa"
THEIRS = (USER, "ses-5b1e77aa", "kbd-5b1e77aa", "prg-5b1e77aa", "Grace's keyboard")
"""What names the person, or begins the ids of what is theirs; it stands nowhere else."""

Row = dict[str, object]


def sessions(user: str, name: str, hours: range) -> list[Row]:
    return [
        dict[str, object](session_id=f"ses-{name}-{hour:02}", user_id=user, keyboard_id=f"kbd-{name}")
        | {"start_time": f"2025-03-12T{hour:02}:00:00Z", "end_time": f"2025-03-12T{hour:02}:10:00Z"}
        for hour in hours
    ]


def keys(session: object, hour: int) -> list[Row]:
    return [
        {"session_id": session, "key_index": index, "keystroke_time": f"2025-03-12T{hour:02}:00:0{index}Z"}
        | {"keystroke_char": char, "expected_char": char, "text_index": index}
        for index, char in enumerate("then")
    ]


def tasks(user: str, name: str) -> list[Row]:
    return [
        {"progress_id": f"prg-{name}-{number}", "user_id": user, "task_type": "reading", "time_spent_minutes": 10}
        | {"completed_at": f"2025-{at}Z"}
        for number, at in enumerate(["02-20T08:00", "03-11T08:00", "03-12T09:30", "03-12T10:30"])
    ]


def world() -> dict[str, list[Row]]:
    """Twelve others and the person, who has also sent rows that are rejected."""
    others = [f"usr-other-{number:02}" for number in range(12)]
    scored = {"diagnostic_score": 5.5, "final_band_score": 7.5, "final_band_at": "2025-02-20T00:00Z"}
    users: list[Row] = [
        {"user_id": user, "cohort_id": "c1", "created_at": "2025-02-01", **scored} for user in [*others, USER]
    ]
    typed = sessions(others[0], "other", range(8, 12)) + sessions(USER, "5b1e77aa", range(7, 12))
    strokes = [row for session in typed for row in keys(session["session_id"], int(str(session["session_id"])[-2:]))]
    progress = [row for user in others for row in tasks(user, user[4:])] + tasks(USER, "5b1e77aa")
    return {
        "users": [*users, {"user_id": f"{USER}-twin", "created_at": "never", "note": f"twin of {USER}"}],
        "cohorts": [{"cohort_id": "c1"}],
        "user_progress": [
            *progress,
            {**progress[-1], "progress_id": "prg-5b1e77aa-bad", "task_type": "podcast"},
        ],
        "keyboards": [
            {"keyboard_id": "kbd-other", "user_id": others[0], "keyboard_name": "an other keyboard"},
            {"keyboard_id": "kbd-5b1e77aa", "user_id": USER, "keyboard_name": "Grace's keyboard"},
        ],
        "practice_sessions": typed,
        "session_keystrokes": [*strokes, {**strokes[-1], "key_index": "9", "keystroke_char": None}],
    }


def write(folder: Path, tables: Mapping[str, list[Row]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.ndjson").write_text(text, encoding="utf-8")
    return folder


def pipeline(folder: Path, *arguments: str, fails: bool = False, stdin: str = "") -> subprocess.CompletedProcess[str]:
    variables = {"GHOST_ERASURE_KEY": KEY, "GHOST_MIN_SAMPLE": "5"}
    # One cell of benchmarks: the curves of all 24 would take a second for every month.
    variables |= {"GHOST_BANDS": "7.5", "GHOST_STARTING_SKILLS": "5.5"}
    done = run(arguments, folder / "data", folder / "source", stdin=stdin, **variables)
    assert (done.returncode != 0) == fails, done.stderr
    return done


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that has seen an hour, a month, a run that failed, and a backfill."""
    folder = tmp_path_factory.mktemp("lived")
    source = write(folder / "source", world())
    pipeline(folder, "materialize", "--as-of", "2025-03-12T11:00Z")
    rows = (source / "users.ndjson").read_text(encoding="utf-8")
    (source / "users.ndjson").write_text(rows + f'{{"user_id": "{USER}', encoding="utf-8")
    failed = pipeline(folder, "materialize", "--as-of", "2025-03-12T12:00Z", fails=True)
    assert USER not in failed.stderr
    # Another error, of the kind whose engine cites what it could not read.
    shutil.move(source / "users.ndjson", folder / "kept.ndjson")
    pl.DataFrame({"user_id": [USER]}).write_parquet(source / "users.parquet", compression="uncompressed")
    content = (source / "users.parquet").read_bytes()
    (source / "users.parquet").write_bytes(content[:-10])
    pipeline(folder, "materialize", "--as-of", "2025-03-12T12:00Z", fails=True)
    (source / "users.parquet").unlink()
    (source / "users.ndjson").write_text(rows, encoding="utf-8")
    pipeline(folder, "backfill", "--from", "2025-03-12T10:00Z", "--to", "2025-03-12T12:00Z")
    return folder


@pytest.fixture(scope="module")
def erased(lived: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A copy of it after the erasure, and the report."""
    folder = tmp_path_factory.mktemp("erased") / "it"
    shutil.copytree(lived, folder)
    # Left by a killed process of another machine, which nobody would ever clear.
    staged = folder / "data" / "lake" / ".staging" / "elsewhere@7-0.parquet.tmp"
    staged.parent.mkdir(exist_ok=True)
    staged.write_text(USER, encoding="utf-8")
    done = pipeline(folder, "erase", USER, "--yes", "--json")
    report: dict[str, object] = json.loads(done.stdout)
    assert USER not in done.stdout + done.stderr
    return folder, report


def test_dagsters_records_never_named_the_person(lived: Path) -> None:
    home = lived / "data" / "dagster_home"
    assert traces(home, THEIRS) == set()
    assert traces(home, ["user_progress"])


def test_the_search_finds_the_person_wherever_there_is_one(lived: Path) -> None:
    found = traces(lived / "data", THEIRS)
    tables = {name.split("/")[1] for name in found if name.startswith("lake/")}
    assert tables >= {
        "users", "keyboards", "user_progress", "practice_sessions", "session_keystrokes", "session_ngram_speed",
        "rejected_rows", "user_activity_days", "user_activity_checkpoints", "user_ghost_stats", "ghost_messages",
        "cohort_release_contributions", "session_ngram_summary", "ngram_speed_summaries",
        "ngram_speed_summary_history", ".cache",
    }  # fmt: skip
    assert "ghost.duckdb" in found


def test_nothing_of_the_person_is_left_anywhere(erased: tuple[Path, dict[str, object]]) -> None:
    folder, _ = erased
    assert traces(folder / "data", THEIRS) == set()


def test_the_others_are_as_they_were(lived: Path, erased: tuple[Path, dict[str, object]]) -> None:
    before, after = (Lake(folder / "data" / "lake") for folder in (lived, erased[0]))
    for contract in (USERS, USER_PROGRESS, PRACTICE_SESSIONS, USER_GHOST_STATS):
        others = before.scan(contract).filter(pl.col("user_id") != USER).collect()
        assert others.height
        assert after.scan(contract).collect().equals(others)
    stayed = before.scan(REJECTED_ROWS).filter(~pl.col("row").str.contains("5b1e77aa")).collect()
    assert after.scan(REJECTED_ROWS).collect().equals(stayed)


def test_what_peers_have_seen_stays_and_can_still_be_compared_with(
    lived: Path, erased: tuple[Path, dict[str, object]]
) -> None:
    ledgers = [published_rows(folder / "data")["cohort_ghost_release"] for folder in (lived, erased[0])]
    assert ledgers[0] == ledgers[1]
    before, after = (
        Lake(folder / "data" / "lake").scan(COHORT_RELEASE_CONTRIBUTIONS).collect() for folder in (lived, erased[0])
    )
    assert before.height == after.height
    assert COHORT_RELEASE_CONTRIBUTIONS.faults(after) == []
    figures = ["cohort_id", "as_of", "tasks_completed", "practice_time_ms", "current_streak", "days_practiced"]
    assert before.select(figures).sort(figures).equals(after.select(figures).sort(figures))


def test_the_report_counts_what_was_done(lived: Path, erased: tuple[Path, dict[str, object]]) -> None:
    _, report = erased
    rows = {one["table"]: one["rows"] for one in report["tables"]}  # type: ignore[attr-defined]
    there = Lake(lived / "data" / "lake").scan(USER_PROGRESS).filter(pl.col("user_id") == USER).collect().height
    assert rows["user_progress"] == there == 4
    assert rows["practice_sessions"] == 5
    assert rows["rejected_rows"] == 3
    # A user, a keyboard, five sessions, four tasks.
    assert report["new_tombstones"] == 11
    assert report["months_computed_again"] == ["2025-02"]
    assert report["published"] is True
    kept = json.loads(Path(str(report["report"])).read_text(encoding="utf-8"))
    assert kept == report


def test_the_month_stays_as_it_was_published(lived: Path, erased: tuple[Path, dict[str, object]]) -> None:
    """The next size would tell what the person did; that they left counts for the next renewal."""

    def sizes(folder: Path) -> set[object]:
        command = "SELECT DISTINCT sample_size FROM ghost_benchmarks WHERE day_number = 10 AND population = 'interval'"
        return {row["sample_size"] for row in json.loads(pipeline(folder, "query", command, "--json").stdout)}

    assert (sizes(lived), sizes(erased[0])) == ({13}, {13})
    people = [Lake(folder / "data" / "lake").scan(BENCHMARK_ACHIEVERS).collect() for folder in (lived, erased[0])]
    assert [one.height for one in people] == [13, 13]
    assert [USER in one["user_id"] for one in people] == [True, False]


@pytest.mark.long
def test_a_source_that_still_has_the_person_brings_nothing_back(
    erased: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder = tmp_path / "it"
    shutil.copytree(erased[0], folder)
    tables = world()
    # What came in since, and what stayed when the source forgot whose it was.
    tables["practice_sessions"] += sessions(USER, "5b1e77aa-new", range(12, 13))
    tables["session_keystrokes"] += keys("ses-5b1e77aa-new-12", 12)
    tables["user_progress"].append({**tasks(USER, "5b1e77aa-new")[0], "completed_at": "2025-03-12T12:30Z"})
    tables["user_progress"] += [
        {**tasks(USER, "5b1e77aa")[3], "user_id": None},
        {**tasks(USER, "5b1e77aa")[3], "user_id": None, "progress_id": "prg-5b1e77aa-nobody"},
    ]
    tables["practice_sessions"] = [row for row in tables["practice_sessions"] if row["session_id"] != "ses-5b1e77aa-09"]
    write(folder / "source", tables)
    told = pipeline(folder, "materialize", "--as-of", "2025-03-12T13:00Z")
    assert "5b1e77aa" not in told.stderr
    found = traces(folder / "data", ["5b1e77aa"])
    # Only what nothing but an id tells that was never taken in, and what somebody else's row says.
    assert {name.split("/")[1] for name in found} <= {"rejected_rows"}
    rows = Lake(folder / "data" / "lake").scan(REJECTED_ROWS).collect()["row"]
    left = [json.loads(row) for row in rows if "5b1e77aa" in row]
    assert {row.get("progress_id") or row["user_id"] for row in left} == {"prg-5b1e77aa-nobody", f"{USER}-twin"}


def test_it_asks_first_and_shows_what_goes(lived: Path) -> None:
    done = run(["erase", USER], lived / "data", stdin="n\n", GHOST_ERASURE_KEY=KEY)
    assert done.returncode == 1
    assert ["user_progress", "4", "4", "False"] in [line.split() for line in done.stderr.splitlines()]
    assert "These rows will be deleted for good. Erase? [y/N]" in done.stderr
    assert Lake(lived / "data" / "lake").scan(USERS).filter(pl.col("user_id") == USER).collect().height == 1


@pytest.fixture
def copied(lived: Path, tmp_path: Path) -> Settings:
    shutil.copytree(lived / "data", tmp_path / "data")
    return Settings.load(data=tmp_path / "data", erasure_key=KEY)


@pytest.mark.parametrize(
    ("rebuilds", "months", "stale"),
    [("nothing", [], False), ("months", ["2025-02"], False), ("everything", ["2025-02"], True)],
)
def test_what_is_computed_again_is_set(
    rebuilds: str,
    months: list[str],
    copied: Settings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stale: bool,
) -> None:
    asked: list[Month] = []
    monkeypatch.setattr(erasure, "republish", lambda _, wanted, **__: asked.extend(wanted))
    settings = copied.model_copy(update={"erasure_rebuilds": rebuilds})
    report = erasure.erase(settings, [USER], NOW)
    assert [month.key for month in asked] == list(report.months_computed_again) == months
    marked = stale_hours(Lake(settings.lake))
    assert (marked.height > 0, report.hours_marked_stale) == (stale, marked.height)
    assert "until" in report.stays[0] or rebuilds == "nothing"


def test_whoever_reached_no_band_is_in_no_month(copied: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "republish", lambda *_, **__: None)
    lake = Lake(copied.lake)
    for hour in lake.hours(USERS):
        score = pl.when(pl.col("user_id") != USER).then("final_band_score").alias("final_band_score")
        lake.rewrite(USERS, [hour], lambda rows, score=score: rows.with_columns(score))  # type: ignore[misc]
    assert erasure.erase(copied, [USER], NOW).months_computed_again == ()


def test_somebody_unknown_is_not_erased_unless_asked_for(copied: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "republish", lambda *_, **__: None)
    before = lake_digest(copied.local)
    for call in (erasure.planned, lambda settings, users: erasure.erase(settings, users, NOW)):
        with pytest.raises(UnknownUserError, match=r"1 of 2 users \(position 2 of those you named\)") as raised:
            call(copied, [USER, "usr-to-come"])
        assert "usr-" not in str(raised.value)
    assert lake_digest(copied.local) == before
    report = erasure.erase(copied, ["usr-to-come"], NOW, even_if_unknown=True)
    assert (report.tables, report.new_tombstones, report.months_computed_again) == ((), 1, ())


def test_what_a_failed_publication_leaves_is_told_and_made_up_for(
    copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PublishError("no space")

    monkeypatch.setattr(erasure, "republish", refuses)
    with pytest.raises(PublishError, match="no space"):
        erasure.erase(copied, [USER], NOW)
    (file,) = (copied.local / "erasures").glob("*.json")
    assert json.loads(file.read_text(encoding="utf-8"))["published"] is False
    asked: list[Month] = []
    monkeypatch.setattr(erasure, "republish", lambda _, wanted, **__: asked.extend(wanted))
    again = erasure.erase(copied, [USER], NOW)
    assert (again.tables, again.published) == ((), True)
    # Nothing tells any more since when they had been there.
    assert [month.key for month in asked] == ["2025-02"]


def test_superseded_histories_are_gone_before_a_month_that_fails(
    copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[set[str]] = []

    def fails(*_: object) -> None:
        there.append(history_there(copied.local))
        raise PublishError("no space")

    before = history_there(copied.local)
    monkeypatch.setattr("ghost_pipeline.cli.run._Runs.of_month", fails)
    with pytest.raises(PublishError, match="no space"):
        erasure.erase(copied, [USER], NOW)
    named = {one.file for one in history_files(copied.local / "ghost.duckdb") if not one.publications_ago}
    assert before - named
    assert there == [named]


def test_superseded_histories_are_gone_although_the_copy_in_postgresql_fails(
    copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        publish(Lake(copied.lake), copied.database, allow_gaps=True)
        raise PublishError("no connection")

    monkeypatch.setattr("ghost_pipeline.cli.run._Runs.of_publication", fails)
    with pytest.raises(PublishError, match="no connection"):
        erasure.erase(copied, [USER], NOW)
    named = {one.file for one in history_files(copied.local / "ghost.duckdb") if not one.publications_ago}
    assert history_there(copied.local) == named


def history_there(data: Path) -> set[str]:
    return {path.relative_to(data).as_posix() for path in (data / "history").rglob("*.parquet")}


def test_one_that_is_killed_has_said_what_was_to_go(copied: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "republish", lambda *_, **__: None)
    rewrite, done = Lake.rewrite, list[str]()

    def dies(self: Lake, contract: Contract, *rest: object) -> None:
        if contract is USER_PROGRESS:
            raise KeyboardInterrupt
        done.append(contract.name)
        rewrite(self, contract, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "rewrite", dies)
        with pytest.raises(KeyboardInterrupt):
            erasure.erase(copied, [USER], NOW)
    (file,) = (copied.local / "erasures").glob("*.json")
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["under_way"], told["published"], told["new_tombstones"]) == (True, False, 11)
    assert {one["table"] for one in told["tables"]} >= {*done, "user_progress", "users"}
    assert "practice_sessions" in done
    again = erasure.erase(copied, [USER], NOW + timedelta(hours=1))
    assert (again.under_way, again.published) == (False, True)
    assert "practice_sessions" not in {one.table for one in again.tables}


@pytest.mark.long
def test_a_gap_keeps_nobody_in_what_is_published(lived: Path, tmp_path: Path) -> None:
    shutil.copytree(lived, tmp_path / "it")
    lake = Lake(tmp_path / "it" / "data" / "lake")
    # As a run leaves it that is killed before it has computed anew what follows from late rows.
    lake.invalidate(SESSION_NGRAM_ERRORS, lake.hours(SESSION_NGRAM_ERRORS)[2])
    told = pipeline(tmp_path / "it", "erase", "-", "--yes", stdin=f"{USER}\n\n").stdout
    assert "stays: hours that an interrupted run left out" in told
    assert "fills them in: session_ngram_errors" in told
    assert traces(tmp_path / "it" / "data", THEIRS) == set()


@pytest.mark.parametrize(
    ("given", "options", "says"), [(b"usr\n", [], "give --yes"), (b"usr-\xff", ["--yes"], "not UTF-8")]
)
def test_ids_that_cannot_be_read_or_asked_for_are_not_told(
    given: bytes, options: list[str], says: str, tmp_path: Path
) -> None:
    done = run(["erase", "-", *options], tmp_path / "data", stdin=given, GHOST_ERASURE_KEY=KEY)
    assert "usr" not in done.stderr
    assert done.returncode == 2
    assert says in done.stderr


def test_the_doctor_says_whether_the_key_is_there(copied: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(settings: Settings) -> list[tuple[Verdict, str]]:
        return [(one.verdict, one.description) for one in diagnose(settings) if one.about == "erased people"]

    monkeypatch.setattr(erasure, "republish", lambda *_, **__: None)
    assert says(copied) == []
    erasure.erase(copied, [USER], NOW)
    assert says(copied) == [(Verdict.OK, "11 ids are kept out, and the erasure key matches them")]
    ((verdict, told),) = says(copied.model_copy(update={"erasure_key": None}))
    assert verdict is Verdict.WRONG
    assert "Set GHOST_ERASURE_KEY" in told


@pytest.mark.long
def test_a_restored_lake_is_found_wrong_and_rid_of_them_again(
    lived: Path, erased: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    folder = tmp_path / "it"
    shutil.copytree(erased[0], folder)
    shutil.copytree(lived / "data" / "lake", folder / "data" / "lake", dirs_exist_ok=True)
    told = pipeline(folder, "doctor", "--json", fails=True).stdout
    (wrong,) = [one for one in json.loads(told) if one["about"] == "erased people"]
    assert wrong["verdict"] == "wrong"
    assert "users: has 1 people who were erased" in wrong["says"]
    report = json.loads(pipeline(folder, "erase", "--again", "--yes", "--json").stdout)
    assert {one["table"]: one["rows"] for one in report["tables"]}["user_progress"] == 4
    assert (report["people"], report["new_tombstones"]) == (1, 0)
    assert traces(folder / "data", THEIRS) == set()
    pipeline(folder, "doctor")


def test_who_is_meant_is_named_or_found_and_not_both(tmp_path: Path) -> None:
    for arguments in (["erase"], ["erase", USER, "--again"]):
        assert run(arguments, tmp_path / "data").returncode == 2


def test_it_needs_a_key(copied: Settings) -> None:
    with pytest.raises(SettingsError, match="GHOST_ERASURE_KEY, or GHOST_ERASURE_KEY_FILE: not set"):
        erasure.erase(copied.model_copy(update={"erasure_key": None}), [USER], NOW)


def test_a_lake_without_an_hour_has_nothing_to_publish(tmp_path: Path) -> None:
    settings = Settings.load(data=tmp_path / "data", erasure_key=KEY)
    report = erasure.erase(settings, [USER], NOW, even_if_unknown=True)
    assert (report.new_tombstones, (tmp_path / "data" / "ghost.duckdb").exists()) == (1, False)
