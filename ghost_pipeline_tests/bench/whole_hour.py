"""One hour through the command that a user types: from the source to the published database.

The first hour reads the whole history, the next one some thousand new events: half of them in the file of the current
day, half in a new file. In the same run the same hour with a tenth of the history, and the command with nothing to
read, which shows what starting costs.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import adbc_driver_postgresql.dbapi as driver  # type: ignore[import-untyped]
import polars as pl

from ghost_pipeline.windows import HOUR
from ghost_pipeline_tests.bench.commands import Cost, ghost_pipeline, step_seconds
from ghost_pipeline_tests.bench.measuring import Rows, as_markdown
from ghost_pipeline_tests.bench.postgres_server import postgres_server, server_address
from ghost_pipeline_tests.bench.sources import (
    Product,
    day_file,
    write_course_runs,
    write_days,
    write_next_hour,
    write_people,
)

AS_OF = datetime(2025, 3, 16, 12, tzinfo=UTC)
"""The middle of a month: what lies between the checkpoint and the hour is half of the most that there can be."""
DAYS, FEW_DAYS = 360, 36
NEW_EVENTS = 6_000
FILES, DAYS_OF_RUNS = 22, 600
NOTHING = "start-up: the command with nothing to read"


def measure(folder: Path, users: int, events: int, runs: int) -> tuple[str, Rows, str]:
    """First and next hours of daily Parquet files, with all of the history and with a tenth.

    Args:
        folder: where sources and data folders are made.
        users: people.
        events: completed tasks in the whole history.
        runs: how often the next hour is measured: each time from the same state.

    Returns:
        A title, a row per contender, and the seconds of the steps as Markdown.

    """
    product = Product(users, AS_OF, DAYS)
    whole, few = folder / "whole", folder / "few"
    write_people(whole, product)
    total = write_days(whole, product, events)
    (few / "user_progress").mkdir(parents=True)
    for name in ("users.parquet", "cohorts.parquet"):
        os.link(whole / name, few / name)
    for number in range(FEW_DAYS):
        file = day_file(whole, AS_OF - HOUR - number * 24 * HOUR)
        os.link(file, day_file(few, AS_OF - HOUR - number * 24 * HOUR))
    hours = _Hours(folder, runs)
    hours.nothing()
    hours.first("first hour", whole)
    hours.first("first hour of a tenth", few)
    for source in (whole, few):
        write_next_hour(source, product, NEW_EVENTS)
    hours.following({"next hour": whole, "next hour of a tenth": few})
    title = f"a whole hour of Parquet files: {users:,} users, {total:,} events in {DAYS} files, {NEW_EVENTS:,} new ones"
    return title, hours.rows(), hours.steps("first hour", "next hour", "next hour of a tenth")


def measure_course_runs(folder: Path, users: int, events: int, runs: int) -> tuple[str, Rows, str]:
    """First and next hour of 22 Parquet files that are not in the order of time; see `measure`."""
    product = Product(users, AS_OF, DAYS_OF_RUNS)
    source = folder / "runs"
    write_people(source, product)
    total, newest = write_course_runs(source, product, events, FILES)
    hours = _Hours(folder, runs)
    hours.nothing()
    hours.first("first hour", source)
    pl.concat([pl.read_parquet(newest), product.next_hour(NEW_EVENTS // 10)]).write_parquet(newest)
    hours.following({"next hour": source})
    title = f"a whole hour of {FILES} Parquet files: {users:,} users, {total:,} events, {NEW_EVENTS // 10} new ones"
    return title, hours.rows(), hours.steps("first hour", "next hour")


def measure_postgres(folder: Path, users: int, events: int, runs: int) -> tuple[str, Rows, str]:
    """First and next hours of PostgreSQL, whose own CPU and memory are not counted; see `measure`."""
    product = Product(users, AS_OF, DAYS)
    with postgres_server(folder):
        address = server_address(folder)
        whole, few = (_database(address, name) for name in ("whole", "few"))
        tenth = AS_OF - FEW_DAYS * 24 * HOUR
        total = 0
        for source in (whole, few):
            _insert(source, "users", product.users)
            _insert(source, "cohorts", product.cohorts)
        for start, rows in product.history(events):
            _insert(whole, "user_progress", rows)
            total += rows.height
            if start > tenth:
                _insert(few, "user_progress", rows)
        for source in (whole, few):
            _execute(source, "CREATE INDEX ON user_progress (completed_at)")
            _execute(source, "CREATE INDEX ON users (updated_at)")
            _execute(source, "VACUUM ANALYZE")
        hours = _Hours(folder, runs)
        hours.nothing()
        hours.first("first hour", whole)
        hours.first("first hour of a tenth", few)
        for source in (whole, few):
            _insert(source, "user_progress", product.next_hour(NEW_EVENTS))
        hours.following({"next hour": whole, "next hour of a tenth": few})
    title = f"a whole hour of PostgreSQL: {users:,} users, {total:,} events, {NEW_EVENTS:,} new ones"
    return title, hours.rows(), hours.steps("first hour", "next hour", "next hour of a tenth")


class _Hours:
    """Runs hours, each source with a data folder of its own, and keeps what they cost."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.folder, self.runs = folder, runs
        self.costs: dict[str, list[Cost]] = {}
        self.seen: set[str] = set()
        self.step_tables: dict[str, list[tuple[str, float]]] = {}

    def nothing(self) -> None:
        """The hour of a source with one user and no event in the hour."""
        source = self.folder / "nothing"
        product = Product(1, AS_OF, 1)
        write_people(source, product)
        write_days(source, product, 24)
        self._hour("nothing before", source, self._data(source), AS_OF - HOUR)
        for _ in range(self.runs):
            self._hour(NOTHING, source, self._data(source), AS_OF)

    def first(self, name: str, source: str | Path) -> None:
        """The first hour of a source."""
        self._hour(name, source, self._data(source), AS_OF - HOUR)

    def following(self, sources: Mapping[str, str | Path]) -> None:
        """The next hours of some sources in turn; every round begins with the data folders as they were."""
        for _ in range(self.runs):
            for name, source in sources.items():
                data = self._data(source)
                kept = data.with_name(f"{data.name}-kept")
                # Files of the lake are replaced, never changed, so links keep them; Dagster's and DuckDB's are copied.
                shutil.copytree(data, kept, copy_function=_link_or_copy)
                self._hour(name, source, data, AS_OF)
                shutil.rmtree(data)
                kept.rename(data)

    def rows(self) -> Rows:
        """A row per contender; figures are medians, and the largest memory."""
        found: Rows = []
        for name, costs in self.costs.items():
            if name == "nothing before":
                continue
            tenth = self.costs.get(f"{name} of a tenth")
            cpu = median(cost.cpu for cost in costs)
            found.append(
                {
                    "contender": name,
                    "CPU s": round(cpu, 1),
                    "wall s": round(median(cost.wall for cost in costs), 1),
                    "peak MiB": round(max(cost.peak_mib for cost in costs)),
                    "of the tenth": round(cpu / median(cost.cpu for cost in tenth), 2) if tenth else "",
                }
            )
        return found

    def steps(self, *names: str) -> str:
        """The seconds of every step in the last run of some contenders, as Markdown."""
        tables = {name: self._by_step(name) for name in names}
        steps = dict.fromkeys(step for table in tables.values() for step in table)
        rows: Rows = [
            {"step, wall s": step, **{name: round(table.get(step, 0.0), 2) for name, table in tables.items()}}
            for step in steps
        ]
        return as_markdown(rows)

    def _by_step(self, name: str) -> dict[str, float]:
        """Seconds by step; a step that the command runs twice is one row."""
        found: dict[str, float] = {}
        for step, seconds in self.step_tables[name]:
            found[step] = found.get(step, 0.0) + seconds
        return found

    def _hour(self, name: str, source: str | Path, data: Path, as_of: datetime) -> None:
        cost = ghost_pipeline(data, source, "materialize", "--as-of", f"{as_of:%Y-%m-%dT%H:%MZ}")
        self.costs.setdefault(name, []).append(cost)
        self.step_tables[name] = step_seconds(data, self.seen)
        sys.stderr.write(f"{name}: {cost.cpu:.1f} CPU s, {cost.wall:.1f} s, {cost.peak_mib:.0f} MiB\n{cost.output}")

    def _data(self, source: str | Path) -> Path:
        # Addresses of databases end with the folder of their server, which they share.
        name = str(source).partition("?")[0].rpartition("/")[2]
        return self.folder / f"data-{name}"


def _link_or_copy(source: str, target: str) -> str:
    link: Callable[[str, str], object] = os.link if source.endswith((".parquet", ".bin")) else shutil.copy2
    link(source, target)
    return target


def _database(address: str, name: str) -> str:
    """Make a database on the server; returns its address."""
    _execute(address, f"CREATE DATABASE {name}")
    before, _, options = address.partition("?")
    path = before.rpartition("/")[0] + f"/{name}"
    return f"{path}?{options}" if options else path


def _execute(address: str, statement: str) -> None:
    with closing(driver.connect(address, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def _insert(address: str, table: str, rows: pl.DataFrame) -> None:
    with closing(driver.connect(address)) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(table, rows.to_arrow(), mode="create_append")
        connection.commit()
