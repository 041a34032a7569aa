"""The specification's own API queries, word for word, against what a run has published in PostgreSQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2  # type: ignore[import-untyped]
import pytest
from psycopg2.extras import NamedTupleCursor  # type: ignore[import-untyped]

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.defs.publishing import publish_postgres
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.serving.worlds import AS_OF, TYPED_AT, make_source, materialize
from ghost_pipeline_tests.serving.worlds import settings as settings_of
from ghost_pipeline_tests.sources.conftest import new_database
from ghost_pipeline_tests.sources.servers import Database

BENCHMARK = """
        SELECT * FROM ghost_benchmarks
        WHERE target_band = 7.5
        AND starting_skill = %s
        AND day_number = %s
        AND success_percentile = 25
    """
COHORT = """
        SELECT * FROM cohort_ghost_data
        WHERE cohort_id = %s
        AND snapshot_date = CURRENT_DATE
    """
"""Both from the specification's `get_ghost_data`."""
HEAT_MAP = """
    SELECT ngram_text, ngram_size, decaying_average_ms, target_performance_pct, sample_count
    FROM ngram_speed_summaries WHERE user_id = %s AND keyboard_id = %s
    ORDER BY decaying_average_ms DESC, ngram_text COLLATE "C"
"""
SLOWEST = """
    SELECT ngram_text, decaying_average_ms FROM ngram_speed_summaries
    WHERE user_id = %s AND keyboard_id = %s AND ngram_size = ANY(%s) AND sample_count >= %s
    ORDER BY decaying_average_ms DESC, ngram_text COLLATE "C" LIMIT %s
"""


@dataclass(frozen=True)
class World:
    """The demo world and a typist, published at noon of the server's today."""

    settings: Settings
    database: Database
    today: date
    zone: str
    """A zone of the server in which the day does not end soon, so that CURRENT_DATE stands still."""

    @property
    def as_of(self) -> datetime:
        """The end of the hour that was published."""
        return datetime.combine(self.today, time(12), UTC)

    def ask(self, sql: str, *values: object) -> list[Any]:
        """Rows as an API gets them, by the names of columns."""
        connection = psycopg2.connect(self.database.address)
        try:
            with connection, connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
                cursor.execute("SELECT set_config('TimeZone', %s, false)", (self.zone,))
                cursor.execute(sql, values)
                rows: list[Any] = cursor.fetchall()
                return rows
        finally:
            connection.close()

    def ledger(self) -> pl.DataFrame:
        """What is released at the end of the hour."""
        return Lake(self.settings.lake).scan(COHORT_GHOST_RELEASE, [Hour.ending_at(self.as_of)]).collect()

    def release(self, ledger: pl.DataFrame) -> None:
        """Let something else be released."""
        Lake(self.settings.lake).write(COHORT_GHOST_RELEASE, Hour.ending_at(self.as_of), ledger)

    def publish(self) -> None:
        """Publish what the lake has."""
        publish(Lake(self.settings.lake), self.settings.database)
        publish_postgres(self.settings)


@pytest.fixture(scope="module")
def published(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    now, folder = wall_clock(), tmp_path_factory.mktemp("world")
    # POSIX counts westwards: noon, more or less, wherever it is noon now.
    zone = f"<here>{now.hour - 12:+d}"
    today = (now - timedelta(hours=now.hour - 12)).date()
    source, moved = make_source(folder / "source"), folder / "moved"
    moved.mkdir()
    shift = today - AS_OF.date()
    for file in source.iterdir():
        rows = pl.read_ndjson(file) if file.suffix == ".ndjson" else pl.read_parquet(file)
        texts = pl.col("^(start_time|end_time|keystroke_time)$").str.to_datetime(time_zone="UTC")
        rows = rows.with_columns(texts) if file.suffix == ".ndjson" else rows
        rows.with_columns(pl.selectors.datetime() + shift).write_parquet(moved / f"{file.stem}.parquet")
    with new_database(server) as database:
        # The month serves at once, also on the first of the next one.
        of = settings_of(folder / "data", moved, publish_postgres=database.address, benchmark_delay_hours=0)
        made = World(of, database, today, zone)
        materialize(of, made.as_of, typed_at=[end + shift for end in TYPED_AT])
        yield made


@pytest.fixture
def world(published: World) -> Iterator[World]:
    ledger = published.ledger()
    published.publish()
    yield published
    published.release(ledger)


def test_the_specifications_queries_give_the_response_of_the_reader(world: World) -> None:
    response = GhostReader(world.settings).ghost_data("me")
    (benchmark,) = world.ask(BENCHMARK, 6.0, min(response.user_stats.day_in_journey, 90))
    (cohort,) = world.ask(COHORT, "c1")
    assert (benchmark.avg_tasks_completed, benchmark.avg_practice_minutes) == (
        response.success_benchmark.benchmark_tasks,
        response.success_benchmark.benchmark_practice_minutes,
    )
    assert (cohort.active_member_count, cohort.avg_tasks_completed, cohort.avg_tasks_this_week) == (
        response.cohort_comparison.cohort_size,
        response.cohort_comparison.avg_tasks_completed,
        response.cohort_comparison.avg_tasks_this_week,
    )
    assert (cohort.top_10_percent_tasks, cohort.top_25_percent_tasks) == (
        response.top_performers.top_10_percent_tasks,
        response.top_performers.top_25_percent_tasks,
    )
    # And these are the ones of the specification's example.
    assert (benchmark.avg_tasks_completed, benchmark.avg_practice_minutes) == (15, 200)
    assert (cohort.active_member_count, cohort.avg_tasks_completed, cohort.avg_tasks_this_week) == (24, 12, 8)
    assert (cohort.top_10_percent_tasks, cohort.top_25_percent_tasks) == (22, 18)
    assert (cohort.snapshot_date, cohort.snapshot_hour) == (world.today, 11)
    assert cohort.avg_tasks_completed == Decimal("12.00")


def test_a_release_that_stays_is_found_on_the_next_day_with_its_own_as_of(world: World) -> None:
    earlier = world.as_of - timedelta(hours=20)
    world.release(world.ledger().with_columns(released_as_of=earlier, last_release_as_of=earlier))
    world.publish()
    (cohort,) = world.ask(COHORT, "c1")
    response = GhostReader(world.settings).ghost_data("me", extended=True)
    assert cohort.avg_tasks_completed == response.cohort_comparison.avg_tasks_completed
    assert cohort.updated_at.replace(tzinfo=UTC) == response.released_as_of == earlier


@pytest.mark.parametrize(("suppressed", "hours"), [(True, 0), (False, 49)], ids=["suppressed", "too_old"])
def test_what_the_reader_does_not_show_is_not_there(suppressed: bool, hours: int, world: World) -> None:  # noqa: FBT001
    own, ledger = world.as_of - timedelta(hours=hours), world.ledger()
    values = {"released": not suppressed, "released_as_of": None if suppressed else own, "last_release_as_of": own}
    world.release(
        ledger.with_columns(**{name: pl.lit(value).cast(ledger.schema[name]) for name, value in values.items()})
    )
    world.publish()
    assert world.ask(COHORT, "c1") == []
    assert GhostReader(world.settings).ghost_data("me").cohort_comparison.avg_tasks_completed is None


def test_no_row_is_that_of_everybody(world: World) -> None:
    assert world.ask("SELECT DISTINCT cohort_id FROM cohort_ghost_data") == [("c1",)]


def test_heat_map_and_slowest_are_those_of_the_reader(world: World) -> None:
    reader = GhostReader(world.settings)
    heat_map = reader.heatmap("me", "k1")
    columns = ["ngram_text", "ngram_size", "decaying_average_ms", "target_performance_pct", "sample_count"]
    assert heat_map.height > 50
    assert world.ask(HEAT_MAP, "me", "k1") == heat_map.select(columns).rows()
    slowest = reader.slowest_n(5, "k1", "me", ngram_sizes=[2, 3], min_occurrences=1)
    assert world.ask(SLOWEST, "me", "k1", [2, 3], 1, 5) == slowest.select("ngram_text", "decaying_average_ms").rows()


def test_benchmarks_are_the_rows_of_the_month_that_serves(world: World) -> None:
    found = world.ask(
        "SELECT count(*) AS rows, min(updated_at) AS first, max(updated_at) AS last FROM ghost_benchmarks"
    )
    end = datetime.combine(world.today.replace(day=1), time()).replace(tzinfo=None)
    assert found == [(270, end, end)]
