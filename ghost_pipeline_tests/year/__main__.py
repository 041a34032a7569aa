"""`make year`: a year of hourly runs beside a small product, and what an hour costs in each month.

On the 15th of every month three hours, from six in the morning on, are single runs of `ghost-pipeline materialize` in
processes of their own: these are measured. So are the first two hours of every month, in which the tables of the month
before are built, and two around the end of the third day, when these serve and the published histories of that month
become one file each. `ghost-pipeline backfill` builds the others, and what `ghost-pipeline stale` names.
For three days in July nothing runs; the hour after that takes in what came meanwhile. `YEAR_DAYS` shortens the year.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import click
import dagster as dg
import polars as pl

from ghost_pipeline.clock import wall_clock
from ghost_pipeline.contracts.raw import COHORTS, KEYBOARDS, USERS
from ghost_pipeline.defs.freshness import FRESHNESS
from ghost_pipeline.defs.run_records import prune
from ghost_pipeline.lake.atomic import STAGING
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import DAY, HOUR, Month, hours
from ghost_pipeline_tests.bench.commands import Cost, dagster_records_of, ghost_pipeline, step_seconds
from ghost_pipeline_tests.bench.measuring import Rows, as_markdown
from ghost_pipeline_tests.year.product import HISTORY, START, Product

MEASURED_DAY, MEASURED_FROM, MEASURED_HOURS = 14, 6, 3
"""The day of a month, counted from 0, and the hours on it."""
FIRST_DAYS = ((0, 0), (2, 22))
"""Days and hours of a month, counted from 0, at which two hours are measured. In the first ones the tables of the month
before are built; with the last one that month is settled, and its published histories become one file each."""
OUTAGE = (datetime(2025, 7, 20, tzinfo=START.tzinfo), 3 * DAY)
SETTINGS = {"GHOST_HOURS_PER_RUN": "744", "POLARS_MAX_THREADS": "1"}
"""A backfill is one run, not one for each day. Frames of a dozen rows are no work for two threads: handing it over to
them costs a tenth of the CPU time."""
PUBLISHED = "published_database"
MIB = 1 << 20
EARLY, LATE = 1, 11
"""The months that are compared, counted from 0: February and December."""
BESIDE = (
    *("dagster_home", "ghost.duckdb", "ghost_benchmarks.json", "ghost_benchmarks.schema.json", "history"),
    *(".published", "publication.json"),
)
"""What lies beside the lake in a data folder."""
FIRST_HOURS = 2
FIGURE = re.compile(r"^\S+, (\w+): ")
REBUILD = re.compile(r"ghost-pipeline (backfill .*)$", re.MULTILINE)


@dataclass
class MonthReport:
    """What was measured in a month."""

    month: Month
    hours: list[Cost] = field(default_factory=list)
    first_days: list[Cost] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    backfill_seconds: float = 0.0
    stale: Counter[str] = field(default_factory=Counter)
    """Stale hours and months by table, before they are rebuilt."""
    failed: Counter[str] = field(default_factory=Counter)
    """Evaluations of checks that failed, by table, check and what they said."""
    tables: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes and files at the end of the month, by table."""

    @property
    def cpu(self) -> float:
        """Median CPU seconds of a measured hour."""
        return median(cost.cpu for cost in self.hours)

    @property
    def peak_mib(self) -> float:
        """Median of the largest memory of a measured hour, in MiB."""
        return median(cost.peak_mib for cost in self.hours)


class Year:
    """The product, its source, the data folder, and the reports so far."""

    def __init__(self, folder: Path, days: int) -> None:
        """Begin on the first of January."""
        self.product = Product(days)
        self.source, self.data = folder / "source", folder / "data"
        self.now = START
        self.lived: list[tuple[datetime, datetime]] = []
        """When, by the clock of the machine, an instant of the year was reached."""
        self.product.write(self.source, START - HISTORY * DAY, START)
        self.reports: list[MonthReport] = []
        self.outage: Cost | None = None
        self.counted: set[str] = set()
        self.seen: set[str] = set()

    def run(self, until: datetime, measured: int = MEASURED_HOURS) -> None:
        """Live until an instant, month by month."""
        while self.now < until:
            report = MonthReport(Month.containing(self.now))
            self.reports.append(report)
            self._month(report, min(report.month.as_of, until), measured)
            _say(f"{report.month.key}: {_row(report)}")

    def _month(self, report: MonthReport, end: datetime, measured: int) -> None:
        for day, hour in FIRST_DAYS:
            begin = report.month.start + day * DAY + hour * HOUR
            # The very first hour takes in all the history.
            if begin > START and begin + FIRST_HOURS * HOUR <= end:
                self._build(report, begin)
                report.first_days += [self._hour() for _ in range(FIRST_HOURS)]
        begin = report.month.start + MEASURED_DAY * DAY + MEASURED_FROM * HOUR
        if end < begin:
            # A year cut short: its last days are measured, so that a month of some days has figures as well.
            begin = max(end - measured * HOUR, self.now)
        self._build(report, begin)
        self._steps()
        for _ in range(measured):
            if self.now < end:
                cost = self._hour()
                report.hours.append(cost)
                report.published.append(sum(seconds for name, seconds in self._steps() if name == PUBLISHED))
        fails, length = OUTAGE
        if self.now < fails and fails + length < end:
            self._build(report, fails)
            self.now = fails + length - HOUR
            self.outage = self._hour(since=fails)
            self._backfill(report, fails, self.now)
        self._build(report, end)
        self._rebuild(report)
        report.failed = self._failed_checks()
        self._prune()
        report.tables = _sizes(self.data)

    def _build(self, report: MonthReport, end: datetime) -> None:
        if self.now < end:
            begin, self.now = self.now, end
            self.product.write(self.source, begin, end)
            self._backfill(report, begin, end)
            self._write_versions(begin, end)

    def _write_versions(self, begin: datetime, end: datetime) -> None:
        """Leave the empty files that a run of each hour would have left; a run of many hours leaves one."""
        lake, window = Lake(self.data / "lake"), list(hours(begin, end))
        for contract in (USERS, COHORTS, KEYBOARDS):
            missing = sorted({*window} - {*lake.written(contract, window)})
            lake.write_hours(contract, missing, contract.empty(), pl.Series(dtype=pl.Datetime("us", "UTC")))

    def _prune(self) -> None:
        """Delete Dagster's records of runs as its nightly job does, by the days of the year."""
        self.lived.append((self.now, wall_clock()))
        kept_from = self.now - timedelta(days=Settings.load(data=self.data).keep_run_days)
        before = max((real for instant, real in self.lived if instant <= kept_from), default=None)
        if before:
            with dagster_records_of(self.data) as instance:
                prune(instance, before)

    def _backfill(self, report: MonthReport, begin: datetime, end: datetime) -> None:
        start = perf_counter()
        self._command("backfill", "--from", _text(begin), "--to", _text(end))
        report.backfill_seconds += perf_counter() - start

    def _hour(self, since: datetime | None = None) -> Cost:
        self.product.write(self.source, since or self.now, self.now + HOUR)
        self.now += HOUR
        return self._command("materialize", "--as-of", _text(self.now))

    def _rebuild(self, report: MonthReport) -> None:
        """Do what `ghost-pipeline stale` says."""
        found = self._command("stale", "--json").output
        rows, _ = json.JSONDecoder().raw_decode(found[found.index("[") :])
        report.stale.update(f"{row['table']}, {row['reason']}" for row in rows)
        for command in REBUILD.findall(found):
            start = perf_counter()
            self._command(*command.split())
            report.backfill_seconds += perf_counter() - start

    def _command(self, *arguments: str) -> Cost:
        return ghost_pipeline(self.data, self.source, *arguments, settings=SETTINGS)

    def _steps(self) -> list[tuple[str, float]]:
        return step_seconds(self.data, self.seen)

    def _failed_checks(self) -> Counter[str]:
        """The evaluations of checks that failed since they were last counted."""
        failed: Counter[str] = Counter()
        with dagster_records_of(self.data) as instance:
            for run in instance.get_runs():
                if run.run_id not in self.counted:
                    self.counted.add(run.run_id)
                    records = instance.get_records_for_run(
                        run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
                    ).records
                    events = (record.event_log_entry.get_dagster_event() for record in records)
                    failed.update(_told(event.asset_check_evaluation_data) for event in events if event)
        del failed[""]
        return failed


def _told(check: dg.AssetCheckEvaluation) -> str:
    """What a failed check is about, without the figures of the hour; "" for one that passed.

    By the clock of the machine, hours of that year are late.
    """
    if check.passed or check.check_name == FRESHNESS.name:
        return ""
    figures = sorted({name for text in (check.description or "").split("; ") for name in FIGURE.findall(text)})
    about = ", ".join(figures) or ", ".join(name for name in check.metadata if name != "partitions")
    return f"{check.asset_key.to_user_string()} {check.check_name}: {about}"


def _sizes(data: Path) -> dict[str, tuple[int, int]]:
    """Bytes and files of every table of the lake and of what lies beside it."""
    roots = [*(data / "lake").iterdir(), *(path for path in data.iterdir() if path.name != "lake")]
    roots = [root for root in roots if root.suffix != ".lock" and root.name != STAGING]
    found = {}
    for root in roots:
        files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else [root]
        found[root.name] = (sum(file.stat().st_size for file in files), len(files))
    return found


def _row(report: MonthReport) -> dict[str, str | float]:
    return {
        "month": report.month.key,
        "CPU s": round(report.cpu, 2),
        "wall s": round(median(cost.wall for cost in report.hours), 2),
        "peak MiB": round(report.peak_mib),
        "publication s": round(median(report.published), 2),
        "lake MiB, files": _total(report, lambda name: name not in BESIDE),
        "Dagster MiB": round(report.tables.get("dagster_home", (0, 0))[0] / MIB),
        "first days CPU s, MiB": _cost(report.first_days),
        "stale": report.stale.total(),
        "failed checks": report.failed.total(),
        "backfills s": round(report.backfill_seconds),
    }


def _cost(costs: list[Cost]) -> str:
    """The largest CPU seconds and memory of some hours."""
    return f"{max(one.cpu for one in costs):.2f}, {max(one.peak_mib for one in costs):.0f}" if costs else ""


def _named(reports: list[MonthReport]) -> Rows:
    """How often something was stale or failed, by month."""
    rows: Rows = []
    for kind, counts in (
        ("stale", [report.stale for report in reports]),
        ("failed check", [report.failed for report in reports]),
    ):
        for name in sorted({one for count in counts for one in count}):
            of_months = {report.month.key: count[name] for report, count in zip(reports, counts, strict=True)}
            rows.append({"what": f"{kind}: {name}", **of_months})
    return rows


def _total(report: MonthReport, wanted: Callable[[str], bool]) -> str:
    found = [size for name, size in report.tables.items() if wanted(name)]
    return f"{sum(size for size, _ in found) / MIB:.1f}, {sum(files for _, files in found):,}"


def _table_rows(reports: list[MonthReport]) -> Rows:
    """MiB and files of every table at the end of some months."""
    names = sorted({name for report in reports for name in report.tables})
    return [{"table": name, **{report.month.key: _total(report, name.__eq__) for report in reports}} for name in names]


def _ratios(reports: list[MonthReport]) -> str:
    early, late = reports[min(EARLY, len(reports) - 1)], reports[min(LATE, len(reports) - 1)]
    cpu, memory = late.cpu / early.cpu, late.peak_mib / early.peak_mib
    return f"{late.month.key} / {early.month.key}: CPU {cpu:.2f}, memory {memory:.2f}"


def _text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%MZ}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@click.command()
@click.option("--days", default=int(os.environ.get("YEAR_DAYS", "365")), show_default=True, help="Days of the year.")
@click.option("--hours", default=MEASURED_HOURS, show_default=True, help="Hours of a month that are measured.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where data are made; a temporary folder without it.")
def main(days: int, hours: int, folder: Path | None) -> None:
    """Live through a year and print what an hour costs, month by month."""
    begin = perf_counter()
    root = Path(tempfile.mkdtemp(prefix="ghost-year-", dir=folder))
    try:
        year = Year(root, days)
        year.run(START + timedelta(days=days), hours)
    finally:
        shutil.rmtree(root)
    reports = year.reports
    click.echo(as_markdown([_row(report) for report in reports]))
    shown = [reports[place] for place in sorted({min(EARLY, len(reports) - 1), len(reports) - 1})]
    click.echo(f"\n{as_markdown(_table_rows(shown))}\n")
    if named := _named(reports):
        click.echo(f"{as_markdown(named)}\n")
    if year.outage:
        click.echo(
            f"The hour after an outage of {OUTAGE[1] // HOUR} hours: {year.outage.cpu:.1f} CPU s, "
            f"{year.outage.peak_mib:.0f} MiB"
        )
    click.echo(f"{days} days in {(perf_counter() - begin) / 60:.0f} minutes. {_ratios(reports)}")


if __name__ == "__main__":
    main()
