"""The demo: generate a source, build its newest hours and month, and print a summary."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import polars as pl

from ghost_pipeline.cli.progress import NO_PROGRESS, Progress
from ghost_pipeline.cli.reconcile import reconcile_records
from ghost_pipeline.cli.render import as_table
from ghost_pipeline.cli.run import backfill, materialize, materialize_hours
from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.demo_source.generated import generate_source
from ghost_pipeline.demo_source.landmarks import (
    DAYS_AHEAD,
    DEMO_AS_OF,
    DEMO_KEYBOARD,
    DEMO_LEARNER,
    DEMO_TYPIST,
)
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Hour

SUCCESS_PERCENTILE = 25
SLOWEST = 5
PAST_HOURS = 3
HOURS_BUILT = 48
"""The newest hours that are built of a demo that goes on: charts show two days, and schedules go on from there."""
CLOCK_FILE = "demo_clock.json"
"""Beside the tables of the generated source: when it was made, and how far it reaches."""


def run_demo(settings: Settings, fixed: datetime | None = None, progress: Progress = NO_PROGRESS) -> None:
    """Generate the source below the data folder, build its newest hours and month, and print a summary.

    Without `fixed`, the source reaches up to the last full hour and further: its people practise on for a month, and
    an hour's run reads what has happened by then. Run again, the demo goes on from where it was.

    Args:
        settings: name the data folder.
        fixed: the clock of a demo that is the same whenever it runs; only its newest hour is built.
        progress: what is told about the run.

    Raises:
        GhostError: something failed, or the data folder holds the lake of another source or another demo.

    """
    source = settings.local / "source"
    if not Lake(settings.lake).is_empty and not source.exists():
        raise LakeError(
            f"{settings.data}: contains the lake of another source, which the demo would mix with its own. Set "
            f"GHOST_DATA to an empty folder",
        )
    as_of = fixed or Hour.containing(wall_clock()).start
    _generate(settings, source, as_of, 0 if fixed else DAYS_AHEAD, progress)
    with_source = settings.model_copy(update={"source": str(source), "source_mapping": None})
    if fixed:
        # Earlier hours in which the typist practised, so that trends have a history.
        past = _practised(source, as_of)[-PAST_HOURS:]
        materialize_hours(with_source, past, Domain.NGRAMS, progress=progress)
        materialize(with_source, as_of, progress=progress)
    else:
        # No hour before these: the schedule would take those between for missed ones.
        backfill(with_source, as_of - HOURS_BUILT * HOUR, as_of, progress=progress)
        reconcile_records(with_source, progress=progress)
    if not (progress.quiet or progress.as_json):
        for line in _summary(settings, source, as_of):
            click.echo(line)
        click.echo()


def _generate(settings: Settings, source: Path, as_of: datetime, days_ahead: int, progress: Progress) -> None:
    """Generate the source, unless it is there and reaches beyond `as_of`.

    Raises:
        LakeError: the lake is that of a demo at another time.

    """
    if not Lake(settings.lake).is_empty:
        begun, ahead = _clock_of(source)
        if days_ahead and ahead and begun <= as_of < begun + ahead * DAY:
            progress.say(f"the source is there, and reaches up to {begun + ahead * DAY:%Y-%m-%dT%H:%MZ}")
            return
        if (begun, ahead) != (as_of, days_ahead):
            again = "" if ahead else f" Give --as-of {begun:%Y-%m-%dT%H:%MZ} to build that one again, or"
            raise LakeError(
                f"{settings.data}: contains the demo as of {begun:%Y-%m-%dT%H:%MZ}, which another one would be mixed "
                f"with.{again} {'set' if again else 'Set'} GHOST_DATA to an empty folder, or empty this one "
                f"(`make clean`)",
            )
    progress.say(f"generating a source of some thousand learners and typists in\n  {source}")
    progress.working_on("generating the source")
    generate_source(source, as_of=as_of, days_ahead=days_ahead)
    # Before the lake has anything: until then, a source without it, or with a part of it, is made once more.
    clock = {"as_of": as_of.isoformat(), "days_ahead": days_ahead}
    (source / CLOCK_FILE).write_text(json.dumps(clock), encoding="utf-8")


def _clock_of(source: Path) -> tuple[datetime, int]:
    """The clock of a generated source, and the days that it reaches beyond it."""
    try:
        clock = json.loads((source / CLOCK_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Of a release that had one clock only.
        return DEMO_AS_OF, 0
    return datetime.fromisoformat(clock["as_of"]), int(clock["days_ahead"])


def _practised(source: Path, as_of: datetime) -> list[datetime]:
    """The ends of the hours before the demo's own in which the typist practised, ascending."""
    sessions = pl.read_parquet(source / "practice_sessions.parquet").filter(user_id=DEMO_TYPIST)["start_time"]
    ends = {Hour.containing(start).as_of for start in sessions}
    return sorted(end for end in ends if end < as_of)


def _summary(settings: Settings, source: Path, as_of: datetime) -> Iterator[str]:
    lake, last_day, following = Lake(settings.lake), settings.benchmark_days, f"{as_of + HOUR:%Y-%m-%dT%H:%MZ}"

    def ask(sql: str) -> pl.DataFrame:
        return query(sql, settings.database, lake)

    yield f"Published in {settings.database} as of {as_of:%Y-%m-%dT%H:%MZ}:"
    yield _indented(ask('SELECT "table", rows, as_of FROM table_info ORDER BY "table"'))
    yield ""
    yield f"A learner, {DEMO_LEARNER}, compared with peers and earlier achievers:"
    yield _indented(
        ask(
            f"""
            SELECT s.day_in_journey AS day, s.tasks_completed AS tasks, b.avg_tasks_completed AS achievers,
                   c.avg_tasks_completed AS cohort, s.tasks_completed_percentile_cohort AS rank,
                   s.practice_minutes AS minutes, b.avg_practice_minutes AS their_minutes,
                   s.current_streak AS streak, b.sample_size AS counted
            FROM user_ghost_stats s
            LEFT JOIN cohort_ghost_release c USING (cohort_id)
            LEFT JOIN ghost_benchmarks b
                   ON b.population = 'interval' AND b.target_band = s.target_band
                  AND b.starting_skill = s.starting_skill AND b.day_number = least(s.day_in_journey, {last_day})
                  AND b.success_percentile = {SUCCESS_PERCENTILE}
            WHERE s.user_id = '{DEMO_LEARNER}'
            """  # noqa: S608 - our own constants
        )
    )
    yield ""
    yield "The learner's messages in the weekly report:"
    reader = GhostReader(settings)
    yield from (f"  {message.text}" for message in reader.messages(DEMO_LEARNER, "weekly_report").messages)
    yield ""
    yield f"A typist, {DEMO_TYPIST} on {DEMO_KEYBOARD}, slowest n-grams:"
    yield _indented(
        ask(
            f"""
            SELECT ngram_text AS ngram, round(decaying_average_ms, 1) AS ms_per_key, target_speed_ms AS target_ms,
                   round(60000 / decaying_average_ms / 5, 1) AS wpm, sample_count AS measured
            FROM ngram_speed_summaries
            WHERE user_id = '{DEMO_TYPIST}' AND keyboard_id = '{DEMO_KEYBOARD}' AND sample_count >= 5
            ORDER BY decaying_average_ms DESC, ngram_text LIMIT {SLOWEST}
            """  # noqa: S608 - our own constants
        )
    )
    yield ""
    rejected = ask("SELECT count(*) AS rows, count(DISTINCT source_table) AS tables FROM lake.rejected_rows")
    rows, tables = rejected["rows"].item(), rejected["tables"].item()
    yield f"{rows} rows of {tables} source tables were rejected, each with its reason"
    yield "(the generator adds some bad data)."
    yield ""
    yield "Where to look next:"
    for what, command in {
        f"HTTP API, and the heat map on http://127.0.0.1:8000/?user={DEMO_TYPIST}": "ghost-pipeline serve",
        "assets, partitions and checks in Dagster; its schedules go on hour by hour": "ghost-pipeline ui",
        "rejected rows, and why": 'ghost-pipeline query "FROM lake.rejected_rows"',
        "any SQL; lake.<table> for the whole lake": 'ghost-pipeline query "FROM ghost_benchmarks"',
        f"the next hour, with GHOST_SOURCE={source}": f"ghost-pipeline materialize --as-of {following}",
    }.items():
        yield f"  .venv/bin/{command}"
        yield f"      {what}"


def _indented(frame: pl.DataFrame) -> str:
    return "\n".join(f"  {line}" for line in as_table(frame).splitlines())
