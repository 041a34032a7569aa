"""What `ghost-pipeline doctor` says of a source: where tables come from, their columns, rows and rejects."""

from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.cli.doctor import diagnose
from ghost_pipeline.cli.findings import Finding, Verdict
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources import database as databases
from ghost_pipeline_tests.sources.servers import SCHEMA, Database, fill_sqlite

SQLITE = (
    "CREATE TABLE people (id, created_at, timezone, target_band)",
    """INSERT INTO people VALUES ('usr-ada', '2025-01-01', 'Atlantic/Azores', 7.5),
        ('usr-bob', 'soon', NULL, 'a' || char(27)), ('usr-eve', '2025-01-01', NULL, 99)""",
    "CREATE TABLE cohorts (cohort_id)",
    "CREATE TABLE user_progress (progress_id, user_id, task_type, completed_at)",
)


def said(source: str, tmp_path: Path, mapping: str | None = None) -> list[Finding]:
    path = None
    if mapping is not None:
        path = tmp_path / "own.yaml"
        path.write_text(mapping, encoding="utf-8")
    return list(diagnose(Settings.load(source=source, source_mapping=path, data=tmp_path / "data")))


@pytest.fixture
def of_sqlite(tmp_path: Path) -> dict[str, list[Finding]]:
    """What is said of a SQLite file, by what it is about."""
    file = fill_sqlite(tmp_path / "app.db", SQLITE)
    found = said(f"sqlite:///{file}", tmp_path, "users: {table: people, columns: {user_id: id}}")
    return {about: [one for one in found if one.about == about] for about in {one.about for one in found}}


def test_every_table_says_where_it_comes_from_and_what_is_missing(of_sqlite: dict[str, list[Finding]]) -> None:
    (columns,) = of_sqlite["users columns"]
    assert columns.verdict is Verdict.OK
    assert columns.description == (
        "table people: user_id (from id), target_band, timezone, created_at; missing, but optional: updated_at, "
        "cohort_id, diagnostic_score, final_band_score, final_band_at, cohort_excluded"
    )


def test_rejects_are_counted_by_their_reason(of_sqlite: dict[str, list[Finding]]) -> None:
    (rows,) = of_sqlite["users"]
    assert rows.verdict is Verdict.LOOK
    assert rows.description.startswith("3 rows; 2 would be rejected (1 x ")


def test_the_first_rejects_are_shown_with_their_reason(of_sqlite: dict[str, list[Finding]]) -> None:
    first, second = (one.description for one in of_sqlite["users rejected"])
    reasons = "target_band is not a number; created_at is not a time"
    assert first == f"{reasons}: user_id String, target_band a\\x1b, timezone null, created_at soon"
    assert (
        second == "target_band is outside 0 to 9: user_id String, target_band 99, timezone null, created_at 2025-01-01"
    )


def test_rows_are_shown_without_what_names_a_person(of_sqlite: dict[str, list[Finding]]) -> None:
    first, _ = of_sqlite["users row"]
    assert first.description == "user_id String, target_band 7.5, timezone String, created_at 2025-01-01"


def test_nothing_that_names_a_person_is_said(of_sqlite: dict[str, list[Finding]]) -> None:
    everything = " ".join(one.description for findings in of_sqlite.values() for one in findings)
    assert [text for text in ("usr-", "Azores") if text in everything] == []


def test_what_somebody_typed_is_not_said(database: Database, tmp_path: Path) -> None:
    database.execute(
        *SCHEMA,
        "INSERT INTO session_keystrokes VALUES (gen_random_uuid(), 0, '2025-01-01', 'q', 'w', 0)",
    )
    (row,) = [one.description for one in said(database.address, tmp_path) if one.about == "session_keystrokes row"]
    assert row == (
        "session_id String, key_index 0, keystroke_time 2025-01-01 00:00:00, keystroke_char String, "
        "expected_char String, text_index 0"
    )


@pytest.mark.parametrize(
    ("statement", "says"), [("ANALYZE cohorts", "about 30 rows; of the first 20"), ("SELECT 1", "20 rows and more;")]
)
def test_of_a_large_table_the_first_rows_are_looked_at(
    statement: str, says: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "SAMPLE_ROWS", 20)
    monkeypatch.setattr("ghost_pipeline.sources.postgres.SAMPLE_ROWS", 20)
    database.execute(*SCHEMA, "INSERT INTO cohorts (cohort_id) SELECT gen_random_uuid() FROM generate_series(1, 30)")
    database.execute(statement)
    (rows,) = [one.description for one in said(database.address, tmp_path) if one.about == "cohorts"]
    assert rows.startswith(says)


def test_a_large_table_of_sqlite_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "SAMPLE_ROWS", 20)
    tables = {"cohorts": pl.DataFrame({"cohort_id": [str(number) for number in range(30)]})}
    file = fill_sqlite(tmp_path / "app.db", [SQLITE[3], "CREATE TABLE users (user_id, created_at)"], tables)
    (rows,) = [one.description for one in said(f"sqlite:///{file}", tmp_path) if one.about == "cohorts"]
    assert rows == "30 rows; of the first 20, all readable"


def test_a_table_that_cannot_be_read_does_not_hide_the_others(database: Database, tmp_path: Path) -> None:
    database.execute(*SCHEMA, "ALTER TABLE cohorts RENAME cohort_id TO id")
    found = {one.about: one.verdict for one in said(database.address, tmp_path)}
    assert (found["cohorts"], found["user_progress"]) == (Verdict.WRONG, Verdict.OK)


def test_the_words_of_the_engine_come_without_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise pl.exceptions.ComputeError("could not parse 'ada@example.org'\nand more")

    pl.DataFrame({"user_id": ["u1"], "created_at": ["2025-01-01"]}).write_parquet(tmp_path / "users.parquet")
    for name, columns in {"cohorts": ["cohort_id"], "user_progress": ["progress_id"]}.items():
        pl.DataFrame(schema=dict.fromkeys(columns, pl.String)).write_parquet(tmp_path / f"{name}.parquet")
    monkeypatch.setattr("ghost_pipeline.cli.doctor.read_rows", fail)
    (wrong,) = [one.description for one in said(str(tmp_path), tmp_path) if one.about == "users"]
    assert wrong == "cannot be read (could not parse …). Write it again"


def test_a_wrong_mapping_is_a_wrong_source(tmp_path: Path) -> None:
    (wrong,) = [one for one in said(str(tmp_path), tmp_path, "people: {table: p}") if one.verdict is Verdict.WRONG]
    assert wrong.about == "source"
    assert "own.yaml: table people: is not a canonical table" in wrong.description
