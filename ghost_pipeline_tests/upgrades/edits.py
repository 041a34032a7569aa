"""Changes of contracts, as a later release may make them, on a copy of the package."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import ghost_pipeline


class Edit(NamedTuple):
    """A text of a module, which is there once, and what replaces it."""

    module: str
    old: str
    new: str


METRICS = "COHORT_METRICS: tuple[CohortMetric, ...] = (\n"
METRIC = Edit(
    "contracts/cohort_metrics.py",
    METRICS,
    METRICS
    + '    CohortMetric("median_tasks_this_week", "tasks_this_week", "percentile", "Median of the tasks of 7 days"),\n',
)
"""One entry: a figure of cohorts of a column that users have."""
USER_COLUMN = (
    Edit(
        "contracts/cohort_metrics.py",
        METRICS,
        METRICS + '    CohortMetric("avg_other_tasks", "other_tasks", "mean", "Mean of other tasks", scale=2),\n',
    ),
    Edit(
        "contracts/ghost.py",
        'listening_tasks = _summed_up("listening_tasks", count("Listening tasks so far"))\n',
        'listening_tasks = _summed_up("listening_tasks", count("Listening tasks so far"))\n'
        '    other_tasks = computed_from(count("Tasks besides reading"), _AT)\n',
    ),
    Edit(
        "domain/ghost/user_ghost_stats.py",
        'practice_minutes=_minutes("practice_time_ms"),\n',
        'practice_minutes=_minutes("practice_time_ms"),\n'
        '        other_tasks=pl.col("tasks_completed") - pl.col("reading_tasks"),\n',
    ),
)
"""A column of users that may not be null, and a figure of cohorts of it."""
BENCHMARK = Edit(
    "contracts/benchmark_metrics.py",
    "BENCHMARK_METRICS = (\n",
    "BENCHMARK_METRICS = (\n"
    '    BenchmarkMetric("reading_minutes", "time", "Minutes of reading", of=("reading",), unit=MS_PER_MINUTE),\n',
)
"""A column of the three tables of a month that may not be null."""
DROPPED = Edit(
    "contracts/cohort_metrics.py",
    """    CohortMetric(
        "median_streak", "current_streak", "percentile", "Median of the current streaks in days", specified="INT"
    ),
""",
    "",
)
"""A column that is no longer there."""
DESCRIPTION = Edit(
    "contracts/cohort_metrics.py", '"Mean of the current streaks in days",', '"Mean of the running streaks in days",'
)
RANGE = Edit(
    "contracts/raw.py",
    'SourceColumn("time_spent_minutes", Kind.MINUTES, "Time spent on the task", optional=True, low=0),',
    'SourceColumn("time_spent_minutes", Kind.MINUTES, "Time spent on the task", optional=True, low=10),',
)
"""Rows of before would be rejected today."""
KEY = Edit(
    "contracts/ngrams.py",
    '    ngram_size = dy.Int32(primary_key=True, min=1, max=MAX_NGRAM_SIZE, description="Number of keys")\n',
    '    ngram_size = dy.Int32(min=1, max=MAX_NGRAM_SIZE, description="Number of keys")\n',
)
TABLE = (
    Edit(
        "contracts/raw.py",
        "        SOURCE_SESSION_NGRAM_ERRORS,\n",
        """        SOURCE_SESSION_NGRAM_ERRORS,
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
                SourceColumn("started_at", Kind.INSTANT, "When the lesson began"),
            ),
        ),
""",
    ),
    Edit(
        "defs/raw.py",
        "    raw_table(raw.USERS),\n",
        '    raw_table(SOURCE_TABLES["lessons"].contract, raw.USERS),\n    raw_table(raw.USERS),\n',
    ),
)
EVERY = (METRIC, *USER_COLUMN, BENCHMARK, DROPPED, DESCRIPTION, RANGE, KEY, *TABLE)


def edited_package(folder: Path, edits: Iterable[Edit]) -> Path:
    """Copy the package into a folder with some edits; returns the folder."""
    package = Path(ghost_pipeline.__file__).parent
    shutil.copytree(package, folder / "ghost_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in edits:
        path = folder / "ghost_pipeline" / module
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{module}: {old!r} stands there {text.count(old)} times"
        path.write_text(text.replace(old, new), encoding="utf-8")
    return folder
