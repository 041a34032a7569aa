"""The five opening sentences of the specification, from the demo, each beside the query that proves it."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from ghost_pipeline.cli.render import as_table
from ghost_pipeline.domain.ghost.ghost_messages import with_message_texts
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.tables_page import GENERATED

BENCHMARK = """\
SELECT s.user_id, b.target_band AS band, b.day_number AS day, b.avg_speaking_tasks AS figure, s.speaking_tasks AS own
FROM user_ghost_stats s
JOIN ghost_benchmarks b ON b.population = 'at_least' AND b.success_percentile = 50
 AND b.target_band = coalesce(s.target_band, 7.5) AND b.starting_skill = s.starting_skill
 AND b.day_number = least(s.day_in_journey, 90)
WHERE b.month = '2025-02' AND s.user_id = '{user}'"""
DAYS = """\
SELECT s.user_id, r.active_member_count AS members, r.top_10_percent_days_practiced AS figure, s.days_practiced AS own
FROM user_ghost_stats s JOIN cohort_ghost_release r USING (cohort_id)
WHERE r.released AND s.user_id = '{user}'"""
IMPROVERS = """\
SELECT s.user_id, f.starting_skill, f.minutes_per_day AS figure,
       CAST(s.practice_minutes / s.day_in_journey AS DECIMAL(9, 1)) AS own
FROM user_ghost_stats s JOIN ghost_fastest_improvers f USING (starting_skill)
WHERE f.month = '2025-02' AND s.user_id = '{user}'"""
WEEK = """\
SELECT s.user_id, r.active_member_count AS members, r.avg_tasks_this_week AS figure, s.tasks_this_week AS own
FROM user_ghost_stats s JOIN cohort_ghost_release r USING (cohort_id)
WHERE r.released AND s.user_id = '{user}'"""
STREAK = """\
SELECT s.user_id, h.target_band AS band, min(h.streak_threshold) AS threshold,
       arg_min(h.percentage, h.streak_threshold) AS figure, s.current_streak AS own
FROM user_ghost_stats s
JOIN ghost_streak_shares h ON h.target_band = coalesce(s.target_band, 7.5) AND h.starting_skill IS NULL
 AND h.streak_threshold > s.current_streak
WHERE h.month = '2025-02' AND s.user_id = '{user}'
GROUP BY ALL"""
QUERIES = {"opening_1": BENCHMARK, "opening_2": DAYS, "opening_3": IMPROVERS, "opening_4": WEEK, "opening_5": STREAK}


@dataclass(frozen=True)
class Proof:
    """A sentence for a learner of the demo, and the rows it is made from."""

    sentence: str
    sql: str
    rows: pl.DataFrame


def proofs(settings: Settings) -> list[Proof]:
    """Each opening sentence, for the first learner on a streak who may be shown it."""
    inputs = GhostReader(settings).inputs()
    learners = inputs.users(None).filter(pl.col("current_streak") > 0, pl.col("day_in_journey") < inputs.limits.days)
    texts = with_message_texts(inputs.figures(learners), list(QUERIES)).collect().sort("user_id")
    found = []
    for kind, sql in QUERIES.items():
        user, sentence = texts.select("user_id", f"{kind}_text").drop_nulls().row(0)
        asked = sql.format(user=user)
        found.append(Proof(sentence, asked, query(asked, settings.database, Lake(settings.lake))))
    return found


def opening_messages_page(settings: Settings) -> str:
    """The page, from a published demo."""
    return "\n".join(_page(proofs(settings)))


def _page(found: list[Proof]) -> Iterator[str]:
    yield "# The five opening messages, proved"
    yield ""
    yield GENERATED.replace("the contracts; change those", "the demo; change the code")
    yield ""
    yield "Each sentence may be shown to a learner of `ghost-pipeline demo --as-of 2025-03-12T12:00Z`. Its query"
    yield "returns the figure of the others (`figure`) and the learner's own (`own`); run it with"
    yield '`.venv/bin/ghost-pipeline query "..."`.'
    for number, proof in enumerate(found, start=1):
        yield ""
        yield f"## {number}. {proof.sentence}"
        yield ""
        yield "```sql"
        yield proof.sql
        yield "```"
        yield ""
        yield "```"
        yield as_table(proof.rows)
        yield "```"
    yield ""
