"""`make year`: a year of hourly runs beside a small product, and what an hour costs in each month.

On the 15th of every month twelve hours, from six in the morning on, are single runs of `ghost-pipeline materialize` in
processes of their own: these are measured. `ghost-pipeline backfill` builds the others. For three days in July nothing
runs; the hour after that takes in what came meanwhile. `YEAR_DAYS` shortens the year.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import click
import dagster as dg

from ghost_pipeline.lake.atomic import STAGING
from ghost_pipeline.windows import DAY, HOUR, Month
from ghost_pipeline_tests.bench.commands import Cost, dagster_records_of, ghost_pipeline, step_seconds
from ghost_pipeline_tests.bench.measuring import Rows, as_markdown
from ghost_pipeline_tests.year.product import START, Product

MEASURED_DAY, MEASURED_FROM, MEASURED_HOURS = 14, 6, 12
"""The day of a month, counted from 0, and the hours on it."""
OUTAGE = (datetime(2025, 7, 20, tzinfo=START.tzinfo), 3 * DAY)
SETTINGS = {"GHOST_HOURS_PER_RUN": "744"}
"""A backfill is one run, not one for each day."""
PUBLISHED = "published_database"
MIB = 1 << 20
EARLY, LATE = 1, 11
"""The months that are compared, counted from 0: February and December."""
BESIDE = ("dagster_home", "ghost.duckdb", "ghost_benchmarks.json")
"""What lies beside the lake in a data folder."""
REBUILD = re.compile(r"ghost-pipeline (backfill .*)$", re.MULTILINE)


@dataclass
class MonthReport:
    """What was measured in a month."""

    month: Month
    hours: list[Cost] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    backfill_seconds: float = 0.0
    stale_hours: int = 0
    stale_months: int = 0
    failed_checks: int = 0
    tables: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes and files at the end of the month, by table."""

    @property
    def cpu(self) -> float:
        """Median CPU seconds of a measured hour."""
        return median(cost.cpu for cost in self.hours)

    @property
    def peak_mib(self) -> float:
        """Largest memory of a measured hour, in MiB."""
        return max(cost.peak_mib for cost in self.hours)


class Year:
    """The product, its source, the data folder, and the reports so far."""

    def __init__(self, folder: Path, days: int) -> None:
        """Begin on the first of January."""
        self.product = Product(days)
        self.source, self.data = folder / "source", folder / "data"
        self.now = START
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
        begin = report.month.start + MEASURED_DAY * DAY + MEASURED_FROM * HOUR
        if end < begin:
            # A year cut short: its last days are measured, so that a month of some days has figures as well.
            begin = end - measured * HOUR
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
        report.failed_checks = self._failed_checks()
        report.tables = _sizes(self.data)

    def _build(self, report: MonthReport, end: datetime) -> None:
        if self.now < end:
            begin, self.now = self.now, end
            self.product.write(self.source, begin, end)
            self._backfill(report, begin, end)

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
        report.stale_hours, report.stale_months = (
            len({row[partition] for row in rows if row[partition]}) for partition in ("hour", "month")
        )
        for command in REBUILD.findall(found):
            start = perf_counter()
            self._command(*command.split())
            report.backfill_seconds += perf_counter() - start

    def _command(self, *arguments: str) -> Cost:
        return ghost_pipeline(self.data, self.source, *arguments, settings=SETTINGS)

    def _steps(self) -> list[tuple[str, float]]:
        return step_seconds(self.data, self.seen)

    def _failed_checks(self) -> int:
        """How many evaluations of checks failed since it was last counted."""
        failed = 0
        with dagster_records_of(self.data) as instance:
            for run in instance.get_runs():
                if run.run_id not in self.counted:
                    self.counted.add(run.run_id)
                    records = instance.get_records_for_run(
                        run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
                    ).records
                    events = (record.event_log_entry.get_dagster_event() for record in records)
                    failed += sum(not event.asset_check_evaluation_data.passed for event in events)
        return failed


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
        "stale hours, months": f"{report.stale_hours}, {report.stale_months}",
        "failed checks": report.failed_checks,
        "backfills s": round(report.backfill_seconds),
    }


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
    if year.outage:
        click.echo(
            f"The hour after an outage of {OUTAGE[1] // HOUR} hours: {year.outage.cpu:.1f} CPU s, "
            f"{year.outage.peak_mib:.0f} MiB"
        )
    click.echo(f"{days} days in {(perf_counter() - begin) / 60:.0f} minutes. {_ratios(reports)}")


if __name__ == "__main__":
    main()
