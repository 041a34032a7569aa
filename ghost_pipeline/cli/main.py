"""The command line `ghost-pipeline`: figures on stdout, everything else on stderr.

Exit code 0: done; 1: failed, with one line on stderr that says what to do; 2: wrong usage. Only commands that run
something import Dagster, so that `--help`, `settings` and `query` answer at once.
"""

import json
import os
import sys
from datetime import datetime

import click

from ghost_pipeline import __version__
from ghost_pipeline.cli.ask import COMMANDS
from ghost_pipeline.cli.commands import Commands, confirm
from ghost_pipeline.cli.parameters import AsOf, OneOf, Text, json_option
from ghost_pipeline.cli.parameters import tables as known_tables
from ghost_pipeline.cli.privacy import privacy
from ghost_pipeline.cli.progress import Progress, long_command
from ghost_pipeline.cli.suggestions import unknown_settings
from ghost_pipeline.cli.ui import ui
from ghost_pipeline.settings import Settings

OTHERS = 0o027
"""Rights that no file or folder of this process gets: those of other users, and writing by the group."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Peer comparison for learners and n-gram analytics for typists: build, publish and query."""
    # What libraries write, Dagster's records among it, is closed to other users, too.
    os.umask(os.umask(0) | OTHERS)
    for name, meant in unknown_settings(os.environ).items():
        # Any other may belong to another tool; `doctor` names it.
        if meant:
            click.echo(f"ghost-pipeline: {name}: no such setting{meant}", err=True)


domain_option = click.option(
    "--half",
    "domain",
    type=click.Choice(["ghost", "ngrams"]),
    help="Only this domain; by default every domain that the source has.",
)
accept_deletions = click.option(
    "--accept-deletions",
    is_flag=True,
    help="Continue even if the source has lost more rows of an hour than GHOST_MAX_REMOVED_PERCENT allows.",
)


@main.command()
@click.option("--as-of", type=AsOf(), required=True, help="End of the hour, UTC: 2025-03-12T12:00Z.")
@domain_option
@accept_deletions
@long_command
def materialize(progress: Progress, as_of: datetime, domain: str | None, *, accept_deletions: bool) -> None:
    """Build one hour, and the month before it if anything in that has changed, then publish.

    Runs Dagster's jobs for the hour and for the newest month that is complete by its end.
    """
    from ghost_pipeline.cli import run as runs
    from ghost_pipeline.contracts.source import Domain

    settings = Settings.load(**({"accept_deletions": True} if accept_deletions else {}))
    runs.materialize(settings, as_of, Domain(domain) if domain else None, progress=progress)


@main.command()
@click.option("--from", "start", type=AsOf(), help="Start of the first hour, UTC: 2025-03-01T00:00Z.")
@click.option("--to", "end", type=AsOf(), help="End of the last hour, UTC: 2025-03-08T00:00Z.")
@click.option("--stale", "only_stale", is_flag=True, help="Instead of a range: exactly what `stale` lists.")
@domain_option
@click.option(
    "--all", "everything", is_flag=True, help="Build every hour, including hours that are built and not stale."
)
@accept_deletions
@long_command
def backfill(
    progress: Progress,
    start: datetime | None,
    end: datetime | None,
    domain: str | None,
    *,
    only_stale: bool,
    everything: bool,
    accept_deletions: bool,
) -> None:
    """Build missing and stale hours and months of a range, then publish.

    Covers the hours of [from, to) and the months they touch. With --stale, rebuilds stale hours and months wherever
    they are, without reading the source. Safe to interrupt: run the same command again to resume.
    """
    if only_stale and (start or end or everything or accept_deletions):
        raise click.UsageError("--stale takes no range, no --all and no --accept-deletions.")
    from ghost_pipeline.cli import run as runs
    from ghost_pipeline.contracts.source import Domain

    settings = Settings.load(**({"accept_deletions": True} if accept_deletions else {}))
    if only_stale:
        runs.backfill_stale(settings, Domain(domain) if domain else None, progress=progress)
        return
    if start is None or end is None:
        raise click.UsageError("Name the range with --from and --to, or give --stale.")
    selected = Domain(domain) if domain else None
    runs.backfill(settings, start, end, selected, everything=everything, progress=progress)


@main.command()
@long_command
def publish(progress: Progress) -> None:
    """Publish the lake again as it is, without reading the source.

    Writes ghost.duckdb and the JSON files, and updates PostgreSQL if it is set: whatever has become of them, they are
    then one publication.
    """
    from ghost_pipeline.cli import run as runs

    runs.publish(Settings.load(), progress=progress)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print rows as a JSON array.")
def stale(*, as_json: bool) -> None:
    """List hours and months that are out of date, with the command that rebuilds them.

    Their inputs have changed after they were built; a month also if its settings have.
    """
    from ghost_pipeline.cli.render import as_table
    from ghost_pipeline.lake.lake import Lake
    from ghost_pipeline.monitoring.status import stale_rows
    from ghost_pipeline.serving.json_rows import as_json_rows

    settings = Settings.load()
    found = stale_rows(Lake(settings.lake), settings)
    click.echo(as_json_rows(found) if as_json else as_table(found))
    hours, months = (found[name].drop_nulls().n_unique() for name in ("hour", "month"))
    if hours or months:
        click.echo(f"{hours} hours and {months} months: ghost-pipeline backfill --stale", err=True)


@main.command("upgrade")
@long_command
def upgrade_command(progress: Progress) -> dict[str, object]:
    """Bring the lake to this release, if an older one has written it.

    Files are renamed, not written again, and what lacks new columns is marked stale. Nothing may run meanwhile.
    Safe to interrupt: run it again to go on.
    """
    from ghost_pipeline.incremental.contract_changes import open_current
    from ghost_pipeline.lake.layout import LAYOUT

    settings, lines = Settings.load(), []

    def say(line: str) -> None:
        lines.append(line)
        progress.say(line)

    open_current(settings.lake, say)
    progress.say(f"{settings.lake}: has layout {LAYOUT['version']} and the columns of this release")
    return {"command": "upgrade", "lake": str(settings.lake), **LAYOUT, "done": lines}


@main.command()
@click.argument("users", metavar="[USER]...", nargs=-1, type=Text())
@click.option(
    "--again", is_flag=True, help="Erase again everyone who has reappeared, e.g. after a restore (takes no USER)."
)
@click.option("--even-if-unknown", is_flag=True, help="Also block ids the lake has never contained.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@long_command
def erase(
    progress: Progress, users: tuple[str, ...], *, again: bool, even_if_unknown: bool, yes: bool
) -> dict[str, object] | None:
    """Remove people everywhere and keep them out.

    Removes them from the lake and from everything published, and stops the source from bringing them back.

    A USER of - reads ids from standard input, one per line: arguments end up in the shell's history and in logs.
    The command lists the rows to delete and asks for confirmation, because deletion cannot be undone.
    Safe to interrupt: run the same command again to resume.
    """
    users = tuple(one for given in users for one in (_lines_of_input(yes=yes) if given == "-" else [given]))
    if again == bool(users):
        raise click.UsageError("Name the users to erase, or give --again, but not both.")
    from ghost_pipeline.cli import erase as erasure
    from ghost_pipeline.cli.render import as_table
    from ghost_pipeline.clock import wall_clock
    from ghost_pipeline.privacy.erasure_report import as_frame

    settings = Settings.load()
    named = None if again else users
    if not yes:
        progress.wait_for_answer()
        click.echo(as_table(erasure.planned(settings, named, even_if_unknown=even_if_unknown)), err=True)
        confirm("These rows will be deleted for good. Erase?")
    report = erasure.erase(settings, named, wall_clock(), even_if_unknown=even_if_unknown, progress=progress)
    if progress.as_json:
        return report.as_dict()
    if not progress.quiet:
        click.echo(as_table(as_frame(report.tables)))
        for line in report.lines():
            click.echo(line)
    return None


def _lines_of_input(*, yes: bool) -> list[str]:
    """The lines of standard input, without empty ones; afterwards only a terminal can answer the confirmation."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("With -, standard input cannot also answer the confirmation: give --yes, too.")
    try:
        return [one for line in sys.stdin.buffer.read().decode().splitlines() if (one := line.strip())]
    except UnicodeDecodeError:
        raise click.UsageError("Standard input is not UTF-8.") from None


@main.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option(
    "--exit-code",
    is_flag=True,
    help="Exit with 1 if a table is late, a month is missing, or what is published is not whole or unreadable.",
)
def status_command(*, as_json: bool, exit_code: bool) -> None:
    """Show freshness, rejected rows, stale hours and months, failed runs, and the publication."""
    from ghost_pipeline.cli.status import show_status

    show_status(Settings.load(), as_json=as_json, exit_code=exit_code)


@main.command("alert")
@click.option("--dry-run", is_flag=True, help="Print incidents; send and record nothing.")
@click.option("--test", is_flag=True, help="Send a test message to every address instead.")
def alert_command(*, dry_run: bool, test: bool) -> None:
    """Look for incidents once, and send a message to GHOST_ALERT_URLS when one begins or ends.

    For cron, where Dagster's daemon does not run; otherwise Dagster's sensor `alerts` does the same every minute.
    """
    if dry_run and test:
        raise click.UsageError("--dry-run sends nothing, --test sends a message: give one of them.")
    from ghost_pipeline.cli.status import look_and_alert

    look_and_alert(Settings.load(), dry_run=dry_run, test=test)


@main.command("metrics")
def metrics_command() -> None:
    """Write the pipeline's figures for Prometheus to GHOST_METRICS_FILE, or print them.

    Ages, rows, rejected rows, incidents, times of tables, releases; the server's own figures are at /metrics.
    """
    from ghost_pipeline.cli.status import export_figures

    export_figures(Settings.load())


@main.command("query")
@click.argument("sql")
@click.option("--json", "as_json", is_flag=True, help="Print rows as a JSON array.")
def query_command(sql: str, *, as_json: bool) -> None:
    """Run one SQL query over the published tables and the lake.

    Every table of the lake is a view lake.<table>.
    """
    from ghost_pipeline.cli.render import as_table
    from ghost_pipeline.lake.lake import Lake
    from ghost_pipeline.publish.database_query import query
    from ghost_pipeline.serving.json_rows import as_json_rows

    settings = Settings.load()
    frame = query(sql, settings.database, Lake(settings.lake))
    click.echo(as_json_rows(frame) if as_json else as_table(frame))


@main.command()
@click.argument("tables", metavar="[TABLE]...", nargs=-1, type=OneOf("table", known_tables))
@json_option
def contracts(tables: tuple[str, ...], *, as_json: bool) -> None:
    """Print the tables as an Open Data Contract (ODCS), in YAML.

    Columns, types, keys, ranges, lineage, checks, retention and where the data is; all tables, or those named.
    """
    from ghost_pipeline.cli.open_data_contract import as_yaml, open_data_contract
    from ghost_pipeline.definitions import TABLE_ASSETS

    document = open_data_contract(TABLE_ASSETS, Settings.load(), tables)
    click.echo(json.dumps(document, indent=2) if as_json else as_yaml(document), nl=as_json)


@main.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print settings as a JSON array.")
def settings_command(*, as_json: bool) -> None:
    """List every setting with its value and what it does."""
    values = json.loads(Settings.load().model_dump_json())
    rows = [
        {
            "variable": f"GHOST_{name.upper()}",
            "value": values[name],
            "set": bool(os.environ.get(f"GHOST_{name.upper()}")),
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        value = ",".join(map(str, row["value"])) if isinstance(row["value"], list) else row["value"]
        click.echo(f"{row['variable']}={value if value is not None else ''}{'' if row['set'] else '  (default)'}")
        click.echo(f"    {row['description']}")


@main.command("reconcile")
@long_command
def reconcile_command(progress: Progress) -> dict[str, object]:
    """Bring Dagster's records to the lake, which is the truth.

    Reports partitions that only the lake has, such as after Dagster's database was lost or with a copied lake, and
    forgets those that have expired. Also reports which tables are late. Safe to repeat; reconcile_schedule does it too.
    """
    from ghost_pipeline.cli.reconcile import reconcile_records

    found = reconcile_records(Settings.load(), progress=progress)
    numbers = {name: {asset: len(one) for asset, one in part.items()} for name, part in found._asdict().items()}
    return {"command": "reconcile", **numbers}


@main.command()
@click.option(
    "--as-of",
    type=AsOf(),
    help="Build the demo as of this hour, the same whenever it runs; by default up to the last full hour.",
)
@long_command
def demo(progress: Progress, as_of: datetime | None) -> None:
    """Generate a realistic source, build it and show the results.

    Builds the newest 48 hours and month; people of the source go on practising for a month. Run again, or with the
    schedules on in Dagster, it goes on hour by hour.
    """
    from ghost_pipeline.cli.demo import run_demo

    run_demo(Settings.load(), as_of, progress)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print findings as a JSON array.")
def doctor(*, as_json: bool) -> None:
    """Check settings, source, storage, Dagster's records, ports, rights and the clock, and say what to fix."""
    settings = Settings.load()
    if not as_json:
        # Before the imports, which may take longer than a second.
        click.echo(f"checking settings, source and storage in {settings.data}", err=True)
    from ghost_pipeline.cli.doctor import diagnose
    from ghost_pipeline.cli.findings import Verdict

    findings = []
    for finding in diagnose(settings):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.verdict.value:<6}{finding.about:<30}{finding.description}")
    if as_json:
        rows = [{"verdict": one.verdict.value, "about": one.about, "says": one.description} for one in findings]
        click.echo(json.dumps(rows, indent=2))
    if any(finding.verdict is Verdict.WRONG for finding in findings):
        sys.exit(1)


for _command in (privacy, ui, *COMMANDS):
    main.add_command(_command)

if __name__ == "__main__":
    main()
