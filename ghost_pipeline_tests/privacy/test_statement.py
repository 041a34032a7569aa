"""What protects people is said in counts and ages, and names no person."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.personal_columns import personal_columns
from ghost_pipeline.privacy.statement import privacy_statement
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.json_files import STATEMENT_FILE
from ghost_pipeline.publish.publication_record import PUBLICATION_FILE
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.running import run
from ghost_pipeline_tests.samples import HOUR, partition_of, sample

SETTINGS = Settings.load(release_min_members=12)


def ledger(lake: Lake, hour: Hour, *rows: tuple[str, int | None, str | None]) -> None:
    """Write the ledger of an hour: each cohort with the hours since its release, or why it is withheld."""
    found = [
        {
            "cohort_id": cohort,
            "snapshot_date": hour.start.date(),
            "snapshot_hour": hour.start.hour,
            "as_of": hour.as_of,
            "released": age is not None,
            "released_as_of": None if age is None else hour.as_of - timedelta(hours=age),
            "suppressed_reason": reason,
            "active_member_count": None if age is None else 4711,
        }
        for cohort, age, reason in rows
    ]
    schema = {name: dtype for name, dtype in COHORT_GHOST_RELEASE.polars_schema.items() if name in found[0]}
    frame = pl.DataFrame(found, schema=schema)
    others = [name for name in COHORT_GHOST_RELEASE.polars_schema if name not in schema]
    empty = frame.with_columns(pl.lit(None, COHORT_GHOST_RELEASE.polars_schema[name]).alias(name) for name in others)
    lake.write(COHORT_GHOST_RELEASE, hour, empty.select(*COHORT_GHOST_RELEASE.polars_schema))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with three hours of releases."""
    found, (first, second, third) = Lake(tmp_path / "lake"), (Hour(HOUR.start + timedelta(hours=n)) for n in range(3))
    ledger(found, first, ("secret-a", None, "too_few_members"), ("secret-b", 0, None))
    ledger(found, second, ("secret-a", 0, None), ("secret-b", 1, None), ("secret-c", None, "too_few_members"))
    ledger(found, third, ("secret-a", 1, None), ("secret-b", 2, None), ("secret-c", None, "dominated"))
    return found


def test_releases_are_counted_with_reasons_and_ages(lake: Lake) -> None:
    assert privacy_statement(lake, SETTINGS)["releases"] == {
        "cohorts": 3,
        "cohorts_shown": 2,
        "cohorts_suppressed_by_reason": {"dominated": 1},
        "age_in_hours": {"median": 1, "p95": 2, "oldest": 2},
        "counted_hours": 3,
        "new_releases": 2,
        "cohort_hours": 8,
        "cohort_hours_suppressed_by_reason": {"dominated": 1, "too_few_members": 2},
    }


def test_hours_of_more_than_14_days_ago_do_not_count(lake: Lake) -> None:
    ledger(lake, Hour(HOUR.start + timedelta(days=14, hours=1)), ("secret-a", 0, None))
    assert privacy_statement(lake, SETTINGS)["releases"]["counted_hours"] == 2


def test_neither_a_cohort_nor_a_figure_is_named(lake: Lake) -> None:
    lake.write(COHORT_GHOST_DATA, HOUR, sample(COHORT_GHOST_DATA, 3, 1))
    text = json.dumps(privacy_statement(lake, SETTINGS))
    assert "secret" not in text
    assert "4711" not in text
    figures = {name for name in COHORT_GHOST_RELEASE.polars_schema if name.startswith(("avg_", "top_", "median_"))}
    assert figures
    assert [name for name in figures if name in text] == []


def test_thresholds_are_those_that_are_set(lake: Lake) -> None:
    values = {one["setting"]: one["value"] for one in privacy_statement(lake, SETTINGS)["thresholds"]}
    assert values["GHOST_RELEASE_MIN_MEMBERS"] == 12
    assert values["GHOST_MIN_SAMPLE"] == 50
    assert values["GHOST_MAX_TASK_MINUTES"] == 1440
    assert {name for name in values if name.startswith("GHOST_RELEASE_")} == {
        f"GHOST_{name.upper()}" for name in Settings.model_fields if name.startswith("release_")
    }


def test_every_personal_table_is_named_with_how_long_it_is_kept(lake: Lake) -> None:
    chosen = Settings.load(retention="user_ghost_stats=2d")
    told = {one["table"]: one for one in privacy_statement(lake, chosen)["personal_tables"]}
    assert told.keys() == {contract.name for contract in CONTRACTS.values() if personal_columns(contract)}
    assert told["user_ghost_stats"]["kept"] == "2d"
    assert told["session_keystrokes"]["personal_columns"] == ["expected_char", "keystroke_char", "session_id"]


def test_the_newest_month_is_counted(lake: Lake) -> None:
    lake.write(GHOST_BENCHMARKS, partition_of(GHOST_BENCHMARKS), sample(GHOST_BENCHMARKS, 7, 1))
    (month,) = privacy_statement(lake, SETTINGS)["months"]
    assert (month["table"], month["rows"]) == ("ghost_benchmarks", 7)


def test_an_empty_lake_says_so(tmp_path: Path) -> None:
    said = privacy_statement(Lake(tmp_path / "lake"), SETTINGS)
    assert (said["as_of"], said["releases"], said["months"]) == (None, None, [])
    assert said["out_of_scope"]


def test_the_statement_is_a_file_of_the_publication(lake: Lake, tmp_path: Path) -> None:
    database = tmp_path / "ghost.duckdb"
    publish(lake, database, statement=lambda: privacy_statement(lake, SETTINGS))
    parts = json.loads((tmp_path / PUBLICATION_FILE).read_text(encoding="utf-8"))
    assert STATEMENT_FILE in parts["files"]
    said = json.loads((tmp_path / STATEMENT_FILE).read_text(encoding="utf-8"))
    assert said == privacy_statement(lake, SETTINGS)
    publish(lake, database, statement=lambda: privacy_statement(lake, Settings.load(release_min_members=13)))
    assert json.loads((tmp_path / PUBLICATION_FILE).read_text(encoding="utf-8"))["id"] != parts["id"]
    publish(lake, database)
    assert not (tmp_path / STATEMENT_FILE).exists()


def test_the_command_prints_the_same(lake: Lake, tmp_path: Path) -> None:
    printed = run(["privacy", "--json"], tmp_path, GHOST_RELEASE_MIN_MEMBERS="12")
    assert json.loads(printed.stdout) == privacy_statement(lake, SETTINGS)
    text = run(["privacy"], tmp_path).stdout
    assert "cohorts 3, shown 2, withheld 1 (dominated)" in text
    assert "GHOST_RELEASE_MIN_MEMBERS=10" in text
    assert "secret" not in text
