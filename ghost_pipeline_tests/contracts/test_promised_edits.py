"""The edits that the README promises, made on a copy of the package, and an hour and a month that run through it.

All edits are made at once on one copy: the run and the questions after it take 20 s of CPU time, and no edit touches
the lines of another.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import ghost_pipeline
from ghost_pipeline.contracts.cohort_metrics import COHORT_METRICS
from ghost_pipeline_tests.running import DEMO_WORLD, environment

pytestmark = pytest.mark.long

PROJECT = Path(__file__).parent.parent.parent
AS_OF = "2025-03-12T12:00Z"
LESSON = "lesson-of-a-person"

ON_AN_OLD_COLUMN, ON_A_NEW_COLUMN = "median_tasks_this_week", "avg_tasks_besides_reading"
ON_A_NEW_SOURCE_COLUMN = "avg_weekly_goal"
FIGURES = [*(metric.name for metric in COHORT_METRICS), ON_AN_OLD_COLUMN, ON_A_NEW_COLUMN, ON_A_NEW_SOURCE_COLUMN]

EDITS = (
    (
        "contracts/cohort_metrics.py",
        "COHORT_METRICS: tuple[CohortMetric, ...] = (\n",
        f"""
    CohortMetric("{ON_AN_OLD_COLUMN}", "tasks_this_week", "percentile", "Median of the tasks of the last 7 days"),
    CohortMetric("{ON_A_NEW_COLUMN}", "tasks_besides_reading", "mean", "Mean of the tasks besides reading", scale=2),
    CohortMetric("{ON_A_NEW_SOURCE_COLUMN}", "weekly_goal", "mean", "Mean of the tasks a week aimed at", scale=2),
""",
    ),
    (
        "contracts/ghost.py",
        'listening_tasks = _summed_up("listening_tasks", count("Listening tasks so far"))\n',
        (
            "    tasks_besides_reading = computed_from(\n"
            '        count("Tasks in all besides reading"), "tasks_completed", "reading_tasks"\n'
            "    )\n"
            '    weekly_goal = count("Tasks a week aimed at")\n'
        ),
    ),
    (
        "domain/ghost/user_ghost_stats.py",
        'practice_minutes=_minutes("practice_time_ms"),\n',
        (
            '        tasks_besides_reading=pl.col("tasks_completed") - pl.col("reading_tasks"),\n'
            '        weekly_goal=pl.col("weekly_goal").fill_null(0).cast(pl.Int64),\n'
        ),
    ),
    (
        "contracts/messages.py",
        "MESSAGES: dict[str, Message] = _by_type(\n",
        f"""
    *(
        Message(
            type=f"about_{{name}}",
            metric="tasks_completed",
            user_value="tasks_completed",
            figure=f"cohort_{{name}}",
            figure_as_of="cohort_as_of",
            wordings=Wording("Your cohort: {{cohort_avg}}. You: {{user_value}}.", "neutral"),
        )
        for name in {FIGURES}
    ),
""",
    ),
    (
        "contracts/messages.py",
        "DISPLAY_RULES: tuple[DisplayRule, ...] = (\n",
        f"""
    DisplayRule("every_figure", {tuple(f"about_{name}" for name in FIGURES)}, count={len(FIGURES)}, priority="low"),
""",
    ),
    ("contracts/rank_metrics.py", "for metric in (\n", 'RankMetric("speaking", "speaking_tasks"),\n'),
    (
        "contracts/benchmark_metrics.py",
        "BENCHMARK_METRICS = (\n",
        """
    BenchmarkMetric("vocabulary_tasks", "events", "Vocabulary tasks", of=("vocabulary",), chart="vocabulary"),
    BenchmarkMetric("reading_minutes", "time", "Minutes of reading", of=("reading",), unit=MS_PER_MINUTE),
""",
    ),
    (
        "contracts/raw.py",
        """SourceColumn("timezone", Kind.TEXT, "IANA name of the user's zone; UTC without one", optional=True),\n""",
        '        SourceColumn("weekly_goal", Kind.NUMBER, "Tasks a week aimed at", optional=True, low=0),\n',
    ),
    (
        "contracts/raw.py",
        "        SOURCE_SESSION_NGRAM_ERRORS,\n",
        """
        SourceTable(
            "lessons",
            domain=Domain.GHOST,
            grain="one lesson that a user took",
            purpose="Lessons that users took.",
            key=("lesson_id",),
            time="started_at",
            required=False,
            columns=(
                SourceColumn("lesson_id", Kind.ID, "The lesson"),
                _USER_ID,
                SourceColumn("lesson_note", Kind.TEXT, "What the user noted", optional=True),
                SourceColumn("started_at", Kind.INSTANT, "When the lesson began"),
            ),
        ),
""",
    ),
    ("defs/raw.py", "    raw_table(raw.USERS),\n", '    raw_table(SOURCE_TABLES["lessons"].contract, raw.USERS),\n'),
    (
        "defs/ghost.py",
        "comparisons=(period_over_period(USER_GHOST_STATS, row_count),",
        'ComparisonCheck(Check("few_users", "Warns if there are few users."), ("users",), lambda *_: []),',
    ),
    ("defs/ghost.py", "import polars as pl\n", "from ghost_pipeline.defs.checks import Check, ComparisonCheck\n"),
    (
        "settings.py",
        "    bands: Annotated[",
        '    few_users: int = Field(default=3, ge=1, description="Users below which a check warns")\n',
    ),
)
"""File below `ghost_pipeline/`, what stands there once, and what is added after it, before it for a setting."""

PROBE = """
import json
from ghost_pipeline.contracts.benchmark_metrics import json_schema
from ghost_pipeline.contracts.specified import SPECIFIED_GHOST_BENCHMARKS
from ghost_pipeline.pictures.benchmark_curves import FIGURES
from ghost_pipeline.cli.open_data_contract import open_data_contract
from ghost_pipeline.definitions import TABLE_ASSETS, defs
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS, owner_column
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.ingest.dependents import VERSION_COLUMNS
from ghost_pipeline.serving.responses import BenchmarkRow
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.tables_page import source_page, tables_page
SPECS = {
    name: spec for spec in defs.resolve_all_asset_specs() if (name := spec.key.to_user_string()) in CONTRACTS
}
print(json.dumps({
    "ghost_benchmarks.schema.json": json_schema(),
    "ddl": SPECIFIED_GHOST_BENCHMARKS.ddl(),
    "charts": list(FIGURES),
    "checks": [check.name for table in TABLE_ASSETS for check in table.every_check],
    "personal": sorted(PERSONAL_COLUMNS),
    "owner": owner_column(CONTRACTS["lessons"]),
    "response": list(BenchmarkRow.model_fields),
    "versions": {table.name: columns for columns, tables in VERSION_COLUMNS["users"] for table in tables},
    "export": {
        table["name"]: [column["name"] for column in table["properties"]]
        for table in open_data_contract(TABLE_ASSETS, Settings.load())["schema"]
    },
    "dagster": {
        name: [column.name for column in spec.metadata["dagster/column_schema"].columns] for name, spec in SPECS.items()
    },
    "lineage": {
        f"{name}.{column}": [".".join((*one.asset_key.path, one.column_name)) for one in inputs]
        for name, spec in SPECS.items()
        if "dagster/column_lineage" in spec.metadata
        for column, inputs in spec.metadata["dagster/column_lineage"].deps_by_column.items()
    },
    "tables.md": tables_page(),
    "source.md": source_page(),
}))
"""


class Edited:
    """A copy of the package with every edit, and what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.source = folder, folder / "data", folder / "source"
        package = Path(ghost_pipeline.__file__).parent
        shutil.copytree(package, folder / "ghost_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        for name, anchor, added in EDITS:
            path = folder / "ghost_pipeline" / name
            text = path.read_text(encoding="utf-8")
            assert text.count(anchor) == 1, f"{name}: {anchor!r} stands there {text.count(anchor)} times"
            new = added + anchor if name == "settings.py" else anchor + added
            path.write_text(text.replace(anchor, new), encoding="utf-8")
        shutil.copytree(DEMO_WORLD, self.source)
        users = pl.read_parquet(self.source / "users.parquet").with_columns(weekly_goal=pl.lit(7))
        users.write_parquet(self.source / "users.parquet")
        lessons = {"lesson_id": [LESSON], "user_id": ["m01"], "lesson_note": ["dear diary"]}
        at = pl.Series("started_at", ["2025-03-12T10:30:00Z"])
        pl.DataFrame(lessons).with_columns(at).write_parquet(self.source / "lessons.parquet")
        self.command("materialize", "--as-of", AS_OF)

    def command(self, *arguments: str, **variables: str) -> str:
        """Run the command of the copy."""
        return self._python("-m", "ghost_pipeline.cli.main", *arguments, **variables)

    def probe(self) -> dict[str, Any]:
        """What follows from the registries of the copy."""
        found: dict[str, Any] = json.loads(self._python("-c", PROBE))
        return found

    def _python(self, *arguments: str, **variables: str) -> str:
        paths = os.pathsep.join([str(self.folder), str(PROJECT)])
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment(self.data, self.source, PYTHONPATH=paths, **variables),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lake(self, table: str) -> pl.DataFrame:
        """Every row of a table of the lake."""
        return pl.read_parquet(self.data / "lake" / table / "**" / "*.parquet", hive_partitioning=False)

    def published(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the published database."""
        with duckdb.connect(str(self.data / "ghost.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Edited:
    """One copy for all tests."""
    return Edited(tmp_path_factory.mktemp("edited"))


@pytest.fixture(scope="module")
def derived(edited: Edited) -> dict[str, Any]:
    """What the copy derives without a run."""
    return edited.probe()


@pytest.mark.parametrize("figure", [ON_AN_OLD_COLUMN, ON_A_NEW_COLUMN, ON_A_NEW_SOURCE_COLUMN])
def test_a_cohort_metric_is_computed_released_and_published(edited: Edited, figure: str) -> None:
    exact = edited.lake("cohort_ghost_data").filter(cohort_id="c1")[figure].to_list()
    assert exact
    assert exact == edited.lake("cohort_ghost_release")[figure].to_list()
    assert [(exact[0],)] == edited.published(f"SELECT {figure} FROM cohort_ghost_release")  # noqa: S608 - our own name


def test_a_cohort_metric_over_a_new_user_column_is_compared_with_earlier_releases(edited: Edited) -> None:
    users, kept = edited.lake("user_ghost_stats"), edited.lake("cohort_release_contributions")
    assert kept.height
    both = kept.join(users, on="user_id", suffix="_of_user")
    assert both["tasks_besides_reading"].to_list() == both["tasks_besides_reading_of_user"].to_list()


def test_a_new_source_column_of_users_is_read_and_averaged(edited: Edited) -> None:
    assert edited.lake("users")["weekly_goal"].unique().to_list() == [7]
    assert set(edited.lake("cohort_ghost_data")[ON_A_NEW_SOURCE_COLUMN].cast(pl.Float64)) == {7.0}


@pytest.mark.parametrize("table", ["user_ghost_stats", "cohort_ghost_data", "ghost_messages", "ghost_benchmarks"])
def test_a_change_of_a_new_source_column_of_users_makes_its_readers_stale(derived: dict[str, Any], table: str) -> None:
    assert "weekly_goal" in derived["versions"][table]


@pytest.mark.parametrize("figure", FIGURES)
def test_a_message_may_name_any_figure_of_a_cohort(edited: Edited, figure: str) -> None:
    (value,) = edited.lake("cohort_ghost_release")[figure].to_list()
    found = edited.lake("ghost_messages").filter(type=f"about_{figure}", context="every_figure")
    # A figure that prints as 0 is not offered.
    assert set(found["figure"].to_list()) == ({float(value)} if value else set())


def test_a_percentile_metric_is_ranked_published_and_answered(edited: Edited) -> None:
    (row,) = edited.published("SELECT speaking_percentile_cohort FROM user_ghost_stats WHERE user_id = 'm01'")
    answer = json.loads(edited.command("percentile", "m01", "speaking", "--json"))
    assert row[0] is not None
    assert answer["percentile"] == row[0]


@pytest.mark.parametrize("name", ["vocabulary_tasks", "reading_minutes"])
def test_a_benchmark_metric_is_counted_published_and_in_the_dictionary(edited: Edited, name: str) -> None:
    rows = edited.published(f"SELECT avg_{name} FROM ghost_benchmarks")  # noqa: S608 - our own name
    assert rows
    assert all(isinstance(value, int) for (value,) in rows)
    nested = json.loads((edited.data / "ghost_benchmarks.json").read_text(encoding="utf-8"))
    assert name in nested["band_7.5_achievers"]["starting_skill_6.0"]["day_1"]


@pytest.mark.parametrize("name", ["vocabulary_tasks", "reading_minutes"])
def test_a_benchmark_metric_is_in_the_schema_the_ddl_and_the_response(derived: dict[str, Any], name: str) -> None:
    assert f'"{name}"' in json.dumps(derived["ghost_benchmarks.schema.json"])
    assert f"avg_{name} INT" in derived["ddl"][0]
    assert f"avg_{name}" in derived["response"]
    assert ("avg_vocabulary_tasks" in derived["charts"]) is True


def test_a_source_table_is_validated_and_kept(edited: Edited) -> None:
    assert edited.lake("lessons")["lesson_id"].to_list() == [LESSON]


def test_what_a_source_table_says_of_people_is_personal_and_erased_with_them(derived: dict[str, Any]) -> None:
    assert {"lesson_id", "lesson_note"} <= set(derived["personal"])
    assert derived["owner"] == "user_id"


def test_no_preview_shows_what_a_source_table_says_of_people(edited: Edited) -> None:
    said = edited.command("doctor")
    assert "lessons row" in said
    records = [path.read_bytes() for path in (edited.data / "dagster_home").rglob("*") if path.is_file()]
    assert LESSON not in said
    assert not any(LESSON.encode() in one for one in records)


def test_a_check_is_part_of_its_table(derived: dict[str, Any]) -> None:
    assert "few_users" in derived["checks"]


def test_a_setting_is_read_and_listed(edited: Edited) -> None:
    assert "Users below which a check warns" in edited.command("settings", GHOST_FEW_USERS="7")


@pytest.mark.parametrize(
    "column",
    [
        ON_AN_OLD_COLUMN,
        ON_A_NEW_COLUMN,
        ON_A_NEW_SOURCE_COLUMN,
        "tasks_besides_reading",
        "weekly_goal",
        "speaking_percentile_cohort",
        "avg_vocabulary_tasks",
        "lesson_id",
    ],
)
def test_every_new_column_is_documented(derived: dict[str, Any], column: str) -> None:
    assert re.search(rf"^\| (\*\*)?{column}(\*\*)? \|", derived["tables.md"], re.MULTILINE)


@pytest.mark.parametrize(
    ("column", "inputs"),
    [
        (f"cohort_ghost_data.{ON_AN_OLD_COLUMN}", ["user_ghost_stats.tasks_this_week"]),
        (f"cohort_ghost_release.{ON_A_NEW_COLUMN}", ["user_ghost_stats.tasks_besides_reading"]),
        ("user_ghost_stats.weekly_goal", ["users.weekly_goal"]),
        ("users.weekly_goal", ["source.users.weekly_goal"]),
        ("ghost_benchmarks.avg_reading_minutes", ["user_progress.time_spent_ms"]),
        ("lessons.lesson_note", ["source.lessons.lesson_note"]),
    ],
)
def test_every_new_column_is_exported_and_in_dagster_with_its_inputs(
    derived: dict[str, Any], column: str, inputs: list[str]
) -> None:
    table, _, name = column.partition(".")
    assert name in derived["export"][table]
    assert name in derived["dagster"][table]
    assert derived["lineage"][column] == inputs


def test_a_source_table_is_documented(derived: dict[str, Any]) -> None:
    assert "lesson_note" in derived["source.md"]
