"""`make bench`: every benchmark, its table on stdout and its JSON beside."""

import platform
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import click
import duckdb
import polars as pl

from ghost_pipeline_tests.bench import (
    hourly,
    http,
    messages,
    month,
    ngram_extraction,
    ngram_summaries,
    publication,
    published_postgres,
    releases,
    source_postgres,
    whole_hour,
)
from ghost_pipeline_tests.bench import typists as typists_bench
from ghost_pipeline_tests.bench.measuring import Rows, as_json, as_markdown, as_rows


@click.command()
@click.option("--events", default=50_000_000, show_default=True, help="Events of the hourly benchmark.")
@click.option(
    "--rows", default=2_000_000, show_default=True, help="Rows of the PostgreSQL benchmarks; of publishing, half."
)
@click.option("--achievers", default=500_000, show_default=True, help="People of the month benchmark.")
@click.option(
    "--users",
    default=1_000_000,
    show_default=True,
    help="People of the hourly, messages and HTTP benchmarks; of releases, a hundredth.",
)
@click.option("--typists", default=400, show_default=True, help="Typists of the n-gram benchmarks, 50,000 rows each.")
@click.option("--keys", default=10_000_000, show_default=True, help="Keystrokes of the extraction benchmark.")
@click.option("--seconds", default=40.0, show_default=True, help="How long each server of the HTTP benchmark is asked.")
@click.option("--only", help="A single suite.")
@click.option("--runs", default=3, show_default=True, help="Rounds; the median counts.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where data are made; a temporary folder without it.")
@click.option("--json", "json_folder", type=click.Path(path_type=Path), help="Folder for the results as JSON.")
def main(  # noqa: PLR0913, PLR0917 - an option for each size
    events: int,
    rows: int,
    achievers: int,
    users: int,
    typists: int,
    keys: int,
    seconds: float,
    only: str | None,
    runs: int,
    folder: Path | None,
    json_folder: Path | None,
) -> None:
    """Measure, print, clean up."""
    root = Path(tempfile.mkdtemp(prefix="ghost-bench-", dir=folder))
    click.echo(
        f"{_machine()}; polars {pl.__version__}, duckdb {duckdb.__version__}, Python {platform.python_version()}"
    )
    try:
        whole = {
            "whole_hour": partial(whole_hour.measure, users=users, events=events, runs=runs),
            "whole_hour_postgres": partial(whole_hour.measure_postgres, users=users, events=events, runs=runs),
            "whole_hour_course_runs": partial(
                whole_hour.measure_course_runs, users=users * 3 // 100, events=events // 5 + events // 70, runs=runs
            ),
            "typists": partial(typists_bench.measure, typists=typists * 50),
            "publication": partial(publication.measure, typists=typists * 12, runs=runs),
        }
        suites = {
            "hourly": partial(hourly.measure, users=users, events=events, runs=runs),
            "source_postgres": partial(source_postgres.measure, rows=rows, runs=runs),
            "published_postgres": partial(published_postgres.measure, rows=rows // 2, runs=runs),
            "month": partial(month.measure, achievers=achievers, runs=runs),
            "messages": partial(messages.measure, users=users, runs=runs),
            "releases": partial(releases.measure, users=users // 100, runs=runs),
            "ngram_summaries": partial(ngram_summaries.measure, typists=typists, runs=runs),
            "ngram_hour": partial(ngram_summaries.measure_hour, typists=typists, runs=runs),
            "ngram_extraction_to_5": partial(ngram_extraction.measure, keys=keys // 10, max_size=5, runs=runs),
            "ngram_extraction_to_20": partial(ngram_extraction.measure, keys=keys // 10, max_size=20, runs=runs),
            "ngram_extraction_steps": partial(ngram_extraction.measure_steps, keys=keys, runs=runs),
        }
        if only not in {None, *whole, *suites, "http"}:
            raise click.BadParameter(f"{only}: not one of {', '.join([*whole, *suites, 'http'])}", param_hint="--only")
        for name, measure_hours in whole.items():
            if only not in {None, name}:
                continue
            title, table, steps = measure_hours(root / name)
            click.echo(f"\n{title}, {runs} rounds\n\n{as_markdown(table)}\n\n{steps}")
            _keep(json_folder, name, title, table)
            shutil.rmtree(root / name)
        for name, measure in suites.items():
            if only not in {None, name}:
                continue
            title, measured = measure(root / name)
            table = as_rows(measured, measured[0].name)
            if name == "hourly":
                table = [{**row, "cannot": hourly.CANNOT.get(str(row["contender"]), "")} for row in table]
            click.echo(f"\n{title}, {runs} rounds\n\n{as_markdown(table)}")
            _keep(json_folder, name, title, table)
            shutil.rmtree(root / name)
        if only in {None, "http"}:
            table = http.as_rows(http.measure(root / "http", users, seconds))
            title = f"HTTP with {users:,} users, {seconds:.0f} s each"
            click.echo(f"\n{title}\n\n{as_markdown(table)}")
            _keep(json_folder, "http", title, table)
    finally:
        shutil.rmtree(root)


def _keep(folder: Path | None, name: str, title: str, table: Rows) -> None:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(as_json(title, table), encoding="utf-8")


def _machine() -> str:
    cpus = len(list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))
    memory = Path("/proc/meminfo")
    gib = int(memory.read_text(encoding="utf-8").split()[1]) / (1 << 20) if memory.exists() else 0
    return f"{sys.platform} {platform.machine()}, {cpus} cores, {gib:.0f} GiB"


if __name__ == "__main__":
    main()
